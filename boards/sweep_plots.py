"""Pictures of a sweep: what throughput costs against N, K and whatever else was varied, and the Pareto fronts."""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from .sweep_point import Row
from .sweep_run import write_whole
from .sweep_tables import problem

__all__ = ["plot_sweep"]

#: Parameters that can be an axis, with their names in pictures.
AXES = {
    "set_size": "N, kernels in a set", "winners": "K, channels selected", "density": "density",
    "weight_bits": "bits of a weight", "target_cycles": "wanted cycles", "lanes": "lanes", "banks": "banks",
    "folds": "folds"}
#: Columns that are shown, with their names in pictures.
METRICS = {
    "lut_per_throughput": "LUT equivalents\nx kilocycles", "engine_per_throughput": "of the engine alone",
    "dsp_per_throughput": "multipliers\nx kilocycles", "bram_per_throughput": "block RAMs\nx kilocycles",
    "cycles": "cycles", "inferences_per_second": "inferences / s"}
NAMES = {"cycles": "cycles", "lut_equivalents": "LUT equivalents", "lut": "look-up tables", "ff": "flip-flops",
         "bram": "block RAMs", "dsp": "multipliers", "multipliers": "multipliers for weights"}
_SHORT = {"set_size": "N", "winners": "K", "density": "density", "weight_bits": "bits", "target_cycles": "target"}
# Okabe and Ito's colours, which people tell apart whatever they see of them.
_COLOURS = {"dense": ("#000000",), "sparse-dense": ("#D55E00", "#E69F00", "#CC79A7"),
            "sparse-sparse": ("#0072B2", "#56B4E9", "#009E73", "#999999")}
_MODES = {"dense": ("#000000", "x"), "sparse-dense": ("#D55E00", "s"), "sparse-sparse": ("#0072B2", "o")}
_STYLE: dict[Any, Any] = {
    "font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
    "svg.hashsalt": "dovetail", "svg.fonttype": "none", "legend.frameon": False, "savefig.dpi": 100,
}


def plot_sweep(rows: Sequence[Row], folder: Path, *, name: str, pareto: Sequence[str]) -> list[Path]:
    """Draw every parameter that varies, a picture for each device, and the fronts.

    Parameters
    ----------
    rows : sequence of Row
        With ``pareto`` marked.
    folder : Path
        Where the files go: ``against_N-DEVICE.png`` and ``.svg``, ..., ``pareto.png`` and ``.svg``.
    name : str
        Of the sweep.
    pareto : sequence of str
        Columns of the front; its first two are drawn.

    Returns
    -------
    list of Path
    """
    rows = [{**row, "engine_per_throughput": row["lut_engine"] and row["lut_engine"] * row["cycles"] / 1000}
            for row in rows if not row["error"]]
    paths: list[Path] = []
    with matplotlib.rc_context(_STYLE):
        for device in _distinct(row["device"] for row in rows):
            here = [row for row in rows if row["device"] == device]
            for axis in AXES:
                panels = [(title, same) for title, same in _problems(here) if _varies(same, axis)]
                if panels:
                    paths += _save(_against(panels, axis, f"{name} on {device}"), folder,
                                   f"against_{_SHORT.get(axis, axis)}-{device}")
        if rows:
            paths += _save(_fronts(rows, pareto[0], pareto[1], name), folder, "pareto")
    return paths


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _problems(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    return [(title, [row for row in rows if problem(row)[0] == title])
            for title in _distinct(problem(row)[0] for row in rows)]


def _save(figure: Figure, folder: Path, stem: str) -> list[Path]:
    paths = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        drawn = io.BytesIO()
        figure.savefig(drawn, format=kind, metadata=metadata)
        paths.append(folder / f"{stem}.{kind}")
        write_whole(paths[-1], drawn.getvalue())
    return paths


def _place(row: Row, axis: str) -> float | None:
    """Where a row stands on an axis: a dense layer has sets of one, and where nothing is selected all channels are."""
    if row[axis] is None:
        return {"set_size": 1, "winners": row["channels"], "density": 1.0}.get(axis)
    return row[axis]


def _varies(rows: Sequence[Row], axis: str) -> bool:
    """Whether machines of one mode differ in it."""
    return any(len({row[axis] for row in rows if row["mode"] == mode} - {None}) > 1 for mode in _MODES)


def _lines(rows: Sequence[Row], axis: str) -> dict[str, list[Row]]:
    """Rows that differ in the axis alone, by what tells them from the others."""
    others = [each for each in AXES if each != axis and _varies(rows, each)]
    lines: dict[str, list[Row]] = {}
    for row in rows:
        parts = []
        for each in others:
            if row[each] is not None:
                shown = row[each]
                if each == "winners":
                    part = row["channels"] / shown
                    shown = f"C/{part:g}"
                parts.append(f"{_SHORT.get(each, each)} = {shown}")
        lines.setdefault(", ".join([row["mode"], *parts]), []).append(row)
    return lines


def _order(label: str) -> tuple[int, list[float]]:
    """Modes in their order, then the numbers."""
    return list(_MODES).index(label.partition(",")[0]), [float(number) for number in re.findall(r"[\d.]+", label)]


def _against(panels: Sequence[tuple[str, list[Row]]], axis: str, title: str) -> Figure:
    """Metrics, one above the other, for every problem."""
    metrics = [metric for metric in METRICS if any(row[metric] for _, rows in panels for row in rows)]
    figure = Figure(figsize=(max(4.2, 0.8 + 2.6 * len(panels)), 1.2 + 1.45 * len(metrics)), layout="constrained")
    grid = figure.subplots(len(metrics), len(panels), squeeze=False, sharex="col", sharey="row")
    colours = _colours(sorted(_distinct(label for _, rows in panels for label in _lines(rows, axis)), key=_order))
    drawn: dict[str, Any] = {}
    for column, (name, rows) in enumerate(panels):
        lines = _lines(rows, axis)
        for row, metric in enumerate(metrics):
            axes: Axes = grid[row, column]
            for label, colour in colours.items():
                if label in lines:
                    drawn.setdefault(label, _line(axes, lines[label], axis, metric, colour))
            _scales(axes, rows, axis)
            if not column:
                axes.set_ylabel(METRICS[metric])
        grid[0, column].set_title(name)
        grid[-1, column].set_xlabel(AXES[axis])
    figure.suptitle(f"{title}\ncells measured by synthesis; x kilocycles: for one vector in 1000 cycles", fontsize=9)
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=min(4, len(panels) + 1))
    return figure


