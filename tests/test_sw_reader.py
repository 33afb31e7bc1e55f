"""ONNX intake: every spelling that is read, every error that is met."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
from intake import make_model
from models import make_mlp, node, save_model
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto, helper, numpy_helper

from dovetail.hw.errors import ModelError
from dovetail.sw import reader
from dovetail.sw.data import load_samples
from dovetail.sw.reader import read_graph, read_model

RNG = np.random.default_rng(1)
W = RNG.standard_normal((3, 4)).astype(np.float32)
V = RNG.standard_normal((2, 3)).astype(np.float32)
B = RNG.standard_normal(3).astype(np.float32)
C = RNG.standard_normal(4).astype(np.float32)
CONSTANTS = {
    "w": W, "wt": W.T, "v": V, "b": B, "c": C, "k": np.array([2]), "zero": np.zeros(1, np.float32),
    "half": np.array([0.5], np.float32), "rate": np.array(0.5, np.float32),
    "false": np.array(False), "gamma": np.abs(B) + 1, "mean": B - 1, "variance": np.abs(B),
    "gamma4": np.abs(C) + 1, "mean4": C - 1, "variance4": np.abs(C), "keep": np.array([0, -1]),
}
GEMM = node("Gemm", ["x", "w", "b"], ["g"], transB=1)
RELU = node("Relu", ["g"], ["r"])
TOPK = node("TopK", ["r", "k"], ["tv", "ti"], axis=1)
SCATTER = node("ScatterElements", ["z", "ti", "tv"], ["s"], axis=1)
LAST = node("Gemm", ["s", "v"], ["out"], transB=1)


def reference(path, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def read(tmp_path, nodes, *, input_shape=("n", 4), opset=17, constants=CONSTANTS, **arguments):
    used = {name for item in nodes for name in item.input}
    constants = {name: value for name, value in constants.items() if name in used}
    path = save_model(tmp_path / "m.onnx", nodes, constants, input_shape=input_shape, opset=opset, **arguments)
    return read_model(path)


def wrong(tmp_path, nodes, message, **arguments):
    with pytest.raises(ModelError, match=rf"^m\.onnx: {message}$"):
        read(tmp_path, nodes, **arguments)


@pytest.mark.parametrize("nodes", [
    [node("Gemm", ["x", "w", "b"], transB=1)],
    [node("Gemm", ["x", "wt"])],
    [node("Gemm", ["x", "wt", "b"], alpha=0.5, beta=-2.0)],
    [node("Gemm", ["x", "wt", "half"])],
    [node("MatMul", ["x", "wt"])],
    [node("Transpose", ["w"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"])],
    [node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"]), node("Add", ["b", "matmul"])],
    [GEMM, node("Sub", ["b", "g"])],
    [GEMM, node("Sub", ["g", "b"])],
    [GEMM, node("Mul", ["g", "b"]), node("Div", ["mul", "gamma"]), node("Add", ["div", "half"])],
    [node("Add", ["x", "c"]), node("Mul", ["add", "half"]), node("Gemm", ["mul", "w", "b"], transB=1)],
    [node("BatchNormalization", ["x", "gamma4", "c", "mean4", "variance4"], ["n"]), node("Gemm", ["n", "wt"])],
    [GEMM, node("BatchNormalization", ["g", "gamma", "b", "mean", "variance"], epsilon=0.25)],
    [GEMM, RELU, node("BatchNormalization", ["r", "gamma", "b", "mean", "variance"], ["s"]), LAST],
    [node("Identity", ["x"], ["i"]), node("Gemm", ["i", "wt"]), node("Softmax", ["gemm"])],
    [GEMM, RELU, node("Dropout", ["r", "rate", "false"], ["s"]), LAST],
    [GEMM, RELU, node("Dropout", ["r"], ["s"]), LAST],
    [GEMM, RELU, node("Relu", ["r"], ["s"]), LAST],
    [GEMM, RELU],
    [node("Flatten", ["x"]), node("Gemm", ["flatten", "wt"])],
    [node("Reshape", ["x", "keep"]), node("Gemm", ["reshape", "wt"])],
    [GEMM, RELU, TOPK, node("Mul", ["r", "zero"], ["z"]), SCATTER, LAST],
    [GEMM, RELU, node("TopK", ["r", "k"], ["tv", "ti"], axis=-1, sorted=0), node("Mul", ["zero", "r"], ["z"]), SCATTER],
    [GEMM, RELU, TOPK, node("Sub", ["r", "r"], ["z"]), SCATTER, LAST],
    [GEMM, RELU, TOPK, node("Shape", ["r"], ["size"]), node("ConstantOfShape", ["size"], ["z"]), SCATTER, LAST],
    [GEMM, RELU, TOPK, node("Shape", ["r"], ["size"]), node("Expand", ["zero", "size"], ["z"]), SCATTER, LAST],
    [GEMM, node("TopK", ["g", "k"], ["tv", "ti"]), node("Mul", ["g", "zero"], ["z"]), SCATTER, node("Relu", ["s"])],
    [GEMM, RELU, TOPK, node("Mul", ["r", "zero"], ["z"]), SCATTER, node("Relu", ["s"], ["again"])],
])
def test_spellings(tmp_path, nodes):
    model = read(tmp_path, nodes)
    x = RNG.standard_normal((7, 4)).astype(np.float32)
    expected = reference(tmp_path / "m.onnx", x)
    found = model.run(x)[-1]
    if nodes[-1].op_type == "Softmax":
        found = np.exp(found) / np.exp(found).sum(axis=1, keepdims=True)
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("shape", "target"), [
    (["n", 2, 2], [0, -1]), (["n", 2, 2], [-1, 4]), (["n", 2, 2], [0, 4]), ([1, 2, 2], [1, 4]), ([1, 2, 2], [1, -1]),
    ([3, 1, 4], [3, -1]), (["n", 4, 1], [0, 0]),
])
def test_reshape(tmp_path, shape, target):
    constants = CONSTANTS | {"target": np.array(target)}
    model = read(tmp_path, [node("Reshape", ["x", "target"]), node("Gemm", ["reshape", "wt"])], input_shape=shape,
                 constants=constants)
    x = RNG.standard_normal((shape[0] if shape[0] != "n" else 5, *shape[1:])).astype(np.float32)
    assert_allclose(model.run(x)[-1], reference(tmp_path / "m.onnx", x), rtol=1e-5, atol=1e-5)


def test_channels(tmp_path):
    """Batch normalisation and constants of an image, before it is flattened."""
    constants = {"gamma": B[:2], "beta": B[1:], "mean": C[:2], "variance": np.abs(C[:2]), "scale": C.reshape(2, 2),
                 "w": RNG.standard_normal((8, 5)).astype(np.float32)}
    nodes = [node("BatchNormalization", ["x", "gamma", "beta", "mean", "variance"], ["n"]), node("Mul", ["n", "scale"]),
             node("Flatten", ["mul"]), node("Gemm", ["flatten", "w"])]
    model = read(tmp_path, nodes, input_shape=("n", 2, 2, 2), constants=constants)
    x = RNG.standard_normal((6, 2, 2, 2)).astype(np.float32)
    assert_allclose(model.run(x)[-1], reference(tmp_path / "m.onnx", x), rtol=1e-5, atol=1e-5)
    assert model.input_shape == (2, 2, 2)


@pytest.mark.parametrize("attributes", [{"value_int": 2}, {"value_ints": [2]},
                                        {"value": numpy_helper.from_array(np.array([2]))}])
def test_constant_nodes(tmp_path, attributes):
    nodes = [node("Constant", [], ["k"], **attributes), node("Constant", [], ["zero"], value_float=0.0),
             GEMM, RELU, TOPK, node("Mul", ["r", "zero"], ["z"]), SCATTER, LAST]
    assert read(tmp_path, nodes, constants={"w": W, "b": B, "v": V}).layers[0].winners == 2


def test_names(tmp_path):
    plain = [helper.make_node("Gemm", ["x", "w"], ["g\n"], transB=1), helper.make_node("Relu", ["g\n"], ["r"]),
             helper.make_node("Gemm", ["r", "v"], ["o" * 200], transB=1)]
    named = [helper.make_node("Gemm", ["x", "w"], ["g"], transB=1, name="fc"), helper.make_node("Relu", ["g"], ["r"]),
             helper.make_node("Gemm", ["r", "v"], ["out"], transB=1, name="fc")]
    assert [layer.name for layer in read(tmp_path, plain).layers] == ["g?", "o" * 80]
    assert [layer.name for layer in read(tmp_path, named).layers] == ["fc", "fc_2"]


def test_record(tmp_path):
    masks = [RNG.random(shape) < 0.3 for shape in ((20, 12), (15, 20), (4, 15))]
    path = make_mlp(tmp_path / "small.onnx", sizes=(12, 20, 15, 4), masks=masks, winners=(5, None), seed=3,
                    input_shape=(3, 4))
    model = read_model(str(path))
    assert model.name == "small"
    assert model.input_shape == (3, 4)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [layer.name for layer in model.layers] == ["fc0_node", "fc1_node", "fc2_node"]
    assert [(layer.relu, layer.winners) for layer in model.layers] == [(True, 5), (True, None), (False, None)]
    for layer, mask in zip(model.layers, masks, strict=True):
        assert_array_equal(layer.mask, mask)
        assert not layer.weights.flags.writeable
    x = RNG.standard_normal((9, 3, 4)).astype(np.float32)
    assert_allclose(model.run(x)[-1], reference(path, x), rtol=1e-4, atol=1e-4)
    assert_array_equal(model.run(x)[-1], model.run(x.reshape(9, 12))[-1])


@pytest.mark.parametrize(("name", "nonzero", "correct"), [
    ("kws_mlp", [32768, 16384, 2560], 284), ("fashion_mlp_unstructured", [28004, 14299, 4000], 867),
])
def test_trained(shared_models, name, nonzero, correct):
    model = read_model(shared_models / f"{name}.onnx")
    assert [int(layer.mask.sum()) for layer in model.layers] == nonzero
    samples = load_samples(shared_models / f"{name}_test.npz", model.input_shape)
    scores = model.run(samples.x * samples.scale)[-1]
    assert (scores.argmax(axis=1) == samples.labels).sum() == correct
    x = (samples.x * np.float32(samples.scale)).astype(np.float32).reshape(-1, *model.input_shape)
    assert_allclose(scores, reference(shared_models / f"{name}.onnx", x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["TFC_1W2A", "qkeras_jettagging", "kws_cnn"])
def test_more_files(shared_models, name):
    assert len(read_model(shared_models / f"{name}.onnx").layers) == 4


QDQ = r"the same model in QDQ format \(QuantizeLinear and DequantizeLinear around operators in floating point\)"


@pytest.mark.parametrize(("op", "domain", "nearest"), [
    ("Tanh", "", "Relu"), ("LeakyRelu", "", "Relu"), ("QLinearMatMul", "", QDQ), ("ConvInteger", "", QDQ),
    ("DynamicQuantizeLinear", "", QDQ), ("QGemm", "com.microsoft", QDQ),
    ("FusedConv", "com.microsoft", "the model as exported, before a runtime has fused its operators"),
    ("LSTM", "", "a feed-forward network of Gemm or Conv layers in a straight line"),
    ("If", "", "a model without control flow, traced for inference"), ("ConvTranspose", "", "Conv"),
    ("LayerNormalization", "", "BatchNormalization, whose parameters are constant"),
    ("ReduceMax", "", "MaxPool, its kernel the whole image"), ("Einsum", "", "Gemm or MatMul"),
    ("ScatterND", "", "ScatterElements of the values of TopK onto zeros, opset 11 or later"),
    ("FloatQuant", "qonnx.custom_op.general", "Quant or IntQuant, which make integers"),
    ("MultiThreshold", "qonnx.custom_op.general", "the QONNX file before FINN's streamlining, with its Quant nodes"),
    ("Quant", "", "a network of Gemm.+"), ("Relu", "my.own", "a network of Gemm.+"), ("Nonsense", "", "a network .+"),
])
def test_operator_wrong(tmp_path, op, domain, nearest):
    shown = f"{domain}.{op}" if domain else op
    wrong(tmp_path, [GEMM, node(op, ["g"], ["t"], domain=domain)],
          rf"node 't_node' \({shown.replace('.', '[.]')}\) is not supported; the nearest supported form is {nearest}")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_truncated_wrong(tmp_path, share):
    data = make_mlp(tmp_path / "m.onnx", sizes=(4, 5, 3), winners=2, seed=0).read_bytes()
    (tmp_path / "m.onnx").write_bytes(data[:int(share * len(data))])
    with pytest.raises(ModelError, match=r"^m\.onnx: is not an ONNX model, or is truncated$"):
        read_model(tmp_path / "m.onnx")


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"plain text\n", bytes(range(256)), b"\0" * 100])
def test_not_onnx_wrong(tmp_path, data):
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"^m\.onnx: is not an ONNX model, or is truncated$"):
        read_model(tmp_path / "m.onnx")


def test_damaged(tmp_path):
    """Whatever bytes change, the file is read or refused in one line."""
    path = make_mlp(tmp_path / "m.onnx", sizes=(4, 5, 3), winners=2, seed=0)
    data = path.read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(400):
        changed = bytearray(data)
        for position in rng.integers(len(data), size=rng.integers(1, 4)):
            changed[position] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read_model(path)
        except ModelError as error:
            refused += 1
            assert str(error).startswith("m.onnx: ") and "\n" not in str(error)
    assert refused > 40


def test_file_wrong(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"^none\.onnx: cannot be read: No such file or directory$"):
        read_model(tmp_path / "none.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ModelError, match=r"^folder\.onnx: is not a file$"):
        read_model(tmp_path / "folder.onnx")
    monkeypatch.setattr(reader, "MAX_FILE_BYTES", 10)
    monkeypatch.setattr(reader, "MAX_NODES", 1)
    (tmp_path / "m.onnx").write_bytes(bytes(11))
    with pytest.raises(ModelError, match=r"^m\.onnx: has 11 bytes; at most 10 are read$"):
        read_model(tmp_path / "m.onnx")
    monkeypatch.setattr(reader, "MAX_FILE_BYTES", 10_000)
    wrong(tmp_path, [GEMM, RELU], "has 2 nodes; at most 1 are read")


def test_opset_wrong(tmp_path):
    newest = onnx.defs.onnx_opset_version()
    for opset in (8, newest + 1):
        wrong(tmp_path, [GEMM], f"has opset {opset}; export it with opset 9 to {newest}", opset=opset)
    wrong(tmp_path, [GEMM, RELU, node("TopK", ["r"], ["tv", "ti"], k=2)], r"node 'tv_node' \(TopK\) must have K as an "
          r"input; export the model with opset 11 or later", opset=9)


@pytest.mark.parametrize("opset", range(9, onnx.defs.onnx_opset_version() + 1))
def test_opsets(opset):
    """Every opset is read, and what an attribute that is left out means in it is written down."""
    graph = read_graph(make_model([node("MatMul", ["x", "wt"]), node("Softmax", ["matmul"], ["y"])], CONSTANTS,
                                  opset=opset).SerializeToString(), name="m")
    assert graph.opset == opset
    assert graph.nodes[-1].attributes == {"axis": 1 if opset < 13 else -1}


def test_no_opset_wrong():
    model = make_model([GEMM], CONSTANTS)
    del model.opset_import[:]
    refused(model, f"has opset 0; export it with opset 9 to {onnx.defs.onnx_opset_version()}")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["w", "b"])
def test_not_finite_wrong(tmp_path, name, bad):
    value = CONSTANTS[name].copy()
    value.flat[1] = bad
    what = {"w": "input 1", "b": "input 2"}[name]
    wrong(tmp_path, [GEMM], rf"node 'g_node' \(Gemm\) has NaN or infinity in its {what}",
          constants=CONSTANTS | {name: value})


@pytest.mark.parametrize(("k", "message"), [
    ([4], r"must have K of 1 to 3 \(the length of its vector\), not 4"), ([0], "must have K of at least 1, not 0"),
    ([-1], "must have K of at least 1, not -1"),
])
def test_winners_wrong(tmp_path, k, message):
    wrong(tmp_path, [GEMM, RELU, TOPK, node("Mul", ["r", "zero"], ["z"]), SCATTER, LAST],
          rf"node 'tv_node' \(TopK\) {message}", constants=CONSTANTS | {"k": np.array(k)})


def refused(model, message):
    with pytest.raises(ModelError, match=rf"^{message}$"):
        read_graph(model.SerializeToString(), name="m")


def test_sparse_wrong():
    model = make_model([node("Gemm", ["x", "w"])])
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(
        values, helper.make_tensor("i", TensorProto.INT64, [1], [0]), [4, 3]))
    refused(model, "has sparse initializers, which are not supported; save the weights dense")


@pytest.mark.parametrize(("kind", "dtype"), [
    (TensorProto.FLOAT, np.float32), (TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64),
    (TensorProto.UINT8, np.uint8), (TensorProto.INT8, np.int8), (TensorProto.UINT16, np.uint16),
    (TensorProto.INT16, np.int16),
])
def test_input_types(kind, dtype):
    model = make_model([node("Identity", ["x"], ["y"])], input_type=kind)
    assert read_graph(model.SerializeToString(), name="m").input_dtype == dtype


def test_no_nodes_wrong():
    model = make_model([GEMM], CONSTANTS)
    del model.graph.node[:]
    refused(model, "has no nodes, so there is nothing to build")
    model.ClearField("graph")
    refused(model, "is not an ONNX model, or is truncated")


def test_functions():
    """A function that nobody calls does no harm."""
    function = helper.make_function("my.own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
                                    [helper.make_opsetid("", 17)])
    model = make_model([GEMM], CONSTANTS)
    model.functions.append(function)
    assert len(read_graph(model.SerializeToString(), name="m").nodes) == 1
    model = make_model([GEMM, node("Twice", ["g"], ["y"], domain="my.own")], CONSTANTS)
    model.functions.append(function)
    refused(model, r"node 'y_node' \(my\.own\.Twice\) calls a function of the model, which is not supported; the "
                   r"nearest supported form is the model with its functions inlined \(onnx\.inliner\)")
    model = make_model([GEMM, RELU], CONSTANTS)
    function.domain, function.name = "", "Relu"
    model.functions.append(function)
    refused(model, r"node 'r_node' \(Relu\) calls a function of the model, .+")


def test_order_wrong():
    """Cycles, wrong orders, and values that are made twice."""
    refused(make_model([node("Add", ["x", "b"], ["a"]), node("Mul", ["a", "x"], ["b"])], {}),
            r"node 'a_node' \(Add\) takes the value 'b', which only a later node makes: the nodes are in a wrong order "
            r"or go round in a circle")
    refused(make_model([node("Add", ["x", "a"], ["a"])], {}),
            r"node 'a_node' \(Add\) takes the value 'a', which only a later node makes: the nodes are in a wrong order "
            r"or go round in a circle")
    refused(make_model([GEMM, node("Relu", ["x"], ["g"])], CONSTANTS),
            r"node 'g_node_2' \(Relu\) makes the value 'g' a second time")
    refused(make_model([GEMM, node("Relu", ["g"], ["w"])], CONSTANTS),
            r"node 'w_node' \(Relu\) makes the value 'w' a second time")
    refused(make_model([GEMM, node("Constant", [], ["w"], value_int=1)], CONSTANTS),
            r"node 'w_node' \(Constant\) makes the value 'w' a second time")
    model = make_model([GEMM], CONSTANTS)
    model.graph.initializer.append(model.graph.initializer[0])
    refused(model, "value 'w' is made twice")
    model = make_model([GEMM], CONSTANTS)
    model.graph.output[0].name = "nowhere"
    refused(model, "nothing makes the output 'nowhere'")


def test_amounts_wrong(monkeypatch):
    model = make_model([GEMM, RELU, TOPK], CONSTANTS)
    for name, limit, message in [
        ("MAX_NODES", 2, "has 3 nodes; at most 2 are read"),
        ("MAX_VALUES", 16, "has 17 values; at most 16 are read"),
        ("MAX_LENGTH", 3, "input 'x' must have at most 3 elements, not 4"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(reader, name, limit)
            refused(model, message)
    long = make_model([node("Transpose", ["x"], perm=list(range(5000)))])
    with monkeypatch.context() as patch:
        patch.setattr(reader, "MAX_NUMBERS", 4999)
        refused(long, "has 5000 numbers in attributes; at most 4999 are read")
    refused(long,
            r"node 'transpose_node' \(Transpose\) has the attribute 'perm', which holds 5000 elements; at most 4096 "
            r"are read")


def test_no_input_wrong(tmp_path):
    """An output that is a constant, or the input itself."""
    for output in ("t", "x"):
        model = make_model([node("Transpose", ["w"], ["t"])], CONSTANTS)
        model.graph.output[0].name = output
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match=rf"^m\.onnx: output '{output}' does not depend on the input, so there is "
                                             r"nothing to build$"):
            read_model(tmp_path / "m.onnx")


def test_many_equal_names():
    """Ten thousand nodes of one name are told apart in no time."""
    item = helper.make_node("Identity", ["x"], ["y"], name="same")
    model = make_model([item], {})
    for number in range(9_999):
        model.graph.node.append(helper.make_node("Identity", ["x"], [f"y{number}"], name="same"))
    graph = read_graph(model.SerializeToString(), name="m")
    assert [each.name for each in graph.nodes[:3]] == ["same", "same_2", "same_3"]
    assert len({each.name for each in graph.nodes}) == 10_000


def _graph_attribute(item):
    item.attribute.append(helper.make_attribute("value", helper.make_graph([], "g", [], [])))


def _same_attribute(item):
    item.attribute.extend([helper.make_attribute("narrow", 1)] * 2)


@pytest.mark.parametrize(("item", "change", "message"), [
    (node("Relu", ["x"], ["y"], alpha=0.1), None,
     r"has the attribute 'alpha', which is not supported; the nearest supported form is without it"),
    (node("ConstantOfShape", ["k"], ["y"]), _graph_attribute,
     r"has the attribute 'value', a graph, which is not supported; the nearest supported form is a model without "
     r"control flow, traced for inference"),
    (node("Quant", ["x", "half", "half", "half"], ["y"], domain="onnx.brevitas"), _same_attribute,
     r"has an attribute twice"),
    (node("Quant", ["x", "half", "half", "half"], ["y"], domain="onnx.brevitas", signed=1.0), None,
     r"must have an attribute 'signed' of another type"),
    (node("Quant", ["x", "half", "half", "half"], ["y"], domain="onnx.brevitas", rounding_mode=1), None,
     r"must have an attribute 'rounding_mode' of another type"),
    (node("Quant", ["x", "half", "half"], ["y"], domain="onnx.brevitas"), None, r"must have 4 inputs"),
    (node("Quant", ["x", "", "half", "half"], ["y"], domain="onnx.brevitas"), None, r"must have 4 inputs"),
    (node("Quant", ["x", "half", "half", "half"], ["y", "z"], domain="onnx.brevitas"), None,
     r"must have one output, not 2"),
    (node("QuantizeLinear", ["x"], ["y"], domain="com.microsoft"), None, r"must have 2 to 3 inputs"),
    (node("Relu", [], ["y"]), None, r"must have 1 input"),
    (node("Relu", ["x"], ["", "y"]), None, r"must have an output"),
    (node("QuantizeLinear", ["x", "half", "four"], ["y"]), None,
     r"takes the 4-bit tensor 'four'; the nearest supported form has them at DequantizeLinear only"),
])
def test_node_wrong(item, change, message):
    if change is not None:
        change(item)
    item.name = "n"
    constants = CONSTANTS | {"four": helper.make_tensor("four", TensorProto.INT4, [], [1])}
    refused(make_model([item], constants, opset=21), rf"node 'n' \({item.op_type}\) {message}")


def test_constant_four_bits_wrong():
    value = helper.make_tensor("v", TensorProto.UINT4, [2], [1, 2])
    refused(make_model([node("Constant", [], ["c"], value=value), node("Add", ["x", "c"])], opset=21),
            r"node 'add_node' \(Add\) takes the 4-bit tensor 'c'; the nearest supported form has them at "
            r"DequantizeLinear only")


def test_custom_domains():
    """The ONNX checker knows nothing of them, and still sees the nodes around them."""
    quant = node("Quant", ["g", "half", "zero", "k"], ["q"], domain="qonnx.custom_op.general", signed=1, narrow=0,
                 rounding_mode="ROUND")
    graph = read_graph(make_model([GEMM, quant, node("Relu", ["q"], ["y"])], CONSTANTS).SerializeToString(), name="m")
    assert [item.op for item in graph.nodes] == ["Gemm", "Quant", "Relu"]
    assert graph.nodes[1].attributes == {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    assert_array_equal(graph.constants["half"].values, [0.5])
    refused(make_model([GEMM, quant, node("Relu", ["q"], ["y", "z"])], CONSTANTS), r"is not valid ONNX: [^\n]+")


def changed(tmp_path, change):
    path = save_model(tmp_path / "m.onnx", [GEMM], {"w": W, "b": B}, input_shape=("n", 4))
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def _second_input(model):
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4]))


def _second_output(model):
    model.graph.output.append(model.graph.output[0])


def _integers(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


def _short_tensor(model):
    model.graph.initializer[0].raw_data = b"abcd"


def _wrong_output(model):
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("g", TensorProto.FLOAT, ["n", 7]))


@pytest.mark.parametrize(("change", "message"), [
    (_second_input, "must have one input, not 2"),
    (_second_output, "must have one output, not 2"),
    (_integers, "input 'x' must be a tensor of floating point numbers, or of integers of 8 or 16 bits"),
    (_short_tensor, "tensor 'w' is damaged: its data do not fit its type and shape"),
    (_wrong_output, "output 'g' must have 3 elements as computed, not 7 as declared"),
])
def test_graph_wrong(tmp_path, change, message):
    with pytest.raises(ModelError, match=rf"^m\.onnx: {message}$"):
        read_model(changed(tmp_path, change))


@pytest.mark.parametrize(("shape", "message"), [
    (["n"], r"must have a batch and at least one size, not \[None\]"),
    (["n", "m"], r"must have fixed sizes after the batch, not \[None\]"),
    (["n", 2, 0], r"must have fixed sizes after the batch, not \[2, 0\]"),
    (["n", 2**20, 2**20], rf"must have at most 65536 elements, not {2**40}"),
])
def test_input_wrong(tmp_path, shape, message):
    wrong(tmp_path, [GEMM], f"input 'x' {message}", input_shape=shape)


def test_undefined_wrong(tmp_path):
    wrong(tmp_path, [node("Gemm", ["x", "nothing"])],
          r"node 'gemm_node' \(Gemm\) takes the value 'nothing', which nothing before it makes")


def test_invalid_wrong(tmp_path):
    """The text is that of the installed checker, cut to its first line."""
    wrong(tmp_path, [node("Gemm", ["x"])], r"node 'gemm_node' \(Gemm\) must have 2 to 3 inputs")
    wrong(tmp_path, [node("Gemm", ["x", "w"], transB=1.0)], r"is not valid ONNX: [^\n]+")


def test_attribute_wrong(tmp_path):
    wrong(tmp_path, [node("Constant", [], ["t"], value_string="text"), node("MatMul", ["x", "t"])],
          r"node 't_node' \(Constant\) must hold a tensor or numbers")

    def damage(model):
        model.graph.node[0].attribute[0].ref_attr_name = "other"

    with pytest.raises(ModelError, match=r"^m\.onnx: node 'g_node' \(Gemm\) has the attribute 'transB', which is "
                                         r"damaged: it refers to a function$"):
        read_model(changed(tmp_path, damage))
