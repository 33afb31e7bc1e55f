"""The planner: what is fixed is kept, targets are met or refused, and refusals are one plain line."""

import re
from dataclasses import replace

import numpy as np
import pytest
from builders import make_cnn, make_network

from dovetail.hw.arch import AccumulatorKind, EngineKind, Mode, ScaleArch, SelectKind, ThresholdArch
from dovetail.hw.errors import DovetailError
from dovetail.sim import golden
from dovetail.sim.cycles import layer_cycles
from dovetail.sw.network import Scale, Thresholds
from dovetail.sw.plan import PlanError, plan
from dovetail.sw.settings import Device, LayerSettings, Settings
from dovetail.sw.window import Window


@pytest.fixture(scope="module")
def network():
    return make_network(np.random.default_rng(0), sizes=[24, 18, 40, 5], sets=[3, 6, None], winners=[4, 6, None])


def layers(network, **settings):
    return plan(network, Settings(**settings)).layers


def test_kinds_of_selection(network):
    first, second, third = layers(network)
    assert [layer.arch.select.kind for layer in (first, second, third)] == [
        SelectKind.LOCAL, SelectKind.GLOBAL, SelectKind.ALL]
    assert [layer.arch.select.winners for layer in (first, second, third)] == [4, 6, 0]
    assert not any(layer.arch.select.losers for layer in (first, second, third))
    assert not third.arch.stages and third.arch.select.value_signed


def test_first_layer_takes_everything_unless_asked(network):
    """Zero skipping of the network's input is for its own settings to ask."""
    first, second, _ = layers(network)
    assert (first.arch.mode, second.arch.mode) == (Mode.SPARSE_DENSE, Mode.SPARSE_SPARSE)
    assert not first.arch.engine.indexed and second.arch.engine.indexed
    first, *_ = layers(network, layers={"fc0": LayerSettings(mode=Mode.SPARSE_SPARSE)})
    assert first.arch.mode is Mode.SPARSE_SPARSE and first.arch.engine.indexed


@pytest.mark.parametrize("mode", [Mode.DENSE, Mode.SPARSE_DENSE])
def test_dense_modes(network, mode):
    for planned, following in zip(found := layers(network, mode=mode), [*found[1:], None], strict=True):
        assert planned.arch.mode is mode and not planned.arch.engine.indexed
        assert planned.arch.select.losers == (planned.layer.winners is not None)
        if mode is Mode.DENSE:
            assert planned.arch.engine.set_size == 1 and planned.mask.all()
        if following:
            assert planned.arch.select.lanes == following.arch.engine.lanes


def test_drain_is_sized_by_the_pace():
    """Few pairs and many kernels: the drain and the k-WTA would hold the multipliers up, so they are made wider."""
    network = make_network(np.random.default_rng(1), sizes=[16, 128, 5], sets=[8, None], winners=[9, None])
    results = golden.run(network, np.random.default_rng(2).integers(0, 256, (6, 16)))
    widths = []
    for target in (400, 100):
        first, _ = layers(network, target_cycles=target)
        assert layer_cycles(first, results[0]).cycles_per_inference <= target
        widths.append(first.arch.engine.drain_width)
    assert widths[0] == 1 < widths[1]


def test_too_deep_to_load(network, monkeypatch):
    monkeypatch.setattr("dovetail.sw.plan.LOADABLE_ROWS", 50)
    layers(network)
    with pytest.raises(DovetailError, match=r"^settings: layer '.*' has a memory of \d+ rows, too many for loadable: "
                                            r"at most 50; more lanes make it shallower$"):
        layers(network, loadable=True)


def test_relu_alone_is_zero_skipping():
    network = make_network(np.random.default_rng(0), sizes=[9, 8, 5])
    first, second = layers(network)
    assert first.arch.select.kind is SelectKind.NONZERO and second.arch.engine.indexed
    first, _ = layers(network, mode=Mode.SPARSE_DENSE)
    assert first.arch.select.kind is SelectKind.ALL


