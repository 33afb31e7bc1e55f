"""Records become plain values and come back, whatever they are made of."""

import json
import math
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum

import numpy as np
import pytest

from dovetail.hw.arch import Mode, NetworkArch, ScaleArch, ThresholdArch
from dovetail.sw.model import (
    Affine,
    Clip,
    FloatLayer,
    FloatModel,
    Head,
    MaxPool,
    Quantiser,
    Rounding,
    Winners,
)
from dovetail.sw.network import Exactness, Layer, Network, Scale, Thresholds
from dovetail.sw.packer import Packing, pack
from dovetail.sw.records import from_plain, to_plain
from dovetail.sw.window import Window


def same(one, other):
    """Equal to the last bit and kind: records are compared member by member, since they themselves do not."""
    assert type(one) is type(other)
    if is_dataclass(one):
        for entry in fields(one):
            same(getattr(one, entry.name), getattr(other, entry.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for mine, others in zip(one, other, strict=True):
            same(mine, others)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def there_and_back(value, kind=None):
    arrays = {}
    text = json.dumps(to_plain(value, arrays, "value"), allow_nan=False)
    back = from_plain(kind or type(value), json.loads(text), arrays)
    same(back, value)
    return arrays


WINDOW = Window(channels=2, height=3, width=4, kernel=(2, 2), pads=(0, 1, 0, 0))
STEPS = (
    Affine(name="bn", op="BatchNormalization", scale=np.array([1.5, -2.0]), offset=np.array([0.1, 0.2])),
    Clip(name="relu", op="Relu", low=0.0, high=math.inf),
    Clip(name="clip", op="Clip", low=-math.inf, high=6.0),
    Quantiser(name="q", op="Quant", scale=0.1, zero=3, low=-3, high=12, rounding=Rounding.FLOOR),
    MaxPool(name="pool", op="MaxPool", window=Window(channels=2, height=2, width=4, kernel=(2, 2), strides=(2, 2))),
    Winners(name="kwta", op="TopK", winners=1),
)


def test_float_model():
    first = FloatLayer(name="conv", op="Conv", weights=np.ones((2, 8)), bias=np.array([0.5, -1 / 3]), window=WINDOW,
                       codes=np.ones((2, 8), np.int64), scale=np.ones(2), steps=STEPS)
    last = FloatLayer(name="fc", op="Gemm", weights=np.full((3, 4), 0.25), bias=np.zeros(3))
    model = FloatModel(
        name="m", input_shape=(2, 3, 4), input_gain=1 / 255, input_offset=-0.5, layers=(first, last), sha256="ab",
        input_quantiser=Quantiser(name="q", op="QuantizeLinear", scale=0.5, low=-8, high=7), head=Head.ARGMAX)
    arrays = there_and_back(model)
    assert set(arrays) == {"value.layers.0.weights", "value.layers.0.bias", "value.layers.0.codes",
                           "value.layers.0.scale", "value.layers.0.steps.0.scale", "value.layers.0.steps.0.offset",
                           "value.layers.0.steps.0.divisor",
                           "value.layers.1.weights", "value.layers.1.bias"}


def test_network():
    first = Layer(
        name="a", op="Conv", weights=np.ones((2, 8), np.int64), mask=np.ones((2, 8), bool), weight_bits=4,
        bias=np.array([1, -9]), input_range=(-81, 174), window=WINDOW, exactness=Exactness.NEAREST, winners=1,
        stages=(Scale(multiplier=None, offset=2, shift=2, low=-8, high=7, ties_to_even=True),
                Scale(multiplier=np.array([3, -4]), offset=np.array([1, 2]), shift=1, low=-8, high=7),
                Thresholds(values=np.array([[1, 2], [0, 0]]), low=0)),
        output_scale=np.array([0.1, 0.2]), origin=np.array([0, 5]))
    last = Layer(name="b", weights=np.ones((1, 16), np.int64), mask=np.ones((1, 16), bool), weight_bits=2,
                 bias=np.zeros(1, np.int64), input_range=(0, 2), output_scale=0.1, output_offset=np.array([-3.5]))
    network = Network(name="n", input_shape=(2, 3, 4), input_range=(-81, 174), input_scale=0.5, input_origin=-2.0,
                      layers=(first, last), sha256="cd")
    there_and_back(network)


def test_packing():
    there_and_back(pack(np.random.default_rng(0).random((12, 9)) < 0.3, banks=2), Packing)


def test_stages_of_hardware():
    stages = (ScaleArch(multiplier_bits=3, shift=1, low=0, high=7), ThresholdArch(count=3, low=-1, step=2))
    there_and_back(stages, tuple[ScaleArch | ThresholdArch, ...])


@dataclass(frozen=True)
class Point:
    x: int
    y: float


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(("kind", "value"), [
    (int, 3), (bool, True), (float, 0.1), (float, math.inf), (float, -math.inf), (str, "inf"), (Colour, Colour.RED),
    (int | None, None), (int | None, 5), (float | np.ndarray, 2.5), (float | np.ndarray, np.array([1.0])),
    (int | np.ndarray, -7), (tuple[int, int], (1, 2)), (tuple[int, ...], ()), (tuple[int, ...], (1, 2, 3)),
    (tuple[tuple[int, str], ...], ((1, "a"), (2, "b"))), (Point, Point(1, 2.0)), (Point | None, Point(1, math.inf)),
])
def test_kinds(kind, value):
    there_and_back(value, kind)


def test_whole_numbers_for_floats():
    """What another program wrote without a point."""
    assert from_plain(Point, {"x": 1, "y": 2}) == Point(1, 2.0)


@pytest.mark.parametrize(("kind", "value"), [
    (int, 1.0), (int, True), (int, "1"), (int, None), (float, "nan"), (float, True), (float, []), (str, 1), (bool, 1),
    (Colour, "blue"), (Colour, 3), (Colour, []), (int | None, "x"), (tuple[int, ...], 3), (tuple[int, ...], ["a"]),
    (Point, 3), (Point, {"x": 1}), (Point, {"x": 1, "y": 2.0, "z": 3}), (Point, {"x": 1.5, "y": 2.0}),
    (Point | ScaleArch, {"x": 1}), (np.ndarray, [1, 2]), (np.ndarray, {"array": "a", "b": 1}), (NetworkArch, []),
    (Mode, None),
])
def test_kinds_wrong(kind, value):
    with pytest.raises(TypeError, match=r"^value must be of type "):
        from_plain(kind, value, {})


def test_length_wrong():
    with pytest.raises(ValueError, match=r"argument 2 is"):
        from_plain(tuple[int, int], [1, 2, 3])


def test_array_missing():
    with pytest.raises(KeyError, match="'b'"):
        from_plain(np.ndarray, {"array": "b"}, {"a": np.zeros(1)})


@pytest.mark.parametrize(("value", "shown"), [(np.zeros(1), r"array\(\[0\.\]\)"), (np.int64(3), r"np\.int64\(3\)"),
                                              ({1}, r"\{1\}")])
def test_without_plain_form(value, shown):
    with pytest.raises(TypeError, match=rf"^value must have a plain form, not {shown}$"):
        to_plain(value, name="value")
