"""The planner: engines, lanes, banks, folds and drain widths for a wanted number of cycles per inference."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..hw.arch import (
    AccumulatorKind,
    EngineArch,
    EngineKind,
    LayerArch,
    LayerImages,
    Mode,
    NetworkArch,
    PoolArch,
    ScaleArch,
    SelectArch,
    SelectKind,
    ThresholdArch,
    UnrolledArch,
    WindowArch,
    ceil_div,
)
from ..hw.errors import DovetailError
from .images import lane_rows, layer_images, unrolled_graph
from .network import Layer, Network, Stage, Thresholds, range_bits
from .packer import Packing, pack, pack_sets
from .positions import engine_order
from .settings import LayerSettings, Settings
from .window import Window

__all__ = ["DEFAULT_TARGET", "Plan", "PlanError", "PlannedLayer", "plan"]

#: Wanted cycles per inference when nobody says.
DEFAULT_TARGET = 1024
#: Most accumulators a bank keeps in LUT RAM: two halves of 16, in two columns of 16 words. Deeper files cost more than
#: block RAM.
LUT_RAM_KIDS = 16
#: Longest vector whose k-WTA keeps it in registers, and longest pixel of an image.
LOCAL_KERNELS = 32
LOCAL_CHANNELS = 64
#: Places for sets, in all folds and banks together, over sets: at most.
MOST_IDLE = 1.06
#: Cycles that a vector stays in the store beside arriving, being scanned and leaving.
STORE_LATENCY = 12
#: Rows that the load stream can number.
LOADABLE_ROWS = 1 << 16
#: Most histogram bins that are scanned in one cycle.
MOST_BINS = 16
_POWERS = tuple(2**exponent for exponent in range(9))


class PlanError(DovetailError):
    """A target that cannot be met. Exit code 1."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedLayer:
    """One layer as it will be built.

    Members
    -------
    layer : Layer
    mask : bool (M, L)
        Positions that have a slot.
    packing : Packing or None
        None of an unrolled layer.
    arch : LayerArch
    images : LayerImages
    """

    layer: Layer
    mask: np.ndarray
    packing: Packing | None
    arch: LayerArch
    images: LayerImages

    @property
    def rows(self) -> np.ndarray | None:
        """Rows (F, L), in the engine's order, where they differ from position to position."""
        engine = self.arch.engine
        if self.packing is None or isinstance(engine, UnrolledArch) or not engine.row_table:
            return None
        return self.packing.rows[:, self.order]

    @property
    def order(self) -> np.ndarray:
        """The model's position at every position of the engine, int64 (L,)."""
        return engine_order(self.arch.engine.positions, elements=self.arch.elements, window=self.arch.window)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A network as it will be built.

    Members
    -------
    network : Network
    settings : Settings
        What the plan was made for.
    arch : NetworkArch
    layers : tuple of PlannedLayer
    """

    network: Network
    settings: Settings
    arch: NetworkArch
    layers: tuple[PlannedLayer, ...]

    @property
    def images(self) -> list[LayerImages]:
        """Contents of every layer's memories, in order."""
        return [layer.images for layer in self.layers]


