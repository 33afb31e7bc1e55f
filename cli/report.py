"""`dovetail report`: one self-contained page about a build folder, or a sweep."""

import argparse
from pathlib import Path

import numpy as np

from ..boards.build_folder import read_build
from ..boards.report import gather, render, write_report
from ..boards.report_implementation import implement
from ..boards.report_sweep import is_sweep, read_sweep_folder, render_sweep
from ..hw.errors import DovetailError
from ..sw.settings import Device
from .devices import device_name
from .inputs import load_inputs
from .output import following, print_json, working

__all__ = ["add_parser", "run"]


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "report", help="one page about a build folder or a sweep: packing, plan, time, resources",
        description="write one self-contained HTML page about a build folder: network, packing, plan, time, memory, "
                    "resources, accuracy, and the comparison with dense and sparse-dense; or about a sweep's results",
        epilog="example: dovetail report build -o report.html --inputs test.npz --synth ecp5-25k --pnr")
    parser.add_argument("build", metavar="BUILD|DIR", type=Path,
                        help="a folder made by dovetail compile, or by dovetail sweep")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("report.html"),
                        help="the page (default: report.html)")
    parser.add_argument("--inputs", metavar="X.npz", type=Path,
                        help="inputs for the accuracy and the cycles: x, and if known scale and labels y")
    parser.add_argument("--synth", metavar="DEVICE", type=device_name, choices=[device.value for device in Device],
                        help="count the cells that it takes of a device, with Yosys: "
                             + ", ".join(device.value for device in Device))
    parser.add_argument("--pnr", action="store_true", help="with --synth: place and route, for floorplan and clock")
    parser.add_argument("--seeds", metavar="N", type=int,
                        help="with --pnr: try N starts and show the fastest (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Gather what is known about the folder and write the page.

    Returns
    -------
    int
        0.

    Raises
    ------
    DovetailError
        If the build folder, the inputs or the output are wrong, or a tool is missing or fails.
    """
    if args.pnr and args.synth is None:
        raise DovetailError("argument --pnr: needs --synth DEVICE")
    if args.seeds is not None and not args.pnr:
        raise DovetailError("argument --seeds: needs --pnr")
    if args.seeds is not None and args.seeds < 1:
        raise DovetailError(f"argument --seeds: must be at least 1, not {args.seeds}")
    page = _sweep_page(args) if is_sweep(args.build) else _build_page(args)
    write_report(args.output, page)
    if args.json:
        print_json({"report": str(args.output), "bytes": len(page.encode())})
    else:
        print(f"written: {args.output} ({len(page.encode()) / 1024:,.0f} KiB)")
    return 0


def _sweep_page(args: argparse.Namespace) -> str:
    for option in ("inputs", "synth"):
        if getattr(args, option) is not None:
            raise DovetailError(f"argument --{option}: {args.build} is a sweep's folder, which takes none")
    return render_sweep(read_sweep_folder(args.build))


def _build_page(args: argparse.Namespace) -> str:
    build = read_build(args.build)
    samples = None if args.inputs is None else load_inputs(args.inputs, build.plan.network)
    device = None if args.synth is None else Device(args.synth)
    implementation = None
    if device is not None:
        seeds = range(1, (args.seeds or 1) + 1) if args.pnr else ()
        with following(f"synthesising it{', placing and routing it' if args.pnr else ''} for {device.value}") as say:
            implementation = implement(args.build, build, device, seeds=seeds, say=say)
    with working("working out the report"):
        with np.load(args.build / "golden.npz", allow_pickle=False) as golden:
            codes = golden["inputs"]
        return render(gather(build, codes, samples=samples, implementation=implementation, device=device,
                             samples_name="" if args.inputs is None else args.inputs.name))
