"""Post-training quantisation."""

from dataclasses import replace

import numpy as np
import pytest
from float_models import float_layer, float_model, random_cnn, random_mlp
from numpy.testing import assert_array_equal

from dovetail.hw.errors import ModelError
from dovetail.sim import golden
from dovetail.sw.data import load_samples
from dovetail.sw.model import Affine, Clip, MaxPool, Quantiser, Winners
from dovetail.sw.network import Exactness
from dovetail.sw.quantise import MULTIPLIER_BITS, Calibration, Requantise, input_codes, quantise
from dovetail.sw.reader import read_model
from dovetail.sw.window import Window


def run(network, codes):
    return [result.outputs for result in golden.run(network, codes)]


CALIBRATION = np.random.default_rng(9).integers(0, 256, (200, 20)).astype(np.uint8)


@pytest.mark.parametrize("requantise", Requantise)
@pytest.mark.parametrize("method", Calibration)
@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (2, 8), (5, 3), (12, 10), (16, 16), (8, 1)])
def test_formats(requantise, method, weight_bits, activation_bits):
    model = random_mlp()
    network = quantise(model, CALIBRATION, input_scale=1 / 255, weight_bits=weight_bits,
                       activation_bits=activation_bits, requantise=requantise, method=method)
    assert (network.name, network.input_shape, network.sha256) == (model.name, (20,), model.sha256)
    for layer, float_ in zip(network.layers, model.layers, strict=True):
        assert (layer.name, layer.op) == (float_.name, float_.op)
        assert layer.exactness is Exactness.ROUNDED
        assert_array_equal(layer.mask, float_.mask)
        assert (layer.weight_bits, layer.input_range) == (weight_bits, (0, 2**activation_bits - 1))
        assert np.abs(layer.weights).max() <= 2 ** (weight_bits - 1) - 1
        assert layer.winners == float_.winners
        if not layer.stages:
            assert layer is network.layers[-1]
            continue
        stage, = layer.stages
        assert (stage.low, stage.high, stage.ties_to_even) == (0, 2**activation_bits - 1, False)
        assert stage.offset == 2**stage.shift // 2   # to the nearest code
        if requantise is Requantise.SHIFT:
            assert stage.multiplier is None
        else:
            assert 1 <= stage.multiplier.min()
            assert stage.multiplier_bits == MULTIPLIER_BITS
    *codes, sums = run(network, input_codes(network, CALIBRATION[:3], 1 / 255))
    assert all(0 <= vector.min() and vector.max() < 2**activation_bits for vector in codes)
    least, most = network.layers[-1].sum_range
    assert least <= sums.min() and sums.max() <= most


@pytest.mark.parametrize("requantise", Requantise)
def test_close_to_float(requantise):
    """With many bits the integer network computes what the float model does."""
    model = random_mlp()
    network = quantise(model, CALIBRATION, input_scale=1 / 255, weight_bits=16, activation_bits=16,
                       requantise=requantise, method=Calibration.MINMAX)
    x = CALIBRATION[:40]
    codes = input_codes(network, x, 1 / 255)
    for outputs, expected, layer in zip(run(network, codes), model.run(x / 255), network.layers, strict=True):
        np.testing.assert_allclose(layer.real(outputs), expected, atol=2e-3 * expected.max())


@pytest.mark.parametrize("requantise", Requantise)
@pytest.mark.parametrize("ceiling", [np.inf, 0.8])
def test_convolution(requantise, ceiling):
    """With many bits, convolutions with pooling and k-WTA compute what the float model does, padding included."""
    model = random_cnn(ceiling=ceiling)
    x = np.random.default_rng(1).integers(-128, 128, (30, 2, 9, 7)).astype(np.int8)
    network = quantise(model, x, input_scale=1 / 128, weight_bits=16, activation_bits=16, requantise=requantise,
                       method=Calibration.MINMAX)
    first, second, last = network.layers
    assert [layer.window for layer in network.layers] == [layer.window for layer in model.layers]
    assert (first.pool, second.pool, last.pool) == (model.layers[0].pool, None, None)
    assert [layer.winners for layer in network.layers] == [5, 3, None]
    assert [layer.output_shape for layer in network.layers] == [(8, 5, 4), (6, 2, 4), (4,)]
    results = run(network, input_codes(network, x, 1 / 128))
    for outputs, expected, layer in zip(results, model.run(x / 128), network.layers, strict=True):
        np.testing.assert_allclose(layer.real(outputs), expected, atol=2e-3 * expected.max())


