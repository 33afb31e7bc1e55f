"""kws_cnn, the network of the complementary-sparsity paper, end to end: plans for an ECP5-85F, every simulator, and the
three modes on the same multipliers.

Run: python benchmarks/kws_cnn.py [--models ../shared/models] [--only runs|modes|sizes] [--plan 5600|fastest]
Cycles are those of the RTL and equal to the cycle model's prediction, or the script ends with exit code 1. `sizes` are
counted by Yosys; those of the modes are the resource model's, and say so. All of it takes more than an hour.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.arch import EngineArch, Mode, UnrolledArch
from dovetail.hw.network import NetworkTop
from dovetail.sim import Engine, golden
from dovetail.sim.cycles import cycles_per_inference, layer_cycles
from dovetail.sim.verify import NetworkSimulation
from dovetail.sw.compile import Compiled, compile_model
from dovetail.sw.data import load_samples
from dovetail.sw.plan import Plan, PlannedLayer, plan, plan_resources
from dovetail.sw.quantise import input_codes
from dovetail.sw.settings import Device, LayerSettings, Settings

DEVICE = Device.ECP5_85K
#: The paper's sparse-dense rate at 200 MHz, and the fastest plan that fits.
TARGETS = {"5600": 5600, "fastest": None}
STALLED = 20
SAMPLES = 4                 # recordings that the modes are compared on


def table(title: str, *columns: str, left: int = 1) -> Table:
    """A table whose first columns are text."""
    found = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        found.add_column(column, justify="left" if number < left else "right")
    return found


def runs(compiled: Compiled, codes: np.ndarray, labels: np.ndarray, target: str, rows: Table) -> bool:
    """Every simulator, and random stalls; whether all of them agree with the golden model and the prediction."""
    good = True
    for engine, count, seed in [(Engine.CXXRTL, None, None), (Engine.CXXRTL, STALLED, 1), (Engine.ICARUS, 2, None)]:
        start = time.perf_counter()
        simulation = NetworkSimulation(compiled.plan, engine=engine)
        prepared = time.perf_counter() - start
        start = time.perf_counter()
        shown = simulation.verify(codes[:count], stall_seed=seed)
        seconds = time.perf_counter() - start
        scores = compiled.plan.layers[-1].layer.real(shown.outputs)
        rows.add_row(
            target, engine.value + (" stalled" if seed is not None else ""), str(len(shown.outputs)),
            str(shown.mismatches), f"{shown.predicted.total:,}", f"{shown.measured:,}",
            f"{shown.measured_per_inference:,.1f}" if count != 1 else "",
            f"{(scores.argmax(axis=1) == labels[:count]).mean():.2%}", f"{prepared:.0f} s",
            f"{60 * len(shown.outputs) / seconds:,.0f}")
        good &= shown.passed
    return good


def layer_rows(made: Plan, codes: np.ndarray, target: str, rows: Table) -> None:
    """What was chosen for each layer, and what it reaches alone."""
    for planned, result in zip(made.layers, golden.run(made.network, codes[:SAMPLES]), strict=True):
        arch, engine = planned.arch, planned.arch.engine
        cycles = layer_cycles(planned, result)
        shape = "unrolled" if isinstance(engine, UnrolledArch) else f"{engine.lanes} x {engine.banks} x {engine.folds}"
        soft = engine.soft if isinstance(engine, EngineArch) else 0
        select = arch.select
        rows.add_row(target, arch.name, shape, str(soft), str(engine.drain_width),
                     f"{select.kind.value}, {select.turns or 1} in turns" if select.kind.value == "local"
                     else f"{select.kind.value}, {select.bins} bins" if select.is_kwta else select.kind.value,
                     f"{cycles.cycles_per_inference:,.0f}")


def modes(compiled: Compiled, codes: np.ndarray) -> None:
    """The network in each mode on the same lanes and banks, a folded engine for every layer: by the exact cycle model,
    and the resource model."""
    base = Settings(layers={
        "conv0": LayerSettings(lanes=25, banks=2), "conv4": LayerSettings(lanes=5, banks=8),
        "fc8": LayerSettings(lanes=1, banks=3), "fc11": LayerSettings(lanes=1, banks=1)})
    results = golden.run(compiled.network, codes[:SAMPLES])
    plans = {mode: plan(compiled.network, replace(base, mode=mode)) for mode in Mode}
    alone = {mode: [layer_cycles(planned, result) for planned, result in zip(made.layers, results, strict=True)]
             for mode, made in plans.items()}
    rows = table("the same lanes and banks in the three modes", "layer", "mode", "multipliers", "multiplications",
                 "cycles", "utilisation", "dense / this", "sparse-dense / this", left=2)
    total = table("the whole network", "mode", "multipliers", "multiplications", "cycles per inference", "utilisation",
                  "dense / this", "LUT4 equivalents (estimated)", "block RAMs", "DSP blocks")
    made_of = {mode: [multiplications(planned, result) for planned, result in zip(made.layers, results, strict=True)]
               for mode, made in plans.items()}
    for number, layer in enumerate(compiled.network.layers):
        cycles = {mode: found[number].cycles_per_inference for mode, found in alone.items()}
        for mode, made in plans.items():
            rows.add_row(
                layer.name, mode.value, str(made.layers[number].arch.engine.multipliers),
                f"{made_of[mode][number]:,.0f}", f"{cycles[mode]:,.0f}", f"{alone[mode][number].utilisation:.1%}",
                f"{cycles[Mode.DENSE] / cycles[mode]:.1f}", f"{cycles[Mode.SPARSE_DENSE] / cycles[mode]:.1f}")
    pace = {mode: cycles_per_inference(made, codes[:SAMPLES]) for mode, made in plans.items()}
    for mode, made in plans.items():
        size = plan_resources(made, DEVICE)
        count = sum(planned.arch.engine.multipliers for planned in made.layers)
        useful = sum(layer.useful_multiplications for layer in alone[mode])
        total.add_row(mode.value, str(count), f"{sum(made_of[mode]):,.0f}", f"{pace[mode]:,.0f}",
                      f"{useful / count / pace[mode]:.1%}", f"{pace[Mode.DENSE] / pace[mode]:.1f}",
                      f"{size.lut:,}", f"{size.block_ram:,}", f"{size.multiplier:,}")
    console = Console(width=150)
    console.print(rows)
    console.print(total)


def multiplications(planned: PlannedLayer, result: golden.LayerResult) -> float:
    """Per inference: each of the pairs that arrive meets the weights of every set."""
    inputs, engine = result.inputs, planned.arch.engine
    if planned.layer.window is not None:
        inputs = planned.layer.window.gather(inputs)
    pairs = np.count_nonzero(inputs) if engine.indexed else inputs.size
    return pairs / len(result.outputs) * engine.banks * engine.folds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models")
    parser.add_argument("--only", choices=("runs", "modes", "sizes"))
    parser.add_argument("--plan", choices=TARGETS, action="append", help="one of the plans; all by default")
    args = parser.parse_args()
    test, console, good = None, Console(width=150), True
    run_rows = table("kws_cnn: RTL against the golden model and the cycle model", "plan", "engine", "recordings",
                     "outputs that differ", "cycles predicted", "measured", "per inference", "int8", "preparing",
                     "inferences per minute", left=2)
    plan_rows = table("plans", "plan", "layer", "lanes x banks x folds", "soft", "R", "k-WTA", "cycles alone", left=2)
    size_rows = table("counted by Yosys", "plan", "cycles", "LUT4 equivalents", "FF", "block RAMs", "multipliers")
    for name in args.plan or TARGETS:
        target = TARGETS[name]
        compiled = compile_model(
            args.models / "kws_cnn.onnx", calibration=args.models / "kws_cnn_calibration.npz",
            settings=Settings(target_cycles=target, device=DEVICE), predict=cycles_per_inference)
        test = load_samples(args.models / "kws_cnn_test.npz", compiled.model.input_shape)
        codes = input_codes(compiled.network, test.x, test.scale)
        labels = test.labels if test.labels is not None else np.zeros(len(codes))
        layer_rows(compiled.plan, codes, name, plan_rows)
        if args.only in (None, "runs"):
            good &= runs(compiled, codes, labels, name, run_rows)
        if args.only in (None, "sizes"):
            cells = count_cells(NetworkTop(compiled.plan.arch, compiled.plan.images), Family.ECP5)
            size_rows.add_row(name, f"{cycles_per_inference(compiled.plan, codes[:SAMPLES]):,.0f}",
                              f"{cells.lut_equivalents:,}", f"{cells.ff:,}", str(cells.bram), str(cells.dsp))
        if args.only in (None, "modes") and target is not None:
            modes(compiled, codes)
    for rows in (plan_rows, run_rows, size_rows):
        if rows.row_count:
            console.print(rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
