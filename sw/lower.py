"""The pass from a graph to a chain: one step a node, over flat vectors."""

import math

import numpy as np

from .graph import Affine, Chain, Graph, Linear, Node, Relu, Step, Winners, trouble

__all__ = ["to_chain"]

MAX_KERNELS = 65_536
_ARITHMETIC = {"Add", "Sub", "Mul", "Div"}


def to_chain(graph: Graph) -> Chain:
    """Follow the value from input to output and make every node a step, or nothing where it changes nothing.

    Constants are spread over the shape that the value has at that node and then flattened, so element-wise steps
    before a Flatten come out right.

    Parameters
    ----------
    graph : Graph
        With k-WTA as ``KWinners`` nodes and without unused nodes.

    Raises
    ------
    ModelError
        If a node takes two computed values, a value goes two ways, or a node has a form that is not supported.
    """
    value, shape = graph.input, graph.input_shape
    steps: list[Step] = []
    for number, node in enumerate(graph.nodes):
        computed = [name for name in node.inputs if name and name not in graph.constants]
        if computed != [value]:
            raise trouble(node, "must take one computed value, that of the node before it: the nearest supported form "
                                "is a straight line of layers without branches")
        last = number == len(graph.nodes) - 1
        if node.op in ("Softmax", "LogSoftmax"):
            if not last:
                raise trouble(node, "must be the last node, where it is left to the host, or be left out")
        else:
            step, shape = _step(graph, node, value, shape)
            if step is not None:
                steps.append(step)
        value = node.outputs[0]
    if value != graph.output:
        raise trouble(graph.nodes[-1], "must have its first output as the output of the model")
    return Chain(input_shape=graph.input_shape, steps=tuple(steps))


def _step(graph: Graph, node: Node, value: str, shape: tuple[int, ...]) -> tuple[Step | None, tuple[int, ...]]:
    """Make the step of a node (None where it changes nothing) and the shape after it."""
    if node.op in _ARITHMETIC:
        return _arithmetic(graph, node, value, shape), shape
    match node.op:
        case "Relu":
            return Relu(name=node.name, op=node.op), shape
        case "Identity":
            return None, shape
        case "Dropout":
            training = graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
            if training is not None and training.any():
                raise trouble(node, "must not be in training mode: export the model for inference")
            return None, shape
        case "Flatten":
            if node.integer("axis", 1) not in (1, -len(shape)):
                raise trouble(node, f"must have axis 1, not {node.integer('axis', 1)!r}")
            return None, (math.prod(shape),)
        case "Reshape":
            return None, _reshape(graph, node, shape)
        case "BatchNormalization":
            return _batch_normalization(graph, node, shape), shape
        case "KWinners":
            _check_flat(node, shape)
            return Winners(name=node.name, op="TopK", winners=node.integer("k", 0)), shape
        case "Gemm" | "MatMul":
            _check_flat(node, shape)
            linear = _gemm(graph, node, value) if node.op == "Gemm" else _matmul(graph, node, value)
            if max(linear.weights.shape) > MAX_KERNELS:
                raise trouble(node, f"must have at most {MAX_KERNELS} kernels and positions, "
                                    f"not {linear.weights.shape!r}")
            return linear, linear.weights.shape[:1]
        case "TopK":
            raise trouble(node, "must be followed by ScatterElements of its values onto zeros (k-WTA)")
        case _:
            raise trouble(node, "is supported on constants only; the nearest supported form is Flatten with axis 1")


def _check_flat(node: Node, shape: tuple[int, ...]) -> None:
    if len(shape) != 1:
        raise trouble(node, f"must take a flat vector, not the shape {shape!r}; put a Flatten with axis 1 before it")


def _numbers(graph: Graph, node: Node, index: int) -> np.ndarray:
    """Constant input of a node in float64."""
    constant = graph.constants.get(node.inputs[index]) if index < len(node.inputs) else None
    if constant is None or constant.dtype.kind not in "fiu":
        raise trouble(node, f"must have a constant tensor of numbers as input {index}")
    return constant.astype(np.float64)


