"""The golden model against integers of Python, one at a time."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dovetail.sim import golden
from dovetail.sw.network import Layer, Network, Scale, Thresholds
from dovetail.sw.window import Window


def plain_stage(stage, value, kernel):
    """One code of one sum."""
    if isinstance(stage, Thresholds):
        return stage.low + stage.step * sum(value >= limit for limit in stage.values[kernel].tolist())
    offset = stage.offset if isinstance(stage.offset, int) else stage.offset.tolist()[kernel]
    total = value * (1 if stage.multiplier is None else stage.multiplier.tolist()[kernel]) + offset
    code, rest = divmod(total, 2**stage.shift)
    if stage.ties_to_even and rest == 0 and code % 2:
        code -= 1
    return min(max(code, stage.low), stage.high)


def plain_windows(window, image):
    """For every window, rows before columns, the (channel, value) pairs of its positions; None is padding."""
    def at(channel, row, column):
        inside = 0 <= row < window.height and 0 <= column < window.width
        return image[(channel * window.height + row) * window.width + column] if inside else None

    rows, columns = window.output_size
    return [[(channel, at(channel, i * window.strides[0] - window.pads[0] + y,
                          j * window.strides[1] - window.pads[1] + x))
             for channel in range(window.channels) for y in range(window.kernel[0]) for x in range(window.kernel[1])]
            for i in range(rows) for j in range(columns)]


def plain_layer(layer, codes):
    """Sums (vectors, M) and outputs of one input: nested lists, no line of the golden model."""
    vectors = [codes] if layer.window is None else [
        [value or 0 for _, value in window] for window in plain_windows(layer.window, codes)]
    weights, bias = layer.weights.tolist(), layer.bias.tolist()
    sums = [[sum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(weights, bias, strict=True)]
            for vector in vectors]
    image = [[] for _ in bias]
    for vector in sums:
        for kernel, value in enumerate(vector):
            for stage in layer.stages:
                value = plain_stage(stage, value, kernel)
            image[kernel].append(value)
    if layer.pool is not None:
        flat = list(itertools.chain(*image))
        image = [[max(value for channel, value in window if channel == kernel and value is not None)
                  for window in plain_windows(layer.pool, flat)] for kernel in range(len(bias))]
    if layer.winners is not None:
        for pixel in range(len(image[0])):
            ranked = sorted((-image[kernel][pixel], kernel) for kernel in range(len(bias)))
            for _, kernel in ranked[layer.winners:]:
                image[kernel][pixel] = 0
    return sums, list(itertools.chain(*image))


def check(network, codes):
    results = golden.run(network, codes)
    assert len(results) == len(network.layers)
    assert_array_equal(results[0].inputs, codes)
    for result, following in itertools.pairwise(results):
        assert following.inputs is result.outputs
    for layer, result in zip(network.layers, results, strict=True):
        expected = [plain_layer(layer, vector) for vector in result.inputs.tolist()]
        assert_array_equal(result.sums, [sums for sums, _ in expected])
        assert_array_equal(result.outputs, [outputs for _, outputs in expected])
        assert result.outputs.dtype == np.int64


def random_stage(rng, kernels, spread, *, low, high):
    """Any kind of stage whose codes depend on values of about ``-spread .. spread``."""
    kind = rng.integers(4)
    if kind == 0:
        values = np.sort(rng.integers(-spread, spread + 1, (kernels, high - low)), axis=1)
        return Thresholds(values=values, low=low)
    multiplier = rng.integers(1, 256, kernels) * rng.choice([-1, 1], kernels) if kind > 1 else None
    most = spread * (1 if multiplier is None else 256)
    shift = max(1, int(most / (high - low)).bit_length())
    offset = rng.integers(-most // 4, most // 4 + 1, kernels) if kind == 3 else 1 << shift - 1
    return Scale(multiplier=multiplier, offset=offset, shift=shift, low=low, high=high, ties_to_even=kind == 2)


def random_layer(rng, name, kernels, codes, **changes):
    positions = changes["window"].positions if "window" in changes else changes.pop("positions")
    mask = rng.random((kernels, positions)) < 0.6
    return Layer(**{
        "name": name, "weights": np.where(mask, rng.integers(-127, 128, mask.shape), 0), "mask": mask,
        "weight_bits": 8, "bias": rng.integers(-999, 1000, kernels), "input_range": codes,
        "output_scale": 1.0} | changes)


def make_network(*layers, input_shape=None):
    return Network(name="n", input_shape=input_shape or (layers[0].inputs,), input_range=layers[0].input_range,
                   input_scale=1.0, layers=layers, sha256="")


def make_codes(rng, network, count=6):
    low, high = network.input_range
    codes = rng.integers(low, high + 1, (count, network.layers[0].inputs))
    codes[:3] = [[0], [low], [high]]
    return codes


@pytest.mark.parametrize("seed", range(12))
def test_perceptron(seed):
    """Stages of every kind, one or two a layer, with and without k-WTA and sums at the end."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, 4).tolist()
    codes, layers = ((-81, 174), (0, 255), (-1, 1), (0, 1))[seed % 4], []
    for number, (positions, kernels) in enumerate(itertools.pairwise(sizes)):
        layer = random_layer(rng, f"fc{number}", kernels, codes, positions=positions)
        if number < 2 or seed % 3:
            spread = max(-layer.sum_range[0], layer.sum_range[1], 20) // 4
            low = int(rng.choice([0, -7]))
            stages = [random_stage(rng, kernels, spread, low=low, high=9)]
            if rng.random() < 0.5:
                stages.insert(0, Scale(multiplier=None, offset=3, shift=2, low=-(2**15), high=2**15))
            winners = int(rng.integers(1, kernels + 1)) if low == 0 and rng.random() < 0.7 else None
            layer = replace(layer, stages=tuple(stages), winners=winners)
            codes = layer.output_range
        layers.append(layer)
    network = make_network(*layers)
    check(network, make_codes(rng, network))


