import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from dovetail.hw.errors import ModelError
from dovetail.sim import golden
from dovetail.sw.exact import describe, exact_network
from dovetail.sw.model import Affine, Clip, FloatLayer, FloatModel, MaxPool, Quantiser, Rounding, Winners
from dovetail.sw.network import Exactness, Scale, Thresholds
from dovetail.sw.quantise import input_codes
from dovetail.sw.reader import read_model
from dovetail.sw.window import Window

RELU = Clip(name="relu", op="Relu", low=0.0, high=math.inf)


def quantiser(scale, low=0, high=255, rounding=Rounding.HALF_EVEN, *, zero=0, name="quant"):
    return Quantiser(name=name, op="Quant", scale=scale, zero=zero, low=low, high=high, rounding=rounding)


def affine(scale, offset, name="bn"):
    scale = np.atleast_1d(np.asarray(scale, dtype=np.float64))
    return Affine(name=name, op="BatchNormalization", scale=scale, offset=np.broadcast_to(
        np.asarray(offset, dtype=np.float64), scale.shape))


def linear(codes, *steps, scale=1.0, bias=0.0, name="fc", window=None):
    codes = np.asarray(codes, dtype=np.int64)
    scale, bias = (np.broadcast_to(np.asarray(x, dtype=np.float64), len(codes)) for x in (scale, bias))
    return FloatLayer(name=name, op="Gemm", weights=codes * scale[:, np.newaxis], codes=codes, scale=scale, bias=bias,
                      window=window, steps=steps)


def model(*layers, taken=None, shape=None, **rest):
    return FloatModel(name="model", input_shape=shape or (layers[0].inputs,), layers=layers, sha256="0" * 64,
                      input_quantiser=taken or quantiser(2.0**-8, name="input"), **rest)


def codes_of(float_model, x):
    """Codes of every layer, from running the model as it is; scores of a last layer without a quantiser."""
    return [values if not layer.quantisers else np.rint(values / layer.quantisers[-1].scale).astype(np.int64)
            for layer, values in zip(float_model.layers, float_model.run(x), strict=True)]


def same(float_model, x, **rest):
    """The network, whose outputs are exactly those of the model at ``x``."""
    network = exact_network(float_model, **rest)
    results = golden.run(network, input_codes(network, x))
    for layer, result, wanted in zip(network.layers, results, codes_of(float_model, x), strict=True):
        np.testing.assert_array_equal(result.outputs if layer.stages else layer.real(result.outputs), wanted)
    return network


def every_input(float_model):
    """Each code of a model with one input."""
    taken = float_model.input_quantiser
    return np.arange(taken.low, taken.high + 1)[:, np.newaxis] * taken.scale


