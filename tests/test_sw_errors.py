"""What an untrusted file may hold, line by line: from the bytes of a file to one line of text.

Single checks are pinned with the module that makes them; here each goes through the whole of intake.
"""

import io
import re

import numpy as np
import onnx
import pytest
from intake import make_model
from models import node
from onnx import TensorProto

from dovetail.hw.errors import ModelError
from dovetail.sw import reader
from dovetail.sw.compile import integer_network
from dovetail.sw.data import Samples, load_samples
from dovetail.sw.inspect import inspect_model
from dovetail.sw.reader import read_model

F = np.float32
GEMM, RELU = node("Gemm", ["x", "w"], ["g"]), node("Relu", ["g"], ["r"])
LAST = node("Gemm", ["won", "v"], ["y"])
QDQ = [
    node("QuantizeLinear", ["x", "s", "z"], ["xq"]), node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
    node("DequantizeLinear", ["i", "sw"], ["wd"]), node("MatMul", ["xd", "wd"], ["g"]),
    node("QuantizeLinear", ["g", "so", "z"], ["gq"]), node("DequantizeLinear", ["gq", "so", "z"], ["y"])]
CONSTANTS = {
    "w": np.ones((4, 3), F), "v": np.ones((3, 2), F), "k": np.array([2]), "zero": np.zeros(1, F),
    "s": F(1), "z": np.int8(0), "i": np.ones((4, 3), np.int8), "sw": F(1), "so": F(1), "pixel": np.array([0, 3, 1, 1]),
    "one": np.ones((1, 1, 1, 1), F), "wide": np.ones((1, 1, 128, 128), F), "sizes": np.array([4096, 4096])}
WINNERS = [GEMM, RELU, node("TopK", ["r", "k"], ["t", "ti"], axis=1), node("Mul", ["r", "zero"], ["n"]),
           node("ScatterElements", ["n", "ti", "t"], ["won"], axis=1), LAST]


def build(tmp_path, model):
    """All that is done to a file before it is planned."""
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    read = read_model(path)
    x = np.ones((3, int(np.prod(read.input_shape))))
    network, _ = integer_network(read, Samples(x=x, scale=1.0, labels=None))
    inspect_model(read)
    return network


def refused(tmp_path, model, message):
    with pytest.raises(ModelError, match=f"^(m\\.onnx: )?{re.escape(message)}$"):
        build(tmp_path, model)


def outside(location):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(4, 3), data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return {"w": tensor}


def lying(**changes):
    return {"w": TensorProto(name="w", **{"data_type": TensorProto.FLOAT, "dims": (4, 3), "raw_data": bytes(48)}
                             | changes)}


