"""The pixels of an image's last rows, in as many banks as taps of a window are read side by side."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, ValueLike, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .arch import WindowArch, bits_for, ceil_div
from .layouts import beat_layout, place_layout
from .winners import balanced_sum

__all__ = ["LineBuffer", "advance", "ways"]


def ways(arch: WindowArch) -> int:
    """Memories side by side in a bank, a power of two: slot ``s`` of a pixel is in memory ``s % ways``, so that the
    pairs of one beat, which take slots one after the other, never meet."""
    return 1 << (min(arch.input_lanes, arch.slots) - 1).bit_length()


def advance(m: Module, place: tuple[Signal, Signal], step: tuple[ValueLike, ValueLike], *, divisor: int, unit: int,
            end: int) -> Value:
    """``place`` moved on by ``step``, as a concatenation.

    A place is a multiple of ``unit`` below ``end``, which wraps, and a rest below ``divisor``, which carries a unit.
    """
    rest, quotient = Signal(range(2 * divisor)), Signal(range(2 * end))
    carry, next_rest, next_quotient = Signal(), Signal.like(place[1]), Signal.like(place[0])
    m.d.comb += [
        rest.eq(place[1] + step[1]), carry.eq(rest >= divisor), next_rest.eq(Mux(carry, rest - divisor, rest)),
        quotient.eq(place[0] + step[0] + Mux(carry, unit, 0)),
        next_quotient.eq(Mux(quotient >= end, quotient - end, quotient)),
    ]
    return Cat(next_quotient, next_rest)


class LineBuffer(wiring.Component):
    """Stores pixels as they come, row after row and image after image, in a ring of ``arch.rows`` rows.

    With a grid of (Q, R) banks, column ``x`` of the ring's row ``y`` is pixel ``y // Q * ceil(width / R) + x // R`` of
    bank (y % Q, x % R). A pixel's pairs are in consecutive slots, and their number in a small memory of its own: only
    that has to be looked up before a group of taps is read. Memories are read synchronously, so they may become block
    RAM or, where they are shallow, LUT RAM.

    A beat that transfers in cycle t is in the memories, and counted by ``row_done`` and ``column``, from cycle t + 2
    on. One beat a cycle; ``i`` waits at the begin of a row, until a row of the ring is free.

    Members
    -------
    i : In(stream.Signature(beat_layout(...)))
        Element ``address * input_lanes + lane`` is the channel; ``last`` ends a pixel, which has ``slots`` pairs at
        most.
    release : In(range(height + 1))
        Rows that are free from the next cycle on, the oldest first.
    row_done : Out(1)
        The last pixel of a row is being stored.
    column : Out(range(width))
        Pixels of the current row that are stored.
    count_place : In(place_layout(arch)), count_en : In(1), counts : Out(ArrayLayout(..., lanes))
        Number of pairs of one pixel in each bank, a cycle later. Without ``arch.indexed`` there are no counts.
    place : In(place_layout(arch)), slot : In(range(slots)), en : In(1)
        What is read.
    pairs : Out(ArrayLayout(ArrayLayout(pair, ways), lanes))
        Of each bank, a cycle later, those slots of which one is ``slot``. A pair is ``value`` in the low bits and, with
        ``arch.indexed``, the channel above.
    """

    i: stream.Interface
    release: Signal
    row_done: Signal
    column: Signal
    count_place: data.View
    count_en: Signal
    counts: data.View
    place: data.View
    slot: Signal
    en: Signal
    pairs: data.View

    def __init__(self, arch: WindowArch):
        self._arch = arch
        value = Shape(arch.activation_bits, signed=arch.activation_signed)
        self._pair_bits = arch.activation_bits + (bits_for(arch.channels) if arch.indexed else 0)
        members = {
            "i": In(stream.Signature(beat_layout(
                lanes=arch.input_lanes, address_bits=arch.input_address_bits, value=value))),
            "release": In(range(arch.height + 1)), "row_done": Out(1), "column": Out(range(arch.width)),
            "place": In(place_layout(arch)), "slot": In(bits_for(arch.slots)), "en": In(1),
            "pairs": Out(data.ArrayLayout(data.ArrayLayout(unsigned(self._pair_bits), ways(arch)), arch.lanes)),
        }
        if arch.indexed:
            members |= {
                "count_place": In(place_layout(arch)), "count_en": In(1),
                "counts": Out(data.ArrayLayout(unsigned(bits_for(arch.slots + 1)), arch.lanes)),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        grid_rows, grid_columns = arch.bank_grid

        free = Signal(range(arch.rows + arch.height + 1), init=arch.rows)
        transfer, pixel_end, row_end = Signal(), Signal(), Signal()
        x = Signal(range(arch.width))
        m.d.comb += [
            self.i.ready.eq(free != 0), transfer.eq(self.i.valid & self.i.ready),
            pixel_end.eq(transfer & self.i.p.last), row_end.eq(pixel_end & (x == arch.width - 1)),
        ]
        m.d.sync += free.eq(free + self.release - row_end)

        # Place of the pixel that is coming: the ring's row is (line, bank_y), its column (offset, bank_x).
        columns = ceil_div(arch.width, grid_columns)
        line, bank_y = Signal(range(arch.bank_pixels)), Signal(range(grid_rows))
        offset, bank_x = Signal(range(columns)), Signal(range(grid_columns))
        with m.If(pixel_end):
            m.d.sync += [
                x.eq(x + 1), Cat(offset, bank_x).eq(
                    advance(m, (offset, bank_x), (0, 1), divisor=grid_columns, unit=1, end=columns)),
            ]
            with m.If(x == arch.width - 1):
                m.d.sync += [
                    x.eq(0), offset.eq(0), bank_x.eq(0), Cat(line, bank_y).eq(
                        advance(m, (line, bank_y), (0, 1), divisor=grid_rows, unit=columns, end=arch.bank_pixels)),
                ]

        # The pairs of a beat take the next slots of the pixel.
        count = Signal(range(arch.slots + 1))
        slots = [count, *(count + balanced_sum([self.i.p.mask[lane] for lane in range(lanes)])
                          for lanes in range(1, arch.input_lanes + 1))]
        with m.If(transfer):
            m.d.sync += count.eq(Mux(self.i.p.last, 0, slots[-1]))

        # One register, then the memories. A memory of one row would have an address without bits, which tools refuse.
        mask, write_y, write_x = Signal(arch.input_lanes), Signal.like(bank_y), Signal.like(bank_x)
        ended, ended_row = Signal(), Signal()
        beat = Signal.like(self.i.payload, reset_less=True)
        first, total = Signal.like(count, reset_less=True), Signal.like(count, reset_less=True)
        lane_slots = [Signal.like(count, name=f"slot{lane}", reset_less=True) for lane in range(arch.input_lanes)]
        pixel = Signal(range(arch.bank_pixels), reset_less=True)
        m.d.sync += [
            mask.eq(Mux(transfer, self.i.p.mask, 0)), ended.eq(pixel_end), ended_row.eq(row_end), self.column.eq(x),
            beat.eq(self.i.payload), first.eq(count), total.eq(slots[-1]), pixel.eq(line + offset), write_y.eq(bank_y),
            write_x.eq(bank_x), *(kept.eq(slot) for kept, slot in zip(lane_slots, slots[:-1], strict=True)),
        ]
        m.d.comb += self.row_done.eq(ended_row)
        writes = self._writes(m, beat, mask, first, lane_slots)
        for number in range(arch.lanes):
            y, x_bank = divmod(number, grid_columns)
            here = Signal(name=f"here{number}")
            m.d.comb += here.eq((write_y == y) & (write_x == x_bank))
            self._bank(m, number, here, pixel, writes)
            if arch.indexed:
                m.submodules[f"counts{number}"] = memory = Memory(
                    shape=unsigned(bits_for(arch.slots + 1)), depth=max(2, arch.bank_pixels), init=[])
                write, read = memory.write_port(), memory.read_port()
                m.d.comb += [
                    write.addr.eq(pixel), write.data.eq(total), write.en.eq(ended & here), read.en.eq(self.count_en),
                    read.addr.eq(_address(self.count_place, y, x_bank)), self.counts[number].eq(read.data),
                ]
        return m

    def _writes(self, m: Module, beat: data.View, mask: Signal, first: Signal,
                lane_slots: Sequence[Signal]) -> list[tuple[Value, Signal, Signal]]:
        """Word, pair and enable of what each memory of a bank takes from a beat."""
        arch = self._arch
        way_bits = ways(arch).bit_length() - 1
        found = []
        for way in range(ways(arch)):
            pair, en = Signal(self._pair_bits, name=f"pair{way}"), Signal(name=f"en{way}")
            for lane in range(arch.input_lanes):
                with m.If(mask[lane] & (lane_slots[lane][:way_bits] == way)):
                    m.d.comb += [
                        en.eq(1), pair.eq(Cat(beat.values[lane], beat.address * arch.input_lanes + lane)
                                          if arch.indexed else beat.values[lane]),
                    ]
            # The first slot of this way that is not taken.
            found.append((first[way_bits:] + (first[:way_bits] > way), pair, en))
        return found

    def _bank(self, m: Module, number: int, here: Signal, pixel: Signal,
              writes: Sequence[tuple[Value, Signal, Signal]]) -> None:
        arch = self._arch
        way_bits = len(writes).bit_length() - 1
        word_bits = (ceil_div(arch.slots, len(writes)) - 1).bit_length()
        address = _address(self.place, *divmod(number, arch.bank_grid[1]))
        attrs = {} if arch.block_ram is None else {"ram_style": "block" if arch.block_ram else "distributed"}
        for way, (word, pair, en) in enumerate(writes):
            m.submodules[f"bank{number}_{way}"] = memory = Memory(
                shape=unsigned(self._pair_bits), depth=max(2, arch.bank_pixels << word_bits), init=[], attrs=attrs)
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(Cat(word[:word_bits], pixel)), write.data.eq(pair), write.en.eq(en & here),
                read.addr.eq(Cat(self.slot[way_bits:][:word_bits], address)), read.en.eq(self.en),
                self.pairs[number][way].eq(read.data),
            ]


def _address(place: data.View, y: int, x: int) -> Value:
    """Which pixel bank (y, x) reads."""
    upper, lower = (Mux(place.below_x[x], row[1], row[0]) for row in (place.pixels[0], place.pixels[1]))
    return Mux(place.below_y[y], lower, upper)
