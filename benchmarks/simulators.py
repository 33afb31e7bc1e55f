"""Simulated clock cycles per second of each simulator on the kws_mlp network, side by side, on the same inputs.

Run: python benchmarks/simulators.py [--models ../shared/models] [--engines cxxrtl amaranth]
Every engine must give the words and transfer times that CXXRTL gives. Preparing is everything up to the end of a first
run with one sample, compiling included where the cache does not have the model; the speed is that of the clock loop, or
of the whole process for Icarus and Verilator.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from amaranth.lib import wiring
from rich.console import Console
from rich.table import Table

from dovetail.hw.network import NetworkTop
from dovetail.sim import Engine, Result, Simulation
from dovetail.sim.verify import frames_to_words
from dovetail.sw.compile import compile_model
from dovetail.sw.data import load_samples
from dovetail.sw.quantise import input_codes

# How many inputs each engine runs: some seconds' worth.
SAMPLES = {Engine.CXXRTL: 300, Engine.AMARANTH: 3, Engine.ICARUS: 3, Engine.VERILATOR: 100}


def compare(
    make: Callable[[], wiring.Component], job: Callable[[int], tuple[Mapping, Mapping[str, int]]],
    engines: list[Engine], samples: Mapping[Engine, int] = SAMPLES,
) -> Table:
    """Run a component on several engines.

    Parameters
    ----------
    make : function
        The component; called once for each engine.
    job : function
        Tells (inputs, outputs), as `simulate` takes them, for a number of samples. A job of fewer samples must be the
        beginning of one of more.
    engines : list of Engine
    samples : dict of int

    Returns
    -------
    rich.table.Table

    Raises
    ------
    RuntimeError
        If an engine's words or times differ from CXXRTL's.
    """
    reference = Simulation(make())
    speeds: dict[Engine, float] = {}
    table = Table("engine", "prepare, s", "samples", "cycles", "cycles / s", "x Amaranth", title_justify="left")
    rows = []
    for engine in engines:
        begin = time.perf_counter()
        simulation = Simulation(make(), engine=engine)
        simulation.run(*job(1))
        prepared = time.perf_counter() - begin
        result = simulation.run(*job(samples[engine]))
        if not _same(result, reference.run(*job(samples[engine]))):
            raise RuntimeError(f"{engine.value} differs from CXXRTL")
        speeds[engine] = result.cycles_per_second
        rows.append((engine, f"{prepared:.1f}", str(samples[engine]), f"{result.total_cycles:,}"))
    for engine, *fields in rows:
        ratio = f"{speeds[engine] / speeds[Engine.AMARANTH]:,.0f}" if Engine.AMARANTH in speeds else ""
        table.add_row(engine.value, *fields, f"{speeds[engine]:,.0f}", ratio)
    return table


def _same(left: Result, right: Result) -> bool:
    if left.times.keys() != right.times.keys() or left.outputs.keys() != right.outputs.keys():
        return False
    pairs = [(left.times[name], right.times[name]) for name in left.times]
    for name, values in left.outputs.items():
        other = right.outputs[name]
        pairs += [(values[key], other[key]) for key in values] if isinstance(values, dict) else [(values, other)]
    return all(np.array_equal(one, other) for one, other in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models")
    names = [engine.value for engine in Engine]
    parser.add_argument("--engines", nargs="+", choices=names, default=["cxxrtl", "amaranth"])
    args = parser.parse_args()
    compiled = compile_model(args.models / "kws_mlp.onnx", calibration=args.models / "kws_mlp_calibration.npz")
    plan, network = compiled.plan, compiled.network
    test = load_samples(args.models / "kws_mlp_test.npz", network.input_shape)
    codes = input_codes(network, test.x, test.scale)
    last = plan.arch.layers[-1]
    beats = -(-plan.layers[-1].layer.kernels // last.select.width)

    def job(count):
        return {"i": frames_to_words(codes[:count], plan.arch.input_width)}, {"o": beats * count}

    table = compare(lambda: NetworkTop(plan.arch, plan.images), job, [Engine(name) for name in args.engines])
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
