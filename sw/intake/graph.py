"""The graph as its file states it: named nodes that take and make named values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...hw.errors import ModelError

__all__ = ["Graph", "Node", "Tensor", "check_graph", "drop_unused", "trouble"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensor:
    """A constant. Where a quantiser made it, its integers are kept: ``values = codes * scale``, element by element.

    Members
    -------
    values : array
        As the file holds it, or as it was computed from that in float64.
    codes : int64 array or None
        Zero points already taken off.
    scale : float64 array or None
        Spread over the shape of ``values``.
    """

    values: np.ndarray
    codes: np.ndarray | None = None
    scale: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One ONNX node. An input that was left out is the empty name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object]

    def integer(self, name: str, default: int) -> int:
        """Integer attribute, or the default where the node has none."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def real(self, name: str, default: float) -> float:
        """Floating point attribute, or the default where the node has none."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, float) else default


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A network as its file states it.

    Members
    -------
    name : str
    opset : int
    batch : int or None
        Fixed first size of the input, or None where it is free.
    input_shape : tuple of int
        Without the batch.
    input, output : str
        Names of the one input value and the one output value.
    input_dtype : dtype
        What the file declares for the input: a floating point type, or integers of 8 or 16 bits.
    output_length : int or None
        Elements of one output, where the file declares it.
    nodes : tuple of Node
        In an order in which every node follows its inputs.
    constants : mapping of str to Tensor
    """

    name: str
    opset: int
    batch: int | None
    input_shape: tuple[int, ...]
    input: str
    output: str
    output_length: int | None
    nodes: tuple[Node, ...]
    constants: Mapping[str, Tensor]
    input_dtype: np.dtype = np.dtype(np.float32)


def trouble(node: Node, reason: str) -> ModelError:
    """Make the error that says what is wrong with a node, in one line."""
    return ModelError(f"node {node.name!r} ({node.op}) {reason}")


def check_graph(graph: Graph) -> Graph:
    """Check that every value is made once and before it is used; return the graph.

    Raises
    ------
    ModelError
    """
    known = {graph.input, *graph.constants}
    made = {name for node in graph.nodes for name in node.outputs}
    if graph.input in graph.constants:
        raise ModelError(f"value {graph.input!r} is made twice")
    for node in graph.nodes:
        for name in node.inputs:
            if name and name not in known:
                raise trouble(node, f"takes the value {name!r}, which " + (
                    "only a later node makes: the nodes are in a wrong order or go round in a circle"
                    if name in made else "nothing before it makes"))
        for name in filter(None, node.outputs):
            if name in known:
                raise trouble(node, f"makes the value {name!r} a second time")
            known.add(name)
    if graph.output not in known:
        raise ModelError(f"nothing makes the output {graph.output!r}")
    return graph


def drop_unused(graph: Graph) -> Graph:
    """Leave out nodes that do not lead to the output, and constants that no node takes."""
    needed, nodes = {graph.output}, []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(filter(None, node.inputs))
            nodes.append(node)
    constants = {name: tensor for name, tensor in graph.constants.items() if name in needed}
    return replace(graph, nodes=tuple(reversed(nodes)), constants=constants)
