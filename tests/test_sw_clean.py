"""Clean-up: never a different output, whatever is left out."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dovetail.sim.golden import run
from dovetail.sw.clean import Cleaned, clean
from dovetail.sw.network import Layer, Network, Scale, Thresholds
from dovetail.sw.window import Window


def relu(**options):
    """A plain stage: codes 0 to 255 of sums up to about 2**13."""
    return Scale(**dict(multiplier=None, offset=16, shift=5, low=0, high=255) | options)


def make_layer(name, weights, bias=0, *, codes=(0, 255), **options):
    weights = np.array(weights)
    options = dict(stages=(relu(),)) | options
    return Layer(name=name, weights=weights, mask=weights != 0, weight_bits=8,
                 bias=np.broadcast_to(bias, len(weights)).astype(np.int64), input_range=codes, output_scale=1.0,
                 **options)


def make_network(*layers, shape=None):
    return Network(name="net", input_shape=shape or (layers[0].inputs,), input_range=layers[0].input_range,
                   input_scale=1.0, layers=layers, sha256="0" * 64)


def inputs(rng, network, count=24):
    """Random codes of all kinds: both extremes, mixtures of them, and anything between."""
    low, high = network.input_range
    shape = (count, network.layers[0].inputs)
    codes = rng.integers(low, high + 1, shape)
    ends = np.where(rng.random(shape) < 0.5, low, high)
    return np.vstack([np.full(shape[1], low), np.full(shape[1], high), np.zeros(shape[1], np.int64), codes, ends])


def check(network, rng=None):
    """Clean, compare all outputs, see that a second time changes nothing, and return what was found."""
    cleaned, found = clean(network)
    codes = inputs(rng or np.random.default_rng(0), network)
    before, after = run(network, codes), run(cleaned, codes)
    assert_array_equal(before[-1].outputs, after[-1].outputs)
    for given, left, full, part in zip(network.layers, cleaned.layers, before, after, strict=True):
        assert (given.name, given.output_range) == (left.name, left.output_range)
        chosen = slice(None) if left.origin is None else left.origin
        images = full.outputs.reshape(len(codes), given.kernels, -1)[:, chosen]
        assert_array_equal(images.reshape(len(codes), -1), part.outputs)
    again, _ = clean(cleaned)
    assert [layer.kernels for layer in again.layers] == [layer.kernels for layer in cleaned.layers]
    return cleaned, found


def test_nothing_to_do():
    network = make_network(make_layer("a", [[3, -2], [1, 4]]), make_layer("b", [[1, -1]], stages=()))
    cleaned, found = check(network)
    assert [layer.origin for layer in cleaned.layers] == [None, None]
    assert found == tuple(
        Cleaned(name=name, constant=0, dead=0, removed=0, duplicates=0, dead_positions=0) for name in "ab")


def test_constant_zero():
    network = make_network(make_layer("a", [[3, -2], [0, 0], [-1, -4], [1, 1]], [0, -9, 0, 0]),
                           make_layer("b", [[1, 5, 6, -1]], stages=()))
    cleaned, found = check(network)
    assert found[0].constant == found[0].removed == 2
    assert_array_equal(cleaned.layers[0].origin, [0, 3])
    assert_array_equal(cleaned.layers[1].weights, [[1, -1]])
    assert_array_equal(cleaned.layers[1].bias, [0])


def test_constant_becomes_bias():
    network = make_network(make_layer("a", [[3, -2], [0, 0]], [0, 320]),
                           make_layer("b", [[1, 5], [2, -7]], 4, stages=()))
    cleaned, found = check(network)
    assert_array_equal(cleaned.layers[0].origin, [0])
    assert_array_equal(cleaned.layers[1].bias, [4 + 5 * 10, 4 - 7 * 10])


def test_constant_that_saturates():
    """A kernel with weights, whose smallest sum already has the largest code."""
    network = make_network(make_layer("a", [[3, 2], [1, 1]], [0, 255 * 32]), make_layer("b", [[1, 2]], stages=()))
    cleaned, found = check(network)
    assert_array_equal(cleaned.layers[0].origin, [0])
    assert_array_equal(cleaned.layers[1].bias, [2 * 255])


@pytest.mark.parametrize("negative", [False, True])
def test_constant_behind_two_stages(negative):
    """Stages are monotonic, with negative multipliers too; the codes here are signed."""
    first = relu(multiplier=np.array([3, -3 if negative else 3, 1]), low=-200, high=200)
    second = Thresholds(values=np.array([[-5, 5]] * 3), low=-1)
    network = make_network(make_layer("a", [[3, 2], [0, 0], [1, -1]], [0, 640, 9], stages=(first, second)),
                           make_layer("b", [[1, 100, 1]], codes=(-1, 1), stages=()))
    cleaned, found = check(network)
    assert_array_equal(cleaned.layers[0].origin, [0, 2])
    assert_array_equal(cleaned.layers[1].bias, [-100 if negative else 100])
    assert_array_equal(cleaned.layers[0].stages[0].multiplier, [3, 1])
    assert_array_equal(cleaned.layers[0].stages[1].values, [[-5, 5]] * 2)


def test_constant_before_winners():
    """Zeros go and K shrinks with them; another constant competes and stays."""
    network = make_network(make_layer("a", [[3, -2], [0, 0], [0, 0], [1, 1], [0, 0]], [0, 0, 640, 0, -5], winners=4),
                           make_layer("b", [[1, 5, 6, -1, 9]], stages=()))
    cleaned, found = check(network)
    assert (found[0].constant, found[0].removed) == (3, 2)
    assert_array_equal(cleaned.layers[0].origin, [0, 2, 3])
    assert cleaned.layers[0].winners == 3


def test_dead():
    network = make_network(make_layer("a", [[3, -2], [1, 1], [1, 2]]),
                           make_layer("b", [[1, 0, 2], [3, 0, 0]], stages=()))
    cleaned, found = check(network)
    assert found[0].dead == found[0].removed == found[1].dead_positions == 1
    assert_array_equal(cleaned.layers[0].origin, [0, 2])


def test_dead_before_winners_is_told_only():
    network = make_network(make_layer("a", [[3, -2], [1, 1], [1, 2]], winners=1),
                           make_layer("b", [[1, 0, 2], [3, 0, 0]], stages=()))
    cleaned, found = check(network)
    assert (found[0].dead, found[0].removed) == (1, 0)
    assert cleaned.layers[0].kernels == 3


def test_chain():
    """The last layer ignores kernel 1 of ``b``, the only one to look at kernel 2 of ``a``, alone to see input 1."""
    network = make_network(
        make_layer("a", [[3, 0, 1], [1, 0, 1], [0, 4, 0]]), make_layer("b", [[1, 2, 0], [0, 0, 3], [1, 1, 0]]),
        make_layer("c", [[1, 0, 2]], stages=()))
    cleaned, found = check(network)
    assert [one.removed for one in found] == [one.dead for one in found] == [1, 1, 0]
    assert_array_equal(cleaned.layers[0].origin, [0, 1])
    assert_array_equal(cleaned.layers[1].origin, [0, 2])
    assert [one.dead_positions for one in found] == [1, 1, 1]
    assert cleaned.layers[0].inputs == 3


def test_constant_makes_constant():
    network = make_network(make_layer("a", [[0, 0], [1, 1]], [320, 0]), make_layer("b", [[64, 0], [1, 1]]),
                           make_layer("c", [[3, 1]], stages=()))
    cleaned, found = check(network)
    assert [one.removed for one in found] == [1, 1, 0]
    assert_array_equal(cleaned.layers[2].bias, [3 * 20])


def test_one_kernel_stays():
    network = make_network(make_layer("a", [[0, 0], [0, 0]], 320), make_layer("b", [[1, 1], [2, 0]]),
                           make_layer("c", [[0, 0]], 7, stages=()))
    cleaned, found = check(network)
    assert [layer.kernels for layer in cleaned.layers] == [1, 1, 1]
    assert (found[2].constant, found[2].removed) == (1, 0)


def test_origin_is_that_of_the_model():
    layer = make_layer("a", [[3, -2], [0, 0], [1, 1]], origin=np.array([2, 5, 9]))
    cleaned, found = clean(make_network(layer, make_layer("b", [[1, 1, 1]], stages=())))
    assert found[0].removed == 1
    assert_array_equal(cleaned.layers[0].origin, [2, 9])


def test_duplicates():
    """Equal weights with another bias, or another multiplier, are no duplicates."""
    stage = relu(multiplier=np.array([1, 1, 1, 2]))
    layer = make_layer("a", [[3, -2]] * 4, [5, 5, 6, 5], stages=(stage,))
    _, found = check(make_network(layer, make_layer("b", [[1, 2, 3, 4]], stages=())))
    assert found[0].duplicates == 1


def test_parameters_are_cut():
    stage = Scale(multiplier=np.array([5, 6, 7]), offset=np.array([16, 17, 18]), shift=6, low=0, high=255)
    layer = replace(make_layer("a", [[3, 2], [0, 0], [1, 1]], stages=(stage,)), output_scale=np.array([0.5, 1.0, 2.0]),
                    output_offset=np.array([1.0, 2.0, 3.0]))
    cleaned, _ = check(make_network(layer, make_layer("b", [[1, 1, 1]], stages=())))
    left = cleaned.layers[0]
    assert_array_equal(left.stages[0].multiplier, [5, 7])
    assert_array_equal(left.stages[0].offset, [16, 18])
    assert_array_equal(left.output_scale, [0.5, 2.0])
    assert_array_equal(left.output_offset, [1.0, 3.0])


def convolution(pads):
    """Kernel 1 is a constant 10, kernel 2 a constant 0, kernel 3 dead; then a convolution and a linear layer."""
    rng = np.random.default_rng(1)
    first = make_layer(
        "a", rng.integers(-9, 10, (5, 4)) * np.array([1, 0, 0, 1, 1])[:, np.newaxis], [0, 320, -7, 0, 0], op="Conv",
        window=Window(channels=1, height=7, width=5, kernel=(2, 2)),
        pool=Window(channels=5, height=6, width=4, kernel=(2, 2), strides=(2, 2)))
    weights = rng.integers(1, 10, (3, 5, 2, 2))
    weights[:, 3] = 0
    second = make_layer("b", weights.reshape(3, 20), op="Conv",
                        window=Window(channels=5, height=3, width=2, kernel=(2, 2), pads=pads))
    pixels = second.vectors
    last = rng.integers(-9, 10, (2, 3, pixels))
    last[:, 1, 1:] = 0      # one pixel of the channel is enough to keep it
    return make_network(first, second, make_layer("c", last.reshape(2, -1), stages=()), shape=(1, 7, 5))


def test_convolution():
    network = convolution((0, 0, 0, 0))
    cleaned, found = check(network)
    assert (found[0].constant, found[0].dead, found[0].removed) == (2, 1, 3)
    assert_array_equal(cleaned.layers[0].origin, [0, 4])
    assert cleaned.layers[0].pool.channels == cleaned.layers[1].window.channels == 2
    weights = network.layers[1].weights.reshape(3, 5, 4)
    assert_array_equal(cleaned.layers[1].bias, 10 * weights[:, 1].sum(axis=1))
    assert_array_equal(cleaned.layers[1].weights, weights[:, [0, 4]].reshape(3, 8))
    assert found[1].removed == 0


def test_convolution_padded():
    """Next to the padding a constant is not the same in every window."""
    cleaned, found = check(convolution((1, 0, 0, 1)))
    assert (found[0].constant, found[0].removed) == (2, 2)
    assert_array_equal(cleaned.layers[0].origin, [0, 1, 4])


def test_vector_read_as_an_image():
    """A linear layer whose outputs the next one takes as an image of several pixels is left as it is."""
    first = make_layer("a", [[0, 0]] * 3 + [[1, 2]])
    second = make_layer("b", [[1, 1]], stages=(), window=Window(channels=1, height=2, width=2, kernel=(1, 2)))
    _, found = check(make_network(first, second))
    assert (found[0].constant, found[0].removed) == (3, 0)


def random_stages(rng, kernels, *, signed):
    low = int(rng.integers(-40, 0)) if signed else 0
    if rng.random() < 0.3:
        steps = np.sort(rng.integers(-3000, 3000, (kernels, 3)), axis=1)
        return (Thresholds(values=steps, low=-2 if signed else 0, step=1),)
    sign = rng.choice([-1, 1], kernels) if rng.random() < 0.3 else 1
    multiplier = rng.integers(1, 60, kernels) * sign
    offset = int(rng.integers(0, 999)) if rng.random() < 0.5 else rng.integers(-999, 999, kernels)
    stage = Scale(multiplier=multiplier, offset=offset, shift=9, low=low, high=100,
                  ties_to_even=bool(rng.random() < 0.5))
    return (stage, Scale(multiplier=None, offset=1, shift=1, low=low, high=31)) if rng.random() < 0.3 else (stage,)


def random_network(rng):
    """Two or three convolutions or linear layers with many kernels that are constant or that nothing looks at."""
    image, codes = (int(rng.integers(1, 4)), 6, 5), [(0, 15), (-8, 7), (-81, 174)][rng.integers(3)]
    shape, layers = image, []
    depth = int(rng.integers(2, 5))
    for number in range(depth):
        kernels, window = int(rng.integers(1, 9)), None
        signed = bool(rng.random() < 0.4)
        positions = int(np.prod(shape))
        if len(shape) == 3 and min(shape[1:]) >= 2 and rng.random() < 0.7:
            pads = tuple(map(int, rng.integers(0, 2, 4)))
            window = Window(channels=shape[0], height=shape[1], width=shape[2], kernel=(2, 2), pads=pads)
            positions = window.positions
        weights = rng.integers(-20, 21, (kernels, positions))
        weights[rng.random(kernels) < 0.4] = 0
        weights[:, rng.random(positions) < 0.5] = 0
        if rng.random() < 0.5:
            weights[:, np.repeat(rng.random(shape[0]) < 0.4, positions // shape[0])] = 0
        last = number == depth - 1
        size = (1, 1) if window is None else window.output_size
        pool = None
        if not last and min(size) >= 2 and rng.random() < 0.5:
            pool = Window(channels=kernels, height=size[0], width=size[1], kernel=(2, 2), strides=(2, 1))
        layers.append(make_layer(
            f"l{number}", weights, rng.integers(-2000, 2001, kernels), codes=codes, window=window, pool=pool,
            stages=() if last else random_stages(rng, kernels, signed=signed),
            winners=int(rng.integers(1, kernels + 1)) if not last and not signed and rng.random() < 0.4 else None))
        shape, codes = layers[-1].output_shape, layers[-1].output_range
    return make_network(*layers, shape=image)


def test_random_networks():
    rng = np.random.default_rng(7)
    removed = 0
    for _ in range(300):
        network = random_network(rng)
        cleaned, found = check(network, rng)
        removed += sum(one.removed for one in found)
        for given, left, one in zip(network.layers, cleaned.layers, found, strict=True):
            assert given.kernels - left.kernels == one.removed <= one.constant + one.dead
    assert removed > 1000
