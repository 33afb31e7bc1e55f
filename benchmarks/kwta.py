"""Area and rate of both k-WTA units: Yosys cell counts on ECP5 and iCE40, and cycles per vector.

Run it as ``python benchmarks/kwta.py`` (``--help`` tells the options). What is counted is a whole Select: the store
that restores the model's order, the threshold finder, the comparison. LUT4 is LUT4 + 2 x CCU2C + 4 x DPR16X4 on ECP5.
The rate is that of vectors which follow each other as fast as tokens allow, into a consumer that is always ready; the
latency is that from the last beat of a vector that arrives to the first that leaves.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from amaranth.back import rtlil

from dovetail.hw.arch import SelectArch, SelectImages, SelectKind, bits_for
from dovetail.hw.select import Select
from dovetail.hw.yosys import run_yosys
from dovetail.sim.select_cycles import SelectCycles

LENGTHS = (16, 32, 64, 128, 512)
WIDTHS = (1, 2, 4)
LONGEST_LOCAL = 128     # beyond it the radix select, which has hardware for every element, is out of the question


def shuffled_images(arch: SelectArch, rng: np.random.Generator) -> SelectImages:
    """An order without regularity, as a packer leaves it: nothing that logic optimisation could simplify."""
    ranks = np.array([rng.permutation(arch.width) for _ in range(arch.words)])
    order = np.array([rng.permutation(arch.words) for _ in range(arch.width)]) | 1 << bits_for(arch.words)
    return SelectImages(order=tuple(map(tuple, order.tolist())), ranks=tuple(map(tuple, ranks.tolist())))


def cell_counts(arch: SelectArch, family: str, folder: Path) -> tuple[int, int, int]:
    """(LUT4 equivalents, flip-flops, block RAMs)."""
    images = shuffled_images(arch, np.random.default_rng(0))
    (folder / "select.il").write_text(rtlil.convert(Select(arch, images), name="select"))
    run_yosys(f"read_rtlil select.il; synth_{family} -top select; tee -o stat.json stat -json", folder=folder)
    text = (folder / "stat.json").read_text()
    cells = Counter(json.loads(text[text.index("{"):])["design"]["num_cells_by_type"])
    if family == "ecp5":
        luts = cells["LUT4"] + 2 * cells["CCU2C"] + 4 * cells["TRELLIS_DPR16X4"]
        return luts, cells["TRELLIS_FF"], cells["DP16KD"]
    registers = sum(count for name, count in cells.items() if name.startswith("SB_DFF"))
    return cells["SB_LUT4"], registers, cells["SB_RAM40_4K"]


def rate(arch: SelectArch) -> tuple[int, int]:
    """(cycles per vector, latency in cycles) for random codes."""
    rng = np.random.default_rng(0)
    model, last_beat, ends, latency = SelectCycles(arch), 0, [], 0
    for _ in range(20):
        token = model.token()
        last_beat = max(token, last_beat) + arch.beats
        codes = rng.integers(0, 1 << arch.value_bits, arch.kernels)
        emission = model.frame(codes, taken=token, last_beat=last_beat, ready=0)
        ends.append(last_beat)
        latency = max(latency, emission.first - last_beat)
    return (ends[-1] - ends[9]) // 10, latency


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="area and rate of the k-WTA units")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="M", help="lengths of the vectors")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, metavar="R", help="elements per cycle")
    parser.add_argument("--bins", type=int, default=4, help="histogram bins scanned per cycle (default: %(default)s)")
    arguments = parser.parse_args(argv)
    print("8-bit codes, K = M / 8, lanes = R")
    print("| unit   |   M | R | cycles/vector | latency | ECP5 LUT4 |   FF | BRAM | iCE40 LUT4 |   FF | BRAM |")
    print("|--------|----:|--:|--------------:|--------:|----------:|-----:|-----:|-----------:|-----:|-----:|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in (SelectKind.GLOBAL, SelectKind.LOCAL):
            for length in arguments.lengths:
                if kind is SelectKind.LOCAL and length > LONGEST_LOCAL:
                    continue
                for width in arguments.widths:
                    arch = SelectArch(
                        kernels=length, width=width, beats=-(-length // width), value_bits=8, kind=kind,
                        winners=max(1, length // 8), lanes=width, bins=arguments.bins)
                    cycles, latency = rate(arch)
                    luts, registers, rams = cell_counts(arch, "ecp5", Path(folder))
                    ice_luts, ice_registers, ice_rams = cell_counts(arch, "ice40", Path(folder))
                    print(f"| {kind.value:6} | {length:3} | {width} | {cycles:13} | {latency:7} | {luts:9} | "
                          f"{registers:4} | {rams:4} | {ice_luts:10} | {ice_registers:4} | {ice_rams:4} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
