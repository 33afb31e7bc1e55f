"""Hardware stages that have given thresholds: how a step function of integers becomes shifts, multipliers, comparators.

A scale stage computes ``v = x * m + o``, and its code is at least c exactly where ``v >= c * 2**shift + tie``: the tie
is 1 where ties go to even and c is odd, otherwise 0. So a kernel's threshold T for the code c is met by every o with

    T * m + o >= c * 2**shift + tie > (T - 1) * m + o

which is an interval of offsets; the stage is exact where the intervals of all codes have a number in common. Only
integers occur, so what is found is exact for every x that was asked about.

The slopes that are exact for a kernel are an interval too, and its real slope is one of them. Hence, where a multiplier
is exact for a given shift, so is the real slope times ``2**shift``, rounded down or rounded up.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .network import Exactness, Scale, Stage, Thresholds

__all__ = ["MOST_THRESHOLDS", "MULTIPLIER_BITS", "Fit", "StepFunction", "fit"]

MULTIPLIER_BITS = 32
MOST_THRESHOLDS = 15
_FEW_THRESHOLDS = 3     # so many comparators are cheaper than a multiplier
_SAFE_BITS = 60         # of products, and of codes times 2**shift: the sum of two, and _FAR, stays within 64 bits
_FAR = 2**61            # where no threshold bounds the offset
_COARSE = 16            # thresholds that are tried first, since most multipliers fail there


@dataclass(frozen=True, kw_only=True, eq=False)
class StepFunction:
    """A rising step function of an integer x for each of M kernels.

    Members
    -------
    thresholds : int64 (T, M)
        Least x, not below ``least``, that gives ``codes[row]`` or more; ``most + 1`` where none does.
    codes : int64 (T,)
        Ascending in equal steps.
    low : int
        The code below the first threshold, one step less than ``codes[0]``.
    least, most : int64 (M,)
        Range of the x that occur; its numbers have at most 53 bits.
    slope : float64 (M,)
        Codes per unit of x where the function is not clamped, at least 0.
    falls : bool (M,)
        Kernels whose x is the negative of what the stage will be given.
    """

    thresholds: np.ndarray
    codes: np.ndarray
    low: int
    least: np.ndarray
    most: np.ndarray
    slope: np.ndarray
    falls: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A stage, and how well it is the step function.

    Members
    -------
    stage : Stage
    bias : int64 (M,)
        To be added to x before the stage.
    exactness : Exactness
    misplaced, distance : int
        Thresholds that are not where they should be, and by how much at most.
    """

    stage: Stage
    bias: np.ndarray
    exactness: Exactness
    misplaced: int = 0
    distance: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Placed:
    """Multipliers, offsets and biases, int64 (M,) each, that meet every threshold."""

    shift: int
    ties: bool
    multiplier: np.ndarray
    offset: np.ndarray
    bias: np.ndarray


def fit(wanted: StepFunction, *, biased: bool) -> Fit | None:
    """Find the cheapest stage that is exact, else the nearest.

    In this order: a shift alone; comparators, up to 3; multipliers, with one offset for all kernels, then with one for
    each; comparators, up to `MOST_THRESHOLDS`; and last the nearest multipliers. Shifts, and with them multipliers, are
    as small as can be; ties go to even only where the same shift does not do without.

    Parameters
    ----------
    wanted : StepFunction
    biased : bool
        Whether an integer can be added to x before the stage, as is done with a layer's sums.

    Returns
    -------
    Fit or None
        None if the nearest stage is more than one code off for some x, or if codes leave numbers out (steps above 1)
        and comparators are no choice.
    """
    crosses = ((wanted.thresholds > wanted.least) & (wanted.thresholds <= wanted.most)).any(axis=0)
    # The slope of a kernel with one code only means nothing, and must not be what the others' multipliers yield to.
    steepest = wanted.slope.max(where=crosses, initial=0.0)
    wanted = replace(wanted, slope=np.minimum(wanted.slope, steepest))
    comparators, step = None, int(wanted.codes[0]) - wanted.low
    if len(wanted.codes) <= MOST_THRESHOLDS and not wanted.falls.any():
        comparators = Fit(
            stage=Thresholds(values=wanted.thresholds.T, low=wanted.low, step=step),
            bias=np.zeros_like(wanted.least), exactness=Exactness.THRESHOLDS)
    if step > 1:
        return comparators
    placed = _search(wanted, biased=biased, multiplies=False)
    if placed is None and comparators is not None and len(wanted.codes) <= _FEW_THRESHOLDS:
        return comparators
    placed = placed or _search(wanted, biased=biased, multiplies=True)
    if placed is not None:
        stage = _scale(wanted, placed)
        exactness = Exactness.SHIFT if stage.multiplier is None else Exactness.MULTIPLIER
        return Fit(stage=stage, bias=placed.bias, exactness=exactness)
    return comparators or _nearest(wanted, biased=biased)


