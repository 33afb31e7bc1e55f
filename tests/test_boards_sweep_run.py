"""Running sweeps: on processes of this machine, through a scheduler, killed and taken up again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from dovetail.boards.sweep import Point, software
from dovetail.boards.sweep_point import COLUMNS
from dovetail.boards.sweep_run import run_sweep
from dovetail.hw.errors import ToolFailed

PATIENCE = 120

# A program that sweeps twelve points with a function which notes each call, and says which process it ran in.
PROGRAM = """
import json, os, sys, time
from pathlib import Path
from dovetail.boards.sweep import Point, software
from dovetail.boards.sweep_point import COLUMNS
from dovetail.boards.sweep_run import run_sweep

folder, scheduler, slow = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])

def evaluate(point, model, calibration):
    if point.seed == 11 and slow > 1:
        os._exit(9)
    with (folder.parent / "calls").open("a") as calls:
        calls.write(f"{point.seed}\\n")
    time.sleep(min(slow, 0.3))
    return {**dict.fromkeys(COLUMNS), **point.parameters, **software(), "seconds": os.getpid()}

if __name__ == "__main__":
    points = [Point(channels=1, kernels=1, seed=seed) for seed in range(12)]
    rows = run_sweep(points, folder, scheduler=scheduler or None, workers=2, evaluate=evaluate)
    print(json.dumps(rows))
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)

    def start(*, scheduler="", slow=0.0):
        return subprocess.Popen([sys.executable, str(path), str(tmp_path / "out"), scheduler, str(slow)],
                                stdout=subprocess.PIPE, text=True)
    return start


def rows_of(process):
    text, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    return json.loads(text)


def stored(folder):
    return {path.name: path.read_bytes() for path in (folder / "out" / "points").glob("[!.]*")}


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_killed_sweep_loses_nothing_and_repeats_nothing(program, tmp_path):
    process = program(slow=0.3)
    wait_for(lambda: len(stored(tmp_path)) >= 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = stored(tmp_path)
    assert 4 <= len(before) < 12
    assert all(json.loads(content)["error"] is None for content in before.values())
    time.sleep(1)       # two workers may still be at a point each

    rows = rows_of(program())
    assert [row["seed"] for row in rows] == list(range(12))
    after = stored(tmp_path)
    assert len(after) == 12
    assert {name: after[name] for name in before} == before
    calls = Counter((tmp_path / "calls").read_text().split())
    assert set(calls) == set(map(str, range(12)))
    for content in before.values():
        assert calls[str(json.loads(content)["seed"])] == 1
    assert sum(calls.values()) <= 12 + 2        # those that were under way


def test_a_point_that_ends_its_worker_is_a_row_and_not_final(program, tmp_path):
    rows = rows_of(program(slow=2.0))
    assert rows[11]["error"].startswith("worker: KilledWorker: ")
    assert [row["error"] for row in rows[:11]] == [None] * 11
    assert len(stored(tmp_path)) == 11


def test_through_a_scheduler_and_two_worker_processes(program, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    dask, silent = [sys.executable, "-m", "dask"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ExitStack() as stack:
        for command in ([*dask, "scheduler", "--host", address, "--no-dashboard"],
                        *[[*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                           "--local-directory", str(tmp_path / name)] for name in ("first", "second")]):
            stack.callback(stop, subprocess.Popen(command, **silent))
        rows = rows_of(program(scheduler=address, slow=0.3))
        again = rows_of(program(scheduler=address))
    assert again == rows
    assert [row["seed"] for row in rows] == list(range(12))
    assert len({row["seconds"] for row in rows}) == 2       # processes
    assert len(stored(tmp_path)) == 12
    assert not list((tmp_path / "first").rglob("*.json"))   # workers write nothing


def stop(process):
    process.terminate()
    process.wait()


def test_nobody_at_the_address(tmp_path, monkeypatch):
    monkeypatch.setattr("dovetail.boards.sweep_run.PATIENCE_SECONDS", 1)
    with pytest.raises(ToolFailed, match=r"^no Dask scheduler answers at tcp://127\.0\.0\.1:9: "):
        run_sweep([Point(channels=1, kernels=1)], tmp_path, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ToolFailed, match=r"^no Dask scheduler answers at nowhere://x: "):
        run_sweep([Point(channels=1, kernels=1)], tmp_path, scheduler="nowhere://x")


def test_known_points_need_no_cluster(tmp_path, monkeypatch):
    monkeypatch.setattr("dovetail.boards.sweep_run._client", None)
    monkeypatch.setattr("dovetail.boards.sweep_run.point_key", lambda point, files: f"{point.seed}")
    points = [Point(channels=1, kernels=1, seed=seed) for seed in range(2)]
    (tmp_path / "points").mkdir()
    kept = [{**dict.fromkeys(COLUMNS), **point.parameters, **software()} for point in points]
    for row in kept:
        Path(tmp_path / "points" / f"{row['seed']}.json").write_text(json.dumps(row))
    seen = []
    assert run_sweep(points, tmp_path, report=lambda point, row, known: seen.append(known)) == kept
    assert seen == [True, True]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_result_is_measured_again(tmp_path, monkeypatch, content):
    asked = []
    monkeypatch.setattr("dovetail.boards.sweep_run._client", lambda *_: ExitStack())
    monkeypatch.setattr("dovetail.boards.sweep_run._measured",
                        lambda client, points, *_: asked.extend(points) or [(points[0], {"error": None}, True)])
    monkeypatch.setattr("dovetail.boards.sweep_run.point_key", lambda point, files: "key")
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "key.json").write_bytes(content)
    point = Point(channels=1, kernels=1)
    assert run_sweep([point], tmp_path) == [{"error": None}]
    assert asked == [point]


@pytest.mark.parametrize("retry", [False, True])
def test_a_failed_point_is_tried_again_on_request_only(tmp_path, monkeypatch, retry):
    monkeypatch.setattr("dovetail.boards.sweep_run._client", lambda *_: ExitStack())
    monkeypatch.setattr("dovetail.boards.sweep_run._measured",
                        lambda client, points, *_: [(points[0], {"error": None}, True)])
    monkeypatch.setattr("dovetail.boards.sweep_run.point_key", lambda point, files: "key")
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "key.json").write_text('{"error": "no"}')
    (row,) = run_sweep([Point(channels=1, kernels=1)], tmp_path, retry=retry)
    assert row["error"] == (None if retry else "no")


def test_leftovers_of_a_killed_write_do_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr("dovetail.boards.sweep_run._client", lambda *_: ExitStack())
    monkeypatch.setattr("dovetail.boards.sweep_run._measured",
                        lambda client, points, *_: [(points[0], {"error": None}, True)])
    monkeypatch.setattr("dovetail.boards.sweep_run.point_key", lambda point, files: "key")
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / f".key.json.{os.getpid()}").write_bytes(b"{")
    assert run_sweep([Point(channels=1, kernels=1)], tmp_path) == [{"error": None}]
    assert [path.name for path in (tmp_path / "points").iterdir()] == ["key.json"]
