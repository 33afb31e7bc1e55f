"""kws_mlp on an iCE40 UltraPlus UP5K: what the whole network takes there, and its cycles in RTL.

Run: python benchmarks/up5k.py [--models ../shared/models] [--recordings 20]

Cells are counted by Yosys on the whole network; nothing is placed. Cycles are those of the RTL in CXXRTL, held against
the cycle model, and every output against the golden model.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.network import NetworkTop
from dovetail.sim import Engine
from dovetail.sim.verify import NetworkSimulation
from dovetail.sw.compile import Precision, compile_model
from dovetail.sw.data import load_samples
from dovetail.sw.quantise import Requantise, input_codes
from dovetail.sw.settings import read_settings

PLANS = {"kws_mlp_up5k.toml": Precision(requantise=Requantise.SHIFT)}
AVAILABLE = {"lut": 5280, "ff": 5280, "bram": 30, "dsp": 8, "spram": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models")
    parser.add_argument("--recordings", type=int, default=20, help="how many to simulate (default: %(default)s)")
    args = parser.parse_args()
    table = Table(title="kws_mlp on UP5K", title_justify="left")
    for column in ("plan", *(f"{name} of {count}" for name, count in AVAILABLE.items()), "recordings",
                   "outputs that differ", "cycles predicted", "measured", "per inference", "accuracy"):
        table.add_column(column, justify="left" if column == "plan" else "right")
    for name, precision in PLANS.items():
        compiled = compile_model(
            args.models / "kws_mlp.onnx", calibration=args.models / "kws_mlp_calibration.npz", precision=precision,
            settings=read_settings(Path(__file__).parent / "plans" / name))
        plan = compiled.plan
        samples = load_samples(args.models / "kws_mlp_test.npz", compiled.model.input_shape)
        codes = input_codes(compiled.network, samples.x, samples.scale)[:args.recordings]
        shown = NetworkSimulation(plan, engine=Engine.CXXRTL).verify(codes)
        accuracy = "-"
        if samples.labels is not None:
            found = plan.layers[-1].layer.real(shown.outputs).argmax(axis=1) == samples.labels[:args.recordings]
            accuracy = f"{found.mean():.1%}"
        cells = count_cells(NetworkTop(plan.arch, plan.images), Family.ICE40_DSP)
        table.add_row(name, *(f"{getattr(cells, kind):,}" for kind in AVAILABLE), str(len(codes)),
                      str(shown.mismatches), f"{shown.predicted.total:,}", f"{shown.measured:,}",
                      f"{shown.measured_per_inference:,.1f}", accuracy)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