def _scale(wanted: StepFunction, placed: _Placed) -> Scale:
    """Turn what was found into the record, with numbers for all kernels where they are the same."""
    multiplier = np.where(wanted.falls, -placed.multiplier, placed.multiplier)
    same = (placed.offset == placed.offset[0]).all()
    return Scale(
        multiplier=None if (multiplier == 1).all() else multiplier, offset=int(placed.offset[0]) if same
        else placed.offset, shift=placed.shift, low=wanted.low, high=int(wanted.codes[-1]), ties_to_even=placed.ties)


def _limits(wanted: StepFunction) -> tuple[int, int]:
    """Greatest multiplier and greatest shift."""
    widest = int(max(np.abs(wanted.least).max(), np.abs(wanted.most).max())) + 1
    code = max(abs(wanted.low), abs(int(wanted.codes[-1]))) + 1
    return 2 ** min(MULTIPLIER_BITS, _SAFE_BITS - widest.bit_length()) - 1, _SAFE_BITS - code.bit_length()


def _shifts(wanted: StepFunction, multiplies: bool) -> range:
    """Shifts in question: from where the steepest kernel has a multiplier of 1, to where it has the greatest."""
    largest, last = _limits(wanted)
    steepest = float(wanted.slope.max())
    if not multiplies or steepest == 0:
        return range(last + 1)
    first = min(last, max(0, math.floor(-math.log2(steepest))))
    return range(first, min(last, max(first, math.floor(math.log2(largest / steepest)))) + 1)


def _candidates(wanted: StepFunction, shift: int) -> Iterator[np.ndarray]:
    """Multipliers around the real slope, int64 (M,)."""
    largest, _ = _limits(wanted)
    slope = np.minimum(np.ldexp(wanted.slope, shift), largest).astype(np.int64)
    # Off by one more: where a function is not quite that of a slope, as with halves that go away from zero.
    for change in (0, 1, -1, 2):
        yield (slope + change).clip(1, largest)
    if (slope == 0).any():
        # A kernel with one code only: a large multiplier needs a small bias to hold it there.
        yield np.full_like(slope, min(largest, int(slope.max()) + 1))


