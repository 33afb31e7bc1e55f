"""What a layer takes on a device, estimated from its architecture records alone.

Block RAMs, LUT RAMs and multipliers are exact (`dovetail.sw.cell_rules`). Look-up tables and flip-flops are sums of
*features*, each with a coefficient: a feature is an amount of hardware that the records state, such as the bits of the
adders behind all multipliers. The coefficients (`dovetail.sw.resource_table`) are fitted to synthesised units, and none
is negative, so that more of anything never costs less; ``benchmarks/resource_model.py`` has the measurements, makes the
fit and tells its errors.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ..hw.adders import AdderGraph
from ..hw.arch import (
    AccumulatorKind,
    EngineArch,
    LayerArch,
    MemoryKind,
    NetworkArch,
    PoolArch,
    PoolAxis,
    ScaleArch,
    SelectArch,
    SelectKind,
    ThresholdArch,
    UnrolledArch,
    WindowArch,
    bits_for,
    ceil_div,
)
from .cell_rules import Fabric, Memory, PlacedMemory, Product, cut_product, place, place_words
from .resource_table import FF, LUT
from .settings import Device

__all__ = ["Resources", "Tally", "capacity", "layer_resources", "network_resources"]

#: LUT equivalents of a LUT RAM of 16 words of 4 bits.
LUT_RAM_COST = 4
#: Flip-flops and look-up tables of an unrolled layer whose adders are not known, for every weight that is not zero.
UNROLLED_FF, UNROLLED_LUT = 33, 22


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Cells of a part of a design, or of a device.

    Members
    -------
    lut : int
        Places of 4-input look-up tables. On ECP5 a CCU2C takes two of them and a DPR16X4 four; on iCE40 a carry shares
        its place with a look-up table.
    ff : int
    block_ram : int
        DP16KD, or SB_RAM40_4K.
    multiplier : int
        MULT18X18D, or SB_MAC16.
    spram : int
        SB_SPRAM256KA.
    """

    lut: int = 0
    ff: int = 0
    block_ram: int = 0
    multiplier: int = 0
    spram: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            lut=self.lut + other.lut, ff=self.ff + other.ff, block_ram=self.block_ram + other.block_ram,
            multiplier=self.multiplier + other.multiplier, spram=self.spram + other.spram)

    def __radd__(self, other: int) -> "Resources":
        """What `sum` begins with."""
        if other != 0:
            return NotImplemented
        return self


_CAPACITY = {
    Device.UP5K: Resources(lut=5280, ff=5280, block_ram=30, multiplier=8, spram=4),
    Device.HX8K: Resources(lut=7680, ff=7680, block_ram=32),
    Device.ECP5_25K: Resources(lut=24288, ff=24288, block_ram=56, multiplier=28),
    Device.ECP5_45K: Resources(lut=43848, ff=43848, block_ram=108, multiplier=72),
    Device.ECP5_85K: Resources(lut=83640, ff=83640, block_ram=208, multiplier=156),
}


def capacity(device: Device) -> Resources | None:
    """What a device has; None of one whose cells this model does not know (``XCUP``)."""
    return _CAPACITY.get(device)


