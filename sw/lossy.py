"""Lossy packing on request: weights that stand in the way of complementary sets are dropped.

This is column combining: Kung, McDanel and Zhang, "Packing Sparse Convolutional Neural Networks for Efficient Systolic
Array Implementations: Column Combining Under Joint Optimization", arXiv 1811.04770, without their retraining. Of the
weights that the kernels of a set have at a position all but the one of largest magnitude are pruned.
"""

from dataclasses import replace

import numpy as np

from .complementary import check_count
from .network import Layer, Network, Scale
from .packer import pack

__all__ = ["drop_conflicts", "make_lossy"]


def drop_conflicts(layer: Layer, set_size: int) -> tuple[Layer, int]:
    """Make the mask of a layer complementary.

    The packer deals the kernels to ceil(M / N) sets of at most N so that few weights conflict; of those that do, the
    one that moves the output code most stays: the largest code, times the kernel's multiplier where there is one. A tie
    goes to the kernel of lower number.

    Parameters
    ----------
    layer : Layer
    set_size : int
        N, at least 1; more than there are kernels is as many as there are.

    Returns
    -------
    layer : Layer
        With the sets. Its mask holds no more than the weights that are left, so that a weight quantised to zero
        conflicts with none.
    dropped : int
        Weights, not zero, that are gone.

    Raises
    ------
    TypeError, ValueError
        If ``set_size`` is no positive integer.
    """
    check_count("set_size", set_size)
    present = layer.weights != 0
    packing = pack(present, set_size=min(set_size, layer.kernels), depth_limit=max(512, layer.kernels))
    keep = np.zeros_like(present)
    magnitude = _magnitude(layer)
    for members in packing.members.reshape(-1, packing.set_size):
        group = members[members >= 0]
        if group.size:
            keep[group[magnitude[group].argmax(axis=0)], np.arange(layer.positions)] = True
    keep &= present
    left = replace(layer, weights=np.where(keep, layer.weights, 0), mask=keep, sets=packing.members[0])
    return left, int((present & ~keep).sum())


def make_lossy(network: Network, set_size: int | None = None, *, last: bool = False) -> Network:
    """Make the masks of a network complementary.

    Parameters
    ----------
    network : Network
    set_size : int, optional
        N of every layer; by default round(1 / density) of each, at least 2, for layers that are not complementary yet,
        in sets of whatever size (dense ones are, in sets of one kernel).
    last : bool
        Whether to touch the last layer too.

    Returns
    -------
    Network
        Layers that nothing is dropped from for being complementary already are the same objects.

    Raises
    ------
    TypeError, ValueError
        If ``set_size`` is no positive integer.
    """
    if set_size is not None:
        check_count("set_size", set_size)
    layers = list(network.layers)
    for number, layer in enumerate(layers if last else layers[:-1]):
        present = layer.weights != 0
        found = pack(present, depth_limit=max(512, layer.kernels))
        if found.complementary and (set_size is None or found.sets <= -(-layer.kernels // set_size)):
            continue
        left, dropped = drop_conflicts(layer, set_size or max(2, round(present.size / found.nonzero)))
        if dropped:
            layers[number] = left
    return replace(network, layers=tuple(layers))


def _magnitude(layer: Layer) -> np.ndarray:
    """How much each weight moves the output, up to a factor for the layer: int64 (M, L)."""
    magnitude = np.abs(layer.weights)
    first = layer.stages[0] if layer.stages else None
    if isinstance(first, Scale) and first.multiplier is not None:
        magnitude = magnitude * np.abs(first.multiplier)[:, np.newaxis]
    return magnitude
