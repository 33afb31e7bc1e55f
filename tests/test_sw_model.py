"""The float record: every step, every rounding, and the evaluation of a whole model."""

import decimal
import math
from dataclasses import replace

import numpy as np
import pytest
from float_models import float_layer, float_model, random_cnn
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dovetail.sw.model import Affine, Clip, FloatLayer, FloatModel, MaxPool, Quantiser, Rounding, Winners, k_winners
from dovetail.sw.window import Window

DECIMAL = {
    Rounding.HALF_EVEN: decimal.ROUND_HALF_EVEN, Rounding.HALF_UP: decimal.ROUND_HALF_UP,
    Rounding.HALF_DOWN: decimal.ROUND_HALF_DOWN, Rounding.FLOOR: decimal.ROUND_FLOOR,
    Rounding.CEIL: decimal.ROUND_CEILING, Rounding.UP: decimal.ROUND_UP, Rounding.DOWN: decimal.ROUND_DOWN,
}
IMAGE = Window(channels=1, height=4, width=5, kernel=(1, 3))   # 4 x 3 windows of 3 positions
POOL = Window(channels=2, height=4, width=3, kernel=(2, 2))    # of its output: 3 x 2


def quantiser(**changes):
    return Quantiser(**{"name": "q", "op": "Quant", "scale": 1.0, "low": -(2**17), "high": 2**17} | changes)


def linear(*steps, **changes):
    """Layer that hands its inputs to the steps as they are."""
    return FloatLayer(**{
        "name": "a", "op": "Gemm", "weights": np.eye(2), "bias": np.zeros(2), "steps": steps} | changes)


def pixels(*steps):
    """The same at every pixel of an image of 2 x 2."""
    return linear(*steps, window=Window(channels=2, height=2, width=2, kernel=(1, 1)))


def test_rounding_members():
    assert {*DECIMAL, Rounding.SIGN} == set(Rounding)


@pytest.mark.parametrize("rounding", DECIMAL)
@given(st.one_of(st.integers(-40, 40).map(lambda eighths: eighths / 8), st.floats(-99999, 99999)))
def test_rounding(rounding, x):
    """Ties, and every double, as the decimal module rounds its exact value."""
    expected = int(decimal.Decimal(x).to_integral_value(DECIMAL[rounding]))
    assert_array_equal(quantiser(rounding=rounding).codes(np.array([x, -0.0])), [expected, 0])


@pytest.mark.parametrize("rounding", DECIMAL)
@pytest.mark.parametrize("half", [0.5, -0.5, 2.5, -3.5])
def test_rounding_beside_ties(rounding, half):
    """The doubles next to a tie, where adding a half would round up."""
    x = [math.nextafter(half, -math.inf), half, math.nextafter(half, math.inf)]
    expected = [int(decimal.Decimal(value).to_integral_value(DECIMAL[rounding])) for value in x]
    assert_array_equal(quantiser(rounding=rounding).codes(np.array(x)), expected)


def test_sign():
    x = np.array([-3.0, -1e-300, -0.0, 0.0, 1e-300, 7.0])
    assert_array_equal(quantiser(rounding=Rounding.SIGN, scale=0.5, low=-1, high=1).codes(x), [-1, -1, 1, 1, 1, 1])


