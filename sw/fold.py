"""Passes from the graph of the file to the layers that are built.

Each pass is a pure function on immutable records, and a checker looks at its result. In order:

======================  =======================================================================================
`fold_constants`        computes what depends on constants only (a transposed weight)
`recognise_winners`     TopK -> ScatterElements onto zeros becomes one node, ``KWinners``
`drop_unused`           leaves out what the output does not need (the zeros, the TopK)
`to_chain`              makes a straight line of steps over flat vectors; reshapes vanish, as they move no element
`order_relu`            puts ReLU before k-WTA and drops a ReLU that changes nothing
`fold_affine`           folds batch normalisation and constants into the linear layer before or after
`to_layers`             groups the steps into layers: linear, ReLU, k-WTA
======================  =======================================================================================
"""

from dataclasses import replace

import numpy as np

from ..hw.errors import ModelError
from .graph import Affine, Chain, Graph, Linear, Node, Relu, Step, Winners, check_chain, check_graph, trouble
from .lower import to_chain
from .network import FloatLayer, FloatModel

__all__ = [
    "drop_unused", "fold_affine", "fold_constants", "order_relu", "recognise_winners", "to_float_model", "to_layers",
]


def to_float_model(graph: Graph, *, sha256: str) -> FloatModel:
    """Run all passes.

    Parameters
    ----------
    graph : Graph
    sha256 : str
        Of the file's bytes; kept in the record.

    Raises
    ------
    ModelError
        If the graph is not a perceptron of the supported form; names the node.
    """
    graph = check_graph(fold_constants(graph))
    graph = check_graph(recognise_winners(graph))
    graph = check_graph(drop_unused(graph))
    chain = check_chain(to_chain(graph))
    chain = check_chain(order_relu(chain))
    chain = check_chain(fold_affine(chain))
    layers = to_layers(chain)
    if graph.output_length not in (None, layers[-1].kernels):
        raise ModelError(f"output {graph.output!r} must have {layers[-1].kernels} elements as computed, "
                         f"not {graph.output_length} as declared")
    return FloatModel(name=graph.name, input_shape=graph.input_shape, layers=layers, sha256=sha256)


def fold_constants(graph: Graph) -> Graph:
    """Compute Identity, Transpose and Reshape of constants."""
    constants, nodes = dict(graph.constants), []
    for node in graph.nodes:
        if node.op not in ("Identity", "Transpose", "Reshape") or any(n not in constants for n in node.inputs):
            nodes.append(node)
            continue
        value = constants[node.inputs[0]]
        try:
            if node.op == "Transpose":
                axes = node.attributes.get("perm")
                value = np.transpose(value, axes if isinstance(axes, list) else None)
            elif node.op == "Reshape":
                target = constants[node.inputs[1]].tolist()
                value = value.reshape([value.shape[i] if size == 0 else size for i, size in enumerate(target)])
        except (ValueError, TypeError, IndexError) as error:
            raise trouble(node, f"does not fit its constant of shape {value.shape!r}") from error
        constants[node.outputs[0]] = value
    return replace(graph, nodes=tuple(nodes), constants=constants)


def _zero_values(graph: Graph) -> set[str]:
    """Names of the values that are zero whatever the input."""
    zeros = {name for name, value in graph.constants.items() if value.dtype.kind in "fiub" and not value.any()}
    for node in graph.nodes:
        match node.op:
            case "Mul":
                zero = any(name in zeros for name in node.inputs)
            case "Sub":
                zero = node.inputs[0] == node.inputs[1] or zeros.issuperset(node.inputs)
            case "Identity" | "Expand" | "Reshape" | "Flatten" | "Transpose":
                zero = node.inputs[0] in zeros
            case "ConstantOfShape":
                zero = not np.any(np.asarray(node.attributes.get("value", 0)))
            case _:
                zero = False
        if zero:
            zeros.update(node.outputs)
    return zeros


def _axis(node: Node, default: int) -> int:
    """Axis of a vector with its batch: 1 and -1 are the same."""
    axis = node.integer("axis", default)
    return 1 if axis == -1 else axis