@dataclass
class Tally:
    """Features of a part of a design, and its exact cells.

    Members
    -------
    fabric : Fabric
    has_multipliers : bool
        Products go to multipliers; otherwise they are logic.
    block : bool or None
        Memories with a word per kernel go into block RAM, or not; None leaves it to the costs.
    lut, ff : defaultdict of float
        Amount of every feature.
    lut_ram, block_ram, multiplier, spram : int
    """

    fabric: Fabric
    has_multipliers: bool
    block: bool | None = None
    lut: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    ff: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    lut_ram: int = 0
    block_ram: int = 0
    multiplier: int = 0
    spram: int = 0

    def memory(self, placed: PlacedMemory, count: int = 1, *, depth: int = 16, left: float = 1.0) -> None:
        """``count`` memories in the same kind of place; of a table ``depth``, and the part of its columns ``left``."""
        self.lut_ram += count * placed.lut_ram
        self.block_ram += count * placed.block_ram
        self.lut["memory choice"] += count * placed.choices
        self.lut["memory levels"] += count * (placed.levels - 1)
        if placed.table_bits:
            # A column of 16 rows is one look-up table, and every bit more of the row's number takes twice as many.
            self.lut["memory table"] += count * left * placed.table_bits / depth * max(1, (1 << bits_for(depth)) / 16)
        self.lut["memory bypass"] += count * placed.bypass_bits
        self.ff["memory held"] += count * left * placed.held_bits
        self.ff["memory bits"] += count * placed.register_bits
        self.ff["memory bypass"] += count * placed.bypass_registers

    def words(
        self, width: int, depth: int, count: int = 1, *, written: bool = False, used: tuple[int, int] = (1, 1),
        block: bool | None = None,
    ) -> float:
        """``count`` memories of the compiled network; ``written`` where they can be loaded, ``used`` and ``block`` of
        `place_words`.

        Returns what part of the columns is left: in a table of a few rows, kept in logic, many columns are the same.
        """
        placed = place_words(width, depth, self.fabric, written=written, used=used, block=block)
        left = 1.0
        if placed[0].table_bits:
            columns, kinds = width * count, 2.0**min(depth, 60)
            left = -kinds * math.expm1(columns * math.log1p(-1 / kinds)) / columns
        for one in placed:
            self.memory(one, count, depth=depth, left=left)
        if written:
            self.lut["load"] += count * ceil_div(width, 32)
        return left

    def product(self, one: int, other: int, count: int, *, bits: int) -> bool:
        """``count`` products of ``bits`` bits; whether they took multipliers."""
        cut = cut_product(one, other, self.fabric, bits=bits) if self.has_multipliers else Product(0)
        self.multiplier += count * cut.multipliers
        if cut.multipliers:
            self.lut["product parts"] += count * cut.adder_bits
        else:
            self.lut["product"] += count * one * other
        return bool(cut.multipliers)

    def resources(self) -> Resources:
        """The estimate."""
        lut, ff = LUT[self.fabric.value], FF[self.fabric.value]
        return Resources(
            lut=round(sum(lut[name] * amount for name, amount in self.lut.items()))
            + LUT_RAM_COST * self.lut_ram,
            ff=round(sum(ff[name] * amount for name, amount in self.ff.items())),
            block_ram=self.block_ram, multiplier=self.multiplier, spram=self.spram)


