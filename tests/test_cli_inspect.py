"""`dovetail inspect`, in text and as JSON."""

import json

import numpy as np
import pytest
from models import make_mlp, node, save_model

from dovetail.cli.main import main


def run(capsys, *arguments):
    capsys.readouterr()
    code = main(["inspect", *map(str, arguments)])
    return code, capsys.readouterr().out


@pytest.fixture
def perceptron(tmp_path):
    rng = np.random.default_rng(0)
    masks = [rng.random((600, 784)) < 0.06, np.ones((10, 600), bool)]
    return make_mlp(tmp_path / "mlp.onnx", sizes=(784, 600, 10), winners=60, seed=1, masks=masks)


@pytest.fixture
def convolution(tmp_path):
    rng = np.random.default_rng(2)
    constants = {"w": rng.normal(size=(8, 1, 3, 3)).astype(np.float32),
                 "v": rng.normal(size=(72, 4)).astype(np.float32)}
    nodes = [node("Conv", ["x", "w"], ["conv0"]), node("Relu", ["conv0"]),
             node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]), node("Flatten", ["pool"]),
             node("MatMul", ["flatten", "v"])]
    return save_model(tmp_path / "conv.onnx", nodes, constants, input_shape=["n", 1, 8, 8], output_shape=["n", 4])


def test_text(capsys, perceptron):
    code, text = run(capsys, perceptron)
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    assert "fc0_node (Linear, then ReLU): unstructured mask; not complementary: " in words
    assert "at N = 16 this layer would need 1/2." in words
    assert "fc1_node (Linear): dense mask pruned to 1/10 (complementary, N = 10) it would need 1/10" in words


def test_json(capsys, perceptron):
    code, text = run(capsys, perceptron, "--json")
    found = json.loads(text)
    assert code == 0 and found["supported"] and found["problems"] == []
    first = found["layers"][0]
    assert (first["op"], first["pattern"], first["winners"], first["vectors"]) == ("Linear", "unstructured", 60, 1)
    assert set(first["gain"]) == {"set_size", "banks", "rows", "rows_complementary", "text"}
    assert (first["gain"]["set_size"], first["gain"]["banks"]) == (16, 38)


def test_convolution(capsys, convolution):
    code, text = run(capsys, convolution, "--json")
    found = json.loads(text)
    assert code == 0 and found["supported"] and found["problems"] == []
    assert [layer["op"] for layer in found["layers"]] == ["Conv", "Linear"]
    code, text = run(capsys, convolution)
    assert code == 0
    assert "not supported" not in text
    assert "conv0_node (Conv, 36 windows, then ReLU): dense mask" in text


def test_what_compile_refuses(capsys, tmp_path):
    """A file that states integers, but not those of its last layer's results."""
    constants = {"w": np.ones((4, 3), np.int8), "v": np.ones((3, 2), np.int8), "s": np.float32(0.5), "z": np.int8(0)}
    nodes = [node("DequantizeLinear", ["w", "s", "z"], ["wd"]), node("DequantizeLinear", ["v", "s", "z"], ["vd"]),
             node("MatMul", ["x", "wd"], ["h"]), node("Relu", ["h"]), node("QuantizeLinear", ["relu", "s", "z"], ["q"]),
             node("DequantizeLinear", ["q", "s", "z"], ["d"]), node("MatMul", ["d", "vd"], ["y"]),
             node("Relu", ["y"], ["last"])]
    model = save_model(tmp_path / "bad.onnx", nodes, constants, input_shape=["n", 4])
    np.savez(tmp_path / "x.npz", x=np.ones((2, 4), np.uint8))
    problem = ("bad.onnx: node 'last_node' (Relu) takes values without codes; put QuantizeLinear and DequantizeLinear "
               "(or Quant) behind it")
    assert main(["compile", str(model), "-o", str(tmp_path / "b"), "--calibration", str(tmp_path / "x.npz")]) == 2
    assert capsys.readouterr().err.endswith(f"dovetail: error: {problem}\n")
    code, text = run(capsys, model, "--json")
    assert code == 0 and json.loads(text)["supported"] is False and json.loads(text)["problems"] == [problem]
    code, text = run(capsys, model)
    assert code == 0 and f"not supported: {problem}" in " ".join(text.split())


def test_one_of_a_kind(capsys, tmp_path):
    """One set, one kernel without a weight, one input without."""
    weights = np.ones((4, 3), np.float32)
    weights[:, 1] = weights[2] = 0
    model = save_model(tmp_path / "one.onnx", [node("MatMul", ["x", "w"])], {"w": weights}, input_shape=["n", 4])
    _, text = run(capsys, model)
    words = " ".join(text.split())
    assert "; 1 kernel without a weight; 1 input without a weight" in words and " 1 kernels" not in words