@pytest.mark.parametrize("codes", [(-8, 7), (-81, 174), (0, 5), (-1, 1)])
def test_formats_of_codes(codes):
    """Stage, selection and the next engine hold the same codes; zeros are skipped, signed or not."""
    network = make_network(np.random.default_rng(0), sizes=[9, 8, 5], codes=codes)
    first, second = layers(network)
    bits = {(-8, 7): (4, True), (-81, 174): (9, True), (0, 5): (3, False), (-1, 1): (2, True)}[codes]
    assert first.arch.stages[-1].code_format == bits
    assert (first.arch.select.value_bits, first.arch.select.value_signed) == bits
    assert (second.arch.engine.activation_bits, second.arch.engine.activation_signed) == bits
    assert first.arch.select.kind is SelectKind.NONZERO


def test_stages_are_as_wide_as_their_parameters():
    network = make_network(np.random.default_rng(0), sizes=[4, 3], sets=[3])
    stages = (
        Scale(multiplier=np.array([1, 6, 7]), offset=np.array([3, 4, 0]), shift=2, low=-9, high=9, ties_to_even=True),
        Scale(multiplier=np.array([1, -6, 7]), offset=-5, shift=1, low=-3, high=3),
        Thresholds(values=np.array([[1, 2], [0, 0], [-1, 9]]), low=-1, step=2),
    )
    layer = replace(network.layers[0], stages=stages)
    (planned,) = layers(replace(network, layers=(layer,)))
    assert planned.arch.stages == (
        ScaleArch(multiplier_bits=3, offset_bits=4, shift=2, low=-9, high=9, ties_to_even=True),
        ScaleArch(multiplier_bits=4, multiplier_signed=True, offset=-5, shift=1, low=-3, high=3),
        ThresholdArch(count=2, low=-1, step=2))


def test_vector_does_not_become_an_image(network):
    window = Window(channels=1, height=3, width=6, kernel=(3, 6))
    changed = replace(network, layers=(network.layers[0], replace(network.layers[1], window=window),
                                       network.layers[2]))
    with pytest.raises(DovetailError, match=r"^layer 'fc1' sees an image of 1 x 3 x 6 where layer 'fc0' leaves 18; "
                                            r"there is no hardware that reshapes it$"):
        layers(changed)


@pytest.fixture(scope="module")
def images():
    return make_cnn(np.random.default_rng(0), image=(3, 8, 8), layers=[
        {"kernels": 8, "kernel": (3, 3), "pool": {"kernel": (2, 2), "strides": (2, 2)}, "winners": 2, "sets": 2},
        {"kernels": 6, "kernel": (2, 2), "winners": 3, "sets": 3},
        {"kernels": 5}])


def test_units_of_convolutions(images):
    """Windows as the model has them, pairs as many as win, pixels that become a vector."""
    first, second, third = (planned.arch for planned in layers(images))
    assert not first.window.indexed and first.window.slots == 3 and first.window.input_lanes == 1
    assert second.window.indexed and second.window.slots == 2 and second.engine.own_addresses
    assert second.engine.capacity == 2 * second.window.groups
    assert (first.pixels, second.arrivals, second.pixels, third.joined) == (9, 9, 4, 4)
    assert first.pool.output_size == (3, 3) and second.pool is None
    assert third.engine.capacity == min(3 * 4, third.engine.lane_positions)
    assert third.window is None and not third.engine.own_addresses
    first, *_ = layers(images, mode=Mode.DENSE)
    assert first.arch.select.losers


