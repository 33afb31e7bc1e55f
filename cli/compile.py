"""`dovetail compile`: model to build folder."""

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..boards.build_folder import check_output, write_build
from ..boards.kits.all import BOARDS
from ..hw.arch import EngineArch, Mode
from ..hw.errors import DovetailError
from ..sim import golden
from ..sim.cycles import cycles_per_inference
from ..sw.choose import logic_cells
from ..sw.compile import Compiled, Precision, compile_model
from ..sw.data import Samples
from ..sw.exact import describe
from ..sw.model import FloatModel
from ..sw.network import Network
from ..sw.plan import DEFAULT_TARGET, Plan, PlanError, plan_resources
from ..sw.quantise import Calibration, Requantise, input_codes
from ..sw.reserve import board_reserve
from ..sw.resources import capacity
from ..sw.settings import Device, Settings, read_settings
from .devices import device_name
from .inputs import load_inputs
from .output import counted, print_json, print_table, print_wrapped, working
from .units import gap_line

__all__ = ["add_parser", "precision_of", "run", "say_ignored"]

#: Kernels of the largest set that can be asked for.
_LARGEST_SET = 512
#: Options that choose integers: without effect on a file that states its own.
_CHOOSE = ("--weight-bits", "--range", "--percentile", "--requantise")


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
    parser.add_argument("--device", metavar="NAME", type=device_name, choices=[device.value for device in Device],
                        help="plan for what this device has; without --target-cycles the fastest network that fits: "
                             + ", ".join(device.value for device in Device))
    parser.add_argument("--board", metavar="NAME", choices=BOARDS,
                        help="plan for the device of this board, leaving room for what dovetail build adds: "
                             + ", ".join(BOARDS))
    parser.add_argument("--config", metavar="plan.toml", type=Path, help="settings of the network and of single layers")
    parser.add_argument("--mode", choices=[mode.value for mode in Mode],
                        help="sparse-sparse (default), sparse-dense or dense: the same datapath with less skipping")
    parser.add_argument("--weight-bits", metavar="N", type=int, help="width of a weight (default: 8)")
    parser.add_argument("--activation-bits", metavar="N", type=int,
                        help="width of an activation (default: 8)")
    parser.add_argument("--range", choices=[method.value for method in Calibration],
                        help="what becomes the largest code: a percentile of the calibration outputs (default), or "
                             "their maximum (minmax)")
    parser.add_argument("--percentile", metavar="P", type=float, help="that percentile (default: 99.99)")
    parser.add_argument("--requantise", choices=[kind.value for kind in Requantise],
                        help="multiplier (default), or shift: power-of-two scales that need no multiplier")
    parser.add_argument("--lossy", metavar="N", type=int, nargs="?", const=0,
                        help="drop weights until N kernels share a set without conflict (default: by density); see "
                             "--test for what it costs")
    parser.add_argument("--test", metavar="X.npz", type=Path, help="inputs with labels, to measure the accuracy on")
    parser.add_argument("--json", action="store_true", help="print one JSON object: the manifest")
    return parser


def precision_of(args: argparse.Namespace) -> Precision:
    """How the model is to become integers.

    Raises
    ------
    DovetailError
        If a width or the percentile is out of range.
    """
    for option, low in (("--weight-bits", 2), ("--activation-bits", 1)):
        value = _given(args, option)
        if value is not None and not low <= value <= 16:
            raise DovetailError(f"argument {option}: must be {low} to 16, not {value}")
    if args.percentile is not None and not 0 < args.percentile <= 100:
        raise DovetailError(f"argument --percentile: must be above 0 and at most 100, not {args.percentile:g}")
    given = {
        "weight_bits": args.weight_bits, "activation_bits": args.activation_bits, "percentile": args.percentile,
        "requantise": None if args.requantise is None else Requantise(args.requantise),
        "method": None if args.range is None else Calibration(args.range)}
    return replace(Precision(), **{name: value for name, value in given.items() if value is not None})


def say_ignored(args: argparse.Namespace, model: FloatModel) -> None:
    """Say on stderr which of the options given have no effect on a file that states its integers."""
    for option in _CHOOSE:
        if model.quantised and _given(args, option) is not None:
            print(f"dovetail: {option} has no effect: the file states its integers", file=sys.stderr)


def _given(args: argparse.Namespace, option: str) -> Any:
    """Value of an option, None where the user did not give it."""
    return getattr(args, option.removeprefix("--").replace("-", "_"))


