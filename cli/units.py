"""What `dovetail simulate` shows of where time goes: of the units, of the multipliers, of the first inferences."""

from collections.abc import Sequence
from typing import Any

from ..sw.packer import Packing
from .output import bar, counted, line_width, print_wrapped, shorten

__all__ = ["gap_line", "show_timeline", "show_units"]

#: A layer of less utilisation gets a line that says why.
UTILISED = 0.8
#: A unit that is busy less does not set the pace alone.
ALWAYS = 0.9
#: Characters of a unit's name, at most, on a line of 80.
MOST_NAME = 28
_PARTS = (("useful", "useful"), ("empty", "at empty places"), ("draining", "draining"),
          ("uneven", "in lanes done early"), ("waiting", "waiting"))


def gap_line(name: str, time: dict[str, float], packing: Packing | None) -> str | None:
    """What keeps the utilisation of a layer from 1; None where little does.

    Parameters
    ----------
    name : str
    time : dict
        A `dovetail.sim.time_shares.TimeShares`.
    packing : Packing or None
        None of an unrolled layer.
    """
    if time["useful"] >= UTILISED:
        return None
    parts = []
    for key, says in _PARTS:
        share = f"{time[key]:.0%}"
        if share == "0%" and key != "useful":
            continue
        if key == "empty" and packing is not None:
            best = packing.nonzero / (packing.rows_lower_bound * packing.banks)
            says += f" (fill {packing.fill:.2f}{'' if packing.complementary else f', at best {best:.2f}'})"
        parts.append(f"{share} {says}")
    return f"{name}: multipliers {', '.join(parts)}"


def show_units(found: dict[str, Any]) -> None:
    """Print a line with a bar for every unit, and which one sets the pace.

    Parameters
    ----------
    found : dict
        The JSON object of `dovetail simulate`; its ``units`` are not None.
    """
    steady, units = found["steady"], found["units"]
    if steady is None:
        cycles, times = found["cycles"]["predicted"], units
        what = f"over the whole run ({cycles:,} cycles): too few inputs for a steady state"
    else:
        cycles, times = steady["cycles"], [unit["steady"] for unit in units]
        last = steady["first_inference"] + steady["inferences"] - 1
        what = f"in the steady state (inferences {steady['first_inference']} to {last}, {cycles:,} cycles)"
    print_wrapped(f"The units {what}")
    names = [_name(unit) for unit in units]
    numbers = 24
    wide = min(max(map(len, names)), MOST_NAME, max(8, (line_width() - numbers) // 2))
    room = max(4, line_width() - wide - numbers - 3)
    print(f"{'unit':{wide}}  {'':{room}}  busy  starved  stalled")
    for name, time in zip(names, times, strict=True):
        busy, starved, stalled = (time[state] / cycles for state in ("busy", "starved", "stalled"))
        print(f"{_short(name, wide):{wide}}  {bar(busy, stalled, room)} {_percent(busy):>5}  {_percent(starved):>7}  "
              f"{_percent(stalled):>7}")
    print_wrapped(_pace(found))


def _name(unit: dict[str, Any]) -> str:
    return unit["unit"] if unit["layer"] is None else f"{unit['layer']} {unit['unit']}"


def _short(name: str, width: int) -> str:
    """A unit's name, shortened in that of its layer."""
    layer, _, unit = name.rpartition(" ")
    return f"{shorten(layer, width - len(unit) - 1)} {unit}" if layer else unit


def _percent(share: float) -> str:
    """Per cent, never 0 or 100 where it is not."""
    number = round(100 * share)
    if number == 0 and share > 0:
        return "<1 %"
    if number == 100 and share < 1:
        return ">99 %"
    return f"{number} %"


def _pace(found: dict[str, Any]) -> str:
    """Which unit sets the pace."""
    most, steady = found["bottleneck"], found["steady"]
    name, busy, cycles = _name(most), most["busy"], most["cycles"]
    if steady is None:
        return f"{name} is busy longest: {busy:,} of {cycles:,} cycles"
    count = steady["inferences"]
    of = f"{busy / count:,.0f} of {cycles / count:,.0f} cycles per inference"
    if busy >= ALWAYS * cycles:
        return f"{name} sets the pace: busy in {of}"
    return f"no unit is busy all the time, units wait for each other in turn: {name} is busy longest, in {of}"


def show_timeline(found: dict[str, Any]) -> None:
    """Print which layer's engine works on which of the first inferences, when.

    Parameters
    ----------
    found : dict
        The JSON object of `dovetail simulate`; its ``timeline`` is not None.
    """
    spans = [span for span in found["timeline"] if span["unit"] == "engine"]
    layers = list(dict.fromkeys(span["layer"] for span in spans))
    wide = min(max(map(len, layers)), MOST_NAME, line_width() // 3)
    room, cycles = line_width() - wide - 3, max(span["end"] for span in spans) + 1
    per = max(1, -(-cycles // room))
    count = 1 + max(span["inference"] for span in spans)
    what = "inference" if count == 1 else f"{count} inferences"
    print()
    print_wrapped(f"Engines on the first {what}; a character is {counted(per, 'cycle')}")
    for layer in layers:
        strip = _strip([span for span in spans if span["layer"] == layer], per, cycles)
        print(f"{shorten(layer, wide):{wide}}  {strip}")


def _strip(spans: Sequence[dict[str, Any]], per: int, cycles: int) -> str:
    cells = ["."] * -(-cycles // per)
    for span in spans:
        first, last = span["start"] // per, span["end"] // per
        cells[first:last + 1] = str(span["inference"] % 10) * (last - first + 1)
    return "".join(cells).rstrip(".")
