"""Float graph records between the ONNX file and the model record, each with its checker.

A `Graph` is what the file says: named nodes that consume and produce named values. A `Chain` is what Dovetail builds: a
straight line of linear layers and element-wise steps over flat vectors. Passes in ``sw.fold`` turn the first into the
second; after every pass the checker here looks at its result.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..hw.errors import ModelError

__all__ = [
    "Affine", "Chain", "Graph", "Linear", "Node", "Relu", "Step", "Winners", "check_chain", "check_graph", "trouble",
]


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
    """A float network as its file states it.

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
    output_length : int or None
        Elements of one output, where the file declares it.
    nodes : tuple of Node
        In an order in which every node follows its inputs.
    constants : mapping of str to array
    """

    name: str
    opset: int
    batch: int | None
    input_shape: tuple[int, ...]
    input: str
    output: str
    output_length: int | None
    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """``weights @ x + bias``, float64 (M, L) and (M,)."""

    name: str
    op: str
    weights: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Affine:
    """``scale * x + offset`` for each element, float64 (L,) both: batch normalisation, addition of constants."""

    name: str
    op: str
    scale: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Relu:
    """The greater of each element and zero."""

    name: str
    op: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Winners:
    """k-WTA: the ``winners`` largest elements stay, the others become zero."""

    name: str
    op: str
    winners: int


Step = Linear | Affine | Relu | Winners


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """A straight line of steps over flat vectors; the first takes the flattened input."""

    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]


def trouble(node: Node | Step, reason: str) -> ModelError:
    """Make the error that says what is wrong with a node, in one line."""
    return ModelError(f"node {node.name!r} ({node.op}) {reason}")


def check_graph(graph: Graph) -> Graph:
    """Check that every value is made once and before it is used; return the graph.

    Raises
    ------
    ModelError
    """
    known = {graph.input, *graph.constants}
    if graph.input in graph.constants:
        raise ModelError(f"value {graph.input!r} is made twice")
    for node in graph.nodes:
        for name in node.inputs:
            if name and name not in known:
                raise trouble(node, f"takes the value {name!r}, which nothing before it makes")
        for name in filter(None, node.outputs):
            if name in known:
                raise trouble(node, f"makes the value {name!r} a second time")
            known.add(name)
    if graph.output not in known:
        raise ModelError(f"nothing makes the output {graph.output!r}")
    return graph


def check_chain(chain: Chain) -> Chain:
    """Check lengths, values and K of every step; return the chain.

    Raises
    ------
    ModelError
    """
    length = math.prod(chain.input_shape)
    for step in chain.steps:
        match step:
            case Linear(weights=weights, bias=bias):
                if weights.shape[1] != length or bias.shape != weights.shape[:1]:
                    raise trouble(step, f"must have {length} positions, not {weights.shape[1]}")
                length = weights.shape[0]
                arrays = {"weights": weights, "bias": bias}
            case Affine(scale=scale, offset=offset):
                arrays = {"scale": scale, "offset": offset}
            case Winners(winners=winners):
                if not 1 <= winners <= length:
                    raise trouble(step, f"must have K of 1 to {length} (the length of its vector), not {winners}")
                arrays = {}
            case Relu():
                arrays = {}
        for what, array in arrays.items():
            if not np.isfinite(array).all():
                raise trouble(step, f"has NaN or infinity in its {what}")
    return chain
