"""Float model against integer network against RTL, layer by layer: where a network loses its accuracy, in numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..sw.model import FloatModel, Winners
from ..sw.network import Exactness, Layer, Network
from . import golden
from .diff_weights import Difference, WeightDiff, diff_weights, error_of, first_difference, ratio

__all__ = ["InputDiff", "LayerDiff", "NetworkDiff", "RtlLayer", "diff_network"]

@dataclass(frozen=True, kw_only=True, eq=False)
class RtlLayer:
    """What left one layer of the RTL.

    Members
    -------
    outputs : int64 (n, elements)
        In the order of the integer layer; what was never sent is zero.
    cycles : int64 (n, elements)
        Clock cycle in which an element left; of one that was never sent, that of its vector's end.
    """

    outputs: np.ndarray
    cycles: np.ndarray


@dataclass(frozen=True, kw_only=True)
class InputDiff:
    """What the network's border does to its inputs.

    Members
    -------
    snr : float
        See `LayerDiff`; of the codes against what the float model's first layer sees.
    outside : float
        Share of values beyond the code range, which were clamped.
    largest, limit : int
        Greatest magnitude of a code, and of the codes there are.
    bits : int
    zeros : float
        Share of codes that are zero.
    """

    snr: float
    outside: float
    largest: int
    limit: int
    bits: int
    zeros: float


@dataclass(frozen=True, kw_only=True)
class LayerDiff:
    """One layer. Ratios of signal to error are in dB: infinite where all is equal, NaN where the signal is all zero.

    Members
    -------
    name, op : str
    removed : int
        Kernels of the model's layer that clean-up left out; all that follows is about the others.
    removed_varying : int
        Those of them that are not constant in the float model and that a kernel of its next layer reads which was not
        left out as well.
    exactness : Exactness
    output_bits : int or None
        None where the sums leave; then a code, below, is a step of the sum.
    as_it_runs : float
        Integer layer against float layer, each fed by the layers before it.
    alone : float
        Against the float layer fed with the integer network's real inputs: what this layer adds itself. Before k-WTA,
        since two nearly equal outputs that change places are a large error that matters little: see ``winners``.
    alone_weights : float
        The same float layer with the integer weights against that with its own: the part of the weights.
    weights : WeightDiff
    largest_error, mean_error : float
        Magnitude of the error as it runs, in codes.
    equal : float
        Share of elements that equal the float layer's, rounded to codes, as it runs.
    first : Difference or None
        The first that does not: ``expected`` is the float layer's.
    at_high, at_low : float or None
        Share of outputs at the greatest and, of signed ones, the least code; None for sums.
    clipped : float
        Share, of the outputs that are not zero, at either that the float layer alone puts more than half a code beyond.
    zeros : float
        Share of outputs that are zero.
    winners : float or None
        Share of the float layer's k-WTA winners that win in the integer layer too, as it runs.
    rtl_different : int or None
        Outputs of the RTL that differ from the integer layer's; None where it did not run.
    rtl_first : Difference or None
        The first of them.
    """

    name: str
    op: str
    removed: int
    removed_varying: int
    exactness: Exactness
    output_bits: int | None
    as_it_runs: float
    alone: float
    alone_weights: float
    weights: WeightDiff
    largest_error: float
    mean_error: float
    equal: float
    first: Difference | None
    at_high: float | None
    at_low: float | None
    clipped: float
    zeros: float
    winners: float | None
    rtl_different: int | None
    rtl_first: Difference | None


@dataclass(frozen=True, kw_only=True)
class NetworkDiff:
    """A whole network on some inputs.

    Members
    -------
    frames : int
    inputs : InputDiff
    layers : tuple of LayerDiff
    labels_differ : int
        Inputs that float model and integer network label differently. The label is the greatest score, the first of
        equal ones; of a single score, its sign.
    float_accuracy, accuracy : float or None
        Share of right labels; None without labels.
    """

    frames: int
    inputs: InputDiff
    layers: tuple[LayerDiff, ...]
    labels_differ: int
    float_accuracy: float | None
    accuracy: float | None

    @property
    def rtl_equal(self) -> bool | None:
        """Whether all outputs of all layers of the RTL are the integer network's; None where it did not run."""
        if any(layer.rtl_different is None for layer in self.layers):
            return None
        return not any(layer.rtl_different for layer in self.layers)


