"""PLL settings for a wanted frequency, within the limits of the data sheets, and the exact frequency that results.

Of settings that come equally near, the one whose oscillator (VCO) is nearest the middle of its range is taken: there it
is furthest from losing its lock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from ..hw.errors import DovetailError

__all__ = ["Ecp5Pll", "Ice40Pll", "ecp5_outputs", "ecp5_pll", "ice40_outputs", "ice40_pll"]

_Settings = TypeVar("_Settings", "Ice40Pll", "Ecp5Pll")

#: By how much the result may miss what was asked for, relatively.
TOLERANCE = Fraction(1, 100)

_MHZ = 1_000_000


@dataclass(frozen=True, kw_only=True)
class _Range:
    """From ``low`` to ``high`` Hz, both included."""

    low: int
    high: int

    def __contains__(self, frequency: Fraction | int) -> bool:
        return self.low <= frequency <= self.high


@dataclass(frozen=True, kw_only=True)
class Ice40Pll:
    """Settings of SB_PLL40_CORE and SB_PLL40_PAD with simple feedback.

    Members
    -------
    divr, divf, divq : int
        The output is ``input * (divf + 1) / (divr + 1) / 2**divq``.
    filter_range : int
        Of the loop filter, by the frequency that is compared.
    output_hz : Fraction
    """

    divr: int
    divf: int
    divq: int
    filter_range: int
    output_hz: Fraction


@dataclass(frozen=True, kw_only=True)
class Ecp5Pll:
    """Settings of EHXPLLL, with feedback from CLKOP, which has the frequency that is compared, and CLKOS as its output.

    Members
    -------
    clki_div, clkop_div, clkos_div : int
        The oscillator runs at ``input / clki_div * clkop_div``, the output at a ``clkos_div``-th of that.
    output_hz : Fraction
    """

    clki_div: int
    clkop_div: int
    clkos_div: int
    output_hz: Fraction


# iCE40 family data sheets, "sysCLOCK PLL Timing".
_ICE40_INPUT, _ICE40_COMPARED = _Range(low=10 * _MHZ, high=133 * _MHZ), _Range(low=10 * _MHZ, high=133 * _MHZ)
_ICE40_OSCILLATOR, _ICE40_OUTPUT = _Range(low=533 * _MHZ, high=1066 * _MHZ), _Range(low=16 * _MHZ, high=275 * _MHZ)
# The loop filter's range is the first whose compared frequency stays below.
_ICE40_FILTERS = ((17, 1), (26, 2), (44, 3), (66, 4), (101, 5), (134, 6))

# ECP5 family data sheet, "sysCLOCK PLL Timing".
_ECP5_INPUT, _ECP5_COMPARED = _Range(low=8 * _MHZ, high=400 * _MHZ), _Range(low=10 * _MHZ, high=400 * _MHZ)
_ECP5_OSCILLATOR, _ECP5_OUTPUT = _Range(low=400 * _MHZ, high=800 * _MHZ), _Range(low=3_125_000, high=400 * _MHZ)
_ECP5_MOST_DIVISOR = 128


def ice40_pll(input_hz: int, output_hz: int) -> Ice40Pll:
    """Settings for an iCE40.

    Parameters
    ----------
    input_hz, output_hz : int

    Raises
    ------
    DovetailError
        If the PLL cannot come near ``output_hz``; names the nearest frequency that it can make.
    """
    return _nearest(list(_ice40_settings(input_hz)), input_hz, output_hz, _ICE40_OSCILLATOR)


def ice40_outputs(input_hz: int) -> set[Fraction]:
    """Every frequency that an iCE40 makes of one."""
    return {settings.output_hz for settings, _ in _ice40_settings(input_hz)}


def _ice40_settings(input_hz: int) -> Iterator[tuple[Ice40Pll, Fraction]]:
    """All settings that are allowed, with the oscillator's frequency."""
    if input_hz not in _ICE40_INPUT:
        return
    for divr in range(16):
        compared = Fraction(input_hz, divr + 1)
        if compared not in _ICE40_COMPARED:
            break
        filter_range = next(number for limit, number in _ICE40_FILTERS if compared < limit * _MHZ)
        for divf in range(128):
            oscillator = compared * (divf + 1)
            if oscillator not in _ICE40_OSCILLATOR:
                continue
            for divq in range(1, 7):
                output = oscillator / 2**divq
                if output in _ICE40_OUTPUT:
                    yield Ice40Pll(divr=divr, divf=divf, divq=divq, filter_range=filter_range,
                                   output_hz=output), oscillator


def ecp5_pll(input_hz: int, output_hz: int) -> Ecp5Pll:
    """Settings for an ECP5.

    Parameters
    ----------
    input_hz, output_hz : int

    Raises
    ------
    DovetailError
        If the PLL cannot come near ``output_hz``; names the nearest frequency that it can make.
    """
    return _nearest(list(_ecp5_settings(input_hz)), input_hz, output_hz, _ECP5_OSCILLATOR)


def ecp5_outputs(input_hz: int) -> set[Fraction]:
    """Every frequency that an ECP5 makes of one."""
    return {settings.output_hz for settings, _ in _ecp5_settings(input_hz)}


def _ecp5_settings(input_hz: int) -> Iterator[tuple[Ecp5Pll, Fraction]]:
    """All settings that are allowed, with the oscillator's frequency."""
    if input_hz not in _ECP5_INPUT:
        return
    for clki_div in range(1, _ECP5_MOST_DIVISOR + 1):
        compared = Fraction(input_hz, clki_div)
        if compared not in _ECP5_COMPARED:
            break
        for clkop_div in range(1, _ECP5_MOST_DIVISOR + 1):
            oscillator = compared * clkop_div
            if oscillator not in _ECP5_OSCILLATOR:
                continue
            for clkos_div in range(1, _ECP5_MOST_DIVISOR + 1):
                output = oscillator / clkos_div
                if output in _ECP5_OUTPUT:
                    yield Ecp5Pll(clki_div=clki_div, clkop_div=clkop_div, clkos_div=clkos_div,
                                  output_hz=output), oscillator


def _nearest(found: list[tuple[_Settings, Fraction]], input_hz: int, output_hz: int, oscillators: _Range) -> _Settings:
    """The settings whose output is nearest, then whose oscillator is."""
    if not found:
        raise DovetailError(f"the PLL cannot be fed with {input_hz / _MHZ:g} MHz")
    middle = Fraction(oscillators.low + oscillators.high, 2)
    settings, _ = min(found, key=lambda each: (abs(each[0].output_hz - output_hz), abs(each[1] - middle)))
    if abs(settings.output_hz - output_hz) > TOLERANCE * output_hz:
        raise DovetailError(f"the PLL cannot make {output_hz / _MHZ:g} MHz from {input_hz / _MHZ:g} MHz; "
                            f"the nearest it can is {float(settings.output_hz / _MHZ):.6g} MHz")
    return settings
