"""Passes that bring a chain of a float model into the form that is quantised: linear, ReLU, MaxPool, k-WTA.

Each is a pure function from chain to chain. In order:

=================  ============================================================================================
`drop_grids`       forgets integer weights of a file that quantises nothing it computes
`order_steps`      folds affine steps into the layer before, sorts what is behind it into [Clip] [MaxPool] [Winners]
`fold_forward`     folds what is left of them into the layer after
`merge_averages`   (``sw.intake.merge``) multiplies averages into the layer beside them
`to_layers`        groups the steps into layers
=================  ============================================================================================
"""

import math
from dataclasses import replace

import numpy as np

from ...hw.errors import ModelError
from ..model import Affine, Clip, FloatLayer, MaxPool, Step, Winners
from .chain import Chain, Item, by_channel, check_finite, compose, refuse, segments, uniform

__all__ = ["drop_grids", "fold_forward", "fold_into", "order_steps", "split_input", "to_layers"]

_ANCHOR = "must follow a Gemm, MatMul or Conv"
_BESIDE = ("must stand beside a Gemm, MatMul or Conv, where it can be folded; the nearest supported form puts it "
           "between that and Relu")


def drop_grids(chain: Chain) -> Chain:
    """Forget integer weights: without quantisers on what is computed, calibration chooses all scales."""
    return replace(chain, items=tuple(
        replace(item, codes=None, scale=None) if isinstance(item, FloatLayer) else item for item in chain.items))


def order_steps(chain: Chain) -> Chain:
    """Sort the steps behind every layer into [Clip] [MaxPool] [Winners] [Affine], without changing what they compute.

    ``s * (W x + b) + o = (s W) x + (s b + o)``, so an affine step folds into the layer before it, past a MaxPool where
    s is not negative. MaxPool commutes with Clip, which rises. ReLU commutes with k-WTA: the K largest of the positive
    values are the positive ones among the K largest of all.
    """
    before, pairs = segments(chain.items)
    items: list[Item] = list(before)
    for layer, steps in pairs:
        clip = pool = winners = after = None
        for step in steps:
            match step:
                case Affine():
                    if pool is not None and clip is None and winners is None and step.scale.min() < 0:
                        raise refuse(step, f"has a negative scale behind the MaxPool {pool.name!r}; the nearest "
                                           "supported form puts it (BatchNormalization) before MaxPool")
                    if clip is None and winners is None:
                        layer = _fold_back(layer, step)
                    else:
                        after = step if after is None else compose(after, step)
                case Clip():
                    clip = _join_clips(clip, step, after, winners)
                case MaxPool():
                    if winners is not None:
                        raise refuse(step, "must stand before k-WTA")
                    if pool is not None:
                        raise refuse(step, "must follow a layer once; the nearest supported form is one MaxPool with a "
                                           "larger kernel")
                    if after is not None:
                        scale = by_channel(after.slope, layer.kernels)
                        offset = by_channel(after.offset, layer.kernels)
                        if scale is None or offset is None or scale.min() < 0:
                            raise refuse(after, _BESIDE)
                        size = step.window.output_size[0] * step.window.output_size[1]
                        after = replace(after, scale=np.repeat(scale, size), offset=np.repeat(offset, size),
                                        divisor=np.ones(1))
                    pool = step
                case Winners():
                    if winners is not None or after is not None:
                        raise refuse(step, f"{_ANCHOR} and its Relu, once")
                    winners = step
        if clip is not None and clip.low != 0:
            raise refuse(clip, f"must clip from 0 on, not from {clip.low!r}; the nearest supported form is Relu, or a "
                               "Clip with min 0")
        if winners is not None and clip is None:
            raise refuse(winners, "must have a Relu before it: k-WTA ranks codes that are not negative")
        items += [layer, *(step for step in (clip, pool, winners, after) if step is not None)]
    return replace(chain, items=tuple(items))


def _join_clips(clip: Clip | None, step: Clip, after: Affine | None, winners: Winners | None) -> Clip:
    """One clip that does both; behind k-WTA only a ReLU."""
    if after is not None:
        raise refuse(after, _BESIDE)
    if winners is not None and (step.low, step.high) != (0, math.inf):
        raise refuse(step, "must stand before k-WTA")
    if clip is None:
        return step
    low, high = (min(max(bound, step.low), step.high) for bound in (clip.low, clip.high))
    return replace(clip, low=low, high=high)


