"""The gate-level check: the synthesised netlist, simulated cell by cell, against the golden vectors of a build folder.

Every cell of the netlist is replaced by what the maker of the device says it does: Yosys' models of the iCE40's cells,
and of the ECP5's; those that have none there (the ECP5's block RAM and multiplier, the iCE40's large memory) have
theirs in ``models/``. What comes out of that is simulated by CXXRTL.
"""

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import wiring

from ..hw.errors import DovetailError, ToolFailed
from ..hw.network import NetworkTop
from ..hw.yosys import run_yosys
from ..sim.cxxrtl import CxxrtlModel
from ..sim.harness import Harness
from ..sim.simulate import Simulation
from ..sim.verify import frames_to_words, initial_load, words_to_frames
from ..sw.plan import Plan
from .cache import content_key, kept
from .devices import Family
from .synth import Synthesis

__all__ = ["GateCheck", "check_netlist", "golden_vectors", "netlist_simulation"]

_MODELS = {
    Family.ECP5: ("models.v", "+/lattice/cells_sim_ecp5.v"),
    # With this macro the large memory has no model; without it Yosys needs half a minute to read that.
    Family.ICE40: ("models.v", "-D EQUIV +/ice40/cells_sim.v"),
    Family.ICE40_DSP: ("models.v", "-D EQUIV +/ice40/cells_sim.v"),
}


@dataclass(frozen=True, kw_only=True)
class GateCheck:
    """What the netlist did.

    Members
    -------
    frames : int
        That were sent, back to back.
    elements, mismatches : int
        Elements of the results; those that differ, or all of them where the results' ends are not where they belong.
    cycles : int
        From the first input word to the last output word.
    """

    frames: int
    elements: int
    mismatches: int
    cycles: int

    @property
    def passed(self) -> bool:
        return self.mismatches == 0


def golden_vectors(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, L) and results (n, M) that a build folder holds."""
    try:
        with np.load(path / "golden.npz", allow_pickle=False) as stored:
            last = max((name for name in stored.files if name != "inputs"), key=lambda name: int(name[5:]))
            return stored["inputs"], stored[last]
    except (OSError, ValueError, KeyError) as error:
        raise DovetailError(f"{path}: no golden vectors; compile the model again") from error


def check_netlist(synthesis: Synthesis, plan: Plan, inputs: np.ndarray, expected: np.ndarray) -> GateCheck:
    """Simulate a netlist on frames whose results are known.

    Parameters
    ----------
    synthesis : Synthesis
        Of the whole network, for an ECP5 or an iCE40.
    plan : Plan
        What was synthesised: the shape of its streams.
    inputs : int (n, L)
        Input codes.
    expected : int (n, M)

    Returns
    -------
    GateCheck

    Raises
    ------
    SimulationError
        If the netlist stops delivering.
    ToolMissing, ToolFailed
        If Yosys or the C++ compiler is missing or fails, or the netlist has a cell, or a mode of one, without a model.
    ValueError
        If there are no models of the family's cells.
    """
    arch = plan.arch
    simulation = netlist_simulation(synthesis, NetworkTop(arch, plan.images))
    run = simulation.run({"i": frames_to_words(inputs, arch.input_width, pixels=arch.input_pixels)},
                         {"o": arch.output_beats * len(inputs)}, setup=initial_load(plan), idle_limit=100_000)
    last = arch.layers[-1]
    try:
        mismatches = int((words_to_frames(run.outputs["o"], last.select.kernels, pixels=last.pixels) != expected).sum())
    except ValueError:
        mismatches = expected.size
    return GateCheck(frames=len(inputs), elements=expected.size, mismatches=mismatches, cycles=run.cycles)


def netlist_simulation(synthesis: Synthesis, dut: wiring.Component) -> Simulation:
    """A netlist made ready to be run, cell by cell.

    Parameters
    ----------
    synthesis : Synthesis
        For an ECP5 or an iCE40.
    dut : wiring.Component
        What was synthesised: all its inputs are streams.

    Raises
    ------
    ToolMissing, ToolFailed
        If Yosys or the C++ compiler is missing or fails, or the netlist has a cell, or a mode of one, without a model.
    ValueError
        If there are no models of the family's cells.
    """
    # A thousand cycles of a netlist are run sooner than its model is optimised.
    return Simulation.of(CxxrtlModel.of(_gates(synthesis), Harness.around(dut).ports, level=0))


def _gates(synthesis: Synthesis) -> str:
    """RTLIL of the netlist with models for cells; its top module is called ``top``."""
    if synthesis.family not in _MODELS:
        raise ValueError(f"synthesis must be for a family out of {[each.value for each in _MODELS]!r}, "
                         f"not {synthesis.family.value!r}")
    text, models = synthesis.netlist.read_text(), _MODELS[synthesis.family]
    file = "ecp5.v" if synthesis.family is Family.ECP5 else "ice40.v"
    own = (importlib.resources.files("dovetail.boards") / "models" / file).read_text()
    script = "; ".join([
        "read_json netlist.json", *(f"techmap -autoproc {_map(model)}" for model in models), "delete =A:blackbox",
        f"hierarchy -check -top {synthesis.top}", "proc", "flatten", "opt_clean", f"rename {synthesis.top} top",
        "write_rtlil gates.il"])

    def make(folder: Path) -> None:
        design = json.loads(text)
        for number, cell in enumerate(design["modules"][synthesis.top]["cells"].values()):
            _contents_to_file(cell, folder / f"ram{number}.hex")
        (folder / "netlist.json").write_text(json.dumps(design))
        (folder / "models.v").write_text(own)
        run_yosys(script, folder=folder)
        for file in folder.iterdir():
            if file.name != "gates.il":
                file.unlink()

    folder, _ = kept(content_key("gates", text, own, script), make)
    return (folder / "gates.il").read_text()


def _map(model: str) -> str:
    *options, file = model.split(" ")
    return " ".join([*options, "-map", file])


def _contents_to_file(cell: dict[str, Any], file: Path) -> None:
    """Have a block RAM's model read its contents from a file: evaluating so many parameters takes Yosys a second."""
    parameters = cell["parameters"]
    if cell["type"] == "DP16KD":
        if not any(cell["connections"][port] == ["0"] for port in ("WEA", "WEB")):
            raise ToolFailed("a block RAM that both ports may write to has no model")
        words = _words(parameters, "INITVAL_", 64, digits=2, bits=18, pitch=20)
        rows = [high << 18 | low for low, high in zip(words[::2], words[1::2], strict=True)]
    elif cell["type"].startswith("SB_RAM40_4K"):
        rows = _words(parameters, "INIT_", 16, digits=1, bits=16, pitch=16)
    else:
        return
    file.write_text("".join(f"{row:x}\n" for row in rows))
    for name in [name for name in parameters if name.startswith(("INIT_", "INITVAL_"))]:
        del parameters[name]
    parameters["INIT_FILE"] = file.name


def _words(
    parameters: Mapping[str, str], prefix: str, count: int, *, digits: int, bits: int, pitch: int,
) -> list[int]:
    """The words that parameters of binary digits hold, 16 in each."""
    found = []
    for number in range(count):
        value = int(parameters.get(f"{prefix}{number:0{digits}X}", "0").replace("x", "0"), 2)
        found += [value >> pitch * place & (1 << bits) - 1 for place in range(16)]
    return found
