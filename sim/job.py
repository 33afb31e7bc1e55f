"""What simulators are asked and what they answer, the same for all of them.

A run begins with one clock edge in reset, where nothing is valid and nothing ready; cycle 0 ends with the next edge.
Where sources have a set-up, it comes before that, from power-up on: source after source sends its words of it, one a
cycle, ready or not, and `SETTLE` more cycles pass. From cycle 0 on, each driven stream's stall generator makes one step
a cycle::

    state ^= state << 13; state ^= state >> 17; state ^= state << 5        (32 bits)
    willing = (state >> 29) >= rate

A source offers a word in every cycle from the one where it was willing to the one where the word is accepted; while it
offers none, its payload is all ones. A sink is ready where it is willing. In a cycle of reset nothing is offered or
accepted, and an unaccepted word is offered afresh. Watching the same rules, all engines agree in every cycle.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

import numpy as np

from .harness import Port

__all__ = ["Drive", "Job", "Model", "Outcome", "SETTLE", "Status", "Trace", "is_finished"]

#: Cycles between the set-up and the reset.
SETTLE = 8


class Status(Enum):
    """How a run ended."""

    DONE = 0
    DEADLOCK = 1
    OUT_OF_CYCLES = 2


@dataclass(frozen=True, kw_only=True)
class Drive:
    """What to do with one source or sink.

    Attributes
    ----------
    words : array (n, chunks) of uint32
        To send; none for a sink.
    count : int
        Words to send, or to wait for.
    state, rate : int
        Of the stall generator; both 0: no stalls.
    restart : int
        The word to send next after a reset; -1 goes on.
    setup : array (n, chunks) of uint32 or None
        To send before the first reset.
    """

    words: np.ndarray
    count: int
    state: int = 0
    rate: int = 0
    restart: int = -1
    setup: np.ndarray | None = None

    @property
    def setup_words(self) -> int:
        """Words of the set-up."""
        return 0 if self.setup is None else len(self.setup)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run.

    Attributes
    ----------
    drives : tuple of Drive
        Of the sources, then of the sinks, in the order of the model's ports.
    resets : tuple of int
        Cycles in which reset is held, ascending.
    idle_limit, max_cycles : int
        Give up after so many cycles without a transfer; after so many altogether.
    vcd : Path or None
        Where to write waves.
    """

    drives: tuple[Drive, ...]
    resets: tuple[int, ...]
    idle_limit: int
    max_cycles: int
    vcd: Path | None

    @property
    def has_setup(self) -> bool:
        """Whether there is anything to do before the first reset."""
        return any(drive.setup_words for drive in self.drives)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The transfers of one port: `times` (n,) int64, and `words` (n, chunks) uint32, but none of a source."""

    times: np.ndarray
    words: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run: its status, cycles, clock-loop seconds, and for each port words moved and transfers."""

    status: Status
    cycles: int
    seconds: float
    moved: tuple[int, ...]
    traces: tuple[Trace, ...]


class Model(Protocol):
    """A design made ready for a simulator."""

    ports: tuple[Port, ...]

    def run(self, job: Job) -> Outcome:
        """Run from power-up to the end of the job."""
        ...


def is_finished(drives: tuple[Drive, ...], moved: list[int], sources: int) -> bool:
    """Whether every sink has its words or, where none waits for any, every source is empty."""
    sinks = [(drive.count, done) for drive, done in zip(drives[sources:], moved[sources:], strict=True)]
    if not any(count for count, _ in sinks):
        return all(done >= drive.count for drive, done in zip(drives[:sources], moved[:sources], strict=True))
    return all(done >= count for count, done in sinks)
