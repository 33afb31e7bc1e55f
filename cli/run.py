"""`dovetail run`: inputs through the network on a board, or in an emulated one, against the golden model."""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..boards.build_folder import read_build
from ..boards.host.device import BAUD, Device
from ..boards.host.line import is_pseudo_terminal
from ..boards.kits.all import BOARDS
from ..hw.errors import DovetailError
from ..sim import golden
from ..sw.quantise import input_codes
from .inputs import accuracies, load_inputs, warn_of_scale
from .output import counted, following, print_json

__all__ = ["add_parser", "run"]


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "run", help="run inputs on a board",
        description="run inputs through the network of a build folder on a board, load its weights if need be, and "
                    "compare every output with the golden model",
        epilog="example: dovetail run build --port /dev/ttyUSB1 --inputs test.npz")
    parser.add_argument("build", metavar="BUILD", type=Path, help="a folder made by dovetail compile")
    parser.add_argument("--port", metavar="P", required=True,
                        help="the board's serial port, or what dovetail emulate printed")
    parser.add_argument("--inputs", metavar="X.npz", type=Path, required=True,
                        help="inputs: x, and if known scale and labels y")
    parser.add_argument("--limit", metavar="N", type=int, help="run the first N inputs only")
    parser.add_argument("--board", metavar="NAME", choices=BOARDS, help="with the baud rate of this board")
    parser.add_argument("--baud", metavar="N", type=int,
                        help=f"bits per second on the line (default: the board's, or {BAUD:,})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the inputs and print how their results compare.

    Returns
    -------
    int
        0, or 1 where an output is not the one expected.

    Raises
    ------
    DovetailError
        If an option, the build folder or the inputs are wrong, or the board holds another design. A `DeviceError` if
        the board cannot be reached or does not answer.
    """
    if args.limit is not None and args.limit < 1:
        raise DovetailError(f"argument --limit: must be at least 1, not {args.limit}")
    if args.baud is not None and not 300 <= args.baud <= 100_000_000:
        raise DovetailError(f"argument --baud: must be in 300..100000000, not {args.baud}")
    baud = args.baud or (BAUD if args.board is None else BOARDS[args.board].baud)
    build = read_build(args.build)
    samples = load_inputs(args.inputs, build.plan.network)
    codes = input_codes(build.plan.network, samples.x, samples.scale)[:args.limit]
    warn_of_scale(build.plan.network, samples)
    expected = golden.run(build.plan.network, codes)[-1].outputs
    with following(f"asking the board at {args.port}") as tell:
        device = Device.open(args.port, build, baud=baud,
                             on_load=lambda done, total: tell(f"loading weights, {done / total:.0%}"))
    with device:
        with following(f"running {counted(len(codes), 'input')}") as tell:
            begin = time.perf_counter()
            outputs = device(codes, on_result=lambda done: tell(f"{done / len(codes):.0%}"))
            seconds = time.perf_counter() - begin
    different = np.argwhere(outputs != expected)
    accuracy, float_accuracy = accuracies(build, samples, outputs)
    found: dict[str, Any] = {
        "samples": len(codes), "outputs": outputs.size, "mismatches": len(different), "first_mismatch": None,
        "accuracy": accuracy, "float_accuracy": float_accuracy, "port": args.port, "baud": baud,
        "pseudo_terminal": is_pseudo_terminal(args.port),
        "clock_hz": device.hello.clock_hz, "loaded": device.loaded, "resent": device.resent,
        "dropped": device.hello.dropped, "seconds": seconds, "calls_per_second": len(codes) / seconds,
    }
    if len(different):
        frame, element = different[0].tolist()
        found["first_mismatch"] = {"frame": frame, "element": element, "expected": int(expected[frame, element]),
                                   "got": int(outputs[frame, element])}
    print_json(found) if args.json else _show(found)
    return 1 if len(different) else 0


def _show(found: dict[str, Any]) -> None:
    """Print a report for people to read."""
    if found["loaded"]:
        print("weights: loaded, and checked by their CRC")
    print(f"outputs: {found['mismatches']} of {found['outputs']:,} differ from the golden model")
    first = found["first_mismatch"]
    if first is not None:
        print(f"first mismatch: frame {first['frame']}, element {first['element']}: expected {first['expected']}, "
              f"got {first['got']}")
    clock = f"{found['clock_hz'] / 1e6:g} MHz"
    print(f"measured: {found['calls_per_second']:,.1f} calls per second over this port "
          f"({counted(found['samples'], 'input')} in {found['seconds']:.2f} s)")
    print(f"clock: the emulated board's would be {clock}; the pace is the emulation's, not a board's"
          if found["pseudo_terminal"] else f"clock: {clock}, as the board says")
    print(f"line: {counted(found['resent'], 'request')} sent again; {counted(found['dropped'], 'frame')} dropped by "
          "the board since it was started")
    if found["accuracy"] is not None:
        print(f"accuracy: {found['accuracy']:.2%} (the float model: {found['float_accuracy']:.2%})")
    print("passed" if not found["mismatches"] else "FAILED")
