"""Units whose cells calibrate the planner's resource model, and check it; `resource_model.py` measures and fits.

They are drawn at random, always the same ones, from what the planner makes; each is named by its record, without what
has its usual value, so that a measurement stays valid where a record gets a further member.
"""

import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import wiring

from dovetail.boards.cells import Cells, Family, count_cells
from dovetail.hw.adders import AdderGraph
from dovetail.hw.arch import (
    AccumulatorKind,
    EngineArch,
    EngineImages,
    PoolArch,
    ScaleArch,
    SelectArch,
    SelectImages,
    SelectKind,
    StageImages,
    ThresholdArch,
    UnrolledArch,
    UnrolledImages,
    WindowArch,
    bits_for,
    ceil_div,
)
from dovetail.hw.engine import Engine
from dovetail.hw.frames import InputFrames, OutputFrames, PixelFrames
from dovetail.hw.join import Join
from dovetail.hw.pool import Pool
from dovetail.hw.requantise import Requantise
from dovetail.hw.select import Select
from dovetail.hw.unrolled_engine import UnrolledEngine
from dovetail.hw.windows import Windows
from dovetail.sw.unroll import adder_graph

__all__ = ["FramesCase", "JoinCase", "Measurements", "StageCase", "Unit", "UnrolledCase", "build", "describe", "units"]


@dataclass(frozen=True, kw_only=True)
class StageCase:
    """A stage of requantisation, with what it is told by its place."""

    arch: ScaleArch | ThresholdArch
    width: int
    value_bits: int
    beats: int


@dataclass(frozen=True, kw_only=True)
class JoinCase:
    vectors: int
    elements: int
    lanes: int
    value_bits: int


@dataclass(frozen=True, kw_only=True)
class UnrolledCase:
    """Random weights, ``density`` per cent of them, of so many bits."""

    positions: int
    kernels: int
    density: int
    weight_bits: int
    drain_width: int
    activation_bits: int = 8

    @property
    def graph(self) -> AdderGraph:
        rng = dice_of(self)
        limit = (1 << self.weight_bits - 1) - 1
        weights = rng.integers(1, limit + 1, (self.kernels, self.positions)) * rng.choice([-1, 1], (
            self.kernels, self.positions))
        weights[rng.random(weights.shape) * 100 >= self.density] = 0
        weights[:, 0] |= 1
        return adder_graph(weights, input_range=(0, (1 << self.activation_bits) - 1))

    @property
    def arch(self) -> UnrolledArch:
        graph = self.graph
        lows, highs = zip(*graph.output_ranges, strict=True)
        bits = max(int(-1 - min(lows)).bit_length(), int(max(highs)).bit_length()) + 1
        return UnrolledArch(
            positions=self.positions, kernels=self.kernels, nonzeros=int(np.count_nonzero(graph.weights)),
            drain_width=self.drain_width, activation_bits=self.activation_bits, value_bits=bits, sum_bits=bits + 1,
            latency=max(1, graph.depth))


@dataclass(frozen=True, kw_only=True)
class FramesCase:
    """A border of the network: codes in, pixels in or results out."""

    kind: str
    length: int
    pixels: int = 1
    width: int
    lanes: int = 1
    value_bits: int
    skip_zeros: bool = False


Unit = EngineArch | StageCase | SelectArch | PoolArch | WindowArch | JoinCase | UnrolledCase | FramesCase


def describe(record: object) -> str:
    """A record in one line, without what has its usual value."""
    if isinstance(record, Enum):
        return record.value
    if not is_dataclass(record):
        return repr(record)
    given = [f"{entry.name}={describe(value)}" for entry in fields(record)
             if (value := getattr(record, entry.name)) != entry.default or entry.default is MISSING]
    return f"{type(record).__name__}({', '.join(given)})"


def dice_of(record: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(describe(record).encode()))


