"""The second hidden layer of kws_mlp in all three modes: same datapath, same multipliers, real inputs.

Run: python benchmarks/modes.py [--models ../shared/models]
Cycles are those of the RTL, simulated in CXXRTL and equal to the cycle model's prediction.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dovetail.hw.arch import Mode
from dovetail.sim import golden
from dovetail.sim.verify import NetworkSimulation
from dovetail.sw.data import load_samples
from dovetail.sw.network import Network
from dovetail.sw.plan import plan
from dovetail.sw.quantise import input_codes, quantise
from dovetail.sw.reader import read_model
from dovetail.sw.settings import LayerSettings, Settings

SHAPES = ((1, 1), (1, 4), (1, 16), (2, 32))      # lanes, banks
SAMPLES = 8


def second_layer(models: Path) -> tuple[Network, np.ndarray]:
    """The layer as a network of its own, and real inputs for it: what the first layer's k-WTA hands on."""
    model = read_model(models / "kws_mlp.onnx")
    calibration = load_samples(models / "kws_mlp_calibration.npz", model.input_shape)
    network = quantise(model, calibration.x, input_scale=calibration.scale)
    test = load_samples(models / "kws_mlp_test.npz", model.input_shape)
    results = golden.run(network, input_codes(network, test.x, test.scale)[:SAMPLES])
    layer = network.layers[1]
    alone = replace(network, name="second layer", input_shape=(layer.positions,), input_range=layer.input_range,
                    input_origin=0.0, layers=(layer,))
    return alone, results[1].inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models")
    network, codes = second_layer(parser.parse_args().models)
    (layer,) = network.layers
    table = Table(title="512 x 512 kernels, N = 16, 51 of 512 inputs active: cycles per vector", title_justify="left")
    for column in ("multipliers", "mode", "cycles", "dense / this", "sparse-dense / this", "utilisation", "mismatches",
                   "predicted = measured"):
        table.add_column(column, justify="left" if column == "mode" else "right")
    for lanes, banks in SHAPES:
        cycles = {}
        for mode in (Mode.DENSE, Mode.SPARSE_DENSE, Mode.SPARSE_SPARSE):
            # As a first layer it would be planned for the pace of its input, so the drain and the k-WTA are given.
            behind = {} if mode is Mode.DENSE else {"drain_width": max(1, banks // 2), "bins": 8}
            settings = Settings(layers={layer.name: LayerSettings(mode=mode, lanes=lanes, banks=banks, **behind)})
            shown = NetworkSimulation(plan(network, settings)).verify(codes)
            (alone,) = shown.layers
            cycles[mode] = alone.cycles_per_inference
            ratios = [f"{cycles[other] / cycles[mode]:.1f}" if other in cycles else ""
                      for other in (Mode.DENSE, Mode.SPARSE_DENSE)]
            table.add_row(str(alone.multipliers), mode.value, f"{alone.cycles_per_inference:,.0f}", *ratios,
                          f"{alone.utilisation:.1%}", str(shown.mismatches),
                          str(shown.measured == shown.predicted.total))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
