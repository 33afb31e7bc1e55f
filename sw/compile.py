"""From a model file to a plan: read, make integers, clean up, pack, plan."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..hw.errors import ModelError
from .clean import Cleaned, clean
from .data import Samples, load_samples
from .exact import exact_network
from .lossy import make_lossy
from .model import FloatModel
from .network import Network
from .plan import Plan, PlanError, plan
from .quantise import Calibration, Requantise, input_codes, quantise
from .reader import read_model
from .settings import Settings

__all__ = ["Compiled", "Precision", "compile_model", "integer_network", "read_network", "stand_in"]

#: How often a plan that misses its target is made again.
REPLANS = 4
#: Inputs that are made up where a quantised model comes without any.
STAND_INS = 32


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How a model becomes integers: the options of `dovetail.sw.quantise.quantise`.

    A model that states its own integers uses ``activation_bits`` for its input alone, and only where it does not say
    how that is quantised.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    requantise: Requantise = Requantise.MULTIPLIER
    method: Calibration = Calibration.PERCENTILE
    percentile: float = 99.99


@dataclass(frozen=True, kw_only=True, eq=False)
class Compiled:
    """What the compiler made of a model.

    Members
    -------
    model : FloatModel
    network : Network
        What is built.
    lossless : Network
        The same before weights were dropped; ``network`` itself where none were.
    cleaned : tuple of Cleaned
        What the clean-up left out and found, one entry a layer.
    plan : Plan
    calibration : int64 (n, elements)
        The calibration inputs as codes, or made-up ones.
    """

    model: FloatModel
    network: Network
    lossless: Network
    cleaned: tuple[Cleaned, ...]
    plan: Plan
    calibration: np.ndarray


def integer_network(
    model: FloatModel, samples: Samples | None, precision: Precision | None = None,
) -> tuple[Network, tuple[Cleaned, ...]]:
    """Make the integer network of a model, and clean it up.

    Parameters
    ----------
    model : FloatModel
    samples : Samples or None
        Typical inputs, to choose scales by. A model that states its own integers can do without.
    precision : Precision, optional

    Returns
    -------
    Network, tuple of Cleaned

    Raises
    ------
    ModelError
    """
    precision = precision or Precision()
    if model.quantised:
        network = exact_network(
            model, calibration=None if samples is None else samples.x,
            input_scale=1.0 if samples is None else samples.scale, input_bits=precision.activation_bits)
    elif samples is None:
        raise ModelError("a float model needs typical inputs to choose scales by: give --calibration X.npz")
    else:
        network = quantise(
            model, samples.x, input_scale=samples.scale, weight_bits=precision.weight_bits,
            activation_bits=precision.activation_bits, requantise=precision.requantise, method=precision.method,
            percentile=precision.percentile)
    return clean(network)


def read_network(
    path: Path, calibration: Path | None, precision: Precision | None = None,
) -> tuple[FloatModel, Samples | None, Network, tuple[Cleaned, ...]]:
    """Read an ONNX file and its typical inputs, and make the integer network of them.

    Parameters
    ----------
    path : Path
    calibration : Path or None
        ``.npz`` with typical inputs, as `integer_network` takes them.
    precision : Precision, optional

    Returns
    -------
    FloatModel, Samples or None, Network, tuple of Cleaned

    Raises
    ------
    ModelError
        One line that begins with the name of the file that is wrong.
    """
    model = read_model(path)
    samples = None if calibration is None else load_samples(calibration, model.input_shape)
    try:
        network, cleaned = integer_network(model, samples, precision)
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error
    return model, samples, network, cleaned


def compile_model(
    path: Path, *, calibration: Path | None, settings: Settings | None = None, precision: Precision | None = None,
    lossy: int | None = None, predict: Callable[[Plan, np.ndarray], float] | None = None,
) -> Compiled:
    """Compile an ONNX file.

    Parameters
    ----------
    path : Path
    calibration : Path or None
        ``.npz`` with typical inputs. A float model needs it; one that states its own integers is planned better with
        it.
    settings : Settings, optional
    precision : Precision, optional
    lossy : int, optional
        Drop weights until every layer packs into complementary sets of this many kernels; 0 chooses by density.
    predict : function, optional
        Exact cycles per inference of a plan on input codes (`dovetail.sim.cycles.cycles_per_inference`). With it, a
        plan whose estimate was too hopeful for the target is made again for a tighter one.

    Returns
    -------
    Compiled

    Raises
    ------
    DovetailError
        In one line: what is wrong with the model, the calibration or the settings. A `PlanError` if the target is out
        of reach.
    """
    model, samples, lossless, cleaned = read_network(path, calibration, precision)
    network = lossless if lossy is None else make_lossy(lossless, lossy or None)
    if samples is None:
        codes = stand_in(network)
        inputs = codes * network.input_scale + network.input_origin
    else:
        codes, inputs = input_codes(network, samples.x, samples.scale), samples.x * samples.scale
    activity = _activity(model, network, codes, inputs)
    settings = settings or Settings()
    chosen = plan(network, settings, activity=activity)
    if predict is not None:
        chosen = _reach(chosen, codes, activity, predict)
    return Compiled(model=model, network=network, lossless=lossless, cleaned=cleaned, plan=chosen, calibration=codes)


def stand_in(network: Network) -> np.ndarray:
    """Input codes, made up, for a network that comes without typical inputs: int64 (n, elements), always the same."""
    low, high = network.input_range
    return np.random.default_rng(0).integers(low, high + 1, (STAND_INS, network.layers[0].inputs))


def _activity(model: FloatModel, network: Network, codes: np.ndarray, inputs: np.ndarray) -> list[np.ndarray]:
    """How often every element that a layer takes is not zero: of the input's codes, then of the float layers."""
    values = [codes]
    for layer, real in zip(network.layers[:-1], model.run(inputs), strict=False):
        kept = np.arange(layer.kernels) if layer.origin is None else layer.origin
        pixels = math.prod(layer.output_shape[1:])
        values.append(real.reshape(len(real), -1, pixels)[:, kept].reshape(len(real), -1))
    return [(value != 0).mean(axis=0) for value in values]


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
