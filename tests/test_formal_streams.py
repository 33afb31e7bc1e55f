# amaranth: UnusedElaboratable=no
"""Stream contracts, for any stalls: valid and payload stay, order is kept, nothing is lost and nothing comes twice.

Each spec holds a design against the plainest model of it. Where the model's state is tied to that of the design the
claims are proved by induction, for all time; the others from power-up on, to a depth that uses every state.
"""

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Module, Mux, Signal, unsigned
from formal import Spec, assume_stream, check_stream, prove

from dovetail.hw import sequencer
from dovetail.hw.arch import EngineArch, SelectArch, SelectKind
from dovetail.hw.frames import InputFrames
from dovetail.hw.gearbox import Gearbox
from dovetail.hw.layouts import beat_layout, frame_layout, item_layout
from dovetail.hw.replay import ReplayBuffer
from dovetail.hw.rom import Rom
from dovetail.hw.sequencer import RowTable, Sequencer, run_layout
from dovetail.hw.winners import word_layout


def ones(value):
    """Bits that are set."""
    return sum(value, start=0)


class InputFramesSpec(Spec):
    """Each code that exists leaves at its own position, in the cycle in which it comes; frames end where they end."""

    def __init__(self, *, length, width, lanes, skip_zeros):
        self._length, self._width, self._lanes, self._skip_zeros = length, width, lanes, skip_zeros
        layout = frame_layout(width=width, value=unsigned(2), keep=False)
        super().__init__({"payload": layout.size, "valid": 1, "ready": 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        length, width, lanes = self._length, self._width, self._lanes
        m.submodules.dut = dut = InputFrames(
            length=length, width=width, lanes=lanes, value=unsigned(2), skip_zeros=self._skip_zeros)
        m.d.comb += [dut.i.payload.as_value().eq(self.payload), dut.i.valid.eq(self.valid), dut.o.ready.eq(self.ready)]
        assume_stream(m, dut.i, "i")
        check_stream(m, dut.o, "o")
        taken, given = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        position = Signal(range(length + width + 1))        # of the beat's first code; stays behind the end
        present = []
        for number in range(width):
            place, code = position + number, dut.i.p.data[number]
            exists = Signal(name=f"exists{number}")
            m.d.comb += exists.eq((place < length) & ((code != 0) if self._skip_zeros else 1))
            present.append(exists)
            for lane in range(lanes):
                with m.If(given & exists & (place % lanes == lane)):
                    m.d.comb += [
                        Assert(dut.o.p.mask[lane], "a code that exists is handed on"),
                        Assert(dut.o.p.address == place // lanes, "its address is that of its position"),
                        Assert(dut.o.p.values[lane] == code, "it is not changed"),
                    ]
        with m.If(given):
            m.d.comb += [
                Assert(taken, "nothing leaves that has not come"),
                Assert(ones(dut.o.p.mask) == ones(present), "nothing else is handed on"),
                Assert(dut.o.p.last == dut.i.p.last, "an end is an end"),
            ]
        with m.If(taken):
            m.d.comb += Assert(given | (~dut.i.p.last & (position >= length)), "only what is too much is dropped")
            with m.If(dut.i.p.last):
                m.d.sync += position.eq(0)
            with m.Elif(position < length):
                m.d.sync += position.eq(position + width)
        with m.If(self.ready):
            m.d.comb += Assert(dut.i.ready, "with a ready receiver the source never waits")
        return m


@pytest.mark.parametrize("skip_zeros", [False, True])
@pytest.mark.parametrize(("length", "width", "lanes"), [(1, 1, 1), (3, 1, 2), (5, 2, 4), (4, 2, 2), (2, 3, 3)])
def test_input_frames(length, width, lanes, skip_zeros, tmp_path):
    spec = InputFramesSpec(length=length, width=width, lanes=lanes, skip_zeros=skip_zeros)
    code, said = prove(spec, tmp_path, depth=12)
    assert code == 0, said


TABLE = (5, 0 | 1 << 3, 2 | 2 << 3, 7 | 3 << 3, 1 | 2 << 3)


class RowTableSpec(Spec):
    """One item is held at most, and shown with its rows until it is taken."""

    def __init__(self, *, table):
        self._arch = EngineArch(positions=5, lanes=1, banks=1, folds=1, set_size=1, columns=1, capacity=5, lane_rows=8,
                                activation_bits=2, row_table=table, most_rows=3)
        super().__init__({"payload": item_layout(self._arch).size, "valid": 1, "ready": 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        arch = self._arch
        m.submodules.dut = dut = RowTable(arch, TABLE)
        m.d.comb += [dut.i.payload.as_value().eq(self.payload), dut.i.valid.eq(self.valid), dut.o.ready.eq(self.ready),
                     Assume(dut.i.p.index < len(TABLE))]
        assume_stream(m, dut.i, "i")
        check_stream(m, dut.o, "o")
        held, full = Signal(item_layout(arch)), Signal()
        taken = dut.i.valid & dut.i.ready
        m.d.sync += full.eq(taken | (full & ~dut.o.ready))
        with m.If(taken):
            m.d.sync += held.eq(dut.i.payload)
        if not arch.row_table:
            held, full = dut.i.p, dut.i.valid
        m.d.comb += [Assert(dut.o.valid == full, "an item that came and did not leave is here")]
        with m.If(dut.o.valid):
            entry = Array(TABLE)[held.index] if arch.row_table else held.index | 1 << 3
            row, rows = entry & 7, Mux(held.empty, 0, entry >> 3) if arch.row_table else 1
            m.d.comb += [
                Assert(dut.o.p.row == row, "the row is the table's"),
                Assert(dut.o.p.rows == rows, "and so are the rows"),
                Assert(Cat(dut.o.p.value, dut.o.p.fold_end, dut.o.p.vector_end)
                       == Cat(held.value, held.fold_end, held.vector_end), "the rest stays as it was"),
            ]
        return m


@pytest.mark.parametrize("induction", [False, True])
@pytest.mark.parametrize("table", [False, True])
def test_row_table(table, induction, tmp_path):
    code, said = prove(RowTableSpec(table=table), tmp_path, depth=6, induction=induction)
    assert code == 0, said


class Restless(Rom):
    """A memory that reads on while it should hold."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.real = real = Rom(width=self._width, depth=self._depth, init=self._init)
        m.d.comb += [real.address.eq(self.address), real.en.eq(1), self.data.eq(real.data)]
        return m


def test_row_table_that_does_not_hold_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sequencer, "Rom", Restless)
    code, said = prove(RowTableSpec(table=True), tmp_path, depth=6)
    assert code == 1
    assert "Assert failed" in said


class ReplaySpec(Spec):
    """One place of one vector, both picked freely, is watched: its pair comes in every fold, where it belongs.

    What holds for any one pair holds for all: none is lost, moved or repeated.
    """

    def __init__(self, *, capacity, folds, indexed):
        self._arch = EngineArch(
            positions=3, lanes=1, banks=1, folds=folds, set_size=1, columns=1, capacity=capacity, lane_rows=3 * folds,
            activation_bits=2, indexed=indexed)
        super().__init__({"push": 1, "address": 2, "value": 2, "end": 1, "ready": 1, "pick": 2, "pick_slot": 2})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        arch = self._arch
        m.submodules.dut = dut = ReplayBuffer(arch)
        check_stream(m, dut.o, "o")
        running, pick, pick_slot, picked, picked_slot = (
            Signal(), *(Signal(2, name=name) for name in ("now", "now_slot", "picked", "picked_slot")))
        m.d.comb += [pick.eq(Mux(running, picked, self.pick)), pick_slot.eq(Mux(running, picked_slot, self.pick_slot))]
        m.d.sync += [running.eq(1), picked.eq(pick), picked_slot.eq(pick_slot)]

        # The writer keeps to the rules: two vectors at most, no more pairs than there is room for.
        held, filled = Signal(range(3)), Signal(range(arch.capacity + 1))
        writing, reading = Signal(5), Signal(5)     # numbers of vectors; the watched one has a number of two bits
        push, end = Signal(), Signal()
        m.d.comb += [
            push.eq(self.push & (held != 2) & (filled != arch.capacity)), end.eq(self.end & (held != 2)),
            dut.push.eq(push), dut.end.eq(end), dut.address.eq(Mux(self.address < 3, self.address, 0)),
            dut.value.eq(self.value), dut.o.ready.eq(self.ready),
        ]
        address, value, count = Signal(2), Signal(2), Signal(range(arch.capacity + 1))
        with m.If(push):
            m.d.sync += filled.eq(filled + 1)
            with m.If((writing == pick) & (filled == pick_slot)):
                m.d.sync += [address.eq(dut.address if arch.indexed else filled), value.eq(dut.value)]
        with m.If(end):
            m.d.sync += [filled.eq(0), writing.eq(writing + 1)]
            with m.If(writing == pick):
                m.d.sync += count.eq(filled + push)

        fold, slot = Signal(range(arch.folds)), Signal(range(arch.capacity))
        free, item = Signal(), dut.o.p
        taken = dut.o.valid & dut.o.ready
        m.d.comb += free.eq(taken & item.vector_end)
        m.d.sync += held.eq(held + end - free)
        with m.If(dut.o.valid):
            m.d.comb += [
                Assert(held != 0, "an item belongs to a vector that is complete"),
                Assert(item.index < arch.lane_rows, "the index exists"),
                Assert(item.vector_end == (item.fold_end & (fold == arch.folds - 1)), "a vector ends with its folds"),
                Assert(~item.empty | (item.value == 0), "an empty item has no value"),
            ]
            with m.If(reading == pick):
                m.d.comb += [
                    Assert(item.empty == (count == 0), "an empty vector is told"),
                    Assert(item.fold_end == (slot + 1 >= count), "a fold ends with its last pair"),
                ]
                with m.If((slot == pick_slot) & (count != 0)):
                    m.d.comb += [Assert(item.value == value, "values come in order"),
                                 Assert(item.index == fold * 3 + address, "addresses come in order")]
        with m.If(taken):
            m.d.sync += slot.eq(slot + 1)
            with m.If(item.fold_end):
                m.d.sync += [slot.eq(0), fold.eq(fold + 1)]
                with m.If(item.vector_end):
                    m.d.sync += [fold.eq(0), reading.eq(reading + 1)]
        # Nothing is lost: with a complete vector behind it, the output is never empty for two cycles.
        since = Signal(range(3))
        m.d.sync += since.eq(Mux((held != 0) & ~free, Mux(since == 2, 2, since + 1), 0))
        with m.If((since == 2) & (held != 0)):
            m.d.comb += Assert(dut.o.valid, "a complete vector comes out")
        return m


@pytest.mark.parametrize(("capacity", "folds", "indexed"), [(1, 1, True), (1, 2, True), (2, 2, True), (2, 1, False)])
def test_replay_buffer(capacity, folds, indexed, tmp_path):
    code, said = prove(ReplaySpec(capacity=capacity, folds=folds, indexed=indexed), tmp_path, depth=11)
    assert code == 0, said


class SequencerSpec(Spec):
    """A run's slots, one a cycle that is not the drain's, with at most two folds complete."""

    def __init__(self):
        self._arch = EngineArch(positions=8, lanes=1, banks=1, folds=1, set_size=1, columns=1, capacity=8, lane_rows=8,
                                activation_bits=2, row_table=True, most_rows=3)
        super().__init__({"payload": run_layout(self._arch).size, "valid": 1, "drain": 1, "retire": 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        m.submodules.dut = dut = Sequencer(self._arch)
        m.d.comb += [
            dut.i.payload.as_value().eq(self.payload), dut.i.valid.eq(self.valid), dut.drain.eq(self.drain),
            dut.retire.eq(self.retire & self.drain & dut.complete),
        ]
        assume_stream(m, dut.i, "i")
        run = dut.i.p
        ahead, half, done = Signal(range(3)), Signal(), Signal(2)
        slot, ends = Signal(), Signal()
        m.d.comb += [
            slot.eq(dut.i.valid & ~self.drain & (ahead < 2)),
            ends.eq(slot & (done + 1 >= Mux(run.rows == 0, 1, run.rows))),
            Assert(ahead <= 2, "two folds wait at most"),
            Assert(dut.complete == (ahead != 0), "a complete fold is told"),
            Assert(dut.i.ready == ends, "a run is taken with its last slot"),
            Assert(dut.vector_end == (ends & run.vector_end), "the end of a vector is told with its last slot"),
        ]
        m.d.sync += [ahead.eq(ahead + (ends & run.fold_end) - dut.retire), half.eq(half ^ (ends & run.fold_end))]
        with m.If(slot):
            m.d.sync += done.eq(Mux(ends, 0, done + 1))
        row, value, was, of_half = Signal(3), Signal(2), Signal(), Signal()
        m.d.sync += [row.eq(run.row + done), was.eq(slot), of_half.eq(half),
                     value.eq(Mux(slot & (run.rows != 0), run.value, 0))]
        m.d.comb += Assert(dut.value == value, "only a slot with rows has a value")
        with m.If(was):
            m.d.comb += [Assert(dut.row == row, "rows come one after the other"),
                         Assert(dut.half == of_half, "a fold keeps to its half")]
        return m


def test_sequencer(tmp_path):
    code, said = prove(SequencerSpec(), tmp_path, depth=10)
    assert code == 0, said


class GearboxSpec(Spec):
    """Elements of each word leave once, in order, at their places; empty beats only end a vector."""

    def __init__(self, *, width, lanes):
        self._arch = SelectArch(kernels=4 * max(width, lanes), width=width, beats=4 * max(1, lanes // width),
                                value_bits=1, kind=SelectKind.ALL, lanes=lanes, bins=1)
        super().__init__({"payload": word_layout(self._arch).size, "valid": 1, "ready": 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        arch = self._arch
        width, lanes = arch.width, arch.lanes
        m.submodules.dut = dut = Gearbox(arch)
        word, beat = dut.i.p, dut.o.p
        m.d.comb += [
            dut.i.payload.as_value().eq(self.payload), dut.i.valid.eq(self.valid), dut.o.ready.eq(self.ready),
            Assume((word.mask != 0) | word.last), Assume(word.address < arch.words),
        ]
        assume_stream(m, dut.i, "i")
        check_stream(m, dut.o, "o")
        sent, now = Signal(width), Signal(width)        # elements of the word
        start = word.address * width
        for number in range(width):
            element = start + number
            for lane in range(lanes):
                with m.If((element % lanes == lane) & (element // lanes == beat.address) & beat.mask[lane]):
                    m.d.comb += [now[number].eq(1),
                                 Assert(~dut.o.valid | (beat.values[lane] == word.values[number]), "values stay")]
        taken, given = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        with m.If(dut.o.valid):
            m.d.comb += [
                Assert(dut.i.valid, "nothing leaves that has not come"),
                Assert(ones(beat.mask) == ones(now), "every element is one of the word"),
                Assert((now & ~word.mask) == 0, "only marked elements leave"),
                Assert((now & sent) == 0, "none leaves twice"),
                Assert((now != 0) | (beat.last & (word.mask == 0)), "an empty beat is an empty last word"),
                Assert(beat.last == (word.last & ((sent | now) == word.mask)), "the last beat is the last"),
                # In order: no element that is left over lies before one of the beat.
                Assert(((word.mask & ~sent & ~now) & (now - 1) & ~now) == 0, "elements leave in order"),
            ]
        with m.If(taken):
            m.d.comb += [Assert(given, "a word goes with its last beat"),
                         Assert((sent | now) == word.mask, "no element is lost")]
            m.d.sync += sent.eq(0)
        with m.Elif(given):
            m.d.sync += sent.eq(sent | now)
        with m.If(dut.i.valid):
            m.d.comb += Assert(dut.o.valid, "a word is shown at once")
        return m


@pytest.mark.parametrize(("width", "lanes"), [(1, 1), (2, 2), (1, 3), (2, 4), (2, 1), (4, 2), (4, 1), (6, 2)])
def test_gearbox(width, lanes, tmp_path):
    code, said = prove(GearboxSpec(width=width, lanes=lanes), tmp_path, depth=10)
    assert code == 0, said


def test_layouts_used_here_are_those_of_the_ports():
    """The free inputs of the specs are as wide as the payloads they drive."""
    assert InputFramesSpec(length=5, width=2, lanes=4, skip_zeros=False).payload.shape().width == 2 * 2 + 1
    assert beat_layout(lanes=4, address_bits=1, value=unsigned(2)).size == 1 + 8 + 4 + 1
