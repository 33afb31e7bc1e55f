"""What a design takes on a device family, counted by Yosys: synthesis only, nothing placed."""

import json
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from amaranth.lib import wiring

from ..hw.verilog import emit_rtlil
from ..hw.yosys import run_yosys

__all__ = ["Cells", "Family", "count_cells"]


class Family(Enum):
    """Families of devices that Yosys synthesises alike."""

    ECP5 = "ecp5"
    ICE40 = "ice40"
    ICE40_DSP = "ice40-dsp"     # with the multipliers of the UltraPlus devices
    XCUP = "xcup"               # Xilinx UltraScale+


_SCRIPTS = {
    Family.ECP5: "synth_ecp5 -top top",
    Family.ICE40: "synth_ice40 -top top",
    Family.ICE40_DSP: "synth_ice40 -dsp -top top",
    Family.XCUP: "synth_xilinx -family xcup -flatten -noiopad -top top",
}

#: Look-up tables that a memory takes.
_XILINX_LUT_RAM = {"RAM32X1D": 2, "RAM32M": 4, "RAM32M16": 8, "RAM64X1S": 1, "RAM64X1D": 2, "RAM64M": 4, "RAM64M8": 8,
                   "RAM128X1S": 2, "RAM128X1D": 4, "RAM256X1S": 4, "RAM256X1D": 8, "RAM512X1S": 8}


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of one design.

    Members
    -------
    lut, ff, bram, dsp : int
        Look-up tables (of 4 inputs; of up to 6 on UltraScale+), flip-flops, block RAMs (DP16KD, SB_RAM40_4K; a RAMB36E2
        is two RAMB18E2) and multipliers (MULT18X18D, SB_MAC16, DSP48E2).
    carry, lut_ram : int
        Carry cells (CCU2C, SB_CARRY, CARRY4), and memories made of look-up tables (DPR16X4, RAM32M16 and its kind).
    lut_equivalents : int
        Places for look-up tables that are taken: on ECP5 a CCU2C takes two and a DPR16X4 four; on iCE40 and UltraScale+
        a carry shares its place with look-up tables. On UltraScale+ memories and shift registers take one to eight.
    """

    lut: int
    carry: int
    lut_ram: int
    ff: int
    bram: int
    dsp: int
    lut_equivalents: int


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

    lut, carry = total("LUT", "SB_LUT4"), total("CCU2C", "SB_CARRY", "CARRY")
    lut_ram, more = total("TRELLIS_DPR16X4", *_XILINX_LUT_RAM), 0
    if family is Family.ECP5:
        more = 2 * carry + 4 * lut_ram
    elif family is Family.XCUP:
        more = total("SRL") + sum(size * counts.get(cell, 0) for cell, size in _XILINX_LUT_RAM.items())
    return Cells(
        lut=lut, carry=carry, lut_ram=lut_ram, ff=total("TRELLIS_FF", "SB_DFF", "FD"),
        bram=total("DP16KD", "SB_RAM40", "RAMB18") + 2 * total("RAMB36"), dsp=total("MULT18X18D", "SB_MAC16", "DSP48"),
        lut_equivalents=lut + more)
