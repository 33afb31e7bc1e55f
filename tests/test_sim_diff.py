"""Comparison of the models: what is equal is told so, and every planted fault is named."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dovetail.hw.arch import Mode
from dovetail.sim import Engine, golden
from dovetail.sim.diff import Difference, RtlLayer, diff_network
from dovetail.sim.diff_weights import WeightDiff
from dovetail.sim.verdict import verdict
from dovetail.sim.watch import watch_layers
from dovetail.sw.model import Clip, FloatLayer, FloatModel, MaxPool, Quantiser, Winners
from dovetail.sw.network import Exactness, Layer, Network, Scale, Thresholds
from dovetail.sw.plan import plan
from dovetail.sw.quantise import Calibration, Requantise, input_codes, quantise
from dovetail.sw.settings import Settings
from dovetail.sw.window import Window

RELU = Clip(name="relu", op="Relu", low=0.0, high=math.inf)


def float_model(*, sizes=(20, 32, 24, 6), winners=(None, None), density=0.5, seed=0, **members):
    rng = np.random.default_rng(seed)
    layers = []
    for number, (positions, kernels) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        mask = rng.random((kernels, positions)) < density
        steps = () if number == len(sizes) - 2 else (RELU,)
        if steps and winners[number] is not None:
            steps += (Winners(name="kwta", op="TopK", winners=winners[number]),)
        weights = mask * rng.standard_normal(mask.shape) / np.sqrt(positions * density)
        layers.append(FloatLayer(name=f"fc{number}", op="Gemm", weights=weights, bias=rng.normal(0, 0.1, kernels),
                                 steps=steps))
    return FloatModel(name="net", input_shape=sizes[:1], layers=tuple(layers), sha256="0" * 64, **members)


def inputs(count=100, seed=1, length=20):
    return np.random.default_rng(seed).random((count, length))


def compare(model, network, x, **more):
    return diff_network(model, network, input_codes(network, x), x, **more)


def with_layer(network, number, **change):
    layers = list(network.layers)
    layers[number] = replace(layers[number], **change)
    return replace(network, layers=tuple(layers))


def exact_pair(*, last_scale=2.0**-5, low=0, pooled=False):
    """A model that states integers, and the network that computes the same."""
    rng = np.random.default_rng(3)
    codes = rng.integers(-7, 8, (6, 4)), rng.integers(-7, 8, (3, 6))
    window = Window(channels=1, height=3, width=3, kernel=(2, 2)) if pooled else None
    pool = Window(channels=6, height=2, width=2, kernel=(2, 2)) if pooled else None
    quantiser = Quantiser(name="q", op="QuantizeLinear", scale=2.0**-3, low=low, high=127)
    steps = (*(() if low else (RELU,)), quantiser, *([MaxPool(name="pool", op="MaxPool", window=pool)] if pool else []))
    shape = (1, 3, 3) if pooled else (4,)
    model = FloatModel(
        name="exact", input_shape=shape, sha256="0" * 64,
        input_quantiser=Quantiser(name="in", op="QuantizeLinear", scale=2.0**-4, low=0, high=255), layers=(
            FloatLayer(name="a", op="Gemm", weights=codes[0] * 2.0**-5, bias=np.arange(6.0), codes=codes[0],
                       scale=np.full(6, 2.0**-5), window=window, steps=steps),
            FloatLayer(name="b", op="Gemm", weights=codes[1] * last_scale, bias=np.zeros(3), codes=codes[1],
                       scale=np.full(3, last_scale))))
    network = Network(
        name="exact", input_shape=shape, input_range=(0, 255), input_scale=2.0**-4, sha256="0" * 64, layers=(
            Layer(name="a", op="Gemm", weights=codes[0], mask=codes[0] != 0, weight_bits=4, bias=np.arange(6) * 512,
                  input_range=(0, 255), window=window, pool=pool, exactness=Exactness.SHIFT, output_scale=2.0**-3,
                  stages=(Scale(multiplier=None, offset=32, shift=6, low=low, high=127, ties_to_even=True),)),
            Layer(name="b", op="Gemm", weights=codes[1], mask=codes[1] != 0, weight_bits=4, bias=np.zeros(3, int),
                  input_range=(low, 127), exactness=Exactness.SHIFT, output_scale=last_scale * 2.0**-3)))
    return model, network


@pytest.mark.parametrize("pair", [{}, {"low": -128}, {"pooled": True}, {"last_scale": 0.0137}])
def test_exact_models_are_equal(pair):
    """To the last bit where scales are powers of two; where they are not, the rounding of float64 is no error."""
    model, network = exact_pair(**pair)
    x = inputs(50, length=math.prod(model.input_shape)) * 15
    diff = compare(model, network, x, labels=np.zeros(50, int))
    assert diff.inputs.snr == math.inf and diff.inputs.outside == 0
    assert diff.float_accuracy == diff.accuracy and diff.labels_differ == 0 and diff.rtl_equal is None
    for layer in diff.layers:
        assert layer.as_it_runs == layer.alone == layer.alone_weights == layer.weights.snr == math.inf
        assert layer.equal == 1 and layer.largest_error == layer.mean_error == layer.clipped == 0
        assert layer.first is None and layer.exactness is Exactness.SHIFT
    assert verdict(diff) == ["nothing stands out: 0 of 50 labels differ"]


def test_numbers_of_a_small_layer():
    """Every number, worked out by hand: codes are twice the values, and the input 3.25 becomes the code 7 (6.5 up)."""
    model = FloatModel(name="net", input_shape=(2,), sha256="0" * 64, layers=(
        FloatLayer(name="fc", op="Gemm", weights=np.array([[1.0, 0.0], [0.0, 1.0]]), bias=np.zeros(2), steps=(RELU,)),))
    network = Network(name="net", input_shape=(2,), input_range=(0, 15), input_scale=0.5, sha256="0" * 64, layers=(
        Layer(name="fc", weights=np.array([[1, 0], [0, 1]]), mask=np.eye(2, dtype=bool), weight_bits=2,
              bias=np.zeros(2, int), input_range=(0, 15), output_scale=0.5,
              stages=(Scale(multiplier=None, offset=0, shift=0, low=0, high=7),)),))
    x, codes = np.array([[3.25, 0.0], [1.0, 9.0]]), np.array([[7, 0], [2, 15]])
    diff = diff_network(model, network, codes, x)
    (layer,) = diff.layers
    # Real outputs: 3.5, 0, 1, 3.5 (saturated) against 3.25, 0, 1, 9; the layer alone is fed 7.5 in the end.
    assert layer.as_it_runs == pytest.approx(10 * np.log10((3.25**2 + 1 + 81) / (0.25**2 + 5.5**2)), abs=1e-12)
    assert layer.alone == pytest.approx(10 * np.log10((3.5**2 + 1 + 7.5**2) / 4.0**2), abs=1e-12)
    assert layer.alone_weights == layer.weights.snr == math.inf
    assert (layer.largest_error, layer.mean_error) == (11, (0.5 + 11) / 4)
    assert layer.equal == 0.75 and layer.first == Difference(frame=0, element=0, expected=6, got=7)
    assert (layer.at_high, layer.at_low, layer.clipped, layer.zeros, layer.winners) == (0.5, None, 1 / 3, 0.25, None)
    assert layer.weights == WeightDiff(bits=2, snr=math.inf, count=2, zeroed=0, dropped=0, wrong=0, first_wrong=None)
    assert diff.inputs.snr == pytest.approx(10 * np.log10((3.25**2 + 1 + 81) / (0.25**2 + 1.5**2)), abs=1e-12)
    assert (diff.inputs.outside, diff.inputs.largest, diff.inputs.limit, diff.inputs.zeros) == (0.25, 15, 15, 0.25)


def test_signal_of_zeros():
    """Without a signal there is no ratio: NaN where the integer network has something, infinite where it has not."""
    model, network = exact_pair()
    diff = compare(model, with_layer(network, 1, bias=np.ones(3, int)), np.zeros((2, 4)))
    assert diff.inputs.snr == math.inf      # zeros in, zeros kept
    silent = replace(model, layers=(model.layers[0], replace(model.layers[1], weights=np.zeros((3, 6)), codes=None,
                                                             scale=None)))
    (_, last) = compare(silent, with_layer(network, 1, bias=np.ones(3, int)), np.zeros((2, 4))).layers
    assert math.isnan(last.as_it_runs) and math.isnan(last.alone)


def test_single_score_is_labelled_by_its_sign():
    model = float_model(sizes=(20, 1))
    x = inputs() - 0.5
    network = quantise(model, x)
    labels = (model.run(x)[-1][:, 0] > 0).astype(int)
    assert 0 < labels.sum() < 100
    assert compare(model, network, x, labels=labels).float_accuracy == 1


@pytest.mark.parametrize("requantise", Requantise)
def test_weights_in_their_own_scale(requantise):
    """At 16 bits every weight is what it rounds to, whatever the requantisation."""
    model = float_model(winners=(8, None), input_gain=2.0, input_offset=-0.5)
    network = quantise(model, inputs(), weight_bits=16, activation_bits=16, requantise=requantise,
                       method=Calibration.MINMAX)
    diff = compare(model, network, inputs())
    for layer in diff.layers:
        assert layer.weights.wrong == layer.weights.dropped == 0 and layer.weights.snr > 80
        assert layer.alone > 75
    assert verdict(diff) == ["nothing stands out: 0 of 100 labels differ"]


@pytest.mark.parametrize("bits", [8, 3])
def test_wrong_weight_is_named(bits):
    model, x = float_model(), inputs()
    network = quantise(model, x, weight_bits=bits)
    weights = network.layers[1].weights.copy()
    kernel, position = np.argwhere(weights > 1)[5]
    weights[kernel, position] -= 1
    diff = compare(model, with_layer(network, 1, weights=weights), x)
    assert [layer.weights.wrong for layer in diff.layers] == [0, 1, 0]
    assert verdict(diff)[0].startswith(
        f"layer 'fc1': 1 of {diff.layers[1].weights.count} weights are not what the model's round to; the first at "
        f"kernel {kernel}, position {position}: {weights[kernel, position]}, not {weights[kernel, position] + 1}")


def test_dropped_weights_are_named():
    model, x = float_model(), inputs()
    network = quantise(model, x)
    before = network.layers[0].weights
    weights = np.where(np.abs(before) > 60, 0, before)
    diff = compare(model, with_layer(network, 0, weights=weights, mask=weights != 0), x)
    found = diff.layers[0].weights
    assert found.wrong == 0 and found.dropped == (np.abs(before) > 60).sum()
    assert found.zeroed == found.dropped + ((before == 0) & (model.layers[0].weights != 0)).sum()
    assert verdict(diff)[0].startswith(f"layer 'fc0': {found.dropped} of {found.count} weights are left out")
    assert verdict(diff)[1].endswith("dB alone): its weights")


def test_inputs_too_large_are_named():
    model = float_model()
    diff = compare(model, quantise(model, inputs() / 4), inputs(seed=2))
    outside = (inputs(seed=2) > inputs().max() / 4 * 255.5 / 255).mean()
    assert diff.inputs.outside == pytest.approx(outside, abs=1e-3)
    share = f"{100 * diff.inputs.outside:.0f} %"
    assert verdict(diff)[0] == f"inputs: {share} are beyond the code range: is their scale right?"
    assert len(verdict(diff)) == 2      # what they make of the layers is not told


def test_inputs_too_small_are_named():
    model = float_model()
    diff = compare(model, quantise(model, inputs() * 40), inputs())
    assert verdict(diff)[0] == "inputs: the largest code is 6 of 255: is their scale right?"
    assert len(verdict(diff)) == 2


def test_saturation_is_named():
    """The layer whose range is too small, and no other, although those behind it suffer."""
    model, x = float_model(), inputs()
    narrow = quantise(model, x, percentile=90.0).layers[1]
    wide = quantise(model, x, method=Calibration.MINMAX)
    scale = narrow.output_scale / wide.layers[1].output_scale
    network = with_layer(wide, 1, stages=(replace(
        wide.layers[1].stages[0], multiplier=np.rint(wide.layers[1].stages[0].multiplier / scale).astype(int)),),
        output_scale=narrow.output_scale)
    last = wide.layers[2]
    network = with_layer(network, 2, output_scale=last.output_scale * scale)
    diff = compare(model, network, x)
    saturating = [layer.clipped > 0 for layer in diff.layers]
    assert saturating == [False, True, False]
    layer = diff.layers[1]
    assert 0 < layer.clipped * (1 - layer.zeros) <= layer.at_high
    lines = verdict(diff)
    assert lines[0].startswith("layer 'fc1' loses most (") and lines[0].endswith("dB alone): its outputs saturate")
    assert lines[1] == (f"{100 * diff.layers[1].clipped:.2g} % of layer 'fc1' saturate: percentile too low, or "
                        "calibrated on other data")
    assert len(lines) == 3


def test_three_bit_weights_are_named():
    """In one layer only: the line names it, and widths that keep what is wanted do so."""
    model, x = float_model(), inputs()
    network, narrow = quantise(model, x), quantise(model, x, weight_bits=3)
    last = narrow.layers[2]
    scale = last.output_scale / narrow.layers[1].output_scale * network.layers[1].output_scale
    mixed = with_layer(network, 2, weights=last.weights, weight_bits=3, output_scale=scale,
                       bias=np.rint(model.layers[2].bias / scale).astype(int))
    diff = compare(model, mixed, x)
    last = diff.layers[2]
    assert [layer.weights.bits for layer in diff.layers] == [8, 8, 3] and last.alone < 20
    bits = 3 + math.ceil((30 - min(last.alone, last.weights.snr)) / (20 * math.log10(2)))
    assert verdict(diff) == [
        f"layer 'fc2' loses most ({last.alone:.0f} dB alone): its weights at 3 bits (SQNR {last.weights.snr:.0f} dB "
        f"alone); try --weight-bits {bits}",
        f"{diff.labels_differ} of 100 labels differ between float and integer"]
    better = compare(model, quantise(model, x, weight_bits=bits), x)
    assert min(layer.alone for layer in better.layers) > 24


def test_narrow_activations_are_named():
    model, x = float_model(), inputs()
    diff = compare(model, quantise(model, x, activation_bits=3), x)
    least = min(layer.alone for layer in diff.layers)
    assert diff.layers[1].alone == least
    bits = 3 + math.ceil((30 - least) / (20 * math.log10(2)))
    assert verdict(diff)[0] == (f"layer 'fc1' loses most ({least:.0f} dB alone): its outputs at 3 bits; try "
                                f"--activation-bits {bits}")


def test_narrow_inputs_are_named():
    """A layer that sums many inputs keeps more of the signal than the inputs themselves."""
    model, x = float_model(sizes=(20, 6)), inputs()
    diff = compare(model, quantise(model, x, activation_bits=2), x)
    assert verdict(diff)[0] == (f"inputs lose most: 2 bits keep {diff.inputs.snr:.0f} dB; try --activation-bits "
                                f"{2 + math.ceil((30 - diff.inputs.snr) / (20 * math.log10(2)))}")


def test_nearest_requantisation_is_named():
    model, network = exact_pair()
    stage = replace(network.layers[0].stages[0], offset=64 * 5)
    x = inputs(50, length=4)
    diff = compare(model, with_layer(network, 0, stages=(stage,), exactness=Exactness.NEAREST), x)
    assert verdict(diff)[0].endswith("its requantisation is the nearest multiplier")


def test_errors_that_add_up():
    model, x = float_model(), inputs(400)
    diff = compare(model, quantise(model, x, weight_bits=8), x)
    few = replace(diff, labels_differ=4)
    many = replace(diff, labels_differ=5)
    assert verdict(replace(diff, frames=50, labels_differ=1)) == ["nothing stands out: 1 of 50 labels differ"]
    assert verdict(few) == ["nothing stands out: 4 of 400 labels differ"]
    assert verdict(many) == ["no layer stands out, yet 5 of 400 labels differ: the errors add up from layer to layer; "
                             "try more --weight-bits and --activation-bits"]
    swapped = replace(many, layers=(replace(many.layers[0], winners=0.93), *many.layers[1:]))
    assert verdict(swapped) == ["no layer stands out, yet 5 of 400 labels differ: 7 % of the winners of layer 'fc0' "
                                "are others, where outputs are nearly equal; try more --weight-bits and "
                                "--activation-bits"]


def test_rounded_inputs_of_an_exact_network():
    """A model that does not say how its input is quantised: nothing else is rounded, so nothing else is blamed."""
    model, network = exact_pair()
    x = inputs(400, length=4) * 15
    diff = compare(replace(model, input_quantiser=None), network, x)
    assert diff.inputs.snr < math.inf and all(layer.alone == math.inf > layer.as_it_runs for layer in diff.layers)
    assert verdict(replace(diff, labels_differ=5)) == [
        f"no layer stands out, yet 5 of 400 labels differ: the inputs alone are rounded ({diff.inputs.snr:.0f} dB at 8 "
        "bits); try more --activation-bits"]


def test_rtl():
    model, x = float_model(winners=(8, None)), inputs(10)
    network = quantise(model, x)
    codes = input_codes(network, x)
    good = [RtlLayer(outputs=result.outputs, cycles=np.arange(result.outputs.size).reshape(result.outputs.shape))
            for result in golden.run(network, codes)]
    diff = diff_network(model, network, codes, x, rtl=good)
    assert diff.rtl_equal and all(layer.rtl_different == 0 and layer.rtl_first is None for layer in diff.layers)
    outputs = good[1].outputs.copy()
    outputs[3:, 7] += 2
    bad = [good[0], replace(good[1], outputs=outputs), good[2]]
    diff = diff_network(model, network, codes, x, rtl=bad)
    assert diff.rtl_equal is False and [layer.rtl_different for layer in diff.layers] == [0, 7, 0]
    assert diff.layers[1].rtl_first == Difference(frame=3, element=7, expected=outputs[3, 7] - 2, got=outputs[3, 7],
                                                  cycle=3 * 24 + 7)
    assert verdict(diff)[0] == (f"the RTL is wrong from layer 'fc1' on: frame 3, element 7, cycle 79: "
                                f"{outputs[3, 7]}, not {outputs[3, 7] - 2}")


@pytest.mark.parametrize("mode", Mode)
def test_watched_layers(mode):
    """What left every layer of the RTL, and when: in order, and a frame's last element after all of its others."""
    model, x = float_model(sizes=(12, 10, 9, 5), winners=(3, None)), inputs(6, length=12)
    network = quantise(model, x)
    codes = input_codes(network, x)
    planned = plan(network, Settings(mode=mode))
    rtl = watch_layers(planned, codes, engine=Engine.AMARANTH)
    for layer, result in zip(rtl, golden.run(network, codes), strict=True):
        np.testing.assert_array_equal(layer.outputs, result.outputs)
        assert (layer.cycles > 0).all() and (np.diff(layer.cycles.max(axis=1)) > 0).all()
    before, after = (layer.cycles.max(axis=1) for layer in rtl[1:])
    assert (before < after).all()
    assert diff_network(model, network, codes, x, rtl=rtl).rtl_equal


