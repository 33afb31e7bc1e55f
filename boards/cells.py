"""What a design takes on a device family, counted by Yosys: synthesis only, nothing placed."""

from dataclasses import dataclass

from amaranth.lib import wiring

from ..hw.verilog import emit_rtlil
from .devices import Family
from .synth import Design, Language, Synthesis, synthesise

__all__ = ["Cells", "Family", "cells_of", "count_cells"]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of one design.

    Members
    -------
    lut, ff, bram, dsp, spram : int
        Look-up tables (of 4 inputs; UltraScale+: up to 6), flip-flops, block RAMs (DP16KD, SB_RAM40_4K; UltraScale+:
        halves of 18 kbit), multipliers (MULT18X18D, SB_MAC16, DSP48E2) and large memories (SB_SPRAM256KA, URAM288).
    carry, lut_ram : int
        Carry cells (CCU2C, SB_CARRY, CARRY4), and memories of 16 x 4 bits made of look-up tables (UltraScale+: look-up
        tables that are memories or shift registers).
    lut_equivalents : int
        Places for look-up tables that are taken: on ECP5 a CCU2C takes two and a DPR16X4 four; on iCE40 a carry shares
        its place with a look-up table. UltraScale+: look-up tables, memories of them included.
    """

    lut: int
    carry: int
    lut_ram: int
    ff: int
    bram: int
    dsp: int
    spram: int
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
    design = Design(text=emit_rtlil(component, name="top"), language=Language.RTLIL, top="top")
    return cells_of(synthesise(design, family))


def cells_of(synthesis: Synthesis) -> Cells:
    """The counts that the families have in common."""
    counts, family = synthesis.counts, synthesis.family

    def total(*prefixes: str) -> int:
        return sum(count for cell, count in counts.items() if cell.startswith(prefixes))

    if family is Family.XCUP:
        lut, carry, lut_ram = total("LUT"), total("CARRY"), 8 * total("RAM32M16", "RAM64M8") + total("SRL", "RAM32X1")
        return Cells(lut=lut, carry=carry, lut_ram=lut_ram, ff=total("FD"), bram=total("RAMB18") + 2 * total("RAMB36"),
                     dsp=total("DSP"), spram=total("URAM"), lut_equivalents=lut + lut_ram)
    lut, carry, lut_ram = total("LUT4", "SB_LUT4"), total("CCU2C", "SB_CARRY"), total("TRELLIS_DPR16X4")
    return Cells(
        lut=lut, carry=carry, lut_ram=lut_ram, ff=total("TRELLIS_FF", "SB_DFF"), bram=total("DP16KD", "SB_RAM40"),
        dsp=total("MULT18X18D", "SB_MAC16"), spram=total("SB_SPRAM"),
        lut_equivalents=lut + (2 * carry + 4 * lut_ram if family is Family.ECP5 else 0))
