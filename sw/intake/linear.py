"""Nodes that multiply by weights: Gemm, MatMul, Conv, and averages, which are linear layers too."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..model import Affine, FloatLayer
from ..window import Window
from .chain import check_finite
from .graph import Node, Tensor, trouble
from .spatial import dilations, image_shape, make_window, spatial_shape
from .walk import Scope, Value, spread

__all__ = ["MAX_EXPANDED", "MAX_KERNELS", "AVERAGES", "average_pool", "conv", "gemm", "global_average", "matmul"]

MAX_KERNELS = 65_536
MAX_WEIGHTS = 2**26    # of one layer
MAX_EXPANDED = 2**24   # of one that a few numbers of the file stand for: grouped or dilated convolutions, averages

AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
"""Operators whose layers are averages."""

Arrange = Callable[[np.ndarray], np.ndarray]


def _layer(
    node: Node, weights: Tensor, arrange: Arrange, *, bias: np.ndarray | None = None, factor: float = 1.0,
    window: Window | None = None,
) -> FloatLayer:
    """Make the layer of a node whose weights ``arrange`` turns into (M, L)."""
    with np.errstate(over="ignore", invalid="ignore"):   # what is not finite is found below, with its name
        values = arrange(weights.values.astype(np.float64)) * factor
    codes = scale = None
    if weights.codes is not None and weights.scale is not None:
        codes, scales = arrange(weights.codes), arrange(weights.scale) * factor
        scale = scales.max(axis=1)
        # Where a convolution is spread out, what is outside the group or between the taps has no scale.
        if ((scales != scale[:, np.newaxis]) & (scales != 0)).any():
            raise trouble(node, "must have weights with one scale a kernel; the nearest supported form quantises them "
                                "per tensor or along the axis of the kernels")
        if not (scale > 0).all():
            raise trouble(node, "must have weights with a positive scale")
        with np.errstate(over="ignore", invalid="ignore"):
            values = codes * scale[:, np.newaxis]
    bias = np.zeros(len(values)) if bias is None else bias
    check_finite(node.name, node.op, weights=values, bias=bias)
    return FloatLayer(name=node.name, op=node.op, weights=values, bias=bias, codes=codes, scale=scale, window=window)


def _check_size(node: Node, kernels: int, positions: int, limit: int) -> None:
    if max(kernels, positions) > MAX_KERNELS:
        raise trouble(node, f"must have at most {MAX_KERNELS} kernels and positions, not {(kernels, positions)!r}")
    if kernels * positions > limit:
        raise trouble(node, f"must have at most {limit} weights, zeros between groups and taps included, "
                            f"not {kernels * positions}")


def _matrix(scope: Scope, node: Node, value: Value, *, transposed: bool) -> Tensor:
    """Weights of a Gemm or MatMul, as (L, M) or (M, L) transposed."""
    weights = scope.given(node, 1)
    if weights.values.ndim != 2:
        raise trouble(node, f"must have weights of two dimensions, not of shape {weights.values.shape!r}")
    kernels, positions = weights.values.shape if transposed else weights.values.shape[::-1]
    if positions != value.shape[-1]:
        raise trouble(node, f"must have {value.shape[-1]} positions, not {positions}")
    _check_size(node, kernels, positions, MAX_WEIGHTS)
    if value.order is None:
        return weights
    places = np.argsort(value.order[1])   # of the elements in the file's order
    codes, scale = (None if array is None else array.take(places, axis=1 if transposed else 0)
                    for array in (weights.codes, weights.scale))
    return Tensor(values=weights.values.take(places, axis=1 if transposed else 0), codes=codes, scale=scale)


def gemm(scope: Scope, node: Node, value: Value) -> Value:
    """``alpha * x @ W + beta * c`` with W perhaps transposed."""
    if scope.tensor(node, 0) is not None or node.integer("transA", 0):
        raise trouble(node, "must have the computed value, not transposed, as its first input")
    if len(value.shape) != 1:
        raise trouble(node, f"must take a flat vector, not the shape {value.shape!r}; put a Flatten with axis 1 before "
                            "it")
    transposed = bool(node.integer("transB", 0))
    weights = _matrix(scope, node, value, transposed=transposed)
    kernels = weights.values.shape[0 if transposed else 1]
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = spread(node, scope.numbers(node, 2), (kernels,)) * node.real("beta", 1.0)
    layer = _layer(node, weights, (lambda array: array) if transposed else np.transpose, bias=bias,
                   factor=node.real("alpha", 1.0))
    return replace(value, order=None).then(layer, shape=(kernels,))


def matmul(scope: Scope, node: Node, value: Value) -> Value:
    """``x @ W`` for a vector, perhaps with axes of size 1 before it."""
    if scope.tensor(node, 0) is not None:
        raise trouble(node, "must have the computed value as its first input")
    if math.prod(value.shape[:-1]) != 1:
        raise trouble(node, f"must take a flat vector, not the shape {value.shape!r}; put a Flatten with axis 1 before "
                            "it")
    layer = _layer(node, _matrix(scope, node, value, transposed=False), np.transpose)
    return replace(value, order=None).then(layer, shape=(*value.shape[:-1], layer.kernels))


def conv(scope: Scope, node: Node, value: Value) -> Value:
    """Convolution over one or two axes; a grouped or dilated one has zeros between its groups, and between its taps."""
    if scope.tensor(node, 0) is not None:
        raise trouble(node, "must have the computed value as its first input")
    weights = scope.given(node, 1)
    channels, *_ = spatial_shape(node, value)
    kernels, per_group, *kernel = weights.values.shape if weights.values.ndim > 2 else (0, 0)
    groups = node.integer("group", 1)
    if not kernel or groups < 1 or per_group * groups != channels or kernels % groups:
        raise trouble(node, f"must have weights (kernels, {channels} channels / groups, height, width), not of shape "
                            f"{weights.values.shape!r} in {groups} groups")
    window, _ = make_window(node, value, kernel=kernel)
    apart = dilations(node, len(kernel))
    limit = MAX_WEIGHTS if groups == 1 and max(apart) == 1 else MAX_EXPANDED
    _check_size(node, kernels, window.positions, limit)

    def arrange(array: np.ndarray) -> np.ndarray:
        rows = np.zeros((groups, kernels // groups, groups, per_group, *window.kernel[-len(kernel):]), array.dtype)
        taps = tuple(slice(None, None, step) for step in apart)
        for group, mine in enumerate(array.reshape(groups, kernels // groups, per_group, *kernel)):
            rows[group, :, group, :, *taps] = mine
        return rows.reshape(kernels, window.positions)

    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = scope.numbers(node, 2)
        if bias.shape != (kernels,):
            raise trouble(node, f"must have {kernels} biases, not of shape {bias.shape!r}")
    layer = _layer(node, weights, arrange, bias=bias, window=window)
    return replace(value, padded=None).then(layer, shape=image_shape(value, kernels, window))


def _average(node: Node, channels: int, elements: int, window: Window | None) -> tuple[FloatLayer, Affine]:
    """Average of ``elements`` of every channel: a sum, all weights being 1, and what divides it."""
    _check_size(node, channels, channels * elements, MAX_EXPANDED)
    codes = np.kron(np.eye(channels, dtype=np.int64), np.ones((1, elements), np.int64))
    total = FloatLayer(name=node.name, op=node.op, weights=codes, bias=np.zeros(channels), codes=codes,
                       scale=np.ones(channels), window=window)
    size = math.prod(total.output_shape)
    return total, Affine(name=node.name, op=node.op, scale=np.ones(size), offset=np.zeros(size),
                         divisor=np.full(size, float(elements)))


def average_pool(scope: Scope, node: Node, value: Value) -> Value:
    """AveragePool, as a convolution of every channel with equal weights."""
    window, pads = make_window(node, value)
    if pads and not (node.integer("count_include_pad", 0) and not node.integer("ceil_mode", 0)):
        raise trouble(node, "must count what it pads, and not pad for ceil_mode: the nearest supported form has "
                            "count_include_pad 1 and ceil_mode 0, or no pads")
    steps = _average(node, window.channels, math.prod(window.kernel), window)
    return replace(value, padded=None).then(*steps, shape=image_shape(value, window.channels, window))


def global_average(scope: Scope, node: Node, value: Value) -> Value:
    """GlobalAveragePool, or ReduceMean over all axes behind the channels."""
    shape, rank = value.shape, len(value.shape) + 1
    if rank < 3:
        raise trouble(node, f"must take an image or a signal, not the shape {shape!r}")
    kept = True
    if node.op == "ReduceMean":
        axes = scope.integers(node, "axes", 1)
        found = None if axes is None else sorted(axis + rank if axis < 0 else axis for axis in axes)
        if found != list(range(2, rank)):
            raise trouble(node, f"must have axes {list(range(2, rank))!r}, all behind the channels, not {axes!r}")
        kept = bool(node.integer("keepdims", 1))
    steps = _average(node, shape[0], math.prod(shape[1:]), None)
    return value.then(*steps, shape=(shape[0], *[1] * (rank - 2)) if kept else shape[:1])
