"""kws_mlp, spoken digits, end to end at two plans: every simulator, all test recordings in CXXRTL, a few in the others.

Run: python benchmarks/kws_mlp.py [--models ../shared/models]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dovetail.sim import Engine
from dovetail.sim.verify import NetworkSimulation
from dovetail.sw.compile import compile_model
from dovetail.sw.data import load_samples
from dovetail.sw.quantise import input_codes
from dovetail.sw.settings import Settings

TARGETS = (8500, 540)       # cycles per inference: a small plan, and one with more than 64 multipliers
SAMPLES = {Engine.CXXRTL: None, Engine.VERILATOR: 20, Engine.ICARUS: 3, Engine.AMARANTH: 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models")
    models = parser.parse_args().models
    runs = Table(title="kws_mlp: RTL against the golden model and the cycle model", title_justify="left")
    for column in ("plan", "engine", "recordings", "outputs that differ", "cycles predicted", "measured",
                   "per inference", "int8", "float"):
        runs.add_column(column, justify="left" if column in ("plan", "engine") else "right")
    layers = Table(title="Layers", title_justify="left")
    for column in ("plan", "layer", "lanes x banks", "folds", "N", "R", "fill", "multipliers", "useful multiplications",
                   "cycles", "utilisation"):
        layers.add_column(column, justify="left" if column in ("plan", "layer") else "right")
    for target in TARGETS:
        start = time.process_time()
        compiled = compile_model(models / "kws_mlp.onnx", calibration=models / "kws_mlp_calibration.npz",
                                 settings=Settings(target_cycles=target))
        seconds = time.process_time() - start
        print(f"read, quantised, packed and planned for {target} cycles in {seconds:.1f} CPU seconds")
        plan = compiled.plan
        samples = load_samples(models / "kws_mlp_test.npz", compiled.model.input_shape)
        codes = input_codes(compiled.network, samples.x, samples.scale)
        labels = samples.labels if samples.labels is not None else np.zeros(len(codes))
        for engine, count in SAMPLES.items():
            shown = NetworkSimulation(plan, engine=engine).verify(codes[:count])
            scores = plan.layers[-1].layer.real(shown.outputs)
            real = compiled.model.run(samples.x[:count] * samples.scale)[-1]
            runs.add_row(str(target), engine.value, str(len(shown.outputs)), str(shown.mismatches),
                         f"{shown.predicted.total:,}", f"{shown.measured:,}", f"{shown.measured_per_inference:,.1f}",
                         f"{(scores.argmax(axis=1) == labels[:count]).mean():.2%}",
                         f"{(real.argmax(axis=1) == labels[:count]).mean():.2%}")
            if count is None:
                for planned, layer in zip(plan.layers, shown.layers, strict=True):
                    arch = planned.arch.engine
                    layers.add_row(
                        str(target), layer.name, f"{arch.lanes} x {arch.banks}", str(arch.folds), str(arch.set_size),
                        str(arch.drain_width), f"{planned.packing.fill:.2f}", str(layer.multipliers),
                        f"{layer.useful_multiplications:,.0f}", f"{layer.cycles_per_inference:,.1f}",
                        f"{layer.utilisation:.1%}")
    console = Console(width=150)
    console.print(runs)
    console.print(layers)


if __name__ == "__main__":
    main()
