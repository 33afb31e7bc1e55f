"""Passes on a chain whose file states integers: steps keep their order, and only what changes nothing is dropped.

Each is a pure function from chain to chain. In order:

==================  ===========================================================================================
`add_biases`        puts what is added right behind a layer into its bias
`drop_repeats`      drops quantisers and clips that change no code, and joins those on one grid
`fold_scales`       folds an affine step before a layer into the scale of its weights
`check_grids`       refuses k-WTA and weights that no integer arithmetic stands for
==================  ===========================================================================================
"""

import math
from dataclasses import replace

from ..model import Affine, Clip, FloatLayer, MaxPool, Quantiser, Rounding, Winners
from .chain import Chain, Item, by_channel, check_finite, compose, refuse
from .fold import fold_into

__all__ = ["add_biases", "check_grids", "drop_repeats", "fold_scales"]


def add_biases(chain: Chain) -> Chain:
    """Put what is added right behind a layer into its bias, and drop affine steps that change nothing."""
    items: list[Item] = []
    for item in chain.items:
        last = items[-1] if items else None
        if isinstance(item, Affine) and (item.scale == item.divisor).all():
            if not item.offset.any():
                continue
            if isinstance(last, FloatLayer):
                offset = by_channel(item.offset, last.kernels)
                if offset is not None:
                    bias = last.bias + offset
                    check_finite(item.name, item.op, offset=bias)
                    items[-1] = replace(last, bias=bias)
                    continue
        items.append(item)
    return replace(chain, items=tuple(items))


def drop_repeats(chain: Chain) -> Chain:
    """Drop quantisers and clips that change no code.

    A quantiser with the scale of the one before finds its values on the grid already, also behind MaxPool and k-WTA:
    where its range holds theirs, it changes nothing, and otherwise it narrows the range of the one before. The same
    for a ReLU behind a quantiser. A ReLU before a quantiser leaves it no negative code.
    """
    items: list[Item] = []
    place = -1          # of the quantiser whose grid the value is on
    chosen = False      # whether k-WTA stands behind it
    positive = False    # whether the value is known not to be negative
    for item in chain.items:
        grid = items[place] if place >= 0 else None
        match item:
            case FloatLayer() | Affine():
                place, chosen, positive = -1, False, False
            case Winners():
                chosen = True
            case Quantiser():
                if isinstance(grid, Quantiser) and grid.scale == item.scale and _repeats(grid, item, chosen=chosen):
                    items[place] = _narrowed(grid, item.low, item.high)
                    continue
                if chosen:
                    raise refuse(item, "must not quantise anew behind k-WTA, which ranks codes; the nearest supported "
                                       "form has that quantiser before k-WTA")
                if positive and item.low < 0 < item.high and item.rounding is not Rounding.SIGN:
                    item = _narrowed(item, 0, item.high)
                place, positive = len(items), item.low >= 0
            case Clip():
                if isinstance(grid, Quantiser):
                    low, high = _limits(grid)
                    if item.low <= low * grid.scale and high * grid.scale <= item.high:
                        continue
                    if (item.low, item.high) == (0, math.inf) and not chosen and grid.rounding is not Rounding.SIGN:
                        items[place], positive = _narrowed(grid, 0, high), True
                        continue
                place, positive = -1, item.low >= 0
        items.append(item)
    return replace(chain, items=tuple(items))


def _limits(grid: Quantiser) -> tuple[int, int]:
    """Least and greatest code, with the zero that k-WTA or padding may put there."""
    return min(grid.low, 0), max(grid.high, 0)


def _repeats(grid: Quantiser, item: Quantiser, *, chosen: bool) -> bool:
    """Whether a quantiser on the grid of another only narrows its range, which then may be done by that other."""
    if Rounding.SIGN in (grid.rounding, item.rounding):
        return grid.rounding is item.rounding
    low, high = _limits(grid)
    holds = item.low <= low and high <= item.high
    return holds or not chosen and max(grid.low, item.low) < min(grid.high, item.high)


def _narrowed(grid: Quantiser, low: int, high: int) -> Quantiser:
    return replace(grid, low=max(grid.low, low), high=max(grid.low, low, min(grid.high, high)))


def fold_scales(chain: Chain) -> Chain:
    """Fold affine steps between a quantiser and a layer into the layer."""
    items: list[Item] = []
    for item in chain.items:
        if isinstance(item, FloatLayer):
            steps: list[Affine] = []
            while items and isinstance(items[-1], Affine) and any(isinstance(i, Quantiser) for i in items):
                step = items.pop()
                if isinstance(step, Affine):
                    steps.insert(0, step)
            if steps:
                whole = steps[0]
                for step in steps[1:]:
                    whole = compose(whole, step)
                item = fold_into(item, whole)
        items.append(item)
    items = _join_first(items)
    return replace(chain, items=tuple(items))


def _join_first(items: list[Item]) -> list[Item]:
    """Make one affine step of those that the chain begins with."""
    while len(items) > 1 and isinstance(items[0], Affine) and isinstance(items[1], Affine):
        items = [compose(items[0], items[1]), *items[2:]]
    return items


def check_grids(chain: Chain) -> Chain:
    """Refuse what would need other arithmetic than that on codes."""
    layers = [item for item in chain.items if isinstance(item, FloatLayer)]
    if layers and all(layer.codes is None for layer in layers):
        raise refuse(layers[0], "must have quantised weights, since what is computed is quantised; the nearest "
                                "supported form has a quantiser on its weights, or none anywhere")
    low = -math.inf
    for number, item in enumerate(chain.items):
        match item:
            case FloatLayer() | Affine():
                low = -math.inf
            case Clip():
                low = min(max(low, item.low), item.high)
            case Quantiser():
                low = max(low, item.low) if low >= 0 else item.low
            case Winners() if low < 0:
                raise refuse(item, "must have a Relu or an unsigned quantiser before it: k-WTA ranks codes that are "
                                   "not negative")
            case MaxPool() if any(isinstance(step, Winners) for step in _since_layer(chain.items[:number])):
                raise refuse(item, "must stand before k-WTA")
    return chain


def _since_layer(items: tuple[Item, ...]) -> tuple[Item, ...]:
    for place in reversed(range(len(items))):
        if isinstance(items[place], FloatLayer):
            return items[place:]
    return items


