"""Cells of one (lane, bank) pair, alone and in a whole engine, on ECP5 and iCE40. Run: python benchmarks/pair_cells.py

A pair is a multiplier with its accumulator file, the registers of weight, KID and product, and the selection of the
drain address. LUT equivalents on ECP5: LUT4 + 2 x CCU2C + 4 x DPR16X4. All numbers are measured by synthesis, nothing
is placed.
"""

import numpy as np
from rich.console import Console
from rich.table import Table

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.arch import AccumulatorKind, EngineArch, EngineImages
from dovetail.hw.engine import Engine
from dovetail.hw.lane import Multiplier

CASES = (
    # family, accumulators, N, columns
    (Family.ECP5, AccumulatorKind.LUT_RAM, 16, 2),
    (Family.ECP5, AccumulatorKind.LUT_RAM, 16, 1),
    (Family.ECP5, AccumulatorKind.LUT_RAM, 16, 4),
    (Family.ECP5, AccumulatorKind.LUT_RAM, 8, 2),
    (Family.ECP5, AccumulatorKind.LUT_RAM, 32, 2),
    (Family.ECP5, AccumulatorKind.BLOCK_RAM, 16, 1),
    (Family.ECP5, AccumulatorKind.BLOCK_RAM, 512, 1),
    (Family.ICE40_DSP, AccumulatorKind.BLOCK_RAM, 16, 1),
    (Family.ICE40, AccumulatorKind.BLOCK_RAM, 16, 1),
    (Family.ICE40_DSP, AccumulatorKind.BLOCK_RAM, 512, 1),
)


def arch(kind: AccumulatorKind, set_size: int, columns: int, *, lanes: int = 1, banks: int = 1) -> EngineArch:
    return EngineArch(positions=512, lanes=lanes, banks=banks, folds=2, set_size=set_size, columns=columns,
                      drain_width=1, sum_bits=24, capacity=51, lane_rows=2 * 512 // lanes, accumulator=kind)


def images(engine: EngineArch) -> EngineImages:
    rng = np.random.default_rng(0)
    octets = (engine.banks * engine.slot_bits + 7) // 8
    mask = (1 << engine.banks * engine.slot_bits) - 1
    rows = tuple(tuple(int.from_bytes(rng.bytes(octets)) & mask for _ in range(engine.lane_rows))
                 for _ in range(engine.lanes))
    biases = tuple(rng.integers(-1000, 1000, engine.beats).tolist())
    return EngineImages(weights=rows, biases=(biases,))


def main() -> None:
    table = Table(title="One pair, 8-bit weights and activations, 24-bit sums; and its share of an engine of "
                        "2 lanes x 8 banks", title_justify="left")
    for column in ("family", "accumulators", "N", "columns", "LUT equivalents", "LUT4", "carry", "LUT RAM", "FF",
                   "block RAM", "multipliers", "engine, per pair"):
        table.add_column(column, justify="left" if column in ("family", "accumulators") else "right")
    for family, kind, set_size, columns in CASES:
        pair = count_cells(Multiplier(arch(kind, set_size, columns)), family)
        whole = arch(kind, set_size, columns, lanes=2, banks=8)
        engine = count_cells(Engine(whole, images(whole)), family)
        table.add_row(family.value, kind.value, *map(str, (
            set_size, columns, pair.lut_equivalents, pair.lut, pair.carry, pair.lut_ram, pair.ff, pair.bram, pair.dsp,
            round(engine.lut_equivalents / whole.multipliers))))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
