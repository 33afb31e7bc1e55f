# amaranth: UnusedElaboratable=no
"""Sums to codes by multiplier, offset and shift against the formula, at every edge of its range."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.arch import STAGE_LATENCY, ScaleArch, StageImages
from dovetail.hw.requantise import Requantise
from dovetail.sim import Engine, simulate
from dovetail.sim.cycles import REQUANTISE_LATENCY


def formula(value, *, multiplier=1, offset=0, shift, low, high, ties_to_even=False):
    exact = Fraction(value * multiplier + offset, 2**shift)
    code = math.floor(exact)
    if ties_to_even and exact == code and code % 2:
        code -= 1
    return min(max(code, low), high)


def check(values, *, bits, shift, low=0, high=255, signed=True, multipliers=(), offsets=(), offset=None, ties=False,
          engine=Engine.AMARANTH):
    """``values`` (vectors, beats, width); ``multipliers`` and ``offsets`` (width, beats), or () for one and for
    ``offset``, half a step where that is None."""
    values = np.asarray(values)
    _, beats, width = values.shape
    numbers = [number for port in multipliers for number in port]
    falls = any(number < 0 for number in numbers)
    own = [number for port in offsets for number in port]
    if offset is None:
        offset = 0 if own else 1 << shift >> 1
    arch = ScaleArch(
        multiplier_bits=max((abs(number).bit_length() for number in numbers), default=0) + falls,
        multiplier_signed=falls, offset_bits=max((abs(number).bit_length() + 1 for number in own), default=0),
        offset=offset, shift=shift, low=low, high=high, ties_to_even=ties)
    dut = Requantise(arch, StageImages(multipliers=multipliers, offsets=offsets), width=width, value=(bits, signed),
                     beats=beats)
    last = np.tile([0] * (beats - 1) + [1], len(values))
    result = simulate(dut, {"i": {"values": values.reshape(-1, width), "last": last}}, {"o": len(last)},
                      engine=engine)
    expected = [[[formula(value, multiplier=multipliers[port][beat] if numbers else 1,
                          offset=offsets[port][beat] if own else offset, shift=shift, low=low, high=high,
                          ties_to_even=ties)
                  for port, value in enumerate(row)] for beat, row in enumerate(vector)] for vector in values.tolist()]
    np.testing.assert_array_equal(result.outputs["o"]["values"], np.reshape(expected, (-1, width)))
    np.testing.assert_array_equal(result.outputs["o"]["last"], last)
    np.testing.assert_array_equal(result.times["o"] - result.times["i"], Requantise.latency)


@pytest.mark.parametrize("shift", range(9))
@pytest.mark.parametrize("code_bits", [1, 4, 8])
def test_every_sum_without_multiplier(shift, code_bits):
    """7 bits: all sums there are. Codes may be wider than sums."""
    check(np.arange(-64, 64).reshape(-1, 2, 2), bits=7, shift=shift, high=(1 << code_bits) - 1)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0, 7), (-4, 3), (-3, 5), (0, 6), (-20, 40), (2, 5), (-6, -2)])
def test_every_value_with_every_offset(low, high, ties, signed):
    """6 bits, and constants that are a half, a whole, odd or nothing."""
    values = np.arange(-32, 32) if signed else np.arange(64)
    for shift, offset in ((0, 0), (0, -3), (1, 1), (1, 0), (2, 2), (2, 5), (3, 4), (3, 12), (4, -8)):
        check(values.reshape(1, 16, 4), bits=6, signed=signed, shift=shift, low=low, high=high, offset=offset,
              ties=ties)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_every_value_with_own_parameters(signed, ties):
    """Every value, multiplier of either sign and offset of a few bits, a kernel each."""
    values = np.arange(-8, 8) if signed else np.arange(16)
    pairs = list(product((-4, -3, -1, 1, 2, 3), range(-9, 9)))
    multipliers = ([m for m, _ in pairs], [1] * len(pairs))
    offsets = ([o for _, o in pairs], list(range(len(pairs))))
    vectors = np.broadcast_to(values[:, np.newaxis, np.newaxis], (16, len(pairs), 2))
    for shift in (0, 2):
        check(vectors, bits=4, signed=signed, shift=shift, low=-5, high=6, multipliers=multipliers, offsets=offsets,
              ties=ties)


@pytest.mark.parametrize("shift", [0, 1, 2, 5, 12, 20, 40])
@pytest.mark.parametrize("code_bits", [1, 3, 8, 16])
def test_multipliers(shift, code_bits):
    rng = np.random.default_rng(shift)
    multipliers = rng.integers(1, 256, (3, 5)).tolist()
    multipliers[0][0], multipliers[2][4] = 255, 1
    sums = rng.integers(-2048, 2048, (20, 5, 3))
    sums[0], sums[1], sums[2] = -2048, 2047, 0
    check(sums, bits=12, shift=shift, high=(1 << code_bits) - 1, multipliers=multipliers)


def test_ties_round_up():
    check([[[-3], [-1], [1], [3]]], bits=4, shift=1, high=15)
    assert [formula(total, offset=1, shift=1, low=0, high=15) for total in (-3, -1, 1, 3)] == [0, 0, 1, 2]


def test_ties_round_to_even():
    """Half a step as offset: what numpy's rint does."""
    sums = np.arange(-64, 64)
    check(sums.reshape(-1, 2, 2), bits=7, shift=2, low=-16, high=15, ties=True)
    found = [formula(total, offset=2, shift=2, low=-16, high=16, ties_to_even=True) for total in sums.tolist()]
    np.testing.assert_array_equal(found, np.rint(sums / 4))


