"""How a board's network gets its clock: straight from the oscillator, or from a PLL."""

from dataclasses import dataclass
from fractions import Fraction

from amaranth.hdl import Const, Instance, Signal

from ..hw.errors import DovetailError
from ..hw.link.arch import LEAST_CYCLES_PER_BIT
from .devices import DEVICES, Family
from .kits.record import Board
from .pll import Ecp5Pll, Ice40Pll, ecp5_outputs, ecp5_pll, ice40_outputs, ice40_pll

__all__ = ["Clocking", "clocking", "fastest_clock", "pll_instance"]

#: Largest error of a bit's length on the line that the other end can be asked to bear.
_MOST_BAUD_ERROR = Fraction(1, 50)


@dataclass(frozen=True, kw_only=True)
class Clocking:
    """A board's clock.

    Members
    -------
    hz : Fraction
        What the network gets, exactly.
    pll : Ice40Pll, Ecp5Pll or None
        None where the oscillator is the clock.
    """

    hz: Fraction
    pll: Ice40Pll | Ecp5Pll | None


def clocking(board: Board, *, megahertz: float, baud: int) -> Clocking:
    """How a board makes a clock.

    Parameters
    ----------
    board : Board
    megahertz : float
        What is wanted.
    baud : int
        Of the line, which is divided from it.

    Raises
    ------
    DovetailError
        If there is no such clock, and which is nearest; or no such line.
    """
    wanted = round(megahertz * 1e6)
    if wanted == board.oscillator_hz:
        found = Clocking(hz=Fraction(wanted), pll=None)
    else:
        make = ecp5_pll if DEVICES[board.device].family is Family.ECP5 else ice40_pll
        try:
            pll = make(board.oscillator_hz, wanted)
        except DovetailError as error:
            raise DovetailError(f"{board.title}: {error}; {board.oscillator_hz / 1e6:g} MHz is the oscillator itself, "
                                "which needs no PLL") from error
        found = Clocking(hz=pll.output_hz, pll=pll)
    cycles = round(found.hz / baud)
    if cycles < LEAST_CYCLES_PER_BIT:
        raise DovetailError(f"{float(found.hz) / 1e6:g} MHz is too slow for {baud:,} baud: at most "
                            f"{float(found.hz) // LEAST_CYCLES_PER_BIT:,.0f} it can")
    if abs(found.hz / cycles / baud - 1) > _MOST_BAUD_ERROR:
        raise DovetailError(f"{float(found.hz) / 1e6:g} MHz cannot be divided to {baud:,} baud; it can to "
                            f"{float(found.hz / cycles):,.0f}")
    return found


def fastest_clock(board: Board, *, at_most: float) -> Fraction | None:
    """The fastest clock in Hz, of those that a board can make, that is at most ``at_most``; None where none is."""
    outputs = ecp5_outputs if DEVICES[board.device].family is Family.ECP5 else ice40_outputs
    slower = [clock for clock in (*outputs(board.oscillator_hz), Fraction(board.oscillator_hz)) if clock <= at_most]
    return max(slower, default=None)


def pll_instance(board: Board, pll: Ice40Pll | Ecp5Pll, *, oscillator: Signal, clock: Signal,
                 locked: Signal) -> Instance:
    """The PLL as a cell of the device."""
    if isinstance(pll, Ice40Pll):
        cell, source = ("SB_PLL40_PAD", "PACKAGEPIN") if board.pll_pad else ("SB_PLL40_CORE", "REFERENCECLK")
        return Instance(
            cell, p_FEEDBACK_PATH="SIMPLE", p_PLLOUT_SELECT="GENCLK", p_DIVR=Const(pll.divr, 4),
            p_DIVF=Const(pll.divf, 7), p_DIVQ=Const(pll.divq, 3), p_FILTER_RANGE=Const(pll.filter_range, 3),
            **{f"i_{source}": oscillator}, i_RESETB=Const(1, 1), i_BYPASS=Const(0, 1), o_PLLOUTGLOBAL=clock,
            o_LOCK=locked)
    feedback = Signal()
    return Instance(
        "EHXPLLL", p_FEEDBK_PATH="CLKOP", p_CLKI_DIV=pll.clki_div, p_CLKFB_DIV=1, p_CLKOP_DIV=pll.clkop_div,
        p_CLKOP_ENABLE="ENABLED", p_CLKOP_CPHASE=pll.clkop_div - 1, p_CLKOP_FPHASE=0, p_CLKOS_DIV=pll.clkos_div,
        p_CLKOS_ENABLE="ENABLED", p_CLKOS_CPHASE=pll.clkos_div - 1, p_CLKOS_FPHASE=0, p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB", p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD",
        i_CLKI=oscillator, i_CLKFB=feedback, i_RST=Const(0, 1), i_STDBY=Const(0, 1), i_PHASESEL0=Const(0, 1),
        i_PHASESEL1=Const(0, 1), i_PHASEDIR=Const(1, 1), i_PHASESTEP=Const(1, 1), i_PHASELOADREG=Const(1, 1),
        i_PLLWAKESYNC=Const(0, 1), i_ENCLKOP=Const(0, 1), i_ENCLKOS=Const(0, 1), o_CLKOP=feedback, o_CLKOS=clock,
        o_LOCK=locked, a_ICP_CURRENT="12", a_LPF_RESISTOR="8")