class TestEverySum:
    """Layers of one weight a kernel: every possible sum occurs, and each is tried."""

    @pytest.mark.parametrize("rounding", list(Rounding))
    @pytest.mark.parametrize(("low", "high"), [(0, 3), (-1, 1), (-8, 7), (0, 255), (-128, 127), (-81, 174)])
    @pytest.mark.parametrize("relu", [False, True])
    def test_binary_scales(self, rounding, low, high, relu):
        if rounding is Rounding.SIGN:
            low, high = -1, 1
        rng = np.random.default_rng(1)
        last = quantiser(2.0**-3 if high > 9 else 1.0, low, high, rounding)
        layer = linear(rng.integers(-127, 128, (24, 1)), *([RELU, last] if relu else [last]), scale=2.0**-6,
                       bias=rng.integers(-200, 200, 24) / 64)
        network = exact_network(model(layer, taken=quantiser(2.0**-5, -256, 255)))
        self.check(model(layer, taken=quantiser(2.0**-5, -256, 255)), network)
        if rounding in (Rounding.HALF_EVEN, Rounding.FLOOR, Rounding.CEIL):
            assert network.layers[0].exactness is Exactness.SHIFT
        if relu:
            assert network.layers[0].output_range[0] == 0

    def check(self, float_model, network):
        x = every_input(float_model)
        got = golden.run(network, input_codes(network, x))[0].outputs
        wanted = codes_of(float_model, x)[0]
        if network.layers[0].exactness is Exactness.NEAREST:
            assert np.abs(got - wanted).max() <= 1
        else:
            np.testing.assert_array_equal(got, wanted)

    @pytest.mark.parametrize("rounding", list(Rounding))
    @pytest.mark.parametrize(("low", "high"), [(0, 3), (-2, 1), (0, 15), (-128, 127), (-30, 225)])
    @pytest.mark.parametrize("seed", range(3))
    def test_any_scales(self, rounding, low, high, seed):
        """With batch normalisation before or behind the ReLU, scales of any sign and size."""
        if rounding is Rounding.SIGN:
            low, high = -1, 1
        rng = np.random.default_rng(seed)
        bn = affine(rng.normal(size=24), rng.normal(size=24) * 3)
        last = quantiser(0.0371 * 256 / (high - low), low, high, rounding)
        few = high - low <= 15
        steps = [[bn, RELU, last], [bn, last], [RELU, bn, last] if few else [bn, bn, last]][seed]
        layer = linear(rng.integers(-127, 128, (24, 1)), *steps, scale=rng.uniform(0.01, 0.02, 24),
                       bias=rng.normal(size=24))
        float_model = model(layer, taken=quantiser(0.0213, -200, 300))
        network = exact_network(float_model)
        self.check(float_model, network)
        if few:
            assert network.layers[0].exactness is not Exactness.NEAREST

    def test_ties_to_even_of_a_zero_point(self):
        """A zero point that is even leaves ties where they are; an odd one turns them round."""
        for zero in (2, 3):
            float_model = model(linear([[1], [-1]], quantiser(2.0, -6, 9, zero=zero)), taken=quantiser(1.0, -30, 30))
            network = exact_network(float_model)
            self.check(float_model, network)
            stage = network.layers[0].stages[0]
            assert isinstance(stage, Scale) is (zero == 2)

    def test_falls(self):
        """A kernel whose batch normalisation is negative is negated, its sum with it."""
        layer = linear([[5], [5]], affine([0.5, -0.5], [0.0, 16.0]), RELU, quantiser(1.0))
        float_model = model(layer, taken=quantiser(1.0, -64, 63))
        network = same(float_model, every_input(float_model))
        np.testing.assert_array_equal(network.layers[0].weights, [[5], [-5]])
        assert network.layers[0].exactness is Exactness.SHIFT

    def test_constant(self):
        """Batch normalisation may be zero, and kernels empty."""
        layer = linear([[5], [5], [0], [3]], affine([0.0, 1e9, 1.0, 0.25], [7.0, -2e12, 9.0, 0.0]), quantiser(1.0))
        float_model = model(layer, taken=quantiser(1.0, -64, 63))
        network = same(float_model, every_input(float_model))
        assert network.layers[0].sum_bits < 24

    def test_bipolar(self):
        layer = linear([[1], [-3], [0]], quantiser(0.5, -1, 1, Rounding.SIGN), bias=[0.0, 4.0, -0.0])
        float_model = model(layer, taken=quantiser(1.0, -64, 63))
        network = same(float_model, every_input(float_model))
        stage = network.layers[0].stages[0]
        assert isinstance(stage, Thresholds) and (stage.low, stage.step) == (-1, 2)
        np.testing.assert_array_equal(stage.values, [[0], [-4], [0]])
        assert network.layers[0].output_scale == 0.5

    def test_two_quantisers(self):
        """What is rounded twice is rounded twice: a stage each, the second falling for some kernels."""
        rng = np.random.default_rng(5)
        layer = linear(rng.integers(-127, 128, (40, 1)), quantiser(0.25, -128, 127), affine(rng.normal(size=40), 1.0),
                       quantiser(0.17), scale=2.0**-4, bias=rng.normal(size=40))
        float_model = model(layer, taken=quantiser(0.25, -128, 127))
        network = same(float_model, every_input(float_model))
        first, second = network.layers[0].stages
        assert first.low == -128
        assert (second.multiplier < 0).any() and (second.multiplier > 0).any()
        assert network.layers[0].exactness is Exactness.MULTIPLIER

    def test_second_of_unsigned_codes(self):
        """Where the second falls, the codes it is given are the negatives of 0 to 255."""
        bn = affine([0.713, -0.371, -0.219, 0.417], [0.0, 20.0, 20.5, 1.0])
        layer = linear([[2], [-2], [1], [3]], quantiser(1.0), bn, quantiser(0.25, -400, 85))
        float_model = model(layer, taken=quantiser(1.0, -128, 127))
        network = same(float_model, every_input(float_model))
        assert len(network.layers[0].stages) == 2

    @pytest.mark.parametrize("first", [1.0, -1.0])
    @pytest.mark.parametrize("second", [1.0, -1.0])
    def test_second_that_magnifies(self, first, second):
        """One code of a first stage that is but the nearest may be several of the second."""
        div = replace(affine([first], 0.0, name="div"), divisor=86.0)

        def layer(scale, most):
            # Of sums below zero the first makes one code or two, so that only the sums that occur tell.
            inner = quantiser(1.0, 0, 127) if first > 0 else quantiser(1.0, -128, 1)
            return model(linear([[1]], div, inner, affine([second], 0.0),
                                quantiser(scale, -most, most, name="last")), taken=quantiser(1.0, 0, 8191))

        x = np.arange(8192)[:, np.newaxis]
        network = exact_network(layer(1.0, 100))
        assert network.layers[0].exactness is Exactness.NEAREST
        off = np.abs(golden.run(network, x)[0].outputs - codes_of(layer(1.0, 100), x)[0])
        assert off.max() == 1
        with pytest.raises(ModelError, match=r"^node 'last' \(Quant\) turns one code too few or too many of the "
                           r"quantiser before it, whose stage is but the nearest, into several; the nearest "
                           r"supported form has one quantiser there$"):
            exact_network(layer(0.25, 1023))

    def test_division(self):
        """A sum over 98 has ties between codes; a sum times the rounded 1/98 has not."""
        div = replace(affine([1.0, -1.0], 0.0, name="div"), divisor=98.0)
        float_model = model(linear([[1], [1]], div, quantiser(1.0, -8, 7)), taken=quantiser(1.0, -784, 784))
        network = same(float_model, every_input(float_model))
        assert network.layers[0].exactness is Exactness.THRESHOLDS
        wanted = [[min(max(round(Fraction(sign * x, 98)), -8), 7) for sign in (1, -1)] for x in range(-784, 785)]
        np.testing.assert_array_equal(
            golden.run(network, np.arange(-784, 785)[:, np.newaxis])[0].outputs, wanted)

    def test_two_quantisers_in_one(self):
        """Few codes in the end need one stage only."""
        rng = np.random.default_rng(5)
        layer = linear(rng.integers(-127, 128, (40, 1)), quantiser(0.25, -128, 127), affine(rng.normal(size=40), 1.0),
                       quantiser(2.0, -2, 1), scale=2.0**-4, bias=rng.normal(size=40))
        float_model = model(layer, taken=quantiser(0.25, -128, 127))
        network = same(float_model, every_input(float_model))
        assert [type(stage) for stage in network.layers[0].stages] == [Thresholds]

    def test_three_quantisers(self):
        """One bit in between is no stage of its own, since it leaves out the code 0."""
        layer = linear([[5], [-3], [7]], quantiser(0.5, -128, 127), affine([1.0, -1.0, 0.5], [3.0, -20.0, 0.0]),
                       quantiser(4.0, -1, 1, Rounding.SIGN), affine([3.0, -5.0, 0.0], [1.0, 2.0, 9.0], name="bn2"),
                       quantiser(0.5, -128, 127))
        float_model = model(layer, taken=quantiser(0.25, -64, 63))
        network = same(float_model, every_input(float_model))
        assert [type(stage) for stage in network.layers[0].stages] == [Thresholds, Scale]

    def test_clip(self):
        """A clip that all kernels share is the range of the codes, in front of the quantiser or behind it."""
        taken, six = quantiser(1.0, -64, 63), Clip(name="relu6", op="Clip", low=0.0, high=6.0)
        for steps in ([six, quantiser(2.0**-3, -128, 127)], [quantiser(2.0**-3, -128, 127), six]):
            float_model = model(linear([[1], [-2]], *steps, scale=2.0**-5), taken=taken)
            network = same(float_model, every_input(float_model))
            assert network.layers[0].output_range == (0, 48)
            assert network.layers[0].exactness is Exactness.SHIFT


