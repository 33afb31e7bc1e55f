"""`dovetail sweep`: what it prints, writes and refuses."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from dovetail.boards.sweep import read_sweep
from dovetail.boards.sweep_point import COLUMNS
from dovetail.cli import sweep as command
from dovetail.cli.main import main

SPEC = """
channels = 8
kernels = 4
set_size = 2
winners = 2
target_cycles = [2, 200]
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SPEC)
    return path


def refuse(capsys, code, *arguments):
    assert main(["sweep", *map(str, arguments)]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line.removeprefix("dovetail: error: ")


def test_two_points_of_which_one_fails(spec, tmp_path):
    # A process of its own: workers import what starts them.
    start = [sys.executable, "-c", "import sys; from dovetail.cli.main import main; sys.exit(main())", "sweep",
             str(spec), "-o", str(tmp_path / "out"), "--workers", "1"]
    done = subprocess.run([*start, "--json"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert (found["name"], found["points"], found["measured"], found["known"], found["failed"]) == ("tiny", 2, 2, 0, 1)
    failed, row = found["rows"]
    assert failed["error"].startswith("layer 'layer' cannot reach 2 cycles") and failed["pareto"] is False
    assert row["error"] is None and row["pareto"] is True and row["cycles"] <= 200
    assert row["dsp"] >= row["multipliers"] == 1 and row["lut_equivalents"] >= row["lut"] > 100
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("2 of 2: 8->4 ecp5-85k sparse-sparse N=2 K=2 target=")]
    assert [Path(name).name for name in found["files"]] == [
        "results.csv", "results.parquet", "pareto.png", "pareto.svg"]       # one measurement has nothing to vary
    assert parquet.read_table(tmp_path / "out" / "results.parquet").column_names == [*COLUMNS, "pareto"]

    again = subprocess.run(start, capture_output=True, text=True, timeout=300)
    assert (again.returncode, again.stderr) == (1, "")      # known: nothing is measured
    assert "1 of 2 points failed; results in " in again.stdout
    assert f"failed: 8->4 ecp5-85k sparse-sparse N=2 K=2 target=2: {failed['error']}" in again.stdout


def test_refused(capsys, spec, tmp_path):
    out = tmp_path / "out"
    assert refuse(capsys, 2, tmp_path / "none.toml", "-o", out) == f"{tmp_path}/none.toml: no such file"
    assert refuse(capsys, 2, spec, "-o", spec) == f"{spec}: is no folder"
    assert refuse(capsys, 2, spec, "-o", out, "--workers", 0) == "argument --workers: must be at least 1, not 0"
    assert refuse(capsys, 2, spec, "-o", out, "--workers", 1, "--scheduler", "tcp://x:1") == (
        "argument --workers: not allowed with --scheduler, which has its own")
    spec.write_text(SPEC + "lane = 3\n")
    assert refuse(capsys, 2, spec, "-o", out).startswith(f"{spec}: unknown key 'lane'; known are model, ")
    assert sorted(tmp_path.iterdir()) == [spec]


def test_without_the_extra(capsys, spec, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: None if name in ("distributed", "pyarrow") else find(name))
    assert refuse(capsys, 3, spec, "-o", tmp_path / "out") == (
        "dovetail sweep needs distributed, pyarrow: install dovetail[sweep]")


def test_nobody_at_the_scheduler(capsys, spec, tmp_path, monkeypatch):
    monkeypatch.setattr("dovetail.boards.sweep_run.PATIENCE_SECONDS", 1)
    assert refuse(capsys, 3, spec, "-o", tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9").startswith(
        "no Dask scheduler answers at tcp://127.0.0.1:9: ")


def test_everything_that_is_needed_is_named():
    assert set(command.NEEDED) == {"distributed", "pyarrow", "matplotlib"}


@pytest.mark.parametrize("name", ["kernels", "kws_mlp"])
def test_shipped_sweeps_are_read(name):
    path = Path(__file__).parents[1] / "benchmarks" / "sweeps" / f"{name}.toml"
    if name == "kws_mlp" and not (path.parents[3] / "shared" / "models").is_dir():
        pytest.skip("../shared/models, with kws_mlp.onnx, is not there")
    assert len(read_sweep(path).points) >= {"kernels": 24, "kws_mlp": 6}[name]
