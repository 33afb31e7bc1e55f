"""A grid of small convolution networks: what its points are made of, and each point as an ONNX file.

All numbers in the files are small integers times powers of two, so that ONNX Runtime in float32, the float model in
float64, the golden model and the hardware must agree in every bit.
"""

import math
import random
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np
from builders import make_mask
from graphs import node
from intake import make_model
from onnx import ModelProto

from dovetail.hw.arch import EngineKind, Mode
from dovetail.sw.settings import LayerSettings, Settings
from dovetail.sw.window import Window

__all__ = ["AXES", "POINTS", "Conv", "Point", "file_of", "inputs_of", "pairs_of", "possible_pairs", "random_point",
           "settings_of"]

ALL, SOME, ONLY = Mode.DENSE, Mode.SPARSE_DENSE, Mode.SPARSE_SPARSE
# Kernel, strides and pads of pools.
HALVES, OVERLAPPING, SKEW = (((2, 2), (2, 2), (0, 0, 0, 0)), ((3, 3), (2, 2), (0, 0, 0, 0)),
                             ((3, 2), (1, 2), (0, 1, 2, 0)))
HALF, OVERLAP = ((2,), (2,), (0, 0)), ((3,), (2,), (1, 1))
#: What a convolution has one of each; a signal's kernels, strides, pads and pools have one dimension. Lanes are taps
#: side by side.
AXES = {
    "channels": (1, 3, 10, 24),
    "kernel": ((1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (2, 3), (4,)),
    "strides": ((1, 1), (2, 2), (3, 3), (1, 3), (1,), (2,), (3,)),
    "pads": ((0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3), (3, 3, 3, 3), (0, 0), (2, 1), (0, 3)),
    "pool": (None, HALVES, OVERLAPPING, SKEW, HALF, OVERLAP),
    "lanes": ("one", "row", "all", "unrolled"),
    "mode": (ONLY, SOME, ALL),
}
MOST_TAPS = {"all": 9, "unrolled": 25}      # with more, a network is not small any more
MOST_ELEMENTS = 4_000   # of an image, and
MOST_PRODUCTS = 20_000  # multiplications of a convolution, that are drawn
INPUT_SCALE, WEIGHT_SCALE = 2.0**-4, 2.0**-3
LARGEST_WEIGHT = 7


@dataclass(frozen=True)
class Conv:
    """A convolution of ``channels``, and what is behind it: values of `AXES`.

    ``winners`` of its ``kernels`` stay behind a ReLU; where None, codes are signed and have a zero point instead.
    """

    channels: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    pool: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None
    lanes: str
    mode: Mode
    kernels: int
    winners: int | None

    def output_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Size of what leaves, pooled; ValueError where windows do not fit."""
        size = self.windows(size)
        if self.pool is not None:
            pool = _window(self.kernels, size, *self.pool)
            if not pool.covered:
                raise ValueError("pool must be covered")
            size = pool.output_size[-len(size):]
        return size

    def windows(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Windows along each axis."""
        return _window(self.channels, size, self.kernel, self.strides, self.pads).output_size[-len(size):]


@dataclass(frozen=True)
class Point:
    """A network of the grid.

    Members
    -------
    size : tuple of int
        Of the image or signal.
    convs : tuple of Conv
    zero : int
        Zero point of the input.
    average : bool
        Behind them is a global average.
    scores : int
        Of a fully connected layer at the end; where 0, the codes before it are the result.
    """

    size: tuple[int, ...]
    convs: tuple[Conv, ...]
    zero: int = 0
    average: bool = False
    scores: int = 3


def _window(channels: int, size: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...],
            pads: tuple[int, ...]) -> Window:
    """A signal is an image of height 1."""
    if len(size) == 1:
        size, kernel, strides, pads = (1, *size), (1, *kernel), (1, *strides), (0, pads[0], 0, pads[1])
    height, width = size
    return Window(channels=channels, height=height, width=width, kernel=kernel, strides=strides, pads=pads)


