"""Adder graphs: what an unrolled layer computes, as additions of shifted integers. Free of Amaranth."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Adder", "AdderGraph", "Term", "check_input_range", "check_whole", "width_of_range"]


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise TypeError or ValueError unless ``value`` is an integer of ``low`` to ``high``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, not {value!r}")


def width_of_range(low: int, high: int) -> int:
    """Bits for all of ``low`` to ``high``: two's complement where ``low`` is negative, else unsigned."""
    return max((-1 - low).bit_length(), high.bit_length()) + 1 if low < 0 else high.bit_length()


def check_input_range(input_range: tuple[int, int]) -> None:
    """Raise TypeError or ValueError unless it is two integers of 32 bits, the smaller one first."""
    low, high = input_range
    check_whole("least input", low, -(2**31), 2**31)
    check_whole("largest input", high, low, 2**31)


@dataclass(frozen=True, order=True)
class Term:
    """The value of a node, times ``2**shift``."""

    node: int
    shift: int = 0


@dataclass(frozen=True, kw_only=True)
class Adder:
    """``first + second``, or with ``subtract`` ``first - second``; one of both is not shifted."""

    first: Term
    second: Term
    subtract: bool

    @property
    def passed(self) -> int:
        """How many of the lowest bits are those of one operand and need no adder."""
        if self.first.shift == 0:
            return self.second.shift
        return 0 if self.subtract else self.first.shift


@dataclass(frozen=True, kw_only=True)
class AdderGraph:
    """M sums of L inputs, ``sums = weights @ x + biases``, made of adders.

    Nodes are numbered: first the inputs, then the constants, then the adders. An adder follows its operands.

    Parameters
    ----------
    inputs : int
        L, at least 1.
    input_range : (int, int)
        Least and largest value of an input.
    constants : tuple of int
    adders : tuple of Adder
    outputs : tuple of Term
        The M sums.

    Raises
    ------
    TypeError, ValueError
        If a member is of the wrong kind, or refers to what does not exist or comes later.
    """

    inputs: int
    input_range: tuple[int, int]
    constants: tuple[int, ...]
    adders: tuple[Adder, ...]
    outputs: tuple[Term, ...]

    def __post_init__(self):
        check_whole("inputs", self.inputs, 1, 2**16)
        check_input_range(self.input_range)
        if not self.outputs:
            raise ValueError("outputs must be at least one")
        first = self.inputs + len(self.constants)
        for node, adder in enumerate(self.adders, first):
            for term in (adder.first, adder.second):
                check_whole(f"operand of node {node}", term.node, 0, node - 1)
                check_whole(f"shift of node {node}", term.shift, 0, 63)
            if min(adder.first.shift, adder.second.shift):
                raise ValueError(f"One operand of node {node} must not be shifted, not {adder!r}")
        for term in self.outputs:
            check_whole("output", term.node, 0, first + len(self.adders) - 1)
            check_whole("shift of an output", term.shift, 0, 63)

    @cached_property
    def coefficients(self) -> np.ndarray:
        """(nodes, L + 1) int64: what every node is, as weights of the inputs and a constant."""
        first = self.inputs + len(self.constants)
        rows = np.zeros((first + len(self.adders), self.inputs + 1), np.int64)
        rows[:self.inputs, :self.inputs] = np.eye(self.inputs, dtype=np.int64)
        rows[self.inputs:first, -1] = self.constants
        for node, adder in enumerate(self.adders, first):
            second = rows[adder.second.node] << adder.second.shift
            rows[node] = (rows[adder.first.node] << adder.first.shift) + (-second if adder.subtract else second)
        return rows

    @property
    def weights(self) -> np.ndarray:
        """(M, L) int64."""
        return self._of_outputs[:, :-1]

    @property
    def biases(self) -> np.ndarray:
        """(M,) int64."""
        return self._of_outputs[:, -1]

    @cached_property
    def _of_outputs(self) -> np.ndarray:
        return np.array([self.coefficients[term.node] << term.shift for term in self.outputs])

    @cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Least and largest value of every node; both occur, since the inputs are free of each other."""
        return self._ranges(self.coefficients)

    @cached_property
    def output_ranges(self) -> tuple[tuple[int, int], ...]:
        """The same of the sums."""
        return self._ranges(self._of_outputs)

    def _ranges(self, rows: np.ndarray) -> tuple[tuple[int, int], ...]:
        low, high = self.input_range
        above, below = np.maximum(rows[:, :-1], 0).sum(1), np.minimum(rows[:, :-1], 0).sum(1)
        least, most = above * low + below * high + rows[:, -1], above * high + below * low + rows[:, -1]
        return tuple(zip(least.tolist(), most.tolist(), strict=True))

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Adders on the longest way to every node."""
        depths = [0] * (self.inputs + len(self.constants))
        for adder in self.adders:
            depths.append(1 + max(depths[adder.first.node], depths[adder.second.node]))
        return tuple(depths)

    @property
    def depth(self) -> int:
        """Adders on the longest way to a sum."""
        return max(self.depths[term.node] for term in self.outputs)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Bits of every node."""
        return tuple(width_of_range(low, high) for low, high in self.ranges)

    @cached_property
    def adder_bits(self) -> int:
        """Sum of the adders' widths, without the bits that pass them."""
        return sum(self.widths[node] - adder.passed
                   for node, adder in enumerate(self.adders, self.inputs + len(self.constants)))

    @cached_property
    def register_bits(self) -> int:
        """Bits of all registers where one follows every level of adders and all sums come at once.

        A value that is wanted later than it is made waits in as many registers as levels lie between, which all that
        want it share; see `dovetail.hw.unrolled.Unrolled`.
        """
        first = self.inputs + len(self.constants)
        made = [max(depth - 1, 0) for depth in self.depths]
        wanted = list(made)
        for node, adder in enumerate(self.adders, first):
            for term in (adder.first, adder.second):
                wanted[term.node] = max(wanted[term.node], made[node])
        for term in self.outputs:
            wanted[term.node] = max(1, self.depth)
        return sum((until - since) * width for node, (since, until, width) in enumerate(
            zip(made, wanted, self.widths, strict=True)) if not self.inputs <= node < first)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """The sums of vectors, adder by adder.

        Parameters
        ----------
        x : integers (..., L)

        Returns
        -------
        array (..., M) of int64

        Raises
        ------
        ValueError
            If there are not L inputs, or one is out of range.
        """
        x = np.asarray(x, dtype=np.int64)
        low, high = self.input_range
        if x.shape[-1] != self.inputs:
            raise ValueError(f"x must have {self.inputs} inputs a vector, not shape {x.shape!r}")
        if x.size and (x.min() < low or x.max() > high):
            raise ValueError(f"x must be {low} to {high}, not {int(x.min())} to {int(x.max())}")
        nodes = [x[..., index] for index in range(self.inputs)]
        nodes += [np.full(x.shape[:-1], constant, np.int64) for constant in self.constants]
        for adder in self.adders:
            second = nodes[adder.second.node] << adder.second.shift
            nodes.append((nodes[adder.first.node] << adder.first.shift) + (-second if adder.subtract else second))
        return np.stack([nodes[term.node] << term.shift for term in self.outputs], axis=-1)