def diff_network(
    model: FloatModel, network: Network, codes: np.ndarray, x: np.ndarray, *, labels: np.ndarray | None = None,
    rtl: Sequence[RtlLayer] | None = None,
) -> NetworkDiff:
    """Run both models on the same inputs and compare them.

    Parameters
    ----------
    model : FloatModel
    network : Network
        Made of ``model``; kernels may have been left out of its layers (`Layer.origin`).
    codes : int (n, elements)
        Input codes.
    x : real (n, elements)
        The same inputs, as real values.
    labels : int (n,), optional
        The right ones.
    rtl : sequence of RtlLayer, optional
        What the hardware made of ``codes``.

    Returns
    -------
    NetworkDiff

    Raises
    ------
    ValueError
        If the arguments do not fit each other.
    """
    if len(model.layers) != len(network.layers):
        raise ValueError(f"network must have {len(model.layers)} layers as the model has, not {len(network.layers)}")
    if len(x) != len(codes) or not len(x):
        raise ValueError(f"x and codes must hold the same inputs, at least one, not {len(x)} and {len(codes)}")
    reference, results = model.run(x), golden.run(network, codes)
    layers = tuple(
        _layer(model, network, number, reference, results, None if rtl is None else rtl[number])
        for number in range(len(network.layers)))
    wanted = _labels(reference[-1])
    got = _labels(network.layers[-1].real(results[-1].outputs))
    return NetworkDiff(
        frames=len(codes), inputs=_inputs(model, network, results[0].inputs, np.asarray(x).reshape(len(x), -1)),
        layers=layers, labels_differ=int((wanted != got).sum()),
        float_accuracy=None if labels is None else float((wanted == labels).mean()),
        accuracy=None if labels is None else float((got == labels).mean()))


def _labels(scores: np.ndarray) -> np.ndarray:
    return scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.int64)


def _inputs(model: FloatModel, network: Network, codes: np.ndarray, x: np.ndarray) -> InputDiff:
    exact = (x - network.input_origin) / network.input_scale
    low, high = network.input_range
    seen = model.first_input(x)
    real = model.input_gain * (codes * network.input_scale + network.input_origin) + model.input_offset
    return InputDiff(
        snr=ratio(seen, error_of(seen, real, network.input_scale * model.input_gain)),
        outside=float(((exact < low - 0.5) | (exact > high + 0.5)).mean()), largest=int(np.abs(codes).max()),
        limit=max(high, -low), bits=network.input_bits, zeros=float((codes == 0).mean()))


def _elements(layer: Layer) -> np.ndarray:
    """Number, in the model's layer, of every output element of an integer layer."""
    pixels = math.prod(layer.output_shape[1:])
    kernels = np.arange(layer.kernels) if layer.origin is None else layer.origin
    return (kernels[:, np.newaxis] * pixels + np.arange(pixels)).ravel()


def _given(
    model: FloatModel, network: Network, number: int, reference: Sequence[np.ndarray],
    results: Sequence[golden.LayerResult],
) -> np.ndarray:
    """The integer layer's inputs as real inputs of the model's layer.

    Elements that clean-up left out have the values that the float model gives them.
    """
    if not number:
        return model.first_input(results[0].inputs * network.input_scale + network.input_origin)
    before = network.layers[number - 1]
    given = reference[number - 1].copy()
    given[:, _elements(before)] = before.real(results[number - 1].outputs)
    return given


