"""Architecture records of one layer's smaller units, as wide as what goes through them."""

from dataclasses import replace

import numpy as np

from ..hw.arch import (
    EngineArch,
    LayerArch,
    MemoryKind,
    Mode,
    PoolArch,
    ScaleArch,
    SelectArch,
    SelectKind,
    ThresholdArch,
    UnrolledArch,
    WindowArch,
)
from .network import Layer, Stage, Thresholds, range_bits
from .window import Window

__all__ = ["layer_arch", "rises"]


def rises(stage: Stage) -> bool:
    """Whether a stage's code never falls where what it takes rises."""
    return isinstance(stage, Thresholds) or stage.multiplier is None or int(stage.multiplier.min()) >= 0


def layer_arch(
    layer: Layer, *, mode: Mode, window: WindowArch | None, joined: int, engine: EngineArch | UnrolledArch,
    kind: SelectKind, lanes: int, indexed: bool, bins: int = 1, turns: int = 1, buffers: int = 2,
    tables: MemoryKind = MemoryKind.AUTO,
) -> LayerArch:
    """A layer around its engine.

    Parameters
    ----------
    layer : Layer
    mode : Mode
    window : WindowArch or None
    joined : int
    engine : EngineArch or UnrolledArch
    kind : SelectKind
    lanes : int
        Elements a beat that the next layer takes.
    indexed : bool
        The next layer takes pairs of what is selected; otherwise every element, losers as zeros.
    bins, turns, buffers : int
        Of the selection.
    tables : MemoryKind

    Raises
    ------
    ValueError
        If the parts do not fit together.
    """
    select = SelectArch(
        kernels=layer.kernels, width=engine.drain_width, beats=engine.beats, lanes=lanes,
        value_bits=layer.output_bits or engine.sum_bits, value_signed=layer.output_signed, kind=kind,
        winners=layer.winners or 0, losers=layer.winners is not None and not indexed, bins=bins, turns=turns,
        buffers=buffers)
    arch = LayerArch(
        name=layer.name, mode=mode, window=window, joined=joined, engine=engine, stages=_stages(layer),
        pool=None if layer.pool is None else _pool(layer.pool, engine, select), select=select,
        tables=tables)
    return replace(arch, select=replace(select, early=min(select.most_early, arch.way + 1)))


def _pool(window: Window, engine: EngineArch | UnrolledArch, select: SelectArch) -> PoolArch:
    """Hardware of max-pooling, with no more padding at the far ends than the last windows reach."""
    (top, left, _, _), counts = window.pads, window.output_size
    bottom, right = (
        max(0, (count - 1) * stride + kernel - before - size) for count, stride, kernel, before, size in zip(
            counts, window.strides, window.kernel, (top, left), (window.height, window.width), strict=True))
    beats, ports, bits, is_signed = select.beats, select.width, select.value_bits, select.value_signed
    if isinstance(engine, UnrolledArch) and engine.pooled:
        beats, ports, bits, is_signed = 1, engine.kernels, engine.value_bits, True
    return PoolArch(
        height=window.height, width=window.width, kernel=window.kernel, strides=window.strides,
        pads=(top, left, bottom, right), beats=beats, ports=ports, value_bits=bits, value_signed=is_signed)


def _stages(layer: Layer) -> tuple[ScaleArch | ThresholdArch, ...]:
    """Hardware of a layer's requantisation, as wide as its parameters."""
    stages: list[ScaleArch | ThresholdArch] = []
    for stage in layer.stages:
        if isinstance(stage, Thresholds):
            stages.append(ThresholdArch(count=stage.values.shape[1], low=stage.low, step=stage.step))
            continue
        bits, is_signed, offset_bits, offset = 0, False, 0, stage.offset
        if stage.multiplier is not None:
            bits, is_signed = range_bits(int(stage.multiplier.min()), int(stage.multiplier.max()))
        if isinstance(offset, np.ndarray):
            # One more than a range of numbers that are not negative takes: offsets have a sign.
            offset_bits, offset = range_bits(min(-1, int(offset.min())), int(offset.max()))[0], 0
        stages.append(ScaleArch(
            multiplier_bits=bits, multiplier_signed=is_signed, offset_bits=offset_bits, offset=offset,
            shift=stage.shift, low=stage.low, high=stage.high, ties_to_even=stage.ties_to_even))
    return tuple(stages)
