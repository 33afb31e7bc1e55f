"""`dovetail report`: options, what is printed, the same bytes again, and errors in one line."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from models import make_mlp
from pages import read_page

from dovetail.boards import report_implementation
from dovetail.boards.devices import Family
from dovetail.boards.place import Placement, Timing
from dovetail.boards.synth import Synthesis
from dovetail.cli.main import main
from dovetail.sw.settings import Device


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    model = make_mlp(folder / "small.onnx", sizes=(6, 8, 4), winners=(2,), seed=3, densities=(0.5, 1.0))
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (20, 6)).astype(np.uint8)
    np.savez(folder / "calibration.npz", x=x, scale=np.float32(1 / 255))
    np.savez(folder / "test.npz", x=x, scale=np.float32(1 / 255), y=rng.integers(0, 4, 20))
    assert main(["compile", str(model), "-o", str(folder / "build"), "--calibration", str(folder / "calibration.npz"),
                 "--target-cycles", "200"]) == 0
    return folder


def test_page(capsys, files, tmp_path):
    capsys.readouterr()
    path = tmp_path / "page.html"
    assert main(["report", str(files / "build"), "-o", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"written: {path} (") and printed.out.count("\n") == 1
    assert "working out the report" in printed.err
    assert "Dovetail" in read_page(path.read_text(encoding="utf-8")).words


@pytest.fixture
def tools(monkeypatch, tmp_path, request):
    """Stand in for Yosys, which counts so many flip-flops, and nextpnr, which both would take minutes."""
    dffs = request.param

    def synthesise(design, family, *, watch):
        assert design.top == "network" and family is Family.ICE40
        return Synthesis(family=family, top="network", netlist=tmp_path, seconds=1.0, tool="1.2", cached=False,
                         counts={"SB_LUT4": 1234, "SB_DFF": dffs, "SB_RAM40_4K": 7})

    def place(synthesis, record, *, seeds, watch):
        assert record.device is Device.HX8K and list(seeds) == [1, 2]
        (tmp_path / "cells.json").write_text(json.dumps([
            {"layer": 1, "unit": "engine", "kind": "ram", "x": 3, "y": 4}]))
        cell = {"cell": "core.layer1.engine.drain.total_SB_DFF_Q"}
        return Placement(
            fmax_mhz=77.5, timing=Timing.ROUTED, seed=2, fmax_by_seed={1: 70.0, 2: 77.5}, seconds=1.0,
            utilisation={"ICESTORM_LC": (1500, 7680), "ICESTORM_RAM": (7, 32)},
            path=[{"type": "clk-to-q", "delay": 0.5, "from": cell, "to": cell},
                  {"type": "routing", "delay": 2.25, "from": cell, "to": cell}],
            tool="3.4", folder=tmp_path, cached=False)

    monkeypatch.setattr(report_implementation, "synthesise", synthesise)
    monkeypatch.setattr(report_implementation, "place", place)


@pytest.mark.parametrize("tools", [9000], indirect=True)
def test_counted_with_inputs(capsys, files, tmp_path, tools):
    path = tmp_path / "page.html"
    capsys.readouterr()
    assert main(["report", str(files / "build"), "-o", str(path), "--inputs", str(files / "test.npz"),
                 "--synth", "hx8k", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(path), "bytes": path.stat().st_size}
    words = read_page(path.read_text(encoding="utf-8")).words
    for part in ("look-up tables measured used 1,234 of 7,680, 16.1 % (counted by Yosys 1.2)",
                 "flip-flops measured used 9,000 of 7,680, 117.2 %: does not fit (counted by Yosys 1.2)",
                 "block RAMs measured used 7 of 32, 21.9 %", "On 20 inputs of test.npz", "Not placed", "Not routed"):
        assert part in words


@pytest.mark.parametrize("tools", [900], indirect=True)
def test_placed(files, tmp_path, tools):
    path = tmp_path / "page.html"
    assert main(["report", str(files / "build"), "-o", str(path), "--synth", "hx8k", "--pnr", "--seeds", "2"]) == 0
    words = read_page(path.read_text(encoding="utf-8")).words
    for part in ("77.5 MHz on hx8k after routing", "Critical path, 2.75 ns", "Yosys 1.2, nextpnr-ice40 3.4",
                 "used 1,500 of 7,680, 19.5 % (nextpnr-ice40 3.4, with the frame of registers)",
                 "engine, drain, total"):
        assert part in words


def test_same_bytes_in_another_process(files, tmp_path):
    """Sets and dicts of names are in no order of chance."""
    assert main(["report", str(files / "build"), "-o", str(tmp_path / "one.html")]) == 0
    code = "import sys; from dovetail.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "report", str(files / "build")], cwd=tmp_path,
                          env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").read_bytes() == (tmp_path / "one.html").read_bytes()


@pytest.mark.parametrize("arguments, message", [
    (["{}", "-o", "{}/x.html"], "no build folder"),
    (["{}/build", "-o", "{}/test.npz"], "exists and is no report"),
    (["{}/build", "-o", "{}/none/x.html"], "does not exist"),
    (["{}/build", "-o", "{}/x.html", "--inputs", "{}/none.npz"], "none.npz"),
    (["{}/build", "--synth", "ulx3s_85f"], "argument --synth: ulx3s_85f is a board; its device is ecp5-85k"),
    (["{}/build", "--synth", "z80"], "invalid choice: 'z80'"),
    (["{}/build", "--pnr"], "argument --pnr: needs --synth DEVICE"),
    (["{}/build", "--synth", "up5k", "--pnr", "--seeds", "0"], "argument --seeds: must be at least 1, not 0"),
    (["{}/build", "--synth", "xcup", "--pnr"], "there are no open tools for xcup; it is only counted"),
])
def test_wrong(capsys, files, arguments, message):
    capsys.readouterr()
    assert main(["report", *(each.format(files) for each in arguments)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("dovetail: error: ") and message in error
    assert not (files / "x.html").exists()


@pytest.mark.parametrize("tools", [9000], indirect=True)
def test_what_cannot_fit_is_not_placed(files, tmp_path, tools):
    path = tmp_path / "page.html"
    assert main(["report", str(files / "build"), "-o", str(path), "--synth", "hx8k", "--pnr", "--seeds", "2"]) == 0
    words = read_page(path.read_text(encoding="utf-8")).words
    assert "does not fit (counted by Yosys 1.2)" in words and "Not placed" in words