def _dimensions(values: dict[str, Any]) -> set[int]:
    """Numbers of dimensions that values of some axes have."""
    pool = values.get("pool")
    found = [values.get("kernel"), values.get("strides"), pool and pool[0], values.get("pads", ())[::2]]
    return {len(value) for value in found if value}


def _fits(values: dict[str, Any]) -> bool:
    """Whether a convolution can have these values, of some axes or of all."""
    lanes, taps = values.get("lanes"), math.prod(values.get("kernel", ()))
    if lanes == "unrolled" and (values.get("channels", 1) != 1 or values.get("mode", SOME) is not SOME):
        return False
    return len(_dimensions(values)) < 2 and taps <= MOST_TAPS.get(lanes, taps)


def possible_pairs() -> set[frozenset]:
    """Pairs of values of two axes that one convolution can have."""
    return {frozenset([(one, first), (other, second)]) for one, other in combinations(AXES, 2)
            for first, second in product(AXES[one], AXES[other]) if _fits({one: first, other: second})}


def pairs_of(point: Point) -> set[frozenset]:
    """Those that a network's convolutions have."""
    return {frozenset(pair) for conv in point.convs
            for pair in combinations([(axis, getattr(conv, axis)) for axis in AXES], 2)}


def _draw(rng: random.Random, dimensions: int, *, channels: int | None) -> Conv:
    """A convolution; the first one of a network where ``channels`` are not given."""
    while True:
        values = {axis: rng.choice(choices) for axis, choices in AXES.items()}
        values["channels"] = channels or values["channels"]
        if _dimensions(values) == {dimensions} and _fits(values) and not (channels and values["lanes"] == "unrolled"):
            break
    kernels = rng.choice(AXES["channels"])
    return Conv(**values, kernels=kernels, winners=rng.choice([None, rng.randint(1, min(kernels, 5))]))


def random_point(rng: random.Random) -> Point:
    """A network of one to three convolutions that ends in an image of at most 3 x 3, remainders included."""
    while True:
        dimensions = rng.choice([1, 2, 2, 2])
        convs = [_draw(rng, dimensions, channels=None)]
        for _ in range(rng.choice([0, 1, 1, 2])):
            convs.append(_draw(rng, dimensions, channels=convs[-1].kernels))
        size = tuple(rng.randint(1, 3) for _ in range(dimensions))
        for conv in reversed(convs):
            for kernel, strides, pads in filter(None, (conv.pool, (conv.kernel, conv.strides, conv.pads))):
                size = tuple(max(1, (count - 1) * stride + span - before - after + rng.randrange(stride))
                             for count, span, stride, before, after in zip(
                                 size, kernel, strides, pads[:dimensions], pads[dimensions:], strict=True))
        point = Point(size, tuple(convs), zero=rng.choice([0, 100]), scores=rng.choice([0, 3, 3]))
        try:
            pixels = _pixels(point)
        except ValueError:
            continue
        # An average of any other number of pixels is no multiple of a power of two.
        return replace(point, average=pixels in (2, 4, 8) and rng.random() < 0.5)


def _pixels(point: Point) -> int:
    """Pixels at the end; ValueError where a window does not fit, or there is too much to multiply."""
    size = point.size
    for conv in point.convs:
        products = math.prod(conv.windows(size)) * conv.channels * math.prod(conv.kernel) * conv.kernels
        if products > MOST_PRODUCTS or math.prod(size) * conv.channels > MOST_ELEMENTS:
            raise ValueError("network must be small")
        size = conv.output_size(size)
    return math.prod(size)


