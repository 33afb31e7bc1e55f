"""The network's cycle model: every frame of every run, in and out, in exactly the predicted cycle."""

import numpy as np
import pytest
from builders import make_network
from models import evaluate

from dovetail.hw.arch import AccumulatorKind, Mode, ScaleArch, SelectKind, ThresholdArch, ceil_div
from dovetail.hw.network import NetworkTop
from dovetail.sim import Engine, Simulation, golden
from dovetail.sim.cycles import LayerCycles, NetworkCycles, layer_cycles, network_cycles
from dovetail.sim.verify import frames_to_words
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings

ALL, SOME, ONLY = Mode.DENSE, Mode.SPARSE_DENSE, Mode.SPARSE_SPARSE

# Name: (network, mode, settings of the layers, input width)
NETWORKS = {
    "everything is handed on": ({"sets": [3, 2]}, SOME, [{}, {}], None),
    "zero skipping between layers": ({"sets": [3, 2]}, ONLY, [{}, {"lanes": 2}], None),
    "zero skipping of the input": ({"sets": [3, 2]}, ONLY, [{"mode": ONLY, "lanes": 3}, {"lanes": 2}], 1),
    "local k-WTA": ({"sets": [3, 2], "winners": [4, None]}, ONLY, [{"lanes": 2}, {"lanes": 2}], 2),
    "global k-WTA": ({"sets": [3, 2], "winners": [4, None]}, ONLY, [{"kwta": SelectKind.GLOBAL, "bins": 8}, {}], None),
    "losers as zeros, local": ({"winners": [3, None]}, ALL, [{"banks": 2}, {"lanes": 3}], None),
    "losers as zeros, global": ({"winners": [3, None]}, SOME, [{"kwta": SelectKind.GLOBAL, "bins": 16}, {}], None),
    "K = 1": ({"sets": [5, 3], "winners": [1, None]}, ONLY, [{}, {"lanes": 2}], None),
    "K = M": ({"sets": [5, 3], "winners": [11, None]}, ONLY, [{}, {"lanes": 2}], None),
    "more lanes than drained": ({"sets": [4, 3], "winners": [5, None]}, ONLY, [{"drain_width": 1}, {"lanes": 4}], None),
    "more drained than lanes": ({"sets": [4, 3], "winners": [5, None]}, ONLY, [{"drain_width": 4}, {"lanes": 1}], None),
    "row tables": ({"density": 0.4, "winners": [5, None]}, ONLY,
                   [{"set_size": 6, "banks": 2, "lanes": 2}, {"set_size": 3, "banks": 1, "lanes": 2}], None),
    "row tables, every position": ({"density": 0.3}, SOME, [{"set_size": 6, "banks": 1}, {"set_size": 5, "lanes": 3}],
                                   None),
    "block RAM": ({"sets": [4, 3], "winners": [4, None]}, ONLY,
                  [{"accumulator": AccumulatorKind.BLOCK_RAM, "columns": 2},
                   {"accumulator": AccumulatorKind.BLOCK_RAM}], None),
    "slow drain": ({"sets": [11, 5], "winners": [2, None]}, ONLY, [{"banks": 1, "lanes": 4, "drain_width": 1}, {}],
                   None),
    "slow consumer": ({"sets": [11, 1], "winners": [9, None]}, ONLY, [{"lanes": 4}, {"banks": 1, "lanes": 1}], None),
    "shifts only": ({"sets": [3, 2], "stages": ["shift"]}, ONLY, [{}, {}], None),
    "signed input": ({"sets": [3, 2], "input_signed": True}, ONLY, [{"mode": ONLY}, {}], None),
    "codes out": ({"sets": [3, 2], "winners": [4, 2], "codes_out": True}, ONLY, [{}, {"drain_width": 2}], None),
    "two bits": ({"sets": [3, 2], "winners": [4, None], "bits": 2, "weight_bits": 2, "input_bits": 1}, ONLY, [{}, {}],
                 None),
    "signed codes": ({"sets": [3, 2], "codes": (-81, 174)}, SOME, [{}, {"lanes": 2}], None),
    "zero skipping of signed codes": ({"sets": [3, 2], "codes": (-3, 4), "stages": ["ties"]}, ONLY,
                                      [{"drain_width": 2}, {"lanes": 4}], None),
    "own offsets": ({"sets": [3, 2], "codes": (0, 9), "stages": ["offsets"], "winners": [4, None]}, ONLY, [{}, {}],
                    None),
    "thresholds": ({"sets": [3, 2], "codes": (0, 3), "stages": ["thresholds"], "winners": [4, None]}, ONLY,
                   [{}, {"lanes": 2}], None),
    "steps of two": ({"sets": [3, 2], "codes": (-5, 5), "stages": ["steps of two"]}, ONLY, [{}, {}], None),
    "bipolar": ({"sets": [3, 2], "stages": ["sign"], "codes": (-1, 1), "codes_out": True}, ALL, [{}, {}], None),
    "two stages": ({"sets": [3, 2], "codes": (-20, 30), "stages": ["multiplier", "falling"]}, ONLY,
                   [{"drain_width": 2}, {"lanes": 2}], None),
    "three stages": ({"codes": (0, 12), "stages": ["offsets", "falling", "thresholds"], "winners": [4, 2],
                      "codes_out": True}, ONLY, [{"set_size": 4}, {"set_size": 3}], None),
    "three layers": ({"sizes": [9, 12, 7, 3], "sets": [3, None, 2], "winners": [4, None, None]}, ONLY,
                     [{"lanes": 3}, {"lanes": 2, "set_size": 4, "banks": 1}, {"lanes": 1}], 3),
}


