"""Constant folding: what depends on constants only is computed, and a quantised weight keeps its integers."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from . import codes
from .graph import Graph, Node, Tensor, trouble

__all__ = ["CASTS", "FOLDABLE", "MAX_ELEMENTS", "MAX_MADE", "evaluate", "fold_constants"]

MAX_ELEMENTS = 2**27   # of one constant; twice that for all that folding makes
# A small file must not ask for much memory or time:
MAX_GROWN = 2**22      # elements of a constant that is made of fewer
MAX_MADE = 2**24       # elements of all that folding makes, where that is more than `_TIMES` what the file holds
_TIMES = 16

CASTS: dict[int, type] = {
    TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16,
    TensorProto.BFLOAT16: np.float32, TensorProto.BOOL: np.bool_, TensorProto.INT8: np.int8,
    TensorProto.INT16: np.int16, TensorProto.INT32: np.int32, TensorProto.INT64: np.int64,
    TensorProto.UINT8: np.uint8, TensorProto.UINT16: np.uint16, TensorProto.UINT32: np.uint32,
    TensorProto.UINT64: np.uint64,
}
"""Types that Cast makes, by ONNX's number."""

_ARITHMETIC: dict[str, Callable[..., np.ndarray]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Sqrt": np.sqrt,
    "Neg": np.negative, "Max": lambda *arrays: functools.reduce(np.maximum, arrays),
    "Min": lambda *arrays: functools.reduce(np.minimum, arrays),
}
_COMPARISONS: dict[str, Callable[..., np.ndarray]] = {
    "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less, "LessOrEqual": np.less_equal,
    "Not": np.logical_not,
}
_MOVES = {"Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
_GRIDS: dict[str, Callable[..., Tensor]] = {
    "BipolarQuant": codes.bipolar, "DequantizeLinear": codes.dequantize, "IntQuant": codes.quant, "Quant": codes.quant,
    "QuantizeLinear": codes.quantize,
}
FOLDABLE = frozenset({*_ARITHMETIC, *_COMPARISONS, *_MOVES, *_GRIDS, "Cast", "Clip", "Concat", "ConstantOfShape",
                      "Shape", "Where"})
"""Operators that `evaluate` computes."""


def fold_constants(graph: Graph) -> Graph:
    """Compute every node whose inputs are all constants.

    Raises
    ------
    ModelError
        If one cannot be computed: shapes that do not fit, NaN or infinity from arithmetic, results beyond a limit.
    """
    constants, nodes, total = dict(graph.constants), [], 0
    held = sum(tensor.values.size for tensor in constants.values())
    most = min(2 * MAX_ELEMENTS, max(MAX_MADE, _TIMES * held))
    for node in graph.nodes:
        if node.op not in FOLDABLE or not all(name in constants for name in filter(None, node.inputs)):
            nodes.append(node)
            continue
        results = evaluate(node, [constants[name] if name else None for name in node.inputs])
        constants |= zip(node.outputs, results, strict=False)
        total += sum(result.values.size for result in results)
        if total > most:
            raise trouble(node, f"is one of many constants to compute, at most {most} elements together; the nearest "
                                "supported form has them as initializers")
    return replace(graph, nodes=tuple(nodes), constants=constants)


def evaluate(node: Node, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """Compute one node from constants.

    Numbers are computed in float64, integers in int64. Operators that only move elements move the integers and scales
    of a quantised constant along.

    Parameters
    ----------
    node : Node
        Its operator in `FOLDABLE`; of any opset from 9 on.
    inputs : sequence of Tensor or None
        None for one that is left out.

    Raises
    ------
    ModelError
        If it cannot be computed; names the node.
    """
    if node.op not in FOLDABLE:
        raise trouble(node, "is not computed from constants")
    given = [tensor for tensor in inputs if tensor is not None]
    if not inputs or inputs[0] is None:
        raise trouble(node, "must have a first input")
    try:
        with np.errstate(all="ignore"):   # what is not finite is found by name
            return [_evaluate(node, inputs, given)]
    except (ValueError, TypeError, IndexError, OverflowError, MemoryError) as error:
        shapes = ", ".join(str(tensor.values.shape) for tensor in given)
        raise trouble(node, f"does not fit its constants of shapes {shapes}") from error


def _evaluate(node: Node, inputs: Sequence[Tensor | None], given: Sequence[Tensor]) -> Tensor:
    arrays = [tensor.values for tensor in given]
    if node.op in _GRIDS:
        return _GRIDS[node.op](node, inputs)
    if node.op in _MOVES:
        move = _mover(node, [None if tensor is None else tensor.values for tensor in inputs])
        return _moved(given[0], move)
    if node.op in _ARITHMETIC:
        return Tensor(values=_arithmetic(node, arrays))
    if node.op in _COMPARISONS:
        _room(node, np.broadcast_shapes(*(array.shape for array in arrays)), arrays)
        return Tensor(values=_COMPARISONS[node.op](*arrays))
    match node.op:
        case "Cast":
            return _cast(node, given[0])
        case "Clip":
            return Tensor(values=_clip(node, inputs))
        case "Concat":
            return _concat(node, given)
        case "ConstantOfShape":
            value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32)))
            shape = tuple(_integers(arrays[0]))
            _room(node, shape, arrays)
            return Tensor(values=np.broadcast_to(value.reshape(()), shape))
        case "Shape":
            rank = arrays[0].ndim
            part = slice(node.integer("start", 0), node.integer("end", rank))
            return Tensor(values=np.array(arrays[0].shape[part], np.int64))
        case _:   # Where
            _room(node, np.broadcast_shapes(*(array.shape for array in arrays)), arrays)
            return Tensor(values=np.where(*arrays))


