"""Exact cycle model of one engine: event times by recurrence, no clock loop.

Cycle 0 is the first clock edge after reset; a transfer or slot *in* cycle c is one that the clock edge c completes.
Every number below is a statement about ``hw``: the names are those of the units there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..hw.arch import EngineArch

__all__ = ["EngineCycles", "VectorTimes", "lane_slots"]

#: Stages between a drain slot and the capture of its sums (``Lane.latency``).
SLOT_TO_CAPTURE = 4
#: Registers behind the tree's last level: beat, ROM, addition, output (``drain_latency``).
DRAIN_LATENCY = 4


def lane_slots(arch: EngineArch, selected: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Slots that each lane needs for each fold of each vector.

    Parameters
    ----------
    selected : bool (n, L)
        Positions that arrive as a pair.
    rows : int (F, L) or None
        Rows of every position; None is one row everywhere. A position without rows takes one idle slot.

    Returns
    -------
    int64 (n, F, P)
        At least 1: an empty vector takes one idle slot in every fold.
    """
    count, length = selected.shape
    padded = np.zeros((count, arch.lane_positions * arch.lanes), np.int64)
    padded[:, :length] = selected
    by_lane = padded.reshape(count, arch.lane_positions, arch.lanes)
    if rows is None:
        slots = np.broadcast_to(by_lane.sum(axis=1)[:, None], (count, arch.folds, arch.lanes))
    else:
        cost = np.zeros((arch.folds, arch.lane_positions * arch.lanes), np.int64)
        cost[:, :length] = np.maximum(rows, 1)
        slots = np.einsum("nap,fap->nfp", by_lane, cost.reshape(arch.folds, arch.lane_positions, arch.lanes))
    return np.maximum(slots, 1)


@dataclass(frozen=True, kw_only=True)
class VectorTimes:
    """When one vector passed.

    Members
    -------
    asked, token : int
        Cycles from which on, and in which, the engine took the token for its sums.
    first_beat, last_beat : int
        Of sums at the engine's output.
    beats : sequence of (first, last)
        Cycles of all of them.
    busy : sequence of (first, last)
        Cycles in which the engine worked on it; may overlap. See `dovetail.sim.unit_times`.
    """

    asked: int
    token: int
    first_beat: int
    last_beat: int
    beats: Sequence[tuple[int, int]]
    busy: Sequence[tuple[int, int]]


class EngineCycles:
    """Follows one engine vector by vector.

    For each vector: ask ``ready`` when its first beat can be taken, work out when its last beat is, then call
    ``vector``.
    """

    def __init__(self, arch: EngineArch):
        self._group_slots, self._group_beats = arch.group_slots, arch.group_beats
        self._behind = SLOT_TO_CAPTURE + DRAIN_LATENCY + (arch.lanes - 1).bit_length()  # from a drain slot to a beat
        self._filled = 3 if arch.row_table else 2           # from a vector's last beat to its first slot
        self._offsets = [1 + group * arch.group_period + slot for group in range(arch.groups)
                         for slot in range(arch.group_slots)]     # of drain slots, from the decision on
        self._period = arch.groups * arch.group_period + 1
        self._groups = range(0, arch.groups * arch.group_period, arch.group_period)
        self._waiting_from = 2 * arch.drain_slots           # the control clears both halves first
        self._drains = list(range(2 * arch.drain_slots))    # drain slots of the last two folds
        self._retired = [-1, -1]                            # cycle of the last drain slot of the last two folds
        self._lane_free = [0]                               # first cycle in which a lane's next slot can be
        self._freed = [0, 0]                                # when the halves of the replay buffers can be written again
        self._last_input = -1

    def ready(self) -> int:
        """First cycle in which the next vector's first beat can transfer."""
        return max(self._last_input + 1, self._freed[0])

    def vector(self, slots: Sequence[Sequence[int]], *, last_input: int, token: int) -> VectorTimes:
        """Run one vector.

        Parameters
        ----------
        slots : sequence (F,) of sequences (P,)
            From :func:`lane_slots`. Lanes that have the same slots in every vector may be given as one.
        last_input : int
            Cycle in which its last beat transfers.
        token : int
            First cycle in which the token for its sums is valid.
        """
        if len(self._lane_free) != len(slots[0]):
            self._lane_free = [max(self._lane_free)] * len(slots[0])
        filled = last_input + self._filled
        start = [max(free, filled) for free in self._lane_free]
        asked = taken = first = ends = -1
        busy, beats = [], []
        for fold, mine in enumerate(slots):
            earliest = self._retired[0] + 1                 # at most one complete fold may wait for its drain
            if len(start) == 1:
                finished = [self._finish(max(start[0], earliest), mine[0])]
                busy.append((max(start[0], earliest), finished[0]))
            else:
                known = {lane: self._finish(max(lane[0], earliest), lane[1])
                         for lane in set(zip(start, mine, strict=True))}
                finished = [known[lane] for lane in zip(start, mine, strict=True)]
                # The drain slots that a lane leaves out are work, too.
                busy += [(max(begin, earliest), end) for (begin, _), end in known.items()]
            decision = max(self._waiting_from, max(finished) + 1)
            if fold == 0:
                asked = decision
                decision = taken = max(decision, token)
                first = decision + self._group_slots
            drains = [decision + offset for offset in self._offsets]
            self._drains = self._drains[-len(drains):] + drains
            ends = drains[-1]
            self._retired = [self._retired[1], ends]
            self._waiting_from = decision + self._period
            busy.append((decision, self._waiting_from - 1))
            beat = decision + self._group_slots + self._behind + 1
            beats += [(beat + wait, beat + wait + self._group_beats - 1) for wait in self._groups]
            start = [cycle + 1 for cycle in finished]
        self._lane_free = start
        self._freed = [self._freed[1], max(start) + 1]
        self._last_input = last_input
        return VectorTimes(asked=asked, token=taken, first_beat=first + self._behind + 1,
                           last_beat=ends + self._behind + self._group_beats, beats=beats, busy=busy)

    def _finish(self, start: int, slots: int) -> int:
        """Cycle of a lane's last slot: ``slots`` of them from ``start`` on, drain slots left out."""
        finished = start + slots - 1
        if self._drains[-1] < start:
            return finished
        for drain in self._drains:
            if drain > finished:
                break
            if drain >= start:
                finished += 1
        return finished
