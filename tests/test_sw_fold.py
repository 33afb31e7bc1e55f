"""Passes on chains: what each makes of steps, and where it refuses them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dovetail.hw.errors import ModelError
from dovetail.sw.intake.chain import Chain, by_channel, check_chain, check_finite, compose, segments
from dovetail.sw.intake.fold import drop_grids, fold_forward, order_steps, split_input, to_layers
from dovetail.sw.intake.merge import merge_averages
from dovetail.sw.intake.stated import add_biases, check_grids, drop_repeats, fold_scales
from dovetail.sw.model import Affine, Clip, FloatLayer, MaxPool, Quantiser, Rounding, Winners
from dovetail.sw.window import Window


def linear(weights, bias=None, name="l", **members):
    weights = np.array(weights, float)
    return FloatLayer(name=name, op=members.pop("op", "Gemm"), weights=weights,
                      bias=np.zeros(len(weights)) if bias is None else np.array(bias, float), **members)


def affine(scale, offset, name="a"):
    return Affine(name=name, op="Mul", scale=np.array(scale, float), offset=np.array(offset, float))


def quantiser(low=0, high=255, scale=0.5, name="q", **members):
    return Quantiser(name=name, op="QuantizeLinear", scale=scale, low=low, high=high, **members)


def chain(*items, shape=(2,)):
    return Chain(input_shape=shape, items=items)


L = linear([[1, 0], [3, 4]], [5, 6])
L2 = linear([[1, 2]], name="l2")
RELU = Clip(name="r", op="Relu", low=0.0, high=np.inf)
SIX = Clip(name="s", op="Clip", low=0.0, high=6.0)
UP = Clip(name="u", op="Clip", low=-np.inf, high=4.0)
WINNERS = Winners(name="k", op="TopK", winners=1)
IMAGE = Window(channels=1, height=5, width=5, kernel=(2, 2))
CONV = linear(np.arange(8).reshape(2, 4), [1, -1], name="c", op="Conv", window=IMAGE)
POOL = MaxPool(name="p", op="MaxPool", window=Window(channels=2, height=4, width=4, kernel=(2, 2), strides=(2, 2)))
AVERAGE = Window(channels=2, height=2, width=2, kernel=(2, 2))


def kinds(found):
    return [type(item).__name__ for item in found.items]


def run(found, x):
    """Run the items one by one, affine steps by element."""
    for item in found.items:
        if isinstance(item, FloatLayer):
            layer, x = item, item.run(x)
        elif isinstance(item, Affine):
            x = item.scale * x + item.offset
        else:
            x = replace(layer, steps=(item,)).apply(x)
    return x


def test_order_steps_folds_back():
    (after,) = order_steps(chain(L, affine([2, 0], [7, 8]))).items
    assert_array_equal(after.weights, [[2, 0], [0, 0]])
    assert_array_equal(after.bias, [17, 8])
    first, _, both = order_steps(chain(L, RELU, affine([2, 3], [1, 1]), affine([5, 7], [1, 2]))).items
    assert first is L
    assert_array_equal(both.scale, [10, 21])
    assert_array_equal(both.offset, [6, 9])


@pytest.mark.parametrize(("steps", "expected"), [
    ((RELU,), [(0, np.inf)]), ((RELU, RELU), [(0, np.inf)]), ((RELU, SIX), [(0, 6)]), ((SIX, RELU), [(0, 6)]),
    ((UP, RELU), [(0, 4)]), ((RELU, UP), [(0, 4)]), ((SIX, UP), [(0, 4)]),
    ((RELU, WINNERS), [(0, np.inf), WINNERS]), ((WINNERS, RELU), [(0, np.inf), WINNERS]),
    ((RELU, WINNERS, RELU), [(0, np.inf), WINNERS]),
])
def test_order_steps_clips(steps, expected):
    found = [(step.low, step.high) if isinstance(step, Clip) else step
             for step in order_steps(chain(L, *steps)).items[1:]]
    assert found == expected


def test_order_steps_image():
    """Affine steps go past a MaxPool where they rise, and a MaxPool goes behind the clip; the result stays."""
    rise = affine(np.repeat([2, 0.5], 4), np.repeat([1, -9], 4))
    x = np.random.default_rng(0).normal(0, 4, (50, 25))
    for items in ((CONV, POOL, rise, RELU), (CONV, affine(np.repeat([-2, 1], 16), np.repeat([1, 0], 16)), POOL, SIX),
                  (CONV, RELU, affine(np.repeat([2, 3], 16), np.repeat([1, 0], 16)), POOL)):
        before = chain(*items, shape=(1, 5, 5))
        after = check_chain(order_steps(check_chain(before)))
        assert kinds(after)[1:3] == ["Clip", "MaxPool"]
        np.testing.assert_allclose(run(after, x), run(before, x), rtol=0, atol=1e-12)


def test_fold_forward():
    (folded,) = fold_forward(chain(affine([2, 0.5], [7, 8]), L)).items
    assert_array_equal(folded.weights, [[2, 0], [6, 2]])
    assert_array_equal(folded.bias, [12, 59])
    kept = fold_forward(chain(affine([2, 2], [7, 7]), L))
    assert kinds(kept) == ["Affine", "FloatLayer"]
    assert split_input(kept)[:2] == (2, 7)
    assert split_input(chain(L))[:2] == (1, 0)
    assert kinds(fold_forward(chain(affine([-2, -2], [7, 7]), L))) == ["FloatLayer"]
    assert kinds(fold_forward(chain(affine([2, 1], [1, 1]), affine([1, 2], [0, -1]), L))) == ["Affine", "FloatLayer"]
    _, _, last = fold_forward(chain(L, RELU, affine([2, 2], [1, 1]), L2)).items
    assert_array_equal(last.weights, [[2, 4]])
    assert_array_equal(last.bias, [3])
    window = replace(CONV, window=replace(IMAGE, channels=2, kernel=(1, 2)))
    before = chain(affine(np.repeat([2, 3], 25), np.repeat([0, 1], 25)), window, shape=(2, 5, 5))
    (conv,) = check_chain(fold_forward(check_chain(before))).items
    x = np.random.default_rng(0).integers(-9, 9, (20, 50)).astype(float)
    assert_array_equal(run(chain(conv), x), run(before, x))


def test_zeros_stay_zeros():
    """Folding keeps the mask, even where scale and offset make the other weights tiny."""
    rng = np.random.default_rng(0)
    weights = np.where(rng.random((30, 20)) < 0.2, rng.standard_normal((30, 20)), 0)
    steps = chain(affine(rng.standard_normal(20), rng.standard_normal(20)), linear(weights),
                  affine(1e-30 * rng.standard_normal(30), rng.standard_normal(30)), shape=(20,))
    (layer,) = to_layers(fold_forward(order_steps(steps)), quantised=False)
    assert_array_equal(layer.mask, weights != 0)


def test_merge_averages():
    """The product of two layers computes what both do; an average without a neighbour stays."""
    rng = np.random.default_rng(0)
    average = linear(np.kron(np.eye(2), np.full((1, 4), 0.25)), name="v", op="AveragePool",
                     window=Window(channels=2, height=4, width=4, kernel=(2, 2), strides=(2, 2)))
    dense = linear(rng.integers(-4, 5, (3, 8)), [1, 2, 3], name="d")
    x = rng.integers(-9, 10, (40, 25)).astype(float)
    padded = replace(CONV, window=replace(IMAGE, pads=(1, 0, 1, 2), strides=(2, 2)))   # 3 x 3 windows
    small = replace(average, window=replace(average.window, height=3, width=3, strides=(1, 1)))
    for items, names in [
        ((CONV, average), ["c"]), ((padded, small), ["c"]), ((CONV, RELU, average, dense), ["c", "d"]),
        ((CONV, average, RELU, dense), ["c", "d"]), ((CONV, RELU, average), ["c", "v"]),
        ((padded, replace(dense, weights=np.ones((3, 18)), op="ReduceMean")), ["c"]),
    ]:
        before = check_chain(chain(*items, shape=(1, 5, 5)))
        after = check_chain(merge_averages(before))
        assert [item.name for item in after.items if isinstance(item, FloatLayer)] == names
        np.testing.assert_allclose(run(after, x), run(before, x), rtol=0, atol=1e-12)
    assert merge_averages(chain(L, L2)).items == (L, L2)
    mean = linear(np.eye(2), name="m", op="ReduceMean")
    assert [item.name for item in merge_averages(chain(L, mean)).items] == ["l"]


def test_merge_averages_padded():
    """Padding between both layers moves to the image where the windows lie side by side."""
    average = linear([[0.25] * 4], name="v", op="AveragePool",
                     window=Window(channels=1, height=6, width=4, kernel=(2, 2), strides=(2, 2)))
    conv = linear(np.arange(12).reshape(2, 6), name="c", op="Conv",
                  window=Window(channels=1, height=3, width=2, kernel=(3, 2), pads=(1, 0, 2, 1)))
    before = check_chain(chain(average, conv, shape=(1, 6, 4)))
    after = check_chain(merge_averages(before))
    assert after.items[0].window.pads == (2, 0, 4, 2)
    x = np.random.default_rng(0).integers(-9, 10, (20, 24)).astype(float)
    assert_array_equal(run(after, x), run(before, x))
    for first in (replace(average, bias=np.ones(1)),
                  replace(average, window=replace(average.window, height=7)),
                  replace(average, window=replace(average.window, strides=(2, 1), width=3))):
        assert kinds(merge_averages(chain(first, conv))) == ["FloatLayer", "FloatLayer"]


def refused(make, message):
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        make()


def test_order_wrong():
    beside = ("must stand beside a Gemm, MatMul or Conv, where it can be folded; the nearest supported form puts it "
              "between that and Relu")
    one = affine([1, 1], [1, 2])
    falling, uneven = affine([-1] * 8, [0] * 8), affine(np.arange(32), np.zeros(32))
    for items, message in [
        ((L, RELU, one, RELU), f"node 'a' (Mul) {beside}"),
        ((L, RELU, one), f"node 'a' (Mul) {beside}"),
        ((L, RELU, one, WINNERS), "node 'k' (TopK) must follow a Gemm, MatMul or Conv and its Relu, once"),
        ((L, RELU, WINNERS, WINNERS), "node 'k' (TopK) must follow a Gemm, MatMul or Conv and its Relu, once"),
        ((L, WINNERS), "node 'k' (TopK) must have a Relu before it: k-WTA ranks codes that are not negative"),
        ((L, RELU, WINNERS, SIX), "node 's' (Clip) must stand before k-WTA"),
        ((L, UP), "node 'u' (Clip) must clip from 0 on, not from -inf; the nearest supported form is Relu, or a Clip "
                  "with min 0"),
        ((L, L2), "node 'l2' (Gemm) follows the linear layer 'l' with no Relu in between; the nearest supported form "
                  "is one layer with the product of both weights"),
        ((RELU, L), "node 'r' (Relu) must follow a Gemm, MatMul or Conv"),
        ((one,), f"node 'a' (Mul) {beside}"),
        ((), "has no Gemm, MatMul or Conv, so there is nothing to build"),
        ((CONV, POOL, falling), "node 'a' (Mul) has a negative scale behind the MaxPool 'p'; the nearest supported "
                                "form puts it (BatchNormalization) before MaxPool"),
        ((CONV, POOL, POOL), "node 'p' (MaxPool) must follow a layer once; the nearest supported form is one MaxPool "
                             "with a larger kernel"),
        ((CONV, RELU, WINNERS, POOL), "node 'p' (MaxPool) must stand before k-WTA"),
        ((CONV, RELU, uneven, POOL), f"node 'a' (Mul) {beside}"),
        ((CONV, uneven), "node 'a' (Mul) must have one number a kernel of 'c', not one that varies over the pixels"),
    ]:
        refused(lambda items=items: to_layers(fold_forward(order_steps(chain(*items))), quantised=False), message)
    huge = affine([1e300, 1], [0, 0])
    refused(lambda: order_steps(chain(linear([[1e300, 1], [1, 1]]), huge)),
            "node 'a' (Mul) has NaN or infinity in its scale")
    refused(lambda: compose(huge, huge), "node 'a' (Mul) has NaN or infinity in its scale")
    refused(lambda: fold_forward(chain(huge, linear([[1e300, 1]]))), "node 'a' (Mul) has NaN or infinity in its scale")
    refused(lambda: check_finite("n", "Op", bias=np.array([np.nan])), "node 'n' (Op) has NaN or infinity in its bias")


def test_check_chain_wrong():
    good = chain(L, RELU, WINNERS)
    assert check_chain(good) is good
    for bad, message in [
        (chain(L, shape=(3,)), "node 'l' (Gemm) must have 3 positions, not 2"),
        (chain(L, linear([[1, 2, 3]], name="m")), "node 'm' (Gemm) must have 2 positions, not 3"),
        (chain(replace(L, steps=(RELU,))), "node 'l' (Gemm) must have its steps behind it"),
        (chain(L, replace(WINNERS, winners=3)),
         "node 'k' (TopK) must have K of 1 to 2 (the length of its vector), not 3"),
        (chain(L, affine([1], [1])), "node 'a' (Mul) must have 2 scales, not 1"),
        (chain(L, POOL), "node 'p' (MaxPool) must follow a Conv or AveragePool, not 'l' (Gemm), whose output is one "
                         "pixel; the nearest supported form is without it"),
    ]:
        refused(lambda bad=bad: check_chain(bad), message)


def test_helpers():
    assert_array_equal(by_channel(np.array([1, 1, 2, 2]), 2), [1, 2])
    assert by_channel(np.array([1, 2, 2, 2]), 2) is None
    assert by_channel(np.array([1, 1, 1]), 2) is None
    assert segments((RELU, L, RELU, WINNERS, L2)) == ((RELU,), [(L, (RELU, WINNERS)), (L2, ())])
    grid = replace(L, codes=np.ones((2, 2), int), scale=np.ones(2))
    assert drop_grids(chain(grid, RELU)).items[0].codes is None


# Files that state integers

GRID = linear([[0.5, -1], [1.5, 0]], name="g", codes=np.array([[1, -2], [3, 0]]), scale=np.array([0.5, 0.5]))


def test_add_biases():
    (layer, step) = add_biases(chain(GRID, affine([1, 1], [2, 3]), affine([1, 1], [1, 0]), affine([1, 1], [0, 0]),
                                     quantiser())).items
    assert_array_equal(layer.bias, [3, 3])
    assert isinstance(step, Quantiser)
    assert kinds(add_biases(chain(GRID, quantiser(), affine([1, 1], [2, 3]), affine([2, 2], [0, 0])))) == [
        "FloatLayer", "Quantiser", "Affine", "Affine"]


SIGN = {"rounding": Rounding.SIGN, "low": -1, "high": 1}


@pytest.mark.parametrize(("steps", "expected"), [
    ((quantiser(), quantiser()), [(0, 255)]), ((quantiser(0, 100), quantiser(-128, 127)), [(0, 100)]),
    ((quantiser(-128, 127), quantiser(0, 255)), [(0, 127)]), ((quantiser(), WINNERS, quantiser()), [(0, 255), WINNERS]),
    ((quantiser(), quantiser(scale=0.25)), [(0, 255), (0, 255)]),
    ((quantiser(-128, 127), RELU), [(0, 127)]), ((quantiser(), RELU), [(0, 255)]),
    ((quantiser(0, 12), SIX), [(0, 12)]), ((quantiser(0, 13), SIX), [(0, 13), SIX]),
    ((quantiser(), WINNERS, RELU), [(0, 255), WINNERS]),
    ((RELU, quantiser(-128, 127)), [RELU, (0, 127)]), ((SIX, WINNERS), [SIX, WINNERS]),
    ((RELU, quantiser(**SIGN)), [RELU, (-1, 1)]), ((quantiser(**SIGN), quantiser(**SIGN)), [(-1, 1)]),
    ((quantiser(**SIGN), RELU), [(-1, 1), RELU]), ((quantiser(**SIGN), quantiser(-1, 1)), [(-1, 1), (-1, 1)]),
    ((quantiser(0, 255), quantiser(-9, -3)), [(0, 255), (-9, -3)]),
])
def test_drop_repeats(steps, expected):
    before = chain(GRID, *steps)
    after = drop_repeats(before)
    found = [(step.low, step.high) if isinstance(step, Quantiser) else step for step in after.items[1:]]
    assert found == expected
    x = np.random.default_rng(0).normal(0, 40, (500, 2))
    assert_array_equal(run(after, x), run(before, x))


def test_drop_repeats_wrong():
    message = ("node 'q' (QuantizeLinear) must not quantise anew behind k-WTA, which ranks codes; the nearest "
               "supported form has that quantiser before k-WTA")
    refused(lambda: drop_repeats(chain(GRID, quantiser(), WINNERS, quantiser(scale=0.25))), message)
    refused(lambda: drop_repeats(chain(GRID, quantiser(), WINNERS, quantiser(0, 100))), message)
    refused(lambda: drop_repeats(chain(GRID, RELU, WINNERS, quantiser())), message)


def test_fold_scales():
    """One positive scale between a quantiser and a layer belongs to its weights; what is added, to its bias."""
    before = chain(GRID, quantiser(), affine([2, 2], [0, 0]), affine([1, 1], [3, 4]), replace(GRID, name="h"))
    after = check_chain(fold_scales(before))
    assert kinds(after) == ["FloatLayer", "Quantiser", "FloatLayer"]
    last = after.items[-1]
    assert_array_equal(last.codes, GRID.codes)
    assert_array_equal(last.scale, [1, 1])
    assert_array_equal(last.weights, last.codes)
    x = np.arange(-20, 20).reshape(-1, 2).astype(float)
    assert_array_equal(run(after, x), run(before, x))
    assert kinds(fold_scales(chain(affine([2, 2], [0, 0]), affine([1, 1], [1, 1]), GRID, quantiser()))) == [
        "Affine", "FloatLayer", "Quantiser"]
    nearest = "the nearest supported form puts a quantiser behind it"
    for scale in ([1, 2], [-1, -1]):
        refused(lambda scale=scale: fold_scales(chain(GRID, quantiser(), affine(scale, [0, 0]), GRID)),
                f"node 'a' (Mul) must have one positive scale before the quantised weights of 'g'; {nearest}")


def test_check_grids():
    good = chain(GRID, RELU, quantiser(-128, 127), WINNERS)
    assert check_grids(good) is good
    relu = "must have a Relu or an unsigned quantiser before it: k-WTA ranks codes that are not negative"
    refused(lambda: check_grids(chain(GRID, quantiser(-128, 127), WINNERS)), f"node 'k' (TopK) {relu}")
    refused(lambda: check_grids(chain(GRID, quantiser(), affine([1, 1], [-1, 0]), WINNERS)), f"node 'k' (TopK) {relu}")
    refused(lambda: check_grids(chain(L, quantiser())),
            "node 'l' (Gemm) must have quantised weights, since what is computed is quantised; the nearest supported "
            "form has a quantiser on its weights, or none anywhere")
    conv = replace(CONV, codes=np.ones((2, 4), int), scale=np.ones(2), weights=np.ones((2, 4)))
    refused(lambda: check_grids(chain(conv, quantiser(), WINNERS, POOL)), "node 'p' (MaxPool) must stand before k-WTA")


def test_to_layers_quantised():
    """Steps keep the order of the file, affine ones with one number a kernel."""
    conv = replace(CONV, codes=np.ones((2, 4), int), scale=np.ones(2), weights=np.ones((2, 4)))
    steps = (quantiser(-128, 127), affine(np.repeat([1, 2], 16), np.repeat([0, 1], 16)), POOL, RELU, quantiser())
    (layer,) = to_layers(chain(conv, *steps), quantised=True)
    assert [type(step).__name__ for step in layer.steps] == ["Quantiser", "Affine", "MaxPool", "Clip", "Quantiser"]
    assert_array_equal(layer.steps[1].scale, [1, 2])
    refused(lambda: to_layers(chain(conv, affine(np.arange(32), np.zeros(32))), quantised=True),
            "node 'a' (Mul) must have one number a kernel of 'c', not one that varies over the pixels")