def tally_engine(t: Tally, arch: EngineArch, *, loadable: bool = False) -> None:
    """Features of a folded engine."""
    lanes, pairs, ports, bits = arch.lanes, arch.multipliers, arch.drain_width, arch.sum_bits
    weight, value = arch.weight_bits, arch.activation_bits
    word_bits, slot_bits = (arch.drain_slots - 1).bit_length(), bits_for(arch.capacity)
    count_bits, row_bits = arch.capacity.bit_length(), bits_for(arch.lane_rows)
    base_bits = arch.index_bits if arch.folds > 1 else 0

    # Pairs.
    block = arch.accumulator is AccumulatorKind.BLOCK_RAM
    kind = Memory.FORWARDING if block else Memory.LOOKUP
    t.memory(place(bits, 2 << word_bits, kind, t.fabric, block=block or None), pairs * arch.columns)
    t.lut["pair adder"] += pairs * bits
    t.lut["pair choice"] += pairs * bits * (arch.columns - 1 or 0.5)
    t.lut["pair address"] += pairs * (word_bits + arch.columns)
    packed = t.product(weight, value + (not arch.activation_signed), pairs - arch.soft, bits=weight + value)
    t.lut["soft product"] += arch.soft * ceil_div(weight, 2) * (value + 2)
    kid_bits = arch.kid_bits if loadable else (arch.set_size - 1).bit_length()
    t.ff["pair"] += pairs * (kid_bits + word_bits + arch.columns)
    t.ff["pair factor" if packed else "pair"] += pairs * (2 * weight + value)

    # Lanes: replay buffer, row table, sequencer, weights.
    pair_bits = value + (bits_for(arch.lane_positions) if arch.indexed else 0)
    t.memory(place(pair_bits, 2 << slot_bits, Memory.PLAIN, t.fabric), lanes)
    if arch.weight_memory is MemoryKind.SPRAM:
        t.spram += lanes * ceil_div(arch.banks * arch.slot_bits, 16) * ceil_div(arch.lane_rows, 1 << 14)
    else:
        block = None if arch.weight_memory is MemoryKind.AUTO else arch.weight_memory is MemoryKind.BLOCK_RAM
        # No KID is as great as the set, which may leave its highest bits zero.
        used_bits = weight + (arch.set_size - 1).bit_length()
        t.words(arch.banks * arch.slot_bits, arch.lane_rows, lanes, written=loadable, block=block,
                used=(used_bits, arch.slot_bits))
    if arch.row_table:
        t.words(row_bits + bits_for(arch.most_rows + 1), arch.folds * arch.lane_positions, lanes, written=loadable)
        t.lut["lane row"] += lanes * row_bits
        t.ff["lane"] += lanes * (value + 4)
    t.lut["lane"] += lanes
    t.lut["lane count"] += lanes * (slot_bits + 3 * count_bits)
    t.lut["lane index"] += lanes * 2 * base_bits
    t.lut["lane value"] += lanes * value
    t.ff["lane"] += lanes * (
        3 * count_bits + (1 if arch.indexed else 2) * slot_bits + bits_for(arch.folds) + 2 * base_bits + 3 * value
        + row_bits + 14)

    # Drain.
    t.lut["bank choice"] += ports * bits * (arch.group_beats - 1)
    t.lut["tree"] += (lanes - 1) * arch.banks * arch.columns * bits
    t.lut["bias"] += ports * bits
    t.lut["drain"] += 1
    t.lut["drain count"] += bits_for(arch.beats) + bits_for(arch.folds) + word_bits + bits_for(arch.group_period)
    left = t.words(arch.bias_width, arch.beats, ports, written=loadable, block=t.block)
    t.ff["capture"] += arch.banks * arch.group * bits
    t.ff["beat"] += ports * bits
    t.ff["tree"] += _tree_registers(lanes) * arch.banks * arch.columns * bits
    t.ff["bias"] += ports * bits * (3 + left)
    t.ff["drain"] += bits_for(arch.beats) + bits_for(arch.folds) + 4 * word_bits + bits_for(arch.group_period) + 32


def tally_stage(
    t: Tally, arch: ScaleArch | ThresholdArch, *, width: int, value_bits: int, beats: int, loadable: bool = False,
) -> None:
    """Features of a stage of requantisation."""
    code_bits = arch.code_format[0]
    t.ff["stage"] += bits_for(beats) + 8
    t.lut["stage"] += bits_for(beats)
    if isinstance(arch, ThresholdArch):
        bits = value_bits + 1
        left = t.words(arch.count * bits, beats, width, written=loadable, block=t.block)
        t.lut["thresholds"] += width * arch.count * bits
        t.lut["thresholds reached"] += width * arch.count
        t.ff["stage port"] += width * (2 * value_bits + arch.count * (left * bits + 1) + code_bits)
        return
    product_bits = value_bits + arch.multiplier_bits
    lowest = (arch.offset & -arch.offset).bit_length() - 1 if arch.offset else arch.shift
    below = 0 if arch.offset_bits else min(lowest, arch.shift)
    unused = 0 if arch.ties_to_even else below
    quotient = max(1, product_bits + 1 - arch.shift)
    kept = [bits and bits * t.words(bits, beats, width, written=loadable, block=t.block)
            for bits in (arch.multiplier_bits, arch.offset_bits)]
    packed = False
    if arch.multiplier_bits:
        packed = t.product(value_bits, arch.multiplier_bits + (not arch.multiplier_signed), width,
                           bits=product_bits + 1)
    if arch.offset_bits or arch.offset:
        t.lut["scale offset"] += width * (max(product_bits, arch.offset_bits) - below)
    t.lut["scale code"] += width * code_bits
    if arch.low or arch.high < 1 or arch.high & arch.high + 1:
        t.lut["scale compare"] += width * 2 * quotient
    else:
        t.lut["scale above"] += width * max(0, quotient - code_bits)
    if arch.ties_to_even:
        t.lut["scale tie"] += width * (arch.shift / 3 + quotient)
    if arch.multiplier_bits:
        t.ff["scale factor" if packed else "stage port"] += width * (
            value_bits + kept[0] + product_bits - unused)
        t.ff["stage port"] += width * (value_bits + 2 * kept[1] + code_bits)
    else:
        t.ff["stage port"] += width * (3 * (value_bits - unused) + 2 * kept[1] + code_bits)