def test_watched_layers_of_wrong_rtl():
    """A bias of the middle layer is wrong in its memory: that layer is named, though the first is right."""
    model, x = float_model(sizes=(12, 10, 9, 5)), inputs(6, length=12)
    network = quantise(model, x)
    codes = input_codes(network, x)
    planned = plan(network, Settings())
    images = planned.layers[1].images
    biases = tuple(tuple(bias + 10**4 for bias in port) for port in images.engine.biases)
    middle = replace(planned.layers[1], images=replace(images, engine=replace(images.engine, biases=biases)))
    broken = replace(planned, layers=(planned.layers[0], middle, planned.layers[2]))
    rtl = watch_layers(broken, codes, engine=Engine.AMARANTH)
    diff = diff_network(model, network, codes, x, rtl=rtl)
    assert [layer.rtl_different > 0 for layer in diff.layers] == [False, True, True]
    first = diff.layers[1].rtl_first
    assert first.frame == 0 and first.got > first.expected and first.cycle == rtl[1].cycles[0, first.element]


def test_winners():
    """Winner sets, counted a second time."""
    model, x = float_model(winners=(8, 5)), inputs()
    network = quantise(model, x, weight_bits=4)
    diff = compare(model, network, x)
    results = golden.run(network, input_codes(network, x))
    for layer, real, result in zip(diff.layers[:2], model.run(x), results, strict=False):
        sets = [set(np.flatnonzero(row)) for row in real], [set(np.flatnonzero(row)) for row in result.outputs]
        shared = sum(len(one & other) for one, other in zip(*sets, strict=True))
        assert layer.winners == shared / sum(map(len, sets[0])) < 1
    assert diff.layers[2].winners is None


