"""The golden model against integers of Python, one at a time."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_network
from models import evaluate

from dovetail.sim import golden


@pytest.mark.parametrize("seed", range(12))
def test_network(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, 4).tolist()
    winners = [None, max(1, sizes[2] // 3), sizes[3]]
    network = make_network(rng, sizes=sizes, winners=winners, input_signed=bool(seed % 2), multiplier=bool(seed % 3),
                           codes_out=bool(seed % 4), bits=1 + seed % 8)
    low, high = network.layers[0].input_range
    codes = rng.integers(low, high + 1, (9, sizes[0]))
    codes[0], codes[1], codes[2] = 0, low, high
    results = golden.run(network, codes)
    np.testing.assert_array_equal(results[0].inputs, codes)
    for result, following in zip(results, results[1:], strict=False):
        assert following.inputs is result.outputs
    for result, expected in zip(results, evaluate(network, codes), strict=True):
        np.testing.assert_array_equal(result.outputs, expected)


def test_sums_are_kept_within_their_width():
    rng = np.random.default_rng(1)
    network = make_network(rng, sizes=[9, 7])
    layer = network.layers[0]
    extremes = (*np.where(layer.weights > 0, 255, 0), *np.where(layer.weights < 0, 255, 0))
    for codes in (np.zeros(9), np.full(9, 255), *extremes):
        sums = golden.run_layer(layer, codes[None].astype(np.int64)).sums
        assert -(1 << layer.sum_bits - 1) <= sums.min() and sums.max() < 1 << layer.sum_bits - 1


@pytest.mark.parametrize(("codes", "winners", "kept"), [
    ([3, 5, 3, 5], 1, [0, 5, 0, 0]), ([3, 5, 3, 5], 3, [3, 5, 0, 5]), ([0, 0, 1, 0], 3, [0, 0, 1, 0]),
    ([2, 2, 2, 2], 2, [2, 2, 0, 0]), ([1, 2, 3, 4], 4, [1, 2, 3, 4]),
])
def test_kwta(codes, winners, kept):
    np.testing.assert_array_equal(golden.kwta(np.array([codes]), winners), [kept])


@pytest.mark.parametrize(("shift", "codes"), [
    (0, [0, 0, 0, 1, 2, 3, 3]), (1, [0, 0, 0, 1, 1, 2, 3]), (2, [0, 0, 0, 0, 1, 1, 3])])
def test_requantise(shift, codes):
    layer = replace(make_network(np.random.default_rng(0), sizes=[2, 7]).layers[0], output_bits=2, shift=shift)
    np.testing.assert_array_equal(golden.requantise(np.array([[-7, -1, 0, 1, 2, 3, 99]]), layer), [codes])


def test_requantise_wrong():
    layer = make_network(np.random.default_rng(0), sizes=[2, 3]).layers[0]
    with pytest.raises(ValueError, match=r"^layer must have output_bits, not None$"):
        golden.requantise(np.zeros((1, 3), np.int64), layer)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_codes_wrong(shape):
    network = make_network(np.random.default_rng(0), sizes=[3, 2])
    shown = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"^codes must have shape \(n, 3\), not {shown}$"):
        golden.run(network, np.zeros(shape, np.int64))