def plan(network: Network, settings: Settings, *, activity: Sequence[np.ndarray] | None = None) -> Plan:
    """Choose every layer's engine: the fewest multipliers that reach the target; of those the fastest, then the
    narrowest drain and the fewest lanes. Where none reaches it, a convolution of one channel is unrolled if that does.

    Cycles are estimates here; ``sim.cycles`` has the exact ones. Without a target the planner tries for
    `DEFAULT_TARGET` and takes the fastest engine where that is out of reach.

    Parameters
    ----------
    network : Network
    settings : Settings
    activity : sequence of float (elements,), optional
        Per layer, the probability that an element of its input is not zero. Without it every element that can be
        active counts as often as every other: K of L behind a k-WTA, all elsewhere.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If a layer cannot reach the target of the settings, and they do not fix both its lanes and its banks; says what
        it can reach.
    DovetailError
        If a convolution takes what is no image, or another image, a setting names a layer that does not exist, or
        settings contradict each other.
    """
    for before, layer in pairwise(network.layers):
        image = layer.window and (layer.window.channels, layer.window.height, layer.window.width)
        if image is not None and image != before.output_shape:
            raise DovetailError(f"layer {layer.name!r} sees an image of {_times(image)} where layer {before.name!r} "
                                f"leaves {_times(before.output_shape)}; there is no hardware that reshapes it")
    names = [layer.name for layer in network.layers]
    for name in settings.layers:
        if name not in names:
            raise DovetailError(f"settings: no layer {name!r}; the network has {', '.join(names)}")
    chosen = [settings.layers.get(name, LayerSettings()) for name in names]
    modes = [fixed.mode or settings.mode for fixed in chosen]
    if chosen[0].mode is None and modes[0] is Mode.SPARSE_SPARSE:
        modes[0] = Mode.SPARSE_DENSE
    masks = [np.ones_like(layer.mask) if mode is Mode.DENSE else layer.mask
             for layer, mode in zip(network.layers, modes, strict=True)]

    engines, packings, intervals, windows, joins = [], [], [], [], [1]
    for number, (layer, fixed, mode, mask) in enumerate(zip(network.layers, chosen, modes, masks, strict=True)):
        before = network.layers[number - 1] if number else None
        joined = 1 if before is None or layer.window is not None else math.prod(before.output_shape[1:])
        elements = layer.positions // joined if layer.window is None else layer.window.channels
        selected = elements
        if mode is Mode.SPARSE_SPARSE and before is not None and before.winners:
            selected = before.winners
        active = np.full(layer.positions, selected / elements)
        if mode is Mode.SPARSE_SPARSE and activity is not None:
            active = activity[number]
            if layer.window is not None:
                active = layer.window.gather(active).mean(axis=(0, 1))
        search = _Search(layer=layer, fixed=fixed, mode=mode, mask=mask, joined=joined, elements=elements,
                         selected=selected, active=active, settings=settings, first=not number)
        try:
            engine, packing, cycles = search.best()
            windows.append(search.window(engine.lanes))
            if number:
                joins.append(joined)
        except ValueError as error:     # from the records and the packer, which check what they are given
            raise DovetailError(f"settings: layer {layer.name!r}: {error}") from error
        engines.append(engine)
        packings.append(packing)
        intervals.append(cycles)

    lanes = [engine.lanes if window is None else window.input_lanes
             for engine, window in zip(engines, windows, strict=True)]
    consumers = [*zip(lanes[1:], modes[1:], strict=True), None]
    selects = [_select(*parts) for parts in zip(network.layers, engines, chosen, consumers, intervals, strict=True)]
    arches = [
        LayerArch(name=layer.name, mode=mode, window=window, joined=joined, engine=engine, stages=_stages(layer),
                  pool=None if layer.pool is None else _pool(layer.pool, engine, select), select=select)
        for layer, mode, window, joined, engine, select in zip(
            network.layers, modes, windows, joins, engines, selects, strict=True)
    ]
    width = settings.input_width or lanes[0]
    if windows[0] is not None and windows[0].channels % width:
        raise DovetailError(f"settings: input_width must divide the image's channels ({windows[0].channels}), not "
                            f"{width}")
    if lanes[0] % width:
        raise DovetailError(f"settings: input_width must divide the first layer's lanes ({lanes[0]}), not {width}")
    for layer, engine in zip(network.layers, engines, strict=True):
        if isinstance(engine, UnrolledArch):
            continue
        rows = max(engine.lane_rows, engine.folds * engine.lane_positions, engine.beats)
        if settings.loadable and rows > LOADABLE_ROWS:
            raise DovetailError(f"settings: layer {layer.name!r} has a memory of {rows} rows, too many for loadable: "
                                f"at most {LOADABLE_ROWS}; more lanes make it shallower")
    arch = NetworkArch(layers=tuple(arches), input_width=width, loadable=settings.loadable)
    layers = tuple(
        PlannedLayer(layer=layer, mask=mask, packing=packing, arch=layer_arch,
                     images=layer_images(layer, packing, mask, layer_arch))
        for layer, mask, packing, layer_arch in zip(network.layers, masks, packings, arches, strict=True))
    return Plan(network=network, settings=settings, arch=arch, layers=layers)


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


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


