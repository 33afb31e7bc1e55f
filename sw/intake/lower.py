"""From a graph to the float model: a walk along the one computed value, and the passes on the chain of steps it leaves.

The graph's constants are folded, its k-WTA is one node ``KWinners``, and nodes that lead nowhere are gone.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...hw.errors import ModelError
from ..model import FloatModel, Head, Quantiser
from . import linear, pointwise, quantisers, reshapes, spatial
from .chain import Chain, check_chain
from .constants import MAX_MADE, evaluate
from .fold import drop_grids, fold_forward, order_steps, split_input, to_layers
from .graph import Graph, Node, Tensor, trouble
from .merge import merge_averages
from .stated import add_biases, check_grids, drop_repeats, fold_scales
from .walk import MAX_ELEMENTS, Scope, Value, not_undone

__all__ = ["to_chain", "to_float_model"]

_Step = Callable[[Scope, Node, Value], Value]

STEPS: dict[str, _Step] = {
    "Add": pointwise.arithmetic, "ArgMax": pointwise.head, "AveragePool": linear.average_pool,
    "BatchNormalization": pointwise.batch_normalization, "BipolarQuant": quantisers.bipolar_quant,
    "Cast": pointwise.cast, "Clip": pointwise.clip, "Conv": linear.conv,
    "DequantizeLinear": quantisers.dequantize_linear, "Div": pointwise.arithmetic, "Dropout": pointwise.dropout,
    "Flatten": reshapes.flatten, "Gemm": linear.gemm, "GlobalAveragePool": linear.global_average,
    "Identity": pointwise.identity, "IntQuant": quantisers.quant, "KWinners": pointwise.winners,
    "LogSoftmax": pointwise.head, "MatMul": linear.matmul, "Max": pointwise.extremum, "MaxPool": spatial.max_pool_step,
    "Min": pointwise.extremum, "Mul": pointwise.arithmetic, "Pad": spatial.pad, "Quant": quantisers.quant,
    "QuantizeLinear": quantisers.quantize_linear, "ReduceMean": linear.global_average, "Relu": pointwise.relu,
    "Reshape": reshapes.reshape, "Sigmoid": pointwise.head, "Softmax": pointwise.head, "Squeeze": reshapes.squeeze,
    "Sub": pointwise.arithmetic, "Transpose": reshapes.transpose, "Trunc": quantisers.trunc,
    "Unsqueeze": reshapes.unsqueeze,
}
"""What each operator does to the computed value."""

_RENAMES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_QUANTISERS = frozenset({"BipolarQuant", "DequantizeLinear", "IntQuant", "Quant", "QuantizeLinear", "Trunc"})
_ON_CODES = _RENAMES | {"Clip", "DequantizeLinear", "MaxPool", "Transpose"}
_ON_PADDED = frozenset({"AveragePool", "BipolarQuant", "Conv", "DequantizeLinear", "Dropout", "Identity", "IntQuant",
                        "Pad", "Quant", "QuantizeLinear", "Relu"})
_ANY_ORDER = _QUANTISERS | {"Clip", "Dropout", "Flatten", "Identity", "Max", "Min", "Relu", "Reshape"}
_ON_MOVED = _ANY_ORDER | {"Transpose"}
_ON_REORDERED = _ANY_ORDER | {"Gemm", "MatMul"}
_BEHIND_HEAD = _RENAMES | _QUANTISERS | {"ArgMax", "Cast", "Dropout", "LogSoftmax", "Sigmoid", "Softmax"}
_SELECTS = frozenset({"Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"})


def to_float_model(graph: Graph, *, sha256: str) -> FloatModel:
    """Run the walk and all passes on the chain.

    Parameters
    ----------
    graph : Graph
    sha256 : str
        Of the file's bytes; kept in the record.

    Raises
    ------
    ModelError
        If the graph is not of a supported form; names the node.
    """
    chain, head = to_chain(graph)
    chain = check_chain(chain)
    if chain.quantised:
        passes = (add_biases, drop_repeats, fold_scales, check_grids)
    else:
        passes = (drop_grids, order_steps, fold_forward, merge_averages)
    for each in passes:
        chain = check_chain(each(chain))
    gain, offset, chain = split_input(chain)
    quantiser = None
    if chain.items and isinstance(chain.items[0], Quantiser):
        quantiser, layers = chain.items[0], to_layers(replace(chain, items=chain.items[1:]), quantised=True)
    else:
        layers = to_layers(chain, quantised=chain.quantised)
    elements = math.prod(layers[-1].output_shape)
    if graph.output_length not in (None, elements) and head is not Head.ARGMAX:
        raise ModelError(f"output {graph.output!r} must have {elements} elements as computed, "
                         f"not {graph.output_length} as declared")
    return FloatModel(name=graph.name, input_shape=graph.input_shape, input_gain=gain, input_offset=offset,
                      input_quantiser=quantiser, layers=layers, head=head, sha256=sha256)


def to_chain(graph: Graph) -> tuple[Chain, Head | None]:
    """Follow the value from input to output and make every node a step, or nothing where it changes nothing.

    Raises
    ------
    ModelError
        If a node takes two computed values, a value goes two ways, or a node has a form that is not supported.
    """
    constants = dict(graph.constants)
    scope = Scope(opset=graph.opset, batch=graph.batch, constants=constants)
    name, value = graph.input, Value(shape=graph.input_shape)
    shapes: dict[str, tuple[int, ...]] = {name: value.shape}
    sizes: set[str] = set()   # constants that hold a size of a computed value
    made = 0                  # elements of what is computed from them
    for node in graph.nodes:
        if node.op == "Shape" and node.inputs[0] in shapes:
            constants[node.outputs[0]] = _sizes(graph, node, shapes[node.inputs[0]])
            sizes.add(node.outputs[0])
            continue
        computed = [item for item in node.inputs if item and item not in constants]
        if not computed:
            made += _evaluate(node, constants, sizes)
            if made > MAX_MADE:
                raise trouble(node, f"is one of many constants to compute, at most {MAX_MADE} elements together; the "
                                    "nearest supported form has them as initializers")
            continue
        if computed != [name]:
            raise trouble(node, "must take one computed value, that of the node before it: the nearest supported form "
                                "is a straight line of layers without branches")
        _check_place(node, value)
        value = STEPS[node.op](scope, node, value)
        if math.prod(value.shape) > MAX_ELEMENTS:
            raise trouble(node, f"must make at most {MAX_ELEMENTS} elements, not {math.prod(value.shape)}")
        name = node.outputs[0]
        shapes[name] = value.shape
    if name != graph.output:
        raise trouble(graph.nodes[-1], "must have its first output as the output of the model")
    for waiting in (value.moved, value.order):
        if waiting is not None:
            raise not_undone(waiting[0])
    if value.padded is not None:
        raise _not_taken(value.padded[0])
    return Chain(input_shape=graph.input_shape, items=value.items), value.head


def _not_taken(node: Node) -> ModelError:
    return trouble(node, "must be followed by a Conv or AveragePool that takes its zeros as pads")


def _check_place(node: Node, value: Value) -> None:
    """See that what waits for a certain node lets this one pass."""
    if node.op == "TopK":
        raise trouble(node, "must be followed by ScatterElements of its values onto zeros (k-WTA)")
    if node.op not in STEPS:
        raise trouble(node, "is supported on constants only; the nearest supported form is a straight line of layers")
    if value.head is not None and node.op not in _BEHIND_HEAD:
        raise trouble(node, f"must not follow {value.head.value}, which is left to the host and must be the last node")
    if value.head is None and value.codes is not None and node.op not in _ON_CODES:
        raise trouble(node, "takes integer codes; the nearest supported form has a DequantizeLinear before it")
    if value.moved is not None and node.op not in _ON_MOVED:
        raise not_undone(value.moved[0])
    if value.order is not None and node.op not in _ON_REORDERED:
        raise not_undone(value.order[0])
    if value.padded is not None and node.op not in _ON_PADDED:
        raise _not_taken(value.padded[0])


def _sizes(graph: Graph, node: Node, shape: tuple[int, ...]) -> Tensor:
    """Shape of a computed value; a free batch is 0, which Reshape copies."""
    sizes = (graph.batch or 0, *shape)
    last = node.attributes.get("end")
    part = sizes[node.integer("start", 0):last if isinstance(last, int) else None]
    return Tensor(values=np.array(part, np.int64))


def _evaluate(node: Node, constants: dict[str, Tensor], sizes: set[str]) -> int:
    """Compute a node that depends on shapes and constants only; return how many elements that makes."""
    from_sizes = [item for item in node.inputs if item in sizes]
    if node.op not in _SELECTS and any(not constants[item].values.all() for item in from_sizes):
        raise trouble(node, "computes with the batch, whose size is free; the nearest supported form is Flatten with "
                            "axis 1")
    tensors = evaluate(node, [constants[item] if item else None for item in node.inputs])
    constants |= dict(zip(node.outputs, tensors, strict=False))
    if from_sizes:
        sizes.update(node.outputs)
    return sum(tensor.values.size for tensor in tensors)