def test_layer_alone_is_compared_before_the_winners_are_chosen():
    """So the choice, which makes a large difference of a small one, changes nothing of it."""
    x, open_model, chosen = inputs(), float_model(), float_model(winners=(8, None))
    network = quantise(open_model, x)
    selecting = with_layer(network, 0, winners=8)
    one, other = compare(open_model, network, x).layers[0], compare(chosen, selecting, x).layers[0]
    for name in ("alone", "alone_weights", "weights", "clipped"):
        assert getattr(one, name) == getattr(other, name)
    assert other.as_it_runs < 35 < one.as_it_runs and one.zeros < other.zeros


def without_kernel(network, number, kernel, constant=0):
    """The network without a kernel whose code is constant."""
    layer, following = network.layers[number], network.layers[number + 1]
    kept = np.delete(np.arange(layer.kernels), kernel)
    (stage,) = layer.stages
    pixels = following.positions // layer.kernels
    columns = np.arange(following.positions).reshape(-1, pixels)
    gone, kept_columns = columns[kernel], columns[kept].ravel()
    layers = list(network.layers)
    layers[number] = replace(
        layer, weights=layer.weights[kept], mask=layer.mask[kept], bias=layer.bias[kept],
        stages=(replace(stage, multiplier=stage.multiplier[kept]),), origin=kept,
        pool=layer.pool and replace(layer.pool, channels=len(kept)))
    layers[number + 1] = replace(
        following, weights=following.weights[:, kept_columns], mask=following.mask[:, kept_columns],
        bias=following.bias + following.weights[:, gone].sum(axis=1) * constant)
    return replace(network, layers=tuple(layers))