def test_one_beat_a_vector():
    check([[[5]], [[-5]], [[100]]], bits=8, shift=0, high=63, multipliers=[[2]])


@given(data=st.data())
@settings(max_examples=15)
def test_anything(data):
    choose = data.draw
    bits, signed, ties = choose(st.integers(2, 30)), choose(st.booleans()), choose(st.booleans())
    least = -(1 << bits - 1) if signed else 0
    values = choose(st.lists(st.integers(least, least + (1 << bits) - 1), min_size=1, max_size=20))
    multipliers = choose(st.sampled_from([(), ((choose(st.integers(1, 1 << 16)),),),
                                          ((choose(st.integers(-(1 << 20), -1)),),)]))
    offsets = choose(st.sampled_from([(), ((choose(st.integers(-(1 << 40), 1 << 40)),),)]))
    check(np.array(values).reshape(-1, 1, 1), bits=bits, signed=signed, shift=choose(st.integers(0, 40)),
          low=choose(st.integers(-300, 0)), high=choose(st.integers(1, 1 << 16)), multipliers=multipliers,
          offsets=offsets, ties=ties)


def test_cheap_form_has_no_wide_adder():
    """Half a step and all codes of 8 bits, as `dovetail.sw.quantise` has them: an increment, no comparator."""
    cells = {}
    for name, arch, images in (
            ("cheap", ScaleArch(multiplier_bits=0, offset=1 << 15, shift=16, low=0, high=255), StageImages()),
            ("offset", ScaleArch(multiplier_bits=0, offset=12345, shift=16, low=0, high=255), StageImages()),
            ("clamp", ScaleArch(multiplier_bits=0, offset=1 << 15, shift=16, low=-100, high=255), StageImages())):
        dut = Requantise(arch, images, width=1, value=(28, True), beats=1)
        cells[name] = count_cells(dut, Family.ECP5).lut_equivalents
    assert 1.3 * cells["cheap"] < min(cells["clamp"], cells["offset"]), cells


def test_latency_is_the_cycle_models():
    assert Requantise.latency == REQUANTISE_LATENCY == STAGE_LATENCY


ARCH = {"shift": 0, "low": 0, "high": 15}


@pytest.mark.parametrize(("given", "images", "message"), [
    ({"multiplier_bits": 0}, {"multipliers": ((1,),)}, r"multipliers must be given for 0 ports, not for 1"),
    ({"multiplier_bits": 4}, {}, r"multipliers must be given for 1 ports, not for 0"),
    ({"multiplier_bits": 4}, {"multipliers": ((1,), (1,))}, r"multipliers must be given for 1 ports, not for 2"),
    ({"multiplier_bits": 0, "offset_bits": 3}, {}, r"offsets must be given for 1 ports, not for 0"),
    ({"multiplier_bits": 4}, {"multipliers": ((16,),)}, r"multipliers must hold 1 of unsigned\(4\) a beat, not .*"),
    ({"multiplier_bits": 4, "multiplier_signed": True}, {"multipliers": ((8,),)},
     r"multipliers must hold 1 of signed\(4\) a beat, not .*"),
    ({"multiplier_bits": 0, "offset_bits": 3}, {"offsets": ((-5,),)}, r"offsets must hold 1 of signed\(3\) .*"),
])
def test_images_wrong(given, images, message):
    with pytest.raises(ValueError, match=rf"^{message}$"):
        Requantise(ScaleArch(**ARCH | given), StageImages(**images), width=1, value=(4, True), beats=1)
