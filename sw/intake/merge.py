"""Products of two linear layers with nothing in between."""

from dataclasses import replace

import numpy as np

from ..model import FloatLayer
from ..window import Window
from .chain import Chain, Item, check_finite
from .linear import AVERAGES, MAX_EXPANDED

__all__ = ["merge_averages"]


def merge_averages(chain: Chain) -> Chain:
    """Multiply an average (AveragePool, GlobalAveragePool, ReduceMean) into the linear layer right before or after it.

    Only in float models; where the product would be too large or its borders would differ, both layers stay.
    """
    items: list[Item] = []
    for item in chain.items:
        last = items[-1] if items else None
        if (isinstance(item, FloatLayer) and isinstance(last, FloatLayer)
                and not AVERAGES.isdisjoint({item.op, last.op})):
            product = _product(last, item)
            if product is not None:
                items[-1] = product
                continue
        items.append(item)
    return replace(chain, items=tuple(items))


def _whole(layer: FloatLayer, channels: int, height: int, width: int) -> Window:
    """Window of a layer; for one that is none, the whole image."""
    return layer.window or Window(channels=channels, height=height, width=width, kernel=(height, width))


def _product(first: FloatLayer, second: FloatLayer) -> FloatLayer | None:
    """The layer that does both: ``W2 (W1 x + b1) + b2``, with windows of windows; None where there is none.

    A window of ``k2`` windows of ``k1`` pixels, ``s1`` apart, sees ``k1 + (k2 - 1) * s1`` pixels. Zeros around what the
    first layer makes are windows on zeros only where its windows lie side by side and it has no bias.
    """
    if first.window is None and second.window is not None:
        return None
    inner = _whole(first, first.inputs, 1, 1)
    outer = _whole(second, first.kernels, *inner.output_size)
    seam = inner.pads
    if any(outer.pads):
        side_by_side = (inner.kernel == inner.strides and not any(inner.pads)
                        and inner.height % inner.kernel[0] == 0 and inner.width % inner.kernel[1] == 0)
        if not side_by_side or first.bias.any():
            return None
        seam = tuple(pad * inner.strides[axis % 2] for axis, pad in enumerate(outer.pads))
    (rows, columns), (down, across) = inner.kernel, inner.strides
    size = (rows + (outer.kernel[0] - 1) * down, columns + (outer.kernel[1] - 1) * across)
    if second.kernels * inner.channels * size[0] * size[1] > MAX_EXPANDED:
        return None
    weights = np.zeros((second.kernels, inner.channels, *size))
    left = second.weights.reshape(second.kernels, first.kernels, *outer.kernel)
    right = first.weights.reshape(first.kernels, -1)
    with np.errstate(over="ignore", invalid="ignore"):
        for y in range(outer.kernel[0]):
            for x in range(outer.kernel[1]):
                part = (left[:, :, y, x] @ right).reshape(second.kernels, inner.channels, rows, columns)
                weights[:, :, y * down:y * down + rows, x * across:x * across + columns] += part
        bias = left.sum(axis=(2, 3)) @ first.bias + second.bias
    check_finite(second.name, second.op, weights=weights, bias=bias)
    strides = (down * outer.strides[0], across * outer.strides[1])
    kept = first if second.op in AVERAGES else second
    window = None
    if first.window is not None and second.window is not None:
        window = Window(channels=inner.channels, height=inner.height, width=inner.width, kernel=size, strides=strides,
                        pads=(seam[0], seam[1], seam[2], seam[3]))
    elif first.window is not None:
        weights = _unpad(weights, inner)
    return FloatLayer(name=kept.name, op=kept.op, weights=weights.reshape(second.kernels, -1), bias=bias,
                      window=window)


def _unpad(weights: np.ndarray, inner: Window) -> np.ndarray:
    """Weights (M, C, rows, columns) of one window on the padded image, as (M, C, height, width) of the image."""
    top, left, bottom, right = inner.pads
    whole = np.zeros((*weights.shape[:2], inner.height + top + bottom, inner.width + left + right))
    whole[:, :, :weights.shape[2], :weights.shape[3]] = weights
    return whole[:, :, top:top + inner.height, left:left + inner.width]
