"""Networks alone, placed and routed in a frame of registers: their clock, and the seconds that every stage takes.

Run: python benchmarks/placed.py [--models ../shared/models] [--seeds N] [--only DEVICE]

Everything is synthesised, placed and routed with the wheels; seconds are those of the run that made a result, which may
be an earlier one. The netlist is simulated, cell by cell, on the golden vectors.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dovetail.boards.build_folder import read_build, write_build
from dovetail.boards.devices import DEVICES
from dovetail.boards.gate_level import check_netlist, golden_vectors
from dovetail.boards.place import Timing, place
from dovetail.boards.resources_used import uses
from dovetail.boards.synth import design_of, synthesise
from dovetail.sim.cycles import cycles_per_inference
from dovetail.sw.compile import Precision, compile_model
from dovetail.sw.settings import Device, Settings


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network on a device, and the clock to aim at. ``digits`` is the packaged one."""

    model: str
    settings: Settings
    megahertz: float
    precision: Precision = Precision()


CASES = (
    Case(model="kws_mlp", settings=Settings(device=Device.ECP5_85K, target_cycles=540), megahertz=80),
    Case(model="digits", settings=Settings(device=Device.ECP5_25K, target_cycles=300), megahertz=100),
    Case(model="digits", settings=Settings(device=Device.HX8K), megahertz=100, precision=Precision(weight_bits=3)),
    # Planned as for a board, which counts logic cells and so leaves room for the frame, too.
    Case(model="digits", settings=Settings(device=Device.UP5K, hosted=True, loadable=True), megahertz=24),
)


def row(case: Case, folder: Path, path: Path, seeds: int) -> list[str]:
    """Numbers of one network on one device."""
    if case.settings.device is None:
        raise ValueError("case must name a device")
    device = DEVICES[case.settings.device]
    start = time.perf_counter()
    compiled = compile_model(folder / f"{case.model}.onnx", settings=case.settings, precision=case.precision,
                             calibration=folder / f"{case.model}_calibration.npz", predict=cycles_per_inference)
    write_build(path, compiled.plan, compiled.model, compiled.calibration)
    compiling = time.perf_counter() - start
    build = read_build(path)
    synthesis = synthesise(design_of(path, build), device.family)
    placement = place(synthesis, device, seeds=range(1, seeds + 1), megahertz=case.megahertz)
    start = time.perf_counter()
    check = check_netlist(synthesis, build.plan, *golden_vectors(path))
    checking = time.perf_counter() - start
    found, bound = uses(synthesis, device, placement), "" if placement.timing is Timing.ROUTED else " (a bound)"
    cycles = build.manifest["predicted_cycles_per_inference"]
    return [
        case.model, device.part, f"{cycles:,.0f}",
        *(f"{found[name].used:,}" for name in ("lut", "ff", "bram", "dsp", "spram")),
        f"{placement.fmax_mhz:.1f}{bound}", ", ".join(f"{each:.1f}" for each in placement.fmax_by_seed.values()),
        f"{placement.fmax_mhz * 1e6 / cycles:,.0f}", f"{check.mismatches} of {check.elements}",
        *(f"{seconds:.0f}" for seconds in (compiling, synthesis.seconds, placement.seconds, checking)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", default=None, help="one of the devices")
    args = parser.parse_args()
    table = Table(title="Networks alone, placed and routed in a frame of registers", title_justify="left")
    for column in ("network", "device", "cycles", "LUTs", "FFs", "block RAMs", "multipliers", "SPRAMs", "MHz",
                   "of each seed", "inferences/s", "netlist differs", "compile s", "Yosys s", "nextpnr s", "check s"):
        table.add_column(column, justify="left" if column in ("network", "device") else "right")
    with tempfile.TemporaryDirectory() as scratch, resources.as_file(
            resources.files("dovetail.cli") / "digits") as digits:
        for number, case in enumerate(CASES):
            if case.settings.device is None or args.only not in (None, case.settings.device.value):
                continue
            folder = digits if case.model == "digits" else args.models
            table.add_row(*row(case, folder, Path(scratch) / str(number), args.seeds))
    Console(width=210).print(table)


if __name__ == "__main__":
    main()
