"""Finding the sets of a complementary mask: kernels of one set never share a position."""

import numpy as np

__all__ = ["check_count", "check_mask", "find_complementary"]

# Depth-first search has a heavy tail: some orders are thousands of times slower than others. Restarts cut the tail off.
_RESTARTS = 4
_CHEAP = 1 << 14  # (set, position) pairs up to which a step costs little more than the calls it makes
_BIG = 1 << 14  # more than any number of candidates that is worth choosing


def check_mask(mask: np.ndarray) -> None:
    """Raise unless ``mask`` is a bool array of kernels x positions with at least one of each."""
    if not isinstance(mask, np.ndarray):
        raise TypeError(f"mask must be a two-dimensional bool array, not {mask!r}")
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise TypeError(f"mask must be a two-dimensional bool array, not {mask.dtype} of shape {mask.shape!r}")
    if 0 in mask.shape:
        raise ValueError(f"mask must have at least one kernel and one position, not shape {mask.shape!r}")


def check_count(name: str, value: int) -> None:
    """Raise unless ``value`` is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a positive integer, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")


class _Search:
    """Assignment of kernels to sets as an exact cover problem, depth first.

    An option is a (set, kernel) pair. Two kinds of item must be served: every kernel needs one set, and a position that
    as many sets as can be spared (sets less kernels that use it) have lost must be used in every other set. The item
    with the fewest options is served next: Knuth's rule for exact cover, and DSATUR's for the colouring of the
    conflict graph, which this is where no position is scarce. In a perfect mask (every position used in every set) all
    are scarce from the start, and nearly every step is forced.

    Parameters
    ----------
    mask : bool array, (kernels, positions)
        Every kernel has a non-zero.
    conflict : bool array, (kernels, kernels)
        Pairs that share a position; the diagonal is False.
    sets : int
    set_size : int
        Most kernels of a set.
    clique : list of int
        Kernels in mutual conflict, at most ``sets``. They go to sets of their own, which takes away the symmetry.
    rank : int array, (kernels,)
        Order in which ties are broken, a permutation.

    Members
    -------
    home : int array, (kernels,)
        The set of each kernel, or -1.
    wasted : int
        Placements taken back so far, dead ends included.
    """

    def __init__(
        self, mask: np.ndarray, conflict: np.ndarray, *, sets: int, set_size: int, clique: list[int], rank: np.ndarray
    ):
        kernels, positions = mask.shape
        self.mask, self.conflict, self.set_size, self.rank = mask, conflict, set_size, rank
        self.where = [np.flatnonzero(row) for row in mask]
        self.home = np.full(kernels, -1)
        self.wasted = 0
        self.free = np.ones((sets, kernels), bool)  # the options that are left
        self.options = np.full(kernels, sets)  # their number, for each kernel
        self.candidates = np.tile(mask.sum(axis=0, dtype=np.int16), (sets, 1))  # and for each (set, position)
        self.spare = sets - self.candidates[0]
        self.used = np.zeros((sets, positions), bool)
        self.members = np.zeros(sets, int)
        self.trail: list[tuple[int, int, np.ndarray, np.ndarray]] = []
        for index, kernel in enumerate(clique):
            self.place(index, kernel)

    def place(self, index: int, kernel: int) -> None:
        """Put a kernel into a set and take away the options that this excludes."""
        where = self.where[kernel]
        self.home[kernel] = index
        self.members[index] += 1
        self.used[index, where] = True
        self.free[index, kernel] = False
        elsewhere = np.flatnonzero(self.free[:, kernel])
        self.free[elsewhere, kernel] = False
        self.candidates[elsewhere[:, None], where] -= 1
        self.candidates[index, where] -= 1
        full = self.members[index] == self.set_size
        excluded = np.flatnonzero(self.free[index] if full else self.free[index] & self.conflict[kernel])
        self.free[index, excluded] = False
        self.options[excluded] -= 1
        self.candidates[index] -= self.mask[excluded].sum(axis=0, dtype=np.int16)
        self.trail.append((index, kernel, elsewhere, excluded))

    def undo(self) -> None:
        """Take back the last placement."""
        index, kernel, elsewhere, excluded = self.trail.pop()
        where = self.where[kernel]
        self.candidates[index] += self.mask[excluded].sum(axis=0, dtype=np.int16)
        self.options[excluded] += 1
        self.free[index, excluded] = True
        self.candidates[index, where] += 1
        self.candidates[elsewhere[:, None], where] += 1
        self.free[elsewhere, kernel] = True
        self.free[index, kernel] = True
        self.used[index, where] = False
        self.members[index] -= 1
        self.home[kernel] = -1

    def choices(self) -> list[tuple[int, int]]:
        """Return the options of the item that has fewest, most promising last; none at a dead end."""
        size = len(self.home)
        kernel = int(np.where(self.home < 0, self.options * size + self.rank, np.iinfo(np.int64).max).argmin())
        fewest = self.options[kernel]
        unused = ~self.used
        lost = ((self.candidates == 0) & unused).sum(axis=0)
        if fewest == 0 or (lost > self.spare).any():
            return []
        scarce = np.flatnonzero(lost == self.spare)
        if fewest > 1 and scarce.size:
            counts = self.candidates[:, scarce]
            counts = np.where(unused[:, scarce] & (counts > 0), counts, _BIG)
            index, column = divmod(int(counts.argmin()), len(scarce))
            if counts[index, column] < fewest:
                kernels = np.flatnonzero(self.free[index] & self.mask[:, scarce[column]])
                return [(index, int(k)) for k in kernels[np.argsort(-self.rank[kernels])]]
        indices = np.flatnonzero(self.free[:, kernel])
        empty = self.members[indices] == 0
        begun = indices[~empty]
        fullest_last = begun[np.argsort(self.used[begun].sum(axis=1), kind="stable")]
        # Empty sets are all alike: one stands for all.
        return [(int(i), kernel) for i in [*indices[empty][:1], *fullest_last]]

    def solve(self, limit: int) -> bool:
        """Fill ``home``; False after more than ``limit`` wasted steps, or fewer if there is no solution."""
        stack: list[tuple[int, list[tuple[int, int]]]] = []
        while (self.home < 0).any():
            choices = self.choices()
            self.wasted += not choices
            stack.append((len(self.trail), choices))
            while stack and not stack[-1][1]:
                stack.pop()
            if not stack or self.wasted > limit:
                return False
            depth, choices = stack[-1]
            self.wasted += len(self.trail) - depth
            while len(self.trail) > depth:
                self.undo()
            self.place(*choices.pop())
        return True


def _clique(mask: np.ndarray, conflict: np.ndarray, *, limit: int) -> list[int]:
    """Return kernels in mutual conflict: those of the fullest position, and greedily more, up to ``limit``."""
    clique = np.flatnonzero(mask[:, mask.sum(axis=0).argmax()]).tolist()
    degree = conflict.sum(axis=0)
    others = conflict[clique].all(axis=0)
    while others.any() and len(clique) < limit:
        clique.append(int(np.where(others, degree, -1).argmax()))
        others &= conflict[clique[-1]]
    return clique


def _largest_set(mask: np.ndarray) -> int:
    """Return how many kernels a set can hold at most, by their number of non-zeros alone."""
    return max(1, int(np.count_nonzero(np.cumsum(np.sort(mask.sum(axis=1))) <= mask.shape[1])))


def find_complementary(
    mask: np.ndarray, *, set_size: int | None = None, depth_limit: int | None = None, node_budget: int = 20_000
) -> list[tuple[int, ...]] | None:
    """Divide kernels into complementary sets: no two kernels of a set have a non-zero at the same position.

    With ``set_size`` N the M kernels go into ceil(M / N) sets of at most N. Without it the fewest sets are sought, from
    the most kernels found in mutual conflict (no fewer sets can do) up to 5/4 of the largest column count, beyond
    which a fifth of the multipliers would idle at every position. Kernels with no non-zero go wherever there is room.

    The search is exact, but the problem is NP-complete (graph colouring), so it gives up after a number of steps taken
    back. That number, not a clock, ends it: the same mask has the same answer everywhere. Perfect masks need few such
    steps unless kernels have so few non-zeros that those of different sets mostly miss each other.

    Parameters
    ----------
    mask : bool array, (kernels, positions)
        True where a weight is not zero.
    set_size : int, optional
        N; if absent it is found.
    depth_limit : int, optional
        Largest N that may be found; ignored if ``set_size`` is given.
    node_budget : int
        Steps taken back over all attempts, after which the answer is None. One takes about 0.1 milliseconds; those of
        layers above 16,384 (set, position) pairs take longer and count for more.

    Returns
    -------
    list of tuple of int, or None
        The sets, each in ascending order, ordered by their first kernel; none is empty. None: there is no such
        division, or none was found within the budget.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or amount.
    """
    check_mask(mask)
    for name, value in (("set_size", set_size), ("depth_limit", depth_limit)):
        if value is not None:
            check_count(name, value)
    check_count("node_budget", node_budget)
    kernels = len(mask)
    alive = np.flatnonzero(mask.any(axis=1))
    live = mask[alive]
    live = live[:, live.any(axis=0)]
    if not alive.size:
        size = set_size or depth_limit or kernels
        return [tuple(range(start, min(start + size, kernels))) for start in range(0, kernels, size)]
    dense = live.astype(np.float32)
    conflict = dense @ dense.T > 0
    np.fill_diagonal(conflict, False)
    if set_size is None:
        depth = depth_limit or kernels
        fewest = -(-kernels // depth)
        most = -(-5 * max(fewest, int(live.sum(axis=0).max())) // 4)
    else:
        depth = set_size
        fewest = most = -(-kernels // set_size)
    clique = _clique(live, conflict, limit=most + 1)
    left = node_budget
    for sets in range(max(fewest, len(clique)), most + 1):
        if sets == kernels:
            return [(kernel,) for kernel in range(kernels)]
        cost = 1 + sets * live.shape[1] // _CHEAP
        even, largest = -(-kernels // sets), min(depth, _largest_set(live))
        # Sets of different sizes are harder to come by, unless as many sets of the largest possible size are expected.
        sizes = [even, largest] if -(-kernels // largest) != sets else [largest, even]
        for size in [set_size] if set_size else [size for size in dict.fromkeys(sizes) if size >= even]:
            # The first try gets half; a number of sets that is large enough needs hardly any.
            limit = left // (2 * _RESTARTS * cost)
            for attempt in range(_RESTARTS):
                rank = np.random.default_rng(attempt).permutation(len(alive)) if attempt else np.arange(len(alive))
                search = _Search(live, conflict, sets=sets, set_size=size, clique=clique, rank=rank)
                if search.solve(limit):
                    return _with_dead(search.home, alive, kernels=kernels, sets=sets)
                left -= search.wasted * cost
                if search.wasted <= limit:  # proved: there is none
                    break
    return None


def _with_dead(home: np.ndarray, alive: np.ndarray, *, kernels: int, sets: int) -> list[tuple[int, ...]]:
    """Return the sets in kernel order, with each kernel that has no non-zero added to the smallest set."""
    members: list[list[int]] = [[] for _ in range(sets)]
    for kernel, index in zip(alive.tolist(), home.tolist(), strict=True):
        members[index].append(kernel)
    for kernel in sorted(set(range(kernels)) - set(alive.tolist())):
        min(members, key=len).append(kernel)
    return sorted(tuple(sorted(group)) for group in members if group)