def recognise_winners(graph: Graph) -> Graph:
    """Replace ScatterElements of the values of a TopK onto zeros by one node ``KWinners`` with an attribute ``k``."""
    zeros, nodes = _zero_values(graph), []
    makers = {name: node for node in graph.nodes for name in node.outputs}
    for node in graph.nodes:
        if node.op != "ScatterElements":
            nodes.append(node)
            continue
        onto, indices, values = node.inputs
        top = makers.get(values)
        if top is None or top.op != "TopK" or top.outputs != (values, indices):
            raise trouble(node, "must put the values of one TopK at its indices: the nearest supported form is k-WTA")
        if onto not in zeros:
            raise trouble(node, "must put the values of TopK onto zeros")
        if node.attributes.get("reduction", "none") != "none":
            raise trouble(node, f"must have reduction 'none', not {node.attributes['reduction']!r}")
        for part, default in ((node, 0), (top, -1)):
            if _axis(part, default) != 1:
                raise trouble(part, f"must have axis 1 (of a flat vector with its batch), not {_axis(part, default)!r}")
        if top.integer("largest", 1) != 1:
            raise trouble(top, "must have largest 1: winners are the largest values")
        k = graph.constants.get(top.inputs[1])
        if k is None or k.size != 1 or k.dtype.kind not in "iu":
            raise trouble(top, "must have a constant K of one integer")
        nodes.append(Node(name=top.name, op="KWinners", inputs=top.inputs[:1], outputs=node.outputs[:1],
                          attributes={"k": int(k.item())}))
    return replace(graph, nodes=tuple(nodes))


def drop_unused(graph: Graph) -> Graph:
    """Leave out nodes that do not lead to the output."""
    needed, nodes = {graph.output}, []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(filter(None, node.inputs))
            nodes.insert(0, node)
    return replace(graph, nodes=tuple(nodes))


def order_relu(chain: Chain) -> Chain:
    """Put ReLU before k-WTA and drop a ReLU of what is not negative.

    The K largest of the positive values are the positive ones among the K largest of all, so the two commute.
    """
    steps: list[Step] = []
    for step in chain.steps:
        if isinstance(step, Relu) and steps and isinstance(steps[-1], Winners):
            before = steps[-2] if len(steps) > 1 else None
            if not isinstance(before, Relu):
                steps.insert(-1, step)
        elif not (isinstance(step, Relu) and steps and isinstance(steps[-1], Relu)):
            steps.append(step)
    return replace(chain, steps=tuple(steps))


def fold_affine(chain: Chain) -> Chain:
    """Fold each affine step into the linear step before it, else into the one after it, in float64.

    ``s * (W x + b) + o = (s W) x + (s b + o)`` and ``W (s x + o) + b = (W s) x + (W o + b)``.
    """
    steps: list[Step] = []
    for step in chain.steps:
        last = steps[-1] if steps else None
        # Overflow to infinity is found by the checker, with the name of the step.
        with np.errstate(over="ignore", invalid="ignore"):
            match last, step:
                case Linear(weights=weights, bias=bias), Affine(scale=scale, offset=offset):
                    steps[-1] = replace(last, weights=scale[:, np.newaxis] * weights, bias=scale * bias + offset)
                case Affine(), Affine(scale=scale, offset=offset):
                    steps[-1] = replace(last, scale=scale * last.scale, offset=scale * last.offset + offset)
                case Affine(scale=scale, offset=offset), Linear(weights=weights, bias=bias):
                    steps[-1] = replace(step, weights=weights * scale, bias=weights @ offset + bias)
                case _:
                    steps.append(step)
    return replace(chain, steps=tuple(steps))


def to_layers(chain: Chain) -> tuple[FloatLayer, ...]:
    """Group the steps into layers: linear, then perhaps ReLU, then perhaps k-WTA.

    Raises
    ------
    ModelError
        If a step stands where no layer has a place for it.
    """
    layers: list[FloatLayer] = []
    for step in chain.steps:
        match step:
            case Linear(name=name, weights=weights, bias=bias):
                if layers and not layers[-1].relu:
                    raise trouble(step, f"follows the linear layer {layers[-1].name!r} with no Relu in between; the "
                                        "nearest supported form is one layer with the product of both weights")
                layers.append(FloatLayer(name=name, weights=weights, bias=bias, relu=False, winners=None))
            case Relu() if layers and not layers[-1].relu:
                layers[-1] = replace(layers[-1], relu=True)
            case Winners(winners=winners) if layers and layers[-1].winners is None:
                if not layers[-1].relu:
                    raise trouble(step, "must have a Relu before it: k-WTA ranks codes that are not negative")
                layers[-1] = replace(layers[-1], winners=winners)
            case Affine():
                raise trouble(step, "must stand beside a Gemm or MatMul, where it can be folded; the nearest supported "
                                    "form puts it between Gemm and Relu")
            case _:
                raise trouble(step, "must follow a Gemm or MatMul, once")
    if not layers:
        raise ModelError("has no Gemm or MatMul, so there is nothing to build")
    return tuple(layers)