def _room(node: Node, shape: Sequence[int], arrays: Sequence[np.ndarray]) -> None:
    """Refuse a result that is too large, or much larger than what it is made of, before it is made."""
    if any(size < 0 for size in shape):
        raise ValueError(shape)
    most = min(MAX_ELEMENTS, max(MAX_GROWN, sum(array.size for array in arrays)))
    if math.prod(shape) > most:
        raise trouble(node, f"makes a constant of {math.prod(shape)} elements; at most {most} are computed; the "
                            "nearest supported form has it as an initializer")


def _integers(array: np.ndarray) -> list[int]:
    """A list of sizes, axes or indices."""
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(array.dtype)
    return array.reshape(-1).tolist()


def _arithmetic(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray:
    if any(array.dtype.kind not in "fiu" for array in arrays):
        raise TypeError(node.op)
    _room(node, np.broadcast_shapes(*(array.shape for array in arrays)), arrays)
    real = _ARITHMETIC[node.op](*(array.astype(np.float64) for array in arrays))
    if not np.isfinite(real).all():
        raise trouble(node, "computes NaN or infinity from its constants")
    if node.op == "Sqrt" or any(array.dtype.kind == "f" for array in arrays):
        return real
    if real.size and np.abs(real).max() >= 2.0**62:
        raise trouble(node, "computes integers of more than 62 bits from its constants")
    if node.op == "Div":   # ONNX divides integers towards zero
        first, second = (array.astype(np.int64) for array in arrays)
        return (np.abs(first) // np.abs(second)) * np.sign(first) * np.sign(second)
    return _ARITHMETIC[node.op](*(array.astype(np.int64) for array in arrays))


def _clip(node: Node, inputs: Sequence[Tensor | None]) -> np.ndarray:
    x, *bounds = inputs
    if x is None or x.values.dtype.kind not in "fiu":
        raise TypeError(node.op)
    result = x.values
    for index, (name, apply) in enumerate((("min", np.maximum), ("max", np.minimum))):
        bound = bounds[index] if index < len(bounds) else None
        if bound is not None:
            result = apply(result, bound.values.reshape(()))
        elif name in node.attributes:
            result = apply(result, result.dtype.type(node.real(name, 0.0)))
    if result.dtype.kind == "f" and np.isnan(result).any():
        raise trouble(node, "computes NaN or infinity from its constants")
    return result


def _cast(node: Node, tensor: Tensor) -> Tensor:
    to = node.integer("to", 0)
    if to not in CASTS:
        names = {number: name for name, number in TensorProto.DataType.items()}
        raise trouble(node, f"must cast to numbers of 8 to 64 bits, not to {names.get(to, to)}")
    dtype, values = np.dtype(CASTS[to]), tensor.values
    if dtype.kind == "f":
        # The integers behind a value stay what they are, whatever type it is shown in.
        return tensor if tensor.codes is not None else Tensor(values=values.astype(dtype))
    if dtype.kind in "iu" and values.dtype.kind == "f":
        bounds = np.iinfo(dtype.name)
        if not ((values > float(bounds.min) - 1) & (values < float(bounds.max) + 1)).all():
            raise trouble(node, f"must have values that {dtype} holds")
    return Tensor(values=values.astype(dtype))


def _concat(node: Node, given: Sequence[Tensor]) -> Tensor:
    axis = node.attributes.get("axis")
    if not isinstance(axis, int):
        raise TypeError(axis)
    _room(node, [sum(tensor.values.size for tensor in given)], [tensor.values for tensor in given])
    values = np.concatenate([tensor.values for tensor in given], axis=axis)
    integers = [tensor.codes for tensor in given if tensor.codes is not None]
    scale = [tensor.scale for tensor in given if tensor.scale is not None]
    if len(integers) < len(given) or len(scale) < len(given):
        return Tensor(values=values)
    return Tensor(values=values, codes=np.concatenate(integers, axis=axis), scale=np.concatenate(scale, axis=axis))


def _moved(tensor: Tensor, move: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    return Tensor(values=move(tensor.values), codes=None if tensor.codes is None else move(tensor.codes),
                  scale=None if tensor.scale is None else move(tensor.scale))


def _mover(node: Node, arrays: Sequence[np.ndarray | None]) -> Callable[[np.ndarray], np.ndarray]:
    """The function on arrays that one of the moving operators is."""
    def parameter(index: int, name: str) -> list[int] | None:
        """List given as input or, in older opsets, as attribute."""
        array = arrays[index] if index < len(arrays) else None
        if array is not None:
            return _integers(array)
        value = node.attributes.get(name)
        return value if isinstance(value, list) else None

    first = arrays[0]
    if first is None:
        raise TypeError(node.op)
    shape, rank = first.shape, first.ndim
    match node.op:
        case "Identity":
            return lambda array: array
        case "Flatten":
            axis = node.integer("axis", 1)
            split = axis + rank if axis < 0 else axis
            if not 0 <= split <= rank:
                raise ValueError(axis)
            return lambda array: array.reshape(math.prod(shape[:split]), math.prod(shape[split:]))
        case "Transpose":
            order = node.attributes.get("perm")
            return lambda array: np.transpose(array, order if isinstance(order, list) else None)
        case "Reshape":
            sizes = parameter(1, "shape") or []
            if not node.integer("allowzero", 0):   # a zero stands for the size before
                sizes = [shape[index] if size == 0 else size for index, size in enumerate(sizes)]
            return lambda array: array.reshape(sizes)
        case "Squeeze":
            axes = parameter(1, "axes")
            return lambda array: np.squeeze(array, None if axes is None else tuple(axes))
        case "Unsqueeze":
            axes = parameter(1, "axes")
            if axes is None:
                raise TypeError(node.op)
            return lambda array: np.expand_dims(array, tuple(axes))
        case "Expand":
            target = np.broadcast_shapes(shape, tuple(parameter(1, "shape") or []))
            _room(node, target, [first])
            return lambda array: np.broadcast_to(array, target)
        case "Gather":
            indices, axis = arrays[1], node.integer("axis", 0)
            if indices is None or indices.dtype.kind not in "iu":
                raise TypeError(node.op)
            _room(node, [first.size // max(1, shape[axis]), indices.size], [first, indices])
            return lambda array: np.take(array, indices, axis=axis)
        case _:   # Slice
            starts, ends = parameter(1, "starts"), parameter(2, "ends")
            axes, steps = parameter(3, "axes"), parameter(4, "steps")
            if starts is None or ends is None:
                raise TypeError(node.op)
            where = [slice(None)] * rank
            for axis, *bounds in zip(range(len(starts)) if axes is None else axes, starts, ends,
                                     steps or [1] * len(starts), strict=True):
                where[axis] = slice(*bounds)
            return lambda array: array[tuple(where)]
