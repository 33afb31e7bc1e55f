"""Integer records: what they check, the ranges they derive, and the arithmetic of their stages."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dovetail.sw.network import Exactness, Layer, Network, Scale, Thresholds, range_bits
from dovetail.sw.window import Window


def scale(**changes):
    return Scale(**{"multiplier": None, "offset": 1, "shift": 1, "low": 0, "high": 15} | changes)


def thresholds(**changes):
    return Thresholds(**{"values": np.array([[-3, 0, 4], [1, 1, 9]]), "low": 0} | changes)


def layer(**changes):
    return Layer(**{
        "name": "a", "weights": np.array([[1, -2, 0], [0, 3, 4]]), "mask": np.array([[1, 1, 0], [1, 1, 1]], bool),
        "weight_bits": 4, "bias": np.array([5, -6]), "input_range": (0, 7), "stages": (scale(),), "winners": 1,
        "output_scale": 0.5} | changes)


def wide(weights, bias, **changes):
    """Layer of sums with any weights."""
    weights = np.array(weights)
    return Layer(**{
        "name": "a", "weights": weights, "mask": np.ones(weights.shape, bool), "weight_bits": 8, "bias": np.array(bias),
        "input_range": (0, 255), "output_scale": 1.0} | changes)


IMAGE = Window(channels=1, height=4, width=5, kernel=(1, 3))   # 4 x 3 windows of 3 positions
POOL = Window(channels=2, height=4, width=3, kernel=(2, 2))    # of its output: 3 x 2


@given(st.integers(-(2**15), 2**16), st.integers(0, 2**17))
def test_range_bits(low, more):
    """The width is enough, and one bit less is not."""
    high = low + more
    bits, signed = range_bits(low, high)
    assert signed == (low < 0)

    def holds(bits):
        least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return least <= low and high <= most

    assert holds(bits)
    assert bits == 1 or not holds(bits - 1)


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0, 0, (1, False)), (0, 1, (1, False)), (0, 2, (2, False)), (0, 255, (8, False)), (0, 256, (9, False)),
    (-1, 0, (1, True)), (-1, 1, (2, True)), (-2, -1, (2, True)), (-128, 127, (8, True)), (-128, 128, (9, True)),
    (-81, 174, (9, True)), (-255, 0, (9, True)),
])
def test_range_bits_examples(low, high, expected):
    assert range_bits(low, high) == expected


def test_layer():
    plain = layer()
    assert (plain.kernels, plain.positions, plain.inputs, plain.vectors, plain.output_shape) == (2, 3, 3, 1, (2,))
    assert (plain.input_bits, plain.input_signed) == (3, False)
    assert (plain.output_range, plain.output_bits, plain.output_signed) == ((0, 15), 4, False)
    assert plain.exactness is Exactness.ROUNDED and plain.op == "Linear"
    least, most = plain.kernel_range
    assert_array_equal(least, [5 - 14, -6])
    assert_array_equal(most, [5 + 7, -6 + 49])
    assert plain.sum_range == (-14, 49)   # -2 * 7 without the bias; 7 * 7 without the bias
    assert plain.sum_bits == 7
    signed = layer(input_range=(-4, 3))
    assert (signed.input_bits, signed.input_signed) == (3, True)
    assert signed.sum_range == (-34, 21)   # (3 + 4) * -4 - 6; (3 + 4) * 3
    sums = layer(stages=(), winners=None)
    assert (sums.output_range, sums.output_bits, sums.output_signed) == (None, None, True)
    for array in (plain.weights, plain.mask, plain.bias):
        assert not array.flags.writeable


def test_odd_range():
    """A file's zero point makes ranges that fill no width: kernels see the range, accumulators the whole width."""
    odd = wide([[2, -1]], [7], input_range=(-81, 174))
    assert (odd.input_bits, odd.input_signed) == (9, True)
    least, most = odd.kernel_range
    assert_array_equal([least, most], [[2 * -81 - 174 + 7], [2 * 174 + 81 + 7]])
    assert odd.sum_range == (2 * -256 - 255, 2 * 255 + 256 + 7)


