"""The grid of small convolution networks: ONNX Runtime, the float model, the golden model and the RTL, equal in every
bit; cycles as predicted. ``make grid`` draws many more networks than ``make test``."""

import os
import random
from functools import cache

import numpy as np
import pytest
from graphs import node, onnx_runtime
from grid import AXES, POINTS, file_of, inputs_of, pairs_of, possible_pairs, random_point, settings_of
from intake import make_model
from whole import check_frames, quickest

from dovetail.hw.arch import UnrolledArch
from dovetail.hw.errors import ToolMissing
from dovetail.sim import Engine, golden
from dovetail.sim.tools import find_verilator
from dovetail.sw.exact import exact_network
from dovetail.sw.plan import plan
from dovetail.sw.quantise import input_codes
from dovetail.sw.reader import read_model
from dovetail.sw.settings import Settings

#: Networks that are drawn and simulated; of files alone, forty times as many.
DRAWN = int(os.environ.get("DOVETAIL_GRID_CASES", "1"))
#: Simulators of single points; all others run where results come soonest. A C++ compiler takes long: Verilator has its
#: turn in ``make grid``.
ENGINES = {3: Engine.AMARANTH, 5: Engine.AMARANTH, 8: Engine.AMARANTH, 10: Engine.CXXRTL,
           16: Engine.VERILATOR if DRAWN > 1 else Engine.AMARANTH}


def exact(model, x, folder):
    """The integer network of a file, and its input codes; both models equal ONNX Runtime in every bit."""
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    expected, float_model = onnx_runtime(model, x), read_model(path)
    np.testing.assert_array_equal(float_model.run(x)[-1], expected)
    network = exact_network(float_model)
    # What float32 holds exactly: every sum, in whatever order it is added up, and one place for halves.
    assert max(layer.sum_bits for layer in network.layers) <= 24
    codes = input_codes(network, x)
    np.testing.assert_array_equal(network.layers[-1].real(golden.run(network, codes)[-1].outputs), expected)
    return network, codes


def check_float(point, folder):
    """The float twin equals ONNX Runtime in every bit, since all sums are integers (or quarters) that float32 holds."""
    path, x = folder / "m.onnx", inputs_of(point, quantised=False)
    model = file_of(point, quantised=False)
    path.write_bytes(model.SerializeToString())
    float_model = read_model(path)
    outputs = float_model.run(x)
    values = [x.reshape(len(x), -1), *outputs]
    for layer, taken in zip(float_model.layers, values, strict=False):
        windows = taken[:, np.newaxis] if layer.window is None else layer.window.gather(taken)
        assert (abs(windows) @ abs(layer.weights).T + abs(layer.bias)).max() < 2**20
    np.testing.assert_array_equal(outputs[-1], onnx_runtime(model, x))


@cache
def build(number, folder):
    """Plan of a point, and its input codes."""
    point = POINTS[number]
    network, codes = exact(file_of(point, quantised=True), inputs_of(point, quantised=True), folder)
    return plan(network, settings_of(point)), codes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("grid")


@pytest.mark.parametrize("number", range(len(POINTS)))
def test_float_twin(number, tmp_path):
    check_float(POINTS[number], tmp_path)


@pytest.mark.parametrize("number", range(len(POINTS)))
def test_hardware(number, folder):
    engine = ENGINES.get(number) or quickest()
    if engine is Engine.VERILATOR:
        try:
            find_verilator()
        except ToolMissing as missing:
            pytest.skip(str(missing))
    built, codes = build(number, folder)
    # Not a network whose result is always the same.
    results = golden.run(built.network, codes)
    assert all((result.outputs[[0, 2]] != result.outputs[1]).mean() > 0.1 for result in results)
    check_frames(built, codes, engine=engine)


def test_every_pair():
    """Every two values of two axes meet, where they can."""
    missing = possible_pairs() - set().union(*map(pairs_of, POINTS))
    assert not missing
    assert {value for pair in possible_pairs() for _, value in pair} == {
        value for values in AXES.values() for value in values}


