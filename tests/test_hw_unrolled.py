# amaranth: UnusedElaboratable=no
"""The unrolled layer against the matrix that it stands for, its latency, and its cells."""

import numpy as np
import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.unrolled import Unrolled
from dovetail.sim import Engine, simulate
from dovetail.sw.unroll import adder_graph


class Credited(wiring.Component):
    """The unit with its token as a stream, which a simulation can hold back, and an output that it may not."""

    def __init__(self, dut):
        self.dut = dut
        super().__init__({
            "i": In(dut.i.signature.flip()), "credit": In(stream.Signature(unsigned(1))),
            "o": Out(stream.Signature(dut.o.payload.shape(), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        connect(m, flipped(self.i), self.dut.i)
        m.d.comb += [
            self.dut.credit.valid.eq(self.credit.valid), self.credit.ready.eq(self.dut.credit.ready),
            self.o.payload.eq(self.dut.o.payload), self.o.valid.eq(self.dut.o.valid), self.dut.o.ready.eq(1),
        ]
        return m


def run(dut, x, last, *, sums=None, **rest):
    """``x`` through the unit, with a token for every vector."""
    return simulate(Credited(dut), {"i": {"values": x, "last": last}, "credit": np.zeros(len(x), int)},
                    {"o": len(x) if sums is None else sums}, **rest)


def check(weights, *, biases=None, input_range=(0, 255), stage_depth=1, stall_seed=None, engine=Engine.AMARANTH,
          vectors=12):
    """Random vectors, and those where a sum is least or largest; ``last`` at random."""
    weights = np.asarray(weights)
    graph = adder_graph(weights, biases=biases, input_range=input_range)
    rng = np.random.default_rng(5)
    low, high = input_range
    x = np.concatenate([rng.integers(low, high + 1, (vectors, weights.shape[1])),
                        np.where(weights > 0, high, low), np.where(weights > 0, low, high)])
    last = rng.integers(0, 2, len(x))
    dut = Unrolled(graph, stage_depth=stage_depth)
    result = run(dut, x, last, stall_seed=stall_seed, engine=engine)
    expected = x @ weights.T + (0 if biases is None else np.asarray(biases))
    np.testing.assert_array_equal(result.outputs["o"]["values"], expected)
    np.testing.assert_array_equal(result.outputs["o"]["last"], last)
    np.testing.assert_array_equal(result.times["o"] - result.times["i"], dut.latency)
    np.testing.assert_array_equal(result.times["credit"], result.times["i"])
    if stall_seed is None:
        np.testing.assert_array_equal(np.diff(result.times["i"]), 1)
    assert dut.latency == max(1, -(-graph.depth // stage_depth))
    return dut


@pytest.mark.parametrize("weights", [
    [[0]], [[1]], [[-1]], [[-128]], [[0, 0], [0, 0]], [[1, -1]], [[-1, -1]], [[-8, -16, -32]], [[3, 5, 7]] * 3,
    [[16, -1], [-16, 1]], [[85], [-85], [170]], [[1, 512], [-1, 512], [512, -1]],
])
@pytest.mark.parametrize("input_range", [(0, 255), (-128, 127), (0, 1), (-1, 0), (-5, -2), (3, 3), (-5, 200)])
def test_small(weights, input_range):
    check(weights, input_range=input_range)
    check(weights, input_range=input_range, biases=[-1000] * len(weights), stage_depth=2)


@given(data=st.data())
@settings(max_examples=25)
def test_anything(data):
    draw = data.draw
    kernels, inputs = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    weight = st.one_of(st.just(0), st.integers(-128, 127), st.sampled_from([1, -1, 64, -128]))
    weights = draw(st.lists(st.lists(weight, min_size=inputs, max_size=inputs), min_size=kernels, max_size=kernels))
    biases = draw(st.one_of(st.none(), st.lists(st.integers(-5000, 5000), min_size=kernels, max_size=kernels)))
    low = draw(st.integers(-200, 100))
    check(weights, biases=biases, input_range=(low, low + draw(st.integers(0, 255))),
          stage_depth=draw(st.integers(1, 4)), stall_seed=draw(st.sampled_from([None, 1, 2])))


@pytest.mark.parametrize("stage_depth", [1, 2, 3, 100])
@pytest.mark.parametrize("stall_seed", [None, 1, 2, 3])
def test_any_handshake(stage_depth, stall_seed):
    weights = np.random.default_rng(6).integers(-128, 128, (5, 7))
    check(weights, stage_depth=stage_depth, stall_seed=stall_seed, vectors=60)


def test_reset_drops_what_is_inside():
    """Vectors that were inside at the reset are gone; those after it come, alone and right."""
    graph = adder_graph([[3, -5], [7, 1], [-9, 11]])
    x = np.arange(40).reshape(20, 2)
    result = run(Unrolled(graph), x, np.zeros(20, int), sums=20 - graph.depth, reset_at=[9], engine=Engine.AMARANTH)
    times = result.times["o"]
    before, inside = np.count_nonzero(times < 9), graph.depth
    kept = np.concatenate([x[:before], x[before + inside:]])
    np.testing.assert_array_equal(result.outputs["o"]["values"], graph.evaluate(kept))


def test_the_first_layer_of_a_trained_network(shared_models, shared_data):
    """All kernels over windows of a real picture."""
    from dovetail.sw.reader import read_model

    layer = read_model(shared_models / "kws_cnn.onnx").layers[0]
    weights = layer.weights.reshape(64, 25)
    codes = np.rint(weights / np.abs(weights).max(1, keepdims=True) * 127).astype(int)
    image = np.load(shared_data / "fsdd_test.npz")["x"][0].reshape(32, 32)
    windows = np.lib.stride_tricks.sliding_window_view(image, (5, 5)).reshape(-1, 25).astype(int)[::8]
    dut = Unrolled(adder_graph(codes))
    result = run(dut, windows, np.arange(98) == 97, engine=Engine.AMARANTH)
    np.testing.assert_array_equal(result.outputs["o"]["values"], windows @ codes.T)
    assert result.times["o"][-1] == 97 + dut.latency + result.times["i"][0]


def test_cells_are_those_of_the_graph():
    """Carry cells of the adders, in pairs, and next to nothing else: no look-up table, multiplier or memory."""
    graph = adder_graph(np.random.default_rng(7).integers(-128, 128, (6, 6)))
    cells = count_cells(Unrolled(graph), Family.ECP5)
    assert (cells.dsp, cells.bram, cells.lut_ram) == (0, 0, 0)
    assert cells.lut <= 10
    assert graph.adder_bits <= cells.lut_equivalents <= graph.adder_bits + len(graph.adders) + 10


@pytest.mark.parametrize("stage_depth, error, message", [
    (0, ValueError, "stage_depth must be at least 1, not 0"),
    (1.0, TypeError, "stage_depth must be an integer, not 1.0"),
    (True, TypeError, "stage_depth must be an integer, not True"),
])
def test_wrong(stage_depth, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        Unrolled(adder_graph([[1]]), stage_depth=stage_depth)