def test_image():
    image = layer(window=IMAGE)
    assert (image.inputs, image.vectors, image.output_shape) == (20, 12, (2, 4, 3))
    pooled = layer(window=IMAGE, pool=POOL, origin=np.array([0, 3]))
    assert (pooled.inputs, pooled.vectors, pooled.output_shape) == (20, 12, (2, 3, 2))
    assert_array_equal(pooled.origin, [0, 3])
    codes = np.arange(24)[np.newaxis] % 7
    expected = [max(codes[0, 12 * m + 3 * (y + i) + x + j] for i in range(2) for j in range(2))
                for m in range(2) for y in range(3) for x in range(2)]
    assert_array_equal(pooled.pooled(codes), [expected])
    assert image.pooled(codes) is codes


@pytest.mark.parametrize(("weights", "bias", "bits"), [
    ([[0]], [0], 1), ([[0]], [-1], 1), ([[0]], [1], 2), ([[0]], [-2], 2), ([[0]], [127], 8), ([[0]], [-128], 8),
    ([[0]], [-129], 9), ([[1]], [0], 9), ([[-1]], [0], 9), ([[-1]], [-1], 9), ([[-1]], [-2], 10),
])
def test_sum_bits(weights, bias, bits):
    assert wide(weights, bias).sum_bits == bits


@st.composite
def ranged_layers(draw):
    row = st.lists(st.integers(-8, 7), min_size=4, max_size=4)
    weights = draw(st.lists(row, min_size=1, max_size=3))
    bias = draw(st.lists(st.integers(-50, 50), min_size=len(weights), max_size=len(weights)))
    codes = draw(st.integers(-9, 0)), draw(st.integers(0, 9))
    return wide(weights, bias, weight_bits=4, input_range=codes)


def combinations(values):
    return np.array(np.meshgrid(*[values] * 4)).reshape(4, -1)


@given(ranged_layers())
def test_sum_range_is_tight(layer):
    """No subset of positions leaves the range, and codes of the input's width exist that reach both ends."""
    bits = layer.input_bits
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if layer.input_signed else (0, 2**bits - 1)
    assert low <= layer.input_range[0] and layer.input_range[1] <= high
    sums = layer.weights @ combinations([0, low, high])
    sums = np.concatenate([sums, sums + layer.bias[:, np.newaxis]])
    assert layer.sum_range == (sums.min(), sums.max())
    least, most = -(2 ** (layer.sum_bits - 1)), 2 ** (layer.sum_bits - 1) - 1
    assert least <= sums.min() and sums.max() <= most
    assert layer.sum_bits == 1 or sums.min() < least // 2 or sums.max() > most // 2


@given(ranged_layers())
def test_kernel_range_is_tight(layer):
    sums = layer.weights @ combinations([0, *layer.input_range]) + layer.bias[:, np.newaxis]
    least, most = layer.kernel_range
    assert_array_equal(least, sums.min(axis=1))
    assert_array_equal(most, sums.max(axis=1))


@given(st.data())
def test_scale(data):
    """Every member, against integers of Python."""
    kernels = data.draw(st.integers(1, 3))
    whole = st.integers(-(2**12), 2**12)
    one = st.lists(whole, min_size=kernels, max_size=kernels)
    multiplier = data.draw(st.none() | one.map(lambda m: [value or 1 for value in m]))
    offset = data.draw(whole | one)
    shift = data.draw(st.integers(0, 20))
    low = data.draw(st.integers(-300, 300))
    high = low + data.draw(st.integers(0, 600))
    ties_to_even = data.draw(st.booleans())
    x = data.draw(st.lists(one, min_size=1, max_size=4))
    stage = Scale(multiplier=None if multiplier is None else np.array(multiplier), shift=shift, low=low, high=high,
                  offset=np.array(offset) if isinstance(offset, list) else offset, ties_to_even=ties_to_even)
    expected = []
    for row in x:
        codes = []
        for kernel, value in enumerate(row):
            total = value * (1 if multiplier is None else multiplier[kernel])
            total += offset[kernel] if isinstance(offset, list) else offset
            code = math.floor(Fraction(total, 2**shift))
            if ties_to_even and total % 2**shift == 0 and code % 2:
                code -= 1
            codes.append(min(max(code, low), high))
        expected.append(codes)
    codes = stage.apply(np.array(x))
    assert codes.dtype == np.int64
    assert_array_equal(codes, expected)
    assert_array_equal(stage.apply(np.array([x, x])), [expected, expected])   # any number of axes before the kernels