def test_kernels_left_out_do_not_count():
    """A constant kernel folded into the next bias: the others are compared, under their numbers in the model."""
    model, x = float_model(), inputs()
    first = model.layers[0]
    weights, bias = first.weights.copy(), first.bias.copy()
    weights[4], bias[4] = 0, 0.5
    model = replace(model, layers=(replace(first, weights=weights, bias=bias), *model.layers[1:]))
    network = quantise(model, x)
    whole = compare(model, network, x)
    constant = golden.run(network, input_codes(network, x))[0].outputs[0, 4]
    assert constant > 0
    cleaned = without_kernel(network, 0, 4, constant)
    diff = compare(model, cleaned, x)
    assert [(layer.removed, layer.removed_varying) for layer in diff.layers] == [(1, 0), (0, 0), (0, 0)]
    assert diff.layers[1].weights.wrong == 0 and diff.layers[1].as_it_runs == whole.layers[1].as_it_runs
    # What was rounded in the kernel's constant code is no longer there to be seen alone.
    assert diff.layers[1].alone == pytest.approx(whole.layers[1].alone, abs=0.5)

    spoiled = cleaned.layers[0].weights.copy()
    position = np.flatnonzero(spoiled[10])[0]
    spoiled[10, position] += 40 if spoiled[10, position] < 0 else -40
    diff = compare(model, with_layer(cleaned, 0, weights=spoiled), x)
    wrong = diff.layers[0].weights.first_wrong
    assert (wrong.frame, wrong.element) == (11, position)       # kernel 10 of what is left
    assert diff.layers[0].equal < 1