def build(unit: Unit) -> wiring.Component:
    """The component, with random contents that logic optimisation cannot simplify."""
    rng = dice_of(unit)

    def words(count: int, bits: int) -> tuple[int, ...]:
        octets = (bits + 7) // 8
        return tuple(int.from_bytes(rng.bytes(octets)) & (1 << bits) - 1 for _ in range(count))

    def biases(width: int, beats: int, bits: int) -> tuple[tuple[int, ...], ...]:
        return tuple(words(beats, bits) for _ in range(width))

    match unit:
        case EngineArch():
            rows = None
            if unit.row_table:
                width = bits_for(unit.lane_rows) + bits_for(unit.most_rows + 1)
                rows = tuple(words(unit.folds * unit.lane_positions, width) for _ in range(unit.lanes))
            # No KID is as great as the set.
            slot = (1 << unit.weight_bits + (unit.set_size - 1).bit_length()) - 1
            mask = sum(slot << bank * unit.slot_bits for bank in range(unit.banks))
            return Engine(unit, EngineImages(
                weights=tuple(tuple(row & mask for row in words(unit.lane_rows, unit.banks * unit.slot_bits))
                              for _ in range(unit.lanes)),
                rows=rows, biases=biases(unit.drain_width, unit.beats, unit.sum_bits)))
        case StageCase(arch=ThresholdArch() as arch):
            tables = tuple(
                tuple(tuple(sorted(words(arch.count, unit.value_bits))) for _ in range(unit.beats))
                for _ in range(unit.width))
            images = StageImages(thresholds=tables)
            return Requantise(arch, images, width=unit.width, value=(unit.value_bits, False), beats=unit.beats)
        case StageCase(arch=ScaleArch() as arch):
            multipliers = offsets = ()
            if arch.multiplier_bits:
                multipliers = tuple(words(unit.beats, arch.multiplier_bits) for _ in range(unit.width))
                if arch.multiplier_signed:
                    multipliers = tuple(tuple(value - (1 << arch.multiplier_bits - 1) for value in port)
                                        for port in multipliers)
            if arch.offset_bits:
                offsets = tuple(tuple(value - (1 << arch.offset_bits - 1) for value in words(
                    unit.beats, arch.offset_bits)) for _ in range(unit.width))
            images = StageImages(multipliers=multipliers, offsets=offsets)
            return Requantise(arch, images, width=unit.width, value=(unit.value_bits, True), beats=unit.beats)
        case SelectArch():
            ranks = tuple(tuple(rng.permutation(unit.width).tolist()) for _ in range(unit.words))
            places = unit.words * unit.width
            order = []
            for _ in range(unit.width):
                row = [word | 1 << bits_for(unit.words) for word in rng.permutation(unit.words).tolist()]
                row += [0] * (unit.beats - len(row))
                order.append(tuple(np.array(row)[rng.permutation(unit.beats)].tolist()))
            if places < unit.kernels:
                raise ValueError(f"words must hold {unit.kernels} kernels, not {places}")
            return Select(unit, SelectImages(order=tuple(order), ranks=ranks))
        case PoolArch():
            return Pool(unit)
        case WindowArch():
            return Windows(unit)
        case JoinCase():
            return Join(vectors=unit.vectors, elements=unit.elements, lanes=unit.lanes, value=Shape(unit.value_bits))
        case UnrolledCase():
            arch = unit.arch
            return UnrolledEngine(arch, UnrolledImages(
                graph=unit.graph, biases=tuple(
                    tuple(value - (1 << arch.sum_bits - 1) for value in port)
                    for port in biases(arch.drain_width, arch.beats, arch.sum_bits))))
        case FramesCase(kind="input"):
            return InputFrames(length=unit.length, width=unit.width, lanes=unit.lanes, value=Shape(unit.value_bits),
                               skip_zeros=unit.skip_zeros)
        case FramesCase(kind="pixels"):
            return PixelFrames(pixels=unit.pixels, channels=unit.length, width=unit.width,
                               value=Shape(unit.value_bits), skip_zeros=unit.skip_zeros)
        case FramesCase():
            return OutputFrames(length=unit.length, vectors=unit.pixels, width=unit.width,
                                value=Shape(unit.value_bits))


