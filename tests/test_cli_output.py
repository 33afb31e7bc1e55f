"""What commands print fits the terminal and breaks between words only."""

import io
import sys

import pytest

from dovetail.cli.output import bar, counted, print_table, print_wrapped, shorten
from dovetail.cli.units import gap_line, show_timeline, show_units

COLUMNS = ["layer", "mode", "multipliers", "useful products", "cycles alone", "useful"]
ROWS = [["/features/block_3/Conv_with_a_long_name", "sparse-sparse", 200, "158,541", "4,400", "90.1%"],
        ["fc[8]", "dense", 3, "1", "4,500", "88.5%"]]


@pytest.mark.parametrize(("columns", "name"), [
    ("160", "/features/block_3/Conv_with_a_long_name"), ("80", "/features/bloc…th_a_long_name"), ("60", "/fea…name"),
    ("40", "/f…me")])
def test_table(capsys, monkeypatch, columns, name):
    """Names are shortened down to five characters; every other cell stays whole, even where it does not fit."""
    monkeypatch.setenv("COLUMNS", columns)
    print_table("two layers", COLUMNS, ROWS, left=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[-3:-1]] == [[name, *map(str, ROWS[0][1:])], [str(cell) for cell in ROWS[1]]]
    assert columns == "40" or max(map(len, lines)) <= int(columns)
    words = {word for line in lines[:-3] for word in line.split()} - {"two", "layers"}
    assert words >= {word for column in COLUMNS for word in column.split()}


def test_table_in_a_pipe(capsys, monkeypatch):
    """A file has no edge."""
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table("two layers", COLUMNS, ROWS, left=2)
    assert "useful products  cycles alone" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "width", "wanted"), [
    ("conv0", 5, "conv0"), ("conv0", 4, "co…0"), ("conv0", 1, "…"), ("a_long_name", 8, "a_lo…ame")])
def test_shorten(name, width, wanted):
    assert shorten(name, width) == wanted


def test_counted():
    assert [counted(count, "set") for count in (0, 1, 2, 1200)] == ["0 sets", "1 set", "2 sets", "1,200 sets"]


@pytest.mark.parametrize(("busy", "stalled", "wanted"), [
    (1, 0, "████████"), (0, 1, "▒▒▒▒▒▒▒▒"), (0, 0, "░░░░░░░░"), (0.5, 0.25, "████▒▒░░"), (0.45, 0.55, "███▋▒▒▒▒"),
    (0.999, 0.001, "████████"), (0.001, 0.999, "▒▒▒▒▒▒▒▒"), (1 / 64, 0, "▏░░░░░░░")])
def test_bar(busy, stalled, wanted):
    assert bar(busy, stalled, 8) == wanted


def test_ascii_where_nothing_else_can_be_shown(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    print(shorten("a_long_name", 8), bar(0.45, 0.25, 8))
    sys.stdout.seek(0)
    assert sys.stdout.read() == "a_lo~ame ###.==..\n"


def test_wrapped(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_wrapped("conv0: some-words and 82% waiting")
    assert capsys.readouterr().out == "conv0: some-words\n  and 82% waiting\n"


def unit(layer, name, busy, starved, stalled):
    return {"layer": layer, "unit": name, "busy": busy, "starved": starved, "stalled": stalled,
            "steady": {"busy": busy, "starved": starved, "stalled": stalled}}


FOUND = {
    "cycles": {"predicted": 200}, "steady": {"first_inference": 2, "inferences": 2, "cycles": 200},
    "units": [unit(None, "input", 1, 0, 199), unit("a_layer_of_a_very_long_name", "engine", 199, 1, 0)],
    "bottleneck": {"layer": "conv0", "unit": "engine", "busy": 199, "cycles": 200},
    "timeline": [{"layer": "conv0", "unit": "engine", "inference": 0, "start": 0, "end": 149},
                 {"layer": "conv0", "unit": "engine", "inference": 1, "start": 150, "end": 279},
                 {"layer": "conv0", "unit": "select", "inference": 1, "start": 150, "end": 999},
                 {"layer": "fc1", "unit": "engine", "inference": 0, "start": 151, "end": 152},
                 {"layer": "fc1", "unit": "engine", "inference": 1, "start": 290, "end": 299}]}


def test_units(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    show_units(FOUND)
    assert capsys.readouterr().out.splitlines() == [
        "The units in the steady state (inferences 2 to 3, 200", "  cycles)",
        "unit                                 busy  starved  stalled",
        "input               ▏▒▒▒▒▒▒▒▒▒▒▒▒▒▒  <1 %      0 %    >99 %",
        "a_lay…_name engine  ██████████████▉ >99 %     <1 %      0 %",
        "conv0 engine sets the pace: busy in 100 of 100 cycles per", "  inference"]


@pytest.mark.parametrize(("change", "wanted"), [
    ({"bottleneck": FOUND["bottleneck"] | {"busy": 170}},
     "no unit is busy all the time, units wait for each other in turn: conv0 engine is busy longest, in 85 of 100 "
     "cycles per inference"),
    ({"steady": None}, "conv0 engine is busy longest: 199 of 200 cycles")])
def test_pace(capsys, change, wanted):
    show_units(FOUND | change)
    assert " ".join(capsys.readouterr().out.split()).endswith(wanted)


def test_timeline(capsys, monkeypatch):
    """A layer that is done at once is seen all the same."""
    monkeypatch.setenv("COLUMNS", "38")
    show_timeline(FOUND)
    assert capsys.readouterr().out.splitlines() == [
        "", "Engines on the first 2 inferences; a", "  character is 10 cycles",
        "conv0  0000000000000001111111111111", "fc1    ...............0.............1"]


def test_gap_line():
    shares = {"useful": 0.5, "empty": 0.0, "draining": 0.3, "uneven": 0.001, "waiting": 0.199}
    assert gap_line("fc", shares, None) == "fc: multipliers 50% useful, 30% draining, 20% waiting"
    assert gap_line("fc", shares | {"useful": 0.8}, None) is None
