"""How Yosys maps memories and products to the cells of a device: block RAM, LUT RAM, logic; multipliers. Exact.

A memory goes where it costs least. The costs are those of Yosys's own tables (`memory_libmap` with
``lattice/brams_16kd.txt``, ``lattice/lutrams_trellis.txt`` and ``ice40/brams.txt``): a number for each cell, one half
for every two-way choice of a bit behind cells that lie one above the other, two for every unit of effort that makes a
cell behave as it is asked to, one for a bit kept in a flip-flop, and one sixteenth for a bit of a table in logic.
A product is cut into the parts that a multiplier takes (``mul2dsp.v``). Yosys 0.70.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from ..hw.arch import ceil_div

__all__ = ["Fabric", "Memory", "PlacedMemory", "Product", "cut_product", "place", "place_words"]


class Fabric(Enum):
    """What the devices of a family are made of."""

    ECP5 = "ecp5"       # DP16KD, 16 x 4 LUT RAM, CCU2C, MULT18X18D
    ICE40 = "ice40"     # SB_RAM40_4K, SB_CARRY, SB_MAC16


class Memory(Enum):
    """How a memory is read and written."""

    TABLE = "table"             # never written; read synchronously
    PLAIN = "plain"             # a word that is read while it is written shows what it was
    FORWARDING = "forwarding"   # ... shows what it will be
    LOOKUP = "lookup"           # read asynchronously


@dataclass(frozen=True, kw_only=True)
class PlacedMemory:
    """Where a memory went.

    Members
    -------
    block_ram, lut_ram : int
        Block RAMs, and LUT RAMs of 16 words of 4 bits.
    choices, levels : int
        Two-way choices of a bit between LUT RAMs, or block RAMs, that lie one above the other in so many levels.
    table_bits, register_bits : int
        Bits of a table in logic, and bits kept in flip-flops.
    held_bits : int
        Bits of the register that makes the reading of a LUT RAM, or of logic, synchronous.
    bypass_bits, bypass_registers : int
        Bits of a word and of its address that logic around a block RAM chooses and compares so that a word shows what
        it should while it is written, and bits of the registers there. To show what a word was, it is written a cycle
        later.
    """

    block_ram: int = 0
    lut_ram: int = 0
    choices: int = 0
    levels: int = 1
    table_bits: int = 0
    register_bits: int = 0
    held_bits: int = 0
    bypass_bits: int = 0
    bypass_registers: int = 0


@dataclass(frozen=True)
class _Geometry:
    cost: float
    cells: int
    choices: int
    levels: int


#: Of a block RAM: cost of a cell, address bits of its narrowest form, widths, those that it is written in by parts of
#: ``part`` bits only (None: as it comes).
_BLOCKS = {
    Fabric.ECP5: ((128, 14, (1, 2, 4, 9, 18), 9, 0), (128, 14, (1, 2, 4, 9, 18, 36), 9, 3)),
    Fabric.ICE40: ((64, 11, (2, 4, 8, 16), 1, 0),),
}
_EFFORT = {Memory.TABLE: 1, Memory.PLAIN: 7, Memory.FORWARDING: 4}


def _stacked(width: int, depth: int, *, cell: int, words: int, unit: int, part: int, cost: int, effort: int,
             written: bool) -> _Geometry:
    """Cells of ``words`` words of ``unit`` bits, side by side and one above the other."""
    levels = ceil_div(depth, words)
    cells = ceil_div(levels * ceil_div(width, part) * part, unit)
    choices = (levels - 1) * width
    total = cell * cells + 0.5 * (choices + (levels if written and levels > 1 else 0)) + 2 * effort
    return _Geometry(total, cells, choices, levels)


def _best_block(width: int, depth: int, kind: Memory, fabric: Fabric) -> _Geometry:
    written = kind is not Memory.TABLE
    found: _Geometry | None = None
    for cell, address_bits, widths, part, narrowest in _BLOCKS[fabric]:
        best: _Geometry | None = None
        for number, unit in enumerate(widths):
            if written and number < narrowest:
                continue
            one = _stacked(width, depth, cell=cell, words=1 << address_bits - number, unit=unit,
                           part=min(part, unit) if written else 1, cost=cell, effort=_EFFORT[kind], written=written)
            # Yosys keeps the best cost of a cell's widths as a whole number.
            if best is None or one.cost < int(best.cost):
                best = one
        if best is not None and (found is None or best.cost < found.cost):
            found = best
    assert found is not None
    return found


@lru_cache(maxsize=4096)
def place(width: int, depth: int, kind: Memory, fabric: Fabric, *, block: bool | None = None) -> PlacedMemory:
    """Where a memory of one writer and one reader goes.

    Parameters
    ----------
    width, depth : int
    kind : Memory
    fabric : Fabric
    block : bool or None
        Into block RAM, or not; None leaves it to the costs.
    """
    written, address_bits = kind is not Memory.TABLE, max(1, (depth - 1).bit_length())
    held = 0 if kind is Memory.LOOKUP else address_bits if kind is Memory.FORWARDING else width
    if written:
        chosen = PlacedMemory(register_bits=width * depth, choices=width * (depth - 1), levels=depth, held_bits=held)
        best = width * depth
    else:
        chosen = PlacedMemory(table_bits=width * depth, held_bits=held)
        best = width * depth // 16
    if block:
        best = 1 << 62
    if written and fabric is Fabric.ECP5 and not block:
        stacked = _stacked(width, depth, cell=4, words=16, unit=4, part=4, cost=4,
                           effort=4 if kind is Memory.FORWARDING else 1, written=True)
        if stacked.cost < best or block is False:
            best = int(stacked.cost)
            chosen = PlacedMemory(lut_ram=stacked.cells, choices=stacked.choices, levels=stacked.levels,
                                  held_bits=held)
    if kind is not Memory.LOOKUP and block is not False:
        stacked = _best_block(width, depth, kind, fabric)
        if stacked.cost < best:
            chosen = PlacedMemory(
                block_ram=stacked.cells, choices=stacked.choices, levels=stacked.levels,
                bypass_bits=width + address_bits if written else 0,
                bypass_registers=2 * width + address_bits + 2 if kind is Memory.PLAIN else width + 1 if written else 0)
    return chosen


def place_words(
    width: int, depth: int, fabric: Fabric, *, written: bool = False, used: tuple[int, int] = (1, 1),
) -> list[PlacedMemory]:
    """Where the chunks of a `dovetail.hw.rom.Rom` go, each of 32 bits of the words at most.

    Of a table Yosys leaves out what is always zero: ``used`` tells the bits that are not, so many of so many, from the
    lowest on, again and again.
    """
    if written:
        return [place(min(32, width - low), depth, Memory.PLAIN, fabric) for low in range(0, width, 32)]

    def below(bit: int) -> int:
        """Bits that are used below a bit."""
        return bit // used[1] * used[0] + min(bit % used[1], used[0])

    chunks = [below(min(low + 32, width)) - below(low) for low in range(0, width, 32)]
    return [place(bits, depth, Memory.TABLE, fabric) for bits in chunks if bits]


@dataclass(frozen=True)
class Product:
    """How a product is cut: multipliers, and bits of the adders that put its parts together again."""

    multipliers: int
    adder_bits: int = 0


#: Widest factors of a multiplier, and the narrowest product that is worth one.
_MULTIPLIERS = {Fabric.ECP5: (18, 0), Fabric.ICE40: (16, 11)}


@lru_cache(maxsize=4096)
def cut_product(one: int, other: int, fabric: Fabric, *, bits: int | None = None) -> Product:
    """Multipliers of a product of two factors of so many bits, sign included, of which ``bits`` are wanted.

    A factor, or a part of one, of a single bit needs none.
    """
    most, least = _MULTIPLIERS[fabric]
    wide, narrow = max(one, other), min(one, other)
    wanted = wide + narrow if bits is None else bits
    if narrow < 2 or wanted < least:
        return Product(0)
    if wide <= most:
        return Product(1)
    parts = (wide - 1) // most
    last = wide - parts * most
    regular = cut_product(most, narrow, fabric, bits=min(wanted, narrow + most))
    rest = cut_product(last, narrow, fabric, bits=narrow + last)
    return Product(parts * regular.multipliers + rest.multipliers,
                   parts * regular.adder_bits + rest.adder_bits + parts * max(0, wanted - most))
