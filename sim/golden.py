"""The golden model: what the integer network computes, in plain numpy. It decides; the hardware must equal it."""

from dataclasses import dataclass

import numpy as np

from ..sw.network import Layer, Network

__all__ = ["LayerResult", "kwta", "requantise", "run", "run_layer"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerResult:
    """What one layer makes of n vectors.

    Members
    -------
    inputs : int64 (n, L)
        The codes it was given; losers of the layer before are zero.
    sums : int64 (n, M)
        With bias.
    outputs : int64 (n, M)
        Codes after selection, or the sums themselves where the layer has no codes.
    """

    inputs: np.ndarray
    sums: np.ndarray
    outputs: np.ndarray


def requantise(sums: np.ndarray, layer: Layer) -> np.ndarray:
    """``clamp((sum * m + 2**(s - 1)) >> s, 0, 2**A - 1)``; without the rounding term where s is 0."""
    if layer.output_bits is None:
        raise ValueError(f"layer must have output_bits, not {layer.output_bits!r}")
    scaled = sums if layer.multiplier is None else sums * layer.multiplier
    return np.clip((scaled + (1 << layer.shift >> 1)) >> layer.shift, 0, (1 << layer.output_bits) - 1)


def kwta(codes: np.ndarray, winners: int) -> np.ndarray:
    """Keep the ``winners`` largest codes of every row, ties to the lower index; zero the rest. A zero stays zero."""
    order = np.argsort(-codes, axis=1, kind="stable")[:, :winners]
    kept = np.zeros_like(codes)
    np.put_along_axis(kept, order, np.take_along_axis(codes, order, axis=1), axis=1)
    return kept


def run_layer(layer: Layer, inputs: np.ndarray) -> LayerResult:
    """One layer on codes (n, L)."""
    sums = inputs @ layer.weights.T + layer.bias
    outputs = sums
    if layer.output_bits is not None:
        outputs = requantise(sums, layer)
        if layer.winners is not None:
            outputs = kwta(outputs, layer.winners)
    return LayerResult(inputs=inputs, sums=sums, outputs=outputs)


def run(network: Network, codes: np.ndarray) -> list[LayerResult]:
    """Every layer of the network on input codes (n, L), in order."""
    codes = np.asarray(codes, dtype=np.int64)
    if codes.ndim != 2 or codes.shape[1] != network.layers[0].positions:
        raise ValueError(f"codes must have shape (n, {network.layers[0].positions}), not {codes.shape!r}")
    results = []
    for layer in network.layers:
        results.append(run_layer(layer, codes))
        codes = results[-1].outputs
    return results