@pytest.mark.parametrize("shift", [1, 2, 5])
@pytest.mark.parametrize("multiplier", [1, 3, 24, -1, -7])
@pytest.mark.parametrize("zero", [0, 1, -3])
def test_ties_to_even(shift, multiplier, zero):
    """With an offset of half a step (and a whole number of steps) it rounds as Python rounds an exact fraction."""
    x = np.arange(-200, 201)
    half = 2 ** (shift - 1)
    stage = scale(multiplier=np.array([multiplier]), offset=half + zero * 2**shift, shift=shift, low=-(2**15),
                  high=2**15, ties_to_even=True)
    expected = [round(Fraction(value * multiplier, 2**shift) + zero) for value in x.tolist()]
    assert_array_equal(stage.apply(x[:, np.newaxis])[:, 0], expected)


def test_ties_to_even_without_a_shift():
    x = np.arange(-3, 5)[:, np.newaxis]
    assert_array_equal(scale(offset=0, shift=0, low=-9, ties_to_even=True).apply(x)[:, 0], [-4, -2, -2, 0, 0, 2, 2, 4])


def test_multiplier_bits():
    assert scale().multiplier_bits == 0
    assert scale(multiplier=np.array([9, 16])).multiplier_bits == 5
    assert scale(multiplier=np.array([9, -16])).multiplier_bits == 5


def test_widest():
    """The widest layer that is let through does not overflow 64 bits."""
    extreme = 2**44
    widest = wide([[0], [0]], [extreme, -extreme],
                  stages=(scale(multiplier=np.array([2**15, 2**15]), offset=2**61, shift=45, high=2**16 - 1),))
    assert (widest.sum_bits, widest.stages[0].multiplier_bits) == (46, 16)
    expected = [(sign * extreme * 2**15 + 2**61) >> 45 for sign in (1, -1)]
    assert_array_equal(widest.requantise(widest.bias), np.clip(expected, 0, 2**16 - 1))


@given(st.data())
def test_thresholds(data):
    kernels = data.draw(st.integers(1, 3))
    count = data.draw(st.integers(1, 5))
    rows = st.lists(st.integers(-20, 20), min_size=count, max_size=count).map(sorted)
    values = data.draw(st.lists(rows, min_size=kernels, max_size=kernels))
    low, step = data.draw(st.integers(-9, 9)), data.draw(st.integers(1, 4))
    stage = Thresholds(values=np.array(values), low=low, step=step)
    assert stage.high == low + step * count
    x = np.arange(-22, 23)[:, np.newaxis].repeat(kernels, axis=1)
    expected = [[low + step * sum(value >= limit for limit in values[kernel]) for kernel, value in enumerate(row)]
                for row in x.tolist()]
    codes = stage.apply(x)
    assert codes.dtype == np.int64
    assert_array_equal(codes, expected)
    assert_array_equal(stage.apply(x[np.newaxis]), [expected])


def test_thresholds_never_and_always():
    """The ends of int64 stand for thresholds that no sum reaches, and that all do."""
    ends = np.iinfo(np.int64)
    stage = Thresholds(values=np.array([[ends.min, ends.max]]), low=-1)
    assert_array_equal(stage.apply(np.array([[-5], [5]])), [[0], [0]])


def test_stages_follow_each_other():
    two = layer(stages=(scale(low=-20, high=20), thresholds()), winners=None)
    sums = np.array([[-100, 100], [-5, 1], [0, 2], [8, 17], [7, 18]])
    inner = [[-20, 20], [-2, 1], [0, 1], [4, 9], [4, 9]]
    assert_array_equal(two.stages[0].apply(sums), inner)
    assert_array_equal(two.requantise(sums), [[0, 3], [1, 2], [2, 2], [3, 3], [3, 3]])
    assert two.output_range == (0, 3)
    sums_out = layer(stages=(), winners=None)
    assert sums_out.requantise(sums) is sums


