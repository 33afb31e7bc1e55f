"""Constant matrices as few adders: recode, share, sum up.

1. *Recode.* Every weight becomes canonical signed digits: no two neighbours are non-zero, which is the fewest digits
   there are (Booth 1951, Reitwiesner 1960). A kernel is then a set of *terms*: plus or minus a node times a power of
   two. At first the nodes are inputs.
2. *Share.* Two terms of a kernel form a *pattern* ``a + s * (b << k)``, whatever common shift and sign they have. The
   pattern that occurs most often, in all kernels, becomes a node (an adder) and replaces its occurrences, each of which
   saves an adder; and so on until no pattern occurs twice (Hartley, "Subexpression sharing in filters using canonic
   signed digit multipliers", 1996; Potkonjak, Srivastava, Chandrakasan, "Multiple constant multiplications", 1996;
   for matrices Hosangadi, Fallah, Kastner, "Reducing hardware complexity of linear DSP systems by iteratively
   eliminating two-term common subexpressions", 2005). Among equally frequent ones the narrowest adder is taken, and no
   sharing may make a kernel too deep (Sun et al., "da4ml: distributed arithmetic for real-time neural networks on
   FPGAs", 2025, weigh patterns by their width and bound the depth likewise).
3. *Sum up.* What is left of a kernel is summed two by two, the pair with the narrowest adder first.

A kernel whose terms have the depths ``d`` can be summed in D levels of adders if, and only if, ``sum(2**d) <= 2**D``,
its *load* (Golumbic, "Combinatorial merging", 1976). Steps 2 and 3 keep to it.
"""

import functools
import heapq
import operator
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from ..hw.adders import Adder, AdderGraph, Term, check_input_range, width_of_range
from .checks import check_whole

__all__ = ["adder_graph", "signed_digits"]

# Nodes a and b, shift of b, and whether b is subtracted: a's term is the less shifted one, or the one first made.
_Pattern = tuple[int, int, int, bool]


def signed_digits(value: int) -> list[tuple[int, int]]:
    """Canonical signed digits of an integer: pairs of position and 1 or -1, lowest first. 7 is [(0, -1), (3, 1)]."""
    digits, position = [], 0
    while value:
        if value & 1:
            digit = 2 - (value & 3)
            digits.append((position, digit))
            value -= digit
        value >>= 1
        position += 1
    return digits


def adder_graph(
    weights: np.ndarray, *, input_range: tuple[int, int] = (0, 255), biases: np.ndarray | None = None,
    max_depth: int | None = None,
) -> AdderGraph:
    """Find few and narrow adders for ``weights @ x + biases``.

    Parameters
    ----------
    weights : integers (M, L)
        Zeros cost nothing.
    input_range : (int, int)
        Least and largest value of an input.
    biases : integers (M,), optional
        They are terms like others, and cost about an adder a kernel; a stage behind may have a cheaper place for them.
    max_depth : int, optional
        Levels of adders. Without it sharing comes first, and kernels are as deep as the deepest has to be after it.

    Returns
    -------
    AdderGraph
        The same for the same arguments. ``weights`` and ``biases`` of it are the arguments.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or amount, ``max_depth`` is too small, or a sum may need more than 60 bits.
    """
    check_input_range(input_range)
    weights = _whole_numbers("weights", weights, ndim=2)
    biases = np.zeros(len(weights), np.int64) if biases is None else _whole_numbers("biases", biases, ndim=1)
    if len(biases) != len(weights):
        raise ValueError(f"biases must be {len(weights)}, not {len(biases)}")
    reach = max(map(abs, input_range))
    if max(sum(map(abs, row)) * reach + abs(bias)
           for row, bias in zip(weights.tolist(), biases.tolist(), strict=True)) >= 2**59:
        raise ValueError("weights must give sums of at most 60 bits")

    # Kernels that are equal but for a power of two are one.
    shifts = [_trailing_zeros([*row, bias]) for row, bias in zip(weights.tolist(), biases.tolist(), strict=True)]
    kernels = [(*(weight >> shift for weight in row), bias >> shift)
               for row, bias, shift in zip(weights.tolist(), biases.tolist(), shifts, strict=True)]
    numbers = {kernel: number for number, kernel in enumerate(dict.fromkeys(kernels))}

    nodes = _Nodes(weights.shape[1], input_range)
    odd = {bias >> _trailing_zeros([bias]) for *_, bias in numbers if bias}
    constants = {value: nodes.constant(value) for value in (*sorted(odd), 0)}
    rows: list[dict[Term, int]] = []
    for *row, bias in numbers:
        terms = {Term(node, shift): sign for node, weight in enumerate(row) for shift, sign in signed_digits(weight)}
        if bias:
            shift = _trailing_zeros([bias])
            terms[Term(constants[bias >> shift], shift)] = 1
        rows.append(terms)

    # A kernel without a positive term gets a zero to subtract from; there is always room for it.
    if max_depth is not None:
        check_whole("max_depth", max_depth, max(len(row).bit_length() for row in rows), 63)
    _Sharing(nodes, rows, max_depth).run()
    for row in rows:
        if 1 not in row.values():
            row[Term(constants[0])] = 1
    depth = max((sum(1 << nodes.depths[term.node] for term in row) - 1).bit_length() for row in rows)
    sums = [_sum_up(nodes, row, 1 << (depth if max_depth is None else max_depth)) for row in rows]
    found = [sums[numbers[kernel]] for kernel in kernels]
    return AdderGraph(
        inputs=weights.shape[1], input_range=input_range, constants=tuple(constants), adders=tuple(nodes.adders),
        outputs=tuple(Term(term.node, term.shift + shift) for term, shift in zip(found, shifts, strict=True)))


