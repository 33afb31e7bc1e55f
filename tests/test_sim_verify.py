"""Verification: what is right passes, and every planted error is named."""

import re
from dataclasses import replace

import numpy as np
import pytest
from builders import STAGES, make_network
from models import evaluate

from dovetail.hw.arch import Mode
from dovetail.hw.errors import ToolMissing
from dovetail.sim import Engine, cycles, golden
from dovetail.sim.tools import find_icarus, find_verilator
from dovetail.sim.verify import Mismatch, NetworkSimulation, frames_to_words, words_to_frames
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings


@pytest.fixture(scope="module")
def built():
    network = make_network(np.random.default_rng(0), sizes=[8, 9, 5], sets=[3, 2], winners=[4, None])
    fixed = {"fc0": LayerSettings(lanes=2, drain_width=2), "fc1": LayerSettings(lanes=2, drain_width=2)}
    return plan(network, Settings(layers=fixed))


def some_codes(count=6):
    return np.random.default_rng(1).integers(0, 256, (count, 8))


def with_engine_images(built, number, **change):
    layers = list(built.layers)
    images = layers[number].images
    layers[number] = replace(layers[number], images=replace(images, engine=replace(images.engine, **change)))
    return replace(built, layers=tuple(layers))


@pytest.mark.parametrize("engine", [Engine.AMARANTH, Engine.CXXRTL])
def test_passes(built, engine):
    simulation = NetworkSimulation(built, engine=engine)
    found = simulation.verify(some_codes())
    assert found.passed and not found.mismatches and found.first_mismatch is None and not found.stalled
    assert found.measured == found.predicted.total
    assert found.measured_per_inference == found.predicted.per_inference
    np.testing.assert_array_equal(found.outputs, golden.run(built.network, some_codes())[-1].outputs)
    assert [layer.name for layer in found.layers] == ["fc0", "fc1"]
    assert found.cycles_per_second > 0
    single = simulation.verify(some_codes(1))
    assert single.passed and single.measured_per_inference == single.measured == single.predicted.per_inference
    np.testing.assert_array_equal(simulation(some_codes()), found.outputs)


@pytest.mark.parametrize("shape", [(2, 7), (8,)])
def test_codes_wrong(built, shape):
    simulation = NetworkSimulation(built, engine=Engine.AMARANTH)
    with pytest.raises(ValueError, match=rf"^codes must have the shape \(n, 8\), not {re.escape(repr(shape))}$"):
        simulation(np.zeros(shape, int))


@pytest.mark.parametrize("seed", [0, 2, 3])      # that stall where it is felt
def test_stalls_change_cycles_only(built, seed):
    found = NetworkSimulation(built, engine=Engine.AMARANTH).verify(some_codes(), stall_seed=seed)
    assert found.passed and found.stalled and not found.mismatches
    assert found.measured > found.predicted.total


def test_vcd(built, tmp_path):
    NetworkSimulation(built, engine=Engine.AMARANTH).verify(some_codes(1), vcd=tmp_path / "waves.vcd")
    assert "$enddefinitions" in (tmp_path / "waves.vcd").read_text()


def test_wrong_bias_is_named(built):
    """Kernel and port of one bias, 100 too much: the sum of that element is what differs first."""
    layer, images = built.layers[1].layer, built.layers[1].images.engine
    order = [[(entry & 7) if entry >> 2 else None for entry in port] for port in built.layers[1].images.select.order]
    beat = next(beat for beat, entry in enumerate(order[0]) if entry is not None)
    biases = [list(port) for port in images.biases]
    biases[0][beat] += 100
    broken = with_engine_images(built, 1, biases=tuple(map(tuple, biases)))
    codes = some_codes()
    found = NetworkSimulation(broken, engine=Engine.AMARANTH).verify(codes)
    assert not found.passed and found.mismatches == len(codes)
    first = found.first_mismatch
    kernel = layer.bias.tolist().index(biases[0][beat] - 100)
    sums = golden.run(built.network, codes)[1].sums
    assert (first.layer, first.frame, first.element) == ("fc1 (sums)", 0, kernel)
    assert (first.expected, first.got) == (sums[0, 0, kernel], sums[0, 0, kernel] + 100)
    assert 0 < first.cycle < found.predicted.last_output[0]


@pytest.mark.parametrize("engine", Engine)
def test_wrong_weight_in_the_first_layer_is_named_there(built, engine):
    """What it makes of the layers behind is not what is told."""
    for tool, find in ((Engine.ICARUS, find_icarus), (Engine.VERILATOR, find_verilator)):
        if engine is tool:
            try:
                find()
            except ToolMissing as missing:
                pytest.skip(str(missing))
    images = built.layers[0].images.engine
    codes = some_codes()
    codes[:2, 0] = 0
    codes[2:, 0] = 200      # the third frame is the first to meet it
    weights = [list(rows) for rows in images.weights]
    changes = {}
    for row in range(0, len(weights[0]), built.layers[0].arch.engine.lane_positions):   # position 0 in every fold
        slot = weights[0][row]
        weight = (slot & 255 ^ 128) - 128
        changes[weight] = -120 if weight > 0 else 120
        weights[0][row] = slot & ~255 | (weight + changes[weight]) & 255
    broken = with_engine_images(built, 0, weights=tuple(map(tuple, weights)))
    found = NetworkSimulation(broken, engine=engine).verify(codes)
    assert found.mismatches and not found.passed
    first = found.first_mismatch
    assert (first.layer, first.frame) == ("fc0 (sums)", 2)
    weight = int(built.layers[0].layer.weights[first.element, 0])
    assert first.got - first.expected == changes[weight] * 200


