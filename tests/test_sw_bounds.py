"""Between which numbers a computed value lies: never beyond, and as near as the weights allow."""

import math

import numpy as np
import pytest

from dovetail.sw.intake.bounds import bounds
from dovetail.sw.intake.walk import Value
from dovetail.sw.model import Affine, Clip, FloatLayer, Quantiser, Rounding, Winners
from dovetail.sw.window import Window

TAKEN = Quantiser(name="q", op="Quant", scale=0.5, low=-2, high=7)   # -1 to 3.5
RELU = Clip(name="r", op="Relu", low=0.0, high=math.inf)
TURN = Affine(name="a", op="Div", scale=np.array([-1.0, 3.0]), offset=np.array([1.0, 0.0]), divisor=2.0)
LAYER = FloatLayer(name="g", op="Gemm", weights=np.array([[1.0, -2.0], [0.0, 4.0]]), bias=np.array([0.5, 0.0]))
ONES = {"name": "c", "op": "Conv", "weights": np.full((1, 4), 1.0), "bias": np.zeros(1)}
IMAGE = Window(channels=1, height=2, width=2, kernel=(2, 2))
UNSIGNED = Quantiser(name="u", op="Quant", scale=1.0, low=3, high=9)


@pytest.mark.parametrize(("items", "found"), [
    ((), (-math.inf, math.inf)),
    ((RELU,), (0, math.inf)),
    ((LAYER,), (-math.inf, math.inf)),
    ((RELU, TURN), (-math.inf, math.inf)),
    ((TAKEN,), (-1, 3.5)),
    ((RELU, TAKEN), (0, 3.5)),
    ((TAKEN, RELU), (0, 3.5)),
    ((TAKEN, Clip(name="c", op="Clip", low=-0.25, high=2.0)), (-0.25, 2)),
    ((TAKEN, TURN), (-1.5, 5.25)),
    ((TAKEN, LAYER), (-7.5, 14)),
    ((TAKEN, RELU, LAYER), (-6.5, 14)),
    ((TAKEN, Quantiser(name="s", op="Quant", scale=2.0, low=-1, high=1, rounding=Rounding.SIGN)), (-2, 2)),
    ((UNSIGNED, Winners(name="k", op="TopK", winners=1)), (0, 9)),
    ((UNSIGNED, FloatLayer(**ONES, window=IMAGE)), (12, 36)),
    ((UNSIGNED, FloatLayer(**ONES, window=Window(
        channels=1, height=2, width=2, kernel=(2, 2), pads=(1, 1, 1, 1)))), (0, 36)),
])
def test_bounds(items, found):
    assert bounds(Value(shape=(2,), items=items)) == found


@pytest.mark.parametrize("seed", range(20))
def test_nothing_beyond(seed):
    """Every value of random layers, computed, lies between them."""
    rng = np.random.default_rng(seed)
    steps = [step for step in (
        Affine(name="a", op="Mul", scale=rng.normal(size=3), offset=rng.normal(size=3), divisor=rng.uniform(1, 3, 3)),
        RELU, Quantiser(name="s", op="Quant", scale=rng.uniform(0.1, 1), low=-9, high=5)) if rng.random() < 0.6]
    layer = FloatLayer(name="g", op="Gemm", weights=rng.normal(size=(3, 4)), bias=rng.normal(size=3))
    x = TAKEN.scale * TAKEN.codes(rng.normal(size=(500, 4)) * 3)
    values = FloatLayer(**{**vars(layer), "steps": tuple(steps)}).run(x)
    low, high = bounds(Value(shape=(3,), items=(TAKEN, layer, *steps)))
    assert low <= values.min() and values.max() <= high
