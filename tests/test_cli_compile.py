"""`dovetail compile`: options that have no effect, and those that belong with a plan."""

import numpy as np
import pytest
from models import make_mlp, node, save_model

from dovetail.cli.main import main


@pytest.fixture
def stated(tmp_path):
    """A file that states its integers."""
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["xq"]), node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
             node("DequantizeLinear", ["w", "s", "z8"], ["wd"]), node("MatMul", ["xd", "wd"])]
    constants = {"s": np.float32(0.5), "z": np.uint8(0), "z8": np.int8(0),
                 "w": np.arange(-6, 6, dtype=np.int8).reshape(4, 3)}
    return save_model(tmp_path / "stated.onnx", nodes, constants, input_shape=["n", 4])


@pytest.fixture
def perceptron(tmp_path):
    return make_mlp(tmp_path / "small.onnx", sizes=(5, 8, 3), winners=2, seed=1, densities=(0.5, 1.0))


@pytest.fixture
def samples(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).integers(0, 256, (20, 5)).astype(np.uint8))
    return tmp_path / "x.npz"


def made(capsys, folder, *arguments):
    """Compile, and return the lines on stderr that say something, and the comments of the plan."""
    assert main(["compile", *map(str, arguments), "-o", str(folder / "build")]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dovetail: ")]
    return said, [line for line in (folder / "build" / "plan.toml").read_text().splitlines() if line.startswith("#")]


PLAN = "# The plan that was built; edit it and give it back with --config."


@pytest.mark.parametrize("options", [
    ("--weight-bits", "8"), ("--range", "percentile"), ("--percentile", "99.99"), ("--requantise", "multiplier")])
def test_options_without_effect_are_told(capsys, tmp_path, stated, options):
    """Even where what is given is the default."""
    said, comments = made(capsys, tmp_path, stated, *options)
    assert said == [f"dovetail: {options[0]} has no effect: the file states its integers"]
    assert comments == [PLAN]


def test_options_without_effect_are_told_by_diff(capsys, tmp_path, stated):
    np.savez(tmp_path / "four.npz", x=np.ones((2, 4), np.uint8))
    assert main(["diff", str(stated), "--inputs", str(tmp_path / "four.npz"), "--no-rtl", "--weight-bits", "5"]) == 0
    assert "dovetail: --weight-bits has no effect: the file states its integers\n" in capsys.readouterr().err


@pytest.mark.parametrize("options, wanted", [
    ([], []),
    (["--lossy"], ["# made with --lossy"]),
    (["--lossy", "100"], ["# made with --lossy 100"]),      # of eight kernels
    (["--lossy", "2", "--weight-bits", "6", "--range", "minmax"],
     ["# made with --weight-bits 6 --range minmax --lossy 2"]),
])
def test_plan_names_what_it_was_made_with(capsys, tmp_path, perceptron, samples, options, wanted):
    said, comments = made(capsys, tmp_path, perceptron, "--calibration", samples, *options)
    assert said == [] and comments == [PLAN, *wanted]


def test_plan_of_a_file_that_states_its_integers(capsys, tmp_path, stated):
    said, comments = made(capsys, tmp_path, stated, "--activation-bits", "7", "--lossy", "2")
    assert said == [] and comments == [PLAN, "# made with --activation-bits 7 --lossy 2"]