class TestModels:
    def perceptron(self, seed, *, binary):
        """Three layers of all sorts; with binary scales, floating point is exact too."""
        rng = np.random.default_rng(seed)

        def scales(exponent, count):
            return np.full(count, 2.0**exponent) if binary else 2.0**exponent * rng.uniform(0.7, 1.3, count)

        def step(exponent):
            return 2.0**exponent if binary else 2.0**exponent * rng.uniform(0.7, 1.3)

        bn = affine(rng.choice([-1.0, 0.5, 2.0], 20) if binary else rng.normal(size=20),
                    rng.integers(-9, 9, 20) if binary else rng.normal(size=20))
        first = linear(rng.integers(-127, 128, (30, 50)), RELU, quantiser(step(-2)), scale=scales(-7, 30), name="a",
                       bias=rng.integers(-99, 99, 30) / 64 if binary else rng.normal(size=30))
        second = linear(rng.integers(-8, 8, (20, 30)), quantiser(step(-1), -90, 165), bn, quantiser(step(0)),
                        Winners(name="kwta", op="TopK", winners=5), scale=scales(-4, 20), name="b")
        third = linear(rng.integers(-3, 4, (10, 20)), scale=scales(-2, 10), name="c",
                       bias=rng.integers(-9, 9, 10) / 4 if binary else rng.normal(size=10))
        return model(first, second, third, input_gain=2.0**-8), rng.integers(0, 256, (300, 50))

    @pytest.mark.parametrize("seed", range(6))
    def test_binary(self, seed):
        float_model, x = self.perceptron(seed, binary=True)
        network = same(float_model, x)
        assert {layer.exactness for layer in network.layers} <= {Exactness.SHIFT, Exactness.MULTIPLIER}
        assert network.layers[1].winners == 5
        assert network.layers[2].output_scale == 0.25 and network.layers[2].output_offset == 0

    @pytest.mark.parametrize("seed", range(6))
    def test_any(self, seed):
        """Each layer on its own codes: exact where it says so, else one code off, and not often."""
        float_model, x = self.perceptron(seed, binary=False)
        network = exact_network(float_model)
        results = golden.run(network, input_codes(network, x))
        taken = float_model.input_quantiser.scale
        for integer, layer, result in zip(network.layers, float_model.layers, results, strict=True):
            wanted = layer.run(result.inputs * taken)
            if not integer.stages:
                np.testing.assert_allclose(integer.real(result.outputs), wanted, rtol=1e-12, atol=1e-12)
                break
            taken = layer.quantisers[-1].scale
            off = np.abs(result.outputs - np.rint(wanted / taken))
            if integer.exactness is Exactness.NEAREST:
                assert np.count_nonzero(off) <= off.size / 1000
            else:
                assert not off.any()

    def test_convolution(self):
        """Windows with padding, pooling in front of what is monotone and behind it."""
        rng = np.random.default_rng(3)
        window = Window(channels=2, height=6, width=5, kernel=(3, 3), pads=(1, 1, 1, 1))
        pool = MaxPool(name="pool", op="MaxPool", window=Window(
            channels=4, height=6, width=5, kernel=(2, 2), strides=(2, 2), pads=(0, 0, 0, 1)))
        bn, last = affine([0.5, 1.0, 2.0, 0.25], [1.0, -3.0, 0.0, 2.0]), quantiser(1.0, -100, 100)
        flip = affine([-1.0, 1.0, -1.0, 1.0], 0.0, name="flip")
        for steps in ([flip, pool, bn, last], [flip, bn, last, pool, RELU], [bn, pool, RELU, last]):
            layer = linear(rng.integers(-7, 8, (4, 18)), *steps, window=window, scale=2.0**-3)
            after = linear(rng.integers(-7, 8, (3, 36)), name="fc2")
            float_model = model(layer, after, taken=quantiser(0.5, -8, 7), shape=(2, 6, 5))
            network = same(float_model, rng.integers(-8, 8, (50, 2, 6, 5)) / 2)
            assert network.layers[0].output_shape == (4, 3, 3)

    def test_codes_leave(self):
        """The last layer may have a quantiser, and positive arithmetic behind it."""
        layer = linear([[1], [-2]], quantiser(0.5, -8, 7), affine([2.0, 4.0], [1.0, -1.0]))
        float_model = model(layer, taken=quantiser(0.25, -8, 7))
        network = exact_network(float_model)
        x = every_input(float_model)
        np.testing.assert_array_equal(
            network.layers[0].real(golden.run(network, input_codes(network, x))[0].outputs), float_model.run(x)[0])
        np.testing.assert_array_equal(network.layers[0].output_scale, [1.0, 2.0])

    def test_sums_leave(self):
        """What follows the last layer is the unit of its sums, and an offset where that is no whole sum."""
        layer = linear([[3], [-2], [5]], affine([0.5, -1.0, 0.0], [1.0, 0.3, 7.5]), bias=[0.5, 0.0, 1.0])
        float_model = model(layer, taken=quantiser(0.25, -8, 7))
        x = every_input(float_model)
        network = same(float_model, x)
        np.testing.assert_array_equal(network.layers[0].weights, [[3], [2], [0]])
        np.testing.assert_array_equal(network.layers[0].bias, [10, 0, 30])
        np.testing.assert_array_equal(network.layers[0].output_offset, [0.0, 0.3, 0.0])

    def test_weight_bits(self):
        for codes, bits in (([[1], [-1]], 2), ([[1], [-3]], 3), ([[127], [-127]], 8), ([[255], [0]], 9)):
            assert exact_network(model(linear(codes))).layers[0].weight_bits == bits

    def test_deterministic(self):
        float_model, _ = self.perceptron(0, binary=False)
        first, second = exact_network(float_model), exact_network(float_model)
        for a, b in zip(first.layers, second.layers, strict=True):
            np.testing.assert_array_equal(a.bias, b.bias)
            assert describe(a) == describe(b)