def test_kernel_left_out_that_varies_is_told():
    model, x = float_model(), inputs()
    network = quantise(model, x)
    fired = (model.run(x)[0] > 0).mean(axis=0)
    kernel = int(np.argmax(fired))
    diff = compare(model, without_kernel(network, 0, kernel), x)
    assert [(layer.removed, layer.removed_varying) for layer in diff.layers] == [(1, 1), (0, 0), (0, 0)]
    unread = model.layers[1].weights.copy()
    unread[:, kernel] = 0
    quiet = replace(model, layers=(model.layers[0], replace(model.layers[1], weights=unread), model.layers[2]))
    diff = compare(quiet, without_kernel(quantise(quiet, x), 0, kernel), x)
    assert [(layer.removed, layer.removed_varying) for layer in diff.layers] == [(1, 0), (0, 0), (0, 0)]


def test_kernel_whose_only_reader_was_left_out_does_not_count():
    """It varies, and so does what it makes of its reader; the integer network has neither."""
    model, x = float_model(), inputs()
    first, second = (int(np.argmax((values > 0).mean(axis=0))) for values in model.run(x)[:2])
    weights = model.layers[1].weights.copy()
    weights[:, first] = 0
    weights[second, first] = 1.0
    model = replace(model, layers=(model.layers[0], replace(model.layers[1], weights=weights), model.layers[2]))
    network = quantise(model, x)
    read = without_kernel(network, 0, first)
    assert [layer.removed_varying for layer in compare(model, read, x).layers] == [1, 0, 0]
    diff = compare(model, without_kernel(read, 1, second), x)
    assert [(layer.removed, layer.removed_varying) for layer in diff.layers] == [(1, 0), (1, 1), (0, 0)]


