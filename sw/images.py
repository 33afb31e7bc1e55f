"""Memory contents of a packed layer."""

from functools import lru_cache

import numpy as np

from ..hw.adders import AdderGraph
from ..hw.arch import (
    EngineArch,
    EngineImages,
    LayerArch,
    LayerImages,
    StageImages,
    UnrolledArch,
    UnrolledImages,
    bits_for,
)
from .network import Layer, Stage, Thresholds
from .order import assign_kids, drain_order, select_images
from .packer import Packing
from .positions import engine_order
from .unroll import adder_graph

__all__ = ["lane_rows", "layer_images", "layer_order", "unrolled_graph"]


def lane_rows(rows: np.ndarray, lanes: int) -> int:
    """Most AWT rows that a lane stores when ``rows`` (F, L) differ from position to position."""
    return max(1, max(int(rows[:, lane::lanes].sum()) for lane in range(lanes)))


@lru_cache(maxsize=4)
def _graph(weights: bytes, shape: tuple[int, int], input_range: tuple[int, int]) -> AdderGraph:
    return adder_graph(np.frombuffer(weights, np.int64).reshape(shape), input_range=input_range)


def unrolled_graph(layer: Layer) -> AdderGraph:
    """The adders of a layer of windows of one channel, whose taps are in the engine's order as they are."""
    weights = np.ascontiguousarray(layer.weights, np.int64)
    return _graph(weights.tobytes(), weights.shape, layer.input_range)


def layer_order(packing: Packing | None, arch: EngineArch | UnrolledArch) -> np.ndarray:
    """Kernel at every port of every beat of a vector of sums, int64 (beats, R), -1 where there is none."""
    if isinstance(arch, UnrolledArch):
        order = np.arange(arch.beats * arch.drain_width)
        return np.where(order < arch.kernels, order, -1).reshape(arch.beats, arch.drain_width)
    if packing is None:
        raise ValueError("packing must be given for a folded engine")
    return drain_order(assign_kids(packing, arch), arch)


def layer_images(layer: Layer, packing: Packing | None, mask: np.ndarray, arch: LayerArch) -> LayerImages:
    """Contents of every memory of one layer.

    Parameters
    ----------
    layer : Layer
    packing : Packing or None
        None of an unrolled layer.
    mask : bool (M, L)
        Positions that have a slot: what was packed.
    arch : LayerArch
    """
    engine = arch.engine
    order = layer_order(packing, engine)
    biases = _columns(np.append(layer.bias, 0)[order])        # index -1: no kernel, no bias
    if isinstance(engine, UnrolledArch) or packing is None:
        contents = UnrolledImages(graph=unrolled_graph(layer), biases=biases)
    else:
        positions = engine_order(engine.positions, elements=arch.elements, window=arch.window)
        weights, rows = _weight_rows(layer.weights[:, positions], mask[:, positions], packing.rows[:, positions],
                                     assign_kids(packing, engine), engine)
        contents = EngineImages(weights=weights, rows=rows, biases=biases)
    stages = tuple(_stage_images(stage, order, value) for stage, value in zip(
        layer.stages, arch.stage_formats, strict=True))
    return LayerImages(engine=contents, stages=stages, select=select_images(order, layer.kernels))


def _stage_images(stage: Stage, order: np.ndarray, value: tuple[int, bool]) -> StageImages:
    """Parameters of a stage in drain order (beats, ports); padding takes those of the last kernel, since it must take
    some that fit."""
    if isinstance(stage, Thresholds):
        bits, is_signed = value
        low = -(1 << bits - 1) if is_signed else 0
        # Beyond what can arrive one threshold is like another: reached always, or never.
        held = stage.values.clip(low, low + (1 << bits))[order]
        return StageImages(thresholds=tuple(tuple(map(tuple, port)) for port in held.transpose(1, 0, 2).tolist()))
    multipliers = () if stage.multiplier is None else _columns(stage.multiplier[order])
    offsets = _columns(stage.offset[order]) if isinstance(stage.offset, np.ndarray) else ()
    return StageImages(multipliers=multipliers, offsets=offsets)


def _columns(array: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(column) for column in array.T.tolist())


def _weight_rows(weights: np.ndarray, mask: np.ndarray, counts: np.ndarray, table: np.ndarray, arch: EngineArch):
    """AWT rows of every lane and, where rows per position differ, the table that finds them.

    Weights and mask (M, L) and numbers of rows (F, L) are in the engine's order.
    """
    weight_mask = (1 << arch.weight_bits) - 1
    memories = [[0] * arch.lane_rows for _ in range(arch.lanes)]
    tables = [[0] * (arch.folds * arch.lane_positions) for _ in range(arch.lanes)]
    free = [0] * arch.lanes
    kid_of = np.zeros(len(weights), np.int64)
    for fold in range(arch.folds):
        rows = counts[fold].tolist()
        start = []
        for position in range(arch.positions):
            lane, address = position % arch.lanes, position // arch.lanes
            index = fold * arch.lane_positions + address
            if arch.row_table:
                # Behind the last row there is no row number: a position without rows points to row 0.
                start.append(free[lane] if rows[position] else 0)
                free[lane] += rows[position]
                tables[lane][index] = start[position] | rows[position] << bits_for(arch.lane_rows)
            else:
                start.append(index)
        for bank in range(arch.banks):
            kids = table[fold, bank]
            used = kids >= 0
            kid_of[kids[used]] = np.nonzero(used)[0]
            members = np.sort(kids[used])
            local, positions = np.nonzero(mask[members])
            by_position = np.lexsort((local, positions))
            previous, row = -1, 0
            low = bank * arch.slot_bits
            kernels = members[local[by_position]].tolist()
            for kernel, position in zip(kernels, positions[by_position].tolist(), strict=True):
                row = row + 1 if position == previous else 0
                previous = position
                slot = int(weights[kernel, position]) & weight_mask | int(kid_of[kernel]) << arch.weight_bits
                memories[position % arch.lanes][start[position] + row] |= slot << low
    contents = tuple(map(tuple, memories))
    return contents, tuple(map(tuple, tables)) if arch.row_table else None
