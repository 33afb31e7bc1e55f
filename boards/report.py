"""The report: everything known about a build folder on one page, which needs nothing but itself."""

import math
import os
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ..hw.arch import EngineArch, LayerArch, Mode, NetworkArch, SelectKind, UnrolledArch
from ..hw.errors import DovetailError
from ..hw.memory_map import MappedMemory, memory_map
from ..sim import golden
from ..sim.compare import plan_in_mode
from ..sim.cycles import LayerCycles, layer_cycles, network_cycles
from ..sim.time_shares import time_shares
from ..sim.unit_times import timeline
from ..sw.data import Samples
from ..sw.network import Layer
from ..sw.order import assign_kids
from ..sw.plan import Plan, PlannedLayer
from ..sw.quantise import input_codes
from ..sw.settings import Device
from . import report_pictures
from .build_folder import Build
from .report_estimates import KNOWN_DEVICES, device_fits, estimated_cells, unit_uses
from .report_parts import (
    Accuracy,
    Implementation,
    LayerFact,
    MemoryRow,
    ModeRow,
    PackingView,
    PlanRow,
    Report,
    ShareRow,
    UnitBar,
    UnitSpan,
)
from .report_pictures import MOST_COLUMNS, MOST_ROWS

__all__ = ["MARK", "environment", "gather", "render", "shown", "write_report"]

#: What a page of ours has near its beginning: only such a file is replaced.
MARK = '<meta name="generator" content="dovetail report">'
#: Control and format characters, lone surrogates, what is not assigned, and ends of lines.
_HARMFUL = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
#: Inferences that cycles are worked out for, and inferences of the timeline.
FRAMES, TIMELINE_FRAMES = 16, 4


def shown(text: str) -> str:
    """A name from a stranger's file, without characters that no page may hold or that turn the text around it."""
    return "".join("\ufffd" if unicodedata.category(character) in _HARMFUL else character for character in text)


def gather(
    build: Build, codes: np.ndarray, *, samples: Samples | None = None, samples_name: str = "",
    implementation: Implementation | None = None, device: Device | None = None,
) -> Report:
    """Work out what a report shows.

    Parameters
    ----------
    build : Build
    codes : int (n, L)
        Input codes that cycles are worked out for, where no samples are given: the golden vectors' of the build folder.
    samples : Samples, optional
        Inputs, for the accuracy and the cycles.
    samples_name : str
        What they are called.
    implementation : Implementation, optional
        What tools made of it.
    device : Device, optional
        What resources are estimated for, unit by unit; by default, and where the resource model does not know the
        device, the smallest one that it fits on.

    Returns
    -------
    Report
    """
    plan, source = build.plan, "the golden vectors of the build folder"
    if samples is not None:
        codes, source = input_codes(plan.network, samples.x, samples.scale), samples_name
    few = np.resize(codes[:FRAMES], (FRAMES, codes.shape[1]))
    results = golden.run(plan.network, few)
    times = network_cycles(plan, results, watch=True)
    alone = [layer_cycles(planned, result) for planned, result in zip(plan.layers, results, strict=True)]
    spans = timeline(times.works, TIMELINE_FRAMES)
    start = min(span.start for span in spans)
    fits = device_fits(plan)
    if device is None or device not in KNOWN_DEVICES:
        device = Device(next((fit.device for fit in fits if fit.fits), fits[-1].device))
    intake = build.manifest["intake"] or {}
    return Report(
        model=plan.network.name, sha256=plan.network.sha256, facts_of=intake.get("source", ""),
        version=version("dovetail"), cycles=times.per_inference, frames=min(FRAMES, len(codes)), frames_of=source,
        loadable=plan.arch.loadable,
        network=tuple(map(_fact, plan.layers)),
        packings=tuple(view for view in map(_packing, plan.layers) if view is not None),
        plan=tuple(_plan_row(planned) for planned in plan.layers),
        units=tuple(UnitBar(layer=unit.layer or "", unit=unit.unit, busy=unit.busy, starved=unit.starved,
                            stalled=unit.stalled) for unit in times.steady),
        spans=tuple(UnitSpan(layer=span.layer or "", unit=span.unit, inference=span.inference, start=span.start - start,
                             end=span.end - start) for span in spans),
        shares=tuple(map(_share, plan.layers, results, alone)),
        memories=_memories(plan),
        modes=tuple(_modes(plan, results, times.per_inference, alone, device)),
        fits=fits, estimates=unit_uses(plan, device), estimated_for=device.value, implementation=implementation,
        accuracy=None if samples is None else _accuracy(build, codes, samples, samples_name))


