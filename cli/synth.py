"""`dovetail synth`: a build folder on a device: its cells; on request placed and routed, and its netlist checked."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..boards.build_folder import Build, read_build
from ..boards.critical_path import PathStep, steps
from ..boards.devices import DEVICES, DeviceRecord
from ..boards.gate_level import GateCheck, check_netlist, golden_vectors
from ..boards.place import DoesNotFit, Placement, Timing, phases_of, place
from ..boards.resources_used import Use, lacking, uses
from ..boards.synth import Synthesis, design_of, steps_of, synthesise
from ..hw.errors import DovetailError, SimulationError
from ..sim.cycles import network_cycles
from ..sim.golden import run as run_golden
from ..sw.settings import Device
from .devices import device_name
from .output import following, print_json, print_table, working

__all__ = ["add_parser", "run"]

_MOST_SEEDS = 100


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "synth", help="synthesise a build folder for a device, place it, check the netlist",
        description="synthesise the network of a build folder for a device; exit code 1 where it does not fit, is "
                    "slower than --freq, or its netlist does not compute what it should. Results are kept: a second "
                    "call is instant",
        epilog="example: dovetail synth build --device ecp5-25k --pnr --seeds 4")
    names = [device.value for device in Device]
    parser.add_argument("build", metavar="BUILD", type=Path, help="a folder made by dovetail compile")
    parser.add_argument("--device", metavar="NAME", type=device_name, choices=names, required=True,
                        help=f"one of {', '.join(names)} (the last: cells are counted only)")
    parser.add_argument("--pnr", action="store_true", help="place and route, for the clock's frequency")
    parser.add_argument("--seeds", metavar="N", type=int,
                        help="with --pnr: try N starts, keep the fastest (default: 1)")
    parser.add_argument("--freq", metavar="MHz", type=float, help="with --pnr: the frequency that must be reached")
    parser.add_argument("--check", action="store_true",
                        help="simulate the netlist, cell by cell, on the build folder's golden vectors")
    parser.add_argument("--native", action="store_true", help="use the yosys and nextpnr on PATH, not the wheels")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Synthesise the build folder and print what came of it.

    Returns
    -------
    int
        0, or 1 where the network does not fit, misses ``--freq``, or its netlist is wrong.

    Raises
    ------
    DovetailError
        If an option or the build folder is wrong, or a tool is missing or fails.
    """
    device = DEVICES[Device(args.device)]
    _check_options(args, device)
    build = read_build(args.build)
    start = time.perf_counter()
    with working("generating the hardware"):
        design = design_of(args.build, build)
    with following(f"synthesising it for the {device.part}") as say:
        synthesis = synthesise(design, device.family, native=args.native, watch=steps_of(say))
    found, placement, problem = uses(synthesis, device), None, None
    if args.pnr and not lacking(found):
        with following(f"placing and routing it on the {device.part}") as say:
            try:
                placement = place(synthesis, device, seeds=range(1, (args.seeds or 1) + 1), megahertz=args.freq,
                                  native=args.native, watch=phases_of(say))
                found = uses(synthesis, device, placement)
            except DoesNotFit as error:
                problem = str(error)
    check = None
    if args.check:
        with working("simulating the netlist on the golden vectors"):
            check = _check(args.build, build, synthesis)
    seconds = time.perf_counter() - start
    cycles = build.manifest["predicted_cycles_per_inference"]
    path = () if placement is None else steps(placement.path, [layer.name for layer in build.plan.arch.layers])
    fits = problem is None and not lacking(found)
    fast = args.freq is None or placement is not None and placement.fmax_mhz >= args.freq
    if args.json:
        print_json(_report(device, synthesis, found, placement, path, check, cycles, seconds, fits, args.freq))
    else:
        _show(device, found, placement, path, check, cycles, fits, args.freq, problem)
    return 0 if fits and fast and (check is None or check["passed"]) else 1


def _check_options(args: argparse.Namespace, device: DeviceRecord) -> None:
    for name in ("seeds", "freq"):
        if getattr(args, name) is not None and not args.pnr:
            raise DovetailError(f"argument --{name}: needs --pnr")
    if args.seeds is not None and not 1 <= args.seeds <= _MOST_SEEDS:
        raise DovetailError(f"argument --seeds: must be in 1..{_MOST_SEEDS}, not {args.seeds}")
    if args.freq is not None and not 0 < args.freq < 10_000:
        raise DovetailError(f"argument --freq: must be above 0 and below 10000, not {args.freq:g}")
    if device.placer is None and (args.pnr or args.check):
        option = "--pnr" if args.pnr else "--check"
        raise DovetailError(f"argument {option}: there are no open tools for {device.device.value}; it is only counted")