IMAGE = {"input_shape": ("n", 1, 180, 180)}
CONV = node("Conv", ["x", "one"], ["c"])
SENSIBLE = "the nearest supported form has both within 1e-77 to 1e77, or zero"
EXAMPLES = {
    "dimensions": ([GEMM], lying(dims=[2**31, 2**31]), {},
                   f"tensor 'w' of {2**62} elements is too large; at most {2**27} are read in all"),
    "negative dimensions": ([GEMM], lying(dims=[-4, 3]), {},
                            "tensor 'w' must have at most 8 dimensions of at least 0, not (-4, 3)"),
    "input dimensions": ([GEMM], {}, {"input_shape": ("n", 2**20, 2**20)},
                         f"input 'x' must have at most 65536 elements, not {2**40}"),
    "window": ([node("Conv", ["x", "wide"], ["c"])], {}, IMAGE,
               "node 'c_node' (Conv) must have windows of at most 16777216 elements together, not 46022656: 2809 "
               "windows of 16384; the nearest supported form has a smaller kernel or larger strides"),
    "pooling window": ([CONV, node("MaxPool", ["c"], ["m"], kernel_shape=[100, 100])], {}, IMAGE,
                       "node 'm_node' (MaxPool) must have windows of at most 16777216 elements together, not 65610000: "
                       "6561 windows of 10000; the nearest supported form has a smaller kernel or larger strides"),
    "pads": ([node("Conv", ["x", "one"], ["c"], pads=[2**16] * 4, strides=[2**16, 2**16])], {}, IMAGE,
             "node 'c_node' (Conv) must take at most 1048576 elements, pads (65536, 65536, 65536, 65536) included, "
             "not 17227087504; the nearest supported form has pads below its kernel"),
    "constants from nothing": ([node("ConstantOfShape", ["sizes"], ["m"]), node("MatMul", ["x", "m"], ["y"])],
                               {}, {"input_shape": ("n", 4096)},
                               "node 'm_node' (ConstantOfShape) makes a constant of 16777216 elements; at most 4194304 "
                               "are computed; the nearest supported form has it as an initializer"),
    "data outside": ([GEMM], outside("../w.bin"), {},
                     "tensor 'w' has external data in '../w.bin', which is not inside the folder of the model"),
    "data at the root": ([GEMM], outside("/etc/passwd"), {},
                         "tensor 'w' has external data in '/etc/passwd', which is not inside the folder of the model"),
    "cycle": ([node("Add", ["x", "b"], ["a"]), node("Mul", ["a", "x"], ["b"])], {}, {},
              "node 'a_node' (Add) takes the value 'b', which only a later node makes: the nodes are in a wrong order "
              "or go round in a circle"),
    "dangling input": ([node("Gemm", ["x", "nothing"], ["g"])], {}, {},
                       "node 'g_node' (Gemm) takes the value 'nothing', which nothing before it makes"),
    "shape lie": ([GEMM], lying(dims=[4, 4]), {}, "tensor 'w' is damaged: its data do not fit its type and shape"),
    "output shape lie": ([GEMM], {}, {"output_shape": ("n", 7)},
                         "output 'g' must have 3 elements as computed, not 7 as declared"),
    "weights that do not fit": ([GEMM], {"w": np.ones((5, 3), F)}, {},
                                "node 'g_node' (Gemm) must have 4 positions, not 5"),
    "NaN": ([GEMM], {"w": np.full((4, 3), np.nan, F)}, {}, "node 'g_node' (Gemm) has NaN or infinity in its input 1"),
    "infinity": ([GEMM], {"w": np.full((4, 3), np.inf, F)}, {},
                 "node 'g_node' (Gemm) has NaN or infinity in its input 1"),
    "denormal weights": ([GEMM, RELU], {"w": np.full((4, 3), 5e-324)}, {}, "node 'g_node' (Gemm) has weights of up to "
                         f"4.94e-324 and outputs of up to 1.98e-323; {SENSIBLE}"),
    "enormous weights": ([GEMM, RELU], {"w": np.full((4, 3), 1e300)}, {}, "node 'g_node' (Gemm) has weights of up to "
                         f"1e+300 and outputs of up to 4e+300; {SENSIBLE}"),
    "denormal scale": (QDQ, {"s": np.float64(5e-324)}, {},
                       "node 'xq_node' (QuantizeLinear) must have a positive scale, not 5e-324"),
    "denormal unit": (QDQ, {"s": F(2.0**-100), "sw": np.float64(5e-324)}, {},
                      "node 'g_node' (MatMul) has scales too small for floating point; scales of a sensible size are "
                      "needed"),
    "zero scale": (QDQ, {"s": F(0)}, {}, "node 'xq_node' (QuantizeLinear) must have a positive scale, not 0.0"),
    "zero scale of weights": (QDQ, {"sw": F(0)}, {}, "node 'wd_node' (DequantizeLinear) must have scales that are "
                              "positive and finite, not 0.0"),
    "infinite weights on a grid": ([*QDQ[:3], node("Gemm", ["xd", "wd"], ["y"], alpha=np.inf)], {}, {},
                                   "node 'y_node' (Gemm) has NaN or infinity in its weights"),
    "K = 0": (WINNERS, {"k": np.array([0])}, {}, "node 't_node' (TopK) must have K of at least 1, not 0"),
    "K > n": (WINNERS, {"k": np.array([4])}, {},
              "node 't_node' (TopK) must have K of 1 to 3 (the length of its vector), not 4"),
    "empty layer": ([GEMM], {"w": np.zeros((4, 0), F)}, {},
                    "node 'g_node' (Gemm) must have a constant tensor of numbers as input 1"),
    "weights too wide": (QDQ, {"i": np.full((4, 3), 2**30, np.int32)}, {},
                         "node 'g_node' (MatMul) has weights of 32 bits; at most 17"),
    "codes too wide": (QDQ, {"i": np.array([[2**31 - 1, -2**31, 1]] * 4, np.int32)}, {},
                       "node 'g_node' (MatMul) has weights of 32 bits; at most 17"),
    "MaxPool without a convolution": (
        [GEMM, RELU, node("Reshape", ["r", "pixel"], ["p"]), node("MaxPool", ["p"], ["m"], kernel_shape=[1, 1])],
        {}, {},
        "node 'm_node' (MaxPool) must follow a Conv or AveragePool, not 'g_node' (Gemm), whose output is one pixel; "
        "the nearest supported form is without it"),
}


