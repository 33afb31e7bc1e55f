"""Between which numbers a computed value lies, from the quantisers and weights that made it."""

import math

import numpy as np

from ..model import Affine, Clip, FloatLayer, Quantiser, Winners
from .walk import Value

__all__ = ["bounds"]


def bounds(value: Value) -> tuple[float, float]:
    """Least and greatest number that any element can be; infinite where no quantiser says so.

    Sums are those of the least and greatest inputs, whichever a weight makes greater: no element lies beyond.
    """
    low, high = -math.inf, math.inf
    for item in value.items:
        match item:   # MaxPool chooses among elements
            case Quantiser():
                limits = (item.low - 1) * item.scale, (item.high + 1) * item.scale
                low, high = (item.scale * item.codes(np.clip([low, high], *limits))).tolist()
            case Clip():
                low, high = (min(max(bound, item.low), item.high) for bound in (low, high))
            case Winners():
                low, high = min(low, 0.0), max(high, 0.0)
            case FloatLayer() if math.isfinite(low) and math.isfinite(high):
                if item.window is not None and any(item.window.pads):
                    low, high = min(low, 0.0), max(high, 0.0)
                ends = item.weights * low, item.weights * high
                low = float((np.minimum(*ends).sum(axis=1) + item.bias).min())
                high = float((np.maximum(*ends).sum(axis=1) + item.bias).max())
            case Affine() if math.isfinite(low) and math.isfinite(high):
                ends = np.array([item.scale * bound / item.divisor + item.offset for bound in (low, high)])
                low, high = float(ends.min()), float(ends.max())
            case FloatLayer() | Affine():
                low, high = -math.inf, math.inf
    return low, high