@pytest.mark.parametrize("seed", range(8))
def test_convolution(seed):
    """Two convolutions, pooled and with k-WTA at each pixel, and a layer over what they leave."""
    rng = np.random.default_rng(seed)
    kernel, stride, pad = (((3, 3), (1, 1), (1, 1, 1, 1)), ((2, 3), (2, 1), (0, 2, 1, 0)),
                           ((1, 1), (1, 2), (0, 0, 0, 0)), ((5, 2), (1, 1), (2, 0, 2, 1)))[seed % 4]
    first = Window(channels=2, height=7, width=6, kernel=kernel, strides=stride, pads=pad)
    low = -5 if seed % 3 == 2 else 0
    conv0 = random_layer(rng, "conv0", 5, (-81, 174), window=first, winners=None if low else 2,
                         stages=(random_stage(rng, 5, 4000, low=low, high=9),))
    height, width = first.output_size
    if seed % 2:
        conv0 = replace(conv0, pool=Window(channels=5, height=height, width=width, kernel=(2, 3), strides=(1, 2),
                                           pads=(1, 1, 0, 2)))
    channels, height, width = conv0.output_shape
    second = Window(channels=channels, height=height, width=width, kernel=(2, 2), pads=(1, 0, 0, 1))
    conv1 = random_layer(rng, "conv1", 4, conv0.output_range, window=second, winners=3,
                         stages=(random_stage(rng, 4, 1000, low=0, high=15),))
    fc = random_layer(rng, "fc", 3, (0, 15), positions=int(np.prod(conv1.output_shape)))
    network = make_network(conv0, conv1, fc, input_shape=(2, 7, 6))
    check(network, make_codes(rng, network, 4))
    assert golden.run(network, make_codes(rng, network, 4))[0].sums.shape == (4, conv0.vectors, 5)


def test_convolution_sums_out():
    rng = np.random.default_rng(0)
    window = Window(channels=1, height=1, width=9, kernel=(1, 4), strides=(1, 2), pads=(0, 1, 0, 1))
    network = make_network(random_layer(rng, "conv", 3, (0, 7), window=window), input_shape=(1, 9))
    check(network, make_codes(rng, network))


def test_pool_never_sees_padding():
    """All codes negative: a padding of zeros would win."""
    window = Window(channels=1, height=2, width=2, kernel=(1, 1))
    pool = Window(channels=1, height=2, width=2, kernel=(2, 2), strides=(2, 2), pads=(1, 1, 1, 1))
    one = np.ones((1, 1), int)
    network = make_network(Layer(
        name="a", weights=one, mask=one > 0, weight_bits=2, bias=np.array([-10]), input_range=(0, 3), window=window,
        stages=(Scale(multiplier=None, offset=0, shift=0, low=-10, high=10),), pool=pool, output_scale=1.0))
    assert_array_equal(golden.run(network, np.array([[0, 1, 2, 3]]))[0].outputs, [[-10, -9, -8, -7]])


def test_sums_are_kept_within_their_width():
    rng = np.random.default_rng(1)
    layer = random_layer(rng, "a", 7, (0, 255), positions=9)
    extremes = (*np.where(layer.weights > 0, 255, 0), *np.where(layer.weights < 0, 255, 0))
    for codes in (np.zeros(9), np.full(9, 255), *extremes):
        sums = golden.run_layer(layer, codes[None].astype(np.int64)).sums
        assert -(1 << layer.sum_bits - 1) <= sums.min() and sums.max() < 1 << layer.sum_bits - 1
        least, most = layer.kernel_range
        assert (least <= sums).all() and (sums <= most).all()


@pytest.mark.parametrize(("codes", "winners", "kept"), [
    ([3, 5, 3, 5], 1, [0, 5, 0, 0]), ([3, 5, 3, 5], 3, [3, 5, 0, 5]), ([0, 0, 1, 0], 3, [0, 0, 1, 0]),
    ([2, 2, 2, 2], 2, [2, 2, 0, 0]), ([1, 2, 3, 4], 4, [1, 2, 3, 4]),
])
def test_kwta(codes, winners, kept):
    assert_array_equal(golden.kwta(np.array([codes]), winners), [kept])


def test_kwta_ties():
    """Rows long enough that a sort which is not stable would show."""
    codes = np.random.default_rng(3).integers(0, 3, (20, 100))
    for row, kept in zip(codes.tolist(), golden.kwta(codes, 30), strict=True):
        chosen = sorted(range(100), key=lambda index: (-row[index], index))[:30]
        assert_array_equal(kept, [code if index in chosen else 0 for index, code in enumerate(row)])


@pytest.mark.parametrize("window", [None, Window(channels=1, height=2, width=3, kernel=(1, 2))])
def test_no_inputs(window):
    layer = random_layer(np.random.default_rng(2), "a", 4, (0, 7), winners=2,
                         stages=(Scale(multiplier=None, offset=0, shift=6, low=0, high=3),),
                         **({"positions": 6} if window is None else {"window": window}))
    result, = golden.run(make_network(layer), np.zeros((0, 6), np.int64))
    assert result.sums.shape == (0, layer.vectors, 4) and result.outputs.shape == (0, 4 * layer.vectors)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_codes_wrong(shape):
    network = make_network(random_layer(np.random.default_rng(0), "a", 2, (0, 7), positions=3))
    shown = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"^codes must have shape \(n, 3\), not {shown}$"):
        golden.run(network, np.zeros(shape, np.int64))