def _bounds(wanted: StepFunction, shift: int, multiplier: np.ndarray, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest offset that meets every threshold, int64 (M,); the least is above where there is none."""
    thresholds, codes = wanted.thresholds, wanted.codes[:, np.newaxis]
    offsets = (codes << shift) + (ties & codes) - thresholds * multiplier
    least = np.where(thresholds <= wanted.most, offsets, -_FAR).max(axis=0)
    most = np.where(thresholds > wanted.least, offsets + (multiplier - 1), _FAR).min(axis=0)
    return least, most


def _bounding(wanted: StepFunction) -> StepFunction:
    """Leave out thresholds that bound no offset: those that all kernels always reach, or never, but for the nearest.

    Of 16-bit codes most may be like that.
    """
    always = int((wanted.thresholds <= wanted.least).all(axis=1).sum())
    never = int((wanted.thresholds > wanted.most).all(axis=1).sum())
    rows = slice(max(always - 1, 0), len(wanted.codes) - max(never - 1, 0))
    return replace(wanted, thresholds=wanted.thresholds[rows], codes=wanted.codes[rows])


def _search(wanted: StepFunction, *, biased: bool, multiplies: bool) -> _Placed | None:
    """Find the least shift that is exact with one offset for all kernels, else with one for each."""
    bounding = _bounding(wanted)
    coarse = np.unique(np.linspace(0, len(bounding.codes) - 1, _COARSE).astype(np.int64))
    sample = replace(bounding, thresholds=bounding.thresholds[coarse], codes=bounding.codes[coarse])
    own = None
    for shift in _shifts(wanted, multiplies):
        tried = list(_candidates(wanted, shift)) if multiplies else [np.ones_like(wanted.least)]
        for ties in (False, True):
            for function in (sample, bounding):
                bounds = [_bounds(function, shift, multiplier, ties) for multiplier in tried]
                if not np.any([least <= most for least, most in bounds], axis=0).all():
                    break
            else:
                found, same = _place(shift, ties, np.array(tried), np.array(bounds), biased=biased)
                if same:
                    return found
                own = own or found
    return own


def _place(
    shift: int, ties: bool, multipliers: np.ndarray, bounds: np.ndarray, *, biased: bool,
) -> tuple[_Placed, bool]:
    """Choose among candidates (n, M) with bounds (n, 2, M), one of each kernel at least being exact.

    Returns
    -------
    placed : _Placed
    same : bool
        Whether all kernels have the same offset.
    """
    half, kernels = 1 << shift >> 1, np.arange(multipliers.shape[1])
    least, most = bounds[:, 0], bounds[:, 1]
    if biased:
        # With an offset of half a step for all: the biases that are then within the bounds, the smallest of them.
        lowest, highest = -((half - least) // multipliers), (most - half) // multipliers
        biases = np.clip(0, lowest, highest)
        cost = np.where(lowest <= highest, np.abs(biases), _FAR)
        choice = cost.argmin(axis=0), kernels
        if (cost[choice] < _FAR).all():
            return _Placed(shift=shift, ties=ties, multiplier=multipliers[choice], offset=np.full_like(kernels, half),
                           bias=biases[choice]), True
    choice = (least <= most).argmax(axis=0), kernels
    multiplier, offset = multipliers[choice], np.clip(half, least[choice], most[choice])
    if not biased and least[choice].max() <= most[choice].min():
        offset = np.full_like(kernels, np.clip(half, least[choice].max(), most[choice].min()))
        return _Placed(shift=shift, ties=ties, multiplier=multiplier, offset=offset,
                       bias=np.zeros_like(kernels)), True
    bias = (offset - half + multiplier // 2) // multiplier if biased else np.zeros_like(kernels)
    return _Placed(shift=shift, ties=ties, multiplier=multiplier, offset=offset - bias * multiplier, bias=bias), False


def _nearest(wanted: StepFunction, *, biased: bool) -> Fit | None:
    """Find multipliers of the greatest width whose thresholds are nearest."""
    shift, kernels = _shifts(wanted, True)[-1], np.arange(len(wanted.slope))
    best = None
    for ties in (False, True):
        multipliers = np.array(list(_candidates(wanted, shift)))
        bounds = np.array([_bounds(wanted, shift, multiplier, ties) for multiplier in multipliers])
        choice = (bounds[:, 0] - bounds[:, 1]).argmin(axis=0)
        least, most = bounds[choice, 0, kernels], bounds[choice, 1, kernels]
        # Where the bounds exclude each other, the middle violates both the least.
        middle = least + (most - least) // 2
        least, most = np.where(least <= most, least, middle), np.where(least <= most, most, middle)
        placed, _ = _place(shift, ties, multipliers[choice, kernels][np.newaxis],
                           np.array([[least, most]]), biased=biased)
        has = _thresholds(wanted, placed)
        distance = np.abs(has - wanted.thresholds)
        if (has[1:] >= wanted.thresholds[:-1]).all() and (has[:-1] <= wanted.thresholds[1:]).all():
            misplaced = int(np.count_nonzero(distance))
            if best is None or misplaced < best.misplaced:
                best = Fit(stage=_scale(wanted, placed), bias=placed.bias, exactness=Exactness.NEAREST,
                           misplaced=misplaced, distance=int(distance.max()))
    return best


def _thresholds(wanted: StepFunction, placed: _Placed) -> np.ndarray:
    """Thresholds that a stage has, int64 (T, M)."""
    codes = wanted.codes[:, np.newaxis]
    goal = (codes << placed.shift) + (placed.ties & codes) - (placed.offset + placed.bias * placed.multiplier)
    return np.clip(-(-goal // placed.multiplier), wanted.least, wanted.most + 1)
