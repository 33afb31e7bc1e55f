"""`dovetail compile`: options that have no effect, and those that belong with a plan."""

import json

import numpy as np
import pytest
from models import make_mlp, node, save_model

from dovetail.boards.build_folder import read_build
from dovetail.cli.main import main
from dovetail.sw.choose import logic_cells
from dovetail.sw.plan import plan_resources
from dovetail.sw.reserve import board_reserve
from dovetail.sw.settings import Device


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


def printed(capsys, folder, *arguments):
    """Compile, and return what is on stdout, every line of text as one."""
    capsys.readouterr()
    assert main(["compile", *map(str, arguments), "-o", str(folder / "build")]) == 0
    return capsys.readouterr().out.replace("\n  ", " ")


def test_default_target_missed(capsys, monkeypatch, tmp_path, perceptron, samples):
    """Said where nobody asked for cycles; who did has exit code 1."""
    told = "no --target-cycles given: 3, the default, is out of reach; this is the fastest plan found\n"
    arguments = perceptron, "--calibration", samples
    assert "--target-cycles" not in printed(capsys, tmp_path, *arguments)
    monkeypatch.setattr("dovetail.cli.compile.DEFAULT_TARGET", 3)
    assert told in printed(capsys, tmp_path, *arguments)
    assert "--target-cycles" not in printed(capsys, tmp_path, *arguments, "--target-cycles", 1000)


def test_lossy_says_what_was_gained(capsys, tmp_path, perceptron, samples):
    """Against the plan with all weights, which a build of its own confirms."""
    found = {}
    for options in ([], ["--lossy", "4"]):
        capsys.readouterr()
        assert main(["compile", str(perceptron), "-o", str(tmp_path / "build"), "--calibration", str(samples), "--json",
                     *options]) == 0
        found[len(options)] = json.loads(capsys.readouterr().out)
    intake = found[2]["intake"]
    for manifest, cost in ((found[0], intake["lossless"]), (found[2], intake["lossy"])):
        assert cost == {
            "cycles_per_inference": manifest["predicted_cycles_per_inference"],
            "multipliers": sum(layer["predicted"]["multipliers"] for layer in manifest["layers"]),
            "rows": sum(layer["packing"]["rows"] for layer in manifest["layers"])}
    dropped = sum(layer["dropped"] for layer in intake["layers"])
    assert dropped > 0 and intake["lossy"]["rows"] < intake["lossless"]["rows"]
    text = printed(capsys, tmp_path, perceptron, "--calibration", samples, "--lossy", 4)
    assert (f"--lossy: {dropped} of {intake['weights']} weights dropped; {intake['lossy']['cycles_per_inference']:.0f} "
            f"cycles per inference, {intake['lossy']['multipliers']} multipliers, {intake['lossy']['rows']} rows "
            f"instead of {intake['lossless']['cycles_per_inference']:.0f}, {intake['lossless']['multipliers']} and "
            f"{intake['lossless']['rows']}\n") in text


def test_plan_explains_every_key(capsys, tmp_path, perceptron, samples):
    made(capsys, tmp_path, perceptron, "--calibration", samples, "--target-cycles", 1000)
    lines = (tmp_path / "build" / "plan.toml").read_text().splitlines()
    keys = [line for line in lines if "=" in line.split("#")[0]]
    assert len(keys) > 10 and all("  # " in line for line in keys) and max(map(len, lines)) <= 100


def test_board_whose_weights_are_loaded(capsys, tmp_path):
    """Weights for which an UltraPlus has SPRAM alone; and an estimate in what `dovetail build` counts."""
    model = make_mlp(tmp_path / "large.onnx", sizes=(300, 256, 3), winners=16, seed=1, densities=(0.25, 0.5))
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).integers(0, 256, (20, 300)).astype(np.uint8))
    arguments = model, "--calibration", tmp_path / "x.npz", "--board", "icebreaker"
    loaded = "are loaded over the line; dovetail run does that\n"
    out = printed(capsys, tmp_path, *arguments)
    assert "no plan fits with its weights in the bitstream: they " + loaded in out
    built = read_build(tmp_path / "build").plan
    taken = plan_resources(built, Device.UP5K) + board_reserve(built.network, Device.UP5K, loadable=True)
    assert (f"up5k, estimated with the link: {logic_cells(taken):,} of 5,280 logic cells, {taken.ff:,} of 5,280 "
            f"flip-flops, {taken.block_ram} of 30 block RAMs, ") in out
    config = tmp_path / "loadable.toml"
    config.write_text("loadable = true\n")
    assert "\nweights " + loaded in printed(capsys, tmp_path, *arguments, "--config", config)
    config.write_text("loadable = false\n")
    assert main(["compile", *map(str, arguments), "-o", str(tmp_path / "other"), "--config", str(config)]) == 1
    assert "loadable = true in the plan would let weights be in SPRAM" in capsys.readouterr().err


def test_estimate_for_a_device(capsys, tmp_path, perceptron, samples):
    """Without a board there is no link, and only an iCE40 has logic cells."""
    for device, kind in (("up5k", "logic cells"), ("hx8k", "logic cells"), ("ecp5-25k", "look-up tables")):
        out = printed(capsys, tmp_path, perceptron, "--calibration", samples, "--device", device)
        taken = plan_resources(read_build(tmp_path / "build").plan, Device(device))
        cells = taken.lut if device == "ecp5-25k" else logic_cells(taken)
        assert f"{device}, estimated: {cells:,} of " in out and f" {kind}, {taken.ff:,} of " in out
        assert "loaded over the line" not in out
