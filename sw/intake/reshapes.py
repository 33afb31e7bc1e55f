"""Nodes that give the elements of a value another shape. None moves an element: who needs another order, undoes it."""

import math
from dataclasses import replace

import numpy as np

from .graph import Node, trouble
from .walk import Scope, Value, not_undone

__all__ = ["flatten", "reshape", "squeeze", "transpose", "unsqueeze"]

_FLATTEN = "the nearest supported form is Flatten with axis 1"


def _reshaped(value: Value, shape: tuple[int, ...]) -> Value:
    """Value of another shape; where it is flat, a Transpose before it may wait for the next Gemm."""
    waiting = value.moved or value.order
    if waiting is None:
        return replace(value, shape=shape)
    if len(shape) != 1:
        raise not_undone(waiting[0])
    if value.moved is None:
        return value
    node, axes = value.moved
    elements = np.arange(math.prod(shape)).reshape(_before(axes, value.shape)[1:])
    order = elements.transpose([axis - 1 for axis in axes[1:]]).reshape(-1)
    return replace(value, shape=shape, moved=None, order=(node, order))


def _before(axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes, with a batch of 1, before a transposition that has left this shape."""
    sizes = [0] * len(axes)
    for place, axis in enumerate(axes):
        sizes[axis] = (1, *shape)[place]
    return tuple(sizes)


def flatten(scope: Scope, node: Node, value: Value) -> Value:
    """Flatten behind the batch."""
    if node.integer("axis", 1) not in (1, -len(value.shape)):
        raise trouble(node, f"must have axis 1, not {node.integer('axis', 1)!r}")
    return _reshaped(value, (math.prod(value.shape),))


def reshape(scope: Scope, node: Node, value: Value) -> Value:
    """Any shape that leaves the batch alone."""
    sizes = scope.integers(node, "shape", 1)
    if sizes is None:
        raise trouble(node, f"must have a constant shape; {_FLATTEN}")
    shape, total = value.shape, math.prod(value.shape)
    batch, rest = (sizes[0], sizes[1:]) if sizes else (-1, [])
    kept = scope.batch is not None and batch == scope.batch
    if not node.integer("allowzero", 0):   # a zero then stands for the size before
        kept = kept or batch == 0
        rest = [shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(rest)]
    if kept and rest.count(-1) == 1:
        known = -math.prod(rest)
        rest[rest.index(-1)] = total // known if known > 0 else 0
    if not (kept or batch == -1) or math.prod(rest) != total or min(rest, default=0) < 1:
        raise trouble(node, f"must keep the batch, not turn {('batch', *shape)!r} into {sizes!r}; {_FLATTEN}")
    return _reshaped(value, tuple(rest))


def _axes(node: Node, axes: list[int], rank: int) -> list[int]:
    """Axes counted from the front, all different and none of them the batch."""
    found = sorted(axis + rank if axis < 0 else axis for axis in axes)
    if len(set(found)) != len(found) or not all(1 <= axis < rank for axis in found):
        raise trouble(node, f"must have axes of 1 to {rank - 1} that leave the batch alone, not {axes!r}; {_FLATTEN}")
    return found


def squeeze(scope: Scope, node: Node, value: Value) -> Value:
    """Leave out axes of size 1."""
    axes = scope.integers(node, "axes", 1)
    if axes is None:
        raise trouble(node, f"must name its axes, since without them a batch of 1 vanishes too; {_FLATTEN}")
    found = _axes(node, axes, len(value.shape) + 1)
    if any(value.shape[axis - 1] != 1 for axis in found):
        raise trouble(node, f"must leave out axes of size 1, not {axes!r} of {('batch', *value.shape)!r}; {_FLATTEN}")
    shape = tuple(size for axis, size in enumerate(value.shape, 1) if axis not in found)
    if not shape:
        raise trouble(node, f"must leave one axis beside the batch; {_FLATTEN}")
    return replace(value, shape=shape)


def unsqueeze(scope: Scope, node: Node, value: Value) -> Value:
    """Put axes of size 1 in."""
    axes = scope.integers(node, "axes", 1)
    if axes is None:
        raise trouble(node, "must have constant axes of integers")
    shape = list(value.shape)
    for axis in _axes(node, axes, len(shape) + 1 + len(axes)):
        shape.insert(axis - 1, 1)
    return replace(value, shape=tuple(shape))


def _renames(perm: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    """Whether a transposition leaves the elements in their order: only axes of size 1 move past others."""
    order = [axis for axis in perm if axis == 0 or sizes[axis] != 1]
    return order == sorted(order)


def transpose(scope: Scope, node: Node, value: Value) -> Value:
    """Only what renames axes, or undoes the Transpose before it."""
    rank = len(value.shape) + 1
    perm = node.attributes.get("perm")
    axes = tuple(int(axis) for axis in perm) if isinstance(perm, list) else tuple(reversed(range(rank)))
    if sorted(axes) != list(range(rank)):
        raise trouble(node, f"must have a perm of {rank} axes, not {perm!r}")
    if axes[0] != 0:
        raise trouble(node, "must leave the batch first: the nearest supported form transposes nothing computed")
    shape = tuple(value.shape[axis - 1] for axis in axes[1:])
    if value.moved is not None:
        first, before = value.moved
        axes, node = tuple(before[axis] for axis in axes), first
        sizes = _before(before, value.shape)
    else:
        sizes = (1, *value.shape)
    moved = None if _renames(axes, sizes) else (node, axes)
    return replace(value, shape=shape, moved=moved)