class TestFiles:
    def test_tfc(self, shared_models, shared_data):
        """One-bit weights and two-bit activations: every code of every layer, of 10,000 images."""
        float_model = read_model(shared_models / "TFC_1W2A.onnx")
        network = exact_network(float_model)
        x = np.load(shared_data / "mnist_test.npz")["x"].reshape(10000, -1) / 255
        results = golden.run(network, input_codes(network, x))
        wanted = codes_of(float_model, x)
        for layer, result, codes in zip(network.layers[:-1], results, wanted, strict=False):
            assert layer.exactness is Exactness.THRESHOLDS
            np.testing.assert_array_equal(result.outputs, codes)
        scores = network.layers[-1].real(results[-1].outputs)
        np.testing.assert_allclose(scores, wanted[-1], rtol=0, atol=1e-14)
        np.testing.assert_array_equal(scores.argmax(axis=1), wanted[-1].argmax(axis=1))

    def test_jet_tagging(self, shared_models):
        """Six bits with binary scales: shifts alone, from an input of any grid."""
        float_model = read_model(shared_models / "qkeras_jettagging.onnx")
        x = np.random.default_rng(0).normal(size=(2000, 16))
        network = exact_network(float_model, calibration=x)
        codes = input_codes(network, x)
        results = golden.run(network, codes)
        for layer, result, wanted in zip(
                network.layers, results, codes_of(float_model, codes * network.input_scale), strict=True):
            assert layer.exactness is Exactness.SHIFT
            np.testing.assert_array_equal(result.outputs if layer.stages else layer.real(result.outputs), wanted)


