"""`dovetail report`: one self-contained page about a build folder."""

import argparse
from pathlib import Path

import numpy as np

from ..boards.build_folder import read_build
from ..boards.report import gather, render, write_report
from ..boards.report_synthesis import GRIDS, count_resources
from ..sw.settings import Device
from .inputs import load_inputs
from .output import print_json, working

__all__ = ["add_parser", "run"]


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "report", help="one page about a build folder: network, packing, plan, time, resources",
        description="write one self-contained HTML page about a build folder: network, packing, plan, time, memory, "
                    "resources, accuracy, and the comparison with dense and sparse-dense",
        epilog="example: dovetail report build -o report.html --inputs test.npz --synth ecp5-25k")
    parser.add_argument("build", metavar="BUILD", type=Path, help="a folder made by dovetail compile")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("report.html"),
                        help="the page (default: report.html)")
    parser.add_argument("--inputs", metavar="X.npz", type=Path,
                        help="inputs for the accuracy and the cycles: x, and if known scale and labels y")
    parser.add_argument("--synth", metavar="DEVICE", choices=[device.value for device in GRIDS],
                        help="count the cells that it takes of a device, with Yosys: "
                             + ", ".join(device.value for device in GRIDS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Gather what is known about the build folder and write the page.

    Returns
    -------
    int
        0.

    Raises
    ------
    DovetailError
        If the build folder, the inputs or the output are wrong, or a tool is missing or fails.
    """
    build = read_build(args.build)
    samples = None if args.inputs is None else load_inputs(args.inputs, build.plan.network)
    device = None if args.synth is None else Device(args.synth)
    implementation = None
    if device is not None:
        with working(f"counting the cells for {device.value}"):
            implementation = count_resources(build, device)
    with working("working out the report"):
        with np.load(args.build / "golden.npz", allow_pickle=False) as golden:
            codes = golden["inputs"]
        page = render(gather(build, codes, samples=samples, implementation=implementation, device=device,
                             samples_name="" if args.inputs is None else args.inputs.name))
    write_report(args.output, page)
    if args.json:
        print_json({"report": str(args.output), "bytes": len(page.encode())})
    else:
        print(f"written: {args.output} ({len(page.encode()) / 1024:,.0f} KiB)")
    return 0
