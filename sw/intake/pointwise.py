"""Nodes that work element by element, k-WTA, and what may stand at the end."""

import math
from dataclasses import replace

import numpy as np

from ..model import Affine, Clip, FloatLayer, Head, Quantiser, Winners
from .chain import check_finite
from .graph import Node, trouble
from .walk import Scope, Value, spread

__all__ = ["arithmetic", "batch_normalization", "cast", "clip", "dropout", "extremum", "head", "identity", "relu",
           "winners"]


def identity(scope: Scope, node: Node, value: Value) -> Value:
    """Nothing."""
    return value


def dropout(scope: Scope, node: Node, value: Value) -> Value:
    """Nothing, in inference."""
    training = scope.tensor(node, 2)
    if training is not None and training.values.any() or training is None and len(node.inputs) > 2 and node.inputs[2]:
        raise trouble(node, "must not be in training mode: export the model for inference")
    return value


def cast(scope: Scope, node: Node, value: Value) -> Value:
    """Nothing, where it makes floating point numbers (ONNX types 1, 10, 11 and 16) or stands behind the head."""
    if value.head is None and node.integer("to", 0) not in (1, 10, 11, 16):
        raise trouble(node, "must cast to floating point: the nearest supported form of rounding is QuantizeLinear")
    return value


def arithmetic(scope: Scope, node: Node, value: Value) -> Value:
    """``x + c``, ``x - c``, ``c - x``, ``x * c`` and ``x / c`` as scale, divisor and offset."""
    first = scope.tensor(node, 0) is None
    constant = spread(node, scope.numbers(node, 1 if first else 0), value.shape)
    one, nothing = np.ones_like(constant), np.zeros_like(constant)
    divisor = one
    match node.op:
        case "Add":
            scale, offset = one, constant
        case "Sub":
            scale, offset = (one, -constant) if first else (-one, constant)
        case "Mul":
            scale, offset = constant, nothing
        case _:
            if not first or not constant.all():
                raise trouble(node, "must divide by a constant that is nowhere zero")
            scale, offset, divisor = np.sign(constant), nothing, np.abs(constant)
    with np.errstate(over="ignore"):
        check_finite(node.name, node.op, scale=scale / divisor, offset=offset)
    return value.then(Affine(name=node.name, op=node.op, scale=scale, offset=offset, divisor=divisor))


