"""`dovetail simulate`: the RTL of a build folder against the golden model and the cycle model."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..boards.build_folder import Build, check_verilog, read_build
from ..hw.errors import DovetailError
from ..sim.simulate import Engine
from ..sim.unit_times import States, bottleneck, timeline
from ..sim.verify import NetworkSimulation, Verification
from ..sw.data import Samples
from ..sw.quantise import input_codes
from .inputs import accuracies, load_inputs, warn_of_scale
from .output import counted, print_json, print_table, print_wrapped, working
from .units import gap_line, show_timeline, show_units

__all__ = ["add_parser", "report", "run"]

#: Inferences of which is told when which unit works on them.
FIRST = 5


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "simulate", help="run the hardware of a build folder and compare every output and cycle",
        description="run the hardware of a build folder and compare every output with the golden model, every cycle "
                    "with the prediction",
        epilog="example: dovetail simulate build --inputs test.npz --engine verilator --limit 20")
    parser.add_argument("build", metavar="BUILD", type=Path, help="a folder made by dovetail compile")
    parser.add_argument("--inputs", metavar="X.npz", type=Path, required=True,
                        help="inputs: x, and if known scale and labels y")
    parser.add_argument("--engine", choices=[engine.value for engine in Engine], default=Engine.CXXRTL.value,
                        help="simulator (default: cxxrtl)")
    parser.add_argument("--limit", metavar="N", type=int, help="run the first N inputs only")
    parser.add_argument("--vcd", metavar="FILE", type=Path, help="write waves there")
    parser.add_argument("--stall-seed", metavar="N", type=int, help="stall both sides at random, reproducibly")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Simulate the build folder on the inputs and print how it compares.

    Returns
    -------
    int
        0, or 1 where an output or, without stalls, the number of cycles is not the one expected.

    Raises
    ------
    DovetailError
        If an option, the build folder or the inputs are wrong, the simulator is missing or fails, or the RTL stops
        delivering.
    """
    if args.limit is not None and args.limit < 1:
        raise DovetailError(f"argument --limit: must be at least 1, not {args.limit}")
    if args.stall_seed is not None and args.stall_seed < 0:
        raise DovetailError(f"argument --stall-seed: must be at least 0, not {args.stall_seed}")
    build = read_build(args.build)
    samples = load_inputs(args.inputs, build.plan.network)
    engine = Engine(args.engine)
    with working(f"preparing {engine.value}"):
        simulation = NetworkSimulation(build.plan, engine=engine)
    if engine in (Engine.ICARUS, Engine.VERILATOR):
        check_verilog(args.build, build.plan)
    codes = input_codes(build.plan.network, samples.x, samples.scale)[:args.limit]
    warn_of_scale(build.plan.network, samples)
    with working(f"simulating {len(codes)} inputs"):
        verification = simulation.verify(codes, stall_seed=args.stall_seed, vcd=args.vcd)
    found = report(build, samples, verification, engine)
    if args.json:
        print_json(found)
    else:
        show(found, verification, build)
    return 0 if verification.passed else 1


def report(build: Build, samples: Samples, verification: Verification, engine: Engine) -> dict:
    """The JSON object of `dovetail simulate`.

    Parameters
    ----------
    build : Build
    samples : Samples
        Those that were simulated, and perhaps more after them.
    verification : Verification
    engine : Engine

    Returns
    -------
    dict
        ``accuracy`` and ``float_accuracy`` are over the inputs that were simulated; None where these have no labels.
        ``units``, ``bottleneck`` and ``timeline`` are the cycle model's account: None with random stalls, which it does
        not know, and where the run took other cycles than it says. Cycles are counted as in waves, 0 the first one
        after reset.
    """
    count = len(verification.outputs)
    accuracy, float_accuracy = accuracies(build, samples, verification.outputs)
    first = verification.first_mismatch
    return {
        "samples": count,
        "mismatches": verification.mismatches,
        "first_mismatch": None if first is None else {
            "layer": first.layer, "frame": first.frame, "element": first.element, "cycle": first.cycle,
            "expected": first.expected, "got": first.got},
        "accuracy": accuracy,
        "float_accuracy": float_accuracy,
        "engine": engine.value,
        "stalled": verification.stalled,
        "cycles": {"predicted": verification.predicted.total, "measured": verification.measured,
                   "per_inference": verification.measured_per_inference},
        "layers": [
            {"name": layer.name, "mode": layer.mode, "cycles_per_inference": layer.cycles_per_inference,
             "multipliers": layer.multipliers, "useful_multiplications": layer.useful_multiplications,
             "utilisation": layer.utilisation, "time": asdict(shares)}
            for layer, shares in zip(verification.layers, verification.shares, strict=True)],
        **_times(verification),
        "simulated_cycles_per_second": verification.cycles_per_second,
    }


def _times(verification: Verification) -> dict[str, Any]:
    """What every unit did, over the run and in the steady state."""
    cycles = verification.predicted
    if verification.stalled or verification.measured != cycles.total:
        return {"steady": None, "units": None, "bottleneck": None, "timeline": None}
    run, frames, steady = cycles.run, cycles.steady_frames, cycles.steady

    def counts(unit: States) -> dict[str, int]:
        return {"busy": unit.busy, "starved": unit.starved, "stalled": unit.stalled}

    most = bottleneck(steady)
    return {
        "steady": {"first_inference": frames.start, "inferences": len(frames), "cycles": most.cycles}
        if frames else None,
        "units": [{"layer": whole.layer, "unit": whole.unit, **counts(whole),
                   "steady": counts(part) if frames else None}
                  for whole, part in zip(run, steady, strict=True)],
        "bottleneck": {"layer": most.layer, "unit": most.unit, "busy": most.busy, "cycles": most.cycles},
        "timeline": [asdict(span) for span in timeline(cycles.works, FIRST)],
    }


def show(found: dict, verification: Verification, build: Build) -> None:
    """Print a report for people to read."""
    print_table(
        f"{counted(found['samples'], 'input')} in {found['engine']}",
        ["layer", "mode", "multipliers", "useful products", "cycles alone", "useful"],
        [[layer["name"], layer["mode"], layer["multipliers"], f"{layer['useful_multiplications']:,.0f}",
          f"{layer['cycles_per_inference']:,.0f}", f"{layer['utilisation']:.1%}"] for layer in found["layers"]], left=2)
    lines = [gap_line(layer["name"], layer["time"], planned.packing)
             for layer, planned in zip(found["layers"], build.plan.layers, strict=True)]
    for line in filter(None, lines):
        print_wrapped(line)
    if any(lines):
        print()
    if found["units"] is not None:
        show_units(found)
        show_timeline(found)
    elif found["stalled"]:
        print("with random stalls there is no account of the units: the cycle model does not know them")
    print()
    cycles = found["cycles"]
    print(f"outputs: {found['mismatches']} of {verification.outputs.size} differ from the golden model")
    if verification.first_mismatch is not None:
        print(f"first mismatch: {verification.first_mismatch}")
    if found["stalled"]:
        print(f"cycles: {cycles['measured']:,} with random stalls ({cycles['predicted']:,} predicted without)")
    else:
        pace = "" if found["samples"] == 1 else f"; {cycles['per_inference']:,.1f} per inference"
        print(f"cycles: {cycles['measured']:,} measured, {cycles['predicted']:,} predicted{pace}")
    if found["accuracy"] is not None:
        print(f"accuracy: {found['accuracy']:.2%} (the float model: {found['float_accuracy']:.2%})")
    print("passed" if verification.passed else "FAILED")