def _linear(rng: np.random.Generator, kernels: int, positions: int, *, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (M, L) and biases of a layer, half of them in complementary sets; no kernel is without weights."""
    mask = make_mask(rng, kernels, positions, density=0.4,
                     set_size=int(rng.integers(2, 5)) if rng.random() < 0.5 else None)
    mask[np.arange(kernels), rng.integers(0, positions, kernels)] = True
    weights = rng.integers(1, largest + 1, mask.shape) * rng.choice([-1, 1], mask.shape)
    return weights * mask, rng.integers(-40, 41, kernels)


def file_of(point: Point, *, quantised: bool) -> ModelProto:
    """The network as a file, in QDQ format or in floating point.

    In floating point its weights are -1, 0 and 1, so that sums of several layers stay small, and what has no k-WTA has
    a ReLU all the same.
    """
    rng = np.random.default_rng(1)
    constants: dict[str, np.ndarray] = {"zero": np.zeros(1, np.float32), "z0": np.int8(0)}
    nodes, value = [], "x"

    def quantiser(value: str, name: str, scale: float, zero: np.integer) -> str:
        constants.update({f"{name}_s": np.float32(scale), f"{name}_z": zero})
        nodes.extend([node("QuantizeLinear", f"{value} {name}_s {name}_z", f"{name}_q"),
                      node("DequantizeLinear", f"{name}_q {name}_s {name}_z", name)])
        return name

    def linear(op: str, name: str, shape: tuple[int, ...], scale: float, **attributes: object) -> float:
        """A layer; what its sums are worth, about."""
        weights, bias = _linear(rng, shape[0], math.prod(shape[1:]), largest=LARGEST_WEIGHT if quantised else 1)
        spread = float(np.sqrt((weights**2).sum(axis=1).max()))
        if quantised:
            constants.update({f"{name}_w": weights.reshape(shape).astype(np.int8), f"{name}_b": bias.astype(np.int32),
                              f"{name}_ws": np.float32(WEIGHT_SCALE), f"{name}_bs": np.float32(WEIGHT_SCALE * scale)})
            nodes.extend([node("DequantizeLinear", f"{name}_w {name}_ws z0", f"{name}_wd"),
                          node("DequantizeLinear", f"{name}_b {name}_bs", f"{name}_bd"),
                          node(op, f"{value} {name}_wd {name}_bd", name, **attributes)])
        else:
            constants.update({f"{name}_w": weights.reshape(shape).astype(np.float32),
                              f"{name}_b": bias.astype(np.float32)})
            nodes.append(node(op, f"{value} {name}_w {name}_b", name, **attributes))
        return spread * WEIGHT_SCALE

    size, scale = point.size, INPUT_SCALE
    if quantised:
        value = quantiser("x", "input", scale, np.uint8(point.zero))
    for number, conv in enumerate(point.convs):
        name = f"conv{number}"
        worth = linear("Conv", name, (conv.kernels, conv.channels, *conv.kernel), scale, strides=conv.strides,
                       pads=conv.pads) * 64 * scale
        value, size = name, conv.output_size(size)
        relu = conv.winners is not None or not quantised
        if relu:
            nodes.append(node("Relu", value, f"relu{number}"))
            value = f"relu{number}"
        if conv.pool is not None:
            kernel, strides, pads = conv.pool
            nodes.append(node("MaxPool", value, f"pool{number}", kernel_shape=kernel, strides=strides, pads=pads))
            value = f"pool{number}"
        if quantised:
            scale = 2.0 ** round(math.log2(worth / 64))
            value = quantiser(value, f"code{number}", scale, np.uint8(0) if relu else np.int8(-5))
        if conv.winners is not None:
            constants[f"k{number}"] = np.array([conv.winners])
            nodes += [node("TopK", f"{value} k{number}", f"best{number} where{number}", axis=1),
                      node("Mul", f"{value} zero", f"none{number}"),
                      node("ScatterElements", f"none{number} where{number} best{number}", f"kwta{number}", axis=1)]
            value = f"kwta{number}"
    if point.average:
        nodes.append(node("GlobalAveragePool", value, "average"))
        value, size = "average", (1,)
        if quantised:
            scale /= 2
            value = quantiser(value, "averages", scale, np.int8(3))
    if point.scores:
        nodes.append(node("Flatten", value, "flat"))
        value = "flat"
        linear("Gemm", "scores", (point.scores, point.convs[-1].kernels * math.prod(size)), scale, transB=1)
    return make_model(nodes, constants, input_shape=["n", point.convs[0].channels, *point.size])


def inputs_of(point: Point, *, quantised: bool, count: int = 3) -> np.ndarray:
    """Images of every density, one of them blank: float32 (count, channels, ...)."""
    rng = np.random.default_rng(2)
    shape = (count, point.convs[0].channels, *point.size)
    low, high = (-point.zero, 255 - point.zero) if quantised else (0, 3)
    codes = rng.integers(low, high + 1, shape) * (rng.random(shape) < rng.random((count, *[1] * (len(shape) - 1))))
    codes[1] = 0
    return (codes * (INPUT_SCALE if quantised else 1)).astype(np.float32)


def settings_of(point: Point) -> Settings:
    """How the network is built."""
    layers = {}
    for number, conv in enumerate(point.convs):
        if conv.lanes == "unrolled":
            layers[f"conv{number}_n"] = LayerSettings(engine=EngineKind.UNROLLED)
            continue
        row = conv.kernel[-1]
        lanes = {"one": 1, "row": row, "all": math.prod(conv.kernel)}[conv.lanes]
        layers[f"conv{number}_n"] = LayerSettings(engine=EngineKind.FOLDED, mode=conv.mode, lanes=lanes)
    return Settings(layers=layers)


#: A covering design: every pair of values that a convolution can have is in one of these networks (`possible_pairs`).
POINTS = (
    Point((8,), (
        Conv(1, (4,), (2,), (0, 3), None, "unrolled", SOME, 10, 2),
        Conv(10, (4,), (1,), (2, 1), None, "row", ALL, 24, None),
        Conv(24, (4,), (3,), (2, 1), HALF, "all", SOME, 2, None),
    )),
    Point((1, 8), (
        Conv(1, (3, 3), (1, 1), (3, 3, 3, 3), SKEW, "unrolled", SOME, 10, None),
        Conv(10, (2, 2), (1, 1), (2, 0, 1, 3), HALVES, "row", ONLY, 24, None),
        Conv(24, (1, 1), (3, 3), (1, 1, 1, 1), None, "row", ONLY, 2, 2),
    ), zero=100, average=True),
    Point((16, 20), (
        Conv(1, (2, 3), (2, 2), (2, 0, 1, 3), OVERLAPPING, "unrolled", SOME, 24, 3),
        Conv(24, (7, 7), (1, 3), (2, 0, 1, 3), SKEW, "row", SOME, 2, 1),
    ), scores=0),
    Point((20,), (
        Conv(1, (4,), (3,), (2, 1), OVERLAP, "unrolled", SOME, 3, None),
        Conv(3, (4,), (3,), (0, 3), HALF, "one", ONLY, 3, 2),
        Conv(3, (4,), (2,), (2, 1), None, "all", ALL, 4, 1),
    )),
    Point((4, 11), (
        Conv(10, (3, 3), (1, 3), (0, 0, 0, 0), SKEW, "all", ALL, 3, None),
        Conv(3, (2, 2), (1, 1), (1, 1, 1, 1), OVERLAPPING, "all", ALL, 24, None),
        Conv(24, (2, 2), (2, 2), (2, 0, 1, 3), None, "all", ONLY, 4, None),
    ), zero=100, average=True),
    Point((4,), (
        Conv(3, (4,), (1,), (0, 0), OVERLAP, "one", ONLY, 1, 1),
        Conv(1, (4,), (2,), (2, 1), OVERLAP, "one", ONLY, 10, None),
        Conv(10, (4,), (3,), (0, 3), OVERLAP, "row", SOME, 3, 2),
    )),
    Point((140,), (
        Conv(1, (4,), (3,), (0, 3), OVERLAP, "all", ALL, 24, None),
        Conv(24, (4,), (2,), (0, 0), OVERLAP, "all", SOME, 10, 3),
        Conv(10, (4,), (2,), (0, 0), HALF, "row", ALL, 4, 1),
    ), scores=0),
    Point((3, 14), (
        Conv(1, (7, 7), (1, 3), (3, 3, 3, 3), OVERLAPPING, "row", ONLY, 3, None),
        Conv(3, (1, 1), (3, 3), (3, 3, 3, 3), HALVES, "all", ALL, 24, 4),
        Conv(24, (7, 7), (1, 1), (3, 3, 3, 3), SKEW, "one", ALL, 3, 3),
    ), zero=100),
    Point((5,), (
        Conv(1, (4,), (1,), (0, 0), HALF, "unrolled", SOME, 24, 3),
        Conv(24, (4,), (1,), (0, 3), OVERLAP, "all", SOME, 4, 1),
    )),
    Point((5, 19), (
        Conv(3, (5, 5), (3, 3), (0, 0, 0, 0), None, "row", ONLY, 24, None),
        Conv(24, (2, 3), (1, 1), (1, 1, 1, 1), SKEW, "row", ONLY, 10, None),
        Conv(10, (1, 1), (1, 3), (1, 1, 1, 1), None, "one", ONLY, 4, None),
    ), average=True),
    Point((4, 8), (
        Conv(24, (2, 2), (1, 3), (0, 0, 0, 0), OVERLAPPING, "one", ALL, 3, 3),
    ), zero=100, scores=0),
    Point((3, 3), (
        Conv(3, (2, 3), (2, 2), (0, 0, 0, 0), SKEW, "row", ALL, 3, None),
        Conv(3, (7, 7), (2, 2), (3, 3, 3, 3), None, "one", SOME, 3, 1),
        Conv(3, (1, 1), (2, 2), (2, 0, 1, 3), SKEW, "row", SOME, 4, 2),
    ), average=True),
    Point((5, 5), (
        Conv(10, (7, 7), (3, 3), (1, 1, 1, 1), SKEW, "row", SOME, 24, None),
        Conv(24, (5, 5), (1, 1), (3, 3, 3, 3), SKEW, "row", SOME, 2, 1),
    )),
    Point((3, 11), (
        Conv(3, (2, 3), (1, 3), (2, 0, 1, 3), None, "all", ALL, 3, None),
        Conv(3, (3, 3), (2, 2), (1, 1, 1, 1), HALVES, "one", ONLY, 10, None),
        Conv(10, (2, 3), (3, 3), (3, 3, 3, 3), HALVES, "one", SOME, 4, None),
    ), zero=100),
    Point((4, 6), (
        Conv(1, (5, 5), (1, 3), (1, 1, 1, 1), HALVES, "unrolled", SOME, 2, None),
    ), scores=0),
    Point((6, 6), (
        Conv(10, (5, 5), (2, 2), (2, 0, 1, 3), OVERLAPPING, "one", ALL, 2, 1),
    )),
    Point((4,), (
        Conv(1, (4,), (3,), (0, 0), None, "unrolled", SOME, 3, None),
    ), zero=100),
    Point((20, 43), (
        Conv(1, (2, 2), (3, 3), (3, 3, 3, 3), SKEW, "unrolled", SOME, 1, None),
        Conv(1, (3, 3), (1, 1), (0, 0, 0, 0), None, "one", SOME, 24, None),
        Conv(24, (3, 3), (3, 3), (2, 0, 1, 3), OVERLAPPING, "row", ONLY, 4, None),
    )),
    Point((21, 22), (
        Conv(1, (1, 1), (1, 1), (0, 0, 0, 0), OVERLAPPING, "unrolled", SOME, 24, None),
        Conv(24, (7, 7), (3, 3), (0, 0, 0, 0), HALVES, "row", ONLY, 3, 2),
    ), scores=0),
)
