"""`dovetail compile`: model to build folder."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ..boards.build_folder import check_output, write_build
from ..hw.arch import Mode
from ..hw.errors import DovetailError
from ..sim.cycles import cycles_per_inference
from ..sw.compile import compile_model
from ..sw.quantise import Requantise
from ..sw.settings import Device, Settings, read_settings
from .output import print_json, print_table, working

__all__ = ["add_parser", "run"]


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "compile", help="quantise, pack and plan a model, and write its build folder",
        description="quantise, pack and plan a model, and write its build folder",
        epilog="example: dovetail compile model.onnx -o build --calibration inputs.npz --target-cycles 1000")
    parser.add_argument("model", metavar="MODEL.onnx", type=Path, help="the model")
    parser.add_argument("-o", "--output", metavar="BUILD", type=Path, required=True, help="the folder to write")
    parser.add_argument("--calibration", metavar="X.npz", type=Path, help="typical inputs, to choose scales by")
    parser.add_argument("--target-cycles", metavar="N", type=int, help="cycles per inference to reach (default: 1024)")
    parser.add_argument("--device", metavar="NAME", choices=[device.value for device in Device],
                        help="device whose kinds of memory to plan for; whether the plan fits is not checked: "
                             + ", ".join(device.value for device in Device))
    parser.add_argument("--config", metavar="plan.toml", type=Path, help="settings of the network and of single layers")
    parser.add_argument("--mode", choices=[mode.value for mode in Mode],
                        help="sparse-sparse (default), sparse-dense or dense: the same datapath with less skipping")
    parser.add_argument("--weight-bits", metavar="N", type=int, default=8, help="width of a weight (default: 8)")
    parser.add_argument("--activation-bits", metavar="N", type=int, default=8,
                        help="width of an activation (default: 8)")
    parser.add_argument("--requantise", choices=[kind.value for kind in Requantise],
                        default=Requantise.MULTIPLIER.value,
                        help="multiplier (default), or shift: power-of-two scales that need no multiplier")
    parser.add_argument("--json", action="store_true", help="print one JSON object: the manifest")
    return parser


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings file, overruled by options.

    Raises
    ------
    DovetailError
        If the file is wrong, or ``--target-cycles`` less than 1.
    """
    settings = Settings() if args.config is None else read_settings(args.config)
    if args.target_cycles is not None:
        if args.target_cycles < 1:
            raise DovetailError(f"argument --target-cycles: must be at least 1, not {args.target_cycles}")
        settings = replace(settings, target_cycles=args.target_cycles)
    if args.device is not None:
        settings = replace(settings, device=Device(args.device))
    if args.mode is not None:
        settings = replace(settings, mode=Mode(args.mode))
    return settings


def run(args: argparse.Namespace) -> int:
    """Compile the model and write its build folder.

    Returns
    -------
    int
        0.

    Raises
    ------
    DovetailError
        If the model, its calibration, the settings or the output folder is wrong; nothing is written then. A
        `PlanError`, with exit code 1, if the target is out of reach.
    """
    settings = settings_of(args)
    check_output(args.output)
    with working(f"quantising, packing and planning {args.model.name}"):
        compiled = compile_model(
            args.model, calibration=args.calibration, settings=settings, weight_bits=args.weight_bits,
            activation_bits=args.activation_bits, requantise=Requantise(args.requantise),
            predict=cycles_per_inference)
    with working(f"writing {args.output}"):
        manifest = write_build(args.output, compiled.plan, compiled.model, compiled.calibration)
    if args.json:
        print_json(manifest)
        return _check_target(settings, manifest)
    rows = []
    for planned, about in zip(compiled.plan.layers, manifest["layers"], strict=True):
        engine, predicted = planned.arch.engine, about["predicted"]
        rows.append([
            planned.layer.name, planned.arch.mode.value, f"{engine.lanes} x {engine.banks}", engine.folds,
            engine.set_size, f"{planned.packing.fill:.2f}", f"{predicted['cycles_per_inference']:.0f}",
            f"{predicted['utilisation']:.0%}"])
    cycles = f"{manifest['predicted_cycles_per_inference']:.0f} cycles per inference (predicted)"
    print_table(f"{manifest['model']['name']}: {cycles}",
                ["layer", "mode", "lanes x banks", "folds", "set size N", "fill", "cycles", "utilisation"], rows,
                left=2)
    print(f"written: {args.output}")
    return _check_target(settings, manifest)


def _check_target(settings: Settings, manifest: dict) -> int:
    """Exit code 1, and a line on stderr, where the plan came out slower than was asked for."""
    cycles = manifest["predicted_cycles_per_inference"]
    if settings.target_cycles is None or cycles <= settings.target_cycles:
        return 0
    print(f"dovetail: target missed: {cycles:.0f} cycles per inference, not {settings.target_cycles}; "
          "fix lanes and banks of the slowest layer in --config", file=sys.stderr)
    return 1