def build(name):
    network, mode, layers, width = NETWORKS[name]
    network = make_network(np.random.default_rng(7), **{"sizes": [13, 11, 5]} | network)
    fixed = {f"fc{number}": LayerSettings(**layer) for number, layer in enumerate(layers)}
    return plan(network, Settings(mode=mode, layers=fixed, input_width=width))


def some_codes(built, count=9):
    """Frames of zeros, of the largest code and of every density."""
    rng = np.random.default_rng(8)
    low, high = built.network.layers[0].input_range
    length = built.network.layers[0].positions
    codes = rng.integers(low, high + 1, (count, length)) * (rng.random((count, length)) < rng.random((count, 1)))
    codes[1], codes[count // 2] = 0, high
    return codes


@pytest.mark.parametrize("name", NETWORKS)
def test_every_frame(name):
    built = build(name)
    codes = some_codes(built)
    results = golden.run(built.network, codes)
    for result, expected in zip(results, evaluate(built.network, codes), strict=True):
        np.testing.assert_array_equal(result.outputs, expected)
    predicted = network_cycles(built, results)
    wide = ceil_div(results[-1].outputs.shape[1], built.arch.layers[-1].select.width)
    run = Simulation(NetworkTop(built.arch, built.images), engine=Engine.AMARANTH).run(
        {"i": frames_to_words(codes, built.arch.input_width)}, {"o": wide * len(codes)})
    beats = ceil_div(codes.shape[1], built.arch.input_width)
    np.testing.assert_array_equal(run.times["i"][::beats], predicted.first_input)
    np.testing.assert_array_equal(run.times["o"][wide - 1::wide], predicted.last_output)
    assert run.cycles == predicted.total
    outputs = run.outputs["o"]["data"].reshape(len(codes), -1)[:, :results[-1].outputs.shape[1]]
    np.testing.assert_array_equal(outputs, results[-1].outputs)


def test_networks_cover_what_there_is():
    """Each kind of selection, mode and accumulator, row tables, and both directions of the gearbox."""
    layers = [layer.arch for name in NETWORKS for layer in build(name).layers]
    assert {layer.select.kind for layer in layers} == set(SelectKind)
    assert {layer.mode for layer in layers} == set(Mode)
    assert {layer.engine.accumulator for layer in layers} == set(AccumulatorKind)
    assert {layer.engine.row_table for layer in layers} == {False, True}
    assert {layer.select.losers for layer in layers} == {False, True}
    assert {(layer.select.lanes > layer.select.width) - (layer.select.lanes < layer.select.width)
            for layer in layers} == {-1, 0, 1}
    stages = [stage for layer in layers for stage in layer.stages]
    scales = [stage for stage in stages if isinstance(stage, ScaleArch)]
    assert {len(layer.stages) for layer in layers} == {0, 1, 2, 3}
    assert {stage.step for stage in stages if isinstance(stage, ThresholdArch)} == {1, 2}
    for name in ("multiplier_bits", "multiplier_signed", "offset_bits", "ties_to_even"):
        assert {bool(getattr(stage, name)) for stage in scales} == {False, True}, name
    assert {(layer.select.kind, layer.select.value_signed) for layer in layers} >= {
        (SelectKind.ALL, True), (SelectKind.NONZERO, True)}
    assert any(layer.engine.folds > 1 for layer in layers) and any(layer.engine.most_rows > 1 for layer in layers)


@pytest.mark.parametrize("name", ["row tables", "slow drain", "zero skipping of the input", "local k-WTA"])
def test_layer_alone(name):
    """One layer as a network of its own, its frames twice: the interval of the second round, never short of input."""
    network, mode, layers, _ = NETWORKS[name]
    given = {"sizes": [13, 11, 5]} | network
    given = given | {"sizes": given["sizes"][:2], "codes_out": True, "sets": given.get("sets", [None])[:1],
                     "winners": given.get("winners", [None])[:1]}
    built = plan(make_network(np.random.default_rng(7), **given), Settings(
        mode=mode, layers={"fc0": LayerSettings(**layers[0] | {"lanes": 13})}))
    codes = some_codes(built)
    results = golden.run(built.network, np.concatenate([codes, codes]))
    twice = network_cycles(built, results)
    alone = layer_cycles(built.layers[0], golden.run(built.network, codes)[0])
    assert alone.cycles_per_inference * len(codes) == twice.last_output[-1] - twice.last_output[len(codes) - 1]


def test_useful_multiplications():
    """Counted by hand: weights that are not zero, times codes that are not zero where pairs are selected."""
    built = build("local k-WTA")
    codes = some_codes(built)
    results = golden.run(built.network, codes)
    for planned, result, every in zip(built.layers, results, (True, False), strict=True):
        useful = sum(1 for vector in result.inputs for position, code in enumerate(vector) if code or every
                     for weight in planned.layer.weights[:, position] if weight)
        found = layer_cycles(planned, result)
        assert found.useful_multiplications == pytest.approx(useful / len(codes), rel=1e-12)
        assert (found.name, found.mode) == (planned.layer.name, planned.arch.mode.value)
        assert found.multipliers == planned.arch.engine.lanes * planned.arch.engine.banks
        assert 0 < found.utilisation <= 1


def test_utilisation():
    layer = LayerCycles(name="a", mode="dense", cycles_per_inference=50.0, multipliers=4, useful_multiplications=150.0)
    assert layer.utilisation == 0.75


@pytest.mark.parametrize(("ends", "interval"), [
    ([30], 31.0), ([30, 50], 20.0), ([30, 55, 70], 15.0), ([9, 30, 55, 70, 80], 12.5)])
def test_per_inference(ends, interval):
    """Over the second half of the frames; one frame has but its own time."""
    cycles = NetworkCycles(total=31, first_input=np.zeros(len(ends), np.int64), last_output=np.array(ends))
    assert cycles.per_inference == interval