def test_convolution_8_bits():
    """With the usual 8 bits the winners that are next to each other may swap; all other outputs are near."""
    model = random_cnn()
    x = np.random.default_rng(2).integers(0, 256, (60, 2, 9, 7)).astype(np.uint8)
    network = quantise(model, x, input_scale=1 / 255)
    results = run(network, input_codes(network, x, 1 / 255))
    for outputs, expected, layer in zip(results, model.run(x / 255), network.layers, strict=True):
        noise = ((layer.real(outputs) - expected) ** 2).sum() / (expected ** 2).sum()
        assert noise < 0.01   # 20 dB


def test_scales_agree():
    """The multiplier adds no error: weight scale x input scale x 2**shift is m x output scale, for every kernel."""
    model = random_mlp()
    network = quantise(model, CALIBRATION, input_scale=1 / 255, method=Calibration.MINMAX)
    scale = network.input_scale
    for layer, float_ in zip(network.layers[:-1], model.layers, strict=False):
        stage, = layer.stages
        steps = stage.multiplier * layer.output_scale / 2**stage.shift / scale
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
    outputs, = run(minmax, input_codes(minmax, x, 0.5))
    assert outputs.max() == 255 and (outputs == 255).sum() == 1
    assert minmax.layers[0].output_scale == pytest.approx(100 / 255, rel=2**-15)
    half = quantise(model, x, input_scale=0.5, method=Calibration.PERCENTILE, percentile=50)
    assert half.layers[0].output_scale == pytest.approx(50.25 / 255, rel=2**-15)
    outputs, = run(half, input_codes(half, x, 0.5))
    assert outputs.max() == 255 and (outputs == 255).sum() == 100


@pytest.mark.parametrize(("requantise", "largest", "top"), [
    (Requantise.MULTIPLIER, 400, 6.0),   # the ceiling is met: it is the largest code
    (Requantise.MULTIPLIER, 40, 4.0),    # it is not: the largest output is
    (Requantise.SHIFT, 400, 6.0),        # the codes' step has grown, so the largest code is below 511
    (Requantise.SHIFT, 40, 4.0),
])
def test_ceiling(requantise, largest, top):
    """What a ReLU cuts off, no code stands for."""
    model = float_model(float_layer(np.eye(2), ceiling=6.0), float_layer([[1, 1]], name="b", relu=False))
    x = np.arange(largest + 1)[:, np.newaxis] * [1, 0]
    network = quantise(model, x, input_scale=0.1, activation_bits=9, method=Calibration.MINMAX, requantise=requantise)
    layer, last = network.layers
    stage, = layer.stages
    assert 255 < stage.high <= 511 and last.input_range == layer.output_range == (0, stage.high)
    if requantise is Requantise.MULTIPLIER:
        assert stage.high == 511
        assert stage.high * layer.output_scale == pytest.approx(top, rel=2**-15)
    else:
        assert top * (1 - 2**-9) <= stage.high * layer.output_scale <= 6.0 * (1 + 2**-9)
    outputs, _ = run(network, np.array([[511, 0]]))
    assert outputs[0, 0] == stage.high


def test_ceiling_in_percentile():
    """A percentile below the ceiling saturates as it does without one; a ceiling below it is the largest code."""
    x = np.arange(201)[:, np.newaxis] * [1, 0]
    for ceiling, top in ((80.0, 50.25), (40.0, 40.0)):
        layer, = quantise(float_model(float_layer(np.eye(2), ceiling=ceiling)), x, input_scale=0.5,
                          percentile=50).layers
        assert layer.stages[0].high == 255
        assert layer.output_scale == pytest.approx(top / 255, rel=2**-15)


def test_ceiling_of_dead_layer():
    """A layer that never fires has any scale, and keeps its ceiling."""
    model = float_model(float_layer([[1, 1]], [-1e6], ceiling=0.5))
    layer, = quantise(model, np.ones((1, 2))).layers
    assert layer.output_range[1] * layer.output_scale == pytest.approx(0.5, rel=0.01)


def test_last_layer_ranks():
    """Kernels of the last layer share a scale, so equal scores have equal sums however the weights differ."""
    model = float_model(float_layer([[100, 0], [0.5, 0.5], [1, 0]], [0, 0, 99], relu=False))
    network = quantise(model, np.array([[0, 255], [255, 0]], np.uint8), weight_bits=16)
    layer, = network.layers
    assert isinstance(layer.output_scale, float)
    assert layer.stages == ()
    sums, = run(network, np.array([[1, 0], [1, 1]]))
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
    outputs = run(network, input_codes(network, x, 1 / 255))
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
    stage, = layer.stages
    steps = stage.multiplier * layer.output_scale / 2**stage.shift
    free = np.rint(bias / steps).astype(np.int64)
    assert (free != layer.bias).sum() > 5
    codes = np.stack(np.meshgrid(*[[0, 7, 15]] * 6)).reshape(6, -1)
    sums = codes.T @ layer.weights.T
    assert_array_equal(stage.apply(sums + free), stage.apply(sums + layer.bias))


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
    assert network.input_range == ((-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1))
    assert network.layers[0].input_range == network.input_range
    if x.dtype.kind in "iu" and input_scale == scale:
        assert network.input_scale == scale
        assert_array_equal(input_codes(network, x, scale), x)
    else:
        assert input_scale <= network.input_scale <= input_scale * (1 + 2**-15)


