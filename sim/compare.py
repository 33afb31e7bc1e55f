"""The same network, dense, sparse-dense and sparse-sparse, on the same datapath with the same multipliers."""

from dataclasses import dataclass

import numpy as np

from ..hw.arch import EngineKind, Mode, UnrolledArch
from ..sw.plan import Plan, plan
from ..sw.settings import LayerSettings, Settings
from .simulate import Engine
from .verify import NetworkSimulation, Verification

__all__ = ["ModeResult", "compare_modes", "plan_in_mode"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModeResult:
    """One mode: its plan, and what the RTL showed."""

    mode: Mode
    plan: Plan
    verification: Verification


def plan_in_mode(reference: Plan, mode: Mode) -> Plan:
    """The network of ``reference`` in another mode, every layer with the lanes and banks it has there; an
    unrolled one stays as it is.

    Folds, drain and selection are planned anew, as the mode needs them.

    Raises
    ------
    DovetailError
        If no engine of that shape fits the mode.
    """
    layers = {layer.name: LayerSettings(engine=EngineKind.UNROLLED) if isinstance(layer.engine, UnrolledArch)
              else LayerSettings(lanes=layer.engine.lanes, banks=layer.engine.banks,
                                 accumulator=layer.engine.accumulator) for layer in reference.arch.layers}
    # No device: a dense network seldom fits the one that the sparse one was planned for.
    settings = Settings(mode=mode, layers=layers, input_width=reference.arch.input_width,
                        target_cycles=reference.settings.target_cycles)
    return plan(reference.network, settings)


def compare_modes(reference: Plan, codes: np.ndarray, *, engine: Engine = Engine.CXXRTL) -> list[ModeResult]:
    """Simulate a sparse-sparse plan and its two dense counterparts, every output compared with the golden model.

    Parameters
    ----------
    reference : Plan
        A sparse-sparse plan.
    codes : int (n, L)
        Input codes.
    engine : Engine

    Returns
    -------
    list of ModeResult
        Dense, sparse-dense, sparse-sparse. Multipliers are equal in all three.
    """
    results = []
    for mode in (Mode.DENSE, Mode.SPARSE_DENSE, Mode.SPARSE_SPARSE):
        planned = reference if mode is Mode.SPARSE_SPARSE else plan_in_mode(reference, mode)
        verification = NetworkSimulation(planned, engine=engine).verify(codes)
        results.append(ModeResult(mode=mode, plan=planned, verification=verification))
    return results
