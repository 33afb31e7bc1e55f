"""One candidate a layer: the fastest network that fits a device, or the smallest one that is fast enough."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
from scipy.optimize import linprog

from ..hw.errors import DovetailError
from .candidates import Candidate
from .resources import Resources, capacity
from .settings import Device

__all__ = ["PlanError", "choose", "logic_cells", "pick"]

#: Part of a device's look-up tables and flip-flops that a plan may take: the rest is what estimates err by, and what
#: routing wants. Memories and multipliers are counted exactly, and may all be taken.
MOST_FILL = 0.9
#: The same of an iCE40's logic cells, which look-up tables and flip-flops share.
MOST_CELLS = 0.95
#: Part of an iCE40's flip-flops that take a logic cell of their own: in others is the look-up table in front of them.
LONE_FF = 0.8
_KINDS = tuple(entry.name for entry in fields(Resources))
_WORDS = {"lut": "look-up tables", "ff": "flip-flops", "block_ram": "block RAMs", "multiplier": "multipliers",
          "spram": "SPRAMs"}


class PlanError(DovetailError):
    """A target, or a device, that cannot be met. Exit code 1."""

    exit_code = 1


def _whole(device: Device) -> Resources:
    whole = capacity(device)
    if whole is None:
        raise ValueError(f"device must be one whose size is known, not {device!r}")
    return whole


def room(device: Device, reserve: Resources | None = None) -> np.ndarray:
    """What a plan may take of a device, float (5,), in logic cells where it has those."""
    whole = _whole(device)
    fill = MOST_FILL if device.has_lut_ram else MOST_CELLS
    filled = _vector(replace(whole, lut=int(fill * whole.lut), ff=int(MOST_FILL * whole.ff)))
    return filled - _cells(device) @ _vector(reserve or Resources())


def logic_cells(resources: Resources) -> int:
    """Logic cells of an iCE40 that look-up tables and flip-flops take together, as plans are chosen by."""
    return round(resources.lut + LONE_FF * resources.ff)


def _cells(device: Device) -> np.ndarray:
    """A matrix (5, 5) that makes look-up tables of resources the logic cells that they take, with flip-flops."""
    found = np.eye(len(_KINDS))
    if not device.has_lut_ram:
        found[_KINDS.index("lut"), _KINDS.index("ff")] = LONE_FF
    return found


def _vector(resources: Resources) -> np.ndarray:
    return np.array([getattr(resources, kind) for kind in _KINDS], float)


def cost(resources: Resources) -> float:
    """What a plan is kept small in: look-up tables, of which everything takes some. Memories and multipliers of a
    device are there to be used, and decide between plans that are equal otherwise."""
    return resources.lut + (resources.ff + resources.block_ram + resources.multiplier + resources.spram) / 100


def pick(candidates: Sequence[Candidate], *, target: float, device: Device) -> Candidate | None:
    """The smallest candidate among those that reach the target; None where none does."""
    reaching = [candidate for candidate in candidates if candidate.cycles <= target]
    return min(reaching, key=lambda candidate: (cost(candidate.resources(device)), candidate.cycles), default=None)


def choose(
    layers: Sequence[Sequence[Candidate]], *, device: Device, target: float | None, reserve: Resources | None = None,
) -> list[Candidate]:
    """Choose a candidate for each layer, together: what one layer takes another cannot have.

    A mixed-integer program, solved exactly (HiGHS): one of a layer's candidates each, and how many of each layer's
    multipliers are made of look-up tables. Without a target the slowest layer is made as fast as it can be, then the
    rest as small as it can be at that pace.

    Parameters
    ----------
    layers : sequence of sequences of Candidate
    device : Device
        One that has a `dovetail.sw.resources.capacity`.
    target : float or None
        Cycles per inference that no layer may exceed.
    reserve : Resources, optional
        What a board's design takes besides; what is chosen fits together with it.

    Returns
    -------
    list of Candidate
        With as many ``soft`` multipliers as it takes.

    Raises
    ------
    PlanError
        If nothing fits: what is missing, by how much, and what would fit.
    """
    program = _Program([_undominated(candidates, device) for candidates in layers], device, reserve)
    if target is None:
        fastest = program.fastest()
        if fastest is None:
            raise PlanError(program.excess(None))
        target = fastest
    chosen = program.smallest(target)
    if chosen is None:
        raise PlanError(program.excess(target))
    return chosen


def _undominated(candidates: Sequence[Candidate], device: Device) -> list[Candidate]:
    """Candidates that no other one beats, or equals, in cycles and in every resource."""
    kept: list[Candidate] = []
    costs: list[np.ndarray] = []
    rows = [(candidate, np.append(_vector(candidate.resources(device)), candidate.cycles)) for candidate in candidates]
    for candidate, taken in sorted(rows, key=lambda row: tuple(row[1][::-1])):
        if not any((other <= taken).all() for other in costs):
            kept.append(candidate)
            costs.append(taken)
    return kept


def _soft_product(candidates: Sequence[Candidate], device: Device) -> np.ndarray:
    """What changes with each multiplier of a layer that is made of look-up tables."""
    candidate = max(candidates, key=lambda candidate: candidate.most_soft)
    count = max(1, candidate.most_soft)
    return (_vector(candidate.with_soft(count).resources(device)) - _vector(candidate.resources(device))) / count


@dataclass
class _Program:
    """Variables: a choice (0 or 1) for every candidate, soft multipliers of every layer, excess of every resource as a
    part of the device, and the cycles of the slowest layer."""

    layers: list[list[Candidate]]
    device: Device
    reserve: Resources | None = None

    def __post_init__(self) -> None:
        counts = [len(candidates) for candidates in self.layers]
        self.choices = sum(counts)
        self.starts = np.cumsum([0, *counts])
        self.size = self.choices + len(self.layers) + len(_KINDS) + 1
        self.room = room(self.device, self.reserve)
        counted = _cells(self.device)
        self.whole = np.maximum(_vector(_whole(self.device)), 1)
        candidates = [candidate for layer in self.layers for candidate in layer]
        self.costs = np.array([_vector(candidate.resources(self.device)) for candidate in candidates]).T
        self.costs = counted @ self.costs
        self.cycles = np.array([candidate.cycles for candidate in candidates])
        soft = counted @ np.array([_soft_product(layer, self.device) for layer in self.layers]).T
        self.ones = np.zeros((len(self.layers), self.size))         # one candidate of each layer
        self.limits = np.zeros((2 * len(self.layers) + len(_KINDS), self.size))
        multipliers, paces, self.taken = np.split(self.limits, [len(self.layers), 2 * len(self.layers)])
        for number, (start, end) in enumerate(pairwise(self.starts)):
            self.ones[number, start:end] = 1
            multipliers[number, start:end] = [-candidate.most_soft for candidate in candidates[start:end]]
            multipliers[number, self.choices + number] = 1
            paces[number, start:end] = self.cycles[start:end]
        paces[:, -1] = -1
        self.taken[:, :self.choices] = self.costs
        self.taken[:, self.choices:self.choices + len(self.layers)] = soft
        self.taken[:, self._excess] = -np.diag(self.whole)

    @property
    def _excess(self) -> slice:
        return slice(self.size - 1 - len(_KINDS), self.size - 1)

    def _solve(self, goal: np.ndarray, *, target: float, exceed: bool = False) -> np.ndarray | None:
        """Variables at the least of ``goal``; None where no choice fits."""
        upper = np.full(self.size, np.inf)
        upper[:self.choices] = self.cycles <= target
        upper[self._excess] = np.inf if exceed else 0
        upper[-1] = np.inf if target == np.inf else target
        whole = np.ones(self.size)
        whole[self._excess], whole[-1] = 0, 0
        found = linprog(
            goal, A_ub=self.limits, b_ub=np.append(np.zeros(2 * len(self.layers)), self.room), A_eq=self.ones,
            b_eq=np.ones(len(self.layers)), bounds=np.stack([np.zeros(self.size), upper], axis=1), integrality=whole,
            method="highs")
        return found.x if found.status == 0 else None

    def fastest(self) -> float | None:
        """Cycles of the fastest network that fits."""
        goal = np.zeros(self.size)
        goal[-1] = 1
        found = self._solve(goal, target=np.inf)
        return None if found is None else float(self._chosen_cycles(found).max())

    def _chosen_cycles(self, found: np.ndarray) -> np.ndarray:
        return self.cycles[found[:self.choices] > 0.5]

    def smallest(self, target: float) -> list[Candidate] | None:
        """The smallest network among those that reach the target and fit."""
        goal = np.array([cost(Resources(**{kind: 1})) for kind in _KINDS]) @ self.taken
        goal[self._excess] = 0
        found = self._solve(goal, target=target)
        if found is None:
            return None
        return [candidates[int(np.argmax(found[start:end]))].with_soft(round(found[self.choices + number]))
                for number, (candidates, (start, end)) in enumerate(
                    zip(self.layers, pairwise(self.starts), strict=True))]

    def excess(self, target: float | None) -> str:
        """One line: what is missing, by how much, and what would fit."""
        goal = np.zeros(self.size)
        goal[self._excess] = 1
        pace = "no plan" if target is None else f"no plan of {round(target)} cycles per inference"
        line = f"{pace} fits {self.device.value}"
        found = self._solve(goal, target=np.inf if target is None else target, exceed=True)
        if found is None:
            slowest = max(range(len(self.layers)), key=lambda number: min(
                candidate.cycles for candidate in self.layers[number]))
            least = min(candidate.cycles for candidate in self.layers[slowest])
            name = self.layers[slowest][0].arch.name
            return f"layer {name!r} cannot reach {round(target or 0)} cycles per inference; the fastest engine found " \
                   f"takes about {round(least)}"
        words = _WORDS if self.device.has_lut_ram else _WORDS | {"lut": "logic cells"}
        missing = [f"{round(part * whole):,} {words[kind]} more than the {round(limit):,} that may be taken"
                   for kind, part, whole, limit in zip(
                       _KINDS, found[self._excess], self.whole, self.room, strict=True) if part > 1e-9]
        line += f": the closest needs {' and '.join(missing)}"
        ways = []
        if target is not None and (fastest := self.fastest()) is not None:
            ways.append(f"{int(np.ceil(fastest))} cycles on this device")
        for other in Device:        # from small to large
            alike = other.is_routed and other.has_lut_ram == self.device.has_lut_ram and other is not self.device
            if not alike:
                continue
            there = _Program(self.layers, other, self.reserve)
            if there.smallest(np.inf if target is None else target) is not None:
                ways.append(f"{other.value} at this pace" if target is not None else other.value)
                break
        return line + (f"; what would fit: {', or '.join(ways)}" if ways else "")
