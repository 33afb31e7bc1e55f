"""The packer: which kernels share a bank, in which fold, and how many rows each position then needs."""

from dataclasses import dataclass

import numpy as np

from .balance import balance, count_rows, deal
from .complementary import check_count, check_mask, find_complementary

__all__ = ["Packing", "find_complementary", "pack", "pack_sets"]

_UNIT = float(1 << 20)  # weights are whole numbers, so that sums are exact in any order and on any machine
_NEAR = 1.25  # complementary sets are taken without a second look up to this multiple of the lower bound


@dataclass(frozen=True, kw_only=True, eq=False)
class Packing:
    """Assignment of the kernels of one layer to folds and banks.

    B banks work in lockstep, F folds follow each other, and each bank has N accumulators in each fold. In fold f
    position i takes ``rows[f, i]`` rows of B slots: the most non-zeros that the kernels of one of the banks have there.

    Members
    -------
    kernels, positions : int
        M and L.
    set_size, banks, folds : int
        N, B and F; F * B * N >= M.
    members : int64 array, (F, B, N), read-only
        Kernel indices, -1 where a place is empty. Every kernel stands in one place; kernels of a bank are in ascending
        order, ahead of its empty places.
    rows : int64 array, (F, L), read-only
    column_counts : int64 array, (L,), read-only
        Non-zeros of all kernels at each position.
    """

    kernels: int
    positions: int
    set_size: int
    banks: int
    folds: int
    members: np.ndarray
    rows: np.ndarray
    column_counts: np.ndarray

    @property
    def nonzero(self) -> int:
        """Non-zeros of all kernels."""
        return int(self.column_counts.sum())

    @property
    def sets(self) -> int:
        """Number of sets S = F * B, empty ones included."""
        return self.folds * self.banks

    @property
    def slots(self) -> int:
        """Weights that the memories hold, used or not: B for each row."""
        return int(self.rows.sum()) * self.banks

    @property
    def fill(self) -> float:
        """Part of the slots that hold a non-zero; 1.0 where there are none."""
        return self.nonzero / self.slots if self.slots else 1.0

    @property
    def rows_lower_bound(self) -> int:
        """Number that ``rows.sum()`` cannot be less than in any assignment to B banks, in whatever number of folds.

        A row holds one non-zero of each of B banks, so position i, with c non-zeros, takes ceil(c / B) rows or more.
        """
        return int((-(-self.column_counts // self.banks)).sum())

    @property
    def complementary(self) -> bool:
        """True if no bank has two non-zeros at a position in the same fold, so that no row pointers are needed."""
        return int(self.rows.max()) <= 1


def pack(
    mask: np.ndarray,
    *,
    banks: int | None = None,
    set_size: int | None = None,
    activity: np.ndarray | None = None,
    depth_limit: int = 512,
    node_budget: int = 20_000,
) -> Packing:
    """Assign the kernels of a layer to folds and banks so that few rows are read: sum of ``activity[i] * rows[f, i]``.

    Lossless for every mask. Complementary sets are looked for first (`find_complementary`); those that take a quarter
    more than the lower bound (as when S is just above a multiple of ``banks``) compete with the balanced assignment
    (`balance`), and where there are none that is the answer. What is not given is chosen:

    ==========  ============  ===============================================================================
    banks       set_size      shape
    ==========  ============  ===============================================================================
    absent      absent        complementary: one fold, B = S as found; else one fold of as few banks as
                              ``depth_limit`` allows, B = ceil(M / depth_limit), N = ceil(M / B), since deeper
                              banks balance better
    absent      N             one fold, B = ceil(M / N)
    B           absent        complementary: F = ceil(S / B); else the fewest folds that ``depth_limit``
                              allows, F = ceil(M / (B * depth_limit)), N = ceil(M / (B * F))
    B           N             F = ceil(M / (B * N))
    ==========  ============  ===============================================================================

    The weighted rows are never more than those of dealing the kernels out in order, one to each bank in turn
    (kernel k to bank k mod B of fold k // B mod F), in the same shape (B, N, F).

    Parameters
    ----------
    mask : bool array, (kernels, positions)
        True where a weight is not zero.
    banks : int, optional
        B.
    set_size : int, optional
        N, at most ``depth_limit``.
    activity : float array, (positions,), optional
        Probability that a position is active, by default the same everywhere. Rounded to 2**-20 of the largest.
    depth_limit : int
        Largest N.
    node_budget : int
        Bound of the search for complementary sets, see `find_complementary`.

    Returns
    -------
    Packing

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or amount.
    """
    check_mask(mask)
    kernels, positions = mask.shape
    check_count("depth_limit", depth_limit)
    check_count("node_budget", node_budget)
    if banks is not None:
        check_count("banks", banks)
    if set_size is not None:
        check_count("set_size", set_size)
        if set_size > depth_limit:
            raise ValueError(f"set_size must be at most depth_limit, {depth_limit!r}, not {set_size!r}")
    weight = _check_activity(activity, positions)

    def cost(members: np.ndarray) -> float:
        return float(weight @ count_rows(mask, members).sum(axis=0))

    column_counts = mask.sum(axis=0, dtype=np.int64)
    candidates = []
    sets = find_complementary(mask, set_size=set_size, depth_limit=depth_limit, node_budget=node_budget)
    if sets is not None:
        width, size = banks or len(sets), set_size or max(map(len, sets))
        folded = _fold(mask, sets, weight, banks=width, set_size=size)
        candidates = [folded, deal(kernels, folds=len(folded), banks=width, set_size=size)]
    if sets is None or cost(folded) > _NEAR * (weight @ -np.floor_divide(-column_counts, width)):
        width = banks or -(-kernels // (set_size or depth_limit))
        folds = -(-kernels // (width * (set_size or depth_limit)))
        size = set_size or -(-kernels // (width * folds))
        candidates.append(balance(mask, weight, folds=folds, banks=width, set_size=size))
    members = _ordered(min(candidates, key=cost))
    rows = count_rows(mask, members)
    for array in (members, rows, column_counts):
        array.flags.writeable = False
    return Packing(
        kernels=kernels,
        positions=positions,
        set_size=members.shape[2],
        banks=members.shape[1],
        folds=members.shape[0],
        members=members,
        rows=rows,
        column_counts=column_counts,
    )


def pack_sets(mask: np.ndarray, sets: np.ndarray) -> Packing:
    """Pack a layer into sets that are known, in one fold.

    Parameters
    ----------
    mask : bool array, (kernels, positions)
    sets : int64 array, (S, N)
        Every kernel once, -1 where a place is empty.
    """
    check_mask(mask)
    members = _ordered(sets[np.newaxis])
    return Packing(
        kernels=len(mask), positions=mask.shape[1], set_size=members.shape[2], banks=members.shape[1], folds=1,
        members=members, rows=count_rows(mask, members), column_counts=mask.sum(axis=0, dtype=np.int64))


def _fold(
    mask: np.ndarray, sets: list[tuple[int, ...]], weight: np.ndarray, *, banks: int, set_size: int
) -> np.ndarray:
    """Group complementary sets into folds: the fullest set left begins one, those that add least to its rows join."""
    folds = -(-len(sets) // banks)
    members = np.full((folds, banks, set_size), -1, np.int64)
    used = np.array([mask[list(group)].any(axis=0) for group in sets], np.float64)
    left = np.ones(len(sets), bool)
    for fold in range(folds):
        added = used @ weight
        rows = np.zeros(mask.shape[1], bool)
        for bank in range(min(banks, np.count_nonzero(left))):
            choice = int(np.where(left, -added if bank == 0 else added, np.inf).argmin())
            new = (used[choice] > 0) & ~rows
            rows |= new
            added -= used[:, new] @ weight[new]
            left[choice] = False
            members[fold, bank, : len(sets[choice])] = sets[choice]
    return members


def _ordered(members: np.ndarray) -> np.ndarray:
    """Return the same assignment with ascending kernels in each bank, and the banks of a fold by their first kernel."""
    last = np.iinfo(np.int64).max
    kernels = np.sort(np.where(members < 0, last, members), axis=2)
    order = np.argsort(kernels[:, :, 0], axis=1, kind="stable")
    kernels = np.take_along_axis(kernels, order[:, :, None], axis=1)
    return np.where(kernels == last, -1, kernels)


def _check_activity(activity: np.ndarray | None, positions: int) -> np.ndarray:
    """Return the weight of each position as a whole number, the largest being 2**20, or raise."""
    if activity is None:
        return np.full(positions, _UNIT)
    if not isinstance(activity, np.ndarray) or activity.dtype.kind not in "fiu":
        raise TypeError(f"activity must be an array of probabilities, not {activity!r}")
    if activity.shape != (positions,):
        raise ValueError(f"activity must be of shape ({positions!r},), not {activity.shape!r}")
    outside = activity[~((activity >= 0) & (activity <= 1))]
    if outside.size:
        raise ValueError(f"activity must be between 0 and 1, not {float(outside[0])!r}")
    return np.rint(activity / (activity.max() or 1) * _UNIT)