def _check(path: Path, build: Build, synthesis: Synthesis) -> dict:
    """What the netlist did with the golden vectors."""
    inputs, expected = golden_vectors(path)
    predicted = network_cycles(build.plan, run_golden(build.plan.network, inputs)).total
    try:
        check: GateCheck = check_netlist(synthesis, build.plan, inputs, expected)
    except SimulationError as error:
        return {"passed": False, "frames": len(inputs), "elements": expected.size, "mismatches": expected.size,
                "cycles": {"predicted": predicted, "measured": None}, "problem": str(error)}
    return {"passed": check.passed and check.cycles == predicted, "frames": check.frames, "elements": check.elements,
            "mismatches": check.mismatches, "cycles": {"predicted": predicted, "measured": check.cycles},
            "problem": None}


def _report(
    device: DeviceRecord, synthesis: Synthesis, found: dict[str, Use], placement: Placement | None,
    path: Sequence[PathStep], check: dict | None, cycles: float, seconds: float, fits: bool, wanted: float | None,
) -> dict:
    """The JSON object."""
    tools = {"yosys": synthesis.tool}
    if placement is not None and device.placer is not None:
        tools[device.placer] = placement.tool
    return {
        "device": device.device.value, "part": device.part, "package": device.package, "top": synthesis.top,
        "fits": fits, "lacking": lacking(found),
        "cells": dict(sorted(synthesis.counts.items())),
        "utilisation": {name: asdict(use) for name, use in found.items()},
        "utilisation_is": "estimated from cells" if placement is None else "measured after placement",
        "fmax_mhz": None if placement is None else placement.fmax_mhz,
        "fmax_is": None if placement is None else placement.timing.value,
        "fmax_by_seed": None if placement is None else placement.fmax_by_seed,
        "wanted_mhz": wanted,
        "critical_path": [asdict(step) for step in path] or None,
        "per_inference_cycles": cycles,
        "inferences_per_second": None if placement is None else placement.fmax_mhz * 1e6 / cycles,
        "check": check, "tools": tools,
        "tool_seconds": {"yosys": synthesis.seconds, "nextpnr": None if placement is None else placement.seconds},
        "cached": synthesis.cached and (placement is None or placement.cached), "seconds": seconds,
    }


def _show(
    device: DeviceRecord, found: dict[str, Use], placement: Placement | None, path: Sequence[PathStep],
    check: dict | None, cycles: float, fits: bool, wanted: float | None, problem: str | None,
) -> None:
    """Print a report for people to read."""
    state = "placed and routed" if placement is not None else "synthesised"
    rows = [[use.counts, f"{use.used:,}", "-" if use.available is None else f"{use.available:,}",
             "-" if use.share is None else f"{use.share:.0%}"]
            for use in found.values() if use.used or use.available]
    title = f"{device.part} {device.package}".strip()
    print_table(f"{title}, {state}", ["resource", "used", "available", "share"], rows)
    if placement is not None:
        bound = "" if placement.timing is Timing.ROUTED else \
            ", with worst delays of what nextpnr does not time in full"
        tried = f", the fastest of {len(placement.fmax_by_seed)} seeds" if len(placement.fmax_by_seed) > 1 else ""
        print(f"clock: {placement.fmax_mhz:.1f} MHz{tried}{bound}")
        print(f"speed: {placement.fmax_mhz * 1e6 / cycles:,.0f} inferences per second "
              f"({cycles:,.0f} cycles each, predicted)")
        total = sum(step.logic_ns + step.routing_ns for step in path)
        print(f"critical path: {total:.1f} ns{'' if placement.timing is Timing.ROUTED else ' (by nextpnr)'}")
        for step in path:
            print(f"  {step.logic_ns + step.routing_ns:5.1f} ns  {step.unit}")
    if check is not None:
        measured = check["cycles"]["measured"]
        print(f"netlist: {check['mismatches']} of {check['elements']} outputs differ from the golden vectors; "
              f"{'no' if measured is None else f'{measured:,}'} cycles, {check['cycles']['predicted']:,} predicted")
        if check["problem"] is not None:
            print(f"netlist: {check['problem']}")
    for name, more in lacking(found).items():
        use = found[name]
        print(f"does not fit: {use.used:,} {use.counts}, {more:,} more than the {use.available:,} there are")
    if problem is not None:
        print(f"does not fit: {problem}")
    if fits and wanted is not None and placement is not None and placement.fmax_mhz < wanted:
        print(f"too slow: {placement.fmax_mhz:.1f} MHz, not the {wanted:g} MHz asked for")