def test_wrong_order_is_named_at_the_selection(built):
    """Two elements that change places leave every sum right and the selection wrong."""
    layers = list(built.layers)
    images = layers[1].images
    ranks = (tuple(reversed(images.select.ranks[0])), *images.select.ranks[1:])
    layers[1] = replace(layers[1], images=replace(images, select=replace(images.select, ranks=ranks)))
    codes = some_codes()
    found = NetworkSimulation(replace(built, layers=tuple(layers)), engine=Engine.AMARANTH).verify(codes)
    expected = golden.run(built.network, codes)[-1].outputs
    first = found.first_mismatch
    assert (first.layer, first.frame, first.element) == ("fc1 (selection)", 0, 0)
    assert (first.expected, first.got) == (expected[0, 0], expected[0, 1])
    np.testing.assert_array_equal(found.outputs[:, [1, 0, 2, 3, 4]], expected)


def test_cycle_model_error_fails(built, monkeypatch):
    """One cycle in the model, and the outputs alone do not pass."""
    monkeypatch.setattr(cycles, "REQUANTISE_LATENCY", cycles.REQUANTISE_LATENCY + 1)
    found = NetworkSimulation(built, engine=Engine.AMARANTH).verify(some_codes())
    assert not found.mismatches and found.measured != found.predicted.total
    assert not found.passed


@pytest.mark.parametrize("mode", Mode)
def test_modes_agree(mode):
    """Whatever the mode, the outputs are the golden model's."""
    network = make_network(np.random.default_rng(3), sizes=[10, 12, 4], density=0.4, winners=[3, None])
    found = NetworkSimulation(plan(network, Settings(mode=mode)), engine=Engine.AMARANTH).verify(
        np.random.default_rng(4).integers(0, 256, (5, 10)))
    assert found.passed


@pytest.mark.parametrize("seed", range(6))
def test_random_networks(seed):
    """Sizes, masks, modes, codes and stages at random: outputs are those computed by hand, cycles those predicted."""
    rng = np.random.default_rng(100 + seed)
    sizes = rng.integers(3, 13, 3 + seed % 2).tolist()
    low, high = (0, -1, -5, -81)[seed % 4], (2, 7, 174)[seed % 3]
    stages = [STAGES[seed], STAGES[-1 - seed]][seed % 2:]
    winners = [int(rng.integers(1, kernels + 1)) for kernels in sizes[1:]] if not low and "sign" not in stages else None
    network = make_network(
        rng, sizes=sizes, winners=winners, sets=[None, 3, 2][:len(sizes) - 1], codes=(low, high), stages=stages,
        codes_out=True, weight_bits=(2, 4, 8)[seed % 3], input_bits=(1, 8)[seed % 2], input_signed=seed > 3)
    codes = rng.integers(network.input_range[0], network.input_range[1] + 1, (5, sizes[0]))
    simulation = NetworkSimulation(plan(network, Settings(mode=list(Mode)[seed % 3])), engine=Engine.AMARANTH)
    for stalls in (None, seed):
        found = simulation.verify(codes, stall_seed=stalls)
        assert found.passed, found.first_mismatch
        np.testing.assert_array_equal(found.outputs, evaluate(network, codes)[-1])


def test_mismatch_in_words():
    mismatch = Mismatch(layer="fc1 (sums)", frame=3, element=7, cycle=120, expected=5, got=-2)
    assert str(mismatch) == "layer 'fc1 (sums)', frame 3, element 7, cycle 120: expected 5, got -2"


@pytest.mark.parametrize(("width", "data", "last"), [
    (1, [[1], [2], [3], [4], [5], [6]], [0, 0, 1, 0, 0, 1]),
    (2, [[1, 2], [3, 0], [4, 5], [6, 0]], [0, 1, 0, 1]),
    (3, [[1, 2, 3], [4, 5, 6]], [1, 1]),
    (4, [[1, 2, 3, 0], [4, 5, 6, 0]], [1, 1]),
])
def test_words(width, data, last):
    words = frames_to_words(np.array([[1, 2, 3], [4, 5, 6]]), width)
    np.testing.assert_array_equal(words["data"], data)
    np.testing.assert_array_equal(words["last"], last)
    full = (1 << width) - 1
    keep = np.where(np.array(last) == 1, (1 << (3 - 1) % width + 1) - 1, full)
    received = {"data": np.array(data), "last": np.array(last), "keep": keep}
    np.testing.assert_array_equal(words_to_frames(received, 3), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("change", [{"last": np.array([1, 0])}, {"last": np.array([0, 0])}, {"keep": np.array([3, 3])},
                                    {"keep": np.array([1, 1])}])
def test_words_wrong(change):
    received = {"data": np.array([[1, 2], [3, 0]]), "last": np.array([0, 1]), "keep": np.array([3, 1])}
    with pytest.raises(ValueError, match=r"^words must be frames of 3 elements$"):
        words_to_frames(received | change, 3)


@pytest.mark.parametrize(("engine", "find"), [(Engine.ICARUS, find_icarus), (Engine.VERILATOR, find_verilator)])
def test_row_table_behind_a_selection(engine, find):
    """Until its first item comes, a row table's output is unknown; none of that may reach an accumulator."""
    try:
        find()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    network = make_network(np.random.default_rng(3), sizes=(16, 48, 24, 4), density=0.3)
    built = plan(network, Settings(target_cycles=400))
    assert any(layer.arch.engine.row_table and layer.arch.engine.indexed for layer in built.layers)
    codes = np.random.default_rng(0).integers(0, 256, (3, 16))
    assert NetworkSimulation(built, engine=engine).verify(codes).passed
