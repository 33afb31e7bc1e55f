"""Balancing the kernels of any sparse mask over banks that work in lockstep."""

from itertools import product

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

__all__ = ["balance", "count_rows", "deal"]

_SHORTLIST = 8  # kernels of a bank that are tried in every pair
_VISITS = 8_000  # pairs of banks that are looked at, at most
_SMOOTH = 0.25  # share of the smooth measure in what an exchange is judged by


def deal(kernels: int, *, folds: int, banks: int, set_size: int) -> np.ndarray:
    """Deal kernels to the banks in order, one each in turn; this is the assignment that no packing may be worse than.

    Returns
    -------
    int64 array, (folds, banks, set_size)
        Kernel indices, -1 where a place is empty.
    """
    places = np.full(folds * banks * set_size, -1, np.int64)
    places[:kernels] = np.arange(kernels)
    return np.ascontiguousarray(places.reshape(set_size, folds, banks).transpose(1, 2, 0))


def count_rows(mask: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Count the rows that each position needs in each fold: the most non-zeros that one bank has there.

    Parameters
    ----------
    mask : bool array, (kernels, positions)
    members : int array, (folds, banks, set_size)
        Kernel indices, -1 where a place is empty.

    Returns
    -------
    int64 array, (folds, positions)
    """
    counts = np.zeros((*members.shape[:2], mask.shape[1]), np.int64)
    for fold, bank, place in np.argwhere(members >= 0):
        counts[fold, bank] += mask[members[fold, bank, place]]
    return counts.max(axis=1)


class _Exchange:
    """An assignment under improvement by exchanges of two kernels.

    The cost of a fold is ``sum_i weight[i] * max_b counts[b, i]``. Maxima alone guide badly, since most exchanges
    change none, so a share of the judgement goes to the tangent of ``log2 sum_b 2**counts[b, i]``, a smooth maximum.

    Members
    -------
    members : int64 array, (folds * banks, set_size)
        Kernel indices; the number of kernels stands for an empty place.
    counts : float array, (folds * banks, positions)
        Whole numbers, in the type that matrix products are fast in.
    top, shared : float and int arrays, (folds, positions)
        The maxima over the banks of a fold, and how many banks have them.
    pull : float array, (folds * banks, positions)
        Slope of the smooth maximum in the counts of each bank, times the weight.
    """

    def __init__(self, mask: np.ndarray, weight: np.ndarray, *, folds: int, banks: int, set_size: int):
        self.folds, self.banks = folds, banks
        self.weight = weight
        self.rows = np.vstack([mask, np.zeros((1, mask.shape[1]), bool)]).astype(np.float64)
        self.members = np.full((folds * banks, set_size), len(mask), np.int64)
        self.counts = np.zeros((folds * banks, mask.shape[1]))
        self.pull = np.zeros_like(self.counts)
        self.top = np.zeros((folds, mask.shape[1]))
        self.shared = np.zeros((folds, mask.shape[1]), np.int64)
        for fold in range(folds):
            self.measure(fold)

    def measure(self, fold: int) -> None:
        """Refresh what follows from a fold's counts: the maxima, the banks that share each, and the slopes."""
        banks = slice(fold * self.banks, (fold + 1) * self.banks)
        above = self.counts[banks] - self.counts[banks].max(axis=0)
        power = np.ldexp(1.0, above.astype(np.int64))
        self.top[fold] = self.counts[banks].max(axis=0)
        self.shared[fold] = (above == 0).sum(axis=0)
        self.pull[banks] = np.rint(power / power.sum(axis=0) * self.weight)

    def construct(self) -> None:
        """Place the kernels, those with most non-zeros first, one to each bank at a time, by optimal assignment."""
        kernels = len(self.rows) - 1
        sparse = csr_array(self.rows)
        order = np.argsort(-self.rows[:kernels].sum(axis=1), kind="stable")
        for place, start in enumerate(range(0, kernels, len(self.members))):
            chosen = order[start : start + len(self.members)]
            which, bank = linear_sum_assignment(sparse[chosen] @ self.pull.T)
            self.members[bank, place] = chosen[which]
            self.counts[bank] += self.rows[chosen[which]]
            for fold in range(self.folds):
                self.measure(fold)

    def change(self, source: int, target: int) -> np.ndarray:
        """Return, for each position, what moving one non-zero from ``source`` to ``target`` adds to the judgement."""
        fold, other = source // self.banks, target // self.banks
        rise = self.counts[target] == self.top[other]
        fall = (self.counts[source] == self.top[fold]) & (self.shared[fold] == 1)
        if fold == other:
            fall &= self.counts[target] + 1 < self.top[fold]
        exact = self.weight * (rise.astype(np.float64) - fall)
        return np.rint((1 - _SMOOTH) * exact + _SMOOTH * (self.pull[target] - self.pull[source] / 2))

    def improve(self, one: int, two: int) -> bool:
        """Make the best exchange between two banks, if there is one that gains."""
        there, back = self.change(one, two), self.change(two, one)
        # einsum, not @: a threaded BLAS takes ten times as long over matrices this small as soon as the cores are busy.
        changes = ((one, there), (two, back))
        gains = [np.einsum("kp,p", self.rows[self.members[bank]], change) for bank, change in changes]
        first, second = (np.argsort(gain, kind="stable")[:_SHORTLIST] for gain in gains)
        left, right = self.rows[self.members[one, first]], self.rows[self.members[two, second]]
        # Where both kernels have a non-zero nothing changes.
        total = gains[0][first][:, None] + gains[1][second] - np.einsum("ip,jp", left * (there + back), right)
        i, j = divmod(int(total.argmin()), len(second))
        if total[i, j] >= 0:
            return False
        self.counts[one] += right[j] - left[i]
        self.counts[two] += left[i] - right[j]
        a, b = (one, first[i]), (two, second[j])
        self.members[a], self.members[b] = self.members[b], self.members[a]
        for fold in {one // self.banks, two // self.banks}:
            self.measure(fold)
        return True


def balance(
    mask: np.ndarray, weight: np.ndarray, *, folds: int, banks: int, set_size: int, visits: int = _VISITS
) -> np.ndarray:
    """Assign kernels to folds and banks so that the weighted sum of rows is small.

    Constructive, then local search: kernels are placed in descending order of non-zeros, one to each bank at a time, by
    an optimal assignment against a smooth maximum of the counts; then pairs of banks exchange kernels (or a kernel and
    an empty place) as long as that gains. Bounded in steps, not in time, and computed on whole numbers: the same mask
    gives the same assignment everywhere.

    Parameters
    ----------
    mask : bool array, (kernels, positions)
    weight : float array, (positions,)
        Relative cost of a row at each position: whole numbers from 0 to 2**20, so that sums are exact in any order;
        the largest should be near 2**20, since the slopes of the smooth maximum are rounded to whole numbers too.
    folds, banks, set_size : int
        Shape of the assignment; their product is at least the number of kernels.
    visits : int
        Pairs of banks that are looked at, at most.

    Returns
    -------
    int64 array, (folds, banks, set_size)
        Kernel indices, -1 where a place is empty. Its cost is at most that of ``deal``.
    """
    shape = (folds, banks, set_size)
    state = _Exchange(mask, weight, folds=folds, banks=banks, set_size=set_size)
    state.construct()
    best = deal(len(mask), folds=folds, banks=banks, set_size=set_size)
    lowest = weight @ count_rows(mask, best).sum(axis=0)
    rng = np.random.default_rng(0)
    sets = folds * banks
    gained = True
    while gained:
        cost = weight @ state.top.sum(axis=0)
        if cost < lowest:
            best, lowest = np.where(state.members == len(mask), -1, state.members).reshape(shape), cost
        gained = False
        order = rng.permutation(sets).tolist()
        for shift, index in product(range(1, sets // 2 + 1), range(sets)):
            one, two = order[index], order[(index + shift) % sets]
            while visits > 0 and state.improve(one, two):
                visits -= 1
                gained = True
            visits -= 1
            if visits <= 0:
                break
    return best
