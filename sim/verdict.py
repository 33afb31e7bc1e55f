"""What a comparison of the models means, in words: which layer, why, and what to try."""

import math

from ..sw.network import Exactness
from .diff import LayerDiff, NetworkDiff

__all__ = ["verdict"]

#: A layer that alone keeps less than this stands out, in dB; 8 bits keep 35 to 45.
STANDS_OUT = 24.0
#: What a width that is proposed should keep, in dB, at 6 dB a bit.
GOAL = 30.0
DB_PER_BIT = 20 * math.log10(2)
#: Shares from which on they are worth a line.
OUTSIDE, CLIPPED, LABELS = 0.01, 0.01, 0.01
#: Share of k-WTA winners below which they are what is blamed where no layer stands out.
WINNERS = 0.98
#: Inputs that use less than this share of the range leave several bits idle.
IDLE = 1 / 16


def verdict(diff: NetworkDiff) -> list[str]:
    """Lines that name what costs accuracy, the gravest first; at least one.

    The rules, in this order: the RTL differs from the integer network; inputs are clamped, or use a small part of
    their codes; weights are not what the model's round to, or were left out; and, where nothing is wrong with the
    inputs, the layer, or the input, that alone keeps the least of its signal, where that is less than 24 dB; layers
    whose outputs saturate though the model's do not. A layer whose weights cause half of its error or more is told to
    need wider weights, otherwise wider outputs. Where no rule holds but labels differ, it is many small errors.

    Parameters
    ----------
    diff : NetworkDiff

    Returns
    -------
    list of str
    """
    inputs = _inputs(diff)
    lines = [*_rtl(diff), *inputs]
    for layer in diff.layers:
        lines += _weights(layer)
    if not inputs:      # what wrong inputs make of the layers says nothing about these
        lines += _loses_most(diff)
        for layer in diff.layers:
            lines += _clipped(layer)
    labels = f"{diff.labels_differ} of {diff.frames} labels differ"
    if lines:
        return [*lines, f"{labels} between float and integer"]
    if diff.labels_differ > max(1, LABELS * diff.frames):
        return [f"no layer stands out, yet {labels}: {_adds_up(diff)}"]
    return [f"nothing stands out: {labels}"]


def _adds_up(diff: NetworkDiff) -> str:
    """What many small errors come from, and what to try."""
    if all(layer.alone == math.inf for layer in diff.layers):
        return (f"the inputs alone are rounded ({diff.inputs.snr:.0f} dB at {_wide(diff.inputs.bits)}); try more "
                "--activation-bits")
    shares = [(layer.winners, layer.name) for layer in diff.layers if layer.winners is not None]
    least, name = min(shares, default=(1.0, ""))
    cause = "the errors add up from layer to layer"
    if least < WINNERS:
        cause = f"{_percent(1 - least)} of the winners of layer {name!r} are others, where outputs are nearly equal"
    rounded = any(layer.exactness is Exactness.ROUNDED for layer in diff.layers)
    return cause + ("; try more --weight-bits and --activation-bits" if rounded else "")


def _percent(share: float) -> str:
    """A share in per cent, two digits."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


def _rtl(diff: NetworkDiff) -> list[str]:
    for layer in diff.layers:
        if layer.rtl_first is not None:
            first = layer.rtl_first
            return [f"the RTL is wrong from layer {layer.name!r} on: frame {first.frame}, element {first.element}, "
                    f"cycle {first.cycle}: {first.got}, not {first.expected}"]
    return []


def _inputs(diff: NetworkDiff) -> list[str]:
    inputs = diff.inputs
    if inputs.outside > OUTSIDE:
        return [f"inputs: {_percent(inputs.outside)} are beyond the code range: is their scale right?"]
    if inputs.largest < inputs.limit * IDLE:
        return [f"inputs: the largest code is {inputs.largest} of {inputs.limit}: is their scale right?"]
    return []


def _weights(layer: LayerDiff) -> list[str]:
    weights, lines = layer.weights, []
    if weights.first_wrong is not None:
        first = weights.first_wrong
        lines.append(
            f"layer {layer.name!r}: {weights.wrong} of {weights.count} weights are not what the model's round to; the "
            f"first at kernel {first.frame}, position {first.element}: {first.got}, not {first.expected}")
    if weights.dropped:
        lines.append(
            f"layer {layer.name!r}: {weights.dropped} of {weights.count} weights are left out, though not small "
            f"(SQNR {weights.snr:.0f} dB alone)")
    return lines


def _clipped(layer: LayerDiff) -> list[str]:
    if layer.clipped < CLIPPED:
        return []
    return [f"{_percent(layer.clipped)} of layer {layer.name!r} saturate: percentile too low, or calibrated on other "
            "data"]


def _loses_most(diff: NetworkDiff) -> list[str]:
    """The layer or the input that keeps the least of its signal, alone."""
    layer = min(diff.layers, key=lambda layer: math.inf if math.isnan(layer.alone) else layer.alone)
    least = math.inf if math.isnan(layer.alone) else layer.alone
    if diff.inputs.snr < min(STANDS_OUT, least):
        bits = _bits(diff.inputs.bits, diff.inputs.snr)
        return [f"inputs lose most: {_wide(diff.inputs.bits)} keep {diff.inputs.snr:.0f} dB; try --activation-bits "
                f"{bits}"]
    if least >= STANDS_OUT:
        return []
    says = f"layer {layer.name!r} loses most ({least:.0f} dB alone): "
    from_weights = layer.alone_weights - least < 10 * math.log10(2)      # half of the error's power
    if from_weights and (layer.weights.wrong or layer.weights.dropped):
        return [says + "its weights"]
    if layer.exactness is not Exactness.ROUNDED:
        return [says + f"its requantisation is the {layer.exactness.value}"]
    if from_weights:
        bits = _bits(layer.weights.bits, min(layer.weights.snr, least))
        return [says + f"its weights at {_wide(layer.weights.bits)} (SQNR {layer.weights.snr:.0f} dB alone); try "
                       f"--weight-bits {bits}"]
    if layer.clipped >= CLIPPED:
        return [says + "its outputs saturate"]
    if layer.output_bits is None:
        return [says + "its bias"]
    return [says + f"its outputs at {_wide(layer.output_bits)}; try --activation-bits "
                   f"{_bits(layer.output_bits, least)}"]


def _wide(bits: int) -> str:
    return f"{bits} bit" if bits == 1 else f"{bits} bits"


def _bits(bits: int, kept: float) -> int:
    """A width that should keep what is wanted."""
    return min(16, bits + max(1, math.ceil((GOAL - kept) / DB_PER_BIT)))
