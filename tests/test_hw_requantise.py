# amaranth: UnusedElaboratable=no
"""Sums to codes against the formula, at every edge of its range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.hw.arch import RequantiseArch
from dovetail.hw.requantise import Requantise
from dovetail.sim import Engine, simulate
from dovetail.sim.cycles import REQUANTISE_LATENCY


def formula(total, multiplier, shift, code_bits):
    rounding = 2 ** (shift - 1) if shift else 0
    return min(max((total * multiplier + rounding) // 2**shift, 0), 2**code_bits - 1)


def check(sums, *, sum_bits, shift, code_bits, multipliers=None):
    """``sums`` (vectors, beats, width); ``multipliers`` (width, beats) or None."""
    sums = np.asarray(sums)
    _, beats, width = sums.shape
    bits = 0 if multipliers is None else max(map(max, multipliers)).bit_length()
    arch = RequantiseArch(multiplier_bits=bits, shift=shift, code_bits=code_bits)
    dut = Requantise(arch, width=width, sum_bits=sum_bits, beats=beats, multipliers=multipliers or ())
    last = np.tile([0] * (beats - 1) + [1], len(sums))
    result = simulate(dut, {"i": {"values": sums.reshape(-1, width), "last": last}}, {"o": len(last)},
                      engine=Engine.AMARANTH)
    expected = [[[formula(int(total), multipliers[port][beat] if multipliers else 1, shift, code_bits)
                  for port, total in enumerate(row)] for beat, row in enumerate(vector)] for vector in sums]
    np.testing.assert_array_equal(result.outputs["o"]["values"], np.reshape(expected, (-1, width)))
    np.testing.assert_array_equal(result.outputs["o"]["last"], last)
    np.testing.assert_array_equal(result.times["o"] - result.times["i"], Requantise.latency)


@pytest.mark.parametrize("shift", range(9))
@pytest.mark.parametrize("code_bits", [1, 4, 8])
def test_every_sum_without_multiplier(shift, code_bits):
    """7 bits: all sums there are. Codes may be wider than sums."""
    check(np.arange(-64, 64).reshape(-1, 2, 2), sum_bits=7, shift=shift, code_bits=code_bits)


@pytest.mark.parametrize("shift", [0, 1, 2, 5, 12, 20, 40])
@pytest.mark.parametrize("code_bits", [1, 3, 8, 16])
def test_multipliers(shift, code_bits):
    rng = np.random.default_rng(shift)
    multipliers = rng.integers(1, 256, (3, 5)).tolist()
    multipliers[0][0], multipliers[2][4] = 255, 1
    sums = rng.integers(-2048, 2048, (20, 5, 3))
    sums[0], sums[1], sums[2] = -2048, 2047, 0
    check(sums, sum_bits=12, shift=shift, code_bits=code_bits, multipliers=multipliers)


def test_ties_round_up():
    check([[[-3], [-1], [1], [3]]], sum_bits=4, shift=1, code_bits=4)
    assert [formula(total, 1, 1, 4) for total in (-3, -1, 1, 3)] == [0, 0, 1, 2]


def test_one_beat_a_vector():
    check([[[5]], [[-5]], [[100]]], sum_bits=8, shift=0, code_bits=6, multipliers=[[2]])


@given(data=st.data())
@settings(max_examples=10)
def test_anything(data):
    choose = data.draw
    sum_bits = choose(st.integers(2, 30))
    sums = choose(st.lists(st.integers(-(1 << sum_bits - 1), (1 << sum_bits - 1) - 1), min_size=1, max_size=20))
    check(np.array(sums).reshape(-1, 1, 1), sum_bits=sum_bits, shift=choose(st.integers(0, 40)),
          code_bits=choose(st.integers(1, 16)), multipliers=[[choose(st.integers(1, 1 << 16))]])


def test_latency_is_the_cycle_models():
    assert Requantise.latency == REQUANTISE_LATENCY


@pytest.mark.parametrize(("bits", "multipliers", "shown"), [(0, ((1,),), r"\(\(1,\),\)"), (4, (), r"\(\)")])
def test_multipliers_wrong(bits, multipliers, shown):
    message = rf"^multipliers must be given where multiplier_bits is not 0, and only there, not {shown}$"
    with pytest.raises(ValueError, match=message):
        Requantise(RequantiseArch(multiplier_bits=bits, shift=0, code_bits=4), width=1, sum_bits=4, beats=1,
                   multipliers=multipliers)