def test_images():
    """A convolution with pooling, one of its channels left out: elements are numbered channel by channel."""
    rng = np.random.default_rng(7)
    window = Window(channels=2, height=6, width=6, kernel=(3, 3))
    pool = Window(channels=4, height=4, width=4, kernel=(2, 2), strides=(2, 2))
    weights, bias = rng.standard_normal((4, 18)), rng.normal(0, 1, 4)
    weights[1], bias[1] = 0, -1     # never fires
    model = FloatModel(name="image", input_shape=(2, 6, 6), sha256="0" * 64, layers=(
        FloatLayer(name="conv", op="Conv", weights=weights, bias=bias, window=window,
                   steps=(RELU, MaxPool(name="pool", op="MaxPool", window=pool))),
        FloatLayer(name="fc", op="Gemm", weights=rng.standard_normal((3, 16)), bias=np.zeros(3))))
    x = inputs(20, length=72)
    network = without_kernel(quantise(model, x), 0, 1)
    diff = compare(model, network, x)
    assert (diff.layers[0].removed, diff.layers[0].removed_varying) == (1, 0)
    assert all(layer.alone > 35 and layer.weights.wrong == 0 for layer in diff.layers)
    spoiled = network.layers[0].bias.copy()
    spoiled[1] += 10**6        # channel 2 of the model
    diff = compare(model, with_layer(network, 0, bias=spoiled), x)
    assert 8 <= diff.layers[0].first.element < 12 and diff.layers[0].first.got == 255


