"""The clock of a placed iCE40 UltraPlus design, its multipliers and large memories included, and never too fast.

nextpnr takes every port of SB_MAC16 and SB_SPRAM256KA for one of a register with a setup time and a delay of 0.1 ns.
Often they are not: Yosys leaves out the registers in front of a multiplier, or puts one into its middle. Of a look-up
table nextpnr times the input that a net was given to, not the slower one that its router may take for it. So the paths
are added up again here, from the delays that nextpnr writes as SDF, with worst delays for these cells: the longest of
any bit, input or mode that has the registers in question, in the slowest corner, rounded up. They are those that
Project IceStorm publishes (``timings_up5k.txt``). When the clock comes to a multiplier or a memory is not known either:
late where a path begins there, at once where it ends.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..hw.errors import ToolFailed

__all__ = ["longest_path"]

# Picoseconds. What is registered right behind the port, or in front of it:
_SETUP, _DELAY = 100, 2_200
# From a port that has no register through the product to one, and to a port; through the adders too.
_PRODUCT_SETUP, _PRODUCT, _SUM_SETUP, _SUM = 6_600, 9_100, 6_600, 11_300
_SPRAM_SETUP, _SPRAM_DELAY = 450, 1_900
#: Ports that switch an SPRAM off, longest setup time.
_SPRAM_SLEEP = {"STANDBY": 1_800, "SLEEP": 42_000, "POWEROFF": 42_000}

# Of a logic cell: from any input to the output, before the clock, and from the clock to the output. nextpnr times the
# input that a net was given to; its router may take another one, which is slower, and change the table.
_LUT, _LUT_SETUP, _LUT_DELAY = 1_290, 1_240, 1_500
_LUT_INPUTS = ("I0", "I1", "I2", "I3")

_CLOCKS = ("CLK", "RCLK", "WCLK", "CLOCK", "INPUT_CLK", "OUTPUT_CLK")
_PRODUCT_OUTPUT = "11"


@dataclass
class _Paths:
    """Delays in picoseconds; a pin is (cell, port)."""

    wires: dict[tuple[str, str], list[tuple[tuple[str, str], int]]] = field(default_factory=lambda: defaultdict(list))
    inner: dict[tuple[str, str], list[tuple[tuple[str, str], int]]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[tuple[str, str], int] = field(default_factory=dict)
    ends: dict[tuple[str, str], int] = field(default_factory=dict)
    clocks: dict[str, int] = field(default_factory=lambda: defaultdict(int))     # when the clock arrives, by cell


def longest_path(sdf: str, netlist: Mapping[str, Any] | None) -> float:
    """The longest path from register to register, setup time included.

    Parameters
    ----------
    sdf : str
        As nextpnr-ice40 writes it.
    netlist : mapping or None
        As nextpnr writes it (``--write``), for the parameters of the cells in question; None takes nextpnr's delays as
        they are, which gives its own result.

    Returns
    -------
    float
        Nanoseconds.

    Raises
    ------
    ToolFailed
        If there is no path, or one that has no end.
    """
    paths = _read(sdf)
    if netlist is not None:
        cells = {name: cell for module in netlist["modules"].values() for name, cell in module["cells"].items()}
        for name, cell in cells.items():
            connected = [port for port, bits in cell["connections"].items() if bits]
            match cell["type"]:
                case "ICESTORM_DSP":
                    _time_multiplier(paths, name, connected, cell)
                case "ICESTORM_SPRAM":
                    _time_spram(paths, name, connected, cell)
                case "ICESTORM_LC":
                    _time_logic_cell(paths, name)
    return _longest(paths) / 1000


def _read(sdf: str) -> _Paths:
    """nextpnr writes one delay a line; names are escaped with backslashes, and a slash is before the port."""
    paths, cell = _Paths(), ""
    for line in sdf.splitlines():
        words = line.replace("\\", "").replace("(", " ").replace(")", " ").split()
        match words:
            case ["INSTANCE", name]:
                cell = name
            case ["INTERCONNECT", source, sink, delay, *_]:
                found, port = _pin(sink)
                if port in _CLOCKS:
                    paths.clocks[found] = _worst(delay)
                else:
                    paths.wires[_pin(source)].append(((found, port), _worst(delay)))
            case ["IOPATH", source, sink, delay, *_] if source in _CLOCKS:
                paths.starts[cell, sink] = max(paths.starts.get((cell, sink), 0), _worst(delay))
            case ["IOPATH", source, sink, delay, *_]:
                paths.inner[cell, source].append(((cell, sink), _worst(delay)))
            case ["SETUPHOLD", _, port, _, _, setup, *_]:
                paths.ends[cell, port] = max(paths.ends.get((cell, port), 0), _worst(setup))
    return paths


def _pin(text: str) -> tuple[str, str]:
    cell, _, port = text.rpartition("/")
    return cell, port


def _worst(delay: str) -> int:
    return max(int(part) for part in delay.split(":"))


def _is_set(cell: Mapping[str, Any], parameter: str) -> bool:
    """Whether a parameter of one bit is 1."""
    return re.fullmatch(r"0*1", str(cell["parameters"].get(parameter, "0"))) is not None


def _time_logic_cell(paths: _Paths, name: str) -> None:
    """Make delays those of the slowest input. Carries are not exchanged."""
    if (name, "O") in paths.starts:
        paths.starts[name, "O"] = max(paths.starts[name, "O"], _LUT_DELAY)
    for port in _LUT_INPUTS:
        if (name, port) in paths.ends:
            paths.ends[name, port] = max(paths.ends[name, port], _LUT_SETUP)
        paths.inner[name, port] = [(sink, max(delay, _LUT) if sink[1] == "O" else delay)
                                   for sink, delay in paths.inner[name, port]]


def _time_multiplier(paths: _Paths, name: str, connected: list[str], cell: Mapping[str, Any]) -> None:
    """Replace a multiplier's delays by the worst of its mode."""
    outputs = [port for port in connected if cell["port_directions"][port] == "output"]
    inputs = [port for port in connected if port not in outputs and port not in _CLOCKS]
    latest = max(paths.clocks.values(), default=0)
    only_product = all(str(cell["parameters"].get(f"{half}OUTPUT_SELECT", "0"))[-2:] == _PRODUCT_OUTPUT
                       for half in ("TOP", "BOT"))
    middle = any(_is_set(cell, parameter) for parameter in (
        "TOP_8x8_MULT_REG", "BOT_8x8_MULT_REG", "PIPELINE_16x16_MULT_REG1"))
    held = only_product and _is_set(cell, "PIPELINE_16x16_MULT_REG2")
    through, setup = (_PRODUCT, _PRODUCT_SETUP) if only_product else (_SUM, _SUM_SETUP)
    clocked = not only_product or held or middle or _is_set(cell, "A_REG") or _is_set(cell, "B_REG")
    paths.clocks[name] = 0
    if clocked:
        # From a register of the cell to another one in it.
        paths.starts[name, ""], paths.ends[name, ""] = _DELAY + through, 0
    for port in outputs:
        paths.starts.pop((name, port), None)
        if clocked:
            # Without a register at the end, what is in front of it starts in one of the others.
            paths.starts[name, port] = latest + _DELAY + (0 if held else through)
    for port in inputs:
        paths.ends.pop((name, port), None)
        operand = port.partition("_")[0]
        if only_product and operand in ("A", "B") and _is_set(cell, f"{operand}_REG"):
            paths.ends[name, port] = _SETUP
            continue
        if clocked:
            paths.ends[name, port] = setup
        if not held and not (only_product and middle):
            paths.inner[name, port] = [((name, output), through) for output in outputs]


