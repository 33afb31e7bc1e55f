"""Adder graphs: equal to the matrix whatever it is, few adders, and every bound that is stated."""

import time
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.hw.adders import Adder, AdderGraph, Term, width_of_range
from dovetail.sw.unroll import adder_graph, signed_digits


def check(weights, *, biases=None, input_range=(0, 255), max_depth=None):
    """The graph of a matrix, after everything that must hold for any."""
    weights = np.asarray(weights)
    graph = adder_graph(weights, biases=biases, input_range=input_range, max_depth=max_depth)
    biases = np.zeros(len(weights), int) if biases is None else np.asarray(biases)
    np.testing.assert_array_equal(graph.weights, weights)
    np.testing.assert_array_equal(graph.biases, biases)
    low, high = input_range
    # Random vectors, and those where a sum is least or largest.
    x = np.concatenate([np.random.default_rng(0).integers(low, high + 1, (5, weights.shape[1])),
                        np.where(weights > 0, high, low), np.where(weights > 0, low, high)])
    sums = graph.evaluate(x)
    np.testing.assert_array_equal(sums, x @ weights.T + biases)
    np.testing.assert_array_equal(graph.output_ranges, np.stack([sums.min(0), sums.max(0)], axis=1))
    # No more adders than without sharing, and none is made twice.
    digits = [sum(len(signed_digits(weight)) for weight in row) for row in weights.tolist()]
    plain = sum(max(0, terms + (bias != 0) - 1) for terms, bias in zip(digits, biases.tolist(), strict=True))
    alone = sum(row.max(initial=0) <= 0 and row.any() for row in weights)     # may be subtracted from zero
    assert len(graph.adders) <= plain + alone
    rows = graph.coefficients[graph.inputs + len(graph.constants):]
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert max_depth is None or graph.depth <= max_depth
    return graph


def test_signed_digits():
    for value in (*range(-600, 601), 2**40 - 1, -(2**40) - 1):
        digits = signed_digits(value)
        positions = [position for position, _ in digits]
        assert sum(digit << position for position, digit in digits) == value
        assert all(digit in (-1, 1) for _, digit in digits)
        assert all(after - before > 1 for before, after in pairwise(positions))


@pytest.mark.parametrize("weights", [
    [[0]], [[1]], [[-1]], [[-128]], [[127]], [[64]], [[-6]],
    [[0, 0], [0, 0]], [[0, 5], [0, 0]], [[1, -1]], [[-1, 1], [1, -1]], [[-1, -1]], [[-2, -4], [1, 2]],
    [[3, 5, 7]] * 4, [[3, 5], [-3, -5], [6, 10], [-12, -20]], [[-1, 2], [-1, 2], [-1, 2]],
    [[85]], [[85], [-85], [170]], [[1 << 20, -(1 << 20)]], [[-8, -16, -32]],
])
@pytest.mark.parametrize("input_range", [(0, 255), (-128, 127), (0, 1), (-5, -2), (3, 3)])
@pytest.mark.parametrize("bias", [None, 0, 4, -4, 1001])
def test_small(weights, input_range, bias):
    check(weights, input_range=input_range, biases=None if bias is None else [bias] * len(weights))


@given(data=st.data())
@settings(max_examples=80)
def test_anything(data):
    draw = data.draw
    kernels, inputs = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    weight = st.one_of(st.just(0), st.integers(-128, 127), st.sampled_from([1, -1, 2, -2, 64, -64, -128]))
    row = st.lists(weight, min_size=inputs, max_size=inputs)
    weights = draw(st.lists(row, min_size=kernels, max_size=kernels))
    if draw(st.booleans()):
        weights += weights[:1]                                                # a kernel twice
    biases = draw(st.one_of(st.none(), st.lists(st.integers(-5000, 5000), min_size=len(weights),
                                                max_size=len(weights))))
    low = draw(st.integers(-200, 200))
    check(weights, biases=biases, input_range=(low, low + draw(st.integers(0, 255))),
          max_depth=draw(st.sampled_from([None, 6, 7, 9])))


@pytest.mark.parametrize("kernels, inputs", [*product((1, 2, 14), (1, 2, 14))])
def test_depth_is_bounded(kernels, inputs):
    weights = np.random.default_rng(1).integers(-128, 128, (kernels, inputs))
    terms = max(sum(len(signed_digits(weight)) for weight in row) for row in weights.tolist())
    least = terms.bit_length()
    graphs = [check(weights, max_depth=depth) for depth in (least, least + 1, None)]
    assert graphs[0].depth <= least
    with pytest.raises(ValueError, match=f"^max_depth must be {least} to 63, not {least - 1}$"):
        adder_graph(weights, max_depth=least - 1)


def test_equal_kernels_cost_nothing_more():
    rng = np.random.default_rng(2)
    weights = rng.integers(-128, 128, (4, 6))
    once = check(weights)
    again = check(np.concatenate([weights, weights, weights << 3]))
    assert len(again.adders) == len(once.adders)


def test_what_is_shared_is_found():
    """x0 + 5 x1 is in all of these, once or shifted or negative: an adder for 5 x1, one for it, one a kernel."""
    graph = check([[1, 5, 1, 0], [2, 10, 0, 1], [-4, -20, 1, 0], [1, 5, 0, 0]])
    assert len(graph.adders) == 5


