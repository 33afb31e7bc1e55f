"""`dovetail diff`, as a user calls it."""

from dataclasses import replace

import numpy as np
import pytest
from commands import as_json
from models import make_mlp, node, save_model

from dovetail.cli import output
from dovetail.cli.main import main
from dovetail.hw.arch import bits_for
from dovetail.sim import watch


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small model with k-WTA, its data, and a build folder."""
    folder = tmp_path_factory.mktemp("diff")
    model = make_mlp(folder / "small.onnx", sizes=(13, 24, 10, 5), winners=(4, 3), seed=3, densities=(0.3, 0.3, 1.0))
    rng = np.random.default_rng(1)
    np.savez(folder / "calibration.npz", x=rng.integers(0, 256, (40, 13)).astype(np.uint8), scale=np.float32(1 / 255))
    np.savez(folder / "test.npz", x=rng.integers(0, 256, (30, 13)).astype(np.uint8), scale=np.float32(1 / 255),
             y=rng.integers(0, 5, 30))
    assert main(["compile", str(model), "-o", str(folder / "build"), "--calibration",
                 str(folder / "calibration.npz")]) == 0
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A model with a convolution, and its data."""
    folder = tmp_path_factory.mktemp("image")
    rng = np.random.default_rng(2)
    save_model(folder / "image.onnx", [
        node("Conv", ["x", "w"], kernel_shape=[3, 3]), node("Relu", ["conv"]), node("Flatten", ["relu"]),
        node("Gemm", ["flatten", "v", "b"], transB=1)],
        {"w": rng.standard_normal((3, 2, 3, 3)).astype(np.float32),
         "v": rng.standard_normal((4, 48)).astype(np.float32), "b": np.zeros(4, np.float32)},
        input_shape=["n", 2, 6, 6], output_shape=["n", 4])
    np.savez(folder / "x.npz", x=rng.random((20, 2, 6, 6)).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def reshaped(tmp_path_factory):
    """A model whose convolution sees what a linear layer leaves, and its data."""
    folder = tmp_path_factory.mktemp("reshaped")
    rng = np.random.default_rng(2)
    save_model(folder / "image.onnx", [
        node("Gemm", ["x", "v", "b"], transB=1), node("Relu", ["gemm"]), node("Reshape", ["relu", "shape"]),
        node("Conv", ["reshape", "w"], kernel_shape=[3, 3])],
        {"w": rng.standard_normal((3, 2, 3, 3)).astype(np.float32), "shape": np.array([-1, 2, 4, 4]),
         "v": rng.standard_normal((32, 5)).astype(np.float32), "b": np.zeros(32, np.float32)},
        input_shape=["n", 5], output_shape=["n", 3, 2, 2])
    np.savez(folder / "x.npz", x=rng.random((20, 5)).astype(np.float32))
    return folder


def of_model(files, *more):
    return files / "small.onnx", "--inputs", files / "test.npz", "--calibration", files / "calibration.npz", *more


def test_build(capsys, files):
    code, found = as_json(capsys, "diff", files / "build", "--inputs", files / "test.npz", "--engine", "amaranth",
                          "--limit", 6)
    assert code == 0 and found["rtl_equal"] is True and found["rtl_reason"] is None
    assert found["model"] == "small" and found["engine"] == "amaranth" and found["frames"] == 6
    assert {"inputs", "layers", "labels_differ", "accuracy", "float_accuracy", "verdict"} <= set(found)
    assert [layer["name"] for layer in found["layers"]] == ["fc0_node", "fc1_node", "fc2_node"]
    for layer in found["layers"]:
        assert layer["alone"]["db"] > 15 and layer["alone"]["equal"] is False
        assert layer["rtl_different"] == 0 and layer["rtl_first"] is None and layer["exactness"] == "rounded"
    assert [layer["output_bits"] for layer in found["layers"]] == [8, 8, None]
    assert all(0.9 < layer["winners"] <= 1 for layer in found["layers"][:2])


def test_model_is_what_its_build_is(capsys, files):
    """Made integer in memory, by the same options: the same numbers."""
    _, build = as_json(capsys, "diff", files / "build", "--inputs", files / "test.npz", "--no-rtl")
    code, model = as_json(capsys, "diff", *of_model(files, "--no-rtl"))
    assert code == 0 and model == build
    assert model["rtl_equal"] is None and model["rtl_reason"] == "not run" and model["engine"] is None


def test_model_is_simulated(capsys, files):
    code, found = as_json(capsys, "diff", *of_model(files, "--limit", 3, "--engine", "amaranth"))
    assert code == 0 and found["rtl_equal"] is True and found["frames"] == 3


def test_widths_are_told_apart(capsys, files):
    code, found = as_json(capsys, "diff", *of_model(files, "--no-rtl", "--weight-bits", 3, "--activation-bits", 7))
    assert code == 0
    assert [layer["weights"]["bits"] for layer in found["layers"]] == [3, 3, 3]
    assert found["inputs"]["bits"] == found["layers"][0]["output_bits"] == 7
    assert "its weights at 3 bits" in found["verdict"][0] and "try --weight-bits" in found["verdict"][0]


@pytest.mark.parametrize("gone, line", [([4], "1 kernel was left out"), ([4, 6], "2 kernels were left out")])
def test_kernels_left_out_are_told(capsys, tmp_path, gone, line):
    masks = [np.ones((8, 5), bool), np.ones((3, 8), bool)]
    masks[1][:, gone] = False
    model = make_mlp(tmp_path / "small.onnx", sizes=(5, 8, 3), winners=None, seed=1, masks=masks)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).integers(0, 256, (20, 5)).astype(np.uint8))
    capsys.readouterr()
    assert main(["diff", str(model), "--inputs", str(tmp_path / "x.npz"), "--calibration", str(tmp_path / "x.npz"),
                 "--no-rtl"]) == 0
    assert f"\nfc0_node: {line}\n" in capsys.readouterr().out


