"""k-WTA as people write it, turned into one node.

=====================  =========================================================================================
values onto zeros      ``ScatterElements(zeros, indices, values)`` of a TopK
mask, scattered        ``ScatterElements(zeros, indices, ones)``, then ``Mul(x, mask)`` or ``Where(mask, x, 0)``
mask, one hot          ``ReduceSum(OneHot(indices))``, then the same
mask by threshold      ``x >= least``, the least of the values that TopK keeps, then the same; ties all stay
=====================  =========================================================================================

What changes nothing may stand in between: Identity, Cast, and the pairs of QuantizeLinear and DequantizeLinear that a
static quantiser puts around every node.
"""

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from onnx import TensorProto

from .graph import Graph, Node, Tensor, drop_unused, trouble

__all__ = ["recognise_winners"]

_FORM = "TopK (axis 1), whose values ScatterElements puts onto zeros"
_PARTS_OF_IT = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "OneHot", "ReduceMin", "ReduceSum",
                "ScatterElements", "TopK", "Where"}
_WIDE = (TensorProto.FLOAT, TensorProto.DOUBLE)
_CLOSE = 2.0**-20   # a one that has passed a quantiser of masks, whose scale is one 255th, rounded


class _What(Enum):
    """What a value is of the TopK it comes from."""

    VALUES = "the winners' values"
    INDICES = "their indices"
    LEAST = "the smallest of the values, along an axis of size 1"
    LEAST_FLAT = "the same without that axis"
    ONE_HOT = "a row of zeros with a one for each index"
    MASK = "one, or true, where there is a winner"
    NOT_MASK = "the opposite"


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A value that comes from a TopK.

    Members
    -------
    what : _What
    top : Node
    axes : tuple of (Node, int)
        What every node on the way takes for the axis of the kernels.
    ties : bool
        Whether all that equal the smallest winner are in it.
    """

    what: _What
    top: Node
    axes: tuple[tuple[Node, int], ...]
    ties: bool = False


def recognise_winners(graph: Graph) -> Graph:
    """Replace every form of k-WTA by one node ``KWinners``, and leave out what nobody needs.

    The node takes the input of the TopK and has its name, and attributes ``k``, ``ties`` where all ties stay (1), and
    ``axis`` where the file counts it from the end.

    Raises
    ------
    ModelError
        If a TopK, or what belongs to one, is left over or has a form that is no k-WTA.
    """
    facts = _Facts(graph)
    nodes = [facts.take(node) for node in graph.nodes]
    graph = drop_unused(replace(graph, nodes=tuple(nodes)))
    computed = {graph.input}   # what depends on the input, and not on its shape alone
    for node in graph.nodes:
        if node.op == "Shape" or computed.isdisjoint(node.inputs):
            continue
        computed.update(node.outputs)
        if node.op in _PARTS_OF_IT:
            raise trouble(node, f"is supported as part of k-WTA only; the nearest supported form is {_FORM}")
    return graph


class _Facts:
    """What is known of the values of a graph, node by node."""

    def __init__(self, graph: Graph):
        self.constants = graph.constants
        self.same: dict[str, object] = {}     # a key that two names share where their values are equal
        self.parts: dict[str, _Part] = {}
        self.quantised: dict[str, tuple[str, object]] = {}
        self.zeros: set[str] = set()
        self.ones: set[str] = set()
        for name, tensor in graph.constants.items():
            if tensor.values.dtype.kind in "fiub" and tensor.values.size:
                with np.errstate(invalid="ignore"):   # NaN is neither
                    zero, one = not tensor.values.any(), bool((tensor.values == 1).all())
                if zero:
                    self.zeros.add(name)
                elif one:
                    self.ones.add(name)

    def take(self, node: Node) -> Node:
        """Learn what a node makes; return the node, or the k-WTA that it completes."""
        first, output = (*node.inputs, "")[0], node.outputs[0]
        if self._zero(node):
            self.zeros.add(output)
        elif node.op in ("Cast", "Expand", "Identity", "Reshape", "Squeeze", "Unsqueeze") and first in self.ones:
            self.ones.add(output)
        elif node.op == "ConstantOfShape" and np.all(np.asarray(node.attributes.get("value", 0)) == 1):
            self.ones.add(output)
        match node.op:
            case "Identity":
                self._copy(first, output)
            case "Cast":
                self._copy(first, output, wide=node.integer("to", 0) in _WIDE)
            case "QuantizeLinear" | "DequantizeLinear":
                self._quantiser(node)
            case "TopK":
                self._top(node)
            case "ReduceMin" | "Slice" | "Gather" | "Squeeze" | "Unsqueeze":
                self._least(node)
            case "OneHot":
                self._one_hot(node)
            case "ReduceSum":
                self._sum(node)
            case "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual":
                self._compare(node)
            case "Not":
                part = self.parts.get(first)
                if part is not None and part.what in (_What.MASK, _What.NOT_MASK):
                    other = _What.NOT_MASK if part.what is _What.MASK else _What.MASK
                    self.parts[output] = replace(part, what=other)
            case "ScatterElements":
                return self._scatter(node)
            case "Mul" | "Where":
                return self._choose(node)
        return node

    def _key(self, name: str) -> object:
        return self.same.get(name, name)

    def _copy(self, first: str, output: str, *, wide: bool = True) -> None:
        part = self.parts.get(first)
        if wide:
            self.same[output] = self._key(first)
        if part is not None and (wide or part.what not in (_What.VALUES, _What.LEAST, _What.LEAST_FLAT)):
            self.parts[output] = part

    def _zero(self, node: Node) -> bool:
        """Whether the first output is zero whatever the input."""
        match node.op:
            case "Mul":
                return any(name in self.zeros for name in node.inputs)
            case "Sub":
                return self._key(node.inputs[0]) == self._key(node.inputs[1]) or self.zeros.issuperset(node.inputs)
            case ("Cast" | "Expand" | "Flatten" | "Identity" | "Relu" | "Reshape" | "Squeeze" | "Transpose"
                  | "Unsqueeze"):
                return node.inputs[0] in self.zeros
            case "ConstantOfShape":
                return not np.any(np.asarray(node.attributes.get("value", 0)))
            case "DequantizeLinear":   # of a QuantizeLinear with the same zero point: zero is always on the grid
                source, grid = self.quantised.get(node.inputs[0], ("", None))
                return source in self.zeros and grid is not None and grid == self._grid(node)
            case _:
                return False

    def _constant(self, node: Node, index: int) -> Tensor | None:
        return self.constants.get(node.inputs[index]) if index < len(node.inputs) else None

    def _one_integer(self, node: Node, index: int, name: str = "") -> int | None:
        """The only number of a constant, or of an attribute that older opsets have in its place."""
        tensor = self._constant(node, index)
        if tensor is None:
            value = node.attributes.get(name)
            return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], int) else None
        return int(tensor.values.item()) if tensor.values.size == 1 and tensor.values.dtype.kind in "iu" else None

    def _grid(self, node: Node) -> object:
        """Scale and zero point of a quantiser, as something that can be compared; None where they are not constant."""
        tensors = [self._constant(node, index) for index in range(1, len(node.inputs)) if node.inputs[index]]
        if not tensors or any(tensor is None for tensor in tensors):
            return None
        arrays = [tensor.values for tensor in tensors if tensor is not None]
        return node.integer("axis", 1), *((array.dtype.str, array.shape, array.tobytes()) for array in arrays)

    def _quantiser(self, node: Node) -> None:
        """See through a pair that changes nothing: on the grid that TopK's input is on, or of zeros and ones."""
        output, grid = node.outputs[0], self._grid(node)
        if node.op == "QuantizeLinear":
            self.quantised[output] = (node.inputs[0], grid)
            return
        source, before = self.quantised.get(node.inputs[0], ("", None))
        if grid is None or grid != before:
            return
        key, part = self._key(source), self.parts.get(source)
        self.same[output] = key if _is_on(key, grid) else (grid, key)
        scale = self._constant(node, 1)
        one = scale is not None and scale.values.size == 1 and _keeps_one(float(scale.values.item()))
        if source in self.ones and one:
            self.ones.add(output)
        if part is None:
            return
        if part.what in (_What.VALUES, _What.LEAST, _What.LEAST_FLAT):
            if _is_on(self._key(part.top.inputs[0]), grid):
                self.parts[output] = part
        elif one:
            self.parts[output] = part

    def _top(self, node: Node) -> None:
        part = self.parts.get(node.inputs[0])
        axis, k = node.integer("axis", -1), self._one_integer(node, 1)
        if node.integer("largest", 1) == 0 and k == 1 and part is not None and part.what is _What.VALUES:
            self.parts[node.outputs[0]] = replace(part, what=_What.LEAST, axes=(*part.axes, (node, axis)))
            return
        for name, what in zip(node.outputs, (_What.VALUES, _What.INDICES), strict=False):
            self.parts[name] = _Part(what=what, top=node, axes=((node, axis),))

    def _least(self, node: Node) -> None:
        """The smallest value that TopK keeps: the minimum, or the last of the sorted ones."""
        part = self.parts.get(node.inputs[0])
        if part is None:
            return
        k, axis, kept = self._one_integer(part.top, 1), None, True
        if node.op in ("Squeeze", "Unsqueeze"):
            before, after = _What.LEAST, _What.LEAST_FLAT
            if node.op == "Unsqueeze":
                before, after = after, before
            axis = self._one_integer(node, 1, "axes")
            if part.what is before and axis is not None:
                self.parts[node.outputs[0]] = replace(part, what=after, axes=(*part.axes, (node, axis)))
            return
        if part.what is not _What.VALUES or k is None:
            return
        last = part.top.integer("sorted", 1) == 1
        match node.op:
            case "ReduceMin":
                axis, kept, last = self._one_integer(node, 1, "axes"), bool(node.integer("keepdims", 1)), True
            case "Gather":
                index = self._constant(node, 1)
                axis, kept = node.integer("axis", 0), index is not None and index.values.ndim == 1
                last = last and self._one_integer(node, 1) in (-1, k - 1)
            case _:   # Slice
                start, end = self._one_integer(node, 1), self._one_integer(node, 2)
                axis = self._one_integer(node, 3)
                step = self._one_integer(node, 4) if len(node.inputs) > 4 and node.inputs[4] else 1
                last = last and start in (-1, k - 1) and end is not None and end >= k and step == 1
        if last and axis is not None:
            self.parts[node.outputs[0]] = replace(part, what=_What.LEAST if kept else _What.LEAST_FLAT,
                                                  axes=(*part.axes, (node, axis)))

    def _one_hot(self, node: Node) -> None:
        part, values = self.parts.get(node.inputs[0]), self._constant(node, 2)
        depth = self._one_integer(node, 1)
        if part is None or part.what is not _What.INDICES or values is None or values.values.tolist() != [0, 1]:
            return
        if depth is None or depth < 2:   # a depth of 1 would spread over all kernels
            raise trouble(node, "must have a constant depth: the number of kernels, at least 2")
        self.parts[node.outputs[0]] = replace(part, what=_What.ONE_HOT, axes=(
            *part.axes, (node, node.integer("axis", -1))))

    def _sum(self, node: Node) -> None:
        """The sum of one-hot rows over the winners, where it leaves the kernels on axis 1."""
        part, over = self.parts.get(node.inputs[0]), self._one_integer(node, 1, "axes")
        if part is None or part.what is not _What.ONE_HOT or node.integer("keepdims", 1):
            return
        *axes, (one_hot, axis) = part.axes
        match axis, over:
            case (1, 2) | (2, 1):
                found = 1
            case (-1, 1) | (-1, -2) | (1, -1):   # right for a vector with its batch, where -1 is 1
                found = -1
            case _:
                raise trouble(node, f"must sum over the winners, not over axis {over!r} of OneHot on axis {axis}")
        self.parts[node.outputs[0]] = replace(part, what=_What.MASK, axes=(*axes, (one_hot, found)))

    def _compare(self, node: Node) -> None:
        """``x >= least`` or its opposite, from either side."""
        opposite = {"GreaterOrEqual": "LessOrEqual", "LessOrEqual": "GreaterOrEqual", "Less": "Greater",
                    "Greater": "Less"}
        for op, x, least in ((node.op, *node.inputs), (opposite[node.op], *reversed(node.inputs))):
            part = self._smallest(least)
            what = {"GreaterOrEqual": _What.MASK, "Less": _What.NOT_MASK}.get(op)
            if part is not None and what is not None and self._key(x) == self._key(part.top.inputs[0]):
                self.parts[node.outputs[0]] = replace(part, what=what, ties=True)

    def _smallest(self, name: str) -> _Part | None:
        part = self.parts.get(name)
        if part is None or part.what is _What.LEAST:
            return part
        # The only winner is the smallest one.
        return part if part.what is _What.VALUES and self._one_integer(part.top, 1) == 1 else None

    def _scatter(self, node: Node) -> Node:
        onto, indices, values = node.inputs
        place, part = self.parts.get(indices), self.parts.get(values)
        if place is None or place.what is not _What.INDICES or not (
                values in self.ones or part is not None and part.what is _What.VALUES and part.top is place.top):
            raise trouble(node, "must put the values of one TopK, or ones, at its indices: the nearest supported form "
                                "is k-WTA")
        if onto not in self.zeros:
            raise trouble(node, "must put the values of TopK onto zeros")
        if node.attributes.get("reduction", "none") != "none":
            raise trouble(node, f"must have reduction 'none', not {node.attributes['reduction']!r}")
        place = replace(place, what=_What.MASK, axes=(*place.axes, (node, node.integer("axis", 0))))
        if part is not None:
            return self._winners(node, place)
        self.parts[node.outputs[0]] = place
        return node

    def _choose(self, node: Node) -> Node:
        """A mask that is multiplied with, or chosen by."""
        if node.op == "Mul":
            ways = [(_What.MASK, *node.inputs), (_What.MASK, *reversed(node.inputs))]
        else:
            condition, yes, no = node.inputs
            ways = [(_What.MASK, condition, yes)] if no in self.zeros else []
            ways += [(_What.NOT_MASK, condition, no)] if yes in self.zeros else []
        for what, mask, x in ways:
            part = self.parts.get(mask)
            if part is not None and part.what is what and self._key(x) == self._key(part.top.inputs[0]):
                return self._winners(node, part)
        return node

    def _winners(self, node: Node, part: _Part) -> Node:
        """The one node that stands for all of them."""
        top, k = part.top, self._one_integer(part.top, 1)
        if top.integer("largest", 1) != 1:
            raise trouble(top, "must have largest 1: winners are the largest values")
        if k is None:
            raise trouble(top, "must have a constant K of one integer")
        if k < 1:
            raise trouble(top, f"must have K of at least 1, not {k}")
        attributes: dict[str, object] = {"k": k}
        for place, axis in part.axes:
            if axis != 1 and (axis >= 0 or axis != attributes.get("axis", axis)):
                raise trouble(place, f"must have axis 1, along the kernels, not {axis}")
            if axis < 0:   # right where it counts back to 1, which the number of dimensions tells
                attributes["axis"] = axis
        if part.ties:
            attributes["ties"] = 1
        return Node(name=top.name, op="KWinners", inputs=top.inputs[:1], outputs=node.outputs[:1],
                    attributes=attributes)


def _is_on(key: object, grid: object) -> bool:
    """Whether a value with this key has just passed a quantiser of this grid."""
    return isinstance(key, tuple) and key[0] == grid


def _keeps_one(scale: float) -> bool:
    """Whether quantisation with this scale leaves a one as it is."""
    return 2.0**-16 < scale < 2 and abs(scale * round(1 / scale) - 1) < _CLOSE
