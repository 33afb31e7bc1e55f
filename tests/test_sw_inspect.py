"""What inspection reports of layers of every kind."""

import math

import numpy as np
import pytest

from dovetail.sw.inspect import find_problems, inspect_model
from dovetail.sw.model import Affine, Clip, FloatLayer, FloatModel, MaxPool, Quantiser, Rounding, Winners
from dovetail.sw.packer import pack
from dovetail.sw.window import Window

RELU = Clip(name="relu", op="Relu", low=0.0, high=math.inf)


def make_layer(mask, *, op="Gemm", bias=None, name="fc", seed=0, **options):
    weights = np.where(mask, np.random.default_rng(seed).uniform(0.1, 1, mask.shape), 0)
    return FloatLayer(name=name, op=op, weights=weights, bias=np.zeros(len(mask)) if bias is None else bias, **options)


def inspect(layer):
    model = FloatModel(name="net", input_shape=(layer.inputs,), layers=(layer,), sha256="0" * 64)
    (facts,) = inspect_model(model)
    return facts


def complementary(rng, kernels, positions, set_size):
    owner = rng.integers(0, set_size, (kernels // set_size, positions))
    return (owner[:, np.newaxis] == np.arange(set_size)[:, np.newaxis]).reshape(kernels, positions)


def test_unstructured():
    mask = np.random.default_rng(1).random((160, 200)) < 0.0625
    facts = inspect(make_layer(mask, steps=(RELU, Winners(name="k", op="TopK", winners=9))))
    packing = pack(mask)
    assert (facts.name, facts.op, facts.kernels, facts.positions, facts.vectors) == ("fc", "Linear", 160, 200, 1)
    assert (facts.weights, facts.nonzero, facts.density) == (32000, mask.sum(), mask.mean())
    assert (facts.set_size, facts.sets, facts.fill) == (packing.set_size, packing.sets, packing.fill)
    assert (facts.rows, facts.rows_lower_bound) == (packing.rows.sum(), packing.rows_lower_bound)
    assert (facts.pattern, facts.complementary, facts.winners) == ("unstructured", False, 9)
    size = mask.size // int(mask.sum())
    banks = -(-160 // size)
    rows = int(pack(mask, banks=banks, set_size=-(-160 // banks)).rows.sum())
    gain = facts.gain
    assert (gain.set_size, gain.banks, gain.rows) == (-(-160 // banks), banks, rows)
    assert gain.rows_complementary == 200
    assert gain.text == (
        f"at N = {gain.set_size} this layer would need 1/{rows / 200:.1f} of the rows, 200 instead of {rows:,} on "
        f"{banks} multipliers, were its masks trained complementary at this density")
    assert 1.5 * 200 < rows < 3 * 200


def test_complementary():
    facts = inspect(make_layer(complementary(np.random.default_rng(2), 64, 300, 8)))
    assert (facts.pattern, facts.complementary, facts.set_size) == ("complementary, sets of 8", True, 8)
    assert (facts.gain.rows, facts.gain.rows_complementary) == (300, 300)
    assert facts.gain.text == "one row a position already: no other mask of this density needs fewer"


def test_complementary_and_more():
    """Kernel k has the positions k modulo 4: 1:4 in each, and four of them make a set."""
    mask = np.arange(256) % 4 == np.arange(32)[:, np.newaxis] % 4
    assert inspect(make_layer(mask)).pattern == "complementary, sets of 4; 1:4 along the positions"


@pytest.mark.parametrize("kernels, size, share", [(64, 16, 16), (10, 10, 10), (17, 9, 9), (600, 16, 16)])
def test_dense(kernels, size, share):
    facts = inspect(make_layer(np.ones((kernels, 50), bool)))
    assert (facts.pattern, facts.set_size, facts.gain.set_size) == ("dense", 1, size)
    assert (facts.gain.rows, facts.gain.rows_complementary) == (size * 50, 50)
    assert facts.gain.text == (
        f"pruned to 1/{size} (complementary, N = {size}) it would need 1/{share} of the multiplications")


def test_nearly_dense():
    facts = inspect(make_layer(np.random.default_rng(3).random((64, 100)) < 0.8))
    assert facts.pattern == "unstructured"
    assert facts.gain.text.startswith("pruned to 1/16 (complementary, N = 16) it would need 1/1")


def test_packs_nearly_as_well():
    """Sets of four but for one weight of each kernel."""
    quarter = np.arange(2000) // 500
    mask = (quarter == np.arange(40)[:, np.newaxis] % 4) & (np.arange(2000) % 500 > 1)
    mask[np.arange(40), (np.arange(40) % 4 * 500 + 700 + 5 * np.arange(40)) % 2000] = True
    facts = inspect(make_layer(mask))
    assert (facts.complementary, facts.gain.set_size, facts.gain.rows_complementary) == (False, 4, 1992)
    assert 1992 < facts.gain.rows <= 1.05 * 1992
    assert facts.gain.text == (
        "at N = 4 within 5 % of one row a position: other masks of this density would gain no more")


def test_what_is_not_needed():
    mask = np.random.default_rng(4).random((20, 40)) < 0.9
    mask[[3, 8]] = False
    mask[:, [0, 5, 39]] = False
    layer = make_layer(mask)
    weights = layer.weights.copy()
    weights[7], weights[9] = weights[6], weights[6]
    weights[8] = -weights[8]    # negative zeros
    bias = np.zeros(20)
    bias[9] = 1.0
    facts = inspect(FloatLayer(name="fc", op="MatMul", weights=weights, bias=bias))
    assert (facts.empty_kernels, facts.unused_positions, facts.duplicates) == (2, 3, 2)


def test_empty():
    facts = inspect(make_layer(np.zeros((4, 5), bool)))
    assert (facts.pattern, facts.density, facts.rows, facts.gain.text) == ("empty", 0, 0, "no weight at all")


def test_one_kernel():
    facts = inspect(make_layer(np.ones((1, 5), bool)))
    assert (facts.pattern, facts.gain.rows, facts.gain.rows_complementary) == ("dense", 5, 5)


def test_quantised():
    codes = np.random.default_rng(5).integers(-7, 8, (8, 30))
    layer = FloatLayer(name="fc", op="MatMul", weights=codes * 0.5, bias=np.zeros(8), codes=codes,
                       scale=np.full(8, 0.5), steps=(RELU, Quantiser(name="q", op="Quant", scale=1.0, low=0, high=3)))
    facts = inspect(layer)
    assert (facts.weight_bits, facts.activation, facts.op) == (4, "ReLU, 2-bit", "Linear")


@pytest.mark.parametrize("step, text", [
    (Clip(name="c", op="Clip", low=0.0, high=6.0), "clip 0 to 6"),
    (Quantiser(name="q", op="BipolarQuant", scale=1.0, low=-1, high=1, rounding=Rounding.SIGN), "sign"),
    (Quantiser(name="q", op="QuantizeLinear", scale=1.0, low=-81, high=174), "8-bit"),
    (Affine(name="a", op="Mul", scale=np.ones(3), offset=np.zeros(3)), "none"),
])
def test_activation(step, text):
    assert inspect(make_layer(np.ones((3, 3), bool), steps=(step,))).activation == text


def test_convolution():
    window = Window(channels=2, height=9, width=7, kernel=(3, 3), pads=(1, 1, 1, 1))
    pool = MaxPool(name="pool", op="MaxPool", window=Window(channels=8, height=9, width=7, kernel=(3, 3)))
    conv = make_layer(np.ones((8, 18), bool), op="Conv", name="conv", window=window, steps=(RELU, pool))
    linear = make_layer(np.ones((4, conv.kernels * 7 * 5), bool))
    model = FloatModel(name="net", input_shape=(2, 9, 7), layers=(conv, linear), sha256="0" * 64)
    facts, _ = inspect_model(model)
    assert (facts.op, facts.kernels, facts.positions, facts.vectors, facts.rows) == ("Conv", 8, 18, 63, 18)
    assert find_problems(model) == []


def stating(*layers, taken=None):
    """A model that states its integers, with quantisers behind all layers but the last."""
    return FloatModel(name="net", input_shape=(3,), input_quantiser=taken, layers=layers, sha256="0" * 64)


def test_model_that_states_its_integers_is_tried():
    taken = Quantiser(name="q", op="QuantizeLinear", scale=0.5, low=0, high=255)
    integers = {"codes": np.ones((3, 3), int), "scale": np.ones(3)}
    layer, bare = (FloatLayer(name=name, op="Gemm", weights=np.ones((3, 3)), bias=np.zeros(3), steps=steps, **integers)
                   for name, steps in (("a", (taken,)), ("b", ())))
    assert find_problems(stating(layer, bare, taken=taken)) == find_problems(stating(layer, bare)) == []
    assert find_problems(stating(bare, layer)) == [
        "node 'b' (Gemm) is not quantised before the next layer; put QuantizeLinear and DequantizeLinear (or Quant) "
        "behind it"]


def test_vector_that_becomes_an_image():
    linear = make_layer(np.ones((126, 5), bool), name="linear", steps=(RELU,))
    window = Window(channels=2, height=9, width=7, kernel=(3, 3))
    conv = make_layer(np.ones((8, 18), bool), op="Conv", name="conv", window=window)
    model = FloatModel(name="net", input_shape=(5,), layers=(linear, conv), sha256="0" * 64)
    assert find_problems(model) == ["node 'conv' (Conv): sees an image of 2 x 9 x 7 where node 'linear' leaves 126; "
                                    "there is no hardware that reshapes it"]
