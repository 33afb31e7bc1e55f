"""The page of a sweep: its table and its plots, in one file that needs nothing else."""

import base64
import csv
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ..hw.errors import DovetailError
from .report import MARK, environment

__all__ = ["SweepReport", "is_sweep", "read_sweep_folder", "render_sweep"]

#: Most bytes of a table and of all plots together: what is larger is no result of a sweep.
MOST_TABLE, MOST_PLOTS = 8 << 20, 1_600_000
_PNG = b"\x89PNG\r\n\x1a\n"
#: Columns that have a place of their own, or that tell who measured rather than what.
_APART = ("error", "pareto", "seconds")
_TOOLS = ("dovetail", "code", "yosys", "nextpnr")


class Plot(NamedTuple):
    """A plot as a data URI, with its size in pixels."""

    name: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """What the page shows.

    Members
    -------
    name : str
    version : str
        Of the Dovetail that made the page.
    columns : tuple of str
        Columns that differ from row to row.
    rows : tuple of (tuple of str, bool)
        Their values, and whether the row is on the Pareto front.
    same : tuple of (str, str)
        Columns that have one value in all rows.
    tools : tuple of (str, str)
    failed : tuple of (str, str)
        What points were, and why there is no measurement.
    plots : tuple of Plot
    left_out : int
        Plots for which there was no room.
    """

    name: str
    version: str
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], bool], ...]
    same: tuple[tuple[str, str], ...]
    tools: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]
    plots: tuple[Plot, ...]
    left_out: int


def is_sweep(path: Path) -> bool:
    """Whether a folder is one that ``dovetail sweep`` wrote its results to."""
    return (path / "results.csv").is_file() and not (path / "manifest.json").exists()


def read_sweep_folder(path: Path) -> SweepReport:
    """Read the folder of a sweep: ``results.csv`` and every plot, ``*.png``.

    Raises
    ------
    DovetailError
        If the table is none, or without rows.
    """
    table = path / "results.csv"
    try:
        if table.stat().st_size > MOST_TABLE:
            raise DovetailError(f"{table}: larger than {MOST_TABLE >> 20} MiB")
        with table.open(encoding="utf-8", newline="") as file:
            names, *rows = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise DovetailError(f"{table}: is no table of results; make one with dovetail sweep") from error
    if not rows or any(len(row) != len(names) for row in rows) or len(set(names)) != len(names):
        raise DovetailError(f"{table}: is no table of results; make one with dovetail sweep")
    records = [dict(zip(names, row, strict=True)) for row in rows]
    good = [record for record in records if not record.get("error")]
    varied = [name for name in names if len({record[name] for record in good}) > 1 and name not in (*_APART, *_TOOLS)]
    plots, left_out = _plots(sorted(path.glob("*.png")))
    return SweepReport(
        name=path.resolve().name, version=version("dovetail"), columns=tuple(varied),
        rows=tuple((tuple(_cell(record[name]) for name in varied), record.get("pareto") == "True") for record in good),
        same=tuple((name, _cell(good[0][name])) for name in names if good and good[0][name]
                   and name not in (*varied, *_APART, *_TOOLS)),
        tools=tuple((name, ", ".join(sorted({record[name] for record in records} - {""}))) for name in names
                    if name in _TOOLS),
        failed=tuple((_point(record, records, names), record["error"]) for record in records if record.get("error")),
        plots=plots, left_out=left_out)


def _point(record: dict[str, str], records: Sequence[dict[str, str]], names: Sequence[str]) -> str:
    """What tells a point from the others."""
    return ", ".join(f"{name} {record[name]}" for name in names if record[name] and name not in (*_APART, *_TOOLS)
                     and len({each[name] for each in records} - {""}) > 1)


def _cell(text: str) -> str:
    """A number with its thousands apart; other texts as they are."""
    try:
        value = float(text)
    except ValueError:
        return text
    if abs(value) < 1e15 and value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def _plots(paths: Sequence[Path]) -> tuple[tuple[Plot, ...], int]:
    """Plots as long as there is room for them, and how many are left out."""
    found, left = [], MOST_PLOTS
    for path in paths:
        data = path.read_bytes() if path.stat().st_size <= left * 3 // 4 else b""
        if data[:8] == _PNG and data[12:16] == b"IHDR" and len(data) >= 24:
            width, height = struct.unpack(">II", data[16:24])
            uri = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
            found.append(Plot(path.stem, uri, width, height))
            left -= len(uri)
    return tuple(found), len(paths) - len(found)


def render_sweep(report: SweepReport) -> str:
    """The page. The same report gives the same text."""
    return environment().get_template("report_sweep.html").render(report=report, mark=MARK)