def _rises(stage: Stage) -> bool:
    """Whether a stage's code never falls where what it takes rises."""
    return isinstance(stage, Thresholds) or stage.multiplier is None or int(stage.multiplier.min()) >= 0


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


def _scan(value_bits: int, bins: int) -> int:
    """Cycles of a histogram's scan, from one vector's to the next."""
    return (1 << value_bits) // bins + 8


def _bins(value_bits: int, cycles: float) -> int:
    """The fewest histogram bins a cycle whose scan takes half of ``cycles``; every bin is an adder and a comparator."""
    bins = 1
    while 2 * _scan(value_bits, bins) > cycles and bins < min(MOST_BINS, 1 << value_bits):
        bins *= 2
    return bins


def _select(
    layer: Layer, engine: EngineArch | UnrolledArch, fixed: LayerSettings, consumer: tuple[int, Mode] | None,
    cycles: float,
) -> SelectArch:
    """The unit behind a layer; ``consumer`` is what the next layer takes a beat and its mode, None behind the last;
    ``cycles`` are those from one inference to the next."""
    lanes, sparse = engine.drain_width, False
    if consumer is not None:
        lanes, sparse = consumer[0], consumer[1] is Mode.SPARSE_SPARSE
    kind = SelectKind.NONZERO if sparse else SelectKind.ALL
    value_bits, bins = layer.output_bits or engine.sum_bits, 1
    if layer.winners is not None:
        kind, bins = _kwta(layer, engine, fixed, cycles)
    try:
        return SelectArch(
            kernels=layer.kernels, width=engine.drain_width, beats=engine.beats, lanes=lanes, value_bits=value_bits,
            value_signed=layer.output_signed, kind=kind, winners=layer.winners or 0,
            losers=layer.winners is not None and not sparse, bins=bins)
    except ValueError as error:
        raise DovetailError(f"settings: selection behind layer {layer.name!r}: {error}") from error


def _kwta(
    layer: Layer, engine: EngineArch | UnrolledArch, fixed: LayerSettings, cycles: float,
) -> tuple[SelectKind, int]:
    """Kind of k-WTA and its histogram bins: of a pixel's, the local one where it is fast enough."""
    pixels, bits = math.prod(layer.output_shape[1:]), layer.output_bits or 1
    bins = fixed.bins or _bins(bits, cycles / pixels)
    if layer.window is None:
        kind = SelectKind.LOCAL if layer.kernels <= LOCAL_KERNELS else SelectKind.GLOBAL
    else:
        fits = layer.kernels <= LOCAL_CHANNELS and pixels * _local_period(layer, engine) <= cycles
        kind = SelectKind.LOCAL if fits else SelectKind.GLOBAL
    return fixed.kwta or kind, bins


def _local_period(layer: Layer, engine: EngineArch | UnrolledArch) -> int:
    """Cycles of a local k-WTA from one token to the next: the vector's way from where it takes it, and the search."""
    way = 4 * len(layer.stages) + 4
    if isinstance(engine, EngineArch):
        way += 4 + (engine.lanes - 1).bit_length()
    if layer.pool is not None and not (isinstance(engine, UnrolledArch) and engine.pooled):
        way += 6
    return way + engine.beats + 2 * (layer.output_bits or 1) + 4


