"""`dovetail synth`, as a user calls it."""

import json
from pathlib import Path

import numpy as np
import pytest
from models import make_mlp

from dovetail.boards import cache, programs
from dovetail.boards import place as boards_place
from dovetail.boards import synth as boards_synth
from dovetail.cli import synth
from dovetail.cli.main import main


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth")
    rng = np.random.default_rng(1)
    model = make_mlp(folder / "small.onnx", sizes=(6, 8, 3), winners=(3,), seed=3, densities=(0.5, 1.0))
    np.savez(folder / "x.npz", x=rng.integers(0, 256, (40, 6)).astype(np.uint8), scale=np.float32(1 / 255))
    assert main(["compile", str(model), "-o", str(folder / "build"), "--calibration", str(folder / "x.npz"),
                 "--target-cycles", "100", "--device", "ecp5-25k"]) == 0
    return folder / "build"


def as_json(capsys, *arguments):
    capsys.readouterr()
    code = main(["synth", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def run_again(*_, **__):
    raise AssertionError("a tool was run again")


def test_placed_and_checked(capsys, build, monkeypatch):
    code, found = as_json(capsys, build, "--device", "ecp5-25k", "--pnr", "--freq", "20", "--check")
    assert code == 0 and found["fits"] and found["lacking"] == {}
    assert {"device", "top", "cells", "utilisation", "fmax_mhz", "per_inference_cycles", "inferences_per_second",
            "tools", "seconds"} <= set(found)
    assert (found["device"], found["top"], found["fmax_is"]) == ("ecp5-25k", "network", "routed")
    assert set(found["utilisation"]) == {"lut", "ff", "bram", "dsp", "spram"}
    assert found["utilisation"]["dsp"] == {
        "counts": "multipliers", "used": found["cells"]["MULT18X18D"], "available": 28}
    assert found["inferences_per_second"] == pytest.approx(found["fmax_mhz"] * 1e6 / found["per_inference_cycles"])
    assert set(found["tools"]) == {"yosys", "nextpnr-ecp5"}
    assert found["check"]["passed"] and found["check"]["mismatches"] == 0
    assert found["check"]["cycles"]["measured"] == found["check"]["cycles"]["predicted"]
    assert sum(step["logic_ns"] + step["routing_ns"] for step in found["critical_path"]) == pytest.approx(
        1e3 / found["fmax_mhz"], rel=0.1)

    for module in (boards_synth, boards_place):
        monkeypatch.setattr(module, "run_program", run_again)
    code, again = as_json(capsys, build, "--device", "ecp5-25k", "--pnr", "--freq", "20")
    assert code == 0 and again["cached"]
    assert {key: value for key, value in again.items() if key not in ("seconds", "cached", "check")} == {
        key: value for key, value in found.items() if key not in ("seconds", "cached", "check")}

    assert main(["synth", str(build), "--device", "ecp5-25k", "--pnr", "--freq", "20", "--check"]) == 0
    out = capsys.readouterr().out
    assert "LFE5U-25F CABGA381, placed and routed" in out and "look-up tables" in out
    assert f"clock: {found['fmax_mhz']:.1f} MHz\n" in out and "critical path: " in out
    assert "netlist: 0 of 12 outputs differ" in out


def test_too_slow(capsys, build, monkeypatch):
    real = boards_place.place
    monkeypatch.setattr(synth, "place", lambda *args, **kwargs: real(*args, **{**kwargs, "megahertz": 20}))
    code, found = as_json(capsys, build, "--device", "ecp5-25k", "--pnr", "--freq", "9000")
    assert code == 1 and found["fits"] and found["fmax_mhz"] < 9000
    assert main(["synth", str(build), "--device", "ecp5-25k", "--pnr", "--freq", "9000"]) == 1
    assert f"too slow: {found['fmax_mhz']:.1f} MHz, not the 9000 MHz asked for" in capsys.readouterr().out


def test_counted_only(capsys, build):
    code, found = as_json(capsys, build, "--device", "xcup")
    assert code == 0 and found["fmax_mhz"] is None and found["inferences_per_second"] is None
    assert all(use["available"] is None for use in found["utilisation"].values())
    assert found["utilisation"]["lut"]["used"] > 100 and found["critical_path"] is None


def test_does_not_fit(capsys, build, monkeypatch):
    real = synth.lacking
    monkeypatch.setattr(synth, "lacking", lambda found: {**real(found), "dsp": 5})
    assert main(["synth", str(build), "--device", "ecp5-25k", "--pnr"]) == 1
    out = capsys.readouterr().out
    assert "does not fit: 3 multipliers, 5 more than the 28 there are" in out and "clock" not in out


@pytest.mark.parametrize("arguments, message", [
    (["--device", "ecp5-25k", "--seeds", "3"], "argument --seeds: needs --pnr"),
    (["--device", "ecp5-25k", "--freq", "80"], "argument --freq: needs --pnr"),
    (["--device", "ecp5-25k", "--pnr", "--seeds", "0"], "argument --seeds: must be in 1..100, not 0"),
    (["--device", "ecp5-25k", "--pnr", "--freq", "0"], "argument --freq: must be above 0 and below 10000, not 0"),
    (["--device", "ecp5-25k", "--pnr", "--freq", "nan"], "argument --freq: must be above 0 and below 10000, not nan"),
    (["--device", "xcup", "--pnr"], "argument --pnr: there are no open tools for xcup; it is only counted"),
    (["--device", "xcup", "--check"], "argument --check: there are no open tools for xcup; it is only counted"),
    (["--device", "icebreaker"], "argument --device: icebreaker is a board; its device is up5k"),
    (["--device", "ice9"], "argument --device: invalid choice: 'ice9'"),
    ([], "the following arguments are required: --device"),
])
def test_options_wrong(capsys, build, arguments, message):
    assert main(["synth", str(build), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dovetail: error: {message}")


def test_no_build_folder(capsys, tmp_path):
    assert main(["synth", str(tmp_path), "--device", "up5k"]) == 2
    assert "no build folder" in capsys.readouterr().err


def test_failing_tool(capsys, build, monkeypatch, tmp_path):
    """A Yosys that dies half way: exit code 3, its log kept, and nothing taken for a result."""
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "yosys"
    tool.write_text('#!/bin/sh\ntest "$1" = -V && echo "Yosys 0.1" && exit\n'
                    'echo "killed half way" > yosys.log\nkill -9 $$\n')
    tool.chmod(0o755)
    monkeypatch.setattr(programs.shutil, "which", lambda name: str(tmp_path / "bin" / name))
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    for _ in range(2):
        assert main(["synth", str(build), "--device", "ecp5-25k", "--native"]) == 3
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("dovetail: error: yosys was ended by signal 9: killed half way (log: ")
        log = line.removesuffix(")").rpartition("(log: ")[2]
        assert Path(log).read_text() == "killed half way\n"
