"""Run a network's RTL and bring back what left every layer of it."""

import numpy as np

from ..hw.arch import ceil_div
from ..hw.network import NetworkTop
from ..sw.plan import Plan
from .diff import RtlLayer
from .simulate import Engine, Simulation
from .verify import frames_to_words, words_to_frames

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
    last = plan.arch.layers[-1].select
    beats = ceil_div(last.kernels, last.width)
    run = simulation.run({"i": frames_to_words(codes, plan.arch.input_width)}, {"o": beats * len(codes)})
    found = [_layer(*run.probes[probe], frames=len(codes), kernels=planned.layer.kernels,
                    lanes=planned.arch.select.lanes)
             for probe, planned in zip(probes, plan.layers, strict=False)]
    times = run.times["o"][:beats * len(codes)].reshape(len(codes), beats)
    found.append(RtlLayer(outputs=words_to_frames(run.outputs["o"], last.kernels),
                          cycles=np.repeat(times, last.width, axis=1)[:, :last.kernels]))
    return found


def _layer(
    times: np.ndarray, words: dict[str, np.ndarray], *, frames: int, kernels: int, lanes: int,
) -> RtlLayer:
    """Put selected elements back into the layer's order."""
    ends = np.nonzero(words["last"])[0][:frames]
    frame_of = np.concatenate([[0], np.cumsum(words["last"])[:-1]])
    outputs = np.zeros((frames, kernels), np.int64)
    cycles = np.repeat(times[ends][:, np.newaxis], kernels, axis=1)
    for lane in range(lanes):
        taken = (words["mask"] >> lane & 1 == 1) & (frame_of < frames)
        element = words["address"][taken] * lanes + lane
        outputs[frame_of[taken], element] = words["values"][taken, lane]
        cycles[frame_of[taken], element] = times[taken]
    return RtlLayer(outputs=outputs, cycles=cycles)