def test_wrong_scale_of_inputs(capsys, files, tmp_path):
    with np.load(files / "test.npz") as stored:
        np.savez(tmp_path / "raw.npz", x=stored["x"])
    code, found = as_json(capsys, "diff", files / "build", "--inputs", tmp_path / "raw.npz", "--no-rtl")
    assert code == 0 and found["accuracy"] is found["float_accuracy"] is None
    assert found["verdict"][0].endswith("% are beyond the code range: is their scale right?")


def test_wrong_weight_in_the_rtl(capsys, files, monkeypatch):
    made = watch.NetworkTop

    def spoiled(arch, images):
        first = images[0].engine
        lane = tuple(row ^ 0x40 for row in first.weights[0])
        return made(arch, [replace(images[0], engine=replace(first, weights=(lane, *first.weights[1:]))), *images[1:]])
    monkeypatch.setattr(watch, "NetworkTop", spoiled)
    code, found = as_json(capsys, "diff", files / "build", "--inputs", files / "test.npz", "--engine", "amaranth",
                          "--limit", 3)
    assert code == 1 and found["rtl_equal"] is False
    first = found["layers"][0]["rtl_first"]
    assert first["frame"] == 0 and first["cycle"] > 0 and first["expected"] != first["got"]
    assert found["verdict"][0] == (
        f"the RTL is wrong from layer 'fc0_node' on: frame 0, element {first['element']}, cycle {first['cycle']}: "
        f"{first['got']}, not {first['expected']}")
    assert found["layers"][0]["weights"]["wrong"] == 0


def test_convolution(capsys, image):
    code, found = as_json(capsys, "diff", image / "image.onnx", "--inputs", image / "x.npz", "--calibration",
                          image / "x.npz", "--engine", "amaranth", "--limit", "2")
    assert code == 0 and found["rtl_equal"] is True and found["rtl_reason"] is None
    assert [layer["op"] for layer in found["layers"]] == ["Conv", "Gemm"]
    assert all(layer["alone"]["db"] > 30 for layer in found["layers"])