def tally_select(t: Tally, arch: SelectArch, *, in_order: bool = False, loadable: bool = False) -> None:
    """Features of a select unit; ``in_order`` where vectors come in the model's order, from an unrolled engine."""
    width, bits, value = arch.width, bits_for(arch.words), arch.value_bits
    word_payload = width * (value + 1) + bits + 1

    # Store.
    if not in_order or loadable:
        # Where every element of every beat exists, the bit that says so is no memory.
        padded = loadable or arch.beats * width > arch.kernels
        t.words(bits + padded, arch.beats, width, written=loadable, block=t.block)
        if width > 1:
            t.words(width * bits_for(width), arch.words, written=loadable, block=t.block)
            t.lut["store ranks"] += width * (width - 1) * value
            t.ff["store"] += width * bits_for(width)
    t.memory(place(value, arch.buffers * arch.words, Memory.PLAIN, t.fabric, block=t.block), width)
    t.lut["store"] += 1
    t.lut["store count"] += bits_for(arch.beats) + 2 * bits
    t.ff["store"] += bits_for(arch.beats) + 3 * bits + 18 + 2 * width * value + word_payload

    # Gearbox.
    if arch.lanes >= width:
        t.lut["gearbox wide"] += arch.lanes if arch.lanes > width else 0
    else:
        parts = width // arch.lanes
        t.lut["gearbox narrow"] += arch.lanes * value * (parts - 1) + 3 * width
        t.ff["store"] += parts

    if arch.kind is SelectKind.NONZERO:
        t.lut["nonzero"] += width * value
        t.ff["store"] += word_payload
    if not arch.is_kwta:
        return
    tie_bits = bits_for(arch.winners + 1)
    t.lut["winners compare"] += width * value
    t.lut["winners ties"] += width * (tie_bits + width)
    t.lut["winners"] += 1
    if arch.losers:
        t.lut["winners zero"] += width * value
    t.ff["winners"] += 3 * word_payload + 5 * tie_bits + value + 4 * width + (width + 1) * bits_for(width + 1) + 8
    if arch.kind is SelectKind.LOCAL:
        for _ in range(arch.turns):
            _tally_radix(t, arch)
    else:
        for _ in range(arch.turns):
            _tally_histogram(t, arch)


def _tally_radix(t: Tally, arch: SelectArch) -> None:
    """Features of one threshold finder for short vectors."""
    codes, value, tie_bits = arch.width * arch.words, arch.value_bits, bits_for(arch.winners + 1)
    t.lut["radix bits"] += codes * value
    t.lut["radix codes"] += codes
    t.lut["radix"] += value + tie_bits
    t.ff["radix"] += codes * (value + 2) + ceil_div(codes, 8) * 4 + 2 * value + tie_bits + 8


