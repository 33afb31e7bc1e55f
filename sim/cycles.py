"""Exact cycle model of a network, and of each of its layers alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..hw.arch import ceil_div
from ..sw.plan import Plan, PlannedLayer
from .engine_cycles import EngineCycles, lane_slots
from .golden import LayerResult, run
from .select_cycles import SelectCycles

__all__ = ["LayerCycles", "NetworkCycles", "cycles_per_inference", "layer_cycles", "network_cycles"]

#: Registers of ``hw.requantise.Requantise``, one stage.
REQUANTISE_LATENCY = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkCycles:
    """When frames pass the network's border; cycle 0 is the first clock edge after reset.

    Members
    -------
    total : int
        From the first input beat to the last output beat, both included.
    first_input, last_output : int64 (n,)
        Per frame: cycle of its first beat in, and of its last beat out.
    """

    total: int
    first_input: np.ndarray
    last_output: np.ndarray

    @property
    def per_inference(self) -> float:
        """Steady interval between results: over the second half of the frames, where the pipeline is full."""
        ends = self.last_output
        if len(ends) < 2:
            return float(self.total)
        start = (len(ends) - 1) // 2
        return float(ends[-1] - ends[start]) / (len(ends) - 1 - start)


@dataclass(frozen=True, kw_only=True)
class LayerCycles:
    """What one layer does alone, fed and drained without waiting, averaged over the inputs.

    Members
    -------
    name, mode : str
    cycles_per_inference : float
    multipliers : int
    useful_multiplications : float
        Products of a non-zero weight and a selected activation (in the dense modes: every activation), per inference.
    """

    name: str
    mode: str
    cycles_per_inference: float
    multipliers: int
    useful_multiplications: float

    @property
    def utilisation(self) -> float:
        """Part of the multipliers' cycles that compute a useful product."""
        return self.useful_multiplications / (self.multipliers * self.cycles_per_inference)


class _LayerModel:
    """The units of one layer, followed together."""

    def __init__(self, planned: PlannedLayer):
        self._latency = REQUANTISE_LATENCY * len(planned.arch.stages)
        self.engine = EngineCycles(planned.arch.engine)
        self.select = SelectCycles(planned.arch.select)

    def vector(self, slots: np.ndarray, values: np.ndarray, *, last_input: int, ready: int) -> int:
        """Cycle in which the vector's last beat leaves the layer."""
        times = self.engine.vector(slots, last_input=last_input, token=self.select.token())
        return self.select.frame(values, taken=times.token, last_beat=times.last_beat + self._latency, ready=ready).last


def _selected(planned: PlannedLayer, result: LayerResult) -> np.ndarray:
    return result.inputs != 0 if planned.arch.engine.indexed else np.ones_like(result.inputs, bool)


def _values(planned: PlannedLayer, result: LayerResult) -> np.ndarray:
    """What arrives at the layer's select unit."""
    return planned.layer.requantise(result.sums[:, 0])


def network_cycles(plan: Plan, results: Sequence[LayerResult]) -> NetworkCycles:
    """Predict every frame's times, for a source that is always valid and a sink that is always ready.

    Parameters
    ----------
    plan : Plan
    results : sequence of LayerResult
        The golden model's, one a layer, n vectors each.

    Returns
    -------
    NetworkCycles
    """
    models = [_LayerModel(planned) for planned in plan.layers]
    slots = [lane_slots(planned.arch.engine, _selected(planned, result), planned.rows)
             for planned, result in zip(plan.layers, results, strict=True)]
    values = [_values(planned, result) for planned, result in zip(plan.layers, results, strict=True)]
    frames = len(results[0].inputs)
    beats = ceil_div(plan.arch.layers[0].engine.positions, plan.arch.input_width)
    first_input, last_output = np.zeros(frames, np.int64), np.zeros(frames, np.int64)
    for frame in range(frames):
        first_input[frame] = models[0].engine.ready()
        last = int(first_input[frame]) + beats - 1
        for number, model in enumerate(models):
            ready = models[number + 1].engine.ready() if number + 1 < len(models) else 0
            last = model.vector(slots[number][frame], values[number][frame], last_input=last, ready=ready)
        last_output[frame] = last
    total = int(last_output[-1] - first_input[0]) + 1
    return NetworkCycles(total=total, first_input=first_input, last_output=last_output)


def cycles_per_inference(plan: Plan, codes: np.ndarray) -> float:
    """Steady interval between results on input codes (n, L), predicted exactly."""
    return network_cycles(plan, run(plan.network, codes)).per_inference


def layer_cycles(planned: PlannedLayer, result: LayerResult) -> LayerCycles:
    """The interval that one layer sustains alone: all vectors pass twice, the second time measured.

    Parameters
    ----------
    planned : PlannedLayer
    result : LayerResult
        The golden model's of this layer.

    Returns
    -------
    LayerCycles
    """
    model = _LayerModel(planned)
    selected = _selected(planned, result)
    slots = lane_slots(planned.arch.engine, selected, planned.rows)
    values = _values(planned, result)
    ends = [model.vector(slots[frame], values[frame], last_input=model.engine.ready(), ready=0)
            for _ in range(2) for frame in range(len(slots))]
    useful = (selected @ (planned.layer.weights != 0).sum(axis=0)).mean()
    return LayerCycles(
        name=planned.layer.name, mode=planned.arch.mode.value, multipliers=planned.arch.engine.multipliers,
        cycles_per_inference=(ends[-1] - ends[len(slots) - 1]) / len(slots), useful_multiplications=float(useful))