@pytest.mark.parametrize("gain", [1 / 255, 3.0])
def test_input_gain(gain):
    """Integers stay the codes that they are, and the first layer's weights see what the model's do."""
    model = float_model(float_layer([[1, 2]], [0.5], relu=False), input_gain=gain)
    x = np.array([[0, 200], [7, 13]], np.uint8)
    network = quantise(model, x, input_scale=0.5, weight_bits=16)
    assert (network.input_range, network.input_scale, network.input_origin) == ((0, 255), 0.5, 0.0)
    assert str(network.input_origin) == "0.0"
    assert_array_equal(input_codes(network, x, 0.5), x)
    sums, = run(network, x)
    np.testing.assert_allclose(network.layers[0].real(sums), model.run(x * 0.5)[0], rtol=1e-3)


@pytest.mark.parametrize(("gain", "offset", "codes"), [
    (2 / 255, -1.0, (-128, 127)),   # pixels to -1 .. 1
    (1 / 255, 0.5, (0, 255)), (0.25, -0.001, (-128, 127)),
])
def test_input_offset(gain, offset, codes):
    """The codes are those of what the first layer sees, zero and all; the host computes them from the input."""
    model = float_model(float_layer([[1, 2], [-3, 1]], [0.5, 0], relu=False), input_gain=gain, input_offset=offset)
    x = np.array([[0, 255], [7, 13], [128, 90]], np.uint8)
    network = quantise(model, x, weight_bits=16)
    assert network.input_range == codes
    codes = input_codes(network, x)
    real = network.input_scale * codes + network.input_origin
    assert np.abs(real - x).max() <= network.input_scale * 0.5001
    seen = gain * x + offset
    np.testing.assert_allclose(codes * (network.input_scale * gain), seen, atol=np.abs(seen).max() / 250)
    sums, = run(network, codes)
    np.testing.assert_allclose(network.layers[0].real(sums), model.run(real)[0], atol=1e-3 * np.abs(seen).max())


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


WINDOW = Window(channels=1, height=1, width=2, kernel=(1, 1))
RELU = Clip(name="r", op="Relu", low=0.0, high=np.inf)
POOL = MaxPool(name="p", op="MaxPool", window=WINDOW)
WINNERS = Winners(name="k", op="TopK", winners=1)


@pytest.mark.parametrize(("last", "steps"), [
    (False, ()), (False, (WINNERS,)), (True, (WINNERS,)), (True, (POOL,)), (True, (POOL, RELU)),
    (True, (WINNERS, RELU)), (True, (RELU, WINNERS, POOL)), (True, (RELU, POOL, POOL)), (True, (RELU, RELU)),
    (True, (Clip(name="c", op="Clip", low=-1.0, high=1.0),)), (True, (Clip(name="c", op="Clip", low=0.0, high=0.0),)),
    (True, (RELU, Affine(name="s", op="Mul", scale=np.ones(1), offset=np.ones(1)))),
    (True, (RELU, Quantiser(name="q", op="Quant", scale=1.0, low=0, high=3))),
])
def test_steps_wrong(last, steps):
    layers = [replace(float_layer([[1]], name="conv", window=WINDOW), steps=steps)]
    if not last:
        layers.append(float_layer([[1, 1]], name="b"))
    with pytest.raises(ModelError, match=r"^node 'conv' \(Conv\) must be followed by a Relu, then perhaps by MaxPool "
                                         r"and k-WTA; the last layer may end in its sums$"):
        quantise(float_model(*layers), np.ones((3, 2)))


def test_input_quantiser_wrong():
    quantiser = Quantiser(name="q", op="Quant", scale=1.0, low=0, high=3)
    model = float_model(float_layer([[1, 2]]), input_quantiser=quantiser)
    with pytest.raises(ModelError, match=r"^node 'q' \(Quant\) is in front of a layer whose weights are in floating "
                                         r"point: give a file that quantises both, or neither$"):
        quantise(model, np.ones((3, 2)))


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
    codes = input_codes(network, samples.x, samples.scale)
    assert_array_equal(codes, samples.x)
    assert len(samples.x) == count
    correct = (golden.run(network, codes)[-1].outputs.argmax(axis=1) == samples.labels).sum()
    assert abs(correct - float_correct) <= count // 100