def batch_normalization(scope: Scope, node: Node, value: Value) -> Value:
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta`` along the first axis after the batch."""
    if node.integer("training_mode", 0):
        raise trouble(node, "must not be in training mode: export the model for inference")
    shape = value.shape
    parameters = [scope.numbers(node, index) for index in range(1, 5)]
    for parameter in parameters:
        if parameter.shape != shape[:1]:
            raise trouble(node, f"must have {shape[0]} parameters of each kind, not of shape {parameter.shape!r}")
    gamma, beta, mean, variance = parameters
    radicand = variance + node.real("epsilon", 1e-5)
    if radicand.min() <= 0:
        raise trouble(node, "must have positive variances")
    with np.errstate(over="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(radicand)
        offset = beta - mean * scale
    check_finite(node.name, node.op, scale=scale, offset=offset)
    columns = (-1, *[1] * (len(shape) - 1))
    return value.then(Affine(name=node.name, op=node.op, scale=spread(node, scale.reshape(columns), shape),
                             offset=spread(node, offset.reshape(columns), shape)))


def relu(scope: Scope, node: Node, value: Value) -> Value:
    """Clip from 0."""
    return value.then(Clip(name=node.name, op=node.op, low=0.0, high=math.inf))


def clip(scope: Scope, node: Node, value: Value) -> Value:
    """Bounds from attributes (to opset 10) or constants; on codes, those that the quantiser before it leaves."""
    bounds = []
    for index, name, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        bound = node.real(name, default)
        if index < len(node.inputs) and node.inputs[index]:
            tensor = scope.tensor(node, index)
            if tensor is None or tensor.values.size != 1 or tensor.values.dtype.kind not in "fiu":
                raise trouble(node, f"must have a constant number as {name}")
            bound = float(tensor.values.item())
        bounds.append(bound)
    low, high = bounds
    if not (low <= high and low < math.inf and high > -math.inf):
        raise trouble(node, f"must have a min that is at most its max, not {low!r} and {high!r}")
    if low == -math.inf and high == math.inf:
        return value
    if value.codes is not None:
        return _narrow(node, value, low - value.codes.zero, high - value.codes.zero)
    return value.then(Clip(name=node.name, op=node.op, low=low, high=high))


def _narrow(node: Node, value: Value, low: float, high: float) -> Value:
    """Leave a quantiser fewer codes: exporters write so what has fewer bits than its type, or leaves out -128."""
    *before, last = value.items
    if not isinstance(last, Quantiser):
        raise trouble(node, "must stand right behind a QuantizeLinear, since it clips codes; the nearest supported "
                            "form has a DequantizeLinear before it")
    bounds = [int(min(max(code, low), high)) for code in (last.low, last.high)]
    return replace(value, items=(*before, replace(last, low=bounds[0], high=bounds[1])))


def extremum(scope: Scope, node: Node, value: Value) -> Value:
    """``max(x, c)`` and ``min(x, c)``, which some exporters write for ReLU and ReLU6."""
    if len(node.inputs) != 2:
        raise trouble(node, f"must have two inputs, not {len(node.inputs)}; the nearest supported form is Clip with "
                            "constant bounds")
    constant = spread(node, scope.numbers(node, 1 if scope.tensor(node, 0) is None else 0), value.shape)
    if (constant != constant[0]).any():
        raise trouble(node, "must have one number for all elements; the nearest supported form is Clip with constant "
                            "bounds")
    bound = float(constant[0])
    low, high = (bound, math.inf) if node.op == "Max" else (-math.inf, bound)
    return value.then(Clip(name=node.name, op=node.op, low=low, high=high))


def winners(scope: Scope, node: Node, value: Value) -> Value:
    """k-WTA over the kernels of the layer before it."""
    layer = next((item for item in reversed(value.items) if isinstance(item, FloatLayer)), None)
    k, axis = node.integer("k", 0), node.integer("axis", 1)
    step = Winners(name=node.name, op="TopK", winners=k)
    node = replace(node, op="TopK")
    if axis != 1 and axis != -len(value.shape):
        raise trouble(node, f"must have axis 1, along the kernels, not {axis!r}")
    if layer is not None and layer.kernels != value.shape[0]:
        raise trouble(node, f"must choose among the {layer.kernels} kernels of {layer.name!r}, not among "
                            f"{value.shape[0]} elements; the nearest supported form is k-WTA along the channels "
                            "(axis 1), before Flatten")
    if not 1 <= k <= value.shape[0]:
        raise trouble(node, f"must have K of 1 to {value.shape[0]} (the length of its vector), not {k}")
    if node.integer("ties", 0) and any(isinstance(item, Quantiser) for item in value.items):
        raise trouble(node, "must not keep ties, which are common among codes: the nearest supported form puts the "
                            "values of TopK onto zeros with ScatterElements")
    bounded = next((item for item in reversed(value.items) if isinstance(item, FloatLayer)
                    or isinstance(item, Clip) and item.high < math.inf), None)
    if node.integer("ties", 0) and isinstance(bounded, Clip):
        raise trouble(node, f"must not keep ties, which are common at the upper bound of {bounded.name!r}: the nearest "
                            "supported form puts the values of TopK onto zeros with ScatterElements")
    return value.then(step)


_HEADS = {"Softmax": Head.SOFTMAX, "LogSoftmax": Head.LOG_SOFTMAX, "Sigmoid": Head.SIGMOID, "ArgMax": Head.ARGMAX}


def head(scope: Scope, node: Node, value: Value) -> Value:
    """Softmax, LogSoftmax, Sigmoid or ArgMax at the end, which the host does; ArgMax wins over what is before it."""
    found, rank = _HEADS[node.op], len(value.shape) + 1
    if value.head is not None and (found is not Head.ARGMAX or value.head is Head.ARGMAX):
        raise trouble(node, f"must not follow another head ({value.head.value})")
    if found is not Head.SIGMOID:
        default = 0 if found is Head.ARGMAX else 1 if scope.opset < 13 else -1
        axis = node.integer("axis", default)
        first = axis + rank if axis < 0 else axis
        # Before opset 13 Softmax runs over this axis and all behind it.
        last = first + 1 if found is Head.ARGMAX or scope.opset >= 13 else rank
        if not 1 <= first < rank or math.prod(value.shape[first - 1:last - 1]) != math.prod(value.shape):
            raise trouble(node, f"must have the last axis of a flat vector, not axis {axis!r} of "
                                f"{('batch', *value.shape)!r}")
    if node.integer("select_last_index", 0):
        raise trouble(node, "must have select_last_index 0: a tie goes to the lower index")
    return replace(value, head=found, shape=(1,) if found is Head.ARGMAX else value.shape)
