"""What synthesis, and placing and routing, say of a build folder, brought into the report's records."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..hw.errors import DovetailError
from ..sw.settings import Device
from .build_folder import Build
from .critical_path import steps
from .devices import DEVICES
from .floorplan import GRIDS, PlacedCell
from .place import Placement, Timing, phases_of, place
from .report_parts import Implementation, Mark, PathStep, Use
from .resources_used import Use as CountedUse
from .resources_used import lacking, uses
from .synth import design_of, steps_of, synthesise

__all__ = ["implement"]

_REMARKS = {
    Timing.ROUTED: "",
    Timing.LOWER_BOUND: "With worst delays of the cells that nextpnr does not time in full.",
}


def implement(
    path: Path, build: Build, device: Device, *, seeds: Sequence[int] = (), say: Callable[[str], None] | None = None,
) -> Implementation:
    """Synthesise a build folder's network for a device, or find what came of that before.

    Parameters
    ----------
    path : Path
        The build folder.
    build : Build
        What it holds.
    device : Device
    seeds : sequence of int
        Place and route with each of these seeds, and show the fastest; without any, or where the device has too few
        cells, these are only counted.
    say : callable, optional
        Is told what the tools are at.

    Raises
    ------
    DovetailError
        If nothing places the device, or nextpnr finds no place.
    ToolMissing, ToolFailed
        If a program is missing or fails.
    """
    record = DEVICES[device]
    if seeds and record.placer is None:
        raise DovetailError(f"argument --pnr: there are no open tools for {device.value}; it is only counted")
    synthesis = synthesise(design_of(path, build), record.family, watch=say and steps_of(say))
    tool, counted = f"Yosys {synthesis.tool}", uses(synthesis, record)
    if not seeds or lacking(counted):
        return Implementation(device=device.value, tools=(tool,), uses=_uses(counted, f"counted by {tool}"))
    placement = place(synthesis, record, seeds=seeds, watch=say and phases_of(say))
    placer = f"{record.placer} {placement.tool}"
    names = [layer.name for layer in build.plan.arch.layers]
    return Implementation(
        device=device.value, tools=(tool, placer),
        uses=_uses(uses(synthesis, record, placement), f"{placer}, with the frame of registers"),
        fmax_mhz=placement.fmax_mhz, fmax_remark=_REMARKS[placement.timing], path=_path(placement, names),
        cells=tuple(PlacedCell(**cell) for cell in json.loads((placement.folder / "cells.json").read_text())),
        grid=GRIDS[device])


def _uses(found: Mapping[str, CountedUse], by: str) -> tuple[Use, ...]:
    return tuple(Use(resource=use.counts, used=use.used, available=use.available, mark=Mark.MEASURED, by=by)
                 for use in found.values() if use.used or use.available)


def _path(placement: Placement, layers: Sequence[str]) -> tuple[PathStep, ...]:
    """A unit after the other: what its cells take, then the routing in it and to the next one."""
    return tuple(
        PathStep(what=what, unit=step.unit, nanoseconds=delay) for step in steps(placement.path, layers)
        for what, delay in (("logic", step.logic_ns), ("routing", step.routing_ns)) if delay)