@pytest.mark.parametrize(("changes", "x", "codes"), [
    ({"scale": 0.5}, [-0.75, -0.25, 0.25, 0.75, 1.25], [-2, 0, 0, 2, 2]),
    ({"scale": 0.5, "zero": 1}, [-0.75, -0.25, 0.25, 0.75, 1.25], [-1, -1, 1, 1, 3]),   # an odd zero turns ties round
    ({"scale": 0.5, "zero": -3}, [-0.75, -0.25, 0.25, 0.75, 1.25], [-1, -1, 1, 1, 3]),
    ({"scale": 0.5, "zero": 2}, [-0.75, -0.25, 0.25, 0.75, 1.25], [-2, 0, 0, 2, 2]),
    ({"zero": 10, "rounding": Rounding.HALF_UP}, [-2.5, -0.5, 0.5, 2.5], [-2, 0, 1, 3]),   # all positive with the zero
    ({"zero": 10, "rounding": Rounding.DOWN}, [-2.5, -0.5, 0.5, 2.5], [-3, -1, 0, 2]),
    ({"low": -3, "high": 4}, [-9.0, -3.4, 3.6, 4.4, 9.0], [-3, -3, 4, 4, 4]),
    ({"low": -81, "high": 174, "scale": 0.01}, [-5.0, -0.81, 0.0, 1.74, 5.0], [-81, -81, 0, 174, 174]),
])
def test_quantiser(changes, x, codes):
    step = quantiser(**changes)
    assert_array_equal(step.codes(np.array(x)), codes)
    layer = linear(step, weights=np.ones((1, 1)), bias=np.zeros(1))
    assert_array_equal(layer.run(np.array(x)[:, np.newaxis])[:, 0], step.scale * np.array(codes))
    assert layer.quantisers == (step,)


@pytest.mark.parametrize(("values", "winners", "kept"), [
    ([3, 5, 3, 5], 1, [0, 5, 0, 0]), ([3, 5, 3, 5], 3, [3, 5, 0, 5]), ([0, 0, 1, 0], 3, [0, 0, 1, 0]),
    ([2, 2, 2, 2], 2, [2, 2, 0, 0]), ([1, 2, 3, 4], 4, [1, 2, 3, 4]), ([.25, .5, .125, 0], 2, [.25, .5, 0, 0]),
])
def test_k_winners(values, winners, kept):
    assert_array_equal(k_winners(np.array([values, values[::-1]]), winners)[0], kept)


def test_k_winners_ties():
    """Rows long enough that a sort which is not stable would show."""
    values = np.random.default_rng(3).integers(0, 3, (20, 100)).astype(float)
    for row, kept in zip(values, k_winners(values, 30), strict=True):
        chosen = sorted(range(100), key=lambda index: (-row[index], index))[:30]
        assert_array_equal(kept, [value if index in chosen else 0 for index, value in enumerate(row)])


def test_affine():
    step = Affine(name="bn", op="BatchNormalization", scale=np.array([2.0, -0.5]), offset=np.array([1.0, 0.0]))
    assert_array_equal(linear(step).run(np.array([[1.0, 2.0], [-1.0, 4.0]])), [[3, -1], [-1, -2]])
    # channel by channel: four pixels of each kernel
    assert_array_equal(pixels(step).run(np.arange(8.0)[np.newaxis]), [[1, 3, 5, 7, -2, -2.5, -3, -3.5]])


def test_divisor():
    """A division is rounded once, so that halves stay halves: 147 times 1/98 is not 3/2."""
    step = Affine(name="d", op="Div", scale=np.ones(2), offset=np.array([0.0, 1.0]), divisor=98.0)
    x = np.array([[147.0, -147.0], [343.0, 735.0]])
    assert_array_equal(linear(step).run(x), [[1.5, -0.5], [3.5, 8.5]])
    assert (x[0, 0] * step.slope[0]) != 1.5
    both = replace(step, scale=np.array([2.0, -2.0]), divisor=np.array([4.0, 8.0]))
    assert_array_equal(pixels(both).run(np.arange(8.0)[np.newaxis]), [[0, 0.5, 1, 1.5, 0, -0.25, -0.5, -0.75]])


