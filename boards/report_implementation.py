"""What synthesis, and placing and routing, say of a build folder, brought into the report's records."""

import json
from collections.abc import Sequence

from ..hw.errors import DovetailError
from ..sw.settings import Device
from .build_folder import Build
from .cells import cells_of
from .critical_path import steps
from .devices import DEVICES
from .floorplan import GRIDS, PlacedCell
from .place import Placement, Timing, place
from .programs import Watch
from .report_parts import Implementation, Mark, PathStep, Use
from .synth import design_of, synthesise

__all__ = ["implement"]

_REMARKS = {
    Timing.ROUTED: "",
    Timing.ICETIME: "By icetime, which times this device's multipliers.",
    Timing.UPPER_BOUND: "An upper bound: nextpnr does not time this device's multipliers and large memories.",
}


def implement(
    build: Build, device: Device, *, seeds: Sequence[int] = (), watch: Watch | None = None,
) -> Implementation:
    """Synthesise a build folder's network for a device, or find what came of that before.

    Parameters
    ----------
    build : Build
    device : Device
    seeds : sequence of int
        Place and route with each of these seeds, and show the fastest; without any, cells are only counted.
    watch : callable, optional
        Is told each line of the tools' logs.

    Raises
    ------
    DovetailError
        If nothing places the device, or the design does not fit it.
    ToolMissing, ToolFailed
        If a program is missing or fails.
    """
    record = DEVICES[device]
    if seeds and record.placer is None:
        raise DovetailError(f"{device.value} is only counted: nothing open places it")
    synthesis = synthesise(design_of(build), record.family, watch=watch)
    cells, there = cells_of(synthesis), record.capacity
    tool = f"Yosys {synthesis.tool}"
    counted = (
        ("look-up tables", cells.lut_equivalents, there and there.lut), ("flip-flops", cells.ff, there and there.ff),
        ("block RAMs", cells.bram, there and there.bram), ("multipliers", cells.dsp, there and there.dsp),
        ("256-kbit memories", cells.spram, there and there.spram))
    found = Implementation(device=device.value, tools=(tool,), uses=tuple(
        Use(resource=name, used=used, available=available, mark=Mark.MEASURED, by=f"counted by {tool}")
        for name, used, available in counted if used or available))
    if not seeds:
        return found
    placement = place(synthesis, record, seeds=seeds, watch=watch)
    names = [layer.name for layer in build.plan.arch.layers]
    return Implementation(
        device=found.device, uses=found.uses, tools=(tool, f"{record.placer} {placement.tool}"),
        fmax_mhz=placement.fmax_mhz, fmax_remark=_REMARKS[placement.timing], path=_path(placement, names),
        cells=tuple(PlacedCell(**cell) for cell in json.loads((placement.folder / "cells.json").read_text())),
        grid=GRIDS[device])


def _path(placement: Placement, layers: Sequence[str]) -> tuple[PathStep, ...]:
    """A unit after the other: what its cells take, then the routing in it and to the next one."""
    return tuple(
        PathStep(what=what, unit=step.unit, nanoseconds=delay) for step in steps(placement.path, layers)
        for what, delay in (("logic", step.logic_ns), ("routing", step.routing_ns)) if delay)
