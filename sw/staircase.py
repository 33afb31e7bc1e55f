"""The staircase of a quantiser: codes as a function of the integer that the steps before it start from.

Every element-wise step is monotone, in floating point too: it never falls where it should rise. So the least integer
that gives a code is found by binary search, asking the model's own steps.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..hw.errors import ModelError
from .fit import StepFunction
from .model import Affine, FloatLayer, Quantiser, Rounding, Step

__all__ = ["falling", "staircase"]

_BEYOND = 2.0**62       # no sum is beyond, see Layer
_MOST_STEPS = 2**24     # thresholds of all kernels: a matter of memory, and of seconds
_CHUNK = 2**20


def falling(steps: tuple[Step, ...], kernels: int) -> np.ndarray:
    """Kernels whose value falls where what they start from rises, bool (M,)."""
    falls = np.zeros(kernels, dtype=bool)
    for step in steps:
        if isinstance(step, Affine):
            falls ^= step.scale < 0
    return falls


def staircase(
    layer: FloatLayer, steps: tuple[Step, ...], *, unit: np.ndarray, offset: np.ndarray, least: np.ndarray,
    most: np.ndarray, low: int, high: int,
) -> StepFunction:
    """Find the thresholds of ``code(steps(offset + unit * x))`` of every kernel; where that falls, of ``-x`` instead.

    Parameters
    ----------
    layer : FloatLayer
        Whose steps these are.
    steps : tuple of Step
        Element-wise ones, the last of them a Quantiser.
    unit, offset : float64 (M,)
    least, most : int64 (M,)
        Range of x, or of ``-x``.
    low, high : int
        To which the codes are clamped.

    Returns
    -------
    StepFunction
        Its codes are those between which its function can be, whatever the sum, 0 and 1 among them.

    Raises
    ------
    ModelError
        If there are too many thresholds to look for, or numbers overflow.
    """
    quantiser = steps[-1]
    if not isinstance(quantiser, Quantiser):
        raise TypeError(f"steps must end in a Quantiser, not {quantiser!r}")
    falls = falling(steps, layer.kernels)
    probe = replace(layer, window=None, steps=steps[:-1])
    signed = np.where(falls, -unit, unit)

    def codes_of(x: np.ndarray) -> np.ndarray:
        # Infinity is clamped like every other number.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.clip(quantiser.codes(probe.apply(x * signed + offset)), low, high)

    ends = codes_of(np.outer([-_BEYOND, _BEYOND], np.ones(layer.kernels)))
    with np.errstate(over="ignore", invalid="ignore"):
        slope = unit / quantiser.scale * math.prod(np.abs(step.slope) for step in steps if isinstance(step, Affine))
    if not (np.isfinite(ends).all() and np.isfinite(slope).all()):
        raise ModelError(f"node {quantiser.name!r} ({quantiser.op}) is given numbers that overflow; scales of a "
                         "sensible size are needed")
    low, high = min(0, int(ends[0].min())), max(1, int(ends[1].max()))
    codes = np.arange(low + 1, high + 1, dtype=np.int64)
    if quantiser.rounding is Rounding.SIGN and low == -1:
        codes = codes[1:]
    if codes.size * layer.kernels > _MOST_STEPS:
        raise ModelError(f"node {quantiser.name!r} ({quantiser.op}) has {codes.size * layer.kernels:,} thresholds in "
                         f"all its kernels; at most {_MOST_STEPS:,}, so use fewer bits")
    rows = max(1, _CHUNK // layer.kernels)
    thresholds = np.concatenate([
        _least(codes_of, codes[start:start + rows], least, most) for start in range(0, len(codes), rows)])
    return StepFunction(thresholds=thresholds, codes=codes, low=low, least=least, most=most, slope=slope, falls=falls)


def _least(
    codes_of: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, least: np.ndarray, most: np.ndarray,
) -> np.ndarray:
    """Least x of every code and kernel, ``most + 1`` where there is none: int64 (codes, M)."""
    low, high = (np.broadcast_to(bound, (len(codes), len(bound))) for bound in (least, most + 1))
    while (low < high).any():
        middle = (low + high) >> 1
        enough = codes_of(middle) >= codes[:, np.newaxis]
        low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
    return high
