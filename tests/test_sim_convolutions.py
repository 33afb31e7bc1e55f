"""Networks with convolutions, whole: every output is the golden model's, every frame passes in the predicted cycle."""

import numpy as np
import pytest
from builders import make_cnn

from dovetail.hw.arch import Mode, SelectKind
from dovetail.hw.errors import ToolMissing
from dovetail.hw.network import NetworkTop
from dovetail.sim import Engine, Simulation, golden
from dovetail.sim.cycles import layer_cycles, network_cycles
from dovetail.sim.tools import find_icarus, find_verilator
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
        (1, 7, 6), [conv(6, (3, 3), pool=HALVES, winners=2, sets=2), conv(4, (2, 2), winners=2, sets=2),
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
        {number: {"accumulator": "block-ram"} for number in range(3)}, {}),
}


def build(name):
    image, layers, options, mode, fixed, general = NETWORKS[name]
    network = make_cnn(np.random.default_rng(list(NETWORKS).index(name)), image=image, layers=layers, **options)
    from dovetail.hw.arch import AccumulatorKind
    chosen = {f"layer{number}": LayerSettings(**{
        key: AccumulatorKind(value) if key == "accumulator" else value for key, value in given.items()})
        for number, given in fixed.items()}
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
