"""Networks with convolutions, whole: what the grid has no axis for, single layers, and how a fault is named."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_cnn
from whole import check_frames, quickest

from dovetail.hw.arch import AccumulatorKind, Mode, SelectKind, bits_for
from dovetail.sim import Engine, golden
from dovetail.sim.cycles import layer_cycles, network_cycles
from dovetail.sim.verify import NetworkSimulation, frames_to_words, words_to_frames
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings

BLOCK_RAM = {"accumulator": AccumulatorKind.BLOCK_RAM}
HALVES = {"kernel": (2, 2), "strides": (2, 2)}


def conv(kernels, kernel, **more):
    return {"kernels": kernels, "kernel": kernel, **more}


# Name: (image, layers, options of the network, settings of the layers, settings of the network)
NETWORKS = {
    "the shape of a real one": (
        (1, 8, 7), [conv(6, (3, 3), pool=HALVES, winners=2, sets=2), conv(4, (2, 2), winners=2, sets=2),
                    {"kernels": 8, "winners": 3, "sets": 4}, {"kernels": 5}], {}, {}, {}),
    "pixels of one code": (
        (1, 5, 4), [conv(4, (1, 1), sets=2, winners=1), conv(3, (1, 1), sets=3)], {}, {}, {}),
    "ten channels": (
        (10, 4, 4), [conv(10, (2, 2), sets=5, winners=4), conv(6, (3, 2), pads=(1, 0, 1, 1), sets=3, winners=2),
                     {"kernels": 4, "sets": 2}], {}, {0: {"lanes": 4}, 1: {"lanes": 6}}, {"input_width": 5}),
    "zero skipping of the input": (
        (3, 5, 5), [conv(4, (2, 2), sets=2), conv(3, (2, 2), sets=3), {"kernels": 3}], {},
        {0: {"mode": Mode.SPARSE_SPARSE, "lanes": 4}, 1: {"lanes": 2}}, {"input_width": 3}),
    "global k-WTA of pixels": (
        (1, 6, 5), [conv(6, (2, 2), pool={"kernel": (2, 1), "strides": (2, 1)}, sets=3, winners=2),
                    conv(4, (2, 2), sets=2, winners=3), {"kernels": 3}], {},
        {0: {"kwta": SelectKind.GLOBAL, "bins": 4}, 1: {"kwta": SelectKind.GLOBAL, "bins": 2}}, {}),
    "a drain of two, and of four, block RAM": (
        (1, 6, 6), [conv(6, (3, 2), pool=HALVES, sets=3, winners=2), conv(8, (2, 2), sets=8, winners=2),
                    {"kernels": 7, "sets": 7}], {},
        {0: {"drain_width": 2, **BLOCK_RAM}, 1: {"drain_width": 4, **BLOCK_RAM}, 2: BLOCK_RAM}, {}),
    "pools with more than one vector at the border, codes last": (
        (1, 4, 5), [conv(4, (1, 1), pool={"kernel": (3, 4), "strides": (1, 1), "pads": (2, 3, 2, 3)}, sets=4,
                         winners=1)], {"codes_out": True}, {}, {}),
    "sums last": (
        (1, 5, 4), [conv(5, (3, 2), sets=5)], {}, {0: {"drain_width": 2}}, {}),
    "strides of three, pads of three": (
        (1, 8, 7), [conv(4, (3, 5), strides=(3, 3), pads=(3, 2, 0, 3), sets=4, winners=2),
                    conv(5, (2, 2), strides=(2, 1), pads=(0, 1, 1, 0), sets=2), {"kernels": 3}], {},
        {0: {"lanes": 5}}, {}),
    "pools with more than one vector at the border": (
        (1, 6, 6), [conv(4, (1, 1), pool={"kernel": (3, 4), "strides": (1, 1), "pads": (2, 3, 2, 3)}, sets=4,
                         winners=1), conv(2, (3, 3), sets=2)], {}, {}, {}),
    "unstructured masks": (
        (2, 5, 5), [conv(6, (3, 3), pads=(1, 1, 1, 1), winners=2), conv(4, (2, 2)), {"kernels": 3}], {},
        {0: {"lanes": 3, "set_size": 6, "banks": 1}, 1: {"lanes": 4, "set_size": 2}, 2: {"lanes": 4, "set_size": 3}},
        {}),
    "dense": (
        (2, 5, 4), [conv(3, (2, 2), pool=HALVES, winners=2), conv(4, (2, 1), winners=2), {"kernels": 3}], {},
        {1: {"lanes": 2}}, {"mode": Mode.DENSE}),
    "every position": (
        (2, 5, 4), [conv(4, (2, 2), sets=2), conv(4, (2, 2), pads=(1, 0, 0, 1), sets=2, winners=1),
                    {"kernels": 3, "sets": 3}], {}, {0: {"lanes": 2}, 1: {"lanes": 4}, 2: {"lanes": 4}},
        {"mode": Mode.SPARSE_DENSE}),
    "a convolution last, its codes": (
        (2, 5, 4), [conv(5, (2, 2), sets=5, winners=2), conv(6, (2, 2), pool=HALVES, sets=3, winners=2)],
        {"codes_out": True}, {1: {"drain_width": 4}}, {}),
}
#: The tiniest run in Amaranth's simulator, the others where results come soonest.
TINIEST = ("pixels of one code", "sums last")


def build(name):
    image, layers, options, fixed, general = NETWORKS[name]
    network = make_cnn(np.random.default_rng(list(NETWORKS).index(name)), image=image, layers=layers, **options)
    chosen = {f"layer{number}": LayerSettings(**given) for number, given in fixed.items()}
    return plan(network, Settings(layers=chosen, target_cycles=100_000, **general))


def some_codes(built, count=3):
    """Images of every density, one of them blank, one full."""
    rng = np.random.default_rng(8)
    low, high = built.network.input_range
    length = built.network.layers[0].inputs
    codes = rng.integers(low, high + 1, (count, length)) * (rng.random((count, length)) < rng.random((count, 1)))
    codes[1] = 0
    return codes


@pytest.mark.parametrize("name", NETWORKS)
def test_every_frame(name):
    built = build(name)
    check_frames(built, some_codes(built), engine=Engine.AMARANTH if name in TINIEST else quickest())


@pytest.mark.parametrize("name", ["pixels of one code", "ten channels", "zero skipping of the input"])
def test_layer_alone(name):
    """A first layer as a network of its own, its images twice. Its pixels come a word each, or sooner than it needs
    them."""
    built = build(name)
    first = built.network.layers[0]
    image = first.window
    network = replace(built.network, layers=(first,))
    fixed = built.settings.layers.get("layer0", LayerSettings())
    alone = plan(network, Settings(layers={"layer0": replace(fixed, drain_width=1)}, input_width=image.channels))
    codes = some_codes(built)
    twice = network_cycles(alone, golden.run(network, np.concatenate([codes, codes])))
    found = layer_cycles(alone.layers[0], golden.run(network, codes)[0])
    assert found.cycles_per_inference * len(codes) == twice.last_output[-1] - twice.last_output[len(codes) - 1]


def test_useful_multiplications():
    """Counted by hand: weights that are not zero, times the codes of each window where pairs are selected."""
    built = build("the shape of a real one")
    codes = some_codes(built)
    for planned, result in zip(built.layers, golden.run(built.network, codes), strict=True):
        layer, useful = planned.layer, 0
        windows = result.inputs[:, np.newaxis] if layer.window is None else layer.window.gather(result.inputs)
        for window in windows.reshape(-1, layer.positions):
            chosen = window != 0 if planned.arch.engine.indexed else np.ones(layer.positions, bool)
            useful += np.count_nonzero(layer.weights[:, chosen])
        assert layer_cycles(planned, result).useful_multiplications == pytest.approx(useful / len(codes), rel=1e-12)


@pytest.fixture(scope="module")
def pooled():
    network = build("the shape of a real one").network
    return plan(network, Settings(layers={f"layer{number}": LayerSettings(drain_width=1) for number in range(2)}))


def spoiled(built, number, part, **change):
    """The plan with other contents of one layer's memories."""
    layers = list(built.layers)
    images = layers[number].images
    layers[number] = replace(layers[number], images=replace(images, **{
        part: replace(getattr(images, part), **change)}))
    return replace(built, layers=tuple(layers))


