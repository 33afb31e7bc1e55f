"""Unrolled layers: adders, and cells on ECP5. Run: python benchmarks/unrolled.py [--models ../shared/models] [--route]

The first layer of kws_cnn (64 kernels of 5 x 5, 12 weights each, a scale per kernel, input 0 to 255) at several weight
widths, and random layers of 64 x 64 (8 bits, input -128 to 127). LUT equivalents: LUT4 + 2 x CCU2C. All numbers are
measured by synthesis. Cells of a layer that computes a vector of sums every cycle, without biases,
which the stage behind adds. Then the same random layers folded onto one multiplier and onto 64, and beside them the
figures of a public generator of unrolled layers, da4ml. With --route the unrolled random layers are placed and routed
on an LFE5U-85F of speed grade 6, in a frame of registers: many minutes.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dovetail.boards.cells import Cells, Family, count_cells
from dovetail.boards.devices import DEVICES
from dovetail.boards.place import place
from dovetail.boards.synth import Design, Language, synthesise
from dovetail.hw.arch import AccumulatorKind, Mode
from dovetail.hw.network import LayerUnit
from dovetail.hw.unrolled import Unrolled
from dovetail.hw.verilog import emit_rtlil
from dovetail.sim import golden
from dovetail.sim.cycles import layer_cycles
from dovetail.sw.network import Layer, Network
from dovetail.sw.plan import plan
from dovetail.sw.reader import read_model
from dovetail.sw.settings import Device, LayerSettings, Settings
from dovetail.sw.unroll import adder_graph, signed_digits

SIGNED = (-128, 127)
DENSITIES = (0.05, 0.1, 0.2)
#: LUT equivalents of da4ml 0.6.0's 64 x 64 layers of these densities on ECP5, and megahertz after routing.
DA4ML = {0.05: (5679, "140"), 0.1: (11132, "126"), 0.2: (21792, "")}
#: What may be the smallest machine: kernels in one bank, and where their sums are kept.
SMALL = (
    LayerSettings(lanes=1, banks=1, drain_width=1),
    LayerSettings(lanes=1, banks=1, drain_width=1, set_size=16, columns=1),
    LayerSettings(lanes=1, banks=1, drain_width=1, set_size=16, columns=1, accumulator=AccumulatorKind.BLOCK_RAM),
    LayerSettings(lanes=1, banks=1, drain_width=1, set_size=64, columns=1, accumulator=AccumulatorKind.BLOCK_RAM),
)


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


def folded(weights: np.ndarray, settings: LayerSettings) -> tuple[Cells, float]:
    """Cells, and cycles per vector, of the whole layer: engine, and a select unit that puts its sums in order."""
    layer = Layer(name="layer", weights=weights, mask=weights != 0, weight_bits=8, bias=np.zeros(64, np.int64),
                  input_range=SIGNED, output_scale=1.0)
    network = Network(name="layer", input_shape=(64,), input_range=SIGNED, input_scale=1.0, layers=(layer,), sha256="")
    (planned,) = plan(network, Settings(mode=Mode.SPARSE_DENSE, layers={"layer": settings})).layers
    codes = np.random.default_rng(0).integers(-128, 128, (8, 64))
    cycles = layer_cycles(planned, golden.run_layer(layer, codes)).cycles_per_inference
    return count_cells(LayerUnit(planned.arch, planned.images), Family.ECP5), cycles


def routed(weights: np.ndarray) -> str:
    """Megahertz of the unrolled layer, the better of two seeds."""
    text = emit_rtlil(Unrolled(adder_graph(weights, input_range=SIGNED)), name="unrolled")
    synthesis = synthesise(Design(text=text, language=Language.RTLIL, top="unrolled"), Family.ECP5)
    return f"{place(synthesis, DEVICES[Device.ECP5_85K], seeds=(1, 2), megahertz=160).fmax_mhz:.0f}"


def show_random(console: Console, *, route: bool) -> None:
    """Random layers: folded, unrolled, and da4ml's."""
    table = Table(title="64 x 64, 8 bits, on ECP5", title_justify="left")
    for column in ("density", "machine", "cycles a vector", "multipliers", "LUT equivalents", "FF", "block RAM",
                   "LUT x cycles", "MHz"):
        table.add_column(column, justify="left" if column == "machine" else "right")
    for density in DENSITIES:
        weights = random_layer(density)
        smallest = min((folded(weights, settings) for settings in SMALL), key=lambda found: found[0].lut_equivalents)
        machines = {
            "one multiplier": smallest,
            "8 lanes x 8 banks": folded(weights, LayerSettings(lanes=8, banks=8)),
            "unrolled": (count_cells(Unrolled(adder_graph(weights, input_range=SIGNED)), Family.ECP5), 1.0)}
        for name, (cells, cycles) in machines.items():
            table.add_row(f"{density:.0%}", name, f"{cycles:,.0f}", str(cells.dsp), f"{cells.lut_equivalents:,}",
                          f"{cells.ff:,}", str(cells.bram), f"{cells.lut_equivalents * cycles:,.0f}",
                          routed(weights) if route and name == "unrolled" else "")
        lut, megahertz = DA4ML[density]
        table.add_row(f"{density:.0%}", "da4ml 0.6.0, unrolled", "1", "0", f"{lut:,}", "", "0", f"{lut:,}", megahertz,
                      end_section=True)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models")
    parser.add_argument("--route", action="store_true", help="place and route the unrolled random layers")
    args = parser.parse_args()
    models = args.models
    cases = [(f"kws_cnn, first layer, {bits} bits", first_layer(models, weight_bits=bits), (0, 255))
             for bits in (8, 6, 5, 4)]
    cases += [(f"64 x 64, {density:.0%} random", random_layer(density), SIGNED) for density in DENSITIES]
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
    console = Console(width=130)
    console.print(table)
    show_random(console, route=args.route)


if __name__ == "__main__":
    main()
