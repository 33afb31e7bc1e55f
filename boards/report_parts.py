"""What a report shows: plain records, one kind a section, so that every source of figures is optional."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from .floorplan import PlacedCell

__all__ = [
    "Accuracy", "DeviceFit", "Implementation", "LayerFact", "Mark", "MemoryRow", "ModeRow", "PackingView",
    "PathStep", "PlanRow", "Report", "ShareRow", "UnitBar", "UnitSpan", "UnitUse", "Use",
]


class Mark(Enum):
    """Where a number comes from."""

    COMPUTED = "computed"       # exact, from the build folder
    MEASURED = "measured"       # by the tool that is named with it
    ESTIMATED = "estimated"     # by a model that can be wrong


@dataclass(frozen=True, kw_only=True)
class LayerFact:
    """One layer of the network; ``after`` is what follows the multiplication, in words."""

    name: str
    op: str
    input: str
    output: str
    kernels: int
    positions: int
    windows: int
    weights: int
    nonzero: int
    weight_bits: int
    after: str

    @property
    def density(self) -> float:
        return self.nonzero / self.weights


@dataclass(frozen=True, kw_only=True, eq=False)
class PackingView:
    """A part of a layer's augmented weight tensor, for a picture.

    Members
    -------
    layer : str
    set_size, sets, folds, rows : int
        Of the whole layer: N, S, F, and rows of all positions together (of a position, those of its longest fold).
    fill : float
        Part of the places that hold a weight.
    conflicts : bool
        Kernels of a set share positions, which then take several rows.
    kids : int (rows, sets)
        KID at every place that is shown, -1 where it is empty.
    kernels : int (rows, kernels)
        The same rows of the first sets' kernels side by side, -2 in the columns between two sets.
    """

    layer: str
    set_size: int
    sets: int
    folds: int
    rows: int
    fill: float
    conflicts: bool
    kids: np.ndarray
    kernels: np.ndarray

    @property
    def unpacked_sets(self) -> int:
        """Sets whose kernels are shown side by side."""
        return 1 + int((self.kernels[0] == -2).sum())


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """How one layer is built; empty texts, and no multipliers, where an unrolled layer has no such thing."""

    layer: str
    mode: str
    engine: str
    shape: str
    multipliers: int
    set_size: str
    drain_width: int
    widths: str
    weight_memory: str
    accumulators: str
    selection: str


@dataclass(frozen=True, kw_only=True)
class UnitBar:
    """Cycles of one unit in the steady state; ``layer`` is empty for the network's border."""

    layer: str
    unit: str
    busy: int
    starved: int
    stalled: int

    @property
    def cycles(self) -> int:
        return self.busy + self.starved + self.stalled


@dataclass(frozen=True, kw_only=True)
class UnitSpan:
    """One unit works on one inference, from cycle ``start`` to cycle ``end``, both included."""

    layer: str
    unit: str
    inference: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """Where the time of one layer's multipliers goes when it works alone; ``parts`` are (name, share), together 1."""

    layer: str
    multipliers: int
    cycles: float
    useful_multiplications: float
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class MemoryRow:
    """Memories of one kind in one layer; ``load`` is the range of their numbers on the load stream, or empty."""

    layer: str
    kind: str
    count: int
    width: int
    depth: int
    bits: int
    load: str


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much of one kind of cell is taken; ``available`` is None where nobody says."""

    resource: str
    used: int
    available: int | None
    mark: Mark
    by: str

    @property
    def share(self) -> float | None:
        """Part of what there is."""
        return self.used / self.available if self.available else None


@dataclass(frozen=True, kw_only=True)
class DeviceFit:
    """The whole network on one device, estimated."""

    device: str
    uses: tuple[Use, ...]

    @property
    def fits(self) -> bool:
        """Nothing is taken that is not there."""
        return all(use.available is None or use.used <= use.available for use in self.uses)


@dataclass(frozen=True, kw_only=True)
class UnitUse:
    """Cells of one unit, by kind, estimated."""

    layer: str
    unit: str
    cells: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """One step of the critical path: ``what`` it is, in which unit, and how long it takes."""

    what: str
    unit: str
    nanoseconds: float


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """What synthesis, and perhaps placing and routing, said of one device.

    Members
    -------
    device : str
    uses : tuple of Use
    tools : tuple of str
        Their names and versions.
    fmax_mhz : float or None
        None without placing and routing.
    fmax_remark : str
        What it does not say, if anything.
    path : tuple of PathStep
    cells : tuple of PlacedCell
        Empty without placing.
    grid : (int, int)
        Columns and rows of the device's tiles.
    """

    device: str
    uses: tuple[Use, ...]
    tools: tuple[str, ...]
    fmax_mhz: float | None = None
    fmax_remark: str = ""
    path: tuple[PathStep, ...] = ()
    cells: tuple[PlacedCell, ...] = ()
    grid: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Integer network against float model on inputs that were given; the accuracies are None without labels."""

    inputs: int
    source: str
    agree: float
    integer: float | None
    float_: float | None


@dataclass(frozen=True, kw_only=True)
class ModeRow:
    """The network in one mode on the same lanes and banks; ``problem`` says why it cannot be built so."""

    mode: str
    built: bool
    cycles: float | None = None
    multiplications: float | None = None
    weight_bits: int | None = None
    cells: Mapping[str, int] | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """Everything on the page, ready to be shown.

    Members
    -------
    model : str
    facts_of : str
        How the integers came about.
    version : str
        Of Dovetail.
    cycles : float
        Per inference, in the steady state.
    frames : int
        Inputs that the cycles are of.
    frames_of : str
        Which these are.
    """

    model: str
    sha256: str
    facts_of: str
    version: str
    cycles: float
    frames: int
    frames_of: str
    loadable: bool
    network: tuple[LayerFact, ...]
    packings: tuple[PackingView, ...]
    plan: tuple[PlanRow, ...]
    units: tuple[UnitBar, ...]
    spans: tuple[UnitSpan, ...]
    shares: tuple[ShareRow, ...]
    memories: tuple[MemoryRow, ...]
    modes: tuple[ModeRow, ...]
    fits: tuple[DeviceFit, ...]
    estimates: tuple[UnitUse, ...]
    estimated_for: str
    implementation: Implementation | None = None
    accuracy: Accuracy | None = None

    @property
    def multipliers(self) -> int:
        return sum(row.multipliers for row in self.plan)