def _time_spram(paths: _Paths, name: str, connected: list[str], cell: Mapping[str, Any]) -> None:
    """Replace a large memory's delays by its worst."""
    latest = max(paths.clocks.values(), default=0)
    paths.clocks[name] = 0
    for port in connected:
        if cell["port_directions"][port] == "output":
            paths.starts[name, port] = latest + _SPRAM_DELAY
        elif port not in _CLOCKS:
            paths.ends[name, port] = _SPRAM_SLEEP.get(port, _SPRAM_SETUP)


def _longest(paths: _Paths) -> int:
    """Picoseconds, by latest arrival, pin after pin."""
    before: dict[tuple[str, str], int] = defaultdict(int)
    for _, sink, _ in _edges(paths):
        before[sink] += 1
    arrivals = {pin: paths.clocks[pin[0]] + delay for pin, delay in paths.starts.items()}
    ready = [pin for pin in {*paths.wires, *paths.inner, *paths.starts} if not before[pin]]
    longest = 0
    while ready:
        pin = ready.pop()
        here = arrivals.get(pin)
        if here is not None and pin in paths.ends:
            longest = max(longest, here + paths.ends[pin] - paths.clocks[pin[0]])
        for sink, delay in (*paths.wires.get(pin, ()), *paths.inner.get(pin, ())):
            if here is not None:
                arrivals[sink] = max(arrivals.get(sink, 0), here + delay)
            before[sink] -= 1
            if not before[sink]:
                ready.append(sink)
    if any(before.values()):
        raise ToolFailed("nextpnr wrote delays of a path that has no end")
    if not longest:
        raise ToolFailed("nextpnr wrote no delays of paths between registers")
    return longest


def _edges(paths: _Paths) -> Iterator[tuple[tuple[str, str], tuple[str, str], int]]:
    for edges in (paths.wires, paths.inner):
        for source, sinks in edges.items():
            for sink, delay in sinks:
                yield source, sink, delay