def _made_with(args: argparse.Namespace, model: FloatModel) -> str:
    """The options given that the integers depend on, to be given again with the plan."""
    options = ("--activation-bits",) if model.quantised else ("--activation-bits", *_CHOOSE)
    parts = [f"{option} {_given(args, option)}" for option in options if _given(args, option) is not None]
    if args.lossy is not None:
        parts.append(f"--lossy {args.lossy or ''}".rstrip())
    return " ".join(parts)


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings file, overruled by options.

    Raises
    ------
    DovetailError
        If the file is wrong, ``--target-cycles`` less than 1, or both a board and a device are named.
    """
    settings = Settings() if args.config is None else read_settings(args.config)
    if args.target_cycles is not None:
        if args.target_cycles < 1:
            raise DovetailError(f"argument --target-cycles: must be at least 1, not {args.target_cycles}")
        settings = replace(settings, target_cycles=args.target_cycles)
    if args.device is not None:
        settings = replace(settings, device=Device(args.device))
    if args.board is not None:
        if args.device is not None:
            raise DovetailError("argument --board: names a device already; leave out --device")
        settings = replace(settings, device=BOARDS[args.board].device, hosted=True)
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
    settings, precision = settings_of(args), precision_of(args)
    if args.lossy and not 2 <= args.lossy <= _LARGEST_SET:
        raise DovetailError(f"argument --lossy: must be 2 to {_LARGEST_SET}, not {args.lossy}")
    check_output(args.output)
    with working(f"quantising, packing and planning {args.model.name}"):
        compiled = compile_model(
            args.model, calibration=args.calibration, settings=settings, precision=precision, lossy=args.lossy,
            predict=cycles_per_inference)
    say_ignored(args, compiled.model)
    accuracy = None
    if args.test is not None:
        samples = load_inputs(args.test, compiled.network)
        if samples.labels is None:
            raise DovetailError(f"{args.test.name}: has no labels 'y' to measure the accuracy with")
        with working(f"measuring the accuracy on {args.test.name}"):
            accuracy = measure(compiled, samples)
    intake = intake_of(compiled, accuracy)
    if args.lossy is not None:
        with working("planning it with all weights, to compare"):
            intake["lossless"] = compare_lossless(compiled, args, settings, precision)
            intake["lossy"] = cost(compiled.plan, compiled.calibration)
            intake["weights"] = sum(int((layer.weights != 0).sum()) for layer in compiled.lossless.layers)
    with working(f"writing {args.output}"):
        manifest = write_build(args.output, compiled.plan, compiled.model, compiled.calibration,
                               intake=intake, made_with=_made_with(args, compiled.model))
    if args.json:
        print_json(manifest)
        return _check_target(settings, manifest)
    rows, cycles = [], manifest["predicted_cycles_per_inference"]
    for planned, about in zip(compiled.plan.layers, manifest["layers"], strict=True):
        engine, predicted = planned.arch.engine, about["predicted"]
        shape = ["unrolled", "", "", ""]
        if isinstance(engine, EngineArch):
            shape = [f"{engine.lanes} x {engine.banks}", engine.folds, engine.set_size,
                     f"{about['packing']['fill']:.2f}"]
        rows.append([
            planned.layer.name, planned.arch.mode.value, *shape, f"{predicted['cycles_per_inference']:,.0f}",
            f"{predicted['utilisation']:.0%}"])
    print_table(f"{manifest['model']['name']}: {cycles:,.0f} cycles per inference (predicted)",
                ["layer", "mode", "lanes, banks", "folds", "set size", "fill", "cycles", "useful"], rows, left=2)
    for line in [*_default_missed(settings, manifest), *_taken(compiled.plan), *_loaded(compiled.plan),
                 *remarks(manifest["intake"]), *gaps(compiled, manifest["layers"])]:
        print_wrapped(line)
    print(f"written: {args.output}")
    return _check_target(settings, manifest)


def measure(compiled: Compiled, samples: Samples) -> dict[str, Any]:
    """Top-1 accuracy of the float model and of the integer network, before and after weights were dropped."""
    labels = samples.labels

    def top1(scores: np.ndarray) -> float:
        return float((scores.argmax(axis=1) == labels).mean())

    def of(network: Network) -> float:
        outputs = golden.run(network, input_codes(network, samples.x, samples.scale))[-1].outputs
        return top1(network.layers[-1].real(outputs))

    found = {"samples": len(samples.x), "float": top1(compiled.model.run(samples.x * samples.scale)[-1]),
             "integer": of(compiled.lossless)}
    if compiled.network is not compiled.lossless:
        found["lossy"] = of(compiled.network)
    return found


def intake_of(compiled: Compiled, accuracy: dict[str, Any] | None) -> dict[str, Any]:
    """What became of the model on its way to integers, for the manifest."""
    dropped = [int((before.weights != 0).sum() - (after.weights != 0).sum())
               for before, after in zip(compiled.lossless.layers, compiled.network.layers, strict=True)]
    return {
        "source": "quantised file" if compiled.model.quantised else "float file, quantised here",
        "accuracy": accuracy,
        "layers": [{**asdict(cleaned), "requantisation": describe(layer), "dropped": count}
                   for cleaned, layer, count in zip(compiled.cleaned, compiled.network.layers, dropped, strict=True)],
    }


def remarks(intake: dict[str, Any]) -> list[str]:
    """Lines that say what a user should know about the integers: exactness, what was left out, what was lost."""
    lines = []
    for layer in intake["layers"]:
        name = layer["name"]
        if intake["source"] == "quantised file":
            lines.append(f"{name}: {layer['requantisation']}")
        if layer["removed"]:
            lines.append(f"{name}: {counted(layer['removed'], 'kernel')} left out ({layer['constant']} constant, "
                         f"{layer['dead']} unused)")
        if layer["duplicates"]:
            repeat = "repeats" if layer["duplicates"] == 1 else "repeat"
            lines.append(f"{name}: {counted(layer['duplicates'], 'kernel')} {repeat} another one (kept)")
        if layer["dropped"]:
            lines.append(f"{name}: {counted(layer['dropped'], 'weight')} dropped (--lossy)")
    accuracy = intake["accuracy"]
    if accuracy is not None:
        parts = [f"{kind} {accuracy[kind]:.2%}" for kind in ("float", "integer", "lossy") if kind in accuracy]
        lines.append(f"accuracy on {counted(accuracy['samples'], 'input')}: {', '.join(parts)}")
    if "lossy" in intake:
        dropped = sum(layer["dropped"] for layer in intake["layers"])
        lines.append(gained(intake["lossy"], intake["lossless"], dropped, intake["weights"]))
    return lines


def gaps(compiled: Compiled, layers: list[dict[str, Any]]) -> list[str]:
    """Lines that say what keeps the utilisation of layers from 1, given those of the manifest."""
    lines = (gap_line(planned.layer.name, about["predicted"]["time"], planned.packing)
             for planned, about in zip(compiled.plan.layers, layers, strict=True))
    return [line for line in lines if line is not None]


def compare_lossless(compiled: Compiled, args: argparse.Namespace, settings: Settings,
                     precision: Precision) -> dict[str, Any] | None:
    """Cycles per inference, multipliers and rows of the network that keeps all its weights; None where no plan of it
    reaches the target."""
    try:
        kept = compile_model(args.model, calibration=args.calibration, settings=settings, precision=precision,
                             predict=cycles_per_inference)
    except PlanError:
        return None
    return cost(kept.plan, compiled.calibration)


def cost(plan: Plan, codes: np.ndarray) -> dict[str, Any]:
    """Predicted cycles per inference on input codes, multipliers, and rows of the weight tensors."""
    return {
        "cycles_per_inference": cycles_per_inference(plan, codes),
        "multipliers": sum(layer.arch.engine.multipliers for layer in plan.layers),
        "rows": sum(int(layer.packing.rows.sum()) for layer in plan.layers if layer.packing is not None),
    }


def gained(lossy: dict[str, Any], lossless: dict[str, Any] | None, dropped: int, weights: int) -> str:
    """What dropping weights gained, in a line."""
    says = (f"--lossy: {dropped:,} of {weights:,} weights dropped; {lossy['cycles_per_inference']:,.0f} cycles per "
            f"inference, {counted(lossy['multipliers'], 'multiplier')}, {counted(lossy['rows'], 'row')}")
    if lossless is None:
        return says + "; with all weights no plan reaches the target"
    return says + (f" instead of {lossless['cycles_per_inference']:,.0f}, {lossless['multipliers']:,} and "
                   f"{lossless['rows']:,}")


def _default_missed(settings: Settings, manifest: dict[str, Any]) -> list[str]:
    """A line where nobody set a target and the planner's own is out of reach."""
    asked = settings.target_cycles is not None or settings.device is not None and settings.device.is_routed
    if asked or manifest["predicted_cycles_per_inference"] <= DEFAULT_TARGET:
        return []
    return [f"no --target-cycles given: {DEFAULT_TARGET:,}, the default, is out of reach; this is the fastest plan "
            "found"]