@pytest.mark.parametrize("what", EXAMPLES)
def test_refused(tmp_path, what):
    nodes, changes, arguments, message = EXAMPLES[what]
    refused(tmp_path, make_model(nodes, CONSTANTS | changes, **arguments), message)


def test_size_limits(tmp_path, monkeypatch):
    model = make_model([GEMM, RELU], CONSTANTS)
    monkeypatch.setattr(reader, "MAX_NODES", 1)
    refused(tmp_path, model, "has 2 nodes; at most 1 are read")
    monkeypatch.setattr(reader, "MAX_FILE_BYTES", 100)
    refused(tmp_path, model, f"has {len(model.SerializeToString())} bytes; at most 100 are read")


def test_link_outside(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret").write_bytes(bytes(48))
    (tmp_path / "folder" / "w.bin").symlink_to(tmp_path / "secret")
    refused(tmp_path / "folder", make_model([GEMM], outside("w.bin")),
            "tensor 'w' has external data in 'w.bin', which is not inside the folder of the model")


def test_pickle(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{"a": 1}], dtype=object))
    (tmp_path / "x.npz").write_bytes(buffer.getvalue())
    with pytest.raises(ModelError, match=r"^x\.npz: holds pickled objects, which are not loaded; save plain arrays of "
                                         r"numbers$"):
        load_samples(tmp_path / "x.npz", (4,))


@pytest.mark.parametrize("name", ["\n\x1b[31m", "n" * 100_000, "\u202e" * 5000])
def test_names(tmp_path, name):
    """Whatever a file calls its values: one line that a terminal can show."""
    with pytest.raises(ModelError) as caught:
        build(tmp_path, make_model([node("Gemm", ["x", name], ["g"])], {}))
    text = str(caught.value)
    assert text.isprintable() and len(text) <= 1_205
    assert text.startswith("m.onnx: node 'g_node' (Gemm) takes the value ")
    assert text.endswith(", which nothing before it makes")


def test_small_numbers(tmp_path):
    """Denormal numbers of float32 are numbers like others."""
    for changes in ({"s": F(1e-45)}, {"sw": F(1e-45)}, {"so": F(1e-45)}):
        assert build(tmp_path, make_model(QDQ, CONSTANTS | changes)).layers
    layer = build(tmp_path, make_model([GEMM, RELU], {"w": np.full((4, 3), 1e-45, F)})).layers[0]
    assert (layer.weights == 127).all()
    assert build(tmp_path, make_model([GEMM, RELU], {"w": np.zeros((4, 3), F)})).layers[0].weights.any() == 0


def test_signalling_nan(tmp_path):
    """Looking for zeros among the constants does not trip over NaN, nor over a scale whose inverse overflows."""
    nan = onnx.numpy_helper.from_array(np.frombuffer(b"\x01\x00\x80\x7f" * 12, F).reshape(4, 3), "w")
    refused(tmp_path, make_model([GEMM], {"w": nan}), "node 'g_node' (Gemm) has NaN or infinity in its input 1")
    refused(tmp_path, make_model(QDQ, CONSTANTS | {"so": np.float64(5e-324)}),
            "node 'gq_node' (QuantizeLinear) must have a positive scale, not 5e-324")
