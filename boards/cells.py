"""What a design takes on a device family, counted by Yosys: synthesis only, nothing placed."""

import json
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from amaranth.hdl import Shape
from amaranth.lib import wiring

from ..hw.arch import ceil_div
from ..hw.verilog import emit_rtlil
from ..hw.yosys import run_yosys

__all__ = ["Cells", "Family", "count_cells", "product_multipliers"]


class Family(Enum):
    """Families of devices that Yosys synthesises alike."""

    ECP5 = "ecp5"
    ICE40 = "ice40"
    ICE40_DSP = "ice40-dsp"     # with the multipliers and single-port RAMs of the UltraPlus devices


_SCRIPTS = {
    Family.ECP5: "synth_ecp5 -top top",
    Family.ICE40: "synth_ice40 -top top",
    Family.ICE40_DSP: "synth_ice40 -dsp -spram -top top",
}


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of one design.

    Members
    -------
    lut, ff, bram, dsp, spram : int
        4-input look-up tables, flip-flops, block RAMs (DP16KD or SB_RAM40_4K), multipliers (MULT18X18D or SB_MAC16) and
        single-port RAMs (SB_SPRAM256KA).
    carry, lut_ram : int
        Carry cells (CCU2C or SB_CARRY), and memories of 16 x 4 bits made of look-up tables.
    lut_equivalents : int
        Places for look-up tables that are taken: on ECP5 a CCU2C takes two and a DPR16X4 four; on iCE40 a carry shares
        its place with a look-up table.
    """

    lut: int
    carry: int
    lut_ram: int
    ff: int
    bram: int
    dsp: int
    spram: int
    lut_equivalents: int


def product_multipliers(one: Shape, other: Shape, family: Family) -> int:
    """Multipliers of the device that Yosys 0.70 takes for a product of two registered factors, ``synth_*`` as above.

    A factor without sign that meets one with a sign is one bit wider. A factor wider than a multiplier (18 bits on
    ECP5, 16 on UltraPlus) is cut into pieces of that width, from the low end, and a rest. Each pair of pieces is a
    multiplier unless one of them has a single bit or, on UltraPlus, their product has fewer than 11 bits; of factors
    that are not cut those of the product count without the bit that was added.

    Parameters
    ----------
    one, other : Shape
    family : Family

    Returns
    -------
    int
    """
    if family is Family.ICE40:
        return 0
    limit, least = (18, 0) if family is Family.ECP5 else (16, 11)
    mixed = one.signed != other.signed

    def pieces(shape: Shape) -> list[int]:
        bits = shape.width + (mixed and not shape.signed)
        whole = max(0, ceil_div(bits - limit, limit))
        return [limit] * whole + [bits - whole * limit]

    ones, others = pieces(one), pieces(other)
    if len(ones) == len(others) == 1 and one.width + other.width < least:
        return 0
    return sum(min(a, b) > 1 and a + b >= least for a in ones for b in others)


def count_cells(component: wiring.Component, family: Family) -> Cells:
    """Synthesise a component and count.

    Parameters
    ----------
    component : wiring.Component
    family : Family

    Returns
    -------
    Cells

    Raises
    ------
    ToolFailed
        If Yosys fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "top.il").write_text(emit_rtlil(component, name="top"))
        # Flattened first: with hierarchy, Yosys 0.70 stops in abc_ops_reintegrate on some designs.
        run_yosys(f"read_rtlil top.il; proc; flatten; opt_clean -purge; {_SCRIPTS[family]}; "
                  "tee -q -o stat.json stat -json", folder=folder)
        text = (folder / "stat.json").read_text()
    counts = json.loads(text[text.index("{"):])["design"]["num_cells_by_type"]

    def total(*prefixes: str) -> int:
        return sum(count for cell, count in counts.items() if cell.startswith(prefixes))

    ecp5 = family is Family.ECP5
    lut, carry, lut_ram = total("LUT4", "SB_LUT4"), total("CCU2C", "SB_CARRY"), total("TRELLIS_DPR16X4")
    return Cells(
        lut=lut, carry=carry, lut_ram=lut_ram, ff=total("TRELLIS_FF", "SB_DFF"), bram=total("DP16KD", "SB_RAM40"),
        dsp=total("MULT18X18D", "SB_MAC16"), spram=total("SB_SPRAM256KA"),
        lut_equivalents=lut + (2 * carry + 4 * lut_ram if ecp5 else 0))