def test_bits_that_nothing_is_added_to_cost_nothing():
    """x0 + 16 x1: 12 bits, of which 4 are those of x0."""
    assert check([[1, 16]]).adder_bits == 9
    assert check([[1, 16]], input_range=(-128, 127)).adder_bits == 9
    assert check([[16, -1]]).adder_bits == 13                                 # the only form whose result is positive
    assert check([[16, -1], [-16, 1]]).adder_bits == 9 + 13


def test_the_first_layer_of_a_trained_network(shared_models):
    """Time, adders and bits of what the unit is for; the quantised weights stand for those of any quantiser."""
    from dovetail.sw.reader import read_model

    weights = read_model(shared_models / "kws_cnn.onnx").layers[0].weights.reshape(64, 25)
    codes = np.rint(weights / np.abs(weights).max(1, keepdims=True) * 127).astype(int)
    start = time.process_time()
    graph = check(codes)
    assert time.process_time() - start < 10
    assert np.count_nonzero(codes) == 767
    assert len(graph.adders) <= 1161 and graph.adder_bits <= 14_500 and graph.depth == 6, graph.adder_bits


def test_a_large_layer():
    rng = np.random.default_rng(3)
    weights = rng.integers(1, 128, (64, 64)) * rng.choice([-1, 1], (64, 64)) * (rng.random((64, 64)) < 0.2)
    start = time.process_time()
    graph = check(weights, input_range=(-128, 127))
    assert time.process_time() - start < 60
    assert len(graph.adders) <= 1.8 * np.count_nonzero(weights)


def test_same_graph_again():
    weights = np.random.default_rng(4).integers(-128, 128, (8, 8))
    assert adder_graph(weights) == adder_graph(weights.astype(np.int16))


@pytest.mark.parametrize("low, high, bits", [
    (0, 0, 0), (0, 1, 1), (0, 255, 8), (0, 256, 9), (-1, 0, 1), (-1, 1, 2), (-128, 127, 8), (-129, 0, 9), (-1, 128, 9),
    (5, 7, 3),
])
def test_width(low, high, bits):
    assert width_of_range(low, high) == bits


@pytest.mark.parametrize("arguments, error, message", [
    ({"weights": [[1.5]]}, TypeError, "weights must be integers, not float64"),
    ({"weights": [1, 2]}, ValueError, r"weights must be a non-empty array of 2 dimensions, not of shape \(2,\)"),
    ({"weights": np.zeros((0, 3), int)}, ValueError, r"weights must be a non-empty array of 2 .* shape \(0, 3\)"),
    ({"weights": [[1]], "biases": [1, 2]}, ValueError, "biases must be 1, not 2"),
    ({"weights": [[1]], "biases": [0.5]}, TypeError, "biases must be integers, not float64"),
    ({"weights": [[1]], "input_range": (3, 2)}, ValueError, "largest input must be 3 to 2147483648, not 2"),
    ({"weights": [[1]], "input_range": (0.0, 2)}, TypeError, "least input must be an integer, not 0.0"),
    ({"weights": [[1 << 52]]}, ValueError, "weights must give sums of at most 60 bits"),
    ({"weights": np.array([[1 << 63]], np.uint64)}, ValueError, "weights must be of at most 59 bits"),
    ({"weights": [[1]], "max_depth": 2.0}, TypeError, "max_depth must be an integer, not 2.0"),
])
def test_adder_graph_wrong(arguments, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        adder_graph(**arguments)


@pytest.mark.parametrize("changed, message", [
    ({"inputs": 0}, "inputs must be 1 to 65536, not 0"),
    ({"outputs": ()}, "outputs must be at least one"),
    ({"outputs": (Term(3),)}, "output must be 0 to 2, not 3"),
    ({"outputs": (Term(0, -1),)}, "shift of an output must be 0 to 63, not -1"),
    ({"adders": (Adder(first=Term(0), second=Term(2), subtract=False),)}, "operand of node 2 must be 0 to 1, not 2"),
    ({"adders": (Adder(first=Term(0, 1), second=Term(1, 1), subtract=False),)},
     "One operand of node 2 must not be shifted, not .*"),
])
def test_graph_wrong(changed, message):
    good = {"inputs": 2, "input_range": (0, 3), "constants": (), "outputs": (Term(2),),
            "adders": (Adder(first=Term(0), second=Term(1, 1), subtract=False),)}
    assert AdderGraph(**good).weights.tolist() == [[1, 2]]
    with pytest.raises(ValueError, match=f"^{message}$"):
        AdderGraph(**good | changed)


@pytest.mark.parametrize("x, message", [
    ([[1, 2, 3]], r"x must have 2 inputs a vector, not shape \(1, 3\)"), ([[0, 4]], "x must be 0 to 3, not 0 to 4"),
])
def test_evaluate_wrong(x, message):
    graph = adder_graph([[1, 1]], input_range=(0, 3))
    with pytest.raises(ValueError, match=f"^{message}$"):
        graph.evaluate(x)
