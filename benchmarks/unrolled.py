"""Unrolled layers: adders, and cells on ECP5. Run: python benchmarks/unrolled.py [--models ../shared/models]

The first layer of kws_cnn (64 kernels of 5 x 5, 12 weights each, a scale per kernel, input 0 to 255) at several weight
widths, and random layers of 64 x 64 (8 bits, input -128 to 127). LUT equivalents: LUT4 + 2 x CCU2C. All numbers are
measured by synthesis, nothing is placed. Cells of a layer that computes a vector of sums every cycle, without biases,
which the stage behind adds.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.unrolled import Unrolled
from dovetail.sw.reader import read_model
from dovetail.sw.unroll import adder_graph, signed_digits


def first_layer(models: Path, *, weight_bits: int) -> np.ndarray:
    """Codes (64, 25) of kws_cnn's first layer, BatchNormalization folded in."""
    weights = read_model(models / "kws_cnn.onnx").layers[0].weights.reshape(64, 25)
    return np.rint(weights / np.abs(weights).max(axis=1, keepdims=True) * (2**(weight_bits - 1) - 1)).astype(np.int64)


def random_layer(density: float) -> np.ndarray:
    """Codes (64, 64) of 8 bits, no present one of them zero."""
    rng = np.random.default_rng(1)
    present = np.zeros(64 * 64, bool)
    present[rng.permutation(present.size)[:round(density * present.size)]] = True
    return rng.integers(1, 128, (64, 64)) * rng.choice([-1, 1], (64, 64)) * present.reshape(64, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models")
    models = parser.parse_args().models
    cases = [(f"kws_cnn, first layer, {bits} bits", first_layer(models, weight_bits=bits), (0, 255))
             for bits in (8, 6, 5, 4)]
    cases += [(f"64 x 64, {density:.0%} random", random_layer(density), (-128, 127)) for density in (0.05, 0.1, 0.2)]
    table = Table(title="Unrolled layers on ECP5, a register behind every adder", title_justify="left")
    for column in ("layer", "non-zeros", "digits", "adders", "their bits", "levels", "LUT equivalents", "a non-zero",
                   "FF"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for name, weights, input_range in cases:
        graph = adder_graph(weights, input_range=input_range)
        cells = count_cells(Unrolled(graph), Family.ECP5)
        nonzeros = np.count_nonzero(weights)
        digits = sum(len(signed_digits(weight)) for weight in weights.ravel().tolist())
        table.add_row(name, *(f"{number:,}" for number in (
            nonzeros, digits, len(graph.adders), graph.adder_bits, graph.depth, cells.lut_equivalents)),
            f"{cells.lut_equivalents / nonzeros:.1f}", f"{cells.ff:,}")
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
