"""Networks with convolutions, whole: every output is the golden model's, every frame passes in the predicted cycle."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_cnn

from dovetail.hw.arch import AccumulatorKind, Mode, SelectKind, bits_for
from dovetail.hw.network import NetworkTop
from dovetail.sim import Engine, Simulation, golden
from dovetail.sim.cycles import layer_cycles, network_cycles
from dovetail.sim.verify import NetworkSimulation, frames_to_words, words_to_frames
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings

ALL, SOME, ONLY = Mode.DENSE, Mode.SPARSE_DENSE, Mode.SPARSE_SPARSE
HALVES = {"kernel": (2, 2), "strides": (2, 2)}


def conv(kernels, kernel, **more):
    return {"kernels": kernels, "kernel": kernel, **more}


# Name: (image, layers, options of the network, mode, settings of the layers, settings of the network)
NETWORKS = {
    "the shape of a real one": (
        (1, 8, 7), [conv(6, (3, 3), pool=HALVES, winners=2, sets=2), conv(4, (2, 2), winners=2, sets=2),
                    {"kernels": 8, "winners": 3, "sets": 4}, {"kernels": 5}], {}, ONLY, {}, {}),
    "every tap a lane": (
        (1, 6, 6), [conv(4, (3, 3), pool=HALVES, winners=2, sets=2), conv(6, (2, 2), winners=3, sets=3),
                    {"kernels": 3}], {}, ONLY,
        {0: {"lanes": 9, "banks": 2}, 1: {"lanes": 4}, 2: {"lanes": 2, "set_size": 3}}, {}),
    "one lane": (
        (3, 4, 5), [conv(5, (2, 3), strides=(1, 2), winners=3), conv(3, (2, 1), winners=1), {"kernels": 2}], {}, ONLY,
        {0: {"lanes": 1, "set_size": 5}, 1: {"lanes": 1}}, {}),
    "pixels of one code": (
        (1, 5, 4), [conv(4, (1, 1), sets=2, winners=1), conv(3, (1, 1), sets=3)], {}, ONLY, {}, {}),
    "a kernel as large as the image": (
        (2, 5, 3), [conv(4, (5, 3), sets=2), {"kernels": 3}], {}, ONLY, {1: {"lanes": 4}}, {}),
    "strides of three, pads of three": (
        (1, 8, 7), [conv(4, (3, 5), strides=(3, 3), pads=(3, 2, 0, 3), sets=4, winners=2),
                    conv(5, (2, 2), strides=(2, 1), pads=(0, 1, 1, 0), sets=2), {"kernels": 3}], {}, ONLY,
        {0: {"lanes": 5}}, {}),
    "strides that skip rows and columns": (
        (2, 7, 8), [conv(3, (1, 2), strides=(3, 3), sets=3), conv(4, (2, 2), strides=(2, 3), sets=2)], {}, ONLY,
        {0: {"lanes": 2}}, {}),
    "ten channels": (
        (10, 4, 4), [conv(10, (2, 2), sets=5, winners=4), conv(6, (3, 2), pads=(1, 0, 1, 1), sets=3, winners=2),
                     {"kernels": 4, "sets": 2}], {}, ONLY, {0: {"lanes": 4}, 1: {"lanes": 6}}, {"input_width": 5}),
    "overlapping pools": (
        (1, 8, 7), [conv(4, (2, 2), pool={"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}, sets=2,
                         winners=2),
                    conv(4, (2, 2), pool={"kernel": (2, 2), "strides": (1, 1)}, sets=2), {"kernels": 3}], {}, ONLY,
        {}, {}),
    "pools with more than one vector at the border": (
        (1, 6, 6), [conv(4, (1, 1), pool={"kernel": (3, 4), "strides": (1, 1), "pads": (2, 3, 2, 3)}, sets=4,
                         winners=1), conv(2, (3, 3), sets=2)], {}, ONLY, {}, {}),
    "pools that leave a rest": (
        (1, 8, 8), [conv(3, (2, 2), pool={"kernel": (2, 2), "strides": (3, 3)}, sets=3), {"kernels": 3}], {}, ONLY,
        {}, {}),
    "unstructured masks": (
        (2, 5, 5), [conv(6, (3, 3), pads=(1, 1, 1, 1), winners=2), conv(4, (2, 2)), {"kernels": 3}], {}, ONLY,
        {0: {"lanes": 3, "set_size": 6, "banks": 1}, 1: {"lanes": 4, "set_size": 2}, 2: {"lanes": 4, "set_size": 3}},
        {}),
    "zero skipping of the input": (
        (3, 5, 5), [conv(4, (2, 2), sets=2), conv(3, (2, 2), sets=3), {"kernels": 3}], {}, ONLY,
        {0: {"mode": ONLY, "lanes": 4}, 1: {"lanes": 2}}, {"input_width": 3}),
    "dense": (
        (2, 5, 4), [conv(3, (2, 2), pool=HALVES, winners=2), conv(4, (2, 1), winners=2), {"kernels": 3}], {}, ALL,
        {1: {"lanes": 2}}, {}),
    "every position": (
        (2, 5, 4), [conv(4, (2, 2), sets=2), conv(4, (2, 2), pads=(1, 0, 0, 1), sets=2, winners=1),
                    {"kernels": 3, "sets": 3}], {}, SOME, {0: {"lanes": 2}, 1: {"lanes": 4}, 2: {"lanes": 4}}, {}),
    "global k-WTA of pixels": (
        (1, 6, 5), [conv(6, (2, 2), pool={"kernel": (2, 1), "strides": (2, 1)}, sets=3, winners=2),
                    conv(4, (2, 2), sets=2, winners=3), {"kernels": 3}], {}, ONLY,
        {0: {"kwta": SelectKind.GLOBAL, "bins": 4}, 1: {"kwta": SelectKind.GLOBAL, "bins": 2}}, {}),
    "a drain of two, and of four": (
        (1, 6, 6), [conv(6, (3, 2), pool=HALVES, sets=3, winners=2), conv(8, (2, 2), sets=8, winners=2),
                    {"kernels": 7, "sets": 7}], {}, ONLY, {0: {"drain_width": 2}, 1: {"drain_width": 4}}, {}),
    "a convolution last, its codes": (
        (2, 5, 4), [conv(5, (2, 2), sets=5, winners=2), conv(6, (2, 2), pool=HALVES, sets=3, winners=2)],
        {"codes_out": True}, ONLY, {1: {"drain_width": 4}}, {}),
    "a convolution last, its sums": (
        (1, 5, 4), [conv(5, (3, 2), sets=5)], {}, ONLY, {0: {"drain_width": 2}}, {}),
    "signed codes": (
        (2, 5, 4), [conv(4, (2, 2), pads=(1, 1, 0, 0), pool=HALVES, sets=2), conv(4, (2, 2), sets=2), {"kernels": 2}],
        {"codes": (-9, 12), "stage": "ties", "input_signed": True}, ONLY, {}, {}),
    "one dimension": (
        (1, 1, 12), [conv(4, (1, 3), strides=(1, 2), pads=(0, 1, 0, 1), pool={"kernel": (1, 2), "strides": (1, 2)},
                          sets=2, winners=1), conv(4, (1, 3), sets=4), {"kernels": 3}], {}, ONLY, {}, {}),
    "block RAM": (
        (1, 5, 5), [conv(4, (2, 2), sets=4, winners=2), conv(3, (2, 2), sets=3), {"kernels": 2}], {}, ONLY,
        {number: {"accumulator": AccumulatorKind.BLOCK_RAM} for number in range(3)}, {}),
}


def build(name):
    image, layers, options, mode, fixed, general = NETWORKS[name]
    network = make_cnn(np.random.default_rng(list(NETWORKS).index(name)), image=image, layers=layers, **options)
    chosen = {f"layer{number}": LayerSettings(**given) for number, given in fixed.items()}
    return plan(network, Settings(mode=mode, layers=chosen, target_cycles=100_000, **general))


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
    """Outputs and times of every frame; then, with stalls on both sides, the same outputs."""
    built = build(name)
    codes = some_codes(built)
    results = golden.run(built.network, codes)
    predicted = network_cycles(built, results)
    arch = built.arch
    beats = arch.output_beats
    simulation = Simulation(NetworkTop(arch, built.images), engine=Engine.AMARANTH)
    words = {"i": frames_to_words(codes, arch.input_width, pixels=arch.input_pixels)}
    run = simulation.run(words, {"o": beats * len(codes)})
    last = arch.layers[-1]
    outputs = words_to_frames(run.outputs["o"], last.select.kernels, pixels=last.pixels)
    np.testing.assert_array_equal(outputs, results[-1].outputs)
    np.testing.assert_array_equal(run.times["i"][::arch.input_beats], predicted.first_input)
    np.testing.assert_array_equal(run.times["o"][beats - 1::beats], predicted.last_output)
    assert run.cycles == predicted.total
    stalled = simulation.run(words, {"o": beats * len(codes)}, stall_seed=1)
    for key, found in stalled.outputs["o"].items():
        np.testing.assert_array_equal(found, run.outputs["o"][key])


def test_networks_cover_what_there_is():
    """Lanes of every kind, indexed windows and others, joined pixels, pools and what can be behind them."""
    layers = [planned.arch for name in NETWORKS for planned in build(name).layers]
    windows = [layer.window for layer in layers if layer.window]
    assert {window.indexed for window in windows} == {False, True}
    assert {(window.lanes > 1) + (window.lanes == window.taps > window.kernel[1]) for window in windows} == {0, 1, 2}
    assert {window.kernel[0] for window in windows} >= {1, 2, 3, 5}
    assert {step for window in windows for step in window.strides} == {1, 2, 3}
    assert {pad for window in windows for pad in window.pads} == {0, 1, 2, 3}
    assert {window.channels for window in windows} >= {1, 3, 10}
    assert {layer.select.kind for layer in layers if layer.window} == set(SelectKind)
    assert {layer.joined > 1 for layer in layers if not layer.window} == {False, True}
    assert {layer.select.losers for layer in layers if layer.window} == {False, True}
    assert {layer.engine.row_table for layer in layers if layer.window} == {False, True}
    pools = [layer.pool for layer in layers if layer.pool]
    assert any(pool.vertical.positions > pool.height for pool in pools)
    assert any(stride < span for pool in pools for stride, span in zip(pool.strides, pool.kernel, strict=True))


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


@pytest.mark.parametrize("number", [0, 1])
def test_wrong_bias_is_named(pooled, number):
    """Of the kernel whose sums leave first; elements are the model's, channel by channel."""
    planned = pooled.layers[number]
    engine = planned.images.engine
    kernel = planned.images.select.order[0][0] & (1 << bits_for(planned.layer.kernels)) - 1
    biases = ((engine.biases[0][0] + 400, *engine.biases[0][1:]),)
    codes = some_codes(pooled)
    found = NetworkSimulation(spoiled(pooled, number, "engine", biases=biases), engine=Engine.AMARANTH).verify(codes)
    first, expected = found.first_mismatch, golden.run(pooled.network, codes)[number].sums
    assert found.mismatches and not found.passed
    assert (first.layer, first.frame) == (f"layer{number} (sums)", 0)
    assert first.element == kernel * planned.layer.vectors
    assert (first.expected, first.got) == (expected[0, 0, kernel], expected[0, 0, kernel] + 400)
    assert 0 < first.cycle < found.predicted.last_output[0]


def test_wrong_order_is_named_at_the_selection(pooled):
    """Channels that change places leave every sum right."""
    (order,) = pooled.layers[1].images.select.order
    order = tuple(word ^ 1 if word >> 2 else word for word in order)
    codes = some_codes(pooled)
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
