"""The commands on a network with convolutions, and every simulator on what they write."""

import shutil
import subprocess

import numpy as np
import pytest
from commands import as_json, contents
from models import node, save_model

from dovetail.boards.build_folder import read_build
from dovetail.cli.main import main
from dovetail.hw.errors import ToolMissing
from dovetail.sim.tools import find_icarus, find_verilator


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two convolutions, the first pooled, and a layer of scores; its data, and a build folder."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(2)
    save_model(folder / "small.onnx", [
        node("Conv", ["x", "w"], ["conv0"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), node("Relu", ["conv0"], ["relu0"]),
        node("MaxPool", ["relu0"], ["pool0"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pool0", "v"], ["conv1"], kernel_shape=[2, 2]), node("Relu", ["conv1"], ["relu1"]),
        node("Flatten", ["relu1"]), node("Gemm", ["flatten", "u", "b"], transB=1)],
        {"w": (rng.standard_normal((4, 2, 3, 3)) * (rng.random((4, 2, 3, 3)) < 0.5)).astype(np.float32),
         "v": (rng.standard_normal((6, 4, 2, 2)) * (rng.random((6, 4, 2, 2)) < 0.4)).astype(np.float32),
         "u": rng.standard_normal((3, 12)).astype(np.float32), "b": np.zeros(3, np.float32)},
        input_shape=["n", 2, 7, 5], output_shape=["n", 3])
    np.savez(folder / "calibration.npz", x=rng.random((20, 2, 7, 5)).astype(np.float32))
    np.savez(folder / "test.npz", x=rng.random((3, 2, 7, 5)).astype(np.float32), y=rng.integers(0, 3, 3))
    assert main(["compile", str(folder / "small.onnx"), "-o", str(folder / "build"), "--calibration",
                 str(folder / "calibration.npz"), "--target-cycles", "2000"]) == 0
    return folder


def test_plan_given_back(files, tmp_path):
    """The plan that was made, given back as settings, is the same build."""
    assert main(["compile", str(files / "small.onnx"), "-o", str(tmp_path / "again"), "--calibration",
                 str(files / "calibration.npz"), "--config", str(files / "build" / "plan.toml")]) == 0
    assert contents(tmp_path / "again") == contents(files / "build")


def test_manifest(files):
    manifest = read_build(files / "build").manifest
    assert [(layer["positions"], layer["vectors"]) for layer in manifest["layers"]] == [(18, 35), (16, 2), (12, 1)]
    given, result = manifest["interface"]["input"], manifest["interface"]["output"]
    assert given["codes_per_frame"] == 70 and given["order"].startswith("pixel by pixel: row, column, channel")
    assert result["elements_per_frame"] == 3 and result["order"] == "the model's"


@pytest.mark.parametrize(("engine", "more"), [
    ("cxxrtl", []), ("icarus", []), ("icarus", ["--stall-seed", "3"]), ("verilator", [])])
def test_simulate(capsys, files, engine, more):
    find = {"icarus": find_icarus, "verilator": find_verilator}.get(engine)
    if find is not None:
        try:
            find()
        except ToolMissing as missing:
            pytest.skip(str(missing))
    code, found = as_json(capsys, "simulate", files / "build", "--inputs", files / "test.npz", "--engine", engine,
                          *more)
    assert code == 0 and found["samples"] == 3 and found["mismatches"] == 0 and found["stalled"] == bool(more)
    assert more or found["cycles"]["predicted"] == found["cycles"]["measured"]
    assert [layer["name"] for layer in found["layers"]] == ["conv0_node", "conv1_node", "gemm_node"]


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("plus", [[], ["+stall"]])
def test_testbench_in_icarus(files, tmp_path, plus):
    built = tmp_path / "build"
    shutil.copytree(files / "build", built)
    subprocess.run(["iverilog", "-g2012", "-Wall", "-o", "tb.vvp", "tb.v", "network.v"], cwd=built, check=True)
    done = subprocess.run(["vvp", "-n", "tb.vvp", *plus], cwd=built, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("PASS: ")


@pytest.mark.skipif(shutil.which("verilator") is None, reason="verilator is not installed")
def test_lint(files):
    lint = subprocess.run(["verilator", "--lint-only", "-Wall", "network.v"], cwd=files / "build", capture_output=True,
                          text=True)
    assert lint.returncode == 0 and lint.stderr == ""