def test_input_codes():
    """Bytes over 255 are divided in float32, as runtimes do: there 12/255 over 8/255 is beside a tie."""
    scale = np.float32(8 / 255)
    taken = quantiser(scale=float(scale), low=0, high=255)
    x = np.arange(256, dtype=np.float32) / np.float32(255)
    wanted = np.rint(x / scale).astype(np.float64)
    assert_array_equal(taken.input_codes(x.astype(np.float64)), wanted)
    assert (taken.codes(x.astype(np.float64)) != wanted).any()   # what float64 makes of the same bytes
    model = replace(float_model(float_layer(np.eye(2), relu=False)), input_quantiser=taken)
    pairs = x.astype(np.float64).reshape(-1, 2)
    assert_array_equal(model.run(pairs)[0], taken.scale * wanted.reshape(-1, 2))
    odd = quantiser(scale=0.1, low=0, high=255)   # no float32 number: nothing to divide as
    assert_array_equal(odd.input_codes(np.array([0.05, 0.15])), odd.codes(np.array([0.05, 0.15])))


@pytest.mark.parametrize(("low", "high", "relu", "expected"), [
    (0.0, math.inf, True, [0, 0.5, 7]), (0.0, 6.0, True, [0, 0.5, 6]), (-1.0, 1.0, False, [-1, 0.5, 1]),
    (-math.inf, 2.0, False, [-3, 0.5, 2]),
])
def test_clip(low, high, relu, expected):
    layer = linear(Clip(name="c", op="Clip", low=low, high=high), weights=np.ones((1, 1)), bias=np.zeros(1))
    assert_array_equal(layer.run(np.array([[-3.0], [0.5], [7.0]]))[:, 0], expected)
    assert layer.relu == relu


def test_winners():
    step = Winners(name="k", op="TopK", winners=1)
    assert linear(step).winners == 1 and linear().winners is None
    assert_array_equal(linear(step).run(np.array([[1.0, 2.0], [3.0, 3.0]])), [[0, 2], [3, 0]])
    # at every pixel on its own
    assert_array_equal(pixels(step).run(np.array([[1.0, 2, 3, 4, 4, 3, 2, 1]])), [[0, 0, 3, 4, 4, 3, 0, 0]])


def test_pool():
    pool = Window(channels=2, height=2, width=2, kernel=(2, 1))
    layer = pixels(MaxPool(name="p", op="MaxPool", window=pool))
    assert (layer.pool, layer.output_shape, pixels().pool, pixels().output_shape) == (pool, (2, 1, 2), None, (2, 2, 2))
    assert_array_equal(layer.run(np.array([[-1.0, -2, -3, 0, 5, 6, 7, 1]])), [[-1, 0, 7, 6]])


def test_steps_in_order():
    """A clip before and after an affine step are two different things."""
    clip = Clip(name="c", op="Relu", low=0.0, high=math.inf)
    affine = Affine(name="s", op="Sub", scale=np.ones(2), offset=np.array([-1.0, -1.0]))
    x = np.array([[0.5, -3.0]])
    assert_array_equal(linear(clip, affine).run(x), [[-0.5, -1]])
    assert_array_equal(linear(affine, clip).run(x), [[0, 0]])
    assert_array_equal(linear(clip, affine).apply(x), [[-0.5, -1]])


def test_layer():
    layer = float_layer([[1, 0, 2], [0, 0, 3]], [1, -1])
    assert (layer.kernels, layer.positions, layer.inputs, layer.output_shape) == (2, 3, 3, (2,))
    assert_array_equal(layer.mask, [[1, 0, 1], [0, 0, 1]])
    assert_array_equal(layer.run(np.array([[1.0, 9, 2], [0, 0, 0]])), [[6, 5], [1, 0]])
    image = float_layer([[1, 0, 2], [0, 0, 3]], [1, -1], window=IMAGE, pool=POOL)
    assert (image.positions, image.inputs, image.output_shape, image.pool) == (3, 20, (2, 3, 2), POOL)
    assert not (layer.weights.flags.writeable or layer.bias.flags.writeable)


