"""Reads groups of taps out of the line buffer, slot by slot, and brings every tap to its lane."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import WindowArch, bits_for
from .layouts import place_layout, tap_layout, window_layout
from .line_buffer import ways
from .window_walk import rotate

__all__ = ["WindowReader"]


class WindowReader(wiring.Component):
    """A group takes as many cycles as its fullest pixel has pairs, at least one.

    The registers are: pairs counted; group being read; memory; pairs held (block RAM is slow); taps turned to their
    column of lanes, where the banks have rows, too; ``o``, where taps are turned to their row (or column) and the
    group's first address is added. Each moves on when the next one is free.

    Members
    -------
    i : In(stream.Signature(tap_layout(arch)))
    count_place, count_en, counts : only with ``arch.indexed``
    place, slot, en, pairs
        To and from the ``LineBuffer``.
    release : Out(range(height + 1))
        Rows that are not read any more.
    o : Out(stream.Signature(window_layout(...)))
    """

    i: stream.Interface
    count_place: data.View
    count_en: Signal
    counts: data.View
    place: data.View
    slot: Signal
    en: Signal
    pairs: data.View
    release: Signal
    o: stream.Interface

    @staticmethod
    def latency(arch: WindowArch) -> int:
        """Cycles from a group's transfer on ``i`` to its first beat on ``o``."""
        return 5 if arch.bank_grid[0] == 1 else 6

    def __init__(self, arch: WindowArch):
        self._arch = arch
        value = Shape(arch.activation_bits, signed=arch.activation_signed)
        self._pair_bits = arch.activation_bits + (bits_for(arch.channels) if arch.indexed else 0)
        pairs = data.ArrayLayout(data.ArrayLayout(unsigned(self._pair_bits), ways(arch)), arch.lanes)
        members = {
            "i": In(stream.Signature(tap_layout(arch))), "place": Out(place_layout(arch)),
            "slot": Out(bits_for(arch.slots)), "en": Out(1), "pairs": In(pairs), "release": Out(range(arch.height + 1)),
            "o": Out(stream.Signature(window_layout(lanes=arch.lanes, address_bits=arch.address_bits, value=value))),
        }
        if arch.indexed:
            members |= {
                "count_place": Out(place_layout(arch)), "count_en": Out(1),
                "counts": In(data.ArrayLayout(unsigned(bits_for(arch.slots + 1)), arch.lanes)),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        grid_rows, grid_columns = arch.bank_grid
        taps, banks = tap_layout(arch), range(arch.lanes)
        # What goes along with the pairs of a beat; `slot` tells the channel of pairs that do not carry it.
        side = data.StructLayout({
            **{name: taps[name].shape for name in ("turn_y", "turn_x", "base")}, "last": 1, "slot": len(self.slot),
            "mask": arch.lanes,
        })

        counted_valid, counted = Signal(), Signal(taps, reset_less=True)
        group_valid, group = Signal(), Signal(taps, reset_less=True)
        read_valid, read = Signal(), Signal(side, reset_less=True)
        held_valid, held = Signal(), Signal(side, reset_less=True)
        step_counted, step_group, step_read, step_held, step_next = (
            Signal(name=f"step_{name}") for name in ("counted", "group", "read", "held", "next"))
        slot, final = self.slot, Signal()
        m.d.comb += [
            step_held.eq(~held_valid | step_next), step_read.eq(~read_valid | step_held),
            step_group.eq(~group_valid | (final & step_read)), step_counted.eq(~counted_valid | step_group),
            self.i.ready.eq(step_counted), self.place.eq(group.place), self.en.eq(step_read),
            self.release.eq(Mux(group_valid & final & step_read, group.release, 0)),
        ]

        with m.If(step_counted):
            m.d.sync += [counted_valid.eq(self.i.valid), counted.eq(self.i.payload)]
        with m.If(step_group):
            m.d.sync += [group_valid.eq(counted_valid), group.eq(counted), slot.eq(0)]
        with m.Elif(step_read):
            m.d.sync += slot.eq(slot + 1)
        mask = Signal(arch.lanes)
        if arch.indexed:
            counts = [Signal(range(arch.slots + 1), name=f"count{bank}", reset_less=True) for bank in banks]
            arriving = [Mux(counted.inside[bank], self.counts[bank], 0) for bank in banks]
            m.d.comb += [
                self.count_place.eq(self.i.p.place), self.count_en.eq(step_counted),
                mask.eq(Cat(count > slot for count in counts)),
            ]
            # Whether a slot is the last one is found while the one before is read.
            with m.If(step_group):
                m.d.sync += [
                    final.eq(~Cat(count > 1 for count in arriving).any()),
                    *(count.eq(now) for count, now in zip(counts, arriving, strict=True)),
                ]
            with m.Elif(step_read):
                m.d.sync += final.eq(~Cat(count > slot + 2 for count in counts).any())
        else:
            m.d.comb += [mask.eq(group.inside), final.eq(slot == arch.slots - 1)]

        with m.If(step_read):
            m.d.sync += [
                read_valid.eq(group_valid), read.turn_y.eq(group.turn_y), read.turn_x.eq(group.turn_x),
                read.base.eq(group.base), read.last.eq(group.last & final), read.slot.eq(slot), read.mask.eq(mask),
            ]
        held_pairs = [[Signal(self._pair_bits, name=f"pair{bank}_{way}", reset_less=True) for way in range(ways(arch))]
                      for bank in banks]
        with m.If(step_held):
            m.d.sync += [held_valid.eq(read_valid), held.eq(read)]
            for bank in banks:
                m.d.sync += [pair.eq(self.pairs[bank][way]) for way, pair in enumerate(held_pairs[bank])]

        pair_bits, chosen = self._pair_bits, []
        for bank, pairs in enumerate(held_pairs):
            pair = Signal(pair_bits, name=f"chosen{bank}")
            m.d.comb += pair.eq(Cat(*pairs).word_select(held.slot[:(len(pairs) - 1).bit_length()], pair_bits)
                                if len(pairs) > 1 else pairs[0])
            if not arch.indexed:        # what lies outside is zero
                pair = Mux(held.mask[bank], pair, 0)
            chosen.append(Cat(held.mask[bank], pair))
        grid = [rotate(chosen[row:row + grid_columns], held.turn_x) for row in range(0, arch.lanes, grid_columns)]
        if grid_rows == 1:
            self._output(m, step_next, held_valid, held, grid[0])
            return m

        turned_valid, turned = Signal(), Signal(side, reset_less=True)
        turned_taps = [[Signal(1 + pair_bits, name=f"turned{row}_{column}", reset_less=True)
                        for column in range(grid_columns)] for row in range(grid_rows)]
        step_o = Signal()
        m.d.comb += step_next.eq(~turned_valid | step_o)
        with m.If(step_next):
            m.d.sync += [turned_valid.eq(held_valid), turned.eq(held),
                         *(tap.eq(now) for row, now_row in zip(turned_taps, grid, strict=True)
                           for tap, now in zip(row, now_row, strict=True))]
        by_column = [rotate(column, turned.turn_y) for column in zip(*turned_taps, strict=True)]
        self._output(m, step_o, turned_valid, turned, [tap for row in zip(*by_column, strict=True) for tap in row])
        return m

    def _output(self, m: Module, step: Signal, valid: Signal, side: data.View, taps: list[Value]) -> None:
        """The register of ``o``, from taps in the order of the lanes: a bit of the mask, a value, a channel."""
        arch, value_bits = self._arch, self._arch.activation_bits
        m.d.comb += step.eq(~self.o.valid | self.o.ready)
        with m.If(step):
            m.d.sync += [self.o.valid.eq(valid), self.o.p.last.eq(side.last)]
            for lane, tap in enumerate(taps):
                channel = tap[1 + value_bits:] if arch.indexed else side.slot
                m.d.sync += [
                    self.o.p.mask[lane].eq(tap[0] if arch.indexed else 1),
                    self.o.p.values[lane].eq(tap[1:1 + value_bits]),
                    self.o.p.addresses[lane].eq(side.base + channel),
                ]