@pytest.mark.parametrize(("stage", "expected", "bits", "signed"), [
    (scale(low=0, high=10), (0, 10), 4, False), (scale(low=-3, high=5), (-3, 5), 4, True),
    (thresholds(low=-1, step=2), (-1, 5), 4, True),
    (thresholds(values=np.array([[0], [1]]), low=-1, step=2), (-1, 1), 2, True),   # the zero in it is padding
])
def test_output_range(stage, expected, bits, signed):
    one = layer(stages=(stage,), winners=None)
    low, high = one.output_range
    assert (low, high) == expected
    assert low <= 0 <= high
    assert (one.output_bits, one.output_signed) == (bits, signed)


@pytest.mark.parametrize(("output_scale", "output_offset", "expected"), [
    (0.5, 0.0, [[0.5, 1.0, 1.5, 2.0]]), (0.5, 3.0, [[3.5, 4.0, 4.5, 5.0]]),
    (np.array([0.5, 2.0]), 0.0, [[0.5, 1.0, 6.0, 8.0]]),
    (np.array([0.5, 2.0]), np.array([1.0, -1.0]), [[1.5, 2.0, 5.0, 7.0]]),
    ([1, 2], 1, [[2.0, 3.0, 7.0, 9.0]]),
])
def test_real(output_scale, output_offset, expected):
    """Two pixels a kernel; a scale belongs to a kernel."""
    one = layer(output_scale=output_scale, output_offset=output_offset)
    assert_array_equal(one.real(np.array([[1, 2, 3, 4]])), expected)
    assert isinstance(one.output_scale, float) == (np.ndim(output_scale) == 0)


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"multiplier": np.array([1.0])}, TypeError, r"multiplier must be an array of int64, not float64"),
    ({"multiplier": np.array([[1]])}, ValueError,
     r"multiplier must be a non-empty array of 1 dimensions, not of shape \(1, 1\)"),
    ({"multiplier": np.array([1, 0])}, ValueError, r"multiplier must not be zero"),
    ({"offset": 0.5}, TypeError, r"offset must be an integer, not 0\.5"),
    ({"offset": 2**61 + 1}, ValueError,
     r"offset must be -2305843009213693952 to 2305843009213693952, not 2305843009213693953"),
    ({"offset": np.array([0, -(2**61) - 1])}, ValueError, r"offset must be -2\*\*61 to 2\*\*61"),
    ({"offset": np.array([0.5])}, TypeError, r"offset must be an array of int64, not float64"),
    ({"shift": -1}, ValueError, r"shift must be 0 to 62, not -1"),
    ({"shift": 63}, ValueError, r"shift must be 0 to 62, not 63"),
    ({"shift": np.int64(1)}, TypeError, r"shift must be an integer, not np\.int64\(1\)"),
    ({"low": -(2**15) - 1}, ValueError, r"low must be -32768 to 65536, not -32769"),
    ({"low": 16}, ValueError, r"high must be 16 to 65535, not 15"),
    ({"high": 2**16}, ValueError, r"high must be 0 to 65535, not 65536"),
    ({"high": True}, TypeError, r"high must be an integer, not True"),
])
def test_scale_wrong(changes, error, message):
    with pytest.raises(error, match=rf"^{message}$"):
        scale(**changes)


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"values": np.array([[0.5]])}, TypeError, r"values must be an array of int64, not float64"),
    ({"values": np.array([1, 2])}, ValueError,
     r"values must be a non-empty array of 2 dimensions, not of shape \(2,\)"),
    ({"values": np.zeros((2, 0), int)}, ValueError,
     r"values must be a non-empty array of 2 dimensions, not of shape \(2, 0\)"),
    ({"values": np.array([[1, 2], [2, 1]])}, ValueError, r"values must ascend in every row"),
    ({"low": -(2**15) - 1}, ValueError, r"low must be -32768 to 65536, not -32769"),
    ({"step": 0}, ValueError, r"step must be 1 to 32768, not 0"),
    ({"step": 1.0}, TypeError, r"step must be an integer, not 1\.0"),
    ({"step": 2**15}, ValueError, r"high must be 0 to 65535, not 98304"),
])
def test_thresholds_wrong(changes, error, message):
    with pytest.raises(error, match=rf"^{message}$"):
        thresholds(**changes)


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"weights": np.ones((2, 3))}, TypeError, r"weights must be an array of int64, not float64"),
    ({"weights": np.ones(3, int)}, ValueError,
     r"weights must be a non-empty array of 2 dimensions, not of shape \(3,\)"),
    ({"weights": np.array([[8, 0, 0], [0, 0, 0]])}, ValueError, r"weights must be -8 to 7, not 8"),
    ({"weights": np.array([[-9, 0, 0], [0, 0, 0]])}, ValueError, r"weights must be -8 to 7, not -9"),
    ({"mask": np.zeros((2, 3), bool)}, ValueError, r"weights must be zero where the mask is False"),
    ({"mask": np.zeros((2, 3), int)}, TypeError, r"mask must be an array of bool, not int64"),
    ({"mask": np.zeros((3, 2), bool)}, ValueError, r"mask must have shape \(2, 3\), not \(3, 2\)"),
    ({"bias": np.array([2**60 + 1, 0])}, ValueError, r"bias must be -2\*\*60 to 2\*\*60"),
    ({"bias": np.array([-(2**60) - 1, 0])}, ValueError, r"bias must be -2\*\*60 to 2\*\*60"),
    ({"bias": np.array([1])}, ValueError, r"bias must have shape \(2,\), not \(1,\)"),
    ({"weight_bits": 1}, ValueError, r"weight_bits must be 2 to 17, not 1"),
    ({"weight_bits": 18}, ValueError, r"weight_bits must be 2 to 17, not 18"),
    ({"input_range": (-(2**15) - 1, 0)}, ValueError, r"input_range must be -32768 to 0, not -32769"),
    ({"input_range": (1, 3)}, ValueError, r"input_range must be -32768 to 0, not 1"),
    ({"input_range": (-3, -1)}, ValueError, r"input_range must be 0 to 65535, not -1"),
    ({"input_range": (0, 2**16)}, ValueError, r"input_range must be 0 to 65535, not 65536"),
    ({"input_range": (0, 7.0)}, TypeError, r"input_range must be an integer, not 7\.0"),
    ({"window": POOL}, ValueError, r"window must have 3 positions, not 8"),
    ({"stages": (scale(multiplier=np.array([1])),)}, ValueError, r"stages must have parameters of 2 kernels, not 1"),
    ({"stages": (scale(offset=np.array([1, 2, 3])),)}, ValueError, r"stages must have parameters of 2 kernels, not 3"),
    ({"stages": (thresholds(values=np.array([[1, 2]])),)}, ValueError,
     r"stages must have parameters of 2 kernels, not 1"),
    ({"stages": (scale(low=1),)}, ValueError, r"stages must end in codes on both sides of a half"),
    ({"stages": (scale(low=-4, high=0),)}, ValueError, r"stages must end in codes on both sides of a half"),
    ({"pool": POOL}, ValueError, r"pool must be None without a window, or where sums leave"),
    ({"window": IMAGE, "pool": POOL, "stages": (), "winners": None}, ValueError,
     r"pool must be None without a window, or where sums leave"),
    ({"window": IMAGE, "pool": replace(POOL, width=4)}, ValueError, r"pool must take an image of \(2, 4, 3\)"),
    ({"window": IMAGE, "pool": replace(POOL, pads=(0, 2, 0, 0))}, ValueError,
     r"pool must not have windows in the padding alone, with pads \(0, 2, 0, 0\)"),
    ({"winners": 3}, ValueError, r"winners must be 1 to 2, not 3"),
    ({"winners": 0}, ValueError, r"winners must be 1 to 2, not 0"),
    ({"stages": ()}, ValueError, r"winners must be None where codes can be negative, or are sums"),
    ({"stages": (scale(low=-1),)}, ValueError, r"winners must be None where codes can be negative, or are sums"),
    ({"output_scale": 0.0}, ValueError, r"output_scale must be positive, not 0\.0"),
    ({"output_scale": np.array([1.0, -1.0])}, ValueError, r"output_scale must be positive, not -1\.0"),
    ({"output_scale": np.ones(3)}, ValueError, r"output_scale must have shape \(2,\), not \(3,\)"),
    ({"output_scale": np.nan}, ValueError, r"output_scale must hold finite numbers only"),
    ({"output_scale": None}, TypeError, r"output_scale must be an array of float64, not object"),
    ({"output_offset": np.inf}, ValueError, r"output_offset must hold finite numbers only"),
    ({"output_offset": np.ones(1)}, ValueError, r"output_offset must have shape \(2,\), not \(1,\)"),
    ({"origin": np.array([1])}, ValueError, r"origin must have shape \(2,\), not \(1,\)"),
    ({"bias": np.array([2**50, 0]), "stages": (scale(multiplier=np.array([2**15, 1])),)}, ValueError,
     r"sum_bits and multiplier_bits must make at most 62 together, not 52 and 16"),
    ({"stages": (scale(high=2**16 - 1), scale(multiplier=np.array([2**46, 1])))}, ValueError,
     r"sum_bits and multiplier_bits must make at most 62 together, not 16 and 47"),
])
def test_layer_wrong(changes, error, message):
    with pytest.raises(error, match=rf"^{message}$"):
        layer(**changes)