def test_convolution():
    """Every output pixel, computed alone; padding is zero."""
    window = Window(channels=2, height=3, width=4, kernel=(2, 3), strides=(1, 2), pads=(1, 0, 0, 1))
    rng = np.random.default_rng(0)
    x, weights = rng.integers(-9, 10, (2, 2, 3, 4)), rng.integers(-9, 10, (3, 2, 2, 3))
    layer = float_layer(weights.reshape(3, 12), [1, 2, 3], relu=False, window=window)
    padded = np.zeros((2, 2, 4, 5))
    padded[:, :, 1:, :4] = x
    expected = [[[[(padded[n, :, row:row + 2, 2 * column:2 * column + 3] * weights[m]).sum() + m + 1
                   for column in range(2)] for row in range(3)] for m in range(3)] for n in range(2)]
    assert layer.output_shape == (3, 3, 2)
    assert_array_equal(layer.run(x.reshape(2, 24)), np.reshape(expected, (2, 18)))


def test_input():
    """The first layer sees gain x input + offset, quantised."""
    x = np.array([[0, 1, 2], [3, 4, 5]])
    model = float_model(float_layer(np.eye(3), relu=False), input_gain=0.5, input_offset=-1.0)
    assert_array_equal(model.run(x)[0], [[-1, -0.5, 0], [0.5, 1, 1.5]])
    model = replace(model, input_quantiser=quantiser(scale=0.75, low=-1, high=1))
    assert_array_equal(model.run(x)[0], [[-0.75, -0.75, 0], [0.75, 0.75, 0.75]])


def test_run():
    model = random_cnn(ceiling=1.5)
    x = np.random.default_rng(1).random((4, 2, 9, 7))
    value = x.reshape(4, -1)
    outputs = model.run(x)
    for layer, output in zip(model.layers, outputs, strict=True):
        value = layer.run(value)
        assert output.shape == (4, math.prod(layer.output_shape))
        assert_array_equal(output, value)
    for flat, output in zip(model.run(x.reshape(4, -1).tolist()), outputs, strict=True):
        assert_array_equal(flat, output)
    assert [output.shape for output in model.run(x[:0])] == [(0, 160), (0, 48), (0, 4)]