def with_wide_biases(built):
    """The plan with room for a bias as wide as a sum."""
    wide = [replace(layer.arch, engine=replace(layer.arch.engine, bias_bits=None)) for layer in built.layers]
    return replace(built, arch=replace(built.arch, layers=tuple(wide)), layers=tuple(
        replace(layer, arch=arch) for layer, arch in zip(built.layers, wide, strict=True)))


@pytest.mark.parametrize("number", [0, 1])
def test_wrong_bias_is_named(pooled, number):
    """Of the kernel whose sums leave first; elements are the model's, channel by channel."""
    planned = pooled.layers[number]
    engine = planned.images.engine
    kernel = planned.images.select.order[0][0] & (1 << bits_for(planned.layer.kernels)) - 1
    biases = ((engine.biases[0][0] + 900, *engine.biases[0][1:]),)
    codes = some_codes(pooled)[:1]
    wrong = spoiled(with_wide_biases(pooled), number, "engine", biases=biases)
    found = NetworkSimulation(wrong, engine=Engine.AMARANTH).verify(codes)
    first, expected = found.first_mismatch, golden.run(pooled.network, codes)[number].sums
    assert found.mismatches and not found.passed
    assert (first.layer, first.frame) == (f"layer{number} (sums)", 0)
    assert first.element == kernel * planned.layer.vectors
    assert (first.expected, first.got) == (expected[0, 0, kernel], expected[0, 0, kernel] + 900)
    assert 0 < first.cycle < found.predicted.last_output[0]


