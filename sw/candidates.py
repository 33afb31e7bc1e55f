"""Every sensible way to build one layer: engine, packing, k-WTA, and the cycles that each is estimated to take."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from ..hw.adders import AdderGraph
from ..hw.arch import (
    STAGE_LATENCY,
    AccumulatorKind,
    EngineArch,
    EngineKind,
    LayerArch,
    MemoryKind,
    Mode,
    SelectKind,
    UnrolledArch,
    WindowArch,
    ceil_div,
)
from ..hw.errors import DovetailError
from .assemble import layer_arch, rises
from .images import lane_rows, unrolled_graph
from .network import Layer, range_bits
from .packer import Packing, pack, pack_sets
from .positions import engine_order
from .resources import Resources, layer_resources
from .settings import Device, LayerSettings, Settings

__all__ = ["Candidate", "LayerTask"]

#: Most accumulators a bank keeps in LUT RAM: two halves of 16, in two columns of 16 words. Deeper files cost more than
#: block RAM.
LUT_RAM_KIDS = 16
#: The same where LUT RAM is made of flip-flops.
REGISTER_KIDS = 8
#: Longest vector whose tables may be flip-flops there.
REGISTER_KERNELS = 256
#: Longest vector whose k-WTA keeps it in registers, and longest pixel of an image.
LOCAL_KERNELS = 32
LOCAL_CHANNELS = 64
#: Places for sets, in all folds and banks together, over sets: at most.
MOST_IDLE = 1.06
#: Cycles that a vector stays in the store beside arriving, being scanned and leaving.
STORE_LATENCY = 12
#: Most histogram bins that are scanned in one cycle: every bin is an adder and a comparator.
MOST_BINS = 16
#: Most local finders that take turns.
MOST_TURNS = 8
#: Most vectors that the serialiser behind an unrolled engine holds.
MOST_VECTORS = 6
_POWERS = tuple(2**exponent for exponent in range(9))
_BUFFERS = (2, 4, 8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One way to build a layer.

    Members
    -------
    arch : LayerArch
        As it will be, but for the number of elements a beat that the next layer takes.
    packing : Packing or None
        None of an unrolled layer.
    graph : AdderGraph or None
        Of an unrolled layer.
    cycles : float
        Per inference, estimated.
    most_soft : int
        Multipliers that can be made of look-up tables instead.
    loadable : bool
        Memories can be written at run time.
    """

    arch: LayerArch
    packing: Packing | None
    graph: AdderGraph | None
    cycles: float
    most_soft: int = 0
    loadable: bool = False

    def with_soft(self, soft: int) -> "Candidate":
        """The same with so many multipliers made of look-up tables."""
        if not soft or not isinstance(self.arch.engine, EngineArch):
            return self
        return replace(self, arch=replace(self.arch, engine=replace(self.arch.engine, soft=soft)), most_soft=0)

    def resources(self, device: Device) -> Resources:
        """What it is estimated to take of a device."""
        return sum(layer_resources(self.arch, device, graph=self.graph, loadable=self.loadable).values(),
                   Resources())