def test_lanes_of_convolutions(images):
    for lanes in (1, 3, 9):
        assert layers(images, layers={"layer0": LayerSettings(lanes=lanes)})[0].arch.window.lanes == lanes
    with pytest.raises(DovetailError, match=r"^settings: layer 'layer0': lanes must be 1, 3 or 9, not 2$"):
        layers(images, layers={"layer0": LayerSettings(lanes=2)})
    with pytest.raises(DovetailError, match=r"^settings: layer 'layer2': lanes must divide the 6 channels of a pixel, "
                                            r"not 4$"):
        layers(images, layers={"layer2": LayerSettings(lanes=4)})
    with pytest.raises(DovetailError, match=r"^settings: input_width must divide the image's channels \(3\), not 2$"):
        layers(images, input_width=2)
    assert plan(images, Settings(input_width=3)).arch.input_width == 3


@pytest.mark.parametrize("mode", Mode)
def test_targets_of_convolutions_are_met(images, mode):
    """By the exact model, layer by layer; the fewer the cycles, the more multipliers."""
    results = golden.run(images, np.random.default_rng(1).integers(0, 16, (3, 192)))
    multipliers = []
    for target in (20_000, 3000, 1000):
        found = layers(images, target_cycles=target, mode=mode)
        for planned, result in zip(found, results, strict=True):
            assert layer_cycles(planned, result).cycles_per_inference <= target
        multipliers.append(sum(planned.arch.engine.multipliers for planned in found))
    assert multipliers == sorted(multipliers) and multipliers[0] < multipliers[-1]


def test_selection_of_pixels_is_sized_by_the_pace(images):
    """A pixel's winners are found in registers; where one finder is too slow, several take turns."""
    selects = [layers(images, target_cycles=target)[0].arch.select for target in (20_000, 300)]
    assert [select.kind for select in selects] == [SelectKind.LOCAL] * 2
    assert selects[0].turns == 1 < selects[1].turns


def test_pairs_that_are_stored(network):
    """K pairs at most, however few lanes there are; every position where no K bounds them."""
    found = layers(network, layers={f"fc{n}": LayerSettings(lanes=2) for n in range(3)})
    assert [layer.arch.engine.capacity for layer in found] == [12, 4, 6]


@pytest.mark.parametrize("sizes", [{"lanes": 3}, {"banks": 2}, {"columns": 4}, {"drain_width": 4},
                                   {"lanes": 2, "banks": 3, "columns": 1, "drain_width": 2}])
def test_fixed_sizes_are_kept(network, sizes):
    planned = layers(network, layers={"fc0": LayerSettings(**sizes)})[0]
    assert {name: getattr(planned.arch.engine, name) for name in sizes} == sizes


@pytest.mark.parametrize("kind", AccumulatorKind)
def test_fixed_kinds_are_kept(network, kind):
    fixed = {"fc1": LayerSettings(accumulator=kind, kwta=SelectKind.LOCAL, set_size=9)}
    planned = layers(network, layers=fixed)[1]
    assert planned.arch.engine.accumulator is kind
    assert planned.arch.select.kind is SelectKind.LOCAL
    assert planned.arch.engine.set_size == 9


@pytest.mark.parametrize(("device", "kind"), [
    (None, AccumulatorKind.LUT_RAM), (Device.ECP5_25K, AccumulatorKind.LUT_RAM),
    (Device.UP5K, AccumulatorKind.BLOCK_RAM)])
def test_accumulators_suit_the_device(network, device, kind):
    fixed = {"fc1": LayerSettings(set_size=12)}
    assert layers(network, device=device, layers=fixed)[1].arch.engine.accumulator is kind


@pytest.mark.parametrize(("device", "given", "soft"), [
    (None, None, 0), (Device.UP5K, None, 0), (Device.HX8K, None, 2), (Device.HX8K, 0, 0), (None, 1, 1)])
def test_soft_multipliers_suit_the_device(network, device, given, soft):
    fixed = {"fc0": LayerSettings(lanes=2, banks=1, soft=given)}
    assert layers(network, device=device, layers=fixed)[0].arch.engine.soft == soft


def test_biases_are_as_wide_as_they_must_be(network):
    for planned in layers(network):
        width, bias = planned.arch.engine.bias_width, planned.layer.bias
        assert width <= planned.layer.sum_bits
        assert -(1 << width - 1) <= bias.min() and bias.max() < 1 << width - 1


