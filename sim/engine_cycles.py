"""Exact cycle model of one engine: event times by recurrence, no clock loop.

Cycle 0 is the first clock edge after reset; a transfer or slot *in* cycle c is one that the clock edge c completes.
Every number below is a statement about ``hw``: the names are those of the units there.
"""

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
    """When one vector passed: ``token`` taken, ``last_beat`` of sums at the engine's output."""

    token: int
    last_beat: int


class EngineCycles:
    """Follows one engine vector by vector.

    For each vector: ask ``ready`` when its first beat can be taken, work out when its last beat is, then call
    ``vector``.
    """

    def __init__(self, arch: EngineArch):
        self._arch = arch
        self._tree = (arch.lanes - 1).bit_length()
        self._waiting_from = 2 * arch.drain_slots           # the control clears both halves first
        self._drains = [np.arange(2 * arch.drain_slots)]    # drain slots of the last two folds
        self._retired = [-1, -1]                            # cycle of the last drain slot of the last two folds
        self._lane_free = np.zeros(arch.lanes, np.int64)    # first cycle in which a lane's next slot can be
        self._freed = [0, 0]                                # when the halves of the replay buffers can be written again
        self._last_input = -1

    def ready(self) -> int:
        """First cycle in which the next vector's first beat can transfer."""
        return max(self._last_input + 1, self._freed[0])

    def vector(self, slots: np.ndarray, *, last_input: int, token: int) -> VectorTimes:
        """Run one vector.

        Parameters
        ----------
        slots : int64 (F, P)
            From :func:`lane_slots`.
        last_input : int
            Cycle in which its last beat transfers.
        token : int
            First cycle in which the token for its sums is valid.
        """
        arch = self._arch
        start = self._lane_free.clip(min=last_input + (3 if arch.row_table else 2))
        slot_offsets = (np.arange(arch.groups)[:, None] * arch.group_period + np.arange(arch.group_slots)).ravel()
        taken = ends = -1
        for fold in range(arch.folds):
            start = start.clip(min=self._retired[0] + 1)    # at most one complete fold may wait for its drain
            finished = self._run_lanes(start, slots[fold])
            decision = max(self._waiting_from, int(finished.max()) + 1)
            if fold == 0:
                decision = taken = max(decision, token)
            drains = decision + 1 + slot_offsets
            self._drains = [self._drains[-1], drains]
            self._retired = [self._retired[1], int(drains[-1])]
            self._waiting_from = decision + arch.groups * arch.group_period + 1
            ends = int(drains[-1])
            start = finished + 1
        self._lane_free = start
        self._freed = [self._freed[1], int(start.max()) - 1 + 2]
        self._last_input = last_input
        last_beat = ends + SLOT_TO_CAPTURE + arch.group_beats + DRAIN_LATENCY + self._tree
        return VectorTimes(token=taken, last_beat=last_beat)

    def _run_lanes(self, start: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Cycle of each lane's last slot: ``slots`` of them from ``start`` on, drain slots left out."""
        drains = np.concatenate(self._drains)
        finished = start + slots - 1
        for lane in range(len(start)):
            first = int(np.searchsorted(drains, start[lane]))
            # The j-th later drain slot is in the way if it comes before the slots end that the j earlier ones moved on.
            ahead = drains[first:] - np.arange(len(drains) - first)
            finished[lane] += int(np.searchsorted(ahead, finished[lane], side="right"))
        return finished