@pytest.mark.parametrize("seed", range(150))
def test_any_numbers(seed):
    """Steps in any order with numbers of any size give an exact layer or a reason, never anything else."""
    rng = np.random.default_rng(seed)
    size = rng.choice([3, 12, 100])

    def wild(*shape):
        return 10.0 ** rng.uniform(-size, size, shape) * rng.choice([-1, 0, 1, 1], shape)

    def step():
        match rng.integers(0, 5):
            case 0:
                return affine(wild(5), wild(5))
            case 1:
                return RELU
            case 2:
                return Clip(name="clip", op="Clip", low=-10.0 ** rng.integers(3), high=10.0 ** rng.integers(3))
            case _:
                low, high = -int(rng.integers(1, 200)), int(rng.integers(1, 400))
                return quantiser(10.0 ** rng.uniform(-size, size), low, high, rng.choice(list(Rounding)),
                                 zero=int(rng.integers(-3, 4)))

    steps = [step() for _ in range(rng.integers(0, 5))]
    layer = linear(rng.integers(-100, 100, (5, 2)), *steps, quantiser(1.0, -50, 90),
                   scale=10.0 ** rng.uniform(-size, size, 5), bias=wild(5))
    try:
        network = exact_network(model(layer, taken=quantiser(0.1, -50, 50)))
    except ModelError as error:
        assert str(error).startswith("node ")
        return
    x = rng.integers(-50, 51, (50, 2))
    with np.errstate(over="ignore"):
        wanted = layer.apply(x @ layer.codes.T * (layer.scale * 0.1) + layer.bias)
    off = np.abs(golden.run(network, x)[0].outputs - wanted).max()
    assert off == 0 or network.layers[0].exactness is Exactness.NEAREST