def _trailing_zeros(values: Iterable[int]) -> int:
    """The largest power of two that divides all, as its exponent; 0 where all are zero."""
    bits = functools.reduce(operator.or_, values)
    return (bits & -bits).bit_length() - 1 if bits else 0


def _whole_numbers(name: str, values: np.ndarray, *, ndim: int) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, not {array.dtype}")
    if array.ndim != ndim or not array.size:
        raise ValueError(f"{name} must be a non-empty array of {ndim} dimensions, not of shape {array.shape!r}")
    if max(map(abs, array.ravel().tolist())) >= 2**59:
        raise ValueError(f"{name} must be of at most 59 bits")
    return array.astype(np.int64)


class _Nodes:
    """The nodes so far; what is equal to one of them, or to minus one of them, is not made again."""

    def __init__(self, inputs: int, input_range: tuple[int, int]):
        self.inputs, self.input_range = inputs, input_range
        self.adders: list[Adder] = []
        self.depths: list[int] = []
        self.ranges: list[tuple[int, int]] = []
        self._coefficients: list[np.ndarray] = []
        self._known: dict[bytes, int] = {}
        for row in np.eye(inputs, inputs + 1, dtype=np.int64):
            self._append(row, depth=0)

    def constant(self, value: int) -> int:
        row = np.zeros(self.inputs + 1, np.int64)
        row[-1] = value
        return self._append(row, depth=0)

    def adder(self, first: Term, second: Term, *, subtract: bool, either_sign: bool) -> tuple[int, int]:
        """Node and sign of a sum; the sign is 1 unless ``either_sign``."""
        other = self._coefficients[second.node] << second.shift
        row = (self._coefficients[first.node] << first.shift) + (-other if subtract else other)
        if row.tobytes() in self._known:
            return self._known[row.tobytes()], 1
        if either_sign and (-row).tobytes() in self._known:
            return self._known[(-row).tobytes()], -1
        self.adders.append(Adder(first=first, second=second, subtract=subtract))
        return self._append(row, depth=1 + max(self.depths[first.node], self.depths[second.node])), 1

    def _append(self, row: np.ndarray, *, depth: int) -> int:
        low, high = self.input_range
        above, below = int(np.maximum(row[:-1], 0).sum()), int(np.minimum(row[:-1], 0).sum())
        self.ranges.append((above * low + below * high + int(row[-1]), above * high + below * low + int(row[-1])))
        self.depths.append(depth)
        self._coefficients.append(row)
        self._known.setdefault(row.tobytes(), len(self._coefficients) - 1)
        return len(self._coefficients) - 1

    def cost(self, pattern: _Pattern) -> int:
        """Bits of an adder, from intervals, which may say a bit too many; carry cells come in pairs."""
        first, second, shift, subtract = pattern
        low, high = self.ranges[second]
        low, high = (-high << shift, -low << shift) if subtract else (low << shift, high << shift)
        bits = width_of_range(self.ranges[first][0] + low, self.ranges[first][1] + high) - shift
        return bits + bits % 2

    def growth(self, first: int, second: int) -> int:
        """What a kernel's load grows by where an adder replaces these two nodes."""
        low, high = sorted((self.depths[first], self.depths[second]))
        return (1 << high) - (1 << low)


def _ordered(one: Term, other: Term) -> tuple[Term, Term]:
    return (one, other) if (one.shift, one.node) < (other.shift, other.node) else (other, one)


def _pattern(one: Term, other: Term, *, subtract: bool) -> _Pattern:
    first, second = _ordered(one, other)
    return first.node, second.node, second.shift - first.shift, subtract


