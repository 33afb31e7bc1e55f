"""What every unit of a network does in every cycle: busy, stalled or starved.

In a cycle a unit is

busy
    if it computes, or sends a beat. A beat that moves is the work of the unit that sends it, not of the one that takes
    it.
stalled
    if it is not busy, and what it has to send is not taken: a beat that is valid and not ready, or a vector that lacks
    the token of the unit behind.
starved
    otherwise: it waits for what comes from the front.

What a unit computes, and which token is meant:

======  ================================================================================================================
unit    busy
======  ================================================================================================================
input   A beat enters the network. The source always has one, as long as there are frames.
window  A window whose last pixel has come, and whose predecessor has left, is made ready, or sends a beat.
join    A pixel passes, from its first beat to its last.
engine  Folded: a lane takes a slot, or the drain takes a fold out, from its decision to the last beat's period; stalled
        while the first fold of a vector is complete and lacks the token of pool or select unit. Unrolled: a window
        enters; a vector of sums is on its way from its own token (with pooling: the window's that completes it) to the
        register from which it is sent; or a beat of it is sent, seen where the token is taken; stalled while the first
        beat lacks the token of pool or select unit. A pool of sums is part of it.
pool    A beat of sums' codes comes, which is compared at once, or is inserted for a position behind the border, with
        the cycle in front of it that decides so; stalled while such a position lacks the select unit's token.
select  A vector that came whole, and whose predecessor has left, is searched and read, or sends a beat. A vector's
        arrival is the engine's work.
output  A vector leaves the network, from its first beat to its last. The sink is always ready.
======  ================================================================================================================

Nothing is measured: the cycle model knows every event, and is exact where nothing outside stalls. Stages of
requantisation and the engine's adder tree take a beat every cycle; they are not units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

__all__ = ["Span", "State", "States", "UnitWork", "bottleneck", "cycle_states", "states", "timeline"]


class State(IntEnum):
    """What a unit does in one cycle."""

    BUSY = 0
    STARVED = 1
    STALLED = 2


@dataclass(kw_only=True)
class UnitWork:
    """Cycles in which a unit was busy, and in which it had something to send that was not taken.

    Members
    -------
    layer : str or None
        Name of its layer; None of the network's border.
    unit : str
        ``input``, ``window``, ``join``, ``engine``, ``pool``, ``select`` or ``output``.
    frame : int
        The inference that is being accounted for.
    busy : list of (first, last, frame)
        Cycles, both included; in no order, and with overlaps.
    waiting : list of (first, last)
        The unit is stalled in those of these cycles in which it is not busy.
    """

    layer: str | None
    unit: str
    frame: int = 0
    busy: list[tuple[int, int, int]] = field(default_factory=list)
    waiting: list[tuple[int, int]] = field(default_factory=list)

    def work(self, first: int, last: int) -> None:
        """Busy in these cycles, if there are any; what adjoins the entry before becomes one with it."""
        if last < first:
            return
        if self.busy:
            begin, end, frame = self.busy[-1]
            if frame == self.frame and first <= end + 1 and last >= begin - 1:
                self.busy[-1] = min(first, begin), max(last, end), frame
                return
        self.busy.append((first, last, self.frame))

    def wait(self, first: int, last: int) -> None:
        """Something is not taken in these cycles, if there are any."""
        if last >= first:
            self.waiting.append((first, last))


@dataclass(frozen=True, kw_only=True)
class States:
    """Cycles of a unit between two instants; together they are all of them.

    Members
    -------
    layer : str or None
    unit : str
    busy, starved, stalled : int
    """

    layer: str | None
    unit: str
    busy: int
    starved: int
    stalled: int

    @property
    def cycles(self) -> int:
        return self.busy + self.starved + self.stalled

    @property
    def name(self) -> str:
        """``conv0 engine``; the units of the border have no layer."""
        return self.unit if self.layer is None else f"{self.layer} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class Span:
    """A unit works on an inference from cycle ``start`` to cycle ``end``, both included; it may wait in between."""

    layer: str | None
    unit: str
    inference: int
    start: int
    end: int


def _painted(spans: Sequence[tuple[int, ...]], first: int, last: int) -> np.ndarray:
    """Which cycles of ``first .. last`` the spans cover: bool (last - first + 1,)."""
    count = last - first + 1
    if not spans:
        return np.zeros(count, bool)
    edges = np.array([span[:2] for span in spans], np.int64) + (-first, 1 - first)
    edges = np.clip(edges, 0, count)
    steps = np.bincount(edges[:, 0], minlength=count + 1) - np.bincount(edges[:, 1], minlength=count + 1)
    return np.cumsum(steps[:count]) > 0


def cycle_states(work: UnitWork, first: int, last: int) -> np.ndarray:
    """State of a unit in each of the cycles ``first .. last``: array of `State` values, int64 (last - first + 1,)."""
    stalled = np.where(_painted(work.waiting, first, last), State.STALLED, State.STARVED)
    return np.where(_painted(work.busy, first, last), State.BUSY, stalled)


def states(works: Sequence[UnitWork], first: int, last: int) -> tuple[States, ...]:
    """How many of the cycles ``first .. last``, both included, every unit spent in which state."""
    found = []
    for work in works:
        counts = np.bincount(cycle_states(work, first, last), minlength=len(State)).tolist()
        found.append(States(layer=work.layer, unit=work.unit, busy=counts[State.BUSY], stalled=counts[State.STALLED],
                            starved=counts[State.STARVED]))
    return tuple(found)


def bottleneck(found: Sequence[States]) -> States:
    """The unit that is busy most; of equals the last, since in front of it vectors pile up, which looks busy."""
    return max(reversed(found), key=lambda unit: unit.busy)


def timeline(works: Sequence[UnitWork], inferences: int) -> list[Span]:
    """When every unit works on each of the first inferences: unit by unit, in the order of the pipeline."""
    spans = []
    for work in works:
        ends: dict[int, tuple[int, int]] = {}
        for first, last, frame in work.busy:
            if frame < inferences:
                start, end = ends.get(frame, (first, last))
                ends[frame] = min(start, first), max(end, last)
        spans += [Span(layer=work.layer, unit=work.unit, inference=frame, start=start, end=end)
                  for frame, (start, end) in sorted(ends.items())]
    return spans