def _colours(labels: Sequence[str]) -> dict[str, str]:
    """One for every line: those of a mode are alike."""
    found: dict[str, str] = {}
    for label in labels:
        choice = _COLOURS[label.partition(",")[0]]
        found[label] = choice[sum(colour in choice for colour in found.values()) % len(choice)]
    return found


def _line(axes: Axes, rows: Sequence[Row], axis: str, metric: str, colour: str) -> Any:
    spots = sorted((place, row[metric]) for row in rows
                   if (place := _place(row, axis)) is not None and row[metric])
    if len(spots) == 1:     # a machine that the axis says nothing about: a line to compare the others with
        axes.axhline(spots[0][1], color=colour, linestyle=":", linewidth=0.8)
    (line,) = axes.plot([x for x, _ in spots], [y for _, y in spots], color=colour,
                        marker=_MODES[rows[0]["mode"]][1], markersize=4, linewidth=1.2)
    return line


def _scales(axes: Axes, rows: Sequence[Row], axis: str) -> None:
    places = sorted({place for row in rows if (place := _place(row, axis)) is not None})
    if places[-1] / places[0] > 3:
        axes.set_xscale("log", base=2)
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yscale("log")
    _numbers(axes.yaxis)


def _numbers(axis: Axis) -> None:
    """Write numbers as people do, on a logarithmic axis, at 1, 2 and 5."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(_number))
    axis.set_minor_locator(NullLocator())


def _number(value: float, _: int | None = None) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 10 * size or value >= size == 1e6:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def _fronts(rows: Sequence[Row], first: str, second: str, name: str) -> Figure:
    """Every point of every problem, the fronts joined and named."""
    devices, titles = _distinct(row["device"] for row in rows), [title for title, _ in _problems(rows)]
    figure = Figure(figsize=(max(4.2, 0.8 + 3.1 * len(titles)), 1 + 2.6 * len(devices)), layout="constrained")
    grid = figure.subplots(len(devices), len(titles), squeeze=False)
    drawn: dict[str, Any] = {}
    for line, device in enumerate(devices):
        for column, title in enumerate(titles):
            axes: Axes = grid[line, column]
            here = [row for row in rows if problem(row) == (title, device)]
            front = sorted((row[first], row[second], _short(row)) for row in here if row["pareto"])
            axes.plot([x for x, _, _ in front], [y for _, y, _ in front], color="#999999", linewidth=1, zorder=1)
            for mode, (colour, marker) in _MODES.items():
                spots = [row for row in here if row["mode"] == mode]
                if spots:
                    drawn[mode] = axes.scatter([row[first] for row in spots], [row[second] for row in spots],
                                               color=colour, marker=marker, s=16, zorder=2)
            for x, y, text in front:
                axes.annotate(text, (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6)
            for scale, each, shown in ((axes.set_xscale, axes.xaxis, first), (axes.set_yscale, axes.yaxis, second)):
                if here and min(row[shown] for row in here) > 0:
                    scale("log")
                    _numbers(each)
            axes.set_title(f"{title}, {device}", fontsize=8)
            axes.margins(0.15)
            if not column:
                axes.set_ylabel(NAMES[second])
            axes.set_xlabel(NAMES[first])
    figure.suptitle(f"{name}: Pareto fronts, cells measured by synthesis", fontsize=9)
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=3)
    return figure


def _short(row: Row) -> str:
    """What tells a point of the front from the others."""
    named = [f"{_SHORT.get(axis, axis)}={row[axis]:g}" for axis in ("set_size", "density", "winners")
             if row[axis] is not None]
    return " ".join(named) or (f"{row['target_cycles']:,}" if row["target_cycles"] else "")
