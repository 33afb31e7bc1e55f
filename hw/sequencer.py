"""The slots of one lane: which row of the weight tensor meets which value, cycle by cycle."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .arch import EngineArch, bits_for
from .layouts import activation_shape, item_layout, load_layout
from .rom import Rom

__all__ = ["RowTable", "Sequencer", "run_layout"]


def run_layout(arch: EngineArch) -> data.StructLayout:
    """An item with its rows: ``rows`` of them from ``row`` on (a count of zero takes one idle slot)."""
    return data.StructLayout({
        "row": unsigned(bits_for(arch.lane_rows)), "rows": unsigned(bits_for(arch.most_rows + 1)),
        "value": activation_shape(arch), "fold_end": unsigned(1), "vector_end": unsigned(1),
    })


class RowTable(wiring.Component):
    """Looks up the rows of an item: one memory, one cycle of latency, one item a cycle. An empty item has none.

    Without ``arch.row_table`` it is wires: every item has one row, the one of its own index.

    Members
    -------
    i : In(stream.Signature(item_layout(arch)))
    o : Out(stream.Signature(run_layout(arch)))
    load : In(stream.Signature(load_layout)), only with ``load_id``
    """

    i: stream.Interface
    o: stream.Interface
    load: stream.Interface

    def __init__(self, arch: EngineArch, rows: tuple[int, ...] | None, *, load_id: int | None = None):
        self._arch = arch
        self._rom = None
        members = {"i": In(stream.Signature(item_layout(arch))), "o": Out(stream.Signature(run_layout(arch)))}
        if arch.row_table:
            if rows is None:
                raise TypeError(f"rows must be given for a row table, not {rows!r}")
            width = bits_for(arch.lane_rows) + bits_for(arch.most_rows + 1)
            self._rom = Rom(width=width, depth=arch.folds * arch.lane_positions, init=rows, load_id=load_id)
            if load_id is not None:
                members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        o, item = self.o.p, self.i.p
        if self._rom is None:
            m.d.comb += [
                self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready), o.row.eq(item.index), o.rows.eq(1),
                o.value.eq(item.value), o.fold_end.eq(item.fold_end), o.vector_end.eq(item.vector_end),
            ]
            return m
        m.submodules.rom = rom = self._rom
        if "load" in self.signature.members:
            connect(m, load=flipped(self.load), rom=rom.load)
        row_bits = bits_for(self._arch.lane_rows)
        empty = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready), rom.en.eq(self.i.ready), rom.address.eq(item.index),
            o.row.eq(rom.data[:row_bits]), o.rows.eq(Mux(empty, 0, rom.data[row_bits:])),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                self.o.valid.eq(self.i.valid), o.value.eq(item.value), o.fold_end.eq(item.fold_end),
                o.vector_end.eq(item.vector_end), empty.eq(item.empty),
            ]
        return m


class Sequencer(wiring.Component):
    """Turns items into slots, one a cycle, and keeps at most one fold ahead of the drain.

    The accumulators have two halves. Fold after fold changes the half, and a fold may start when the one before the
    last is drained. A drain slot (``drain``) takes the cycle: no item moves. Outputs follow one cycle after the
    decision.

    Members
    -------
    i : In(stream.Signature(run_layout(arch)))
    drain : In(1)
        This cycle belongs to the drain.
    retire : In(1)
        The oldest complete fold is drained (its last drain slot is in this cycle).
    complete : Out(1)
        At least one complete fold waits for its drain.
    vector_end : Out(1)
        The last slot of a vector is taken in this cycle.
    row, value, half : Out
        The slot: row of the AWT, activation (zero in an idle or a drain slot), half of the accumulators.
    """

    i: stream.Interface
    drain: Signal
    retire: Signal
    complete: Signal
    vector_end: Signal
    row: Signal
    value: Signal
    half: Signal

    def __init__(self, arch: EngineArch):
        self._arch = arch
        super().__init__({
            "i": In(stream.Signature(run_layout(arch))), "drain": In(1), "retire": In(1),
            "complete": Out(1), "vector_end": Out(1),
            "row": Out(bits_for(arch.lane_rows)), "value": Out(activation_shape(arch)), "half": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        run = self.i.p
        ahead, half, done = Signal(range(3)), Signal(), Signal(range(max(2, self._arch.most_rows)))
        go, last_row, fold_end = Signal(), Signal(), Signal()
        m.d.comb += [
            go.eq(self.i.valid & ~self.drain & (ahead != 2)), last_row.eq(done + 1 >= run.rows),
            self.i.ready.eq(go & last_row), fold_end.eq(self.i.ready & run.fold_end),
            self.vector_end.eq(self.i.ready & run.vector_end),
            self.complete.eq(ahead != 0),
        ]
        m.d.sync += [ahead.eq(ahead + fold_end - self.retire), half.eq(half ^ fold_end)]
        m.d.sync += [self.half.eq(half), self.value.eq(0)]
        with m.If(go):
            # Only here: before the first item a row table's output is unknown, and in Verilog so is zero times that.
            m.d.sync += [self.row.eq(run.row + done), done.eq(done + 1)]
            with m.If(run.rows != 0):
                m.d.sync += self.value.eq(run.value)
            with m.If(last_row):
                m.d.sync += done.eq(0)
        return m
