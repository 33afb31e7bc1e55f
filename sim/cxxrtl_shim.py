"""The C++ clock loop that is compiled together with a CXXRTL model.

It follows the generated model and a generated part that defines `Dut`, `PORTS`, `CHUNKS` and `bind`, and knows nothing
of the design but its list of ports.

One evaluation a cycle is enough where the model has no combinational feedback: the inputs are set together with the
rising edge, `eval()` computes the combinational outputs from the state *before* the edge and the next state from them,
the handshakes are sampled between `eval()` and `commit()`, and the clock falls without being evaluated. A model with
feedback (`SETTLE`) settles with the clock low first; so does one that writes waves, which show every signal settled.
"""

__all__ = ["SHIM"]

SHIM = r"""
namespace {

// What a run does to one port, in the order sources, sinks; `_Spec` in cxxrtl.py mirrors it.
struct Spec {
    const uint32_t *words;  // what a source sends
    int64_t count;          // words to send, or to wait for
    int64_t restart;        // the word a source goes back to at a reset; -1 goes on
    uint32_t state;         // of the stall generator
    uint32_t rate;          // stalls in eighths of the cycles
    uint32_t steady;        // a source that is always valid
    const uint32_t *setup;  // what a source sends before the first reset
    int64_t setup_count;
};

struct Trace {
    std::vector<int64_t> times;
    std::vector<uint32_t> words;
};

struct Run {
    Trace traces[PORTS];
    int64_t moved[PORTS] = {};  // words accepted, or delivered
    int64_t cycles = 0;
    int32_t status = 0;         // 0: all delivered, 1: no transfer for too long, 2: too many cycles, 3: waves lost
};

bool go(Spec &spec) {
    spec.state ^= spec.state << 13;
    spec.state ^= spec.state >> 17;
    spec.state ^= spec.state << 5;
    return (spec.state >> 29) >= spec.rate;
}

void drive(const Port &port, const uint32_t *words, size_t chunks, uint32_t top) {
    for (size_t c = 0; c < chunks; c++)
        port.payload[c] = words ? words[c] : 0xffffffffu;
    if (!words)
        port.payload[chunks - 1] = top;
}

}  // namespace

extern "C" {

Run *dovetail_run(Spec *specs, int32_t sources, int32_t sinks, const int64_t *resets, int64_t n_resets,
                  int64_t idle_limit, int64_t max_cycles, int64_t settle, const char *vcd_path) {
    std::unique_ptr<Dut> owner(new Dut());
    Dut &dut = *owner;
    Port ports[PORTS];
    bind(dut, ports);
    std::unique_ptr<Run> run(new Run());
    bool offered[PORTS] = {}, accepting[PORTS] = {};
    const int32_t driven = sources + sinks;
    bool wait_for_sinks = false;
    for (int32_t k = sources; k < driven; k++)
        wait_for_sinks |= specs[k].count > 0;
    const int32_t first = wait_for_sinks ? sources : 0, end = wait_for_sinks ? driven : sources;
    auto done = [&] {
        for (int32_t k = first; k < end; k++)
            if (run->moved[k] < specs[k].count)
                return false;
        return true;
    };
#ifdef WAVES
    cxxrtl::debug_items items;
    dut.debug_info(&items, nullptr, "");
    cxxrtl::vcd_writer vcd;
    vcd.timescale(1, "ns");
    vcd.add_without_memories(items);
    FILE *file = std::fopen(vcd_path, "w");
    int64_t time = 0;
    auto sample = [&] {
        vcd.sample(5 * time++);
        if (file && std::fwrite(vcd.buffer.data(), 1, vcd.buffer.size(), file) != vcd.buffer.size())
            run->status = 3;
        vcd.buffer.clear();
    };
#endif
    auto rise = [&] {
#ifdef SETTLE
        dut.p_clk.data[0] = 0;
        dut.step();
#ifdef WAVES
        sample();
#endif
#endif
        dut.prev_p_clk.data[0] = 0;
        dut.p_clk.data[0] = 1;
        dut.eval();
    };
    auto fall = [&] {
        dut.commit();
#ifdef WAVES
        dut.step();
        sample();
#endif
    };
    if (settle) {
        dut.p_rst.data[0] = 0;
        for (int32_t k = 0; k < sources; k++) {
            drive(ports[k], nullptr, CHUNKS[k], TOPS[k]);
            *ports[k].valid = 0;
        }
        for (int32_t k = sources; k < driven; k++)
            *ports[k].ready = 0;
        for (int32_t k = 0; k < sources; k++) {
            for (int64_t n = 0; n < specs[k].setup_count; n++) {
                drive(ports[k], specs[k].setup + n * CHUNKS[k], CHUNKS[k], TOPS[k]);
                *ports[k].valid = 1;
                rise();
                fall();
            }
            drive(ports[k], nullptr, CHUNKS[k], TOPS[k]);
            *ports[k].valid = 0;
        }
        for (; settle; settle--) {
            rise();
            fall();
        }
    }
    int64_t cycle = -1, idle = 0;  // the edge before cycle 0 resets
    for (bool finished = false; !finished; cycle++) {
        const bool again = n_resets && *resets == cycle;
        const bool rst = cycle < 0 || again;
        if (again)
            resets++, n_resets--;
        for (int32_t k = 0; k < sources; k++) {
            Spec &spec = specs[k];
            if (again && spec.restart >= 0)
                run->moved[k] = spec.restart;
            const bool willing = cycle >= 0 && go(spec);
            const int64_t at = run->moved[k];
            offered[k] = !rst && at < spec.count && (offered[k] || willing);
            const bool show = offered[k] || (spec.steady && spec.count);
            const int64_t shown = at < spec.count ? at : spec.count - 1;
            drive(ports[k], show ? spec.words + shown * CHUNKS[k] : nullptr, CHUNKS[k], TOPS[k]);
            *ports[k].valid = offered[k];
        }
        for (int32_t k = sources; k < driven; k++) {
            const bool willing = cycle >= 0 && go(specs[k]);
            accepting[k] = !rst && willing;
            *ports[k].ready = accepting[k];
        }
        dut.p_rst.data[0] = rst;
        rise();
        idle++;
        for (int32_t k = 0; k < sources; k++)
            if (offered[k] && *ports[k].ready) {
                run->traces[k].times.push_back(cycle);
                run->moved[k]++;
                offered[k] = false;
                idle = 0;
            }
        for (int32_t k = sources; k < PORTS; k++) {
            const bool probe = k >= driven;
            if (!(*ports[k].valid && (probe ? *ports[k].ready && !rst : accepting[k])))
                continue;
            if (!probe && run->moved[k] == specs[k].count)
                continue;  // more than was asked for
            Trace &trace = run->traces[k];
            trace.times.push_back(cycle);
            trace.words.insert(trace.words.end(), ports[k].payload, ports[k].payload + CHUNKS[k]);
            run->moved[k]++;
            if (!probe)
                idle = 0;
        }
        fall();
        if (cycle < 0) {
            idle = 0;
            continue;
        }
        if (idle == 0)
            finished = done();
        if (!finished && idle >= idle_limit)
            run->status = 1, finished = true;
        if (!finished && cycle + 1 >= max_cycles)
            run->status = 2, finished = true;
    }
#ifdef WAVES
    if (!file || std::fclose(file))
        run->status = 3;
#endif
    (void)vcd_path;
    run->cycles = cycle;
    return run.release();
}

int32_t dovetail_status(const Run *run) { return run->status; }
int64_t dovetail_cycles(const Run *run) { return run->cycles; }
int64_t dovetail_moved(const Run *run, int32_t k) { return run->moved[k]; }
int64_t dovetail_transfers(const Run *run, int32_t k) { return run->traces[k].times.size(); }

void dovetail_copy(const Run *run, int32_t k, int64_t *times, uint32_t *words) {
    const Trace &trace = run->traces[k];
    std::copy(trace.times.begin(), trace.times.end(), times);
    std::copy(trace.words.begin(), trace.words.end(), words);
}

void dovetail_free(Run *run) { delete run; }

}  // extern "C"
"""
