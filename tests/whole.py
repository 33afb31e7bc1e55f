"""Runs of whole networks, every frame of them held against the golden model and the cycle model."""

import numpy as np

from dovetail.hw.errors import ToolMissing
from dovetail.hw.network import NetworkTop
from dovetail.sim import Engine, Simulation, golden
from dovetail.sim.cycles import network_cycles
from dovetail.sim.tools import find_icarus
from dovetail.sim.verify import frames_to_words, words_to_frames
from dovetail.sw.plan import Plan

__all__ = ["check_frames", "quickest"]


def quickest() -> Engine:
    """The simulator that has a small network's results soonest: Icarus, else the one that is always there."""
    try:
        find_icarus()
    except ToolMissing:
        return Engine.AMARANTH
    return Engine.ICARUS


def check_frames(built: Plan, codes: np.ndarray, *, engine: Engine) -> None:
    """Run frames one behind the other: outputs and times of every one; then, with stalls on both sides, the same
    outputs."""
    results = golden.run(built.network, codes)
    predicted = network_cycles(built, results)
    arch, last = built.arch, built.arch.layers[-1]
    simulation = Simulation(NetworkTop(arch, built.images), engine=engine)
    words = {"i": frames_to_words(codes, arch.input_width, pixels=arch.input_pixels)}
    wanted = {"o": arch.output_beats * len(codes)}
    run = simulation.run(words, wanted)
    outputs = words_to_frames(run.outputs["o"], last.select.kernels, pixels=last.pixels)
    np.testing.assert_array_equal(outputs, results[-1].outputs)
    np.testing.assert_array_equal(run.times["i"][::arch.input_beats], predicted.first_input)
    np.testing.assert_array_equal(run.times["o"][arch.output_beats - 1::arch.output_beats], predicted.last_output)
    assert run.cycles == predicted.total
    stalled = simulation.run(words, wanted, stall_seed=1)
    for key, found in stalled.outputs["o"].items():
        np.testing.assert_array_equal(found, run.outputs["o"][key])
