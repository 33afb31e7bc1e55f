"""Networks whose first layer is unrolled: every output is the golden model's, every frame passes when predicted."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_cnn

from dovetail.boards.build_folder import read_build, write_build
from dovetail.hw.arch import EngineKind, Mode, SelectKind, UnrolledArch
from dovetail.hw.errors import DovetailError
from dovetail.sim import Engine, golden
from dovetail.sim.cycles import layer_cycles, network_cycles
from dovetail.sim.verify import NetworkSimulation
from dovetail.sim.watch import watch_layers
from dovetail.sw.model import FloatLayer, FloatModel
from dovetail.sw.plan import PlanError, plan
from dovetail.sw.settings import LayerSettings, Settings, read_settings

HALVES = {"kernel": (2, 2), "strides": (2, 2)}
OVERLAPPING = {"kernel": (3, 3), "strides": (2, 2)}
TAIL = {"kernels": 3}

# Name: (image, first layer, layers behind, options of the network, drain width, settings of the first layer)
NETWORKS = {
    "no pool": ((6, 5), {"kernels": 5, "kernel": (3, 3), "winners": 2}, [TAIL], {}, 2, {}),
    "halves": ((8, 7), {"kernels": 6, "kernel": (3, 3), "pool": HALVES, "winners": 2},
               [{"kernels": 4, "kernel": (2, 2), "winners": 2}, TAIL], {}, 2, {}),
    "overlapping pool, kernel 5, pads": (
        (8, 8), {"kernels": 4, "kernel": (5, 5), "pads": (2, 2, 2, 2), "pool": OVERLAPPING}, [TAIL], {}, 1, {}),
    "overlapping pool with pads": (
        (7, 8), {"kernels": 4, "kernel": (3, 3), "pads": (1, 0, 1, 1), "winners": 1,
                 "pool": {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}}, [TAIL], {}, 4, {}),
    "more than one vector at the border": (
        (6, 6), {"kernels": 4, "kernel": (1, 1), "winners": 1,
                 "pool": {"kernel": (3, 4), "strides": (1, 1), "pads": (2, 3, 2, 3)}}, [TAIL], {}, 2, {}),
    "strides of two": (
        (9, 8), {"kernels": 7, "kernel": (3, 2), "strides": (2, 2), "pads": (1, 1, 1, 0), "winners": 3},
        [TAIL], {}, 4, {}),
    "stages that fall": (
        (6, 6), {"kernels": 5, "kernel": (3, 3), "pool": HALVES}, [TAIL], {"stage": "falling"}, 2, {}),
    "thresholds": (
        (6, 6), {"kernels": 5, "kernel": (2, 2), "pool": HALVES, "winners": 2}, [TAIL], {"stage": "thresholds"}, 2, {}),
    "signed codes": (
        (6, 6), {"kernels": 3, "kernel": (3, 3), "pool": HALVES}, [TAIL],
        {"codes": (-9, 12), "stage": "ties", "input_signed": True}, 2, {}),
    "global k-WTA": (
        (7, 6), {"kernels": 6, "kernel": (2, 2), "pool": {"kernel": (2, 1), "strides": (2, 1)}, "winners": 2}, [TAIL],
        {}, 4, {"kwta": SelectKind.GLOBAL, "bins": 4}),
    "turns, global": (
        (7, 6), {"kernels": 6, "kernel": (2, 2), "pool": {"kernel": (2, 1), "strides": (2, 1)}, "winners": 2}, [TAIL],
        {}, 2, {"kwta": SelectKind.GLOBAL, "bins": 4, "turns": 2, "buffers": 4, "vectors": 3}),
    "turns, local": (
        (9, 8), {"kernels": 6, "kernel": (2, 2), "pool": HALVES, "winners": 2},
        [{"kernels": 4, "kernel": (2, 2), "winners": 2}, TAIL], {}, 2, {"turns": 3, "buffers": 8, "vectors": 4}),
    "turns and stages that fall": (
        (6, 6), {"kernels": 5, "kernel": (3, 3), "pool": HALVES, "winners": 2}, [TAIL], {"stage": "falling"}, 2,
        {"kwta": SelectKind.LOCAL, "turns": 2, "buffers": 2, "vectors": 1}),
    "turns without pool": (
        (6, 5), {"kernels": 4, "kernel": (3, 3), "winners": 2}, [], {"codes_out": True}, 4,
        {"kwta": SelectKind.LOCAL, "turns": 4, "buffers": 4, "vectors": 3}),
    "a beat a vector": (
        (6, 6), {"kernels": 4, "kernel": (3, 3), "pool": HALVES}, [TAIL], {}, 4, {}),
    "its sums are the result": ((5, 4), {"kernels": 5, "kernel": (3, 2)}, [], {}, 2, {}),
    "its codes are the result": (
        (6, 6), {"kernels": 5, "kernel": (3, 3), "pool": OVERLAPPING, "winners": 2}, [], {"codes_out": True}, 2, {}),
    "one dimension": (
        (1, 12), {"kernels": 4, "kernel": (1, 3), "pads": (0, 1, 0, 1), "pool": {"kernel": (1, 2), "strides": (1, 2)}},
        [TAIL], {}, 2, {}),
}


def build(name, **changes):
    size, first, behind, options, width, fixed = NETWORKS[name]
    network = make_cnn(np.random.default_rng(list(NETWORKS).index(name)), image=(1, *size), layers=[first, *behind],
                       **options)
    unrolled = LayerSettings(engine=EngineKind.UNROLLED, drain_width=width, **fixed | changes)
    return plan(network, Settings(layers={"layer0": unrolled}, target_cycles=100_000))


def some_codes(built, count=4):
    """Images of every density, one of them blank, one full."""
    rng = np.random.default_rng(8)
    low, high = built.network.input_range
    codes = rng.integers(low, high + 1, (count, built.network.layers[0].inputs))
    codes *= rng.random(codes.shape) < np.linspace(0, 1, count)[:, np.newaxis]
    codes[-1] = high
    return codes


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_cycles(name):
    built = build(name)
    simulation, codes = NetworkSimulation(built, engine=Engine.AMARANTH), some_codes(built)
    found = simulation.verify(codes)
    assert found.first_mismatch is None and not found.mismatches
    assert (found.measured, found.measured_per_inference) == (found.predicted.total, found.predicted.per_inference)
    stalled = simulation.verify(codes, stall_seed=3)
    assert stalled.passed and stalled.first_mismatch is None
    engine = built.arch.layers[0].engine
    assert isinstance(engine, UnrolledArch)
    assert engine.pooled == ("pool" in NETWORKS[name][1] and NETWORKS[name][3].get("stage") != "falling")


@pytest.mark.parametrize("name", ["halves", "no pool", "stages that fall"])
def test_wrong_bias_is_named(name):
    """Of the last kernel, at its sums: those that are pooled, pixel by pixel, or of every window."""
    built = build(name)
    first = built.layers[0]
    engine, width = first.images.engine, first.arch.engine.drain_width
    beat, port = divmod(first.layer.kernels - 1, width)
    biases = [list(row) for row in engine.biases]
    biases[port][beat] += 400
    images = replace(first.images, engine=replace(engine, biases=tuple(map(tuple, biases))))
    spoiled = replace(built, layers=(replace(first, images=images), *built.layers[1:]))
    codes = some_codes(built)
    found = NetworkSimulation(spoiled, engine=Engine.AMARANTH).verify(codes).first_mismatch
    sums = golden.run(built.network, codes)[0].sums[0, :, -1]
    pixels = first.layer.vectors
    if first.arch.engine.pooled:
        pixels = first.arch.pixels
        columns = first.layer.window.output_size[1]
        sums = [sums.reshape(-1, columns)[:2, :2].max()]
    assert (found.layer, found.frame, found.element) == ("layer0 (sums)", 0, (first.layer.kernels - 1) * pixels)
    assert (found.expected, found.got) == (sums[0], sums[0] + 400)


def test_tokens_are_early():
    """A vector comes three cycles after its token, and four for every stage; not so where it is pooled on the way."""
    for name, way in (("turns, local", 7), ("turns and stages that fall", 1), ("turns without pool", 7)):
        arch = build(name).layers[0].arch
        assert (arch.way, arch.select.early) == (way, min(way + 1, 2 * arch.select.value_bits))
        assert arch.select.kind is SelectKind.LOCAL


def test_turns_are_faster():
    """Where the search is what binds, two at once take half of the time."""
    one, two = (layer_cycles(built.layers[0], golden.run(built.network, some_codes(built))[0]).cycles_per_inference
                for built in (build("turns, local", turns=turns) for turns in (1, 2)))
    assert one > 1.8 * two


def test_watched_layers():
    built = build("halves")
    codes = some_codes(built)
    for layer, result in zip(watch_layers(built, codes, engine=Engine.AMARANTH), golden.run(built.network, codes),
                             strict=True):
        np.testing.assert_array_equal(layer.outputs, result.outputs)


def test_layer_alone():
    """A window a cycle where nothing behind is slower; every weight multiplies in every window."""
    built = build("a beat a vector")
    result = golden.run(built.network, some_codes(built))[0]
    alone = layer_cycles(built.layers[0], result)
    nonzeros = np.count_nonzero(built.network.layers[0].weights)
    assert (alone.multipliers, alone.useful_multiplications) == (nonzeros, nonzeros * 16)
    assert alone.utilisation == 16 / alone.cycles_per_inference


def test_planner_unrolls_where_folds_are_too_slow():
    network = build("halves").network
    quick = plan(network, Settings(target_cycles=400))
    assert [isinstance(layer.engine, UnrolledArch) for layer in quick.arch.layers] == [False] * 3
    reached = {}
    for kind in EngineKind:
        for target in range(390, 30, -10):
            try:
                reached[kind] = plan(network, Settings(
                    target_cycles=target, layers={"layer0": LayerSettings(engine=kind)})), target
            except PlanError:
                break
    (_, slow), (unrolled, target) = reached[EngineKind.FOLDED], reached[EngineKind.UNROLLED]
    assert target < slow
    quick = plan(network, Settings(target_cycles=target))
    assert isinstance(quick.arch.layers[0].engine, UnrolledArch) and quick.arch == unrolled.arch
    with pytest.raises(PlanError, match=r"^layer 'layer0' cannot reach"):
        plan(network, Settings(target_cycles=target, loadable=True))
    assert network_cycles(quick, golden.run(network, some_codes(quick))).per_inference < 1.1 * target


@pytest.mark.parametrize(("layer", "fixed", "general", "reason"), [
    ("layer1", {}, {}, "it is no convolution of one channel"),
    ("layer0", {"mode": Mode.SPARSE_SPARSE}, {}, "its mode is sparse-sparse, and it takes every input"),
    ("layer0", {}, {"loadable": True}, "its weights would be logic, and the plan is loadable"),
    ("layer0", {"banks": 2}, {}, "it would have no banks"),
])
def test_refusals(layer, fixed, general, reason):
    network = build("no pool").network
    settings = Settings(layers={layer: LayerSettings(engine=EngineKind.UNROLLED, **fixed)}, **general)
    with pytest.raises(DovetailError, match=rf"^settings: layer '{layer}' cannot be unrolled: {reason}$"):
        plan(network, settings)


@pytest.mark.parametrize("name", ["its codes are the result", "turns without pool"])
def test_build_folder(name, tmp_path):
    """What is written comes back, and its plan gives the same plan."""
    built = build(name)
    layer = built.network.layers[0]
    model = FloatModel(name="cnn", input_shape=built.network.input_shape, sha256="0" * 64, layers=(
        FloatLayer(name="layer0", op="Conv", weights=layer.weights.astype(float), bias=np.zeros(layer.kernels),
                   window=layer.window),))
    manifest = write_build(tmp_path / "net", built, model, some_codes(built))
    (about,) = manifest["layers"]
    assert (about["engine"], about["packing"]) == ("unrolled", None)
    back = read_build(tmp_path / "net").plan
    assert back.arch == built.arch and back.images == built.images
    again = plan(built.network, read_settings(tmp_path / "net" / "plan.toml"))
    assert again.arch == built.arch and again.images == built.images