def _tally_histogram(t: Tally, arch: SelectArch) -> None:
    """Features of one threshold finder for long vectors."""
    value, rows, memories = arch.value_bits, (1 << arch.value_bits) // arch.bins, 2 * arch.width
    total_bits, tie_bits, row_bits = bits_for(arch.kernels + 1), bits_for(arch.winners + 1), bits_for(rows)
    word = arch.bins * bits_for(arch.words + 1)
    t.memory(place(word, max(2, rows), Memory.FORWARDING, t.fabric), memories)
    t.lut["histogram memory"] += memories
    t.lut["histogram word"] += memories * word
    t.lut["histogram row"] += memories * (row_bits + arch.bins)
    t.lut["histogram totals"] += (arch.width - 1) * arch.bins * total_bits
    t.lut["histogram sums"] += arch.bins * (arch.bins - 1) // 2 * total_bits
    t.lut["histogram reach"] += arch.bins * (total_bits + tie_bits)
    t.lut["histogram"] += 1
    t.ff["histogram"] += memories * (word + 2 * arch.bins + 2 * row_bits + 3)
    t.ff["histogram scan"] += 2 * arch.bins * total_bits + 2 * tie_bits + 2 * row_bits + value + 24


def tally_window(t: Tally, arch: WindowArch) -> None:
    """Features of the unit in front of a convolution."""
    lanes, (grid_rows, grid_columns) = arch.lanes, arch.bank_grid
    ways = 1 << (min(arch.input_lanes, arch.slots) - 1).bit_length()
    pair = arch.activation_bits + (bits_for(arch.channels) if arch.indexed else 0)
    pixel_bits, count_bits = bits_for(arch.bank_pixels), bits_for(arch.slots + 1)
    word_bits = (ceil_div(arch.slots, ways) - 1).bit_length()
    rows_left = arch.height - (arch.output_size[0] - 1) * arch.strides[0]
    # Where a window stands turns the banks, unless it always stands alike.
    turns_y = (grid_rows - 1).bit_length() if arch.strides[0] % grid_rows or rows_left % grid_rows else 0
    turns_x = (grid_columns - 1).bit_length() if arch.strides[1] % grid_columns else 0
    address_bits = arch.address_bits if arch.lane_positions > 1 else 0
    slot_bits = bits_for(arch.slots) if arch.slots > 1 else 0
    reads = 2 if arch.indexed else 1
    t.memory(place(pair, max(2, arch.bank_pixels << word_bits), Memory.PLAIN, t.fabric, block=arch.block_ram),
             lanes * ways)
    if arch.indexed:
        t.memory(place(count_bits, max(2, arch.bank_pixels), Memory.PLAIN, t.fabric), lanes)
        t.lut["window counts"] += lanes * count_bits
        t.ff["window lane"] += lanes * count_bits
    t.lut["window"] += 1
    t.lut["window pixel"] += pixel_bits
    t.lut["window image"] += bits_for(arch.height) + bits_for(arch.width)
    t.lut["window border"] += sum(arch.pads) + bits_for(arch.width) * ceil_div(arch.output_size[1], 16)
    t.lut["window addresses"] += reads * pixel_bits * (
        (grid_columns * (2 if turns_y else 1) if turns_x else 0) + (lanes if turns_y else 0))
    t.lut["window lane"] += lanes
    t.lut["window turns"] += lanes * (pair + 1) * (turns_y + turns_x)
    t.lut["window base"] += lanes * address_bits
    t.lut["window ways"] += lanes * (ways - 1) * pair
    t.lut["window slots"] += (1 + arch.input_lanes) * slot_bits
    side = turns_y + turns_x + address_bits + slot_bits + lanes + 2
    places = (2 if turns_y else 1) * (2 if turns_x else 1)
    place_bits = places * pixel_bits + side + bits_for(arch.height + 1) + (
        (grid_rows if turns_y else 0) + (grid_columns if turns_x else 0))
    t.ff["window lane"] += lanes * (
        ways * pair + 1 + arch.activation_bits + address_bits + (pair + 1 if grid_rows > 1 else 0))
    t.ff["window group"] += 3 * place_bits + (3 if grid_rows > 1 else 2) * side
    t.ff["window"] += (
        6 * pixel_bits + 4 * bits_for(arch.width) + 3 * bits_for(arch.height) + (3 + arch.input_lanes) * count_bits
        + arch.input_lanes * (arch.activation_bits + 1) + arch.input_address_bits + address_bits + 10)