class _Sharing:
    """Step 2, in place. Occurrences of every pattern are counted once and then kept up to date."""

    def __init__(self, nodes: _Nodes, rows: list[dict[Term, int]], max_depth: int | None):
        self._nodes, self._rows, self._max_depth = nodes, rows, max_depth
        self._counts: defaultdict[_Pattern, int] = defaultdict(int)
        self._where: defaultdict[_Pattern, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        # Entries are (-occurrences, cost, pattern, count): occurrences are the count, or less where some share a term.
        self._heap: list[tuple[int, int, _Pattern, int]] = []

    def run(self) -> None:
        for number, row in enumerate(self._rows):
            terms = list(row)
            for index, term in enumerate(terms):
                self._count(number, term, row[term], terms[:index], 1)
        self._push(self._counts)
        while self._heap:
            occurrences, cost, pattern, count = heapq.heappop(self._heap)
            if self._counts.get(pattern) != count:
                continue                                       # an entry with the new count was pushed
            found = self._occurrences(pattern)
            if len(found) == -occurrences:
                self._replace(pattern, found)
            elif len(found) > 1:
                heapq.heappush(self._heap, (-len(found), cost, pattern, count))

    def _count(self, number: int, term: Term, sign: int, others: Iterable[Term], change: int) -> set[_Pattern]:
        row, changed = self._rows[number], set()
        for other in others:
            pattern = _pattern(term, other, subtract=sign != row[other])
            self._counts[pattern] += change
            self._where[pattern][number] += change
            changed.add(pattern)
        return changed

    def _push(self, patterns: Iterable[_Pattern]) -> None:
        for pattern in patterns:
            if self._counts[pattern] > 1:
                heapq.heappush(self._heap, (-self._counts[pattern], self._nodes.cost(pattern), pattern,
                                            self._counts[pattern]))

    def _occurrences(self, pattern: _Pattern) -> list[tuple[int, Term, Term]]:
        """Those that can be replaced together: kernel and terms; none shares a term, none makes a kernel too deep."""
        first, second, shift, subtract = pattern
        growth, found = self._nodes.growth(first, second), []
        for number in sorted(number for number, count in self._where[pattern].items() if count):
            row, used = self._rows[number], set()
            # One is kept for a zero, see `adder_graph`.
            load = 1 + sum(1 << self._nodes.depths[term.node] for term in row)
            for one in sorted(term for term in row if term.node == first):
                other = Term(second, one.shift + shift)
                if one in used or other in used or other not in row or (row[one] != row[other]) != subtract:
                    continue
                if self._max_depth is not None and load + growth > 1 << self._max_depth:
                    break
                load += growth
                used |= {one, other}
                found.append((number, one, other))
        return found

    def _replace(self, pattern: _Pattern, found: list[tuple[int, Term, Term]]) -> None:
        first, second, shift, subtract = pattern
        node, node_sign = self._nodes.adder(Term(first), Term(second, shift), subtract=subtract, either_sign=True)
        changed = set()
        for number, one, other in found:
            row = self._rows[number]
            sign = row[one] * node_sign
            for term in (one, other):
                changed |= self._count(number, term, row.pop(term), row, -1)
            changed |= self._count(number, Term(node, one.shift), sign, row, 1)
            row[Term(node, one.shift)] = sign
        for gone in [pattern for pattern in changed if not self._counts[pattern]]:
            del self._counts[gone], self._where[gone]
            changed.discard(gone)
        self._push(sorted(changed))


def _sum_up(nodes: _Nodes, terms: dict[Term, int], limit: int) -> Term:
    """Step 3 for one kernel that has a positive term, its load at most ``limit``."""
    signs = dict(terms)
    load = sum(1 << nodes.depths[term.node] for term in signs)
    heap: list[tuple[int, int, Term, Term]] = []

    def offer(term: Term, others: Iterable[Term]) -> None:
        for other in others:
            first, second = _ordered(term, other)
            cost = nodes.cost(_pattern(first, second, subtract=signs[first] != signs[second]))
            heapq.heappush(heap, (cost, max(nodes.depths[first.node], nodes.depths[second.node]), first, second))

    placed: list[Term] = []
    for term in signs:
        offer(term, placed)
        placed.append(term)
    while len(signs) > 1:
        _, _, first, second = heapq.heappop(heap)
        # The load never falls, so what is too deep now will be so for ever.
        if first not in signs or second not in signs or load + nodes.growth(first.node, second.node) > limit:
            continue
        load += nodes.growth(first.node, second.node)
        sign, other_sign = signs.pop(first), signs.pop(second)
        one, other, shift = Term(first.node), Term(second.node, second.shift - first.shift), first.shift
        subtract, spare = sign != other_sign, 1 in signs.values()
        if sign < other_sign and not (spare and other.shift):
            one, other, sign = other, one, 1                   # for nothing, or lest the last positive term is lost
        node, node_sign = nodes.adder(one, other, subtract=subtract, either_sign=spare)
        term = Term(node, shift)
        signs[term] = sign * node_sign
        offer(term, [other for other in signs if other != term])
    (output,) = signs
    return output
