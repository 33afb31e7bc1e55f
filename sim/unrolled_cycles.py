"""The cycle model of `dovetail.hw.unrolled_engine`: when windows are taken and when sums leave, exactly."""

from collections import deque
from collections.abc import Callable, Iterator

from ..hw.arch import PoolArch, UnrolledArch
from .engine_cycles import VectorTimes
from .pool_cycles import PoolCycles

__all__ = ["UnrolledCycles"]


class UnrolledCycles:
    """Follows one unrolled engine window by window; cycle 0 is the first clock edge after reset.

    For each window: ask ``ready``, then call ``vector`` and use up what it gives: the vectors that leave. Each is to be
    accounted for before the next one is asked for.
    """

    def __init__(self, arch: UnrolledArch, pool: PoolArch | None = None):
        self._arch = arch
        self._pool = None if pool is None else PoolCycles(pool)
        self._taken = -1                    # cycle of the last token that the serialiser gave
        self._ends = deque([-1] * arch.vectors)     # of as many vectors: cycle in which their last beat was sent

    def _room(self) -> int:
        """First cycle in which the serialiser's next token is valid."""
        return max(self._taken + 1, self._ends[0] + 1)

    def ready(self) -> int:
        """First cycle in which the next window can transfer."""
        return self._room() if self._pool is None else self._pool.token(self._room())

    def vector(self, taken: int, *, token: Callable[[], int]) -> Iterator[VectorTimes]:
        """Run one window.

        Parameters
        ----------
        taken : int
            Cycle in which it transfers.
        token : function
            Tells the first cycle in which the token for the next vector that leaves is valid.

        Yields
        ------
        VectorTimes
        """
        came = taken + self._arch.latency
        if self._pool is None:
            yield self._send(taken, came, token())
            return
        pooled = self._pool.vector(taken=taken, first_beat=came, last_beat=came)
        if pooled is not None:
            yield self._send(pooled.taken, pooled.last_beat, token())
        while self._pool.is_padding:
            pooled = self._pool.pad(self._room())
            if pooled is not None:
                yield self._send(pooled.taken, pooled.last_beat, token())

    def _send(self, taken: int, came: int, token: int) -> VectorTimes:
        """A vector whose token was taken in one cycle comes to the serialiser in another."""
        self._taken = taken
        asked = max(came + self._arch.vectors, self._ends[-1] + 1)
        start = max(asked, token)
        end = start + self._arch.beats - 1
        busy = (max(taken, self._ends[-1]) + 1, asked - 1), (start, end)
        self._ends.popleft()
        self._ends.append(end)
        latency = self._arch.token_latency
        return VectorTimes(asked=asked, token=start, first_beat=start + latency, last_beat=end + latency,
                           beats=((start + latency, end + latency),), busy=busy)
