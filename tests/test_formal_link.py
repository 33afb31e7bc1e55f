# amaranth: UnusedElaboratable=no
"""The host link, for any line and any stalls: what the reader of the memory sees, and what a frame's octets become."""

import pytest
from amaranth.hdl import Array, Assert, Assume, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped
from formal import Spec, assume_stream, check_stream, prove

from dovetail.hw.link import framing
from dovetail.hw.link.checked_fifo import CheckedFifo
from dovetail.hw.link.crc import CrcRegister
from dovetail.hw.link.framing import Deframer, Framer
from dovetail.hw.link.layouts import Part, body_layout, part_layout
from dovetail.hw.link.messages import ESCAPE, ESCAPE_XOR, FLAG


class CheckedFifoSpec(Spec):
    """The reader sees the octets of good frames that had room, in order, without their trailers, and nothing else.

    Good frames are put down one behind the other in a list that is never used twice, each octet with how many of its
    frame are to come; what the reader takes must be the list's next entry.
    """

    DEPTH, LONGEST = 4, 24

    def __init__(self, *, trailer, frames, kind=CheckedFifo):
        self._trailer, self._frames, self._kind = trailer, frames, kind
        super().__init__({"payload": part_layout.size, "valid": 1, "ready": 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        trailer, depth = self._trailer, self.DEPTH
        m.submodules.dut = dut = self._kind(depth=depth, frames=self._frames, trailer=trailer)
        m.d.comb += [dut.i.payload.as_value().eq(self.payload), dut.i.valid.eq(self.valid), dut.o.ready.eq(self.ready)]
        check_stream(m, dut.o, "o")
        octets = Array(Signal(8, name=f"octet{number}") for number in range(self.LONGEST))
        # Of the list: its end, the end of its good frames, the reader's place, and where its frame ends for it.
        end, good, place = (Signal(range(self.LONGEST + 1), name=name) for name in ("end", "good", "place"))
        ends = Array(Signal(range(self.LONGEST + 1), name=f"end{number}") for number in range(8))
        first, free = Signal(3), Signal(3)
        lost, stored, waiting = Signal(), Signal(range(depth + 1)), Signal(range(8))
        m.d.comb += [Assert(dut.i.ready, "the writer never waits"), waiting.eq(free - first), Assume(free - first < 7),
                     Assume(end < self.LONGEST), stored.eq(end - place)]
        part, is_end = dut.i.p.part, Signal()
        m.d.comb += [is_end.eq(part != Part.OCTET), Assume(part.as_value() != 3)]
        kept = Signal()
        m.d.comb += kept.eq((part == Part.GOOD) & ~lost & (waiting != self._frames))
        with m.If(self.valid & ~is_end):
            with m.If((stored == depth) | lost):
                m.d.sync += lost.eq(1)
            with m.Else():
                m.d.sync += [octets[end].eq(dut.i.p.octet), end.eq(end + 1)]
        with m.If(self.valid & is_end):
            m.d.comb += [Assume((part != Part.GOOD) | lost | (end - good > trailer)),
                         Assert(dut.dropped == ~kept, "what is dropped is told")]
            m.d.sync += lost.eq(0)
            with m.If(kept):
                m.d.sync += [good.eq(end), ends[free].eq(end - trailer), free.eq(free + 1)]
            with m.Else():
                m.d.sync += end.eq(good)
        with m.Else():
            m.d.comb += Assert(~dut.dropped, "nothing else is")
        with m.If(dut.o.valid):
            m.d.comb += [
                Assert(waiting != 0, "only what is good is seen"),
                Assert(dut.o.p.octet == octets[place], "octets come as they were, in order"),
                Assert(dut.o.p.left == ends[first] - place, "with how many there are left"),
                Assert(dut.o.p.left != 0, "and never too many"),
            ]
            with m.If(self.ready):
                m.d.sync += place.eq(place + 1)
                with m.If(dut.o.p.left == 1):
                    m.d.sync += [place.eq(place + 1 + trailer), first.eq(first + 1)]
        # Nothing is lost: with a good frame behind it, and nobody writing, the output is not empty for long.
        empty = Signal(range(4))
        m.d.sync += empty.eq(Mux(dut.o.valid | (waiting == 0) | self.valid, 0, empty + 1))
        m.d.comb += Assert(empty < 2, "a good frame is shown")
        return m


@pytest.mark.parametrize(("trailer", "frames"), [(0, 2), (1, 3)])
def test_checked_fifo(trailer, frames, tmp_path):
    code, said = prove(CheckedFifoSpec(trailer=trailer, frames=frames), tmp_path, depth=9)
    assert code == 0, said


class Trusting(wiring.Component):
    """One that takes a bad frame for a good one."""

    def __init__(self, **given):
        self._fifo = CheckedFifo(**given)
        super().__init__(self._fifo.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = self._fifo
        connect(m, flipped(self.o), fifo.o)
        m.d.comb += [fifo.i.payload.eq(self.i.payload), fifo.i.valid.eq(self.i.valid), self.i.ready.eq(fifo.i.ready),
                     self.dropped.eq(fifo.dropped)]
        with m.If(self.i.p.part == Part.BAD):
            m.d.comb += fifo.i.p.part.eq(Part.GOOD)
        return m


def test_bad_frames_that_are_kept_are_found(tmp_path):
    code, said = prove(CheckedFifoSpec(trailer=1, frames=2, kind=Trusting), tmp_path, depth=9)
    assert code == 1
    assert "Assert failed" in said


def any_crc(octet: Signal) -> type[CrcRegister]:
    """A register that holds anything: the rules of stuffing are for all values, and sums are another matter."""
    class AnyCrc(CrcRegister):
        def elaborate(self, platform):
            m = Module()
            with m.If(self.step | self.clear):
                m.d.sync += self.value.eq(octet)
            return m

    return AnyCrc


class FramerSpec(Spec):
    """Flags are only around a frame; what is between them is the message and four octets, stuffed."""

    def __init__(self):
        super().__init__({"payload": body_layout.size, "valid": 1, "ready": 1, "crc": 8})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        m.submodules.dut = dut = Framer()
        m.d.comb += [dut.i.payload.as_value().eq(self.payload), dut.i.valid.eq(self.valid), dut.o.ready.eq(self.ready)]
        assume_stream(m, dut.i, "i")
        check_stream(m, dut.o, "o")
        taken, given = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        # Of the frame on the line: it has begun; an octet of the message has been given whole, and is to be taken; how
        # many octets of the CRC have been given, once the message has been taken.
        inside, escaped, whole, over, check = Signal(), Signal(), Signal(), Signal(), Signal(range(5))
        octet = Signal(8)
        m.d.comb += octet.eq(dut.o.payload ^ Mux(escaped, ESCAPE_XOR, 0))
        with m.If(given):
            with m.If(dut.o.payload == FLAG):
                m.d.comb += [Assert(~inside | (over & (check == 4)), "a flag ends a whole frame"), Assert(~escaped)]
                m.d.sync += [inside.eq(~inside), over.eq(0), check.eq(0)]
            with m.Else():
                m.d.comb += [
                    Assert(inside, "nothing is before a flag"), Assert(~over | (check != 4), "four octets are a CRC"),
                    Assert(~escaped | (octet == FLAG) | (octet == ESCAPE), "only what has to be is escaped"),
                ]
                m.d.sync += escaped.eq((dut.o.payload == ESCAPE) & ~escaped)
                with m.If((dut.o.payload != ESCAPE) | escaped):
                    with m.If(over):
                        m.d.sync += check.eq(check + 1)
                    with m.Else():
                        m.d.comb += [Assert(~whole, "no octet is given twice"), Assert(dut.i.valid),
                                     Assert(octet == dut.i.p.octet, "octets stay as they are")]
                        m.d.sync += whole.eq(1)
        with m.If(taken):
            m.d.comb += Assert(whole & ~over, "no octet is left out")
            m.d.sync += [whole.eq(0), over.eq(dut.i.p.last)]
        return m


def test_framer(tmp_path, monkeypatch):
    """An octet takes nine cycles: a flag, an octet with its escape, and the next."""
    spec = FramerSpec()
    monkeypatch.setattr(framing, "CrcRegister", any_crc(spec.crc))
    code, said = prove(spec, tmp_path, depth=14)
    assert code == 0, said


class DeframerSpec(Spec):
    """An octet is what is left without its stuffing; a frame with an error or an end too early is not good."""

    def __init__(self):
        super().__init__({"octet": 8, "error": 1, "valid": 1, "ready": 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        m.submodules.dut = dut = Deframer()
        m.d.comb += [dut.i.p.octet.eq(self.octet), dut.i.p.error.eq(self.error), dut.i.valid.eq(self.valid),
                     dut.o.ready.eq(self.ready)]
        assume_stream(m, dut.i, "i")
        check_stream(m, dut.o, "o")
        taken, given = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        is_octet = dut.o.p.part == Part.OCTET
        escaped, bad, some, shown = Signal(), Signal(), Signal(range(10)), Signal()
        flag, escape = Signal(), Signal()
        m.d.comb += [flag.eq(~self.error & (self.octet == FLAG)),
                     escape.eq(~self.error & (self.octet == ESCAPE) & ~escaped)]
        with m.If(given):
            m.d.comb += [Assert(dut.i.valid, "nothing comes of nothing"), Assert(~shown, "nothing comes twice"),
                         Assert(is_octet == ~flag, "a flag ends a frame, and nothing else does")]
            m.d.sync += shown.eq(~taken)
            with m.If(is_octet):
                m.d.comb += [
                    Assert(~self.error & ~escape, "errors and escapes are no octets"),
                    Assert(dut.o.p.octet == self.octet ^ Mux(escaped, ESCAPE_XOR, 0), "stuffing is taken off"),
                ]
            with m.If(dut.o.p.part == Part.GOOD):
                m.d.comb += Assert(~bad & ~escaped & (some == 9), "a good frame is whole")
        with m.If(taken):
            m.d.sync += shown.eq(0)
            with m.If(flag):
                m.d.comb += Assert(given == (bad | escaped | (some != 0)), "only what is something ends")
                m.d.sync += [escaped.eq(0), bad.eq(0), some.eq(0)]
            with m.Elif(self.error):
                m.d.sync += bad.eq(1)
            with m.Elif(escape):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.comb += Assert(given | shown, "no octet is left out")
                m.d.sync += [escaped.eq(0), some.eq(Mux(some == 9, 9, some + 1))]
        return m


def test_deframer(tmp_path):
    code, said = prove(DeframerSpec(), tmp_path, depth=14)
    assert code == 0, said


@pytest.mark.parametrize("spec", [FramerSpec, DeframerSpec])
def test_an_escape_that_is_forgotten_is_found(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(framing, "ESCAPE", 0x7C)
    code, said = prove(spec(), tmp_path, depth=24)
    assert code == 1
    assert "Assert failed" in said