@lru_cache(maxsize=1024)
def _files(axis: PoolAxis) -> int:
    return axis.files


def tally_pool(t: Tally, arch: PoolArch) -> None:
    """Features of a pool."""
    bits = arch.ports * arch.value_bits
    t.lut["pool"] += 1
    t.ff["pool"] += 8
    columns = arch.horizontal
    for axis, line in ((columns, arch.beats), (arch.vertical, columns.count * arch.beats)):
        position_bits = bits_for(axis.positions)
        t.lut["pool walk"] += position_bits
        t.ff["pool"] += position_bits + 6
        if axis.is_identity:
            continue
        files, short = _files(axis), line <= 3
        t.memory(place(bits, max(2, line), Memory.LOOKUP if short else Memory.PLAIN, t.fabric), files)
        t.lut["pool walk"] += position_bits
        t.lut["pool line"] += 1
        t.lut["pool compare"] += files * bits
        if axis.hands_over:
            t.lut["pool enters"] += files * bits
        t.lut["pool choice"] += (files - 1) * bits
        t.ff["pool"] += position_bits + 4 * bits_for(line) + 20
        t.ff["pool beats"] += 3 * bits
        t.ff["pool files"] += 0 if short else 2 * files * bits


def tally_join(t: Tally, *, vectors: int, elements: int, lanes: int) -> None:
    """Features of the unit that makes a vector of pixels."""
    bits = bits_for(vectors * elements // lanes) + bits_for(vectors)
    t.lut["join"] += bits
    t.ff["join"] += bits


def tally_unrolled(t: Tally, arch: UnrolledArch, graph: AdderGraph | None) -> None:
    """Features of an unrolled engine, without the pool that it may hold."""
    if graph is None:
        t.lut["unrolled"] += UNROLLED_LUT * arch.nonzeros
        t.ff["unrolled"] += UNROLLED_FF * arch.nonzeros
    else:
        t.lut["unrolled"] += graph.adder_bits
        t.lut["unrolled adders"] += len(graph.adders)
        t.ff["unrolled"] += graph.register_bits // arch.stage_depth
    held = arch.kernels * arch.value_bits
    t.lut["serialise"] += held
    if arch.drain_width > 1 and arch.beats & (arch.beats - 1):
        # Yosys repeats the comparison with the last beat's number for every bit.
        t.lut["serialise odd"] += held
    t.lut["bias"] += arch.drain_width * arch.sum_bits
    t.lut["serialise count"] += bits_for(arch.beats) + 1
    t.words(arch.sum_bits, arch.beats, arch.drain_width)
    t.ff["serialise"] += arch.vectors * held
    t.ff["bias"] += arch.drain_width * 2 * (arch.value_bits + arch.sum_bits)
    t.ff["drain"] += 2 * arch.latency + bits_for(arch.beats) + 10


def tally_frames(
    t: Tally, kind: str, *, length: int, pixels: int, width: int, lanes: int, value_bits: int, skip_zeros: bool,
) -> None:
    """Features of the network's border: ``kind`` is input, pixels or output."""
    if kind == "output":
        bits = bits_for(pixels) if pixels > 1 else 0
    elif kind == "pixels":
        bits = bits_for(length // width) + bits_for(pixels) + 2
    else:
        bits = bits_for(ceil_div(length, width) + 1) + bits_for(lanes // width) + bits_for(ceil_div(length, lanes))
    t.lut["frames"] += bits
    t.ff["frames"] += bits
    if kind != "output":
        t.lut["frames codes"] += lanes
        t.lut["frames values"] += width * value_bits


def _tree_registers(terms: int) -> int:
    """Registers of a sum in a balanced tree with one behind every level."""
    count = 0
    while terms > 1:
        terms = ceil_div(terms, 2)
        count += terms
    return count


def _tally(device: Device, tables: MemoryKind = MemoryKind.AUTO) -> Tally:
    if device not in _CAPACITY:
        raise ValueError(f"device must be one whose cells are known, not {device!r}")
    fabric = Fabric.ICE40 if device in (Device.UP5K, Device.HX8K) else Fabric.ECP5
    return Tally(fabric=fabric, has_multipliers=_CAPACITY[device].multiplier > 0,
                 block=None if tables is MemoryKind.AUTO else tables is MemoryKind.BLOCK_RAM)


def layer_resources(
    arch: LayerArch, device: Device, *, graph: AdderGraph | None = None, loadable: bool = False,
) -> dict[str, Resources]:
    """What a layer takes, by unit.

    Parameters
    ----------
    arch : LayerArch
    device : Device
    graph : AdderGraph, optional
        What an unrolled engine computes; without it a guess by the weights that are not zero.
    loadable : bool
        Memories can be written at run time.

    Returns
    -------
    dict
        ``window`` or ``join`` where there is one, ``engine``, ``stages`` and ``pool`` where there are any, ``select``.

    Raises
    ------
    ValueError
        If the device's cells are not known.
    """
    found: dict[str, Tally] = {}

    def unit(name: str) -> Tally:
        return found.setdefault(name, _tally(device, arch.tables))

    engine = arch.engine
    if arch.window is not None:
        tally_window(unit("window"), arch.window)
    elif arch.joined > 1:
        tally_join(unit("join"), vectors=arch.joined, elements=arch.elements, lanes=engine.lanes)
    if isinstance(engine, UnrolledArch):
        tally_unrolled(unit("engine"), engine, graph)
    else:
        tally_engine(unit("engine"), engine, loadable=loadable)
    for stage, (bits, _) in zip(arch.stages, arch.stage_formats, strict=True):
        tally_stage(unit("stages"), stage, width=engine.drain_width, value_bits=bits, beats=engine.beats,
                    loadable=loadable)
    if arch.pool is not None:
        tally_pool(unit("pool"), arch.pool)
    tally_select(unit("select"), arch.select, in_order=isinstance(engine, UnrolledArch), loadable=loadable)
    return {name: tally.resources() for name, tally in found.items()}


def network_resources(
    arch: NetworkArch, device: Device, *, graphs: Mapping[str, AdderGraph] | None = None,
) -> dict[str, dict[str, Resources]]:
    """What a network takes, by layer and unit.

    Parameters
    ----------
    arch : NetworkArch
    device : Device
    graphs : mapping of str to AdderGraph, optional
        What unrolled layers compute, by the layer's name.

    Returns
    -------
    dict of dict
        By layer as from `layer_resources`; behind them ``network`` with the units ``input`` and ``output``.

    Raises
    ------
    ValueError
        If the device's cells are not known.
    """
    found = {layer.name: layer_resources(layer, device, graph=(graphs or {}).get(layer.name), loadable=arch.loadable)
             for layer in arch.layers}
    first, last = arch.layers[0], arch.layers[-1]
    source, sink = _tally(device), _tally(device)
    image = first.window is not None
    tally_frames(source, "pixels" if image else "input", length=first.elements, pixels=first.arrivals,
                 width=arch.input_width, lanes=arch.input_width if image else first.engine.lanes,
                 value_bits=first.engine.activation_bits, skip_zeros=first.engine.indexed)
    tally_frames(sink, "output", length=last.select.kernels, pixels=last.pixels, width=last.select.width,
                 lanes=last.select.width, value_bits=last.select.value_bits, skip_zeros=False)
    found["network"] = {"input": source.resources(), "output": sink.resources()}
    return found
