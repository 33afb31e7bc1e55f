"""Where the multipliers' time goes: how much of it is useful, and what takes the rest."""

from dataclasses import dataclass

from ..hw.arch import UnrolledArch
from ..sw.plan import PlannedLayer
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
        Lanes that have fewer slots than the one with most.
    waiting : float
        What is left: for input, for the k-WTA behind, and between the folds.
    """

    useful: float
    empty: float
    draining: float
    uneven: float
    waiting: float


def time_shares(planned: PlannedLayer, result: LayerResult, cycles_per_inference: float) -> TimeShares:
    """Divide the time of a layer's multipliers.

    Parameters
    ----------
    planned : PlannedLayer
        A layer without windows.
    result : LayerResult
        The golden model's of this layer.
    cycles_per_inference : float
        Of `dovetail.sim.cycles.layer_cycles`, for the same result.

    Returns
    -------
    TimeShares

    Raises
    ------
    ValueError
        If the layer has windows.
    """
    layer, arch = planned.layer, planned.arch.engine
    if layer.window is not None or isinstance(arch, UnrolledArch):
        raise ValueError(f"planned must be a layer without windows, not {layer.name!r}")
    selected = result.inputs != 0
    if not arch.indexed:
        selected[:] = True
    slots = lane_slots(arch, selected[:, planned.order], planned.rows).sum(axis=1)      # of every vector and lane
    worked = float(slots.mean()) / cycles_per_inference
    useful = float((selected @ (layer.weights != 0).sum(axis=0)).mean()) / (arch.multipliers * cycles_per_inference)
    draining = arch.folds * arch.drain_slots / cycles_per_inference
    idle = max(0.0, 1 - worked - draining)      # above a last bit that float64 may lose
    # A lane may run ahead of the others, so that not all of this need be idle.
    uneven = min(idle, max(0.0, float(slots.max(axis=1).mean()) / cycles_per_inference - worked))
    return TimeShares(useful=useful, empty=worked - useful, draining=draining, uneven=uneven, waiting=idle - uneven)