def test_input_width(network):
    fixed = {"fc0": LayerSettings(lanes=4)}
    assert plan(network, Settings(layers=fixed)).arch.input_width == 4
    assert plan(network, Settings(layers=fixed, input_width=2)).arch.input_width == 2
    assert not plan(network, Settings()).arch.loadable
    assert plan(network, Settings(loadable=True)).arch.loadable


@pytest.mark.parametrize("mode", Mode)
def test_targets_are_met(network, mode):
    """The cycle model agrees, layer by layer; a shorter target takes no fewer multipliers."""
    rng = np.random.default_rng(1)
    results = golden.run(network, rng.integers(1, 256, (20, 24)))
    multipliers = []
    for target in (1400, 700, 350):
        found = layers(network, target_cycles=target, mode=mode)
        for planned, result in zip(found, results, strict=True):
            assert layer_cycles(planned, result).cycles_per_inference <= target
        multipliers.append(sum(planned.arch.engine.multipliers for planned in found))
    assert multipliers == sorted(multipliers)


def test_plan_is_the_same_every_time(network):
    one, two = plan(network, Settings(target_cycles=300)), plan(network, Settings(target_cycles=300))
    assert one.arch == two.arch and one.images == two.images


@pytest.mark.parametrize(("settings", "message"), [
    ({"layers": {"fc9": LayerSettings()}}, "settings: no layer 'fc9'; the network has fc0, fc1, fc2"),
    ({"input_width": 5, "layers": {"fc0": LayerSettings(lanes=4)}},
     "settings: input_width must divide the first layer's lanes (4), not 5"),
    ({"layers": {"fc0": LayerSettings(lanes=25)}},
     "settings: layer 'fc0': lanes must be at most positions (24), not 25"),
    ({"layers": {"fc1": LayerSettings(columns=3)}}, "settings: layer 'fc1': columns must be a power of two, not 3"),
    ({"layers": {"fc0": LayerSettings(columns=2, drain_width=3)}},
     "settings: layer 'fc0': drain_width must divide columns or be a multiple of it, not 3"),
    ({"layers": {"fc2": LayerSettings(set_size=513)}},
     "settings: layer 'fc2': set_size must be at most depth_limit, 512, not 513"),
    ({"layers": {"fc0": LayerSettings(drain_width=4), "fc1": LayerSettings(lanes=3)}},
     "settings: selection behind layer 'fc0': lanes must divide width (4) or be a multiple of it, not 3"),
    ({"layers": {"fc0": LayerSettings(bins=3)}},
     "settings: layer 'fc0': bins must be a power of two of at most 256, not 3"),
    ({"layers": {"fc0": LayerSettings(soft=1000)}},
     "settings: no engine fits layer 'fc0': see its lanes, banks, columns, drain_width and soft"),
    ({"layers": {"fc0": LayerSettings(vectors=3)}},
     "settings: layer 'fc0' cannot be unrolled: it is no convolution of one channel"),
    ({"layers": {"fc0": LayerSettings(vectors=3, engine=EngineKind.FOLDED)}},
     "settings: layer 'fc0' is folded and has no vectors"),
    ({"layers": {"fc0": LayerSettings(buffers=3)}},
     "settings: layer 'fc0': buffers must be a power of two, not 3"),
    ({"layers": {"fc2": LayerSettings(turns=2)}},
     "settings: layer 'fc2': turns must be 1 for 'all', not 2"),
])
def test_settings_wrong(network, settings, message):
    with pytest.raises(DovetailError, match=f"^{re.escape(message)}$") as caught:
        plan(network, Settings(**settings))
    assert caught.value.exit_code == 2


def test_target_out_of_reach(network):
    message = r"^layer 'fc0' cannot reach 3 cycles per inference; the fastest engine found takes about \d+$"
    with pytest.raises(PlanError, match=message) as caught:
        plan(network, Settings(target_cycles=3))
    assert caught.value.exit_code == 1