class TestInput:
    def test_quantiser(self):
        """Codes of the host are those of the model, ties among them."""
        float_model = model(linear([[1]]), input_gain=2.0, input_offset=-1.0, taken=quantiser(0.25, -3, 4, zero=2))
        network = exact_network(float_model)
        assert (network.input_scale, network.input_origin, network.input_range) == (0.125, 0.5, (-3, 4))
        x = np.concatenate([np.arange(-64, 65) / 64, np.random.default_rng(0).normal(size=500)])[:, np.newaxis]
        np.testing.assert_array_equal(
            input_codes(network, x), float_model.input_quantiser.codes(2.0 * x - 1.0))

    def bare(self, **rest):
        return replace(model(linear([[1, 2]], scale=0.5)), input_quantiser=None, **rest)

    def test_integers(self):
        x = np.array([[0, 200], [7, 1]], dtype=np.uint8)
        network = exact_network(self.bare(input_gain=2.0), calibration=x, input_scale=0.25)
        assert (network.input_scale, network.input_range) == (0.25, (0, 255))
        assert network.layers[0].output_scale == 0.25
        assert exact_network(self.bare(), calibration=x.astype(np.int16) - 8, input_bits=9).input_range == (-256, 255)

    def test_reals(self):
        x = np.array([[0.3, -1.9], [1.0, 0.5]])
        network = exact_network(self.bare(), calibration=x, input_bits=6)
        assert (network.input_scale, network.input_range) == (2.0**-4, (-32, 31))
        network = exact_network(self.bare(input_gain=0.5, input_offset=1.0), calibration=x, input_bits=6)
        assert (network.input_scale, network.input_origin, network.input_range) == (2.0**-4, -2.0, (0, 63))
        assert exact_network(self.bare(), calibration=np.zeros((1, 2))).input_scale == 1.0

    def test_integers_that_do_not_fit(self):
        network = exact_network(self.bare(), calibration=np.array([[256, 0]]))
        assert (network.input_scale, network.input_range) == (2.0, (0, 255))

    def test_calibration_missing_wrong(self):
        with pytest.raises(ModelError, match=r"^model 'model' needs --calibration: the file does not say how its input "
                                             r"is quantised$"):
            exact_network(self.bare())

    @pytest.mark.parametrize(("calibration", "error", "message"), [
        (np.zeros((2, 3)), ValueError, r"^calibration must have shape \('n', 2\), not \(2, 3\)$"),
        (np.full((2, 2), np.nan), ValueError, "^calibration must hold finite numbers only$"),
        (np.array([["a", "b"]]), TypeError, "^calibration must hold real numbers, not <U1$")])
    def test_calibration_wrong(self, calibration, error, message):
        with pytest.raises(error, match=message):
            exact_network(self.bare(), calibration=calibration)

    def test_arguments_wrong(self):
        with pytest.raises(TypeError, match=r"^input_bits must be an integer, not 8.0$"):
            exact_network(self.bare(), input_bits=8.0)
        with pytest.raises(ValueError, match=r"^input_bits must be 1 to 16, not 17$"):
            exact_network(self.bare(), input_bits=17)
        with pytest.raises(ValueError, match=r"^input_scale must be positive, not 0.0$"):
            exact_network(self.bare(), input_scale=0.0)

    @pytest.mark.parametrize(("taken", "message"), [
        (quantiser(1.0, -1, 1, Rounding.SIGN), "rounds the input by SIGN with a zero point of 0; use ROUND, and an "
                                               "even zero point"),
        (quantiser(1.0, 0, 7, zero=1), "rounds the input by HALF_EVEN with a zero point of 1; use ROUND, and an even "
                                       "zero point"),
        (quantiser(1.0, 1, 7), "has codes of 1 to 7; they must be on both sides of a half, with a code for zero"),
        (quantiser(1.0, 0, 65536), "has codes of 0 to 65536 around zero; they must be within -32768 to 65535")])
    def test_quantiser_wrong(self, taken, message):
        with pytest.raises(ModelError, match=rf"^node 'quant' \(Quant\) {message}$"):
            exact_network(model(linear([[1]]), taken=taken))


