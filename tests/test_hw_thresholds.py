# amaranth: UnusedElaboratable=no
"""Sums to codes by comparison, against counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.hw.arch import StageImages, ThresholdArch
from dovetail.hw.requantise import Requantise
from dovetail.sim import Engine, simulate


def check(values, thresholds, *, bits, signed=True, low=0, step=1):
    """``values`` (vectors, beats, width), ``thresholds`` (width, beats, count)."""
    values = np.asarray(values)
    _, beats, width = values.shape
    arch = ThresholdArch(count=len(thresholds[0][0]), low=low, step=step)
    dut = Requantise(arch, StageImages(thresholds=thresholds), width=width, value=(bits, signed), beats=beats)
    last = np.tile([0] * (beats - 1) + [1], len(values))
    result = simulate(dut, {"i": {"values": values.reshape(-1, width), "last": last}}, {"o": len(last)},
                      engine=Engine.AMARANTH)
    expected = [[[low + step * sum(value >= threshold for threshold in thresholds[port][beat])
                  for port, value in enumerate(row)] for beat, row in enumerate(vector)] for vector in values.tolist()]
    np.testing.assert_array_equal(result.outputs["o"]["values"], np.reshape(expected, (-1, width)))
    np.testing.assert_array_equal(result.outputs["o"]["last"], last)
    np.testing.assert_array_equal(result.times["o"] - result.times["i"], Requantise.latency)


@pytest.mark.parametrize("signed", [False, True])
def test_every_value_and_threshold(signed):
    """4 bits: also the threshold that every value reaches and the one that none does."""
    least = -8 if signed else 0
    values = np.broadcast_to(np.arange(least, least + 16)[:, np.newaxis, np.newaxis], (16, 17, 1))
    thresholds = [[[threshold] for threshold in range(least, least + 17)]]
    check(values, thresholds, bits=4, signed=signed)
    check(values, thresholds, bits=4, signed=signed, low=-1, step=2)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("low", [0, -1, -9, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 15])
def test_counts(count, low, step):
    rng = np.random.default_rng(count)
    thresholds = np.sort(rng.integers(-2048, 2049, (3, 5, count)), axis=2)
    thresholds[0, 0], thresholds[1, 1], thresholds[2, 2] = -2048, 2048, 7
    values = rng.integers(-2048, 2048, (20, 5, 3))
    values[0], values[1] = -2048, 2047
    values[2] = thresholds[:, :, 0].T.clip(-2048, 2047)
    values[3] = thresholds[:, :, -1].T.clip(-2047, 2048) - 1
    check(values, thresholds.tolist(), bits=12, low=low, step=step)


@given(data=st.data())
@settings(max_examples=10)
def test_anything(data):
    choose = data.draw
    bits, signed = choose(st.integers(1, 40)), choose(st.booleans())
    least = -(1 << bits - 1) if signed else 0
    some = st.integers(least, least + (1 << bits) - 1)
    thresholds = sorted(choose(st.lists(st.integers(least, least + (1 << bits)), min_size=1, max_size=9)))
    values = choose(st.lists(st.one_of(some, st.sampled_from(thresholds).map(
        lambda threshold: min(threshold, least + (1 << bits) - 1))), min_size=1, max_size=20))
    check(np.array(values).reshape(-1, 1, 1), [[thresholds]], bits=bits, signed=signed,
          low=choose(st.integers(-40, 40)), step=choose(st.integers(1, 5)))


@pytest.mark.parametrize(("thresholds", "message"), [
    ((), r"thresholds must be given for 1 ports, not for 0"),
    ((((1,),),), r"thresholds must hold 2 of signed\(5\) a beat, not \(\(1,\),\)"),
    ((((1, 17),),), r"thresholds must hold 2 of signed\(5\) a beat, not \(\(1, 17\),\)"),
])
def test_images_wrong(thresholds, message):
    with pytest.raises(ValueError, match=rf"^{message}$"):
        Requantise(ThresholdArch(count=2, low=0), StageImages(thresholds=thresholds), width=1, value=(4, True), beats=1)
