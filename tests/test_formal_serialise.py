# amaranth: UnusedElaboratable=no
"""Serialise, for any values, gaps and tokens: every element of every vector leaves, in order, and only with a token."""

import pytest
from amaranth.hdl import Array, Assert, Assume, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped
from formal import Spec, prove

from dovetail.hw.serialise import Serialise

KERNELS = 2
BIASES = ((0, 1),)      # one port, a bias a beat
RING = 8                # vectors on their way, at most, are fewer


def serialise(vectors):
    return Serialise(kernels=KERNELS, width=1, value_bits=1, sum_bits=2, biases=BIASES, vectors=vectors)


class SerialiseSpec(Spec):
    """Vectors of two elements of one bit (0 or -1), two beats each."""

    def __init__(self, dut, vectors):
        self._dut, self._vectors = dut, vectors
        super().__init__({"values": KERNELS, "send": 1, "take": 1, "offer": 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        m.submodules.dut = dut = self._dut
        m.d.comb += [
            dut.i.payload.as_value().eq(self.values), dut.i.valid.eq(self.send), dut.credit.ready.eq(self.take),
            dut.o_credit.valid.eq(self.offer),
        ]
        taken, given = dut.credit.valid & dut.credit.ready, dut.o_credit.valid & dut.o_credit.ready
        # Vectors to come, vectors here that have no token of the consumer yet, and beats that are to leave.
        owed, waiting, beats = (Signal(range(RING), name=name) for name in ("owed", "waiting", "beats"))
        m.d.sync += [
            owed.eq(owed + taken - self.send), waiting.eq(waiting + self.send - given),
            beats.eq(beats + KERNELS * given - dut.o.valid),
        ]
        m.d.comb += [
            Assert(dut.i.ready, "it is always ready"), Assume(~self.send | (owed != 0)),
            Assert(owed + waiting <= self._vectors, "no more tokens than there is room"),
            Assert(~given | (waiting != 0), "the consumer's token is taken for a vector that is here"),
            Assert(~dut.o.valid | (beats != 0), "a beat leaves after its vector's token"),
        ]
        refused = Signal()
        m.d.sync += refused.eq(dut.credit.valid & ~dut.credit.ready)
        with m.If(refused):
            m.d.comb += Assert(dut.credit.valid, "a token stays until it is taken")
        # What came, in a ring, and what leaves.
        came = Array(Signal(KERNELS, name=f"came{place}") for place in range(RING))
        coming, leaving, element = Signal(range(RING)), Signal(range(RING)), Signal(range(KERNELS))
        with m.If(self.send):
            m.d.sync += [came[coming].eq(self.values), coming.eq(coming + 1)]
        value = Signal()
        m.d.comb += value.eq(came[leaving].bit_select(element, 1))
        with m.If(dut.o.valid):
            m.d.comb += [
                Assert(dut.o.p.last == (element == KERNELS - 1), "the last beat is marked"),
                Assert(dut.o.p.values.as_value() == (value.replicate(2) + element)[:2], "its element, bias added"),
            ]
            m.d.sync += [element.eq(element + 1), leaving.eq(leaving + (element == KERNELS - 1))]
        return m


@pytest.mark.parametrize("vectors", [1, 2, 3])
def test_serialise(vectors, tmp_path):
    code, said = prove(SerialiseSpec(serialise(vectors), vectors), tmp_path, depth=12)
    assert code == 0, said


class Faulty(wiring.Component):
    """A serialiser of two vectors around which others put their faults."""

    hasty = generous = 0

    def __init__(self):
        self._real = serialise(2)
        super().__init__(dict(self._real.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.submodules.real = real = self._real
        connect(m, flipped(self.i), real.i)
        connect(m, real.o, flipped(self.o))
        m.d.comb += [
            self.credit.valid.eq(real.credit.valid | self.generous), real.credit.ready.eq(self.credit.ready),
            real.o_credit.valid.eq(self.o_credit.valid | self.hasty), self.o_credit.ready.eq(real.o_credit.ready),
        ]
        return m


class Hasty(Faulty):
    """Does not wait for a token."""

    hasty = 1


class Generous(Faulty):
    """Gives tokens for which there is no room."""

    generous = 1


@pytest.mark.parametrize("design", [Hasty, Generous])
def test_faults_are_found(design, tmp_path):
    code, _ = prove(SerialiseSpec(design(), 2), tmp_path, depth=12)
    assert code == 1