POINT = Window(channels=2, height=1, width=1, kernel=(1, 1))
POOL = MaxPool(name="pool", op="MaxPool", window=POINT)
BEHIND = r"put QuantizeLinear and DequantizeLinear \(or Quant\) behind it"
LAST = quantiser(1.0, -8, 7)


@pytest.mark.parametrize(("steps", "message"), [
    ((RELU,), rf"node 'relu' \(Relu\) takes values without codes; {BEHIND}"),
    ((POOL,), rf"node 'pool' \(MaxPool\) takes values without codes; {BEHIND}"),
    ((LAST, affine([-1.0, 1.0], 0.0)), rf"node 'bn' \(BatchNormalization\) scales codes; {BEHIND}"),
    ((LAST, affine([1.0, 1.0], 0.0), RELU), rf"node 'relu' \(Relu\) takes values without codes; {BEHIND}"),
    ((RELU, Winners(name="k", op="TopK", winners=1), LAST),
     r"node 'k' \(TopK\) takes values without codes; put it behind the quantiser"),
    ((LAST, Winners(name="k", op="TopK", winners=1)),
     r"node 'k' \(TopK\) ranks codes that can be negative; put Relu in front"),
    ((LAST, RELU, Winners(name="k", op="TopK", winners=1), RELU),
     r"node 'relu' \(Relu\) is behind a k-WTA; put it in front"),
    ((POOL, LAST, POOL), r"node 'pool' \(MaxPool\) is the second MaxPool; there can be one behind a layer"),
    ((POOL, affine([1.0, -1.0], 0.0), LAST), r"node 'bn' \(BatchNormalization\) has negative scales behind a MaxPool; "
                                             r"put BatchNormalization before MaxPool"),
    ((LAST, Clip(name="clip", op="Clip", low=-1.0, high=2.5)),
     r"node 'clip' \(Clip\) leaves codes of -1 to 2.5; put it in front of the quantiser, or clip at codes on both "
     r"sides of a half"),
    ((RELU, affine([1.0, 1.0], [0.0, 40.0]), quantiser(1.0)),
     r"node 'quant' \(Quant\) is more than a code away from every multiplication, shift and clamp; put "
     r"BatchNormalization before Relu and Clip, so that all kernels are clipped at the same code"),
    ((affine([1e200, 1e200], 0.0), affine([1e200, 1e200], 0.0), LAST),
     r"node 'quant' \(Quant\) is given numbers that overflow; scales of a sensible size are needed"),
    ((affine([1e200, 1e200], 0.0), affine([1e200, 1e200], 0.0)),
     r"node 'fc' \(Gemm\) has scores too large or too small for floating point; scales of a sensible size are needed"),
    ((LAST, affine([1e-200, 1e-200], 0.0), affine([1e-200, 1e-200], 0.0)),
     r"node 'fc' \(Gemm\) has scores too large or too small for floating point; scales of a sensible size are needed"),
    ((quantiser(1.0, -40000, 7),),
     r"node 'quant' \(Quant\) has codes of -40000 to 7 around zero; they must be within -32768 to 65535"),
    ((quantiser(1.0, -8, 0),),
     r"node 'quant' \(Quant\) has codes of -8 to 0; they must be on both sides of a half, with a code for zero"),
])
def test_steps_wrong(steps, message):
    with pytest.raises(ModelError, match=f"^{message}$"):
        exact_network(model(linear([[1, 0], [100, -100]], *steps, window=POINT)))