def network(*layers, **changes):
    return Network(**{"name": "n", "input_shape": (3,), "input_range": (0, 7), "input_scale": 1.0, "layers": layers,
                      "sha256": ""} | changes)


LAST = wide([[1, 1]], [0], name="b", input_range=(0, 15))


def test_network():
    first = layer()
    two = network(first, LAST)
    assert two.layers == (first, LAST)
    assert (two.input_bits, two.input_signed, two.input_origin) == (3, False, 0.0)
    image = network(layer(window=IMAGE, pool=POOL), wide(np.ones((1, 12), int), [0], name="b", input_range=(0, 15)),
                    input_shape=(1, 4, 5))
    assert [each.inputs for each in image.layers] == [20, 12]


@pytest.mark.parametrize(("layers", "changes", "error", "message"), [
    ((), {}, ValueError, r"layers must hold at least one layer, not \(\)"),
    ((LAST,), {"input_range": (0, 15)}, ValueError, r"layer 'b' must take 3 elements, not 2"),
    ((layer(), replace(LAST, name="a")), {}, ValueError, r"layer names must be unique, not \['a', 'a'\]"),
    ((layer(),), {"input_range": (0, 6)}, ValueError, r"layer 'a' must take codes of \(0, 6\), not of \(0, 7\)"),
    ((layer(), replace(LAST, input_range=(0, 7))), {}, ValueError,
     r"layer 'b' must take codes of \(0, 15\), not of \(0, 7\)"),
    ((layer(stages=(), winners=None), LAST), {}, ValueError,
     r"layer 'b' must take codes of None, not of \(0, 15\)"),
    ((layer(),), {"input_scale": 0.0}, ValueError, r"input_scale must be positive, not 0\.0"),
    ((layer(),), {"input_scale": np.inf}, ValueError, r"input_scale must be positive, not inf"),
    ((layer(),), {"input_origin": np.nan}, ValueError, r"input_origin must be finite, not nan"),
    ((layer(),), {"input_shape": [3]}, TypeError, r"input_shape must be a tuple of at least one size, not \[3\]"),
    ((layer(),), {"input_shape": ()}, TypeError, r"input_shape must be a tuple of at least one size, not \(\)"),
    ((layer(),), {"input_shape": (3, 0)}, ValueError, r"input_shape must be 1 to 2147483648, not 0"),
    ((layer(),), {"input_shape": (3.0,)}, TypeError, r"input_shape must be an integer, not 3\.0"),
])
def test_network_wrong(layers, changes, error, message):
    with pytest.raises(error, match=rf"^{message}$"):
        network(*layers, **changes)