class _Selection(NamedTuple):
    """How a layer's results are selected, and the cycles from one vector of them to the next that it can keep up with.
    """

    kind: SelectKind
    period: float
    bins: int = 1
    turns: int = 1
    buffers: int = 2

    def beats(self, other: "_Selection", enough: float) -> bool:
        """Whether it is no larger, and as fast as the other one or fast enough."""
        return (self.kind is other.kind and self.period <= max(other.period, enough) and self.bins <= other.bins
                and self.turns <= other.turns and self.buffers <= other.buffers)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerTask:
    """A layer that is to be built.

    Members
    -------
    layer : Layer
    fixed : LayerSettings
    settings : Settings
    mode : Mode
    mask : bool (M, L)
        Positions that have a slot.
    joined, elements : int
        Pixels that make one vector, and elements of such a pixel; of a convolution 1, and the channels.
    selected : int
        Pairs of them at most.
    active : float (L,)
        Probability that a position arrives.
    first : bool
    consumer : Mode or None
        Of the next layer; None of the last.
    """

    layer: Layer
    fixed: LayerSettings
    settings: Settings
    mode: Mode
    mask: np.ndarray
    joined: int
    elements: int
    selected: int
    active: np.ndarray
    first: bool
    consumer: Mode | None

    def candidates(self) -> list[Candidate]:
        """Every way that is worth a thought: wider drains and faster k-WTAs only where they are not fast enough.

        Raises
        ------
        DovetailError
            If the settings leave none.
        ValueError
            From the records and the packer: a size in the settings that does not fit.
        """
        found: list[Candidate] = []
        kind = self.fixed.engine
        if self.fixed.vectors is not None:
            if kind is EngineKind.FOLDED:
                raise DovetailError(f"settings: layer {self.layer.name!r} is folded and has no vectors")
            kind = EngineKind.UNROLLED      # no other engine has any
        if kind is EngineKind.UNROLLED or kind is None and self._not_unrolled() is None:
            if (reason := self._not_unrolled()) is not None:
                raise DovetailError(f"settings: layer {self.layer.name!r} cannot be unrolled: {reason}")
            found += self._unrolled()
        if kind is not EngineKind.UNROLLED:
            for packing in self._packings():
                for lanes in self._lanes():
                    found += self._folded(packing, lanes)
        if not found:
            raise DovetailError(
                f"settings: no engine fits layer {self.layer.name!r}: see its lanes, banks, columns, drain_width and "
                "soft")
        return found

    def window(self, lanes: int) -> WindowArch | None:
        """The unit in front of the engine."""
        window = self.layer.window
        if window is None:
            return None
        indexed = self.mode is Mode.SPARSE_SPARSE
        return WindowArch(
            channels=window.channels, height=window.height, width=window.width, kernel=window.kernel,
            strides=window.strides, pads=window.pads, lanes=lanes, slots=self.selected if indexed else window.channels,
            input_lanes=self.settings.input_width or 1 if self.first else 1, activation_bits=self.layer.input_bits,
            activation_signed=self.layer.input_signed, indexed=indexed)

    def _behind(self, cycles: float, period: float) -> float:
        """Cycles per inference of an engine that takes ``cycles`` where what is behind takes ``period`` for a vector.

        Pooled vectors come in bursts: all of them with the last one of the rows that a pooled row is made of.
        """
        quiet = 0 if self.layer.pool is None else cycles * (1 - 1 / self.layer.pool.strides[0])
        return max(cycles, quiet + self._pixels * period)

    def _period(self, cycles: float) -> float:
        """Cycles from one vector to the next, behind an engine that takes ``cycles`` per inference: the inverse."""
        rows = 1 if self.layer.pool is None else self.layer.pool.strides[0]
        return cycles / rows / self._pixels

    def _candidates(
        self, engine: EngineArch | UnrolledArch, packing: Packing | None, graph: AdderGraph | None, cycles: float,
    ) -> Iterator[Candidate]:
        """An engine that takes ``cycles``, with every selection that another one no larger is not as fast as."""
        kept: list[_Selection] = []
        enough = self._period(max(cycles, self.settings.target_cycles or 0))
        for selection in self._selections(engine):
            if not any(other.beats(selection, enough) for other in kept):
                kept.append(selection)
        for selection, tables in product(kept, self._tables()):
            arch = layer_arch(
                self.layer, mode=self.mode, window=self.window(engine.lanes), joined=self.joined, engine=engine,
                kind=selection.kind, lanes=engine.drain_width, indexed=self.consumer is Mode.SPARSE_SPARSE,
                bins=selection.bins, turns=selection.turns, buffers=selection.buffers, tables=tables)
            soft = engine.multipliers if isinstance(engine, EngineArch) and not engine.soft else 0
            yield Candidate(arch=arch, packing=packing, graph=graph, cycles=self._behind(cycles, selection.period),
                            most_soft=soft if self.fixed.soft is None else 0, loadable=bool(self.settings.loadable))

    # Folded engines

    def _folded(self, packing: Packing, lanes: int) -> Iterator[Candidate]:
        """Engines of so many lanes: of each kind of file from the narrowest drain to the first that keeps up."""
        for (kind, columns), memory in product(self._files(packing), self._memories()):
            for engine in self._engines(packing, lanes, kind, columns, memory):
                busy = self._busy(engine, packing)
                drain = self.layer.vectors * engine.folds * (1 + engine.groups * engine.group_period)
                yield from self._candidates(engine, packing, None, max(busy, drain))
                enough = max(busy, self.settings.target_cycles or 0)
                if drain <= enough and self._stored(engine, 0) <= self._period(enough):
                    break

    def _lanes(self) -> list[int]:
        """Numbers of lanes to try."""
        if self.fixed.lanes:
            if self.joined > 1 and self.elements % self.fixed.lanes:
                raise ValueError(f"lanes must divide the {self.elements} channels of a pixel, not {self.fixed.lanes}")
            return [self.fixed.lanes]
        if self.layer.window is not None:
            rows, columns = self.layer.window.kernel
            return sorted({1, columns, rows * columns})
        return [lanes for lanes in _POWERS[:7] if lanes <= self.layer.positions
                and (self.joined == 1 or self.elements % lanes == 0)]

    def _packings(self) -> Iterator[Packing]:
        """The layer packed for every sensible number of banks."""
        fixed = self.fixed
        for whole in self._wholes():
            if fixed.banks is not None:
                choices = [fixed.banks]
            elif whole.complementary:
                # Banks without a set in the last fold are multipliers that wait: hardly any may.
                choices = sorted({banks for folds in range(1, whole.sets + 1)
                                  if (banks := ceil_div(whole.sets, folds)) * folds <= MOST_IDLE * whole.sets})
            else:
                choices = [banks for banks in _POWERS[:6] if banks <= self.layer.kernels]
            for banks in choices:
                if whole.complementary:
                    yield _in_folds(whole, banks)
                else:
                    depth = fixed.set_size or min(512, ceil_div(self.layer.kernels, banks))
                    yield self._packed(banks, depth)

    def _wholes(self) -> list[Packing]:
        """The layer packed without a wish for banks: into the sets that it was made for, and as the packer finds."""
        if self.mode is Mode.DENSE:
            return [_dense_packing(self.layer)]
        # Sets that are known or found come first, so that a plan given back is the same plan.
        found = [] if self.layer.sets is None else [pack_sets(self.mask, self.layer.sets)]
        found.append(self._packed(None, None))
        wanted = self.fixed.set_size
        if wanted is None:
            return found
        fitting = [packing for packing in found if packing.complementary and packing.set_size == wanted]
        return fitting[:1] or [self._packed(None, wanted)]

    def _packed(self, banks: int | None, set_size: int | None) -> Packing:
        return _pack(self.mask.tobytes(), self.mask.shape, self.active.tobytes(), banks, set_size)

    def _files(self, packing: Packing) -> Iterator[tuple[AccumulatorKind, int]]:
        """Kinds of accumulator files, and their columns."""
        fixed, device = self.fixed, self.settings.device
        has_lut_ram = device is None or device.has_lut_ram
        if fixed.accumulator is not None:
            kinds = [fixed.accumulator]
        elif packing.set_size <= (LUT_RAM_KIDS if has_lut_ram else REGISTER_KIDS):
            kinds = [AccumulatorKind.LUT_RAM] if has_lut_ram else list(AccumulatorKind)
        else:
            kinds = [AccumulatorKind.BLOCK_RAM]
        for kind in kinds:
            if fixed.columns is not None:
                yield kind, fixed.columns
            elif kind is AccumulatorKind.LUT_RAM and packing.set_size > 1 and has_lut_ram:
                # Two columns cost nothing where each fills its words. Where one would hold all sums, it drains half as
                # fast and takes half as much.
                yield from ((kind, columns) for columns in ((1, 2) if 2 * packing.set_size <= LUT_RAM_KIDS else (2,)))
            else:       # a second column of block RAM costs memories and forwarding
                yield kind, 1

    def _memories(self) -> list[MemoryKind]:
        """Kinds of memory for the weights: synthesis does not know what else the device's memories are wanted for."""
        if self.fixed.weight_memory is not None:
            return [self.fixed.weight_memory]
        device, found = self.settings.device, [MemoryKind.AUTO]
        if device is not None and device.is_routed:
            found.append(MemoryKind.BLOCK_RAM)
        if device is Device.UP5K and self.settings.loadable:
            found.append(MemoryKind.SPRAM)
        return found

    def _tables(self) -> list[MemoryKind]:
        """Kinds of memory for what has a word per kernel: registers where that is little and would be block RAM."""
        if self.fixed.tables is not None:
            return [self.fixed.tables]
        device = self.settings.device
        short = device is not None and not device.has_lut_ram and self.layer.kernels <= REGISTER_KERNELS
        return [MemoryKind.AUTO, MemoryKind.REGISTERS] if short else [MemoryKind.AUTO]

    def _engines(
        self, packing: Packing, lanes: int, kind: AccumulatorKind, columns: int, memory: MemoryKind,
    ) -> Iterator[EngineArch]:
        """Engines from the narrowest drain to the widest."""
        layer, fixed, device = self.layer, self.fixed, self.settings.device
        widths = [fixed.drain_width] if fixed.drain_width else [
            width for width in _POWERS[:5] if width <= max(columns, packing.set_size)]
        window, table = self.window(lanes), not packing.complementary
        soft = 0 if device is None or device.has_multipliers else lanes * packing.banks
        # Biases are seldom as wide as sums, and narrow ones take fewer block RAMs.
        bias_bits = min(layer.sum_bits, range_bits(min(-1, int(layer.bias.min())), int(layer.bias.max()))[0])
        pairs = self.selected * (self.joined if window is None else window.groups)
        rows = packing.folds * ceil_div(layer.positions, lanes)
        if table:
            rows = lane_rows(packing.rows[:, engine_order(layer.positions, elements=self.elements, window=window)],
                             lanes)
        soft = soft if fixed.soft is None else fixed.soft
        if soft > lanes * packing.banks:
            return
        for width in widths:
            yield EngineArch(
                positions=layer.positions, lanes=lanes, banks=packing.banks, folds=packing.folds,
                set_size=packing.set_size, columns=columns, drain_width=width, weight_bits=layer.weight_bits,
                activation_bits=layer.input_bits, activation_signed=layer.input_signed, sum_bits=layer.sum_bits,
                indexed=self.mode is Mode.SPARSE_SPARSE, capacity=min(pairs, ceil_div(layer.positions, lanes)),
                lane_rows=rows, row_table=table, most_rows=max(1, int(packing.rows.max())), accumulator=kind,
                own_addresses=window is not None, soft=soft,
                bias_bits=bias_bits, weight_memory=memory)

    def _busy(self, engine: EngineArch, packing: Packing) -> float:
        """Cycles per inference that the multipliers need, or the arrival of what they multiply: exact where every
        position arrives, an average where winners fall as they may."""
        rows, sparse = np.maximum(packing.rows, 1), self.mode is Mode.SPARSE_SPARSE
        slots = float((rows @ self.active).sum()) / engine.lanes
        if sparse and engine.lanes > 1 and (self.layer.window is None or self.selected == self.elements):
            # A fold lasts as long as its busiest lane; all taps of a window have as many winners.
            slots += 0.8 * float(rows.mean()) * engine.folds * (float(self.active.sum()) / engine.lanes)**0.5
        busy, window = slots + engine.folds * engine.drain_slots, self.window(engine.lanes)
        if window is None:
            return max(busy, self.layer.positions / engine.lanes if self.first or not sparse else 0)
        return max(self.layer.vectors * busy, self._arrival(engine.lanes))

    def _arrival(self, lanes: int) -> int:
        """Cycles per inference in which pixels arrive."""
        window = self.window(lanes)
        if window is None:
            return 0
        sparse = self.mode is Mode.SPARSE_SPARSE and not self.first
        beats = window.slots if sparse else ceil_div(window.channels, window.input_lanes)
        return window.height * window.width * beats

    # Unrolled engines

    def _not_unrolled(self) -> str | None:
        """Why the layer has no unrolled engine, or has another one by its settings."""
        if self.layer.window is None or self.layer.window.channels != 1:
            return "it is no convolution of one channel"
        if self.mode is Mode.SPARSE_SPARSE:
            return "its mode is sparse-sparse, and it takes every input"
        if self.settings.loadable:
            return "its weights would be logic, and the plan is loadable"
        for name in ("lanes", "banks", "set_size", "columns", "accumulator", "soft", "weight_memory"):
            if getattr(self.fixed, name) is not None:
                return f"it would have no {name}"
        return None

    def _unrolled(self) -> Iterator[Candidate]:
        """Unrolled engines, from the narrowest drain to the first that keeps up with the windows."""
        layer, fixed = self.layer, self.fixed
        graph = unrolled_graph(layer)
        lows, highs = zip(*graph.output_ranges, strict=True)
        value_bits = range_bits(min(-1, *lows), max(highs))[0]
        pooled = layer.pool is not None and all(map(rises, layer.stages))
        widths = [fixed.drain_width] if fixed.drain_width else [
            width for width in _POWERS[:7] if width <= layer.kernels]
        depths = [fixed.vectors] if fixed.vectors else range(2, MOST_VECTORS + 1)
        for width, depth in product(widths, depths):
            engine = UnrolledArch(
                positions=layer.positions, kernels=layer.kernels, nonzeros=max(1, int(np.count_nonzero(layer.weights))),
                drain_width=width, activation_bits=layer.input_bits, activation_signed=layer.input_signed,
                value_bits=value_bits, sum_bits=max(layer.sum_bits, value_bits), latency=max(1, graph.depth),
                vectors=depth, pooled=pooled)
            # So many vectors are between their token and their last beat.
            waiting = engine.beats + engine.latency + (6 if pooled else 0) + depth
            if depth > 2 and (depth - 1) * engine.beats >= waiting - 1:
                continue        # one fewer keeps up with the beats as well
            busy = max(layer.vectors, self._arrival(engine.lanes))
            period = max(engine.beats, waiting / depth)
            cycles = self._behind(busy, period) if pooled else max(busy, layer.vectors * period)
            yield from self._candidates(engine, None, graph, cycles)

    # Selection

    def _selections(self, engine: EngineArch | UnrolledArch) -> Iterator[_Selection]:
        """Selections behind an engine, of each kind from the smallest to the largest."""
        layer, fixed = self.layer, self.fixed
        depths = [fixed.buffers] if fixed.buffers else _BUFFERS
        if layer.winners is None or layer.output_bits is None:
            kind = SelectKind.NONZERO if self.consumer is Mode.SPARSE_SPARSE else SelectKind.ALL
            yield from (_Selection(kind, self._stored(engine, 0, buffers), turns=fixed.turns or 1, buffers=buffers)
                        for buffers in depths)
            return
        if fixed.kwta is not None:
            kinds = [fixed.kwta]
        elif layer.window is None:
            kinds = [SelectKind.LOCAL if layer.kernels <= LOCAL_KERNELS else SelectKind.GLOBAL]
        else:
            kinds = [SelectKind.LOCAL] * (layer.kernels <= LOCAL_CHANNELS) + [SelectKind.GLOBAL]
        bits = layer.output_bits
        if SelectKind.LOCAL in kinds:
            for turns, buffers in product([fixed.turns] if fixed.turns else range(1, MOST_TURNS + 1), depths):
                period = max(self._searched(engine) / turns, self._stored(engine, 2 * bits, buffers))
                yield _Selection(SelectKind.LOCAL, period, bins=fixed.bins or 1, turns=turns, buffers=buffers)
        if SelectKind.GLOBAL in kinds:
            many = [fixed.bins] if fixed.bins else [bins for bins in _POWERS if bins <= min(MOST_BINS, 1 << bits)]
            for bins, buffers in product(many, depths):
                scan = (1 << bits) // bins + 8
                period = max(self._stored(engine, scan, buffers), scan / (fixed.turns or 1))
                yield _Selection(SelectKind.GLOBAL, period, bins=bins, turns=fixed.turns or 1, buffers=buffers)

    @property
    def _pixels(self) -> int:
        """Vectors of results per inference."""
        return math.prod(self.layer.output_shape[1:])

    def _stored(self, engine: EngineArch | UnrolledArch, scan: int, buffers: int = 2) -> float:
        """Cycles from one vector to the next in a store: each is in a buffer from its first beat to its last word."""
        words = ceil_div(self.layer.kernels, engine.drain_width)
        return max(engine.beats, (engine.beats + scan + words + STORE_LATENCY) / buffers)

    def _searched(self, engine: EngineArch | UnrolledArch) -> int:
        """Cycles from one vector to the next in one local k-WTA: the way from where a vector takes its token, as far as
        that is not given ahead, the beats and the search."""
        layer = self.layer
        way = 0
        if isinstance(engine, EngineArch):
            way = 4 + (engine.lanes - 1).bit_length() + STAGE_LATENCY * len(layer.stages)
        if layer.pool is not None and not (isinstance(engine, UnrolledArch) and engine.pooled):
            way += 6
        return way + engine.beats + 2 * (layer.output_bits or 1) + 2


@lru_cache(maxsize=64)
def _pack(
    mask: bytes, shape: tuple[int, int], activity: bytes, banks: int | None, set_size: int | None,
) -> Packing:
    return pack(np.frombuffer(mask, bool).reshape(shape), banks=banks, set_size=set_size,
                activity=np.frombuffer(activity, np.float64))


def _dense_packing(layer: Layer) -> Packing:
    """One kernel a set: every position is taken."""
    return Packing(
        kernels=layer.kernels, positions=layer.positions, set_size=1, banks=layer.kernels, folds=1,
        members=np.arange(layer.kernels).reshape(1, layer.kernels, 1), rows=np.ones((1, layer.positions), np.int64),
        column_counts=np.full(layer.positions, layer.kernels))


def _in_folds(packing: Packing, banks: int) -> Packing:
    """The sets of a complementary packing in folds of ``banks``."""
    sets = packing.members.reshape(packing.sets, packing.set_size)
    folds = ceil_div(packing.sets, banks)
    members = np.full((folds * banks, packing.set_size), -1, np.int64)
    members[:packing.sets] = sets
    return replace(packing, banks=banks, folds=folds, members=members.reshape(folds, banks, packing.set_size),
                   rows=np.ones((folds, packing.positions), np.int64))
