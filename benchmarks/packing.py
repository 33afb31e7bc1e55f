"""How full the packer's rows are, against accumulator depth and density, and how long packing takes.

    python benchmarks/packing.py            # random 2048 x 2048 layers, and a model if one is given with --model
    python benchmarks/packing.py --quick    # 256 x 256, for a check that it runs
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table

from dovetail.sw.packer import Packing, pack

DENSITIES = (0.02, 0.05, 0.10, 0.20)
DEPTHS = (16, 32, 64, 128, 256, 512)


def timed(mask: np.ndarray, *, set_size: int | None = None) -> tuple[Packing, float]:
    """Pack a mask; return the packing and the CPU seconds that it took."""
    started = time.process_time()
    packing = pack(mask, set_size=set_size)
    return packing, time.process_time() - started


def random_mask(size: int, density: float) -> np.ndarray:
    """Return a mask without structure, the same in every run."""
    return np.random.default_rng(1).random((size, size)) < density


def depth_table(size: int) -> Table:
    """Fill against depth and density; the bound is what the numbers of non-zeros at each position alone allow."""
    columns = [f"N = {depth}" for depth in DEPTHS]
    table = Table("density", *columns, "CPU s", title=f"fill / upper bound of any packing, random {size} x {size}")
    for density in DENSITIES:
        mask = random_mask(size, density)
        cells, total = [], 0.0
        for depth in DEPTHS:
            packing, seconds = timed(mask, set_size=depth)
            bound = packing.nonzero / (packing.rows_lower_bound * packing.banks)
            cells.append(f"{packing.fill:.2f} / {bound:.2f}")
            total += seconds
        table.add_row(f"{density:.0%}", *cells, f"{total:.1f}")
    return table


def layer_table(title: str, masks: dict[str, np.ndarray]) -> Table:
    """Pack layers with nothing prescribed; show what the packer chose."""
    columns = "layer", "kernels x positions", "density", "N", "banks", "complementary", "fill", "CPU s"
    table = Table(*columns, title=title)
    total = 0.0
    for name, mask in masks.items():
        packing, seconds = timed(mask)
        total += seconds
        shape, perfect = f"{packing.kernels} x {packing.positions}", "yes" if packing.complementary else "no"
        chosen = f"{packing.set_size}", f"{packing.banks}"
        table.add_row(name, shape, f"{mask.mean():.1%}", *chosen, perfect, f"{packing.fill:.3f}", f"{seconds:.2f}")
    table.add_row("all", *[""] * 6, f"{total:.2f}")
    return table


def model_masks(path: Path) -> dict[str, np.ndarray]:
    """Return the masks of the weight tensors of a model, one row a kernel."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    return {name: array.reshape(len(array), -1) != 0 for name, array in tensors.items() if array.ndim > 1}


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="fill and time of the packer")
    parser.add_argument("--quick", action="store_true", help="256 x 256 layers instead of 2048 x 2048")
    beside = Path(__file__).resolve().parents[2] / "shared" / "models" / "kws_mlp.onnx"
    default = [beside] if beside.exists() else []
    parser.add_argument(
        "--model", metavar="MODEL.onnx", type=Path, nargs="+", default=default,
        help="networks to pack (default: ../shared/models/kws_mlp.onnx, where it exists)",
    )  # fmt: skip
    args = parser.parse_args(argv)
    size = 256 if args.quick else 2048
    console = Console(width=120)
    for path in args.model:
        console.print(layer_table(path.name, model_masks(path)))
    console.print(layer_table("no structure, depth of the packer's choice", {"random": random_mask(size, 0.05)}))
    console.print(depth_table(size))
    return 0


if __name__ == "__main__":
    sys.exit(main())
