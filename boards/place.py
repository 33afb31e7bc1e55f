"""Place and route with nextpnr: several seeds, the fastest kept."""

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ..hw.errors import DovetailError, ToolFailed
from .cache import content_key, kept
from .devices import DeviceRecord, Family
from .floorplan import placed_cells
from .programs import Watch, find_program, run_program
from .synth import Synthesis
from .up5k_timing import longest_path
from .wrapper import wrapper

__all__ = ["CONFIGURATION", "DoesNotFit", "NotRouted", "Placement", "Timing", "phases_of", "place"]

#: File of a placement's folder: what the device is configured with, as text.
CONFIGURATION = "placed.config"

_FRAME = "frame"
_PARALLEL = 2       # processes of nextpnr at a time: each takes up to a gigabyte
#: Rounds of the router after which a seed is given up. Most need less than a hundred; some exchange the last two
#: wires for ever.
_MOST_ROUNDS = 500

_WRAP = {
    Family.ECP5: "synth_ecp5",
    Family.ICE40: "synth_ice40 -device hx",
    Family.ICE40_DSP: "synth_ice40 -device u",
}


class DoesNotFit(DovetailError):
    """A design has more of something than the device. Exit code 1."""

    exit_code = 1


class NotRouted(DovetailError):
    """The router finds no end. Exit code 1."""

    exit_code = 1