def test_thresholds_take_the_scale_that_fits():
    """Integer weights behind thresholds, of a model that does not state them: any positive multiple is right."""
    codes = np.array([[2, -1], [3, 1], [0, 0]])
    model = FloatModel(name="net", input_shape=(2,), sha256="0" * 64, layers=(
        FloatLayer(name="fc", op="Gemm", weights=codes * np.array([[0.1], [7.0], [1.0]]), bias=np.zeros(3)),))
    network = Network(name="net", input_shape=(2,), input_range=(0, 3), input_scale=1.0, sha256="0" * 64, layers=(
        Layer(name="fc", weights=codes, mask=codes != 0, weight_bits=4, bias=np.zeros(3, int), input_range=(0, 3),
              stages=(Thresholds(values=np.array([[1], [2], [3]]), low=0),), output_scale=1.0),))
    diff = compare(model, network, np.array([[1.0, 2.0]]))
    assert diff.layers[0].weights.snr == math.inf and diff.layers[0].weights.wrong == 0


def test_negated_kernels_are_right():
    """A kernel that falls is built negated."""
    model, network = exact_pair()
    weights = network.layers[1].weights.copy()
    weights[0] *= -1
    diff = compare(model, with_layer(network, 1, weights=weights), inputs(length=4))
    assert diff.layers[1].weights.snr == math.inf and diff.layers[1].weights.wrong == 0


def test_layers_wrong():
    model, network = exact_pair()
    with pytest.raises(ValueError, match=r"^network must have 1 layers as the model has, not 2$"):
        compare(replace(model, layers=model.layers[:1]), network, inputs(length=4))


@pytest.mark.parametrize("count", [0, 3])
def test_inputs_wrong(count):
    model, network = exact_pair()
    with pytest.raises(ValueError, match=rf"^x and codes must hold the same inputs, at least one, not {count} and 0$"):
        diff_network(model, network, np.zeros((0, 4), int), np.zeros((count, 4)))


@pytest.mark.parametrize("kernels", [5, 7])
def test_outputs_of_another_model_wrong(kernels):
    _, network = exact_pair()
    with pytest.raises(ValueError, match=rf"^layer 'a' must have outputs of \({kernels},\), not \(6,\)$"):
        compare(float_model(sizes=(4, kernels, 3)), network, inputs(length=4))


def test_weights_of_another_model_wrong():
    """Windows of nine elements, and no pooling, make outputs of the same shape as four with pooling."""
    model, network = exact_pair(pooled=True)
    layer = FloatLayer(name="a", op="Conv", weights=np.ones((6, 9)), bias=np.zeros(6),
                       window=Window(channels=1, height=3, width=3, kernel=(3, 3)))
    with pytest.raises(ValueError, match=r"^layer 'a' must be made of weights \(6, 9\), not \(6, 4\)$"):
        compare(replace(model, layers=(layer, model.layers[1])), network, inputs(length=9))
