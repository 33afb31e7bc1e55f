"""`dovetail simulate`: the RTL of a build folder against the golden model and the cycle model."""

import argparse
import sys
from pathlib import Path

from ..boards.build_folder import Build, check_verilog, read_build
from ..hw.errors import DovetailError
from ..sim.simulate import Engine
from ..sim.verify import NetworkSimulation, Verification
from ..sw.data import Samples
from ..sw.network import Network
from ..sw.quantise import input_codes
from .inputs import load_inputs
from .output import print_json, print_table, working

__all__ = ["add_parser", "report", "run"]


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
    _warn_of_scale(build.plan.network, samples)
    with working(f"simulating {len(codes)} inputs"):
        verification = simulation.verify(codes, stall_seed=args.stall_seed, vcd=args.vcd)
    found = report(build, samples, verification, engine)
    if args.json:
        print_json(found)
    else:
        show(found, verification)
    return 0 if verification.passed else 1


def _warn_of_scale(network: Network, samples: Samples) -> None:
    """Say on stderr where inputs lie far outside what the network was calibrated for: their scale is likely missing."""
    low, high = network.layers[0].input_range
    codes = (samples.x * samples.scale - network.input_origin) / network.input_scale
    outside = float(((codes < low - 0.5) | (codes > high + 0.5)).mean())
    if outside > 0.01:
        print(f"dovetail: {outside:.0%} of the inputs are beyond the codes' range and were clamped: "
              "is their scale right?", file=sys.stderr)


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
    """
    count = len(verification.outputs)
    accuracy = float_accuracy = None
    if samples.labels is not None:
        labels = samples.labels[:count]
        scores = build.plan.layers[-1].layer.real(verification.outputs)
        accuracy = float((scores.argmax(axis=1) == labels).mean())
        real = build.model.run(samples.x[:count] * samples.scale)[-1]
        float_accuracy = float((real.argmax(axis=1) == labels).mean())
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
             "utilisation": layer.utilisation} for layer in verification.layers],
        "simulated_cycles_per_second": verification.cycles_per_second,
    }


def show(found: dict, verification: Verification) -> None:
    """Print a report for people to read."""
    print_table(
        f"{found['samples']} inputs in {found['engine']}",
        ["layer", "mode", "multipliers", "useful multiplications", "cycles alone", "utilisation"],
        [[layer["name"], layer["mode"], layer["multipliers"], f"{layer['useful_multiplications']:,.0f}",
          f"{layer['cycles_per_inference']:,.0f}", f"{layer['utilisation']:.1%}"] for layer in found["layers"]], left=2)
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
