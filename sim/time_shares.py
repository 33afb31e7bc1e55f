"""Where the multipliers' time goes: how much of it is useful, and what takes the rest."""

from dataclasses import dataclass

import numpy as np

from ..hw.arch import EngineArch, UnrolledArch
from ..sw.plan import PlannedLayer
from .cycles import LayerCycles
from .engine_cycles import lane_slots
from .golden import LayerResult

__all__ = ["TimeShares", "time_shares"]


@dataclass(frozen=True, kw_only=True)
class TimeShares:
    """Parts of (multipliers x cycles) of a layer alone; together they are 1.

    Members
    -------
    useful : float
        Products of a weight that is not zero and a selected activation: the utilisation.
    empty : float
        Slots whose place in the row holds no weight, or one that was quantised to zero, and idle slots of positions
        without a row.
    draining : float
        Drain slots, in which no lane multiplies.
    uneven : float
        Lanes that have fewer slots for a vector, or a window, than the one with most.
    waiting : float
        What is left: for input, for the k-WTA behind, and between the folds. All that is not useful of an unrolled
        layer, which has no slots: its multipliers wait where no window enters.
    """

    useful: float
    empty: float
    draining: float
    uneven: float
    waiting: float


def time_shares(planned: PlannedLayer, result: LayerResult, alone: LayerCycles) -> TimeShares:
    """Divide the time of a layer's multipliers.

    Parameters
    ----------
    planned : PlannedLayer
    result : LayerResult
        The golden model's of this layer.
    alone : LayerCycles
        Of `dovetail.sim.cycles.layer_cycles`, for the same result.

    Returns
    -------
    TimeShares
    """
    arch, cycles, useful = planned.arch.engine, alone.cycles_per_inference, alone.utilisation
    if isinstance(arch, UnrolledArch):
        return TimeShares(useful=useful, empty=0.0, draining=0.0, uneven=0.0, waiting=1 - useful)
    mean, longest = _slots(arch, planned, result)
    worked, draining = mean / cycles, planned.layer.vectors * arch.folds * arch.drain_slots / cycles
    idle = max(0.0, 1 - worked - draining)      # above a last bit that float64 may lose
    # A lane may run ahead of the others, so that not all of this need be idle.
    uneven = min(idle, (longest - mean) / cycles)
    return TimeShares(useful=useful, empty=worked - useful, draining=draining, uneven=uneven, waiting=idle - uneven)


def _slots(arch: EngineArch, planned: PlannedLayer, result: LayerResult) -> tuple[float, float]:
    """Slots of all vectors of an inference: the mean over the lanes, and those of each vector's longest lane."""
    layer, selected = planned.layer, result.inputs != 0
    if not arch.indexed:
        # Every vector has all its positions, and so the same slots.
        slots = lane_slots(arch, np.ones((1, arch.positions), bool), planned.rows).sum(axis=1)
        return layer.vectors * float(slots.mean()), layer.vectors * float(slots.max())
    total = longest = 0
    for one in selected:        # the windows of all inputs at once would be large
        vectors = one[np.newaxis] if layer.window is None else layer.window.gather(one[np.newaxis])[0]
        slots = lane_slots(arch, vectors[:, planned.order], planned.rows).sum(axis=1)
        total, longest = total + int(slots.sum()), longest + int(slots.max(axis=1).sum())
    return total / arch.lanes / len(selected), longest / len(selected)