class Timing(Enum):
    """Where a frequency comes from."""

    ROUTED = "routed"               # nextpnr, after routing
    LOWER_BOUND = "lower bound"     # with worst delays of cells of the UltraPlus that nextpnr does not time in full


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A placed and routed design.

    Members
    -------
    fmax_mhz : float
        Of the fastest seed.
    timing : Timing
    seed : int
        The fastest.
    fmax_by_seed : dict of float
        0 where the router found no end.
    utilisation : dict of (int, int)
        By nextpnr's names: used, available. The frame of registers around a core is counted.
    path : list of dict
        The critical path, as nextpnr reports it.
    seconds : float
        That nextpnr took for the fastest seed, whenever it was.
    tool : str
        Version of nextpnr.
    folder : Path
        Of the cache: ``report.json``, ``cells.json`` (see `dovetail.boards.floorplan`), ``nextpnr.log`` and the
        device's configuration, `CONFIGURATION`.
    cached : bool
        All seeds were there already.
    """

    fmax_mhz: float
    timing: Timing
    seed: int
    fmax_by_seed: dict[int, float]
    utilisation: dict[str, tuple[int, int]]
    path: list[dict[str, Any]]
    seconds: float
    tool: str
    folder: Path
    cached: bool


def place(synthesis: Synthesis, device: DeviceRecord, *, seeds: Sequence[int] = (1,), megahertz: float | None = None,
          native: bool = False, watch: Watch | None = None, pins: str | None = None) -> Placement:
    """Place and route a synthesised design.

    Parameters
    ----------
    synthesis : Synthesis
        Of the device's family.
    device : DeviceRecord
    seeds : sequence of int
        Two are tried at a time.
    megahertz : float, optional
        What to aim at; missing it is no error.
    native : bool
        With the nextpnr, and Yosys, on PATH.
    watch : callable, optional
        Is told each line of the logs; see `phases_of`.
    pins : str, optional
        Where the design's ports are: a PCF or LPF file. Without it the design is a core, and is given a frame of
        registers.

    Returns
    -------
    Placement

    Raises
    ------
    DoesNotFit
        If nextpnr finds no place for a cell.
    NotRouted
        If nextpnr finds no routes, with any seed.
    ToolMissing, ToolFailed
        If a program is missing or fails; the text says where its log is.
    ValueError
        If there are no seeds, or nothing places this device.
    """
    if not seeds:
        raise ValueError(f"seeds must be at least one, not {seeds!r}")
    if device.placer is None or synthesis.family is not device.family:
        raise ValueError(f"device must be one that is placed, of family {synthesis.family.value}, not {device!r}")
    program = find_program(device.placer, native=native)
    netlist = synthesis.netlist if pins is not None else _framed(synthesis, native=native)
    target = device.megahertz if megahertz is None else megahertz
    ecp5 = device.family is Family.ECP5
    bounded = device.family is Family.ICE40_DSP
    arguments = [*device.options, "--json", "netlist.json", "--textcfg" if ecp5 else "--asc", CONFIGURATION,
                 "--write", "placed.json", "--report", "report.json", "--freq", f"{target:g}", "--timing-allow-fail",
                 "-q", "-l", "nextpnr.log"]
    if pins is not None:
        arguments += ["--lpf" if ecp5 else "--pcf", "pins.txt"]
    if bounded:
        arguments += ["--sdf", "placed.sdf"]
    text = netlist.read_text()

    def run(seed: int) -> tuple[Path, bool]:
        def make(folder: Path) -> None:
            shutil.copy(netlist, folder / "netlist.json")
            if pins is not None:
                (folder / "pins.txt").write_text(pins)
            start = time.perf_counter()
            try:
                log = run_program(program, [*arguments, "--seed", str(seed)], folder=folder, log="nextpnr.log",
                                  watch=_given_up(watch))
                for line in log.splitlines():   # what ended before that was seen: the same seed, the same result
                    _given_up(None)(line)
            except NotRouted:
                for file in ("netlist.json", "placed.json", "placed.sdf", "report.json", CONFIGURATION):
                    (folder / file).unlink(missing_ok=True)
                (folder / "result.json").write_text(json.dumps({"seconds": time.perf_counter() - start}))
                return
            except ToolFailed as error:
                if re.search(r"no BELs remaining|Unable to find a placement|failed to (?:place|find)|unable to place",
                             str(error), re.IGNORECASE):
                    raise DoesNotFit(f"{synthesis.top} does not fit the {device.part}: {error}") from error
                raise
            seconds = time.perf_counter() - start
            placed = json.loads((folder / "placed.json").read_text())
            cells = [asdict(cell) for cell in placed_cells(placed)]
            (folder / "cells.json").write_text(json.dumps(cells))
            found = {"seconds": seconds}
            if bounded:
                found["period_ns"] = longest_path((folder / "placed.sdf").read_text(), placed)
            (folder / "result.json").write_text(json.dumps(found))
            for large in ("netlist.json", "placed.json", "placed.sdf"):     # of them is kept what others want
                (folder / large).unlink(missing_ok=True)

        # The number changes with the worst delays, and with what is kept.
        return kept(content_key("place 3", text, pins or "", *arguments, str(seed), program.version), make)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        folders = list(pool.map(run, seeds))
    found = {seed: _frequency(folder) for seed, (folder, _) in zip(seeds, folders, strict=True)}
    best = max(found, key=lambda seed: found[seed])
    folder = folders[list(seeds).index(best)][0]
    if not found[best]:
        raise NotRouted(f"nextpnr finds no routes on the {device.part} with seed {' or '.join(map(str, seeds))}; other "
                        f"seeds may do (log: {folder / 'nextpnr.log'})")
    report = json.loads((folder / "report.json").read_text())
    return Placement(
        fmax_mhz=found[best], timing=Timing.LOWER_BOUND if bounded else Timing.ROUTED, seed=best, fmax_by_seed=found,
        utilisation={bel: (each["used"], each["available"]) for bel, each in report["utilization"].items()},
        path=_critical(report), seconds=json.loads((folder / "result.json").read_text())["seconds"],
        tool=program.version, folder=folder, cached=all(cached for _, cached in folders))


def _framed(synthesis: Synthesis, *, native: bool) -> Path:
    """The netlist with registers around it, in the cache."""
    program = find_program("yosys", native=native)
    ports = json.loads(synthesis.netlist.read_text())["modules"][synthesis.top]["ports"]
    text = wrapper(synthesis.top, {name: (port["direction"], len(port["bits"])) for name, port in ports.items()},
                   name=_FRAME)
    top = synthesis.top
    # The frame is synthesised around an empty core, so that the core stays the netlist that was counted and checked.
    script = "; ".join([
        f"read_json {_CORE_FILE}", f"select {top}", "write_rtlil -selected core.il", "design -reset",
        "read_verilog in.v",
        f"{_WRAP[synthesis.family]} -top {_FRAME}", f"delete {top}", "read_rtlil core.il", f"hierarchy -top {_FRAME}",
        "flatten", "opt_clean", "write_json framed.json"])

    def make(folder: Path) -> None:
        shutil.copy(synthesis.netlist, folder / _CORE_FILE)
        (folder / "in.v").write_text(text)
        run_program(program, ["-q", "-l", "yosys.log", "-p", script], folder=folder, log="yosys.log")
        (folder / _CORE_FILE).unlink()
        (folder / "core.il").unlink(missing_ok=True)

    key = content_key("frame", synthesis.netlist.read_text(), text, script, program.version)
    return kept(key, make)[0] / "framed.json"


_CORE_FILE = "core.json"


def _given_up(watch: Watch | None) -> Watch:
    """A watch of nextpnr's log that raises `NotRouted` where the router goes on for too long."""
    def follow(line: str) -> None:
        found = re.match(r"Info:\s+iter=(\d+) ", line)
        if found and int(found[1]) > _MOST_ROUNDS:
            raise NotRouted(f"nextpnr's router is at round {found[1]}")
        if watch is not None:
            watch(line)
    return follow


def _frequency(folder: Path) -> float:
    """Megahertz of a placed design; 0 where it was not routed."""
    if not (folder / "report.json").is_file():
        return 0.0
    clocks: Mapping[str, Any] = json.loads((folder / "report.json").read_text())["fmax"]
    if not clocks:
        raise ToolFailed(f"nextpnr timed no clock (log: {folder / 'nextpnr.log'})")
    routed = min(clock["achieved"] for clock in clocks.values())
    period = json.loads((folder / "result.json").read_text()).get("period_ns")
    return routed if period is None else min(routed, 1000 / period)


def _critical(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of the slowest path from register to register."""
    paths = [each["path"] for each in report["critical_paths"] if each["from"] == each["to"]]
    return max(paths, key=lambda path: sum(step["delay"] for step in path), default=[])


def phases_of(say: Callable[[str], None]) -> Watch:
    """A watch of nextpnr's log that tells what it is doing."""
    def watch(line: str) -> None:
        text = line.removeprefix("Info: ").strip()
        if re.match(r"(Packing|Placing|Running|Routing|Promoting|Creating|at iteration|.*\biter(ation)?\b)", text):
            say(f"nextpnr: {text[:60]}")
    return watch
