# amaranth: UnusedElaboratable=no
"""Pool, for any codes, gaps and tokens: what leaves is the maximum of what came, and leaves only with a token."""

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Module, Signal
from formal import Spec, prove

from dovetail.hw.arch import PoolArch
from dovetail.hw.pool import Pool, PoolLine

APART = {"height": 2, "width": 2, "kernel": (2, 2), "strides": (2, 2)}
OVERLAPPING = {"height": 1, "width": 2, "kernel": (1, 3), "strides": (1, 1), "pads": (0, 1, 0, 1)}
BELOW = {"height": 2, "width": 1, "kernel": (2, 1), "strides": (1, 1), "pads": (0, 0, 1, 0)}


def taps(arch):
    """The vectors that each pooled vector sees."""
    rows, columns = arch.output_size
    return [[y * arch.width + x
             for y in range(top, top + arch.kernel[0]) if 0 <= y < arch.height
             for x in range(left, left + arch.kernel[1]) if 0 <= x < arch.width]
            for top in range(-arch.pads[0], rows * arch.strides[0] - arch.pads[0], arch.strides[0])
            for left in range(-arch.pads[1], columns * arch.strides[1] - arch.pads[1], arch.strides[1])]


class PoolSpec(Spec):
    """Vectors of one beat and one bit, which is enough: thresholds commute with maxima.

    The codes of some images are kept, as a pooled vector leaves when others come.
    """

    def __init__(self, design=Pool, **options):
        self._arch = PoolArch(**options, beats=1, ports=1, value_bits=1)
        self._design = design
        super().__init__({"code": 1, "send": 1, "take": 1, "offer": 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        arch = self._arch
        m.submodules.dut = dut = self._design(arch)
        size, groups = arch.height * arch.width, taps(arch)
        images = 2 + 2 * PoolLine.latency // size
        m.d.comb += [
            dut.i.payload.as_value().eq(self.code | 1 << 1), dut.i.valid.eq(self.send), dut.credit.ready.eq(self.take),
            dut.o_credit.valid.eq(self.offer),
        ]
        codes = Array(Signal(name=f"code{place}") for place in range(images * size))
        place, leaving = Signal(range(images * size)), Signal(range(images * len(groups)))
        owed, granted = Signal(6), Signal(6)    # vectors to come, tokens to use
        taken, given = dut.credit.valid & dut.credit.ready, dut.o_credit.valid & dut.o_credit.ready
        m.d.comb += [
            Assert(dut.i.ready, "it is always ready"), Assume(~self.send | (owed != 0)),
            Assert(~dut.o.valid | (granted != 0), "a pooled vector leaves after its token"),
            Assert(~dut.o.valid | dut.o.p.last, "and with its end"),
        ]
        m.d.sync += [owed.eq(owed + taken - self.send), granted.eq(granted + given - dut.o.valid)]
        waits = Signal()
        m.d.sync += waits.eq(dut.credit.valid & ~dut.credit.ready & self.offer)
        with m.If(waits & self.offer):
            m.d.comb += Assert(dut.credit.valid, "a token stays until it is taken")
        with m.If(self.send):
            m.d.sync += [codes[place].eq(self.code), place.eq(place + 1)]
            with m.If(place == images * size - 1):
                m.d.sync += place.eq(0)
        with m.If(dut.o.valid):
            m.d.sync += leaving.eq(leaving + 1)
            with m.If(leaving == images * len(groups) - 1):
                m.d.sync += leaving.eq(0)
        for number in range(images * len(groups)):
            image, group = divmod(number, len(groups))
            greatest = Cat(codes[image * size + tap] for tap in groups[group]).any()
            with m.If(dut.o.valid & (leaving == number)):
                m.d.comb += Assert(dut.o.p.values[0] == greatest, "it is the greatest of its vectors")
        return m


@pytest.mark.parametrize("options", [APART, OVERLAPPING, BELOW], ids=["apart", "overlapping", "below"])
def test_pool(options, tmp_path):
    code, said = prove(PoolSpec(**options), tmp_path, depth=13)
    assert code == 0, said


class Faulty(Pool):
    """A pool without a fault of its own, around which others put theirs."""

    eager = inverted = 0

    def elaborate(self, platform):
        m = Module()
        m.submodules.real = real = Pool(self._arch)
        m.d.comb += [
            real.i.valid.eq(self.i.valid), self.i.ready.eq(real.i.ready), real.i.p.last.eq(self.i.p.last),
            real.i.p.values[0].eq(self.i.p.values[0] ^ self.inverted), self.credit.valid.eq(real.credit.valid),
            real.credit.ready.eq(self.credit.ready), real.o_credit.valid.eq(self.o_credit.valid | self.eager),
            self.o_credit.ready.eq(real.o_credit.ready), self.o.valid.eq(real.o.valid), self.o.p.last.eq(real.o.p.last),
            self.o.p.values[0].eq(real.o.p.values[0] ^ self.inverted),
        ]
        return m


class Eager(Faulty):
    """Does not wait for a token."""

    eager = 1


class Least(Faulty):
    """The minimum."""

    inverted = 1


@pytest.mark.parametrize("design", [Eager, Least])
def test_faults_are_found(design, tmp_path):
    code, _ = prove(PoolSpec(design, **APART), tmp_path, depth=13)
    assert code == 1
