"""`dovetail sweep`: many machines, measured."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..boards.sweep import Point, Sweep, read_sweep
from ..hw.errors import DovetailError, ToolMissing
from .output import print_json, print_table

__all__ = ["add_parser", "run"]

#: What the extra `sweep` installs.
NEEDED = ("distributed", "pyarrow", "matplotlib")


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "sweep", help="measure many machines: all combinations of parameters",
        description="measure all combinations of parameters in a file: cycles by the exact model, cells by synthesis; "
                    "results as CSV and Parquet, with plots. A sweep that was stopped, however, goes on where it was.",
        epilog="example: dovetail sweep benchmarks/sweeps/kernels.toml -o results")
    parser.add_argument("spec", metavar="SPEC.toml", type=Path, help="lists of parameters")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="folder for the results")
    parser.add_argument("--scheduler", metavar="ADDRESS",
                        help="a Dask scheduler, tcp://host:port (default: processes on this machine)")
    parser.add_argument("--workers", metavar="N", type=int, help="processes on this machine (default: one a core)")
    parser.add_argument("--retry", action="store_true", help="measure points again that failed before")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure what is not measured yet, and write tables and plots.

    Returns
    -------
    int
        0, or 1 where a point could not be measured.

    Raises
    ------
    DovetailError
        If an option or the specification is wrong.
    ToolMissing, ToolFailed
        If a package is not installed, or the scheduler does not answer.
    """
    if args.workers is not None and args.workers < 1:
        raise DovetailError(f"argument --workers: must be at least 1, not {args.workers}")
    if args.workers is not None and args.scheduler is not None:
        raise DovetailError("argument --workers: not allowed with --scheduler, which has its own")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ToolMissing(f"dovetail sweep needs {', '.join(missing)}: install dovetail[sweep]")
    sweep = read_sweep(args.spec)
    if args.output.exists() and not args.output.is_dir():
        raise DovetailError(f"{args.output}: is no folder")
    # Here, since only this command needs what they import.
    from ..boards.sweep_plots import plot_sweep
    from ..boards.sweep_run import run_sweep
    from ..boards.sweep_tables import mark_pareto, write_tables

    files = {name: path.read_bytes() for name, path in sweep.files.items()}
    with _Report(len(sweep.points)) as report:
        rows = run_sweep(sweep.points, args.output, files=files, scheduler=args.scheduler, workers=args.workers,
                         retry=args.retry, report=report)
    mark_pareto(rows, sweep.pareto)
    paths = write_tables(rows, args.output)
    paths += plot_sweep(rows, args.output, name=sweep.name, pareto=sweep.pareto)
    failed = sum(row["error"] is not None for row in rows)
    if args.json:
        print_json({"name": sweep.name, "points": len(rows), "measured": report.measured, "known": report.known,
                    "failed": failed, "files": [str(path) for path in paths], "rows": rows})
    else:
        _show(sweep, rows, paths)
    return 1 if failed else 0


class _Report:
    """Progress on stderr: a bar on a terminal, a line for each new point elsewhere."""

    def __init__(self, points: int):
        self.measured = self.known = 0
        self._points, self._console = points, Console(stderr=True)
        self._bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                             TimeRemainingColumn(), console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("sweep", total=points)

    def __enter__(self) -> "_Report":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, point: Point, row: dict[str, Any], known: bool) -> None:
        self.known += known
        self.measured += not known
        self._bar.update(self._task, advance=1, description=point.label)
        if not known and not self._console.is_terminal:
            done = row["error"] or f"{row['seconds']:.0f} s"
            print(f"{self.known + self.measured} of {self._points}: {point.label}: {done}", file=sys.stderr, flush=True)


def _show(sweep: Sweep, rows: list[dict[str, Any]], paths: list[Path]) -> None:
    failed = [(point, row) for point, row in zip(sweep.points, rows, strict=True) if row["error"]]
    print_table(
        f"{sweep.name}: {len(rows)} points; * is on the Pareto front of {', '.join(sweep.pareto)}",
        ["point", "front", "multipliers", "cycles", "LUT equivalents", "flip-flops", "block RAMs", "DSP blocks",
         "LUT x kilocycles"],
        [[point.label, "*" if row["pareto"] else "", row["multipliers"], f"{row['cycles']:,.1f}",
          f"{row['lut_equivalents']:,}", f"{row['ff']:,}", row["bram"], row["dsp"], f"{row['lut_per_throughput']:,.0f}"]
         for point, row in zip(sweep.points, rows, strict=True) if not row["error"]], left=2)
    for point, row in failed:
        print(f"failed: {point.label}: {row['error']}")
    print(f"{len(failed)} of {len(rows)} points failed; results in {os.path.commonpath(paths)}"
          if failed else f"results in {os.path.commonpath(paths)}")