def _spread(node: Node, constant: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Broadcast a constant over one batch entry of this shape, and flatten it."""
    try:
        return np.broadcast_to(constant, (1, *shape)).reshape(-1)
    except ValueError as error:
        raise trouble(node, f"must have a constant that spreads over the shape {shape!r}, not one of shape "
                            f"{constant.shape!r}") from error


def _arithmetic(graph: Graph, node: Node, value: str, shape: tuple[int, ...]) -> Affine:
    """``x + c``, ``x - c``, ``c - x``, ``x * c`` and ``x / c`` as scale and offset."""
    first = node.inputs[0] == value
    constant = _spread(node, _numbers(graph, node, 1 if first else 0), shape)
    one, nothing = np.ones_like(constant), np.zeros_like(constant)
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
            scale, offset = 1 / constant, nothing
    return Affine(name=node.name, op=node.op, scale=scale, offset=offset)


def _batch_normalization(graph: Graph, node: Node, shape: tuple[int, ...]) -> Affine:
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta`` along the first axis after the batch."""
    if node.integer("training_mode", 0):
        raise trouble(node, "must not be in training mode: export the model for inference")
    parameters = [_numbers(graph, node, index) for index in range(1, 5)]
    for parameter in parameters:
        if parameter.shape != shape[:1]:
            raise trouble(node, f"must have {shape[0]} parameters of each kind, not of shape {parameter.shape!r}")
    gamma, beta, mean, variance = parameters
    radicand = variance + node.real("epsilon", 1e-5)
    if not np.isfinite(parameters).all():
        raise trouble(node, "has NaN or infinity in its parameters")
    if radicand.min() <= 0:
        raise trouble(node, "must have positive variances")
    scale = gamma / np.sqrt(radicand)
    columns = (-1, *[1] * (len(shape) - 1))
    return Affine(name=node.name, op=node.op, scale=_spread(node, scale.reshape(columns), shape),
                  offset=_spread(node, (beta - mean * scale).reshape(columns), shape))


def _reshape(graph: Graph, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape after a Reshape that leaves the batch alone."""
    constant = graph.constants.get(node.inputs[1])
    if constant is None or constant.ndim != 1 or constant.dtype.kind != "i":
        raise trouble(node, "must have a constant shape; the nearest supported form is Flatten with axis 1")
    sizes, total = constant.tolist(), math.prod(shape)
    batch, rest = (sizes[0], sizes[1:]) if sizes else (-1, [])
    kept = batch == graph.batch
    if not node.integer("allowzero", 0):   # a zero then stands for the size before
        kept = kept or batch == 0
        rest = [shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(rest)]
    if kept and rest.count(-1) == 1:
        known = -math.prod(rest)
        rest[rest.index(-1)] = total // known if known > 0 else 0
    if not (kept or batch == -1) or math.prod(rest) != total or min(rest, default=0) < 1:
        raise trouble(node, f"must keep the batch, not turn {('batch', *shape)!r} into {sizes!r}; the nearest "
                            "supported form is Flatten with axis 1")
    return tuple(rest)


def _gemm(graph: Graph, node: Node, value: str) -> Linear:
    """``alpha * x @ W + beta * c`` with W perhaps transposed."""
    if node.inputs[0] != value or node.integer("transA", 0):
        raise trouble(node, "must have the computed value, not transposed, as its first input")
    weights = _matrix(graph, node)
    weights = weights if node.integer("transB", 0) else weights.T
    bias = np.zeros(len(weights))
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = _spread(node, _numbers(graph, node, 2), weights.shape[:1])
    return Linear(name=node.name, op=node.op, weights=weights * node.real("alpha", 1.0),
                  bias=bias * node.real("beta", 1.0))


def _matmul(graph: Graph, node: Node, value: str) -> Linear:
    if node.inputs[0] != value:
        raise trouble(node, "must have the computed value as its first input")
    weights = _matrix(graph, node).T
    return Linear(name=node.name, op=node.op, weights=weights, bias=np.zeros(len(weights)))


def _matrix(graph: Graph, node: Node) -> np.ndarray:
    weights = _numbers(graph, node, 1)
    if weights.ndim != 2 or not weights.size:
        raise trouble(node, f"must have weights of two dimensions, not of shape {weights.shape!r}")
    return weights
