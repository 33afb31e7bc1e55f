"""Networks on boards: what they take with their link, the clock they reach, and what the serial line lets through.

Run: python benchmarks/boards.py [--models ../shared/models] [--icetime PROGRAM --chipdb FILE] [--only NAME]

Everything is placed and routed with the wheels. With icetime, of Project IceStorm, its clock stands beside ours: it
knows the modes of SB_MAC16 that Lattice has published delays of, ours takes the worst delays of all.
"""

import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dovetail.boards.bitstream import pack, place_at, wired_design
from dovetail.boards.build_folder import read_build, write_build
from dovetail.boards.cells import cells_of, count_cells
from dovetail.boards.clocking import clocking
from dovetail.boards.devices import DEVICES, Family
from dovetail.boards.gate_level import golden_vectors
from dovetail.boards.host.identity import link_arch
from dovetail.boards.kits.all import BOARDS
from dovetail.boards.line_rate import line_rate
from dovetail.boards.place import CONFIGURATION
from dovetail.boards.resources_used import uses
from dovetail.boards.synth import synthesise
from dovetail.hw.network import NetworkTop
from dovetail.sim.cycles import cycles_per_inference, network_cycles
from dovetail.sim.golden import run as run_golden
from dovetail.sw.compile import Precision, compile_model
from dovetail.sw.quantise import Requantise
from dovetail.sw.settings import Settings, read_settings

SEEDS = 6
PLANS = Path(__file__).parent / "plans"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network for a board. ``digits`` is the packaged one."""

    name: str
    model: str
    board: str
    settings: Settings
    precision: Precision = Precision()
    clocks: tuple[float, ...]


CASES = (
    Case(name="digits", model="digits", board="icebreaker", clocks=(18,), settings=Settings(
        device=BOARDS["icebreaker"].device, hosted=True, loadable=True)),
    Case(name="digits", model="digits", board="ulx3s_85f", clocks=(50,), settings=Settings(
        device=BOARDS["ulx3s_85f"].device, hosted=True, target_cycles=300)),
    Case(name="kws_mlp", model="kws_mlp", board="icebreaker", clocks=(18,),
         precision=Precision(requantise=Requantise.SHIFT, weight_bits=5, activation_bits=6),
         settings=read_settings(PLANS / "kws_mlp_icebreaker.toml")),
)


def icetime(program: str, chipdb: Path, configuration: Path) -> float:
    """Megahertz by icetime."""
    done = subprocess.run([program, "-d", "up5k", "-P", "sg48", "-C", str(chipdb), "-t", str(configuration)],
                          capture_output=True, text=True, check=True)
    found = re.search(r"Total path delay: .*\(([\d.]+) MHz\)", done.stdout)
    if found is None:
        raise RuntimeError(f"{program} printed no delay")
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models")
    parser.add_argument("--icetime", default=None)
    parser.add_argument("--chipdb", type=Path, default=Path("/usr/share/fpga-icestorm/chipdb/chipdb-5k.txt"))
    parser.add_argument("--only", default=None, help="one of the networks")
    args = parser.parse_args()
    table = Table(title="Networks on boards", title_justify="left")
    for column in ("network", "board", "cycles", "LUTs", "FFs", "block RAMs", "multipliers", "SPRAMs",
                   "link's LUTs, FFs", "MHz asked", "reached", "seeds", "icetime", "inferences/s", "over the line",
                   "all escaped"):
        table.add_column(column, justify="right" if column not in ("network", "board") else "left")
    with tempfile.TemporaryDirectory() as scratch, resources.as_file(
            resources.files("dovetail.cli") / "digits") as digits:
        for number, case in enumerate(CASES):
            if args.only not in (None, case.name):
                continue
            folder, board = digits if case.model == "digits" else args.models, BOARDS[case.board]
            settings = Settings(**{**vars(case.settings), "device": board.device, "hosted": True})
            compiled = compile_model(folder / f"{case.model}.onnx", settings=settings, precision=case.precision,
                                     calibration=folder / f"{case.model}_calibration.npz", predict=cycles_per_inference)
            path = Path(scratch) / str(number)
            write_build(path, compiled.plan, compiled.model, compiled.calibration)
            for megahertz in case.clocks:
                table.add_row(case.name, board.title, *row(path, case, megahertz, args))
    Console(width=200).print(table)


def row(path: Path, case: Case, megahertz: float, args: argparse.Namespace) -> list[str]:
    """Numbers of one network at one clock."""
    board, build = BOARDS[case.board], read_build(path)
    device, plan = DEVICES[board.device], build.plan
    clock = clocking(board, megahertz=megahertz, baud=board.baud)
    link = link_arch(plan, clock_hz=round(clock.hz), baud=board.baud)
    synthesis = synthesise(wired_design(path, build, board, clocking=clock, link=link), device.family)
    alone, whole = count_cells(NetworkTop(plan.arch, plan.images), device.family), cells_of(synthesis)
    placement = place_at(synthesis, board, clock, seeds=SEEDS)
    pack(placement, device)
    inputs, _ = golden_vectors(path)
    cycles = build.manifest["predicted_cycles_per_inference"]
    rate = line_rate(build.manifest["interface"], baud=link.baud, clock_hz=link.clock_hz, cycles=cycles,
                     latency=network_cycles(plan, run_golden(plan.network, inputs[:1])).total, window=link.window)
    other = "-"
    if args.icetime is not None and device.family is Family.ICE40_DSP:
        other = f"{icetime(args.icetime, args.chipdb, placement.folder / CONFIGURATION):.1f}"
    found = uses(synthesis, device, placement)
    return [f"{cycles:,.0f}", *(f"{found[name].used:,}" for name in ("lut", "ff", "bram", "dsp", "spram")),
            f"{whole.lut_equivalents - alone.lut_equivalents:,}, {whole.ff - alone.ff:,}",
            f"{float(clock.hz) / 1e6:g}", f"{placement.fmax_mhz:.1f}", str(len(placement.fmax_by_seed)), other,
            f"{rate.network:,.0f}", f"{rate.typical:,.0f}", f"{rate.worst:,.0f}"]


if __name__ == "__main__":
    main()
