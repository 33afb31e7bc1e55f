"""`dovetail demo`: the packaged digits network, from model to verified hardware."""

import argparse
import tempfile
from dataclasses import asdict
from importlib import resources
from pathlib import Path

from ..boards.build_folder import read_build, write_build
from ..boards.cells import Family, count_cells
from ..hw.network import NetworkTop
from ..sim.compare import ModeResult, compare_modes
from ..sim.simulate import Engine
from ..sw.compile import compile_model
from ..sw.data import load_samples
from ..sw.inspect import inspect_model
from ..sw.quantise import input_codes
from ..sw.settings import Settings
from .output import print_json, print_table, working
from .simulate import report

__all__ = ["add_parser", "run"]

TARGET_CYCLES = 300


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "demo", help="the main job on the packaged digits network",
        description="take the packaged digits network from model to verified hardware: inspect, compile, simulate, "
                    "compare, synthesise",
        epilog="example: dovetail demo")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Take the packaged network through the whole chain, in three modes, and print what came out.

    Returns
    -------
    int
        0, or 1 where an output or a cycle is not the one expected.

    Raises
    ------
    ToolMissing, ToolFailed
        If Yosys or the C++ compiler is missing or fails.
    """
    digits = resources.files("dovetail.cli") / "digits"
    with resources.as_file(digits) as folder, tempfile.TemporaryDirectory() as scratch:
        with working("1/5 reading the digits network and packing its kernels"):
            compiled = compile_model(folder / "digits.onnx", calibration=folder / "digits_calibration.npz",
                                     settings=Settings(target_cycles=TARGET_CYCLES))
            facts = inspect_model(compiled.model)
        with working("2/5 compiling it into memory images and Verilog"):
            build_path = Path(scratch) / "digits"
            write_build(build_path, compiled.plan, compiled.model, compiled.calibration)
            build = read_build(build_path)
            verilog_lines = (build_path / "network.v").read_text().count("\n")
        samples = load_samples(folder / "digits_test.npz", compiled.model.input_shape)
        codes = input_codes(compiled.network, samples.x, samples.scale)
        with working(f"3/5 simulating its hardware on all {len(codes)} test images, in three modes"):
            results = compare_modes(build.plan, codes)
        with working("4/5 comparing every output and every cycle"):
            found = [report(build, samples, result.verification, Engine.CXXRTL) for result in results]
        with working("5/5 synthesising it for an ECP5"):
            cells = count_cells(NetworkTop(build.plan.arch, build.plan.images), Family.ECP5)
    passed = all(result.verification.passed for result in results)
    ratios = _speed_ups(results)
    if args.json:
        print_json({"passed": passed, "verilog_lines": verilog_lines,
                    "modes": {result.mode.value: one for result, one in zip(results, found, strict=True)},
                    "speed_up": ratios, "ecp5_cells": asdict(cells)})
        return 0 if passed else 1

    print_table(
        "The network: 8 x 8 pixels in, ten digits out",
        ["layer", "neurons", "inputs", "weights that are not zero", "outputs passed on", "neurons packed into one"],
        [[layer.name, layer.kernels, layer.positions, f"{layer.nonzero:,} of {layer.weights:,}",
          f"{layer.winners} of {layer.kernels}" if layer.winners else "all", layer.set_size] for layer in facts])
    dense, sparse_dense, sparse = results
    rows = []
    for number, layer in enumerate(sparse.verification.layers):
        cycles = [result.verification.layers[number].cycles_per_inference for result in results]
        rows.append([layer.name, layer.multipliers, *(f"{count:,.0f}" for count in cycles),
                     f"{cycles[0] / cycles[2]:.0f}x", f"{layer.utilisation:.0%}"])
    whole = [result.verification.measured_per_inference for result in results]
    multipliers = sum(layer.multipliers for layer in sparse.verification.layers)
    rows.append(["network", multipliers,
                 *(f"{count:,.0f}" for count in whole), f"{whole[0] / whole[2]:.0f}x", ""])
    print_table(
        "Clock cycles per image, on the same multipliers",
        ["layer", "multipliers", "dense", "sparse-dense", "sparse-sparse", "dense / sparse-sparse", "busy"], rows)
    print("sparse-dense skips weights that are zero. sparse-sparse also skips inputs that\n"
          "were not passed on; the first layer reads the image itself, all of it.\n"
          "busy: cycles in which a multiplier has useful work, sparse-sparse.\n")
    wrong = sum(one["mismatches"] for one in found)
    total = sum(result.verification.outputs.size for result in results)
    measured = sum(result.verification.measured for result in results)
    predicted = sum(result.verification.predicted.total for result in results)
    print_table("The hardware", ["checked", "result"], [
        ["outputs that differ from integer model", f"{wrong} of {total:,}"],
        ["clock cycles, predicted and simulated", f"{predicted:,} and {measured:,}"],
        ["digits recognised, hardware and float",
         f"{found[2]['accuracy']:.1%} and {found[2]['float_accuracy']:.1%}"],
        ["size on an ECP5 (synthesised)",
         f"{cells.lut_equivalents:,} look-up tables, {cells.bram} block RAMs, {cells.dsp} multipliers "
         f"({multipliers} for weights)"],
        ["Verilog", f"{verilog_lines:,} lines"],
    ], left=2)
    print("passed: next, try `dovetail compile` on a model of your own" if passed else "FAILED: see the table")
    return 0 if passed else 1


def _speed_ups(results: list[ModeResult]) -> dict[str, float]:
    """Dense cycles over sparse-sparse cycles, per layer and for the whole network."""
    dense, _, sparse = (result.verification for result in results)
    ratios = {there.name: here.cycles_per_inference / there.cycles_per_inference
              for here, there in zip(dense.layers, sparse.layers, strict=True)}
    return {**ratios, "network": dense.measured_per_inference / sparse.measured_per_inference}