def _taken(plan: Plan) -> list[str]:
    """A line that says what the plan is estimated to take of the device that it was made for."""
    device = plan.settings.device
    there = None if device is None else capacity(device)
    if device is None or there is None:
        return []
    taken = plan_resources(plan, device)
    if plan.settings.hosted:
        taken += board_reserve(plan.network, device, loadable=plan.arch.loadable)
    cells = "look-up tables"
    if not device.has_lut_ram:
        cells, taken = "logic cells", replace(taken, lut=logic_cells(taken))
    kinds = ((cells, "lut"), ("flip-flops", "ff"), ("block RAMs", "block_ram"), ("multipliers", "multiplier"),
             ("SPRAMs", "spram"))
    parts = [f"{getattr(taken, kind):,} of {getattr(there, kind):,} {name}" for name, kind in kinds
             if getattr(there, kind)]
    link = " with the link" if plan.settings.hosted else ""
    return [f"{device.value}, estimated{link}: {', '.join(parts)}"]


def _loaded(plan: Plan) -> list[str]:
    """A line where a board has its weights from the host."""
    if not (plan.settings.hosted and plan.arch.loadable):
        return []
    why = "no plan fits with its weights in the bitstream: they" if plan.settings.loadable is None else "weights"
    return [f"{why} are loaded over the line; dovetail run does that"]


def _check_target(settings: Settings, manifest: dict) -> int:
    """Exit code 1, and a line on stderr, where the plan came out slower than was asked for."""
    cycles = manifest["predicted_cycles_per_inference"]
    if settings.target_cycles is None or cycles <= settings.target_cycles:
        return 0
    print(f"dovetail: target missed: {cycles:.0f} cycles per inference, not {settings.target_cycles}; "
          "fix lanes and banks of the slowest layer in --config", file=sys.stderr)
    return 1