def draw(make: Callable[[random.Random], Unit], count: int, seed: int) -> list[Unit]:
    """So many different units; a draw that the records refuse is drawn again."""
    dice, found = random.Random(seed), {}
    while len(found) < count:
        try:
            unit = make(dice)
        except ValueError:
            continue
        found.setdefault(describe(unit), unit)
    return list(found.values())


def draw_engine(dice: random.Random, *, lut_ram: bool, most: int = 8) -> EngineArch:
    lanes, banks = dice.choice((1, 1, 2, 3, 4, 5, 8)), dice.choice((1, 2, 3, 4, 5, 8))
    if lanes * banks > most:
        raise ValueError("too many multipliers for a quick synthesis")
    set_size = dice.choice((2, 4, 5, 8, 12, 16, 16, 25, 32) if lut_ram else (1, 4, 8, 16, 25, 64, 200))
    columns = dice.choice((1, 2, 2, 2, 4)) if lut_ram else dice.choice((1, 1, 2))
    drain_width = dice.choice((1, 1, 2, 2, 4))
    folds, lane_positions = dice.choice((1, 2, 4, 8)), dice.choice((5, 25, 64, 150, 400))
    row_table = dice.random() < 0.25
    most_rows = dice.choice((1, 2, 3)) if row_table else 1
    indexed = dice.random() < 0.7
    return EngineArch(
        positions=lanes * lane_positions, lanes=lanes, banks=banks, folds=folds, set_size=set_size, columns=columns,
        drain_width=drain_width, weight_bits=dice.choice((4, 6, 8, 8, 8)), activation_bits=dice.choice((4, 8, 8, 8)),
        activation_signed=dice.random() < 0.2, sum_bits=dice.choice((14, 17, 20, 22, 24)), indexed=indexed,
        capacity=max(1, lane_positions // dice.choice((1, 4, 10))) if indexed else lane_positions,
        lane_rows=folds * lane_positions * most_rows, row_table=row_table, most_rows=most_rows,
        accumulator=AccumulatorKind.LUT_RAM if lut_ram and set_size <= 16 or lut_ram and dice.random() < 0.3
        else AccumulatorKind.BLOCK_RAM, own_addresses=dice.random() < 0.4)


def draw_soft(dice: random.Random, *, lut_ram: bool) -> EngineArch:
    """An engine some of whose multipliers, or all, are made of look-up tables."""
    engine = draw_engine(dice, lut_ram=lut_ram)
    return replace(engine, soft=max(1, engine.multipliers // dice.choice((1, 1, 2))))


def draw_stage(dice: random.Random) -> StageCase:
    width, beats = dice.choice((1, 1, 2, 4)), dice.choice((4, 8, 20, 64, 150))
    value_bits = dice.choice((12, 16, 19, 22))
    if dice.random() < 0.3:
        arch: ScaleArch | ThresholdArch = ThresholdArch(
            count=dice.choice((1, 3, 7, 15)), low=dice.choice((0, -4)), step=dice.choice((1, 1, 2)))
        return StageCase(arch=arch, width=width, value_bits=value_bits, beats=beats)
    bits, shift = dice.choice((0, 8, 12, 16, 17, 20)), dice.choice((4, 10, 16, 20))
    own = dice.random() < 0.3
    low, high = dice.choice(((0, 255), (0, 255), (0, 15), (-128, 127), (-81, 174)))
    arch = ScaleArch(
        multiplier_bits=bits, multiplier_signed=bits > 0 and dice.random() < 0.2,
        offset_bits=dice.choice((12, 20)) if own else 0, offset=0 if own else 1 << shift >> 1, shift=shift, low=low,
        high=high, ties_to_even=dice.random() < 0.2)
    return StageCase(arch=arch, width=width, value_bits=value_bits, beats=beats)


def draw_select(dice: random.Random, *, kinds: tuple[SelectKind, ...]) -> SelectArch:
    kind = dice.choice(kinds)
    width = dice.choice((1, 1, 2, 4, 8))
    kernels = dice.choice((10, 16, 24, 32, 64) if kind is SelectKind.LOCAL else (10, 32, 64, 150, 500, 1500))
    if kind is SelectKind.LOCAL and kernels * width > 256:
        raise ValueError("too large for a quick synthesis")
    words = ceil_div(kernels, width)
    lanes = dice.choice((1, width, max(1, width // 2), 2 * width, 4))
    is_kwta = kind in (SelectKind.GLOBAL, SelectKind.LOCAL)
    value_bits = dice.choice((4, 6, 8, 8, 8)) if is_kwta else dice.choice((4, 8, 8, 20))
    return SelectArch(
        kernels=kernels, width=width, beats=words + dice.choice((0, 0, words // 3)), value_bits=value_bits, kind=kind,
        winners=max(1, kernels // dice.choice((3, 8, 10))) if is_kwta else 0,
        losers=is_kwta and dice.random() < 0.15, lanes=lanes,
        bins=dice.choice((1, 2, 4, 8, 16)) if kind is SelectKind.GLOBAL else 1)


def draw_turns(dice: random.Random) -> SelectArch:
    """A local k-WTA whose finders take turns."""
    select = draw_select(dice, kinds=(SelectKind.LOCAL,))
    return replace(select, turns=dice.choice((2, 3, 4)), buffers=dice.choice((2, 4, 8)))


def draw_pool(dice: random.Random) -> PoolArch:
    kernel, strides, pads = dice.choice((
        ((2, 2), (2, 2), (0, 0, 0, 0)), ((2, 2), (2, 2), (0, 0, 0, 0)), ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((3, 3), (2, 2), (0, 0, 0, 0)), ((2, 1), (2, 1), (0, 0, 0, 0)), ((1, 2), (1, 2), (0, 0, 0, 0)),
        ((3, 3), (1, 1), (1, 1, 1, 1)), ((2, 2), (1, 1), (0, 0, 0, 0))))
    beats, ports = dice.choice(((1, 4), (1, 12), (2, 4), (3, 2), (8, 1), (8, 2), (8, 4), (16, 4), (64, 1)))
    size = dice.choice((6, 8, 14, 24, 28))
    bits, is_signed = dice.choice(((8, False), (8, False), (4, False), (17, True), (20, True)))
    return PoolArch(height=size, width=size, kernel=kernel, strides=strides, pads=pads, beats=beats, ports=ports,
                    value_bits=bits, value_signed=is_signed)


def draw_window(dice: random.Random) -> WindowArch:
    kernel = dice.choice(((1, 1), (2, 2), (3, 3), (3, 3), (3, 3), (5, 5), (5, 5), (1, 3), (5, 1), (7, 3)))
    lanes = dice.choice((1, kernel[1], kernel[0] * kernel[1]))
    channels = dice.choice((1, 1, 3, 10, 24, 64))
    indexed = channels > 1 and dice.random() < 0.6
    slots = min(channels, dice.choice((2, 4, 8, 12))) if indexed else channels
    pad = dice.choice((0, 0, 1, 2))
    pads = (min(pad, kernel[0] - 1), min(pad, kernel[1] - 1)) * 2
    height = dice.choice((8, 12, 14, 28))
    return WindowArch(
        channels=channels, height=height, width=dice.choice((height, height, 10, 20)), kernel=kernel,
        strides=dice.choice(((1, 1), (1, 1), (2, 2))), pads=pads, lanes=lanes, slots=slots,
        input_lanes=dice.choice((1, 1, 1, 2)) if channels > 1 and channels % 2 == 0 else 1,
        activation_bits=dice.choice((4, 8, 8, 8)), indexed=indexed, depth=dice.choice((1, 2, 2)))


def draw_join(dice: random.Random) -> JoinCase:
    lanes = dice.choice((1, 2, 4))
    return JoinCase(vectors=dice.choice((16, 49, 100)), elements=lanes * dice.choice((8, 16, 24)), lanes=lanes,
                    value_bits=8)


def draw_unrolled(dice: random.Random) -> UnrolledCase:
    kernels = dice.choice((6, 8, 12, 16, 24))
    return UnrolledCase(positions=dice.choice((4, 9, 9, 25)), kernels=kernels, density=dice.choice((20, 50, 90)),
                        weight_bits=dice.choice((4, 6, 8)), drain_width=dice.choice((1, 2, 4)))


def draw_frames(dice: random.Random) -> FramesCase:
    kind, width = dice.choice(("input", "pixels", "output")), dice.choice((1, 2, 4))
    lanes = width * dice.choice((1, 1, 2, 4)) if kind == "input" else width
    length = lanes * dice.choice((7, 16, 49, 300)) + (dice.choice((0, 1)) if kind == "input" else 0)
    return FramesCase(kind=kind, length=length, pixels=1 if kind == "input" else dice.choice((1, 64, 784)),
                      width=width, lanes=lanes, value_bits=dice.choice((8, 8, 20)),
                      skip_zeros=kind != "output" and dice.random() < 0.5)


def units() -> Iterator[tuple[str, Family, list[Unit]]]:
    """Kind, family and units of every drawn set."""
    threshold, plain = (SelectKind.GLOBAL,), (SelectKind.ALL, SelectKind.NONZERO)
    for family, share in ((Family.ECP5, 1.0), (Family.ICE40_DSP, 0.35)):
        def some(make: Callable[[random.Random], Unit], count: int, seed: int, share: float = share) -> list[Unit]:
            return draw(make, round(count * share), seed=seed)

        lut_ram = family is Family.ECP5
        yield "engine", family, some(lambda dice, lut_ram=lut_ram: draw_engine(dice, lut_ram=lut_ram), 30, seed=42)
        yield "stage", family, some(draw_stage, 21, seed=30)
        yield "select all", family, some(lambda dice: draw_select(dice, kinds=plain), 12, seed=20)
        yield "select global", family, some(lambda dice: draw_select(dice, kinds=threshold), 18, seed=27)
        yield "select local", family, some(lambda dice: draw_select(dice, kinds=(SelectKind.LOCAL,)), 12, seed=21)
        yield "engine soft", family, some(lambda dice, lut_ram=lut_ram: draw_soft(dice, lut_ram=lut_ram), 9, seed=14)
        yield "select turns", family, some(draw_turns, 6, seed=15)
        yield "window", family, some(draw_window, 24, seed=33)
        yield "pool", family, some(draw_pool, 15, seed=21)
        yield "unrolled", family, some(draw_unrolled, 6, seed=12)
        yield "frames", family, some(draw_frames, 9, seed=15)
        yield "join", family, some(draw_join, 3, seed=6)
    yield "engine soft", Family.ICE40, draw(
        lambda dice: replace(engine := draw_engine(dice, lut_ram=False, most=6), soft=engine.multipliers), 6, seed=1)
    yield "stage", Family.ICE40, draw(draw_stage, 4, seed=2)


class Measurements:
    """Cells by family and unit, kept in a file."""

    def __init__(self, path: Path):
        self._path = path
        self._cells = json.loads(path.read_text()) if path.exists() else {}

    @staticmethod
    def key(unit: object, family: Family) -> str:
        return f"{family.value} {unit if isinstance(unit, str) else describe(unit)}"

    def get(self, unit: object, family: Family) -> Cells | None:
        found = self._cells.get(self.key(unit, family))
        return None if found is None else Cells(**found)

    def measure(self, unit: object, family: Family, make: Callable[[], wiring.Component]) -> Cells:
        found = self.get(unit, family)
        if found is None:
            found = count_cells(make(), family)
            self._cells[self.key(unit, family)] = asdict(found)
            lines = [f"{json.dumps(key)}: {json.dumps(cells)}" for key, cells in sorted(self._cells.items())]
            self._path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return found