# ---------------------------------------------------------------------------------------------------- the network

def _times(sizes: Sequence[int]) -> str:
    return " × ".join(f"{size:,}" for size in sizes)


def _fact(planned: PlannedLayer) -> LayerFact:
    layer = planned.layer
    window, after = layer.window, []
    if layer.stages:
        after.append(f"{layer.output_bits}-bit codes")
    if layer.pool is not None:
        after.append(f"max-pool {_times(layer.pool.kernel)}")
    if layer.winners is not None:
        after.append(f"k-WTA {layer.winners:,} of {layer.kernels:,}")
    op = f"{layer.op} {_times(window.kernel)}" if window is not None else layer.op
    return LayerFact(
        name=layer.name, op=op, output=_times(layer.output_shape),
        input=_times((window.channels, window.height, window.width)) if window is not None else f"{layer.positions:,}",
        kernels=layer.kernels, positions=layer.positions, windows=layer.vectors, weights=layer.mask.size,
        nonzero=int(np.count_nonzero(layer.mask)), weight_bits=layer.weight_bits,
        after=", ".join(after) or "integer sums")


# ---------------------------------------------------------------------------------------------------- the packing

def _spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` numbers of 0 .. count - 1, evenly spaced."""
    return np.arange(min(count, most)) * count // min(count, most)


def _packing(planned: PlannedLayer) -> PackingView | None:
    packing, arch, mask = planned.packing, planned.arch.engine, planned.mask
    if packing is None or not isinstance(arch, EngineArch):
        return None
    members = assign_kids(packing, arch).reshape(packing.sets, arch.kids)
    heights = np.maximum(packing.rows.max(axis=0), 1)
    firsts = np.append(0, np.cumsum(heights))
    rows = _spread(int(firsts[-1]), MOST_ROWS)
    sets = _spread(packing.sets, MOST_COLUMNS)
    positions = np.searchsorted(firsts, rows, side="right") - 1
    ranks = rows - firsts[positions]
    kids = np.full((len(rows), len(sets)), -1)
    for column, number in enumerate(sets):
        used = np.nonzero(members[number] >= 0)[0]
        if not len(used):       # a place for a set where none was left
            continue
        present = mask[members[number][used]][:, positions]
        # The row of a position that a kernel is in: as many as have a weight there before it.
        here = present & (np.cumsum(present, axis=0) - 1 == ranks)
        kids[:, column] = np.where(here.any(axis=0), used[here.argmax(axis=0)], -1)
    apart, left = [], 64
    for kernels in members:
        used = np.nonzero(kernels >= 0)[0]
        if apart and len(used) > left or not len(used):
            break
        left -= len(used)
        columns = np.where(mask[kernels[used][:MOST_COLUMNS]][:, positions], used[:MOST_COLUMNS, np.newaxis], -1)
        apart += [np.full((1, len(rows)), -2)] * bool(apart) + [columns]
    return PackingView(
        layer=planned.layer.name, set_size=packing.set_size, sets=packing.sets, folds=packing.folds,
        rows=int(firsts[-1]), fill=packing.fill, conflicts=not packing.complementary, kids=kids,
        kernels=np.concatenate(apart).T)


# ------------------------------------------------------------------------------------------------------- the plan

def _selection(arch: LayerArch) -> str:
    select = arch.select
    if select.kind is SelectKind.GLOBAL:
        bins = "a bin a cycle" if select.bins == 1 else f"{select.bins} bins a cycle"
        return f"k-WTA {select.winners:,} of {select.kernels:,}, histogram, {bins}"
    if select.kind is SelectKind.LOCAL:
        return f"k-WTA {select.winners:,} of {select.kernels:,}, in registers"
    return "all that is not zero" if select.kind is SelectKind.NONZERO else "everything"


def _plan_row(planned: PlannedLayer) -> PlanRow:
    arch, engine, layer = planned.arch, planned.arch.engine, planned.layer
    widths = f"{layer.weight_bits} × {engine.activation_bits} → {engine.sum_bits}"
    if isinstance(engine, UnrolledArch):
        return PlanRow(
            layer=layer.name, mode=arch.mode.value, engine="unrolled", shape=f"{engine.lanes} taps",
            multipliers=0, set_size="", drain_width=engine.drain_width, widths=widths,
            weight_memory=f"{engine.nonzeros:,} constants in logic", accumulators="", selection=_selection(arch))
    return PlanRow(
        layer=layer.name, mode=arch.mode.value, engine="folded",
        shape=f"{engine.lanes} × {engine.banks} × {engine.folds}", multipliers=engine.multipliers,
        set_size=str(engine.set_size), drain_width=engine.drain_width, widths=widths,
        weight_memory=f"{engine.lanes} of {engine.lane_rows:,} × {engine.banks * engine.slot_bits} bits",
        accumulators={"lut-ram": "LUT RAM", "block-ram": "block RAM"}[engine.accumulator.value],
        selection=_selection(arch))


_KINDS = {
    "weights": "weights and KIDs", "rows": "row table", "biases": "biases", "order": "order of results",
    "ranks": "ranks", "multipliers": "multipliers of scales", "offsets": "offsets of scales",
    "thresholds": "thresholds",
}


def _memories(plan: Plan) -> tuple[MemoryRow, ...]:
    def group(memory: MappedMemory) -> tuple[str, str, int, int]:
        return memory.layer, memory.name.rstrip("0123456789"), memory.width, memory.depth

    found = []
    for (layer, name, width, depth), each in groupby(memory_map(plan.arch, plan.images), group):
        memories = list(each)
        stage, _, kind = name.rpartition("_")
        kind = _KINDS.get(kind, kind) + (f", stage {int(stage.removeprefix('stage')) + 1}" if stage else "")
        last = memories[-1].first + memories[-1].chunks - 1
        found.append(MemoryRow(
            layer=layer, kind=kind, count=len(memories), width=width, depth=depth, bits=len(memories) * width * depth,
            load=(f"{memories[0].first}–{last}" if last > memories[0].first else str(last)) if plan.arch.loadable
            else ""))
    return tuple(found)


# --------------------------------------------------------------------------------------------- time, and accuracy

_PARTS = ("useful", "empty", "draining", "uneven", "waiting")


def _share(planned: PlannedLayer, result: golden.LayerResult, alone: LayerCycles) -> ShareRow:
    time = time_shares(planned, result, alone)
    return ShareRow(
        layer=planned.layer.name, multipliers=alone.multipliers, cycles=alone.cycles_per_inference,
        useful_multiplications=alone.useful_multiplications,
        parts=tuple((part, getattr(time, part)) for part in _PARTS))


def _weight_bits(arch: NetworkArch) -> int:
    return sum(engine.lanes * engine.lane_rows * engine.banks * engine.slot_bits
               for engine in (layer.engine for layer in arch.layers) if isinstance(engine, EngineArch))


def _built_mode(plan: Plan) -> Mode:
    """The mode of the network: a first layer that takes every input is sparse-dense in a sparse-sparse one, too."""
    modes = {layer.mode for layer in plan.arch.layers}
    return next(mode for mode in (Mode.SPARSE_SPARSE, Mode.SPARSE_DENSE, Mode.DENSE) if mode in modes)


def _modes(
    plan: Plan, results: Sequence[golden.LayerResult], cycles: float, alone: Sequence[LayerCycles], device: Device,
) -> list[ModeRow]:
    rows, built = [], _built_mode(plan)
    for mode in (Mode.DENSE, Mode.SPARSE_DENSE, Mode.SPARSE_SPARSE):
        planned, taken, layers = plan, cycles, alone
        if mode is not built:
            try:
                planned = plan_in_mode(plan, mode)
            except DovetailError as error:
                rows.append(ModeRow(mode=mode.value, built=False, problem=str(error)))
                continue
            taken = network_cycles(planned, results).per_inference
            layers = [layer_cycles(each, result) for each, result in zip(planned.layers, results, strict=True)]
        rows.append(ModeRow(
            mode=mode.value, built=mode is built, cycles=taken, weight_bits=_weight_bits(planned.arch),
            multiplications=sum(layer.useful_multiplications for layer in layers),
            cells=estimated_cells(planned, device)))
    return rows


def _classes(scores: np.ndarray) -> np.ndarray:
    """The greatest of several scores; of a single one, its sign."""
    return scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.int64)


def _accuracy(build: Build, codes: np.ndarray, samples: Samples, name: str) -> Accuracy:
    last: Layer = build.plan.network.layers[-1]
    integer = _classes(last.real(golden.run(build.plan.network, codes)[-1].outputs))
    real = _classes(build.model.run(samples.x * samples.scale)[-1])
    labels = samples.labels
    return Accuracy(
        inputs=len(codes), source=name, agree=float((integer == real).mean()),
        integer=None if labels is None else float((integer == labels).mean()),
        float_=None if labels is None else float((real == labels).mean()))


# ------------------------------------------------------------------------------------------------------- the page

def environment() -> Environment:
    """Where templates are found and what they may call; all that they show is escaped."""
    found = Environment(
        loader=PackageLoader("dovetail.boards"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True)
    found.filters |= {"shown": shown, "number": _number, "share": _percent}
    return found


def render(report: Report) -> str:
    """The page. The same report gives the same text."""
    layers = [row.name for row in report.network]
    spans: dict[tuple[str, str], list[UnitSpan]] = defaultdict(list)
    for span in report.spans:
        spans[span.layer, span.unit].append(span)
    bits: dict[str, int] = defaultdict(int)
    for row in report.memories:
        bits[row.layer] += row.bits
    return environment().get_template("report.html").render(
        report=report, mark=MARK, pictures=report_pictures, layers=layers, spans=spans, memory_bits=bits,
        span_end=max((span.end for span in report.spans), default=0) + 1)


def _number(value: float) -> str:
    """A number with as many places as tell something: 1,234 and 12.3."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.1f}"


def _percent(part: float) -> str:
    """A share; never 0 % or 100 % of what is not."""
    if 0 < part < 0.001:
        return "< 0.1 %"
    if 0.999 < part < 1:
        return "> 99.9 %"
    if not math.isfinite(part):
        return "?"
    return f"{100 * part:.0f} %" if part in (0, 1) else f"{100 * part:.1f} %"


def write_report(path: Path, page: str) -> None:
    """Write a page beside its place and rename it into place, so that a half one is never seen.

    Parameters
    ----------
    path : Path
        Absent, or an older report, which is replaced.
    page : str

    Raises
    ------
    DovetailError
        If something else is at ``path``, or the folder around it does not exist.
    OSError
        If the file cannot be written; what was at ``path`` before is still there.
    """
    if not path.parent.is_dir():
        raise DovetailError(f"{path}: the folder {path.parent} does not exist")
    if path.exists() or path.is_symlink():
        if path.is_symlink() or not path.is_file():
            raise DovetailError(f"{path}: exists and is no file")
        with path.open("rb") as file:
            if MARK.encode() not in file.read(4096):
                raise DovetailError(f"{path}: exists and is no report, which would be lost; name another file")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        Path(name).chmod(0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
