"""`dovetail inspect`: what a model is made of, and how well it packs."""

import argparse
from dataclasses import asdict
from pathlib import Path

from ..hw.errors import ModelError
from ..sw.inspect import inspect_model
from ..sw.reader import read_model
from .output import print_json, print_table

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
    if args.json:
        print_json({"model": model.name, "layers": [asdict(layer) for layer in facts], "supported": True,
                    "problems": []})
        return 0
    print_table(
        f"{model.name}: input {' x '.join(map(str, model.input_shape))}",
        ["layer", "kernels", "inputs", "weights", "density", "winners", "N", "sets", "rows", "least", "fill"],
        [[layer.name, layer.kernels, layer.positions, f"{layer.nonzero:,}", f"{layer.density:.1%}",
          layer.winners or "all", layer.set_size, layer.sets, layer.rows, layer.rows_lower_bound, f"{layer.fill:.2f}"]
         for layer in facts])
    print("N kernels make a set. A row holds one weight of every set; fill is the share\n"
          "of these places that holds a weight that is not zero.")
    for layer in facts:
        if not layer.complementary:
            print(f"{layer.name}: the mask is not complementary; some positions take several rows, which costs "
                  f"{layer.rows / layer.positions:.1f} rows a position instead of 1")
    return 0