def test_wrong_order_is_named_at_the_selection(pooled):
    """Channels that change places leave every sum right."""
    (order,) = pooled.layers[1].images.select.order
    order = tuple(word ^ 1 if word >> 2 else word for word in order)
    codes = some_codes(pooled)[:1]
    found = NetworkSimulation(spoiled(pooled, 1, "select", order=(order,)), engine=Engine.AMARANTH).verify(codes)
    expected = golden.run(pooled.network, codes)[1].outputs.reshape(len(codes), 4, -1)
    wrong = expected[:, [1, 0, 3, 2]]       # as long as no tie is broken the other way
    first = found.first_mismatch
    frame, channel, pixel = np.argwhere(wrong != expected)[0].tolist()
    assert (first.layer, first.frame, first.element) == (
        "layer1 (selection)", frame, channel * expected.shape[2] + pixel)
    assert (first.expected, first.got) == (expected[frame, channel, pixel], wrong[frame, channel, pixel])


@pytest.mark.parametrize(("width", "pixels", "data", "last"), [
    (1, 2, [[1], [3], [5], [2], [4], [6]], [0, 0, 0, 0, 0, 1]),
    (2, 2, [[1, 3], [5, 0], [2, 4], [6, 0]], [0, 0, 0, 1]),
    (3, 2, [[1, 3, 5], [2, 4, 6]], [0, 1]),
    (2, 3, [[1, 4], [2, 5], [3, 6]], [0, 0, 1]),
])
def test_words(width, pixels, data, last):
    """Three channels of two pixels, or two of three."""
    words = frames_to_words(np.array([[1, 2, 3, 4, 5, 6]]), width, pixels=pixels)
    np.testing.assert_array_equal(words["data"], data)
    np.testing.assert_array_equal(words["last"], last)
    length = 6 // pixels
    beats = -(-length // width)
    keep = np.tile([(1 << width) - 1] * (beats - 1) + [(1 << length - (beats - 1) * width) - 1], pixels)
    received = {"data": np.array(data), "last": np.array(last), "keep": keep}
    np.testing.assert_array_equal(words_to_frames(received, length, pixels=pixels), [[1, 2, 3, 4, 5, 6]])
    with pytest.raises(ValueError, match=r"^words must be frames of 6 elements$"):
        words_to_frames(received | {"last": 1 - np.array(last)}, length, pixels=pixels)