@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """Candidates for one layer's engine.

    Members
    -------
    joined, elements : int
        Pixels that make one vector, and elements of such a pixel; of a convolution 1, and the channels.
    selected : int
        Pairs of them at most.
    active : float (L,)
        Probability that a position arrives.
    """

    layer: Layer
    fixed: LayerSettings
    mode: Mode
    mask: np.ndarray
    joined: int
    elements: int
    selected: int
    active: np.ndarray
    settings: Settings
    first: bool

    def best(self) -> tuple[EngineArch | UnrolledArch, Packing | None, float]:
        """Engine, packing of a folded one, and the cycles per inference they are estimated to take."""
        target = self.settings.target_cycles or DEFAULT_TARGET
        if self.fixed.engine is EngineKind.UNROLLED:
            if (reason := self._not_unrolled()) is not None:
                raise DovetailError(f"settings: layer {self.layer.name!r} cannot be unrolled: {reason}")
            return self._unrolled(target)
        fastest: tuple[float, EngineArch, Packing] | None = None
        winner: tuple[tuple[int, float, int, int], EngineArch, Packing, float] | None = None
        for packing in self._packings():
            for engine in self._engines(packing):
                busy = self._busy(engine, packing)
                behind = self._behind(engine, busy)
                cycles = max(busy, behind)
                if fastest is None or cycles < fastest[0]:
                    fastest = cycles, engine, packing
                cost = engine.multipliers, cycles, engine.drain_width, engine.lanes
                if cycles <= target and (winner is None or cost < winner[0]):
                    winner = cost, engine, packing, cycles
        if winner is not None:
            return winner[1:]
        if self.fixed.engine is None and self.settings.target_cycles is not None and self._not_unrolled() is None:
            unrolled = self._unrolled(target)
            if unrolled[2] <= target:
                return unrolled
        if fastest is None:
            raise DovetailError(
                f"settings: no engine fits layer {self.layer.name!r}: see its lanes, columns and drain_width")
        if self.settings.target_cycles is not None and not (self.fixed.lanes and self.fixed.banks):
            raise PlanError(f"layer {self.layer.name!r} cannot reach {target} cycles per inference; "
                            f"the fastest engine found takes about {round(fastest[0])}")
        return fastest[1], fastest[2], fastest[0]

    def _not_unrolled(self) -> str | None:
        """Why the layer has no unrolled engine, or has another one by its settings."""
        if self.layer.window is None or self.layer.window.channels != 1:
            return "it is no convolution of one channel"
        if self.mode is Mode.SPARSE_SPARSE:
            return "its mode is sparse-sparse, and it takes every input"
        if self.settings.loadable:
            return "its weights would be logic, and the plan is loadable"
        for name in ("lanes", "banks", "set_size", "columns", "accumulator"):
            if getattr(self.fixed, name) is not None:
                return f"it would have no {name}"
        return None

    def _unrolled(self, target: int) -> tuple[UnrolledArch, None, float]:
        """The unrolled engine with the narrowest drain that reaches the target, or the fastest one."""
        layer = self.layer
        graph, found = unrolled_graph(layer), []
        lows, highs = zip(*graph.output_ranges, strict=True)
        value_bits = range_bits(min(-1, *lows), max(highs))[0]
        pooled = layer.pool is not None and all(map(_rises, layer.stages))
        pixels = math.prod(layer.output_shape[1:])
        widths = [width for width in _POWERS[:7] if width <= layer.kernels]
        for width in [self.fixed.drain_width] if self.fixed.drain_width else widths:
            engine = UnrolledArch(
                positions=layer.positions, kernels=layer.kernels, nonzeros=max(1, int(np.count_nonzero(layer.weights))),
                drain_width=width, activation_bits=layer.input_bits, activation_signed=layer.input_signed,
                value_bits=value_bits, sum_bits=max(layer.sum_bits, value_bits), latency=max(1, graph.depth),
                pooled=pooled)
            # Two vectors are between their token and their last beat.
            period = max(engine.beats, (engine.beats + engine.latency + (6 if pooled else 0) + 2) / 2)
            busy = max(layer.vectors, self._arrival(engine.lanes), (pixels if pooled else layer.vectors) * period)
            found.append((engine, None, max(busy, self._selection(engine, busy))))
            if found[-1][2] <= target:
                return found[-1]
        return min(found, key=lambda one: one[2])

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
                    yield _folded(whole, banks)
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

    def _engines(self, packing: Packing) -> Iterator[EngineArch]:
        layer, fixed = self.layer, self.fixed
        device = self.settings.device
        lut_ram = packing.set_size <= LUT_RAM_KIDS and (device is None or device.has_lut_ram)
        kind = fixed.accumulator or (AccumulatorKind.LUT_RAM if lut_ram else AccumulatorKind.BLOCK_RAM)
        # A second column of block RAM costs memories and forwarding; one of LUT RAM costs nothing.
        columns = fixed.columns or (2 if kind is AccumulatorKind.LUT_RAM and packing.set_size > 1 else 1)
        table = not packing.complementary
        widths = [width for width in _POWERS[:5] if width <= max(columns, packing.set_size)]
        for lanes in self._lanes():
            window = self.window(lanes)
            pairs = self.selected * (self.joined if window is None else window.groups)
            rows = packing.folds * ceil_div(layer.positions, lanes)
            if table:
                rows = lane_rows(packing.rows[:, engine_order(layer.positions, elements=self.elements,
                                                              window=window)], lanes)
            for width in [fixed.drain_width] if fixed.drain_width else widths:
                yield EngineArch(
                    positions=layer.positions, lanes=lanes, banks=packing.banks, folds=packing.folds,
                    set_size=packing.set_size, columns=columns, drain_width=width, weight_bits=layer.weight_bits,
                    activation_bits=layer.input_bits, activation_signed=layer.input_signed, sum_bits=layer.sum_bits,
                    indexed=self.mode is Mode.SPARSE_SPARSE,
                    capacity=min(pairs, ceil_div(layer.positions, lanes)), lane_rows=rows, row_table=table,
                    most_rows=max(1, int(packing.rows.max())), accumulator=kind, own_addresses=window is not None)

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

    def _behind(self, engine: EngineArch, busy: float) -> float:
        """Cycles per inference of what is behind the multipliers, which take ``busy``: drain, and k-WTA."""
        drain = engine.folds * (1 + engine.groups * engine.group_period)
        return max(self.layer.vectors * drain, self._selection(engine, busy))

    def _selection(self, engine: EngineArch | UnrolledArch, busy: float) -> float:
        """Cycles per inference of the store and of k-WTA, behind what takes ``busy``."""
        layer, pixels = self.layer, math.prod(self.layer.output_shape[1:])
        scan = 0
        if layer.winners is not None and layer.output_bits is not None:
            kind, bins = _kwta(layer, engine, self.fixed, max(busy, self.settings.target_cycles or DEFAULT_TARGET)
                               if layer.window is not None else busy)
            if layer.window is not None and kind is SelectKind.LOCAL:
                return pixels * _local_period(layer, engine)
            scan = _scan(layer.output_bits, bins)
        # A vector is in one of the store's two halves from its first beat to its last word.
        stored = engine.beats + scan + ceil_div(layer.kernels, engine.drain_width) + STORE_LATENCY
        return pixels * max(stored / 2, scan)


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


def _folded(packing: Packing, banks: int) -> Packing:
    """The sets of a complementary packing in folds of ``banks``."""
    sets = packing.members.reshape(packing.sets, packing.set_size)
    folds = ceil_div(packing.sets, banks)
    members = np.full((folds * banks, packing.set_size), -1, np.int64)
    members[:packing.sets] = sets
    return replace(packing, banks=banks, folds=folds, members=members.reshape(folds, banks, packing.set_size),
                   rows=np.ones((folds, packing.positions), np.int64))
