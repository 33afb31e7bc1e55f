"""The cycle model of `dovetail.hw.pool`: when tokens are given and when pooled vectors leave, exactly."""

from dataclasses import dataclass

from ..hw.arch import PoolArch

__all__ = ["PoolCycles", "Pooled"]

#: Cycles that a beat takes through one axis (``PoolLine.latency``).
AXIS_STAGES = 3


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One pooled vector: cycle in which the consumer's token was taken, cycles of its first and last beats.

    A beat leaves a fixed number of cycles after it came, so between the two are the gaps of the vector it goes with.
    """

    taken: int
    first_beat: int
    last_beat: int


class PoolCycles:
    """Follows one pool position by position; cycle 0 is the first clock edge after reset.

    For each vector: ask ``token`` when its token is valid, call ``vector``, then ``pad`` while ``is_padding``. Both
    ``vector`` and ``pad`` tell which pooled vector leaves, if one does. They depend on nothing but vectors before and
    the consumer's next token, so any order works in which pooled vectors are accounted for before that is asked for.
    """

    def __init__(self, arch: PoolArch):
        self._arch = arch
        self._positions = arch.vertical.positions, arch.horizontal.positions
        self._leaves = tuple({axis.last(element) for element in range(axis.count)}
                             for axis in (arch.vertical, arch.horizontal))
        self._latency = AXIS_STAGES * sum(not axis.is_identity for axis in (arch.vertical, arch.horizontal))
        self._row = self._column = 0
        self._current = 0           # first cycle in which the position's token can be valid
        self._all_here = 0          # first cycle in which all vectors before it are known to be here
        #: Of the last position that was padding: cycles from which on it waited for a token, in which it went ahead,
        #: and of its last beat.
        self.padded = (-1, -1, -1)

    @property
    def is_padding(self) -> bool:
        """The next position does not exist: nothing comes, but a pooled vector may leave."""
        return self._row >= self._arch.height or self._column >= self._arch.width

    @property
    def leaves(self) -> bool:
        """A pooled vector leaves with the next position, which needs a token of the consumer for it."""
        return self._row in self._leaves[0] and self._column in self._leaves[1]

    def token(self, consumer: int = 0) -> int:
        """First cycle in which the token for the next vector is valid.

        Parameters
        ----------
        consumer : int
            First cycle in which the consumer's next token is valid; of no account unless ``leaves``.

        Raises
        ------
        ValueError
            If the next position is padding.
        """
        if self.is_padding:
            raise ValueError("pad must be called before token: the next position is padding")
        return max(self._current, consumer) if self.leaves else self._current

    def vector(self, *, taken: int, first_beat: int, last_beat: int) -> Pooled | None:
        """Account for the next vector.

        Parameters
        ----------
        taken, first_beat, last_beat : int
            Cycles in which its token was taken and its first and last beats came.

        Returns
        -------
        Pooled or None
            The pooled vector that leaves with it. Its token was taken in the cycle ``taken``, too.

        Raises
        ------
        ValueError
            If the next position is padding, the token was taken before it was valid, or the beats came too early.
        """
        earliest = self.token()
        if taken < earliest:
            raise ValueError(f"taken must be at least {earliest}, not {taken!r}")
        if first_beat <= taken:
            raise ValueError(f"first_beat must be at least {taken + 1}, not {first_beat!r}")
        if last_beat < first_beat + self._arch.beats - 1:
            raise ValueError(f"last_beat must be at least {first_beat + self._arch.beats - 1}, not {last_beat!r}")
        self._all_here = last_beat + 1
        return self._leave(taken, first_beat, last_beat, current=taken + 1)

    def pad(self, consumer: int = 0) -> Pooled | None:
        """Account for the next position, which is padding.

        Parameters
        ----------
        consumer : int
            As for ``token``.

        Raises
        ------
        ValueError
            If the next position is not padding.
        """
        if not self.is_padding:
            raise ValueError("vector must be called before pad: the next position is a vector's")
        asked = max(self._current, self._all_here)
        taken = max(asked, consumer if self.leaves else 0)
        last_beat = taken + self._arch.beats
        self.padded = asked, taken, last_beat
        return self._leave(taken, taken + 1, last_beat, current=last_beat + 1)

    def _leave(self, taken: int, first_beat: int, last_beat: int, *, current: int) -> Pooled | None:
        """What leaves with this position; go to the next one."""
        found = None
        if self.leaves:
            found = Pooled(taken=taken, first_beat=first_beat + self._latency, last_beat=last_beat + self._latency)
        self._current = current
        self._column = (self._column + 1) % self._positions[1]
        if self._column == 0:
            self._row = (self._row + 1) % self._positions[0]
        return found
