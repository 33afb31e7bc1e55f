"""Rows of a sweep as tables: CSV and Parquet, with the Pareto front marked."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from .sweep_point import COLUMNS, Row
from .sweep_run import write_whole

__all__ = ["mark_pareto", "problem", "write_tables"]

_TEXTS = {"model", "calibration", "kernel", "image", "mode", "device", "timing", "dovetail", "code", "yosys",
          "error"}
_REALS = {"density", "clock_mhz", "fmax_mhz", "cycles", "cycles_per_inference", "useful_multiplications", "utilisation",
          "inferences_per_second", "seconds"}
_FLAGS = {"by_unit", "pnr", "pareto"}


def problem(row: Row) -> tuple[str, str]:
    """What is computed, and on which device: only rows that agree in both compete with each other."""
    if row["model"]:
        return Path(row["model"]).stem, row["device"]
    kernel = f"{row['kernel']} convolution " if row["kernel"] else ""
    image = f", {row['image']}" if row["image"] else ""
    return f"{kernel}{row['channels']} → {row['kernels']}{image}", row["device"]


def mark_pareto(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Add ``pareto`` to every row: True where no other row of its `problem` is as good in all columns and better in
    one. Less is better. Rows without a measurement are not on the front."""
    for row in rows:
        rivals = [other for other in rows if problem(other) == problem(row) and not other["error"]]
        row["pareto"] = not row["error"] and not any(
            all(other[column] <= row[column] for column in columns)
            and any(other[column] < row[column] for column in columns) for other in rivals)


def _kind(column: str) -> pa.DataType:
    """The same for every sweep, whatever is missing in it, so that tables can be put together."""
    if column in _TEXTS:
        return pa.string()
    if column in _FLAGS:
        return pa.bool_()
    return pa.float64() if column in _REALS or column.endswith("_per_throughput") else pa.int64()


def write_tables(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``results.csv`` and ``results.parquet``, columns in the order of `COLUMNS`.

    Returns
    -------
    list of Path
    """
    columns = [*COLUMNS, "pareto"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[column] for column in columns] for row in rows)
    binary = io.BytesIO()
    schema = pa.schema([(column, _kind(column)) for column in columns])
    parquet.write_table(pa.Table.from_pylist([{column: row[column] for column in columns} for row in rows], schema),
                        binary)
    paths = [folder / "results.csv", folder / "results.parquet"]
    for path, content in zip(paths, (text.getvalue().encode(), binary.getvalue()), strict=True):
        write_whole(path, content)
    return paths