def test_quantised():
    plain = float_layer([[0.5, 1.5]])
    codes = replace(plain, codes=np.array([[1, 3]]), scale=np.array([0.5]))
    assert not float_model(plain).quantised
    assert float_model(codes).quantised


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_run_wrong(shape):
    shown = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"^x must have shape \('n', 3\), not {shown}$"):
        float_model(float_layer(np.eye(3))).run(np.zeros(shape))


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: quantiser(scale=0.0), ValueError, r"scale must be positive, not 0\.0"),
    (lambda: quantiser(scale=-1.0), ValueError, r"scale must be positive, not -1\.0"),
    (lambda: quantiser(scale=math.inf), ValueError, r"scale must be positive, not inf"),
    (lambda: quantiser(scale=math.nan), ValueError, r"scale must be positive, not nan"),
    (lambda: quantiser(zero=0.5), TypeError, r"zero must be an integer, not 0\.5"),
    (lambda: quantiser(low=-(2**17) - 1), ValueError, r"low must be -131072 to 131072, not -131073"),
    (lambda: quantiser(low=5, high=4), ValueError, r"high must be 5 to 131072, not 4"),
    (lambda: Clip(name="c", op="Clip", low=1.0, high=0.5), ValueError, r"low must be at most high \(0\.5\), not 1\.0"),
    (lambda: Clip(name="c", op="Clip", low=math.nan, high=1.0), ValueError,
     r"low must be at most high \(1\.0\), not nan"),
    (lambda: Affine(name="s", op="Mul", scale=np.ones(2), offset=np.ones(3)), ValueError,
     r"offset must have shape \(2,\), not \(3,\)"),
    (lambda: Affine(name="s", op="Mul", scale=np.array([np.inf]), offset=np.ones(1)), ValueError,
     r"scale must hold finite numbers only"),
    (lambda: Affine(name="s", op="Div", scale=np.ones(2), offset=np.ones(2), divisor=np.ones(3)), ValueError,
     r"divisor must have shape \(2,\), not \(3,\)"),
    (lambda: Affine(name="s", op="Div", scale=np.ones(2), offset=np.ones(2), divisor=-2.0), ValueError,
     r"divisor must be positive, not -2\.0"),
    (lambda: MaxPool(name="p", op="MaxPool", window=replace(POOL, pads=(2, 0, 0, 0))), ValueError,
     r"window must not have windows in the padding alone, with pads \(2, 0, 0, 0\)"),
    (lambda: float_layer([1, 2]), ValueError,
     r"weights must be a non-empty array of 2 dimensions, not of shape \(2,\)"),
    (lambda: float_layer(np.zeros((0, 3))), ValueError,
     r"weights must be a non-empty array of 2 dimensions, not of shape \(0, 3\)"),
    (lambda: float_layer([[1, np.nan]]), ValueError, r"weights must hold finite numbers only"),
    (lambda: float_layer([[1, 2]], [1, 2]), ValueError, r"bias must have shape \(1,\), not \(2,\)"),
    (lambda: linear(codes=np.eye(2, dtype=int)), ValueError, r"codes and scale must be given together"),
    (lambda: linear(scale=np.ones(2)), ValueError, r"codes and scale must be given together"),
    (lambda: linear(codes=np.eye(2), scale=np.ones(2)), TypeError, r"codes must be an array of int64, not float64"),
    (lambda: linear(codes=np.eye(3, dtype=int), scale=np.ones(2)), ValueError,
     r"codes must have shape \(2, 2\), not \(3, 3\)"),
    (lambda: linear(codes=np.eye(2, dtype=int), scale=np.array([1.0, 0.0])), ValueError,
     r"scale must be positive, not 0\.0"),
    (lambda: linear(window=IMAGE), ValueError, r"window must have 2 positions, not 3"),
    (lambda: linear(Affine(name="s", op="Mul", scale=np.ones(3), offset=np.ones(3))), ValueError,
     r"step 's' must have 2 scales, not \(3,\)"),
    (lambda: float_layer([[1, 2, 3]], pool=POOL), ValueError, r"step 'a_pool' must follow a convolution"),
    (lambda: float_layer([[1, 2, 3]], window=IMAGE, pool=POOL), ValueError,
     r"step 'a_pool' must pool an image of \(1, 4, 3\)"),
    (lambda: linear(Winners(name="k", op="TopK", winners=3)), ValueError, r"winners must be 1 to 2, not 3"),
    (lambda: linear(Winners(name="k", op="TopK", winners=0)), ValueError, r"winners must be 1 to 2, not 0"),
    (lambda: FloatModel(name="m", input_shape=(2,), layers=(), sha256=""), ValueError,
     r"layers must hold at least one layer, not \(\)"),
    (lambda: float_model(linear(), input_gain=0.0), ValueError, r"input_gain must be positive, not 0\.0"),
    (lambda: float_model(linear(), input_gain=math.inf), ValueError, r"input_gain must be positive, not inf"),
    (lambda: float_model(linear(), input_offset=math.nan), ValueError, r"input_offset must be finite, not nan"),
    (lambda: float_model(linear(), input_shape=(3,)), ValueError, r"layer 'a' must take 3 elements, not 2"),
    (lambda: float_model(float_layer([[1, 2]]), float_layer([[1, 2]], name="b")), ValueError,
     r"layer 'b' must take 1 elements, not 2"),
    (lambda: float_model(linear(), linear()), ValueError, r"layer names must be unique, not \['a', 'a'\]"),
    (lambda: replace(float_model(linear()), input_shape=[2]), TypeError,
     r"input_shape must be a tuple of at least one size, not \[2\]"),
])
def test_wrong(make, error, message):
    with pytest.raises(error, match=rf"^{message}$"):
        make()
