"""Bad input: one line on stderr, exit code 2, and nothing written."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import make_mlp
from onnx import numpy_helper

from dovetail.cli.main import main


@pytest.fixture
def model(tmp_path):
    return make_mlp(tmp_path / "small.onnx", sizes=(12, 8, 3), winners=3, seed=1, densities=(0.5, 1.0))


@pytest.fixture
def calibration(tmp_path):
    path = tmp_path / "calibration.npz"
    np.savez(path, x=np.random.default_rng(0).integers(0, 256, (20, 12)).astype(np.uint8), scale=np.float32(1 / 255))
    return path


def refuse(capsys, tmp_path, *arguments):
    """Run, see that it is refused cleanly, and return the line."""
    before = sorted(tmp_path.rglob("*"))
    assert main(list(map(str, arguments))) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    *progress, line = printed.err.strip().splitlines()
    assert line.startswith("dovetail: error: ")
    assert not any("error" in earlier or "Traceback" in earlier for earlier in progress)
    assert sorted(tmp_path.rglob("*")) == before
    return line.removeprefix("dovetail: error: ")


def compiling(tmp_path, model, calibration, *more):
    return "compile", model, "-o", tmp_path / "build", "--calibration", calibration, *more


def edit(model, change):
    graph = onnx.load(model)
    change(graph.graph)
    onnx.save(graph, model)


def test_not_onnx(capsys, tmp_path, model, calibration):
    model.write_bytes(b"\x89PNG\r\n not a model")
    assert "small.onnx" in refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))


def test_truncated(capsys, tmp_path, model, calibration):
    model.write_bytes(model.read_bytes()[:-200])
    assert "small.onnx" in refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))


def test_missing(capsys, tmp_path, calibration):
    assert "none.onnx" in refuse(capsys, tmp_path, *compiling(tmp_path, tmp_path / "none.onnx", calibration))


def test_unsupported_operator(capsys, tmp_path, model, calibration):
    def change(graph):
        node = next(node for node in graph.node if node.op_type == "Relu")
        node.op_type, node.name = "Tanh", "squash"
    edit(model, change)
    line = refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))
    assert "squash" in line and "Tanh" in line


def test_nan_weights(capsys, tmp_path, model, calibration):
    def change(graph):
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor).copy()
            if array.ndim == 2:
                array[0, 0] = np.nan
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    edit(model, change)
    assert "NaN" in refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))


def test_more_winners_than_elements(capsys, tmp_path, model, calibration):
    def change(graph):
        top = next(node for node in graph.node if node.op_type == "TopK")
        for tensor in graph.initializer:
            if tensor.name == top.input[1]:
                tensor.CopyFrom(numpy_helper.from_array(np.array([9], np.int64), tensor.name))
    edit(model, change)
    line = refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))
    assert "9" in line and "8" in line


def test_calibration_of_the_wrong_shape(capsys, tmp_path, model, calibration):
    np.savez(calibration, x=np.zeros((4, 11), np.uint8))
    line = refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))
    assert "calibration.npz" in line and "11" in line and "12" in line


def test_no_calibration(capsys, tmp_path, model):
    line = refuse(capsys, tmp_path, "compile", model, "-o", tmp_path / "build")
    assert line == "small.onnx: a float model needs typical inputs to choose scales by: give --calibration X.npz"


def test_pickle(capsys, tmp_path, model, calibration):
    np.savez(calibration, x=np.array([{"code": 1}], object))
    assert "pickle" in refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))


def test_output_with_other_content(capsys, tmp_path, model, calibration):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "thesis.tex").write_text("three years of work")
    line = refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))
    assert "build" in line and "other content" in line
    assert (tmp_path / "build" / "thesis.tex").read_text() == "three years of work"


def test_output_is_a_file(capsys, tmp_path, model, calibration):
    (tmp_path / "build").write_text("")
    assert "no folder" in refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))


def test_output_in_no_folder(capsys, tmp_path, model, calibration):
    line = refuse(capsys, tmp_path, "compile", model, "-o", tmp_path / "a" / "b", "--calibration", calibration)
    assert "does not exist" in line


@pytest.mark.parametrize(("more", "expected"), [
    (("--target-cycles", "0"), "argument --target-cycles: must be at least 1, not 0"),
    (("--weight-bits", "1"), "argument --weight-bits: must be 2 to 16, not 1"),
    (("--activation-bits", "17"), "argument --activation-bits: must be 1 to 16, not 17"),
    (("--lossy", "1"), "argument --lossy: must be 2 to 512, not 1"),
    (("--lossy", "-2"), "argument --lossy: must be 2 to 512, not -2"),
    (("--lossy", "513"), "argument --lossy: must be 2 to 512, not 513"),
    (("--mode", "fast"), "argument --mode: invalid choice: 'fast'"),
    (("--device", "icesugar"), "argument --device: icesugar is a board; its device is up5k"),
    (("--device", "gw1n"), "argument --device: invalid choice: 'gw1n'"),
])
def test_options(capsys, tmp_path, model, calibration, more, expected):
    assert refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration, *more)).startswith(expected)


@pytest.mark.parametrize(("text", "expected"), [
    ("target_cycles = ", "not a TOML file"),
    ("speed = 3", "unknown setting 'speed'"),
    ("[layers.fc9]\nlanes = 2", "no layer 'fc9'"),
    ("[layers.fc0]\nlanes = 0", "lanes must be a whole number of at least 1, not 0"),
    ("[layers.fc0]\nlanes = true", "lanes must be a whole number of at least 1, not True"),
    ("[layers.fc0_node]\nlanes = 1000", "lanes must be at most positions (12), not 1000"),
    ("[layers.fc0_node]\ncolumns = 3", "columns must be a power of two, not 3"),
    ("[layers.fc0]\nkwta = \"fast\"", "kwta must be one of global, local, not 'fast'"),
    ("[layers]\nfc0 = 3", "layers must be tables"),
    ("[layers.fc0_node]\nset_size = 600", "set_size"),
    ("[layers.fc0_node]\nbins = 3", "bins must be a power of two"),
    ("[layers.fc0_node]\ndrain_width = 2\n[layers.fc1_node]\nlanes = 3", "lanes must divide width (2)"),
    ("[layers.fc0_node]\naccumulator = 3", "accumulator must be one of lut-ram, block-ram, not 3"),
    ("input_width = 7", "input_width must divide the first layer's lanes"),
])
def test_settings(capsys, tmp_path, model, calibration, text, expected):
    config = tmp_path / "plan.toml"
    config.write_text(text)
    line = refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration, "--config", config))
    assert expected in line, line


def test_target_out_of_reach(capsys, tmp_path, model, calibration):
    """The call is right, but its check fails: exit code 1."""
    assert main(list(map(str, compiling(tmp_path, model, calibration, "--target-cycles", 2)))) == 1
    assert "cannot reach 2 cycles" in capsys.readouterr().err
    assert not (tmp_path / "build").exists()


def test_simulate_what_is_no_build(capsys, tmp_path, calibration):
    line = refuse(capsys, tmp_path, "simulate", tmp_path, "--inputs", calibration)
    assert "no build folder" in line


def test_inspect_says_why_as_json(capsys, tmp_path, model):
    model.write_bytes(b"no model")
    assert main(["inspect", str(model), "--json"]) == 2
    printed = capsys.readouterr()
    assert '"supported": false' in printed.out
    assert printed.err.startswith("dovetail: error: ")


def test_a_users_file_in_a_build_folder_is_kept(capsys, tmp_path, model, calibration):
    """A build folder is replaced whole, so it may hold nothing but the build."""
    assert main(list(map(str, compiling(tmp_path, model, calibration)))) == 0
    capsys.readouterr()
    (tmp_path / "build" / "notes.txt").write_text("what I found out")
    assert "(notes.txt), which would be lost" in refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))
    (tmp_path / "build" / "notes.txt").unlink()
    assert main(list(map(str, compiling(tmp_path, model, calibration)))) == 0


def test_failed_replacement_puts_the_old_build_back(capsys, tmp_path, model, calibration, monkeypatch):
    assert main(list(map(str, compiling(tmp_path, model, calibration)))) == 0
    before = sorted(tmp_path.rglob("*"))
    rename, calls = Path.rename, []

    def fails_once(self, target):
        calls.append(self)
        if len(calls) == 2:
            raise OSError(5, "Input/output error", str(target))
        return rename(self, target)
    monkeypatch.setattr(Path, "rename", fails_once)
    assert main(list(map(str, compiling(tmp_path, model, calibration)))) == 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("engine", ["cxxrtl", "amaranth"])
def test_waves_that_cannot_be_written(capsys, tmp_path, model, calibration, engine):
    assert main(list(map(str, compiling(tmp_path, model, calibration)))) == 0
    capsys.readouterr()
    line = refuse(capsys, tmp_path, "simulate", tmp_path / "build", "--inputs", calibration, "--limit", 1,
                  "--engine", engine, "--vcd", tmp_path / "nowhere" / "waves.vcd")
    assert "waves.vcd" in line


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "target_cycles = " + "1" * 5000, "\0"])
def test_settings_made_to_break_a_parser(capsys, tmp_path, model, calibration, text):
    config = tmp_path / "plan.toml"
    config.write_text(text)
    assert "not a TOML file" in refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration, "--config", config))


@pytest.mark.parametrize("key", ["lanes", "banks", "columns", "drain_width", "bins", "turns", "buffers", "vectors"])
def test_settings_out_of_all_proportion(capsys, tmp_path, model, calibration, key):
    config = tmp_path / "plan.toml"
    config.write_text(f"[layers.fc0_node]\n{key} = 1073741824")
    line = refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration, "--config", config))
    assert f"{key} must be at most" in line


def test_neither_file_nor_data(capsys, tmp_path, model, calibration):
    """A pipe would wait for ever, a device would never end."""
    os.mkfifo(tmp_path / "pipe.npz")
    assert "is no file" in refuse(capsys, tmp_path, *compiling(tmp_path, model, tmp_path / "pipe.npz"))
    line = refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration, "--config", tmp_path / "pipe.npz"))
    assert "is no file" in line


def test_what_nobody_thought_of_is_one_line_too(capsys, tmp_path, model, calibration, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("nobody thought of this")
    monkeypatch.setattr("dovetail.cli.compile.compile_model", broken)
    line = refuse(capsys, tmp_path, *compiling(tmp_path, model, calibration))
    assert line == "internal error: RuntimeError: nobody thought of this (--debug shows where)"
