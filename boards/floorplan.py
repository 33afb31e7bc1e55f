"""Where nextpnr put the cells of a network, and to which units they belong."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..sw.settings import Device
from .wrapper import CORE

__all__ = ["GRIDS", "PlacedCell", "placed_cells"]

#: Columns and rows of tiles.
GRIDS: Mapping[Device, tuple[int, int]] = MappingProxyType({
    Device.UP5K: (26, 32), Device.HX8K: (34, 34), Device.ECP5_25K: (73, 51), Device.ECP5_45K: (91, 72),
    Device.ECP5_85K: (127, 96)})

#: Cells that are worth a mark of their own, and those that are pins and networks of the clock.
_KINDS = {"DP16KD": "ram", "ICESTORM_RAM": "ram", "ICESTORM_SPRAM": "ram", "MULT18X18D": "multiplier",
          "ICESTORM_DSP": "multiplier"}
_OUTSIDE = ("TRELLIS_IO", "SB_IO", "SB_GB", "DCCA", "VCC", "GND")
#: Nets of more pins tell nothing of who belongs together: clock, reset.
_MOST_PINS = 12


@dataclass(frozen=True, kw_only=True)
class PlacedCell:
    """Where a cell stands.

    Members
    -------
    layer : int
        Number of its layer, -1 where it belongs to none.
    unit : str
        ``engine``, ``stages``, ``select`` and so on; ``entry`` for the windows or what joins pixels; ``border`` of the
        network; ``frame``, the registers around it; ``other`` where nothing tells.
    kind : str
        ``logic``, ``ram`` or ``multiplier``.
    x, y : int
        Column and row of its tile, from the device's lower left.
    """

    layer: int
    unit: str
    kind: str
    x: int
    y: int


def _unit(name: str) -> tuple[int, str] | None:
    """Layer and unit of a cell, from its name; None where it says nothing."""
    core, _, inner = name.partition(".")
    if core != CORE:
        return (-1, "frame") if re.match(r"[a-z]", name) else None
    layer, dot, rest = inner.partition(".")
    number = re.fullmatch(r"layer(\d+)", layer)
    if number is None:
        return (-1, "border") if dot and re.fullmatch(r"[a-z]\w*", layer) else None
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
        What nextpnr wrote with ``--write``, after placing: the network in its frame (`dovetail.boards.wrapper`).

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
