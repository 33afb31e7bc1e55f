"""From a model file to a plan: read, quantise, pack, plan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..hw.errors import DovetailError, ModelError
from .data import load_samples
from .network import FloatModel, Network
from .plan import Plan, PlanError, plan
from .quantise import Requantise, input_codes, quantise
from .reader import read_model
from .settings import Settings

__all__ = ["Compiled", "compile_model"]

#: How often a plan that misses its target is made again.
REPLANS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Compiled:
    """What the compiler made of a model.

    Members
    -------
    model : FloatModel
    network : Network
    plan : Plan
    calibration : int64 (n, L)
        The calibration inputs as codes.
    """

    model: FloatModel
    network: Network
    plan: Plan
    calibration: np.ndarray


def compile_model(
    path: Path, *, calibration: Path | None, settings: Settings | None = None, weight_bits: int = 8,
    activation_bits: int = 8, requantise: Requantise = Requantise.MULTIPLIER,
    predict: Callable[[Plan, np.ndarray], float] | None = None,
) -> Compiled:
    """Compile an ONNX file.

    Parameters
    ----------
    path : Path
    calibration : Path or None
        ``.npz`` with typical inputs. None is refused, after the model was read and found good.
    settings : Settings, optional
    weight_bits, activation_bits, requantise
        See `quantise`.
    predict : function, optional
        Exact cycles per inference of a plan on input codes (`dovetail.sim.cycles.cycles_per_inference`). With it, a
        plan whose estimate was too hopeful for the target is made again for a tighter one.

    Returns
    -------
    Compiled

    Raises
    ------
    DovetailError
        In one line: what is wrong with the model, the calibration, the widths or the settings. A `PlanError` if the
        target is out of reach.
    """
    if not 2 <= weight_bits <= 16:
        raise DovetailError(f"argument --weight-bits: must be 2 to 16, not {weight_bits}")
    if not 1 <= activation_bits <= 16:
        raise DovetailError(f"argument --activation-bits: must be 1 to 16, not {activation_bits}")
    model = read_model(path)
    if calibration is None:
        raise ModelError(
            f"{path.name}: a float model needs typical inputs to choose scales by: give --calibration X.npz")
    samples = load_samples(calibration, model.input_shape)
    network = quantise(model, samples.x, input_scale=samples.scale, weight_bits=weight_bits,
                       activation_bits=activation_bits, requantise=requantise)
    codes = input_codes(network, samples.x, samples.scale)
    inputs = [codes, *model.run(samples.x * samples.scale)[:-1]]
    activity = [(values != 0).mean(axis=0) for values in inputs]
    settings = settings or Settings()
    chosen = plan(network, settings, activity=activity)
    if predict is not None:
        chosen = _reach(chosen, codes, activity, predict)
    return Compiled(model=model, network=network, plan=chosen, calibration=codes)


def _reach(
    first: Plan, codes: np.ndarray, activity: Sequence[np.ndarray], predict: Callable[[Plan, np.ndarray], float],
) -> Plan:
    """Plan again for tighter targets until the exact cycles keep the one that is wanted; else the fastest plan seen."""
    wanted = first.settings.target_cycles
    cycles = predict(first, codes)
    best, aim = (cycles, first), wanted
    for _ in range(REPLANS):
        if wanted is None or aim is None or cycles <= wanted:
            break
        aim = max(1, min(aim - 1, int(aim * wanted / cycles)))
        try:
            again = plan(first.network, replace(first.settings, target_cycles=aim), activity=activity)
        except PlanError:
            break
        cycles = predict(again, codes)
        best = min(best, (cycles, replace(again, settings=first.settings)), key=lambda tried: tried[0])
    return best[1]
