"""The golden model: what the integer network computes, in plain numpy. It decides; the hardware must equal it."""

from dataclasses import dataclass

import numpy as np

from ..sw.network import Layer, Network

__all__ = ["LayerResult", "kwta", "run", "run_layer"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerResult:
    """What one layer makes of n inputs.

    Members
    -------
    inputs : int64 (n, inputs)
        The codes it was given; losers of the layer before are zero.
    sums : int64 (n, vectors, M)
        With bias; one vector, or one a window of a convolution.
    outputs : int64 (n, elements of the output's shape)
        Codes after pooling and selection, or the sums themselves where the layer has no codes; an image channel by
        channel.
    """

    inputs: np.ndarray
    sums: np.ndarray
    outputs: np.ndarray


def kwta(codes: np.ndarray, winners: int) -> np.ndarray:
    """Keep the ``winners`` largest codes of every row, ties to the lower index; zero the rest. A zero stays zero."""
    order = np.argsort(-codes, axis=1, kind="stable")[:, :winners]
    kept = np.zeros_like(codes)
    np.put_along_axis(kept, order, np.take_along_axis(codes, order, axis=1), axis=1)
    return kept


def _winners(layer: Layer, codes: np.ndarray) -> np.ndarray:
    """k-WTA over the kernels, at every pixel of codes (n, M * pixels)."""
    if layer.winners is None:
        return codes
    pixels = codes.reshape(len(codes), layer.kernels, codes.shape[1] // layer.kernels).transpose(0, 2, 1)
    kept = kwta(pixels.reshape(-1, layer.kernels), layer.winners).reshape(pixels.shape)
    return kept.transpose(0, 2, 1).reshape(codes.shape)


def _products(layer: Layer, inputs: np.ndarray) -> np.ndarray:
    """``windows @ weights.T`` on integers, (n, vectors, M); in float64, which is as exact and ten times faster, where
    no sum of any order can leave the 53 bits that it holds."""
    kind = np.int64 if layer.sum_bits > 53 else np.float64
    weights = layer.weights.T.astype(kind)
    if layer.window is None:
        return (inputs[:, np.newaxis].astype(kind) @ weights).astype(np.int64)
    sums = np.empty((len(inputs), layer.vectors, layer.kernels), np.int64)
    for number, image in enumerate(inputs.astype(kind)):    # all windows of all images would be large
        sums[number] = (layer.window.gather(image[np.newaxis])[0] @ weights).astype(np.int64)
    return sums


def run_layer(layer: Layer, inputs: np.ndarray) -> LayerResult:
    """One layer on codes (n, inputs)."""
    sums = _products(layer, inputs) + layer.bias
    codes = layer.requantise(sums).transpose(0, 2, 1).reshape(len(inputs), layer.kernels * layer.vectors)
    return LayerResult(inputs=inputs, sums=sums, outputs=_winners(layer, layer.pooled(codes)))


def run(network: Network, codes: np.ndarray) -> list[LayerResult]:
    """Every layer of the network on input codes (n, inputs), in order."""
    codes = np.asarray(codes, dtype=np.int64)
    if codes.ndim != 2 or codes.shape[1] != network.layers[0].inputs:
        raise ValueError(f"codes must have shape (n, {network.layers[0].inputs}), not {codes.shape!r}")
    results = []
    for layer in network.layers:
        results.append(run_layer(layer, codes))
        codes = results[-1].outputs
    return results
