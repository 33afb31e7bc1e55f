"""Run a network's RTL and bring back what left every layer of it."""

import numpy as np

from ..hw.network import NetworkTop
from ..sw.plan import Plan
from .diff import RtlLayer
from .simulate import Engine, Simulation
from .verify import frames_to_words, initial_load, selected_elements, words_to_frames

__all__ = ["watch_layers"]


def watch_layers(plan: Plan, codes: np.ndarray, *, engine: Engine = Engine.CXXRTL) -> list[RtlLayer]:
    """Simulate frames back to back and watch the streams between the layers.

    Parameters
    ----------
    plan : Plan
    codes : int (n, L)
        Input codes.
    engine : Engine

    Returns
    -------
    list of RtlLayer
        One a layer; the last is what the network delivered.

    Raises
    ------
    ToolMissing, ToolFailed
        If a program that the engine needs is missing or fails.
    SimulationError
        If the RTL stops delivering.
    ValueError
        If ``codes`` has another shape, or the RTL marks the ends of its frames wrongly.
    """
    probes = [f"layer{number}.select.o" for number in range(len(plan.layers) - 1)]
    simulation = Simulation(NetworkTop(plan.arch, plan.images), engine=engine, probes=probes)
    last = plan.arch.layers[-1]
    run = simulation.run({"i": frames_to_words(codes, plan.arch.input_width, pixels=plan.arch.input_pixels)},
                         {"o": plan.arch.output_beats * len(codes)}, setup=initial_load(plan))
    found = []
    for probe, layer in zip(probes, plan.arch.layers, strict=False):
        outputs, cycles = selected_elements(layer, *run.probes[probe])
        found.append(RtlLayer(outputs=outputs[:len(codes)], cycles=cycles[:len(codes)]))
    times = run.times["o"][:plan.arch.output_beats * len(codes)].reshape(len(codes), last.pixels, last.select.words)
    cycles = np.repeat(times, last.select.width, axis=2)[:, :, :last.select.kernels]
    found.append(RtlLayer(
        outputs=words_to_frames(run.outputs["o"], last.select.kernels, pixels=last.pixels),
        cycles=cycles.transpose(0, 2, 1).reshape(len(codes), -1)))
    return found
