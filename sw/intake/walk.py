"""What the walk along a graph knows: the constants, and the one computed value with the steps that made it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...hw.errors import ModelError
from ..model import Head
from .chain import Item
from .graph import Node, Tensor, trouble

__all__ = ["MAX_ELEMENTS", "Codes", "Scope", "Value", "not_undone", "spread"]

MAX_ELEMENTS = 2**20   # of a value: no device of interest holds more, and a small file must not ask for much memory


@dataclass(frozen=True, kw_only=True)
class Codes:
    """How the integers of a QuantizeLinear are to be read: ``scale * (q - zero)``."""

    scale: float
    zero: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """The computed value at one place of the graph.

    Members
    -------
    shape : tuple of int
        Without the batch; with the pads and the order of axes that wait for the node that uses or undoes them.
    items : tuple of Item
        What has made it from the input.
    codes : Codes or None
        Between QuantizeLinear and DequantizeLinear.
    padded : (Node, (int, int, int, int)) or None
        Zeros that a Pad has put around the image (top, left, bottom, right) and that the next window takes up.
    moved : (Node, tuple of int) or None
        A Transpose that another one must undo, and its axes (the batch is axis 0).
    order : (Node, int array) or None
        A Transpose that was flattened before it was undone; element i of the file is element ``order[i]`` of what
        ``items`` make, until a Gemm or MatMul moves its weights accordingly.
    head : Head or None
        What the file does with the scores.
    """

    shape: tuple[int, ...]
    items: tuple[Item, ...] = ()
    codes: Codes | None = None
    padded: tuple[Node, tuple[int, int, int, int]] | None = None
    moved: tuple[Node, tuple[int, ...]] | None = None
    order: tuple[Node, np.ndarray] | None = None
    head: Head | None = None

    def then(self, *items: Item, shape: tuple[int, ...] | None = None) -> "Value":
        """Value after more steps."""
        return replace(self, items=(*self.items, *items), shape=self.shape if shape is None else shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scope:
    """What is known beside the computed value.

    Members
    -------
    opset : int
    batch : int or None
        None where it is free.
    constants : mapping of str to Tensor
    """

    opset: int
    batch: int | None
    constants: Mapping[str, Tensor]

    def tensor(self, node: Node, index: int) -> Tensor | None:
        """Constant input of a node; None where it is left out or computed."""
        return self.constants.get(node.inputs[index]) if index < len(node.inputs) else None

    def given(self, node: Node, index: int) -> Tensor:
        """Constant input of finite numbers that a node must have."""
        tensor = self.tensor(node, index)
        if tensor is None or tensor.values.dtype.kind not in "fiu" or not tensor.values.size:
            raise trouble(node, f"must have a constant tensor of numbers as input {index}")
        if not np.isfinite(tensor.values).all():
            raise trouble(node, f"has NaN or infinity in its input {index}")
        return tensor

    def numbers(self, node: Node, index: int) -> np.ndarray:
        """Its values in float64."""
        return self.given(node, index).values.astype(np.float64)

    def integers(self, node: Node, attribute: str, index: int) -> list[int] | None:
        """Integers that older opsets hold in an attribute and newer ones in a constant input; None where left out."""
        value = node.attributes.get(attribute)
        if value is None and index < len(node.inputs) and node.inputs[index]:
            tensor = self.tensor(node, index)
            if tensor is None or tensor.values.ndim > 1 or tensor.values.dtype.kind not in "iu":
                raise trouble(node, f"must have constant {attribute} of integers")
            return [int(number) for number in tensor.values.reshape(-1)]
        return [int(number) for number in value] if isinstance(value, list) else None


def not_undone(node: Node) -> ModelError:
    """Make the error of a Transpose that nothing takes back."""
    return trouble(node, "must only move axes of size 1, or be undone by the next Transpose; the nearest supported "
                         "form has the channels first throughout")


def spread(node: Node, constant: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Broadcast a constant over one batch entry of this shape, and flatten it."""
    try:
        return np.broadcast_to(constant, (1, *shape)).reshape(-1)
    except ValueError as error:
        raise trouble(node, f"must have a constant that spreads over the shape {shape!r}, not one of shape "
                            f"{constant.shape!r}") from error
