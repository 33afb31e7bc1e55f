"""`dovetail inspect`: what a model is made of, and how well it packs."""

import argparse
from dataclasses import asdict
from pathlib import Path

from ..hw.errors import ModelError
from ..sw.inspect import LayerFacts, find_problems, inspect_model
from ..sw.reader import read_model
from .output import counted, print_json, print_table, print_wrapped

__all__ = ["add_parser", "run"]


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "inspect", help="layers, densities and how well a model packs",
        description="show what a model is made of and how well it packs",
        epilog="example: dovetail inspect model.onnx")
    parser.add_argument("model", metavar="MODEL.onnx", type=Path, help="the model")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Pack every layer of the model and print what it is made of.

    Returns
    -------
    int
        0.

    Raises
    ------
    ModelError
        If the model cannot be used; with ``--json`` after printing the problem as an object.
    """
    try:
        model = read_model(args.model)
    except ModelError as error:
        if args.json:
            print_json({"model": args.model.stem, "layers": [], "supported": False, "problems": [str(error)]})
        raise
    facts = inspect_model(model)
    problems = [f"{args.model.name}: {problem}" for problem in find_problems(model)]
    if args.json:
        print_json({"model": model.name, "layers": [asdict(layer) for layer in facts], "supported": not problems,
                    "problems": problems})
        return 0
    print_table(
        f"{model.name}: input {' x '.join(map(str, model.input_shape))}",
        ["layer", "kernels", "inputs", "weights", "density", "winners", "N", "sets", "rows", "fill"],
        [[layer.name, layer.kernels, layer.positions, f"{layer.nonzero:,}", f"{layer.density:.1%}",
          layer.winners or "all", layer.set_size, layer.sets, layer.rows, f"{layer.fill:.2f}"]
         for layer in facts])
    print("N kernels make a set. A row holds one weight of every set; fill is the share\n"
          "of these places that holds a weight that is not zero.")
    for layer in facts:
        print_wrapped(f"{layer.name} ({_kind(layer)}): {_mask(layer)}")
        print_wrapped(f"  {layer.gain.text}")
    for problem in problems:
        print_wrapped(f"not supported: {problem}")
    return 0


def _kind(layer: LayerFacts) -> str:
    """What the layer computes, and on what numbers."""
    parts = [layer.op]
    if layer.vectors > 1:
        parts.append(f"{layer.vectors:,} windows")
    if layer.weight_bits is not None:
        parts.append(f"{layer.weight_bits}-bit weights")
    if layer.activation != "none":
        parts.append(f"then {layer.activation}")
    return ", ".join(parts)


def _mask(layer: LayerFacts) -> str:
    """The pattern of the mask, what it costs where kernels conflict, and what is not needed at all."""
    parts = [f"{layer.pattern} mask" if layer.pattern in ("dense", "unstructured") else layer.pattern]
    if not layer.complementary:
        parts.append(f"not complementary: {layer.rows / layer.positions:.1f} rows a position instead of 1 (at best "
                     f"{layer.rows_lower_bound / layer.positions:.1f} in {counted(layer.sets, 'set')})")
    repeats = "that repeats another" if layer.duplicates == 1 else "that repeat another"
    counts = ((layer.empty_kernels, "kernel", "without a weight"),
              (layer.unused_positions, "input", "without a weight"), (layer.duplicates, "kernel", repeats))
    return "; ".join([*parts, *(f"{counted(count, noun)} {what}" for count, noun, what in counts if count)])
