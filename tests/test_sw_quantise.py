"""Integer records and post-training quantisation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import evaluate, make_mlp
from numpy.testing import assert_array_equal

from dovetail.hw.errors import ModelError
from dovetail.sw.data import load_samples
from dovetail.sw.network import FloatLayer, FloatModel, Layer, Network
from dovetail.sw.quantise import MULTIPLIER_BITS, Calibration, Requantise, input_codes, quantise
from dovetail.sw.reader import read_model


def integer_layer(**changes):
    return Layer(**{
        "name": "a", "weights": np.array([[1, -2, 0], [0, 3, 4]]), "mask": np.array([[1, 1, 0], [1, 1, 1]], bool),
        "weight_bits": 4, "bias": np.array([5, -6]), "input_bits": 3, "input_signed": False, "multiplier": None,
        "shift": 1, "output_bits": 4, "winners": 1, "output_scale": 0.5} | changes)


def test_layer():
    layer = integer_layer()
    assert (layer.kernels, layer.positions) == (2, 3)
    assert layer.input_range == (0, 7)
    assert layer.multiplier_bits == 0
    assert layer.sum_range == (-14, 49)   # -2 * 7 without the bias; 7 * 7 without the bias
    assert layer.sum_bits == 7
    signed = integer_layer(input_signed=True, multiplier=np.array([9, 16]))
    assert signed.input_range == (-4, 3)
    assert signed.multiplier_bits == 5
    assert signed.sum_range == (-34, 21)   # (3 + 4) * -4 - 6; (3 + 4) * 3
    assert not layer.weights.flags.writeable and not layer.mask.flags.writeable and not layer.bias.flags.writeable


@pytest.mark.parametrize(("weights", "bias", "bits"), [
    ([[0]], [0], 1), ([[0]], [-1], 1), ([[0]], [1], 2), ([[0]], [-2], 2), ([[0]], [127], 8), ([[0]], [-128], 8),
    ([[0]], [-129], 9), ([[1]], [0], 9), ([[-1]], [0], 9), ([[-1]], [-1], 9), ([[-1]], [-2], 10),
])
def test_sum_bits(weights, bias, bits):
    layer = integer_layer(weights=np.array(weights), mask=np.ones((1, 1), bool), bias=np.array(bias), input_bits=8)
    assert layer.sum_bits == bits


@given(st.data())
def test_sum_range_is_tight(data):
    """No subset of positions leaves the range, and codes exist that reach both ends."""
    row = st.lists(st.integers(-7, 7), min_size=4, max_size=4)
    weights = np.array(data.draw(st.lists(row, min_size=1, max_size=3)))
    bias = np.array(data.draw(st.lists(st.integers(-50, 50), min_size=len(weights), max_size=len(weights))))
    signed = data.draw(st.booleans())
    layer = integer_layer(weights=weights, mask=np.ones(weights.shape, bool), bias=bias, winners=None, input_bits=2,
                          input_signed=signed)
    low, high = layer.input_range
    subsets = np.array(np.meshgrid(*[[0, low, high]] * 4)).reshape(4, -1)
    sums = weights @ subsets
    sums = np.concatenate([sums, sums + bias[:, np.newaxis]])
    assert layer.sum_range == (sums.min(), sums.max())


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"weights": np.ones((2, 3))}, TypeError, r"weights must be an array of int64, not float64"),
    ({"weights": np.array([[8, 0, 0], [0, 0, 0]])}, ValueError, r"weights must be -7 to 7, not 8"),
    ({"weights": np.array([[-8, 0, 0], [0, 0, 0]])}, ValueError, r"weights must be -7 to 7, not -8"),
    ({"mask": np.zeros((2, 3), bool)}, ValueError, r"weights must be zero where the mask is False"),
    ({"mask": np.zeros((2, 3), int)}, TypeError, r"mask must be an array of bool, not int64"),
    ({"mask": np.zeros((3, 2), bool)}, ValueError, r"mask must have shape \(2, 3\), not \(3, 2\)"),
    ({"bias": np.array([2**61, 0])}, ValueError, r"bias must be -2\*\*60 to 2\*\*60"),
    ({"weight_bits": 1}, ValueError, r"weight_bits must be 2 to 16, not 1"),
    ({"input_bits": 17}, ValueError, r"input_bits must be 1 to 16, not 17"),
    ({"shift": -1}, ValueError, r"shift must be 0 to 62, not -1"),
    ({"shift": np.int64(1)}, TypeError, r"shift must be an integer, not np\.int64\(1\)"),
    ({"output_bits": 0}, ValueError, r"output_bits must be 1 to 16, not 0"),
    ({"output_bits": None}, ValueError, r"output_bits must be given with a multiplier, a shift or winners, not None"),
    ({"multiplier": np.array([1, 0])}, ValueError, r"multiplier must be at least 1, not 0"),
    ({"multiplier": np.array([1])}, ValueError, r"multiplier must have shape \(2,\), not \(1,\)"),
    ({"winners": 3}, ValueError, r"winners must be 1 to 2, not 3"),
    ({"output_scale": 0.0}, ValueError, r"output_scale must be positive, not 0\.0"),
    ({"output_scale": np.ones(3)}, ValueError, r"output_scale must have shape \(2,\), not \(3,\)"),
    ({"output_scale": np.nan}, ValueError, r"output_scale must hold finite numbers only"),
    ({"bias": np.array([2**50, 0]), "multiplier": np.array([2**15, 1])}, ValueError,
     r"sum_bits and multiplier_bits must make at most 63 together, not 52 and 16"),
])
def test_layer_wrong(changes, error, message):
    with pytest.raises(error, match=rf"^{message}$"):
        integer_layer(**changes)


def test_network_wrong():
    def network(*layers, **changes):
        return Network(**{"name": "n", "input_shape": (3,), "input_bits": 3, "input_signed": False, "input_scale": 1.0,
                          "layers": layers, "sha256": ""} | changes)

    first = integer_layer()
    last = integer_layer(name="b", weights=np.array([[1, 1]]), mask=np.ones((1, 2), bool), bias=np.zeros(1, int),
                         input_bits=4)
    assert network(first, last).layers == (first, last)
    for layers, changes, message in [
        ((), {}, r"layers must hold at least one layer, not \(\)"),
        ((last,), {}, r"layer 'b' must have 3 positions, not 2"),
        ((first,), {"input_bits": 4},
         r"layer 'a' must take codes of 4 bits, signed False, not of 3 bits, signed False"),
        ((first,), {"input_signed": True},
         r"layer 'a' must take codes of 3 bits, signed True, not of 3 bits, signed False"),
        ((first, replace(last, input_bits=3)), {},
         r"layer 'b' must take codes of 4 bits, signed False, not of 3 bits, signed False"),
        ((replace(first, output_bits=None, shift=0, winners=None), last), {},
         r"layer 'b' must take codes of None bits, signed False, not of 4 bits, signed False"),
        ((first,), {"input_scale": 0.0}, r"input_scale must be positive, not 0\.0"),
    ]:
        with pytest.raises(ValueError, match=rf"^{message}$"):
            network(*layers, **changes)


def float_layer(weights, bias, *, name="a", relu=True, winners=None):
    return FloatLayer(
        name=name, weights=np.array(weights, float), bias=np.array(bias, float), relu=relu, winners=winners)


def float_model(*layers):
    return FloatModel(name="m", input_shape=(layers[0].positions,), layers=layers, sha256="0")


def random_model(tmp_path, seed=0, **changes):
    return read_model(make_mlp(tmp_path / "m.onnx", **{
        "sizes": (20, 30, 25, 6), "densities": (0.3, 0.2, 0.5), "winners": (7, None), "seed": seed} | changes))


CALIBRATION = np.random.default_rng(9).integers(0, 256, (200, 20)).astype(np.uint8)


@pytest.mark.parametrize("requantise", Requantise)
@pytest.mark.parametrize("method", Calibration)
@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (2, 8), (5, 3), (12, 10), (16, 16), (8, 1)])
def test_formats(tmp_path, requantise, method, weight_bits, activation_bits):
    model = random_model(tmp_path)
    network = quantise(model, CALIBRATION, input_scale=1 / 255, weight_bits=weight_bits,
                       activation_bits=activation_bits, requantise=requantise, method=method)
    assert (network.name, network.input_shape, network.sha256) == (model.name, (20,), model.sha256)
    for layer, float_ in zip(network.layers, model.layers, strict=True):
        assert layer.name == float_.name
        assert_array_equal(layer.mask, float_.mask)
        assert (layer.weight_bits, layer.input_bits, layer.input_signed) == (weight_bits, activation_bits, False)
        assert np.abs(layer.weights).max() <= 2 ** (weight_bits - 1) - 1
        assert layer.winners == float_.winners
        if layer.output_bits is None:
            assert layer is network.layers[-1]
        elif requantise is Requantise.SHIFT:
            assert layer.multiplier is None
        else:
            assert 1 <= layer.multiplier.min()
            assert layer.multiplier_bits == MULTIPLIER_BITS
    *codes, sums = evaluate(network, input_codes(network, CALIBRATION[:3], 1 / 255))
    assert all(0 <= vector.min() and vector.max() < 2**activation_bits for vector in codes)
    least, most = network.layers[-1].sum_range
    assert least <= sums.min() and sums.max() <= most


@pytest.mark.parametrize("requantise", Requantise)
def test_close_to_float(tmp_path, requantise):
    """With many bits the integer network computes what the float model does."""
    model = random_model(tmp_path)
    network = quantise(model, CALIBRATION, input_scale=1 / 255, weight_bits=16, activation_bits=16,
                       requantise=requantise, method=Calibration.MINMAX)
    x = CALIBRATION[:40]
    codes = input_codes(network, x, 1 / 255)
    for outputs, expected, layer in zip(evaluate(network, codes), model.run(x / 255), network.layers, strict=True):
        np.testing.assert_allclose(outputs * layer.output_scale, expected, atol=2e-3 * expected.max())


def test_scales_agree(tmp_path):
    """The multiplier adds no error: weight scale x input scale x 2**shift is m x output scale, for every kernel."""
    model = random_model(tmp_path)
    network = quantise(model, CALIBRATION, input_scale=1 / 255, method=Calibration.MINMAX)
    scale = network.input_scale
    for layer, float_ in zip(network.layers[:-1], model.layers, strict=False):
        steps = layer.multiplier * layer.output_scale / 2**layer.shift / scale
        assert_array_equal(np.rint(float_.weights / steps[:, np.newaxis]), layer.weights)
        unreachable = -255 * layer.weights.clip(min=0).sum(axis=1)   # a bias below it is clamped: see test_useful_bias
        assert_array_equal(np.rint(float_.bias / (steps * scale)).clip(min=unreachable), layer.bias)
        # the largest weight of every kernel has the largest code, or next to it where m is small
        largest = np.abs(layer.weights).max(axis=1)
        assert largest[np.abs(float_.weights).max(axis=1) > np.abs(float_.weights).max() / 16].min() >= 126
        scale = layer.output_scale


def test_ranges():
    """The largest output of the calibration data has the largest code; a percentile saturates."""
    model = float_model(float_layer(np.eye(2), [0, 0]))
    x = np.arange(201)[:, np.newaxis] * [1, 0]
    minmax = quantise(model, x, input_scale=0.5, method=Calibration.MINMAX)
    outputs, = evaluate(minmax, input_codes(minmax, x, 0.5))
    assert outputs.max() == 255 and (outputs == 255).sum() == 1
    assert minmax.layers[0].output_scale == pytest.approx(100 / 255, rel=2**-15)
    half = quantise(model, x, input_scale=0.5, method=Calibration.PERCENTILE, percentile=50)
    assert half.layers[0].output_scale == pytest.approx(50.25 / 255, rel=2**-15)
    outputs, = evaluate(half, input_codes(half, x, 0.5))
    assert outputs.max() == 255 and (outputs == 255).sum() == 100


def test_last_layer_ranks():
    """Kernels of the last layer share a scale, so equal scores have equal sums however the weights differ."""
    model = float_model(float_layer([[100, 0], [0.5, 0.5], [1, 0]], [0, 0, 99], relu=False))
    network = quantise(model, np.array([[0, 255], [255, 0]], np.uint8), weight_bits=16)
    layer, = network.layers
    assert isinstance(layer.output_scale, float)
    assert (layer.output_bits, layer.multiplier, layer.shift) == (None, None, 0)
    sums, = evaluate(network, np.array([[1, 0], [1, 1]]))
    np.testing.assert_allclose(sums * layer.output_scale, [[100, 0.5, 100], [100, 1, 100]], rtol=2e-3)
    assert abs(sums[0, 0] - sums[0, 2]) <= 1


@pytest.mark.parametrize("requantise", Requantise)
def test_dead_kernels(requantise):
    """Kernels without weights, without range, or switched off; whole layers of them."""
    model = float_model(
        float_layer([[0, 0], [1, 2], [0, 0], [1e-12, 0], [1, 1]], [3, 0, -1, 0.5, -1e9]),
        float_layer(np.zeros((3, 5)), [0, 0, 0], name="b"),
        float_layer(1e-30 * np.ones((2, 3)), [2, -2], name="c"),
        float_layer(np.zeros((2, 2)), [0, 0], name="d", relu=False))
    x = np.array([[0, 0], [255, 255]], np.uint8)
    network = quantise(model, x, input_scale=1 / 255, requantise=requantise, method=Calibration.MINMAX)
    outputs = evaluate(network, input_codes(network, x, 1 / 255))
    first = outputs[0] * network.layers[0].output_scale
    np.testing.assert_allclose(first, [[3, 0, 0, 0.5, 0], [3, 3, 0, 0.5, 0]], atol=0.02)
    assert not outputs[1].any()
    np.testing.assert_allclose(outputs[2] * network.layers[2].output_scale, [[2, 0]] * 2, atol=0.02)
    assert not outputs[3].any()
    assert max(layer.sum_bits for layer in network.layers) <= 34
    assert network.layers[0].mask[3, 0] and not network.layers[0].weights[3, 0]


def test_useful_bias():
    """A bias that no input can overcome is clamped, and no code changes."""
    rng = np.random.default_rng(4)
    weights, bias = rng.standard_normal((40, 6)), rng.normal(0, 30, 40)
    layer, = quantise(float_model(float_layer(weights, bias)), rng.integers(0, 16, (50, 6)), activation_bits=4,
                      percentile=20).layers
    steps = layer.multiplier * layer.output_scale / 2**layer.shift
    free = np.rint(bias / steps).astype(np.int64)
    assert (free != layer.bias).sum() > 5
    codes = np.stack(np.meshgrid(*[[0, 7, 15]] * 6)).reshape(6, -1)
    half = 2 ** (layer.shift - 1)
    outputs = [((layer.weights @ codes + chosen[:, np.newaxis]) * layer.multiplier[:, np.newaxis] + half >> layer.shift)
               .clip(0, 15) for chosen in (free, layer.bias)]
    assert_array_equal(*outputs)


@pytest.mark.parametrize(("x", "scale", "bits", "signed", "input_scale"), [
    (np.array([[0, 255]], np.uint8), 0.3, 8, False, 0.3),
    (np.array([[0, 16]], np.int32), 0.3, 8, False, 0.3),
    (np.array([[-128, 127]], np.int16), 0.3, 8, True, 0.3),
    (np.array([[0, 256]], np.int32), 0.5, 8, False, 128 / 255),
    (np.array([[-129, 12]], np.int32), 0.5, 8, True, 64.5 / 127),
    (np.array([[0.0, 2.0]]), 0.5, 8, False, 1 / 255),
    (np.array([[-4.0, 2.0]], np.float32), 0.5, 4, True, 2 / 7),
    (np.array([[0.0, 0.0]]), 0.5, 8, False, 0.5),
    (np.array([[-1.0, 0.0]]), 1.0, 1, True, 1.0),
])
def test_input_format(x, scale, bits, signed, input_scale):
    model = float_model(float_layer([[1, 2]], [0], relu=False))
    network = quantise(model, x, input_scale=scale, activation_bits=bits)
    assert (network.input_bits, network.input_signed) == (bits, signed)
    assert network.layers[0].input_signed == signed
    if x.dtype.kind in "iu" and input_scale == scale:
        assert network.input_scale == scale
        assert_array_equal(input_codes(network, x, scale), x)
    else:
        assert input_scale <= network.input_scale <= input_scale * (1 + 2**-15)


def test_input_codes():
    model = float_model(float_layer(np.ones((1, 4)), [0]))
    network = quantise(model, np.array([[0, 0, 0, 255]], np.uint8), input_scale=0.5)
    codes = input_codes(network, np.array([[0.25, 0.75, -3, 500]]))
    assert codes.dtype == np.int64
    assert_array_equal(codes, [[0, 2, 0, 255]])   # 0.5 and 1.5 round to even, the others are clamped
    assert_array_equal(input_codes(network, np.array([[1, 2, 3, 4]]), 0.25), [[0, 1, 2, 2]])
    with pytest.raises(ValueError, match=r"^x must have shape \('n', 4\), not \(1, 3\)$"):
        input_codes(network, np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"^x must hold finite numbers only$"):
        input_codes(network, np.full((1, 4), np.nan))


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"calibration": None}, ModelError, r"model 'm' is in floating point and needs calibration data: give "
                                        r"--calibration X\.npz with x of shape \(n, 2\)"),
    ({"calibration": np.ones((3, 3))}, ValueError, r"calibration must have shape \('n', 2\), not \(3, 3\)"),
    ({"calibration": np.ones((0, 2))}, ValueError, r"calibration must have shape \('n', 2\), not \(0, 2\)"),
    ({"calibration": np.array([["a", "b"]])}, TypeError, r"calibration must hold real numbers, not <U1"),
    ({"calibration": np.array([[np.inf, 0]])}, ValueError, r"calibration must hold finite numbers only"),
    ({"weight_bits": 1}, ValueError, r"weight_bits must be 2 to 16, not 1"),
    ({"weight_bits": 8.0}, TypeError, r"weight_bits must be an integer, not 8\.0"),
    ({"activation_bits": 17}, ValueError, r"activation_bits must be 1 to 16, not 17"),
    ({"percentile": 0}, ValueError, r"percentile must be above 0 and at most 100, not 0"),
    ({"input_scale": -1.0}, ValueError, r"input_scale must be positive, not -1\.0"),
    ({"requantise": "shift"}, TypeError, r"requantise must be a Requantise, not 'shift'"),
    ({"method": "minmax"}, TypeError, r"method must be a Calibration, not 'minmax'"),
])
def test_quantise_wrong(changes, error, message):
    model = float_model(float_layer([[1, 2]], [0]))
    with pytest.raises(error, match=rf"^{message}$"):
        quantise(model, **{"calibration": np.ones((3, 2))} | changes)


def accuracy(network, samples):
    codes = input_codes(network, samples.x, samples.scale)
    for layer in network.layers:
        codes = codes @ layer.weights.T + layer.bias
        if layer.output_bits is not None:
            half = 2 ** (layer.shift - 1) if layer.shift else 0
            codes = (codes * (1 if layer.multiplier is None else layer.multiplier) + half) >> layer.shift
            codes = codes.clip(0, 2**layer.output_bits - 1)
        if layer.winners is not None:
            # one number ranks by code, then by the lower index; no two are equal
            rank = codes * layer.kernels + np.arange(layer.kernels)[::-1]
            codes = np.where(rank >= np.sort(rank, axis=1)[:, [-layer.winners]], codes, 0)
    return int((codes.argmax(axis=1) == samples.labels).sum())


@pytest.mark.parametrize("requantise", Requantise)
@pytest.mark.parametrize("method", Calibration)
@pytest.mark.parametrize(("name", "float_correct", "count"), [
    ("kws_mlp", 284, 300), ("fashion_mlp_unstructured", 867, 1000),
])
def test_trained(shared_models, name, float_correct, count, requantise, method):
    model = read_model(shared_models / f"{name}.onnx")
    calibration = load_samples(shared_models / f"{name}_calibration.npz", model.input_shape)
    samples = load_samples(shared_models / f"{name}_test.npz", model.input_shape)
    network = quantise(model, calibration.x, input_scale=calibration.scale, requantise=requantise, method=method)
    assert_array_equal(input_codes(network, samples.x, samples.scale), samples.x)
    assert len(samples.x) == count
    assert abs(accuracy(network, samples) - float_correct) <= count // 100
