"""A model on its way from graph to layers: a straight line of linear and element-wise steps over flattened values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...hw.errors import ModelError
from ..model import Affine, FloatLayer, MaxPool, Quantiser, Step, Winners

__all__ = ["Chain", "Item", "by_channel", "check_chain", "check_finite", "compose", "refuse", "segments", "uniform"]

Item = FloatLayer | Step


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """Steps in the order of the file.

    Members
    -------
    input_shape : tuple of int
        Without the batch.
    items : tuple of FloatLayer, Affine, Clip, Quantiser, MaxPool, Winners
        A layer here is its linear step alone, without ``steps``. Unlike in a layer, an `Affine` holds one number for
        every *element* of the flattened value, since what stands before a layer may differ from pixel to pixel.
    """

    input_shape: tuple[int, ...]
    items: tuple[Item, ...]

    @property
    def quantised(self) -> bool:
        """Whether the file quantises what it computes."""
        return any(isinstance(item, Quantiser) for item in self.items)


def refuse(item: Item, reason: str) -> ModelError:
    """Make the error that says what is wrong with a step, in one line."""
    return ModelError(f"node {item.name!r} ({item.op}) {reason}")


def check_finite(name: str, op: str, **arrays: np.ndarray) -> None:
    """Raise ModelError where a number is NaN or infinite; folding can overflow."""
    for what, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelError(f"node {name!r} ({op}) has NaN or infinity in its {what}")


def uniform(array: np.ndarray) -> bool:
    """Whether all elements are equal."""
    return bool((array == array.flat[0]).all())


def by_channel(array: np.ndarray, channels: int) -> np.ndarray | None:
    """One number a channel, (channels,), of one for each element; None where it varies from pixel to pixel."""
    if array.size % channels:
        return None
    columns = array.reshape(channels, -1)
    return columns[:, 0] if (columns == columns[:, :1]).all() else None


def compose(first: Affine, then: Affine) -> Affine:
    """One affine step that does both, named after the second."""
    with np.errstate(over="ignore", invalid="ignore"):
        scale, divisor = then.scale * first.scale, then.divisor * first.divisor
        offset = then.scale * first.offset / then.divisor + then.offset
        check_finite(then.name, then.op, scale=scale, divisor=divisor, offset=offset)
    if not (divisor > 0).all():
        raise refuse(then, "divides by numbers too small for floating point")
    return replace(then, scale=scale, offset=offset, divisor=divisor)


def segments(items: Sequence[Item]) -> tuple[tuple[Step, ...], list[tuple[FloatLayer, tuple[Step, ...]]]]:
    """Split into the steps before the first layer, and every layer with the steps behind it."""
    before: list[Step] = []
    pairs: list[tuple[FloatLayer, list[Step]]] = []
    for item in items:
        if isinstance(item, FloatLayer):
            pairs.append((item, []))
        else:
            (pairs[-1][1] if pairs else before).append(item)
    return tuple(before), [(layer, tuple(steps)) for layer, steps in pairs]


def check_chain(chain: Chain) -> Chain:
    """Check that every step fits the value it takes; return the chain.

    Raises
    ------
    ModelError
        Names the step. (That numbers are finite, the records check themselves.)
    """
    size, image, flat = math.prod(chain.input_shape), None, None
    for item in chain.items:
        match item:
            case FloatLayer():
                if item.inputs != size:
                    raise refuse(item, f"must have {size} positions, not {item.inputs}")
                if item.steps:
                    raise refuse(item, "must have its steps behind it")
                pixels = (1, 1) if item.window is None else item.window.output_size
                image, flat = (item.kernels, *pixels), item if item.window is None else None
                size = math.prod(image)
            case Affine() if item.scale.size != size:
                raise refuse(item, f"must have {size} scales, not {item.scale.size}")
            case MaxPool() if image is None:
                raise refuse(item, "must follow a Conv or AveragePool, not the input of the model")
            case MaxPool() if flat is not None:
                raise refuse(item, f"must follow a Conv or AveragePool, not {flat.name!r} ({flat.op}), whose output is "
                                   "one pixel; the nearest supported form is without it")
            case MaxPool(window=window):
                if (window.channels, window.height, window.width) != image:
                    raise refuse(item, f"must pool the image {image!r} that the layer before it makes, as it stands")
                image = (window.channels, *window.output_size)
                size = math.prod(image)
            case Winners(winners=winners) if image is not None and not 1 <= winners <= image[0]:
                raise refuse(item, f"must have K of 1 to {image[0]} (the length of its vector), not {winners}")
    return chain
