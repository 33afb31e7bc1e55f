"""What comparisons are made of, and the first of them: a layer's integer weights against its float weights."""

import math
from dataclasses import dataclass, replace

import numpy as np

from ..sw.model import FloatLayer, FloatModel
from ..sw.network import Layer, Network, Scale

__all__ = ["Difference", "WeightDiff", "diff_weights", "error_of", "first_difference", "ratio"]

#: Errors below this share of a code's step are the rounding of float64, not of the network, and count as none.
FLOAT_NOISE = 1e-6
#: What rounding a weight to its code can be off, in steps, and a little.
ROUNDING = 0.51


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first element that differs, in the order of the model's own layer; ``cycle`` is known of RTL only."""

    frame: int
    element: int
    expected: int
    got: int
    cycle: int | None = None


@dataclass(frozen=True, kw_only=True)
class WeightDiff:
    """Weight codes times their scale against the float weights, kernels and positions left out not counted.

    Members
    -------
    bits : int
    snr : float
        See `LayerDiff`.
    count : int
        Weights of the float model that are not zero.
    zeroed : int
        Those of them whose code is zero.
    dropped : int
        Those of these that are too large to be rounded to zero: left out on purpose.
    wrong : int
        Weights that are neither zero nor what their float weight rounds to.
    first_wrong : Difference or None
        ``frame`` is the kernel, ``element`` the position, both numbered as in the model.
    """

    bits: int
    snr: float
    count: int
    zeroed: int
    dropped: int
    wrong: int
    first_wrong: Difference | None


def ratio(signal: np.ndarray, error: np.ndarray) -> float:
    """Signal to error in dB; infinite without an error, NaN where there is nothing but error."""
    noise, power = float((error**2).sum()), float((signal**2).sum())
    if not noise:
        return math.inf
    return 10 * math.log10(power / noise) if power else math.nan


def error_of(reference: np.ndarray, value: np.ndarray, step: np.ndarray | float) -> np.ndarray:
    """``reference - value``, without what is the rounding of float64."""
    error = reference - value
    return np.where(np.abs(error) < FLOAT_NOISE * step, 0.0, error)


def first_difference(
    different: np.ndarray, expected: np.ndarray, got: np.ndarray, elements: np.ndarray,
    cycles: np.ndarray | None = None,
) -> Difference | None:
    """The first place of ``different`` (n, m); ``elements`` (m,) says what the columns are called."""
    where = np.argwhere(different)
    if not len(where):
        return None
    frame, element = where[0].tolist()
    return Difference(
        frame=frame, element=int(elements[element]), expected=int(expected[frame, element]),
        got=int(got[frame, element]), cycle=None if cycles is None else int(cycles[frame, element]))


def diff_weights(model: FloatModel, network: Network, number: int) -> tuple[WeightDiff, np.ndarray]:
    """Compare the weights of layer ``number``.

    Returns
    -------
    WeightDiff
    float64 (M, L)
        The model's weights with the integer ones, times their scale, in their place.

    Raises
    ------
    ValueError
        If the integer layer has not the kernels and positions that its ``origin``, and that of the layer before it,
        leave of the model's.
    """
    real, layer = model.layers[number], network.layers[number]
    rows = np.arange(layer.kernels) if layer.origin is None else layer.origin
    columns = np.arange(real.positions)
    if number and (origin := network.layers[number - 1].origin) is not None:
        columns = columns.reshape(model.layers[number - 1].kernels, -1)[origin].ravel()
    exact = real.weights[np.ix_(rows, columns)]
    if exact.shape != layer.weights.shape:
        raise ValueError(f"layer {layer.name!r} must be made of weights {exact.shape!r}, not {layer.weights.shape!r}")
    scale = _weight_scale(real, layer, exact, rows, _input_scale(model, network, number))[:, np.newaxis]
    steps = exact / scale
    off = np.abs(steps - layer.weights) > ROUNDING
    wrong, zeroed = off & (layer.weights != 0), (exact != 0) & (layer.weights == 0)
    first = first_difference(wrong, np.rint(steps), layer.weights, columns)
    placed = real.weights.copy()
    placed[np.ix_(rows, columns)] = layer.weights * scale
    return WeightDiff(
        bits=layer.weight_bits, snr=ratio(exact, error_of(exact, layer.weights * scale, np.abs(scale))),
        count=int((exact != 0).sum()), zeroed=int(zeroed.sum()), dropped=int((off & zeroed).sum()),
        wrong=int(wrong.sum()), first_wrong=first and replace(first, frame=int(rows[first.frame]))), placed


def _input_scale(model: FloatModel, network: Network, number: int) -> float:
    """What a code that the layer takes is worth in it."""
    if not number:
        return network.input_scale * model.input_gain
    return float(np.max(network.layers[number - 1].output_scale))


def _weight_scale(
    real: FloatLayer, layer: Layer, exact: np.ndarray, rows: np.ndarray, input_scale: float,
) -> np.ndarray:
    """What a weight code is worth, float64 (M,): as the file or the requantisation has it, else what fits best."""
    agreement = (exact * layer.weights).sum(axis=1)
    if real.scale is not None:
        return real.scale[rows] * np.where(agreement < 0, -1, 1)     # a kernel that falls is built negated
    unit = np.broadcast_to(np.asarray(layer.output_scale), (layer.kernels,))
    match layer.stages:
        case ():
            return unit / input_scale
        case (Scale(multiplier=multiplier, shift=shift),):
            return np.ldexp(unit if multiplier is None else unit * multiplier, -shift) / input_scale
    return np.where(agreement, agreement, 1.0) / (layer.weights**2).sum(axis=1).clip(min=1)