def _layer(
    model: FloatModel, network: Network, number: int, reference: Sequence[np.ndarray],
    results: Sequence[golden.LayerResult], rtl: RtlLayer | None,
) -> LayerDiff:
    real, layer, outputs = model.layers[number], network.layers[number], results[number].outputs
    kernels = real.kernels if layer.origin is None else layer.kernels
    if layer.output_shape != (kernels, *real.output_shape[1:]):
        raise ValueError(f"layer {layer.name!r} must have outputs of {(kernels, *real.output_shape[1:])!r}, not "
                         f"{layer.output_shape!r}")
    elements = _elements(layer)
    weights, integer_weights = diff_weights(model, network, number)
    value, runs = layer.real(outputs), reference[number][:, elements]
    given = _given(model, network, number, reference, results)
    ranked = replace(real, steps=tuple(step for step in real.steps if not isinstance(step, Winners)))
    ranked_codes = outputs
    if layer.winners is not None:
        ranked_codes = golden.run_layer(replace(layer, winners=None), results[number].inputs).outputs
    alone = ranked.run(given)[:, elements]
    part = replace(ranked, weights=integer_weights, codes=None, scale=None).run(given)[:, elements]
    step = layer.real(np.ones_like(outputs[:1])) - layer.real(np.zeros_like(outputs[:1]))
    zero = layer.real(np.zeros_like(outputs[:1]))
    error = error_of(runs, value, step)

    rounded, beyond = np.rint((runs - zero) / step), np.zeros(outputs.shape, bool)
    at_high = at_low = None
    if layer.output_range is not None:
        low, high = layer.output_range
        rounded = rounded.clip(low, high)
        codes = (alone - zero) / step
        beyond = (outputs == high) & (codes > high + 0.5) | (outputs == low) & (outputs != 0) & (codes < low - 0.5)
        at_high = float((outputs == high).mean())
        at_low = float((outputs == low).mean()) if low < 0 else None
    winners = None
    if real.winners is not None and runs.any():
        winners = float((outputs[runs != 0] != 0).mean())
    rtl_different = rtl_first = None
    if rtl is not None:
        different = rtl.outputs != outputs
        rtl_different = int(different.sum())
        rtl_first = first_difference(different, outputs, rtl.outputs, elements, rtl.cycles)
    return LayerDiff(
        name=layer.name, op=layer.op, removed=real.kernels - layer.kernels,
        removed_varying=_varying(model, network, number, reference[number]), exactness=layer.exactness,
        output_bits=layer.output_bits, as_it_runs=ratio(runs, error),
        alone=ratio(alone, error_of(alone, layer.real(ranked_codes), step)),
        alone_weights=ratio(alone, error_of(alone, part, step)), weights=weights,
        largest_error=float(np.abs(error / step).max()), mean_error=float(np.abs(error / step).mean()),
        equal=float((rounded == outputs).mean()),
        first=first_difference(rounded != outputs, rounded, outputs, elements), at_high=at_high, at_low=at_low,
        clipped=float(beyond.sum() / max(1, (outputs != 0).sum())), zeros=float((outputs == 0).mean()), winners=winners,
        rtl_different=rtl_different, rtl_first=rtl_first)


def _varying(model: FloatModel, network: Network, number: int, reference: np.ndarray) -> int:
    kernels, origin = model.layers[number].kernels, network.layers[number].origin
    if origin is None:
        return 0
    left_out = np.ones(kernels, bool)
    left_out[origin] = False
    varies = (reference != reference[:1]).any(axis=0).reshape(kernels, -1).any(axis=1)
    following = np.ones((1, kernels))
    if number + 1 < len(model.layers):
        following, readers = model.layers[number + 1].weights, network.layers[number + 1].origin
        following = following if readers is None else following[readers]
    read = following.reshape(len(following), kernels, -1).any(axis=(0, 2))
    return int((left_out & varies & read).sum())
