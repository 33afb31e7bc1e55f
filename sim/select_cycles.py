"""The cycle model of `dovetail.hw.select`: when tokens are given and when beats leave, exactly."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..hw.arch import SelectArch, SelectKind

__all__ = ["Emission", "SelectCycles", "SentWords", "sent_words"]

#: Registers that a word passes on its way out, by kind. The store has three; NonZero adds one, Winners three.
_STAGES = {SelectKind.ALL: 3, SelectKind.NONZERO: 4, SelectKind.GLOBAL: 6, SelectKind.LOCAL: 6}
#: Index of the register in front of which a word waits for its vector's threshold.
_COMPARE = 3
_MOST_STAGES = max(_STAGES.values())
_NEVER = -1 << 40


@dataclass(frozen=True, kw_only=True)
class Emission:
    """Cycles from which on a vector's first beat is valid, in which it and the last one transfer, and how many beats
    there are."""

    valid: int
    first: int
    last: int
    beats: int


@dataclass(frozen=True, kw_only=True)
class SentWords:
    """How the words of one vector are sent.

    Members
    -------
    before : int
        Words ahead of the first one that is sent, each of which takes a cycle.
    beats : int
        Of the vector.
    cycles : list of int
        Cycles from entering the last register up to leaving it, of the last words, or of all where they are few.
    """

    before: int
    beats: int
    cycles: list[int]


def sent_words(arch: SelectArch, selected: np.ndarray) -> list[SentWords]:
    """How vectors are sent of which these elements are handed on: bool (n, M)."""
    count = len(selected)
    padded = np.zeros((count, arch.words * arch.width), bool)
    padded[:, :arch.kernels] = selected
    parts = padded.reshape(count, arch.words, max(1, arch.width // arch.lanes), -1)
    beats = np.count_nonzero(parts.any(axis=3), axis=2)
    beats[:, -1] = np.maximum(beats[:, -1], 1)
    cycles = np.cumsum(np.maximum(beats, 1), axis=1)
    # Nothing looks further back than one word more than there are registers.
    kept = cycles if arch.words <= _MOST_STAGES + 1 else cycles[:, -_MOST_STAGES - 1:]
    parts = zip((beats > 0).argmax(axis=1).tolist(), beats.sum(axis=1).tolist(), kept.tolist(), strict=True)
    return [SentWords(before=before, beats=total, cycles=cycles) for before, total, cycles in parts]


class SelectCycles:
    """Follows one select unit from vector to vector; cycle 0 is the first clock edge after reset.

    Words leave the store through a pipeline whose registers each move on when the next one is free. Behind a word that
    waits, the others close up, so a word enters the last register one cycle after its predecessor did, or when that
    leaves it, whichever is later. Only the last word's read (which frees a buffer of the store) and the last word's
    comparison (which makes room for the next threshold) have to be traced further back.
    """

    def __init__(self, arch: SelectArch):
        self._arch = arch
        self._stages = _STAGES[arch.kind]
        self._search = self._result = 0
        if arch.kind is SelectKind.GLOBAL:
            self._search = (1 << arch.value_bits) // arch.bins
            self._result = self._search + 4
        elif arch.kind is SelectKind.LOCAL:
            self._search = self._result = 2 * arch.value_bits
        self._taken = _NEVER
        # When the places for counting are free, in turn: two histograms, cleared first, or one set of registers.
        self._free = deque(([self._search] * 2 if arch.kind is SelectKind.GLOBAL else [0]) * arch.turns)
        self._thresholds_taken = deque([_NEVER] * arch.turns, maxlen=arch.turns)
        self._compares = deque([_NEVER] * _COMPARE, maxlen=_COMPARE)    # of the words before
        self._reads = deque([_NEVER] * arch.buffers, maxlen=arch.buffers)   # of the last words of the vectors before
        self._exits = [_NEVER] * self._stages               # of the words before

    def token(self) -> int:
        """First cycle in which the token for the next vector is valid."""
        return max(0, self._taken + 1, self._free[0], self._reads[0] + 1)

    def frame(
        self, values: Sequence[int] | np.ndarray, *, taken: int, last_beat: int, ready: int | Callable[[int], int],
    ) -> Emission:
        """Account for the next vector.

        Parameters
        ----------
        values : (M,) integers
            The vector in the model's order.
        taken, last_beat : int
            Cycles in which its token was taken and its last beat arrived.
        ready : int or function
            First cycle from which the consumer is ready for this vector's first beat and all after it, or a function
            that tells this cycle, given the one in which the first beat becomes valid.

        Raises
        ------
        ValueError
            If there are not M values, the token was taken before it was valid, or the last beat came too early.
        """
        values = np.asarray(values)
        if values.shape != (self._arch.kernels,):
            raise ValueError(f"values must have the shape ({self._arch.kernels},), not {values.shape!r}")
        (words,) = sent_words(self._arch, self._selected(values)[np.newaxis])
        return self.emit(words, taken=taken, last_beat=last_beat, ready=ready)

    def emit(
        self, words: SentWords, *, taken: int, last_beat: int, ready: int | Callable[[int], int],
    ) -> Emission:
        """Account for the next vector, as `frame` does, given what is sent of it (`sent_words`)."""
        arch, stages = self._arch, self._stages
        if taken < self.token():
            raise ValueError(f"taken must be at least {self.token()}, not {taken!r}")
        earliest = taken + max(1, arch.early - 1) + arch.beats - 1
        if last_beat < earliest:
            raise ValueError(f"last_beat must be at least {earliest}, not {last_beat!r}")
        self._taken = taken

        # A word is read when the one two ahead of it leaves the register in front of the comparison.
        issue = max(last_beat + 2, self._reads[-1] + 1, self._compares[0])
        compare = max(issue + _COMPARE, self._compares[-1] + 1)
        if arch.is_kwta:
            start = max(last_beat + 2, self._thresholds_taken[0] + 2)
            self._free.append(start + self._search - arch.early)
            self._free.popleft()
            self._thresholds_taken.append(max(start + self._result, self._compares[-1]))
            compare = max(compare, self._thresholds_taken[-1] + 1)
        enter = max(compare + stages - 1 - _COMPARE, self._exits[-1])

        valid = enter + words.before + 1
        first = max(valid, ready(valid) if callable(ready) else ready)
        # Words before the first one that is sent leave without waiting for it.
        exits = [enter + cycle + (first - valid if cycle > words.before else 0) for cycle in words.cycles]

        # The last word enters the register s stages before the end when the word s + 1 ahead of it leaves the end: the
        # pipeline between them is full then. The exits of the words before come first in the history.
        history = self._exits + exits if len(exits) == arch.words else exits
        skipped = stages + arch.words - len(history)        # of the history, where it is not known from its begin
        final = arch.words - 1
        compares = [*self._compares, *(max(compare + word, history[word + _COMPARE - skipped])
                                       for word in range(max(0, final - _COMPARE), final + 1))]
        self._reads.append(max(issue + final, history[final - skipped], compares[-1 - _COMPARE]))
        self._compares.extend(compares)
        self._exits = history[-stages:]
        return Emission(valid=valid, first=first, last=exits[-1], beats=words.beats)

    def _selected(self, values: np.ndarray) -> np.ndarray:
        """Which elements are handed on."""
        arch = self._arch
        if arch.kind is SelectKind.NONZERO:
            return values != 0
        if not arch.is_kwta or arch.losers:
            return np.ones(arch.kernels, bool)
        threshold = np.partition(values, arch.kernels - arch.winners)[arch.kernels - arch.winners]
        selected = values > threshold
        if threshold > 0:
            selected[np.flatnonzero(values == threshold)[: arch.winners - np.count_nonzero(selected)]] = True
        return selected
