"""The C++ loop of an emulated board: its clock, and a serial line that is driven and read bit by bit.

It follows the generated model and a generated part that defines the pins `RX` and `TX` and the function `levels`, and
knows nothing else of the design. One evaluation a cycle is enough, as in simulations (see `sim/cxxrtl_shim.py`).
"""

__all__ = ["SHIM"]

SHIM = r"""
namespace {

struct Board {
    Dut dut;
    int64_t bit;                // cycles of a bit
    int64_t resets = 4;         // cycles of reset that are left
    // What goes to the design: the bits of an octet that are left, the lowest next, a stop bit above them.
    uint32_t sending = 1;
    int64_t until_bit = 0;
    // What comes from it: cycles to the next look at the line, and what was seen of an octet.
    int64_t until_look = 0;
    int32_t looks = -1;         // of an octet so far; -1: between octets, -2: wrong stop bit, until the line is high
    uint32_t seen = 0;
    int64_t quiet = 0;          // cycles since anything moved
};

}  // namespace

extern "C" {

// What a step takes and gives; `_Step` in emulate.py mirrors it.
struct Step {
    const uint8_t *in;
    int64_t n_in;
    uint8_t *out;
    int64_t n_out;
    int64_t cycles;             // to run at most; then, how many were run
    int64_t pause;              // return as soon as nothing moved for so long, where something came out
    int64_t quiet;
    uint32_t busy;              // levels that count as movement
    uint32_t levels;            // at the end
    uint32_t raised;            // at any time
};

Board *dovetail_board(int64_t bit) {
    Board *board = new Board();
    board->bit = bit;
    return board;
}

void dovetail_close(Board *board) { delete board; }

void dovetail_step(Board *board, Step *step) {
    Dut &dut = board->dut;
    const int64_t bit = board->bit;
    int64_t taken = 0, cycle = 0;
    step->n_out = 0;
    step->raised = 0;
    while (cycle < step->cycles) {
        // From the host: a start bit, eight bits, a stop bit, without a gap to the next octet.
        if (board->until_bit == 0) {
            if (board->sending > 1) {
                board->sending >>= 1;
            }
            if (board->sending == 1 && taken < step->n_in && !board->resets) {
                board->sending = (0x100u | step->in[taken++]) << 1 | 0x400u;
            }
            board->until_bit = bit;
        }
        board->until_bit--;
        *in(dut.RX) = board->sending & 1;
        dut.p_rst.data[0] = board->resets > 0;
#ifdef SETTLE
        dut.p_clk.data[0] = 0;
        dut.step();
#endif
        dut.prev_p_clk.data[0] = 0;
        dut.p_clk.data[0] = 1;
        dut.eval();
        const bool tx = *out(dut.TX) & 1;
        step->levels = levels(dut);
        step->raised |= step->levels;
        dut.commit();
        cycle++;
        if (board->resets) {
            board->resets--;
            continue;
        }
        // To the host: a look at the middle of every bit.
        if (board->looks == -2) {
            if (tx)
                board->looks = -1;
        } else if (board->looks == -1) {
            if (!tx) {
                board->looks = 0;
                board->until_look = bit / 2;
            }
        } else if (--board->until_look <= 0) {
            board->until_look = bit;
            if (board->looks == 0) {
                board->looks = tx ? -1 : 1;
            } else if (board->looks <= 8) {
                board->seen = board->seen >> 1 | (tx ? 0x80u : 0);
                board->looks++;
            } else {
                if (tx)
                    step->out[step->n_out++] = board->seen;
                board->looks = tx ? -1 : -2;
            }
        }
        const bool moves = board->sending > 1 || taken < step->n_in || board->looks != -1 || step->levels & step->busy;
        board->quiet = moves ? 0 : board->quiet + 1;
        if (step->n_out && board->quiet >= step->pause)
            break;
    }
    step->n_in = taken;
    step->cycles = cycle;
    step->quiet = board->quiet;
}

}  // extern "C"
"""