def remainders(window):
    """Rows and columns that no window reaches any more."""
    return [(size + before + after - kernel) % stride for size, before, after, kernel, stride in zip(
        (window.height, window.width), window.pads[:2], window.pads[2:], window.kernel, window.strides, strict=True)]


def test_what_else_there_is(folder):
    layers = [planned.arch for number in range(len(POINTS)) for planned in build(number, folder)[0].layers]
    folded = [layer for layer in layers if layer.window and not isinstance(layer.engine, UnrolledArch)]
    assert {point.average for point in POINTS} == {True, False} and {point.zero for point in POINTS} == {0, 100}
    assert {point.scores for point in POINTS} == {0, 3}
    assert {layer.engine.row_table for layer in folded} == {layer.window.indexed for layer in folded} == {True, False}
    assert {layer.engine.activation_signed for layer in folded} == {True, False}
    assert {layer.select.losers for layer in folded} == {layer.joined > 1 for layer in layers} == {True, False}
    assert {layer.engine.pooled for layer in layers if isinstance(layer.engine, UnrolledArch)} == {True, False}
    assert {rest for layer in folded for rest in remainders(layer.window)} == {0, 1, 2}


@pytest.mark.parametrize("seed", range(1, 40 * DRAWN + 1))
def test_drawn_files(seed, tmp_path):
    point = random_point(random.Random(seed))
    check_float(point, tmp_path)
    exact(file_of(point, quantised=True), inputs_of(point, quantised=True), tmp_path)


@pytest.mark.parametrize("seed", range(1, DRAWN + 1))
def test_drawn_hardware(seed, tmp_path):
    point = random_point(random.Random(seed))
    network, codes = exact(file_of(point, quantised=True), inputs_of(point, quantised=True), tmp_path)
    check_frames(plan(network, settings_of(point)), codes, engine=quickest())


def test_groups_and_holes(tmp_path):
    """A depthwise convolution, a dilated one, and an average over overlapping windows, from the file to the RTL."""
    rng = np.random.default_rng(4)
    shapes = {"w0": (4, 1, 3, 3), "w1": (4, 2, 2, 2), "w2": (3, 16)}
    constants = {name: rng.integers(-7, 8, shape).astype(np.int8) for name, shape in shapes.items()} | {
        "s": np.float32(2**-3), "s0": np.float32(2**-1),
        "s1": np.float32(2**0), "z": np.uint8(7), "z0": np.uint8(0), "zw": np.int8(0)}

    def codes(value, name, scale):
        return [node("QuantizeLinear", f"{value} {scale} z0", f"{name}_q"),
                node("DequantizeLinear", f"{name}_q {scale} z0", name)]

    nodes = [
        node("QuantizeLinear", "x s z", "x_q"), node("DequantizeLinear", "x_q s z", "xd"),
        *(node("DequantizeLinear", f"w{number} s zw", f"w{number}d") for number in range(3)),
        node("Conv", "xd w0d", "c0", group=2, auto_pad="SAME_UPPER", strides=[2, 1]), node("Relu", "c0", "r0"),
        *codes("r0", "d0", "s0"), node("Conv", "d0 w1d", "c1", group=2, dilations=[2, 3], pads=[0, 2, 1, 1]),
        node("Relu", "c1", "r1"), *codes("r1", "d1", "s1"),
        node("AveragePool", "d1", "a", kernel_shape=[2, 2], strides=[1, 2]), *codes("a", "d2", "s0"),
        node("Flatten", "d2", "f"), node("Gemm", "f w2d", "g", transB=1)]
    model = make_model(nodes, constants, input_shape=["n", 2, 8, 5])
    x = (rng.integers(-7, 249, (3, 2, 8, 5)) / 8).astype(np.float32)
    network, codes_in = exact(model, x, tmp_path)
    assert [layer.mask.mean() <= 1 / 2 for layer in network.layers] == [True, True, True, False]
    assert network.layers[1].window.kernel == (3, 4)
    check_frames(plan(network, Settings(target_cycles=100_000)), codes_in, engine=quickest())
