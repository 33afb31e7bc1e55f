"""`dovetail diff`: float model against integer network against RTL, layer by layer."""

import argparse
import math
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

from ..boards.build_folder import read_build
from ..hw.errors import DovetailError
from ..sim.diff import LayerDiff, NetworkDiff, diff_network
from ..sim.simulate import Engine
from ..sim.verdict import verdict
from ..sim.watch import watch_layers
from ..sw.compile import Precision, read_network
from ..sw.model import FloatModel
from ..sw.network import Network
from ..sw.plan import Plan, plan
from ..sw.quantise import Calibration, Requantise, input_codes
from ..sw.settings import Settings
from .compile import precision_of, say_ignored
from .inputs import load_inputs
from .output import print_json, print_table, working

__all__ = ["add_parser", "run"]

_RATIOS = ("snr", "as_it_runs", "alone", "alone_weights")


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "diff", help="compare float model, integer network and hardware layer by layer: why is my accuracy down",
        description="run float model, integer network and hardware on the same inputs, compare them layer by layer, "
                    "and say what costs accuracy",
        epilog="example: dovetail diff build --inputs test.npz --limit 300\n"
               "         dovetail diff model.onnx --inputs test.npz --calibration train.npz --weight-bits 6")
    parser.add_argument("build", metavar="BUILD|MODEL.onnx", type=Path,
                        help="a folder made by dovetail compile, or a model, which is made integer in memory")
    parser.add_argument("--inputs", metavar="X.npz", type=Path, required=True,
                        help="inputs: x, and if known scale and labels y")
    parser.add_argument("--limit", metavar="N", type=int, default=100, help="the first N inputs only (default: 100)")
    parser.add_argument("--no-rtl", action="store_true", help="compare float and integer only")
    parser.add_argument("--engine", choices=[engine.value for engine in Engine], default=Engine.CXXRTL.value,
                        help="simulator (default: cxxrtl)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    group = parser.add_argument_group("of a model", "as for dovetail compile; a build folder has its integers")
    group.add_argument("--calibration", metavar="X.npz", type=Path, help="typical inputs, to choose scales by")
    group.add_argument("--weight-bits", metavar="N", type=int, help="width of a weight (default: 8)")
    group.add_argument("--activation-bits", metavar="N", type=int,
                       help="width of an activation (default: 8)")
    group.add_argument("--range", choices=[method.value for method in Calibration],
                       help="what becomes the largest code (default: percentile)")
    group.add_argument("--percentile", metavar="P", type=float, help="that percentile (default: 99.99)")
    group.add_argument("--requantise", choices=[kind.value for kind in Requantise],
                       help="multiplier (default) or shift")
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare the models on the inputs and print how they differ, and why.

    Returns
    -------
    int
        0, or 1 where an output of any layer of the RTL is not the integer network's.

    Raises
    ------
    DovetailError
        If an option, the build folder or model, or the inputs are wrong, the simulator is missing or fails, or the RTL
        stops delivering.
    """
    if args.limit < 1:
        raise DovetailError(f"argument --limit: must be at least 1, not {args.limit}")
    precision = precision_of(args)
    reason = "not run" if args.no_rtl else None
    if args.build.is_file() or args.build.suffix == ".onnx":
        model, network, planned, reason = _integers_of(args, precision, reason)
    elif args.calibration is not None or precision != Precision():
        raise DovetailError(f"{args.build}: --calibration, widths and ranges are for MODEL.onnx; a build folder has "
                            "its integers already")
    else:
        build = read_build(args.build)
        model, network, planned = build.model, build.plan.network, None if args.no_rtl else build.plan
    samples = load_inputs(args.inputs, network)
    x = samples.x[:args.limit]
    labels = None if samples.labels is None else samples.labels[:args.limit]
    codes = input_codes(network, x, samples.scale)
    rtl = None
    if planned is not None:
        with working(f"simulating {len(codes)} inputs in {args.engine}"):
            rtl = watch_layers(planned, codes, engine=Engine(args.engine))
    with working("comparing the layers"):
        diff = diff_network(model, network, codes, x * samples.scale, labels=labels, rtl=rtl)
    if args.json:
        print_json(_plain({
            "model": network.name, "engine": args.engine if rtl else None, "rtl_equal": diff.rtl_equal,
            "rtl_reason": reason, **asdict(diff), "verdict": verdict(diff)}))
    else:
        show(network.name, diff, reason)
    return 1 if diff.rtl_equal is False else 0


def _integers_of(
    args: argparse.Namespace, precision: Precision, reason: str | None,
) -> tuple[FloatModel, Network, Plan | None, str | None]:
    """Model, integer network, its plan, and why there is none."""
    with working(f"reading {args.build.name}"):
        model, _, network, _ = read_network(args.build, args.calibration, precision)
    say_ignored(args, model)
    if reason is not None:
        return model, network, None, reason
    try:
        with working("packing and planning"):
            return model, network, plan(network, Settings()), None
    except DovetailError as error:
        return model, network, None, f"not generated: {error}"


def _plain(value: Any, key: str = "") -> Any:
    """What JSON can hold. A ratio becomes its decibels, null where infinite or undefined, and whether all was equal."""
    if key in _RATIOS:
        return {"db": value if math.isfinite(value) else None, "equal": value == math.inf}
    if isinstance(value, dict):
        return {name: _plain(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def show(name: str, diff: NetworkDiff, reason: str | None) -> None:
    """Print a report for people to read."""
    inputs = diff.inputs
    print_table(
        f"{name}: signal to error in dB, {diff.frames} inputs",
        ["layer", "runs", "alone", "weights", "equal", "worst", "top", "zeros", "wins", "RTL"],
        [["input", _db(inputs.snr), "", "", "", "", "", f"{inputs.zeros:.0%}", "", ""],
         *(_row(layer, reason) for layer in diff.layers)])
    print("runs: as the layers run one after the other. alone: before k-WTA, float and\n"
          "integer layer fed the same. weights: theirs. equal, worst: codes that are equal,\n"
          "and the largest error in codes. top: outputs at the greatest code. wins: float\n"
          "k-WTA winners that win in the integer layer too.\n")
    if reason is not None:
        print(f"RTL: {reason}")
    for layer in diff.layers:
        if layer.removed:
            varying = f", {layer.removed_varying} not constant in the float model" if layer.removed_varying else ""
            kernels = "1 kernel was" if layer.removed == 1 else f"{layer.removed} kernels were"
            print(f"{layer.name}: {kernels} left out{varying}")
        if layer.weights.zeroed:
            print(f"{layer.name}: {layer.weights.zeroed} of {layer.weights.count} weights became zero")
    for layer in diff.layers:
        if layer.first is not None and layer.output_bits is not None:
            first = layer.first
            print(f"{layer.name}: first code that differs: input {first.frame}, element {first.element}: "
                  f"float {first.expected}, integer {first.got}")
    if diff.accuracy is not None:
        print(f"accuracy: {diff.accuracy:.2%} (the float model: {diff.float_accuracy:.2%})")
    print("verdict:")
    for line in verdict(diff):
        print(f"  {line}")


def _row(layer: LayerDiff, reason: str | None) -> list[str]:
    rtl = "wrong" if layer.rtl_different else "equal"
    sums = layer.output_bits is None and layer.equal < 1
    return [
        layer.name, _db(layer.as_it_runs), _db(layer.alone), _db(layer.weights.snr),
        "" if sums else _share(layer.equal), "" if sums else f"{layer.largest_error:.3g}",
        "" if layer.at_high is None else _share(layer.at_high), f"{layer.zeros:.0%}",
        "" if layer.winners is None else _share(layer.winners),
        rtl if reason is None else reason.partition(":")[0],
    ]


def _share(share: float) -> str:
    """A share in per cent, which is 0 or 100 only where it is none or all."""
    return f"{share:.0%}" if share in (0, 1) else f"{min(max(100 * share, 0.1), 99.9):.1f}%"


def _db(ratio: float) -> str:
    return "equal" if ratio == math.inf else "-" if math.isnan(ratio) else f"{ratio:.1f}"
