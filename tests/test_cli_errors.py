"""Bad input: one line on stderr, exit code 2, and nothing written."""

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
    assert "--calibration" in refuse(capsys, tmp_path, "compile", model, "-o", tmp_path / "build")


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
    (("--mode", "fast"), "argument --mode: invalid choice: 'fast'"),
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