@pytest.mark.parametrize(("layer", "message"), [
    (linear([[1]], name="inner"), rf"node 'inner' \(Gemm\) is not quantised before the next layer; {BEHIND}"),
    (linear([[1]], LAST, affine([2.0], 0.0)), rf"node 'bn' \(BatchNormalization\) scales codes; {BEHIND}"),
    (replace(linear([[1]], LAST), codes=None, scale=None),
     r"node 'fc' \(Gemm\) has weights in floating point, where others are quantised; put DequantizeLinear \(or Quant\) "
     r"between the weights and it"),
    (linear([[2**17]], LAST), r"node 'fc' \(Gemm\) has weights of 19 bits; at most 17"),
    (linear([[1]], LAST, scale=5e-324), r"node 'fc' \(Gemm\) has scales too small for floating point; scales of a "
                                        r"sensible size are needed"),
    (linear([[1], [65535]], quantiser(1.0, 0, 65535), scale=[2.0**9, 2.0**-14], bias=[0.0, 60000.0]),
     r"node 'fc' \(Gemm\) needs sums of 39 bits and multipliers of 24 bits, together more than 62; scales and offsets "
     r"of a sensible size are needed"),
])
def test_layer_wrong(layer, message):
    layers = layer, linear(np.ones((1, layer.kernels)), name="last")
    with pytest.raises(ModelError, match=f"^{message}$"):
        exact_network(model(*layers))


class TestDescribe:
    def test_forms(self):
        bn = affine([0.3], [0.1])
        assert describe(exact_network(model(linear([[100]]))).layers[0]) == "sums"
        assert describe(exact_network(model(linear([[100]], quantiser(1.0, 0, 15)))).layers[0]) == \
            "exact shift (shift 8)"
        assert describe(exact_network(model(linear([[100]], bn, quantiser(1.0, 0, 3)))).layers[0]) == \
            "exact thresholds (3)"
        layer = exact_network(model(linear([[100]], quantiser(1.0, 0, 31), bn, quantiser(0.1)))).layers[0]
        assert describe(layer) == "exact multiplier (shift 8, then 2 bits, shift 0)"
        layer = exact_network(model(linear([[-100]], quantiser(1.0, -31, 31), bn, quantiser(0.1)))).layers[0]
        nearest = replace(layer, stages=layer.stages[1:], exactness=Exactness.NEAREST, misplaced=(1200, 1))
        assert describe(nearest) == "nearest multiplier (2 bits, shift 0): 1,200 of 255 thresholds one step off"
        assert describe(replace(nearest, misplaced=(1, 3))).endswith(": 1 of 255 thresholds up to 3 steps off")