def _fold_back(layer: FloatLayer, step: Affine) -> FloatLayer:
    """Fold an affine step into the layer before it."""
    scale, offset = by_channel(step.slope, layer.kernels), by_channel(step.offset, layer.kernels)
    if scale is None or offset is None:
        raise refuse(step, f"must have one number a kernel of {layer.name!r}, not one that varies over the pixels")
    with np.errstate(over="ignore", invalid="ignore"):
        weights, bias = scale[:, np.newaxis] * layer.weights, scale * layer.bias + offset
    check_finite(step.name, step.op, scale=weights, offset=bias)
    return replace(layer, weights=weights, bias=bias)


def fold_forward(chain: Chain) -> Chain:
    """Fold affine steps into the layer after them: ``W (s x + o) + b = (W s) x + (W o + b)``.

    One before the first layer stays where it has one positive scale and one offset for all elements: then the host
    computes it, or the input's scale does.
    """
    items: list[Item] = []
    for item in chain.items:
        last = items[-1] if items else None
        match last, item:
            case Affine(), Affine():
                items[-1] = compose(last, item)
            case Affine(), FloatLayer() if len(items) > 1 or not _plain(last):
                items[-1] = fold_into(item, last)
            case _:
                items.append(item)
    return replace(chain, items=tuple(items))


def _plain(step: Affine) -> bool:
    return uniform(step.slope) and uniform(step.offset) and step.slope[0] > 0


def fold_into(layer: FloatLayer, step: Affine) -> FloatLayer:
    """Fold an affine step into the layer after it; its integer weights stay where the scale is one and positive."""
    scale, offset = step.slope, step.offset
    if layer.window is not None:
        channels, area = layer.window.channels, layer.positions // layer.window.channels
        scales, offsets = by_channel(scale, channels), by_channel(offset, channels)
        if scales is None or offsets is None:
            raise refuse(step, f"must have one number a channel before {layer.name!r}, not one that varies over the "
                               "pixels")
        if any(layer.window.pads) and offsets.any():
            raise refuse(step, f"must not add anything before {layer.name!r}, whose padding is zero behind it; the "
                               "nearest supported form has no pads there, or a Conv without it")
        scale, offset = np.repeat(scales, area), np.repeat(offsets, area)
    with np.errstate(over="ignore", invalid="ignore"):
        weights, bias = layer.weights * scale, layer.weights @ offset + layer.bias
    grid = None
    if layer.scale is not None:
        if not (uniform(scale) and scale[0] > 0):
            raise refuse(step, f"must have one positive scale before the quantised weights of {layer.name!r}; the "
                               "nearest supported form puts a quantiser behind it")
        with np.errstate(over="ignore"):
            grid = layer.scale * scale[0]
        check_finite(step.name, step.op, scale=grid)
    check_finite(step.name, step.op, scale=weights, offset=bias)
    return replace(layer, weights=weights, bias=bias, scale=grid)


def split_input(chain: Chain) -> tuple[float, float, Chain]:
    """Take gain and offset of the input off the chain: one affine step for all elements, where it begins with one."""
    if not chain.items or not isinstance(chain.items[0], Affine):
        return 1.0, 0.0, chain
    step = chain.items[0]
    if not _plain(step):
        raise refuse(step, "must have one positive scale and one offset before the input is quantised; the nearest "
                           "supported form normalises by channel in the data")
    return float(step.slope[0]), float(step.offset[0]), replace(chain, items=chain.items[1:])


def to_layers(chain: Chain, *, quantised: bool) -> tuple[FloatLayer, ...]:
    """Group the steps into layers.

    Parameters
    ----------
    chain : Chain
        Without the input's own steps.
    quantised : bool
        Whether the file states integers, and steps keep the order it has.

    Raises
    ------
    ModelError
        If a step stands where no layer has a place for it.
    """
    before, pairs = segments(chain.items)
    for step in before:
        raise refuse(step, _BESIDE if isinstance(step, Affine) else _ANCHOR)
    if not pairs:
        raise ModelError("has no Gemm, MatMul or Conv, so there is nothing to build")
    layers: list[FloatLayer] = []
    for layer, steps in pairs:
        if layers and not layers[-1].steps and not quantised:
            raise refuse(layer, f"follows the linear layer {layers[-1].name!r} with no Relu in between; the nearest "
                                "supported form is one layer with the product of both weights")
        found: list[Step] = []
        for step in steps:
            if isinstance(step, Affine):
                scale, offset = by_channel(step.scale, layer.kernels), by_channel(step.offset, layer.kernels)
                if not quantised:
                    raise refuse(step, _BESIDE)
                divisor = by_channel(step.divisor, layer.kernels)
                if scale is None or offset is None or divisor is None:
                    raise refuse(step, f"must have one number a kernel of {layer.name!r}, not one that varies over the "
                                       "pixels")
                step = replace(step, scale=scale, offset=offset, divisor=divisor)
            found.append(step)
        layers.append(replace(layer, steps=tuple(found)))
    return tuple(layers)
