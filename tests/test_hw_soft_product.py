# amaranth: UnusedElaboratable=no
"""Products made of look-up tables: equal to ``*`` for all factors, in engines too, and no multiplier of the device."""

import numpy as np
import pytest
from amaranth.hdl import Assert, Module, Shape, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from builders import make_engine, make_vectors
from formal import Spec, prove
from test_hw_engine import check

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.arch import AccumulatorKind, EngineArch
from dovetail.hw.lane import Multiplier
from dovetail.hw.soft_product import soft_product
from dovetail.sim import simulate

WIDTHS = [(weight, value, is_signed) for weight in (2, 3, 4, 5) for value in (1, 2, 3, 4, 5)
          for is_signed in (False, True)]


class ProductSpec(Spec):
    """All widths side by side."""

    def __init__(self, *, flaw=0):
        self._flaw = flaw
        super().__init__({f"{name}{number}": shape for number, (weight, value, is_signed) in enumerate(WIDTHS)
                          for name, shape in (("weight", signed(weight)), ("value", Shape(value, is_signed)))})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        for number in range(len(WIDTHS)):
            weight, value = getattr(self, f"weight{number}"), getattr(self, f"value{number}")
            product, carry = soft_product(m, weight, value, name=f"product{number}")
            assert len(product) <= len(weight) + len(value) and len(carry) == 1
            m.d.comb += Assert(product + carry + self._flaw == weight * value, f"product {WIDTHS[number]}")
        return m


@pytest.mark.parametrize("flaw", [0, 1])
def test_small_widths(flaw, tmp_path):
    code, said = prove(ProductSpec(flaw=flaw), tmp_path, depth=1)
    assert code == flaw, said


class Product(wiring.Component):
    """A product as a stream."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, weight, value):
        self._factors = data.StructLayout({"weight": weight, "value": value})
        super().__init__({"i": In(stream.Signature(self._factors)), "o": Out(stream.Signature(signed(32)))})

    def elaborate(self, platform):
        m = Module()
        product, carry = soft_product(m, self.i.p.weight, self.i.p.value, name="product")
        m.d.comb += [
            self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready), self.o.payload.eq(product + carry)]
        return m


@pytest.mark.parametrize("value", [Shape(8), signed(8)])
def test_every_product_of_octets(value):
    low = -128 if value.signed else 0
    weights, values = (grid.ravel() for grid in np.meshgrid(np.arange(-128, 128), np.arange(low, low + 256)))
    found = simulate(Product(signed(8), value), {"i": {"weight": weights, "value": values}}, {"o": len(weights)})
    np.testing.assert_array_equal(found.outputs["o"], weights * values)


@pytest.mark.parametrize("kind", AccumulatorKind)
@pytest.mark.parametrize("columns", [1, 2, 4])
@pytest.mark.parametrize("soft", [1, 3, 6])
def test_engine(kind, columns, soft):
    rng = np.random.default_rng(soft)
    case = make_engine(rng, positions=13, lanes=2, banks=3, folds=2, set_size=5, columns=columns, accumulator=kind,
                       soft=soft)
    check(case, make_vectors(case, rng, [13, 0, 1, 6, 13]))


@pytest.mark.parametrize(("weight_bits", "activation_bits", "is_signed"), [(2, 1, False), (5, 9, True), (12, 4, False)])
def test_engine_of_other_widths(weight_bits, activation_bits, is_signed):
    rng = np.random.default_rng(4)
    case = make_engine(rng, positions=12, lanes=2, banks=2, set_size=3, weight_bits=weight_bits, sum_bits=30,
                       activation_bits=activation_bits, activation_signed=is_signed, soft=4)
    vectors = make_vectors(case, rng, [12, 12, 5])
    vectors[1] = -(1 << activation_bits - 1) if is_signed else (1 << activation_bits) - 1
    check(case, vectors)


def pair(**options):
    return EngineArch(positions=512, lanes=1, banks=1, folds=2, set_size=16, columns=1, sum_bits=24, capacity=51,
                      lane_rows=1024, accumulator=AccumulatorKind.BLOCK_RAM, **options)


@pytest.mark.parametrize("family", [Family.ECP5, Family.ICE40_DSP])
def test_takes_no_multiplier(family):
    hard, soft = (count_cells(Multiplier(pair(), soft=soft), family) for soft in (False, True))
    assert hard.dsp == 1 and soft.dsp == 0
    assert soft.lut_equivalents - hard.lut_equivalents <= 100
