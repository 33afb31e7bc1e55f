"""The critical path of a placed design, in the design's own terms."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .wrapper import CORE

__all__ = ["PathStep", "describe", "steps"]

# What the parts of a name mean; what is not listed stands for itself.
_WORDS = {
    "input": "input frames", "output": "output frames", "entry": "windows", "file": "accumulator", "buffer":
    "replay buffer", "table": "row table", "control": "control", "drain": "drain", "intake": "intake",
    "finder": "k-WTA", "winners": "winners", "store": "store", "weights": "weights", "sequencer": "sequencer",
    "select": "select", "pool": "pool", "engine": "engine", "local": "k-WTA",
}
_NUMBERED = {"lane": "lane", "bank": "bank", "stage": "stage", "column": "column", "bias": "biases"}
# What Yosys hangs on a net's name when it names the cells around it, and what memories carry.
_CELL = re.compile(r"_(?:\d+_)?(?:TRELLIS_|LUT4|SB_|CCU2C|PFUMX|L6MUX|MULT18|DP16KD|D[IO][AB]|AD[AB]|DPR16|LUT\d).*")
_FRAME = "registers around the core"


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """A stretch of the path within one unit.

    Members
    -------
    unit : str
        Such as ``fc1: engine, lane 0, bank 1, accumulator``.
    names : tuple of str
        The nets or cells it comes by, as the netlist calls them.
    logic_ns, routing_ns : float
    """

    unit: str
    names: tuple[str, ...]
    logic_ns: float
    routing_ns: float


def describe(name: str, layers: Sequence[str]) -> str:
    """A cell's or net's place in the network.

    Parameters
    ----------
    name : str
        Of the netlist: ``layer1.engine.lane0.bank1.file.address_now_TRELLIS_FF_Q``.
    layers : sequence of str
        Names of the network's layers.

    Returns
    -------
    str
        ``fc1: engine, lane 0, bank 1, accumulator, address_now``; for a name without parts the name itself.
    """
    if name.startswith(f"{CORE}."):
        name = name.removeprefix(f"{CORE}.")
    elif CORE in name.split("."):
        name = name.split(f"{CORE}.", 1)[1]
    else:
        return _FRAME
    # What begins with $ has no name in the source; a number after $ tells units of one name apart.
    parts = [part for part in _CELL.sub("", name).split(".") if part and not re.fullmatch(r"\d+|chunk\d+|\$.*", part)]
    parts = [re.sub(r"\$\d+", "", part) for part in parts]
    if not parts:
        return name
    head = ""
    layer = re.fullmatch(r"layer(\d+)", parts[0])
    if layer and int(layer[1]) < len(layers):
        head, parts = f"{layers[int(layer[1])]}: ", parts[1:]
    return head + ", ".join(_word(part) for part in parts)


def _word(part: str) -> str:
    numbered = re.fullmatch(r"([a-z]+)(\d+)", part)
    if numbered and numbered[1] in _NUMBERED:
        return f"{_NUMBERED[numbered[1]]} {numbered[2]}"
    return _WORDS.get(part, re.sub(r"\[\d+\]$", "", part))


def steps(path: Sequence[Mapping[str, Any]], layers: Sequence[str]) -> tuple[PathStep, ...]:
    """The path, one step for every unit that it comes through one after the other.

    Parameters
    ----------
    path : sequence of mappings
        ``path`` of nextpnr's report.
    layers : sequence of str

    Returns
    -------
    tuple of PathStep
    """
    found: list[PathStep] = []
    for each in path:
        routing = each["type"] == "routing"
        cell = each["to" if each["type"] in ("setup", "logic") else "from"]["cell"]
        delay = float(each["delay"])
        # A cell that nextpnr added belongs to those around it.
        unit = found[-1].unit if found and cell.startswith("$") and CORE not in cell else describe(cell, layers)
        if not found or found[-1].unit != unit:
            found.append(PathStep(unit=unit, names=(), logic_ns=0.0, routing_ns=0.0))
        last = found[-1]
        names = last.names if cell in last.names else (*last.names, cell)
        found[-1] = replace(last, names=names, logic_ns=last.logic_ns + (0 if routing else delay),
                            routing_ns=last.routing_ns + (delay if routing else 0))
    return tuple(found)