def test_wrong_weight_of_a_convolution(capsys, image, monkeypatch):
    """Elements are counted as the model counts them, channel by channel."""
    made, kernels = watch.NetworkTop, []

    def spoiled(arch, images):
        """The bias of the kernel that is drained first is too large, but for its width."""
        first, (select, *_) = images[0].engine, [layer.select for layer in arch.layers]
        kernels.append((images[0].select.order[0][0] & (1 << bits_for(select.words)) - 1) * select.width)
        biases = ((first.biases[0][0] + (1 << 12), *first.biases[0][1:]), *first.biases[1:])
        wide = replace(arch.layers[0].engine, bias_bits=None)
        arch = replace(arch, layers=(replace(arch.layers[0], engine=wide), *arch.layers[1:]))
        return made(arch, [replace(images[0], engine=replace(first, biases=biases)), *images[1:]])
    monkeypatch.setattr(watch, "NetworkTop", spoiled)
    code, found = as_json(capsys, "diff", image / "image.onnx", "--inputs", image / "x.npz", "--calibration",
                          image / "x.npz", "--engine", "amaranth", "--limit", "1")
    first, layer = found["layers"][0]["rtl_first"], found["layers"][0]
    assert code == 1 and found["rtl_equal"] is False and 0 < layer["rtl_different"] <= 16
    assert first["frame"] == 0 and first["element"] // 16 == kernels[0] and first["got"] > first["expected"]


def test_vector_that_becomes_an_image_is_compared_without_rtl(capsys, reshaped):
    """What has no hardware is compared all the same."""
    code, found = as_json(capsys, "diff", reshaped / "image.onnx", "--inputs", reshaped / "x.npz", "--calibration",
                          reshaped / "x.npz")
    assert code == 0 and found["rtl_equal"] is None and found["rtl_reason"].startswith("not generated: ")
    assert [layer["op"] for layer in found["layers"]] == ["Gemm", "Conv"]


def test_text_fits_a_terminal(capsys, files, monkeypatch):
    monkeypatch.setattr(output, "WIDE", 80)
    assert main(["diff", str(files / "build"), "--inputs", str(files / "test.npz"), "--engine", "amaranth", "--limit",
                 "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    where = lines.index("verdict:")
    assert max(map(len, lines[:where])) <= 80
    (header,) = (line for line in lines if line.split()[:2] == ["layer", "runs"])
    assert header.split() == ["layer", "runs", "alone", "weights", "equal", "worst", "top", "zeros", "wins", "RTL"]
    rows = [line.split() for line in lines[lines.index(header) + 2:lines.index(header) + 6]]
    assert [row[0] for row in rows] == ["input", "fc0_node", "fc1_node", "fc2_node"]
    assert all(row[-1] == "equal" for row in rows[1:])
    assert any(line.startswith("accuracy: ") for line in lines[:where])
    assert len(lines) > where + 1 and all(line.startswith("  ") for line in lines[where + 1:])


def test_text_of_what_is_not_generated(capsys, reshaped):
    arguments = ["diff", str(reshaped / "image.onnx"), "--inputs", str(reshaped / "x.npz"), "--calibration",
                 str(reshaped / "x.npz")]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out.count("  not generated\n") == 2 and "\nRTL: not generated: " in out


@pytest.mark.parametrize("arguments, message", [
    (("build", "--inputs", "test.npz", "--limit", "0"), "argument --limit: must be at least 1, not 0"),
    (("none", "--inputs", "test.npz"), "none: no build folder; make one with dovetail compile MODEL.onnx -o none"),
    (("none.onnx", "--inputs", "test.npz"), "none.onnx: "),
    (("build", "--inputs", "none.npz"), "none.npz: cannot be read: No such file or directory"),
    (("build", "--inputs", "test.npz", "--calibration", "calibration.npz"),
     "build: --calibration, widths and ranges are for MODEL.onnx; a build folder has its integers already"),
    (("build", "--inputs", "test.npz", "--weight-bits", "4"),
     "build: --calibration, widths and ranges are for MODEL.onnx; a build folder has its integers already"),
    (("small.onnx", "--inputs", "test.npz", "--calibration", "calibration.npz", "--weight-bits", "1"),
     "argument --weight-bits: must be 2 to 16, not 1"),
    (("small.onnx", "--inputs", "test.npz"), "small.onnx: a float model needs typical inputs to choose scales by: "),
    (("build",), "the following arguments are required: --inputs"),
])
def test_wrong_call(capsys, files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    capsys.readouterr()
    assert main(["diff", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1].startswith(f"dovetail: error: {message}")
