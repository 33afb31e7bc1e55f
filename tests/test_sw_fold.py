"""Passes on graphs and chains, and the network forms they refuse."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from models import node, save_model
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper, numpy_helper

from dovetail.hw.errors import ModelError
from dovetail.sw.fold import drop_unused, fold_affine, fold_constants, order_relu, recognise_winners, to_layers
from dovetail.sw.graph import Affine, Chain, Graph, Linear, Node, Relu, Winners, check_chain, check_graph
from dovetail.sw.lower import to_chain
from dovetail.sw.network import FloatLayer, FloatModel, k_winners
from dovetail.sw.reader import read_graph, read_model

W = np.array([[1, 0, -2, 3], [0, 4, 0, 5], [6, -7, 0, 0]], np.float32)
V = np.array([[1, 2, 0], [0, -3, 4]], np.float32)
CONSTANTS = {
    "w": W, "wt": W.T, "v": V, "b": np.array([1, 2, 3], np.float32), "k": np.array([2]), "k2": np.array([1, 2]),
    "one": np.ones(1, np.float32), "zero": np.zeros(1, np.float32), "four": np.ones(4, np.float32),
    "w3": np.ones((1, 4, 3), np.float32), "vector": np.ones(4, np.float32), "true": np.array(True),
    "rate": np.array(0.5, np.float32), "rows": np.ones((2, 3), np.float32), "m": -np.ones(3, np.float32),
    "flat": np.array([-1]), "merge": np.array([4, -1]), "words": np.array(["a", "b", "c"]),
    "nan": np.full(3, np.nan, np.float32), "wide": np.ones((4, 70_000), np.float32),
}
ONE = numpy_helper.from_array(np.ones(1, np.float32))
GEMM = node("Gemm", ["x", "w", "b"], ["g"], transB=1)
RELU = node("Relu", ["g"], ["r"])
TOPK = node("TopK", ["r", "k"], ["tv", "ti"], axis=1)
ZEROS = node("Mul", ["r", "zero"], ["z"])
SCATTER = node("ScatterElements", ["z", "ti", "tv"], ["s"], axis=1)
LAST = node("Gemm", ["s", "v"], ["out"], transB=1)


def save(tmp_path, nodes, **arguments):
    used = {name for item in nodes for name in item.input}
    constants = {name: value for name, value in CONSTANTS.items() if name in used}
    return save_model(tmp_path / "m.onnx", nodes, constants, **{"input_shape": ("n", 4)} | arguments)


@pytest.mark.parametrize(("nodes", "message"), [
    # k-WTA
    ([GEMM, RELU, TOPK],
     r"node 'tv_node' \(TopK\) must be followed by ScatterElements of its values onto zeros \(k-WTA\)"),
    ([GEMM, RELU, TOPK, ZEROS, node("ScatterElements", ["z", "ti", "z"], ["s"], axis=1)],
     r"node 's_node' \(ScatterElements\) must put the values of one TopK at its indices: "
     r"the nearest supported form is k-WTA"),
    ([GEMM, RELU, TOPK, node("Mul", ["r", "one"], ["z"]), SCATTER],
     r"node 's_node' \(ScatterElements\) must put the values of TopK onto zeros"),
    ([GEMM, RELU, TOPK, node("Shape", ["r"], ["n"]), node("ConstantOfShape", ["n"], ["z"], value=ONE), SCATTER],
     r"node 's_node' \(ScatterElements\) must put the values of TopK onto zeros"),
    ([GEMM, RELU, TOPK, ZEROS, node("ScatterElements", ["z", "ti", "tv"], ["s"], axis=1, reduction="add")],
     r"node 's_node' \(ScatterElements\) must have reduction 'none', not 'add'"),
    ([GEMM, RELU, TOPK, ZEROS, node("ScatterElements", ["z", "ti", "tv"], ["s"])],
     r"node 's_node' \(ScatterElements\) must have axis 1 \(of a flat vector with its batch\), not 0"),
    ([GEMM, RELU, node("TopK", ["r", "k"], ["tv", "ti"], axis=0), ZEROS, SCATTER],
     r"node 'tv_node' \(TopK\) must have axis 1 \(of a flat vector with its batch\), not 0"),
    ([GEMM, RELU, node("TopK", ["r", "k"], ["tv", "ti"], largest=0), ZEROS, SCATTER],
     r"node 'tv_node' \(TopK\) must have largest 1: winners are the largest values"),
    ([GEMM, RELU, node("TopK", ["r", "k2"], ["tv", "ti"]), ZEROS, SCATTER],
     r"node 'tv_node' \(TopK\) must have a constant K of one integer"),
    ([GEMM, RELU, node("Shape", ["x"], ["n"]), node("TopK", ["r", "n"], ["tv", "ti"]), ZEROS, SCATTER],
     r"node 'tv_node' \(TopK\) must have a constant K of one integer"),
    ([GEMM, node("TopK", ["g", "k"], ["tv", "ti"]), node("Mul", ["g", "zero"], ["z"]), SCATTER, LAST],
     r"node 'tv_node' \(TopK\) must have a Relu before it: k-WTA ranks codes that are not negative"),
    # the order of steps
    ([node("Relu", ["x"], ["r"]), node("Gemm", ["r", "wt"], ["g"])],
     r"node 'r_node' \(Relu\) must follow a Gemm or MatMul, once"),
    ([GEMM, node("Gemm", ["g", "v"], ["out"], transB=1)],
     r"node 'out_node' \(Gemm\) follows the linear layer 'g_node' with no Relu in between; the nearest supported form "
     r"is one layer with the product of both weights"),
    ([GEMM, RELU, node("Add", ["r", "b"])],
     r"node 'add_node' \(Add\) must stand beside a Gemm or MatMul, where it can be folded; the nearest supported form "
     r"puts it between Gemm and Relu"),
    ([node("Add", ["x", "four"])],
     r"node 'add_node' \(Add\) must stand beside a Gemm or MatMul, where it can be folded; the nearest supported form "
     r"puts it between Gemm and Relu"),
    ([node("Identity", ["x"])], "has no Gemm or MatMul, so there is nothing to build"),
    ([GEMM, node("Softmax", ["g"], ["r"]), node("Gemm", ["r", "v"], transB=1)],
     r"node 'r_node' \(Softmax\) must be the last node, where it is left to the host, or be left out"),
    # branches
    ([GEMM, RELU, node("Add", ["g", "r"])],
     r"node 'add_node' \(Add\) must take one computed value, that of the node before it: the nearest supported form is "
     r"a straight line of layers without branches"),
    ([GEMM, node("Add", ["g", "g"])],
     r"node 'add_node' \(Add\) must take one computed value, that of the node before it: the nearest supported form is "
     r"a straight line of layers without branches"),
    ([GEMM, node("Dropout", ["g"], ["d", "mask"]), node("Identity", ["mask"])],
     r"node 'identity_node' \(Identity\) must take one computed value, that of the node before it: the nearest "
     r"supported form is a straight line of layers without branches"),
    # shapes
    ([node("MatMul", ["w", "x"])], r"node 'matmul_node' \(MatMul\) must have the computed value as its first input"),
    ([node("Gemm", ["w", "x"])],
     r"node 'gemm_node' \(Gemm\) must have the computed value, not transposed, as its first input"),
    ([node("Gemm", ["x", "wt"], transA=1)],
     r"node 'gemm_node' \(Gemm\) must have the computed value, not transposed, as its first input"),
    ([node("MatMul", ["x", "w3"])],
     r"node 'matmul_node' \(MatMul\) must have weights of two dimensions, not of shape \(1, 4, 3\)"),
    ([node("Gemm", ["x", "w"])], r"node 'gemm_node' \(Gemm\) must have 4 positions, not 3"),
    ([node("Gemm", ["x", "wt", "four"])],
     r"node 'gemm_node' \(Gemm\) must have a constant that spreads over the shape \(3,\), not one of shape \(4,\)"),
    ([GEMM, node("Add", ["g", "rows"])],
     r"node 'add_node' \(Add\) must have a constant that spreads over the shape \(3,\), not one of shape \(2, 3\)"),
    ([GEMM, node("Add", ["g", "words"])], r"node 'add_node' \(Add\) must have a constant tensor of numbers as input 1"),
    ([GEMM, node("Div", ["g", "zero"])], r"node 'div_node' \(Div\) must divide by a constant that is nowhere zero"),
    ([GEMM, node("Div", ["b", "g"])], r"node 'div_node' \(Div\) must divide by a constant that is nowhere zero"),
    ([node("Flatten", ["x"], axis=0), node("Gemm", ["flatten", "wt"])],
     r"node 'flatten_node' \(Flatten\) must have axis 1, not 0"),
    ([node("Reshape", ["x", "flat"]), node("Gemm", ["reshape", "wt"])],
     r"node 'reshape_node' \(Reshape\) must keep the batch, not turn \('batch', 4\) into \[-1\]; the nearest supported "
     r"form is Flatten with axis 1"),
    ([node("Reshape", ["x", "merge"]), node("Gemm", ["reshape", "wt"])],
     r"node 'reshape_node' \(Reshape\) must keep the batch, not turn \('batch', 4\) into \[4, -1\]; the nearest "
     r"supported form is Flatten with axis 1"),
    ([node("Shape", ["x"]), node("Reshape", ["x", "shape"]), node("Gemm", ["reshape", "wt"])],
     r"node 'shape_node' \(Shape\) is supported on constants only; the nearest supported form is Flatten with axis 1"),
    ([node("Reshape", ["x", "rate"]), node("Gemm", ["reshape", "wt"])],
     r"node 'reshape_node' \(Reshape\) must have a constant shape; the nearest supported form is Flatten with axis 1"),
    ([node("Transpose", ["x"]), node("Gemm", ["transpose", "wt"])],
     r"node 'transpose_node' \(Transpose\) is supported on constants only; the nearest supported form is Flatten with "
     r"axis 1"),
    ([node("Transpose", ["w"], ["t"], perm=[0, 2]), node("MatMul", ["x", "t"])],
     r"node 't_node' \(Transpose\) does not fit its constant of shape \(3, 4\)"),
    ([node("MatMul", ["x", "wide"])],
     r"node 'matmul_node' \(MatMul\) must have at most 65536 kernels and positions, not \(70000, 4\)"),
    # parameters
    ([GEMM, node("BatchNormalization", ["g", "b", "b", "b", "four"])],
     r"node 'batchnormalization_node' \(BatchNormalization\) must have 3 parameters of each kind, not of shape \(4,\)"),
    ([GEMM, node("BatchNormalization", ["g", "b", "b", "b", "m"])],
     r"node 'batchnormalization_node' \(BatchNormalization\) must have positive variances"),
    ([GEMM, node("BatchNormalization", ["g", "b", "b", "nan", "b"])],
     r"node 'batchnormalization_node' \(BatchNormalization\) has NaN or infinity in its parameters"),
    ([GEMM, node("BatchNormalization", ["g", "b", "b", "b", "b"], ["n", "mean", "var"], training_mode=1)],
     r"node 'n_node' \(BatchNormalization\) must not be in training mode: export the model for inference"),
    ([GEMM, node("Dropout", ["g", "rate", "true"])],
     r"node 'dropout_node' \(Dropout\) must not be in training mode: export the model for inference"),
    ([GEMM, node("Add", ["g", "nan"])], r"node 'add_node' \(Add\) has NaN or infinity in its offset"),
])
def test_form_wrong(tmp_path, nodes, message):
    with pytest.raises(ModelError, match=rf"^m\.onnx: {message}$"):
        read_model(save(tmp_path, nodes))


def test_flat_wrong(tmp_path):
    with pytest.raises(ModelError, match=r"^m\.onnx: node 'g_node' \(Gemm\) must take a flat vector, not the shape "
                                         r"\(2, 2\); put a Flatten with axis 1 before it$"):
        read_model(save(tmp_path, [GEMM], input_shape=("n", 2, 2)))


def test_output_wrong(tmp_path):
    path = save(tmp_path, [GEMM, node("Dropout", ["g"], ["d", "mask"])])
    model = onnx.load(path)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("mask", TensorProto.BOOL, ["n", 3]))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"^m\.onnx: node 'd_node' \(Dropout\) must have its first output as the "
                                         r"output of the model$"):
        read_model(path)


def test_passes(tmp_path):
    nodes = [node("Transpose", ["wt"], ["t"]), node("Flatten", ["x"], ["f"]),
             node("Gemm", ["f", "t", "b"], ["g"], transB=1), node("Add", ["g", "b"], ["a"]), node("Relu", ["a"], ["r"]),
             TOPK, ZEROS, SCATTER, LAST]
    graph = read_graph(save(tmp_path, nodes, input_shape=("n", 2, 2)).read_bytes(), name="m")
    folded = fold_constants(graph)
    assert [item.op for item in folded.nodes] == [item.op for item in graph.nodes[1:]]
    assert_array_equal(folded.constants["t"], W)
    assert "t" not in graph.constants
    found = recognise_winners(folded)
    assert [item.op for item in found.nodes] == ["Flatten", "Gemm", "Add", "Relu", "TopK", "Mul", "KWinners", "Gemm"]
    assert (found.nodes[6].inputs, found.nodes[6].outputs, found.nodes[6].attributes) == (("r",), ("s",), {"k": 2})
    used = drop_unused(found)
    assert [item.op for item in used.nodes] == ["Flatten", "Gemm", "Add", "Relu", "KWinners", "Gemm"]
    chain = to_chain(used)
    assert [type(step) for step in chain.steps] == [Linear, Affine, Relu, Winners, Linear]
    chain = fold_affine(order_relu(chain))
    assert [type(step) for step in chain.steps] == [Linear, Relu, Winners, Linear]
    first, last = to_layers(chain)
    assert_array_equal(first.weights, W)
    assert_array_equal(first.bias, [2, 4, 6])
    assert (first.name, first.relu, first.winners) == ("g_node", True, 2)
    assert_array_equal(last.weights, V)
    assert_array_equal(last.bias, [0, 0])
    assert (last.name, last.relu, last.winners) == ("out_node", False, None)


def linear(weights, bias):
    return Linear(name="l", op="Gemm", weights=np.array(weights, float), bias=np.array(bias, float))


def affine(scale, offset):
    return Affine(name="a", op="Mul", scale=np.array(scale, float), offset=np.array(offset, float))


RELU_STEP = Relu(name="r", op="Relu")
WINNERS = Winners(name="k", op="TopK", winners=1)


def chain(*steps, length=2):
    return Chain(input_shape=(length,), steps=steps)


def test_fold_affine():
    (after,) = fold_affine(chain(linear([[1, 0], [3, 4]], [5, 6]), affine([2, 0], [7, 8]))).steps
    assert_array_equal(after.weights, [[2, 0], [0, 0]])
    assert_array_equal(after.bias, [17, 8])
    (before,) = fold_affine(chain(affine([2, 0.5], [7, 8]), linear([[1, 0], [3, 4]], [5, 6]))).steps
    assert_array_equal(before.weights, [[2, 0], [6, 2]])
    assert_array_equal(before.bias, [12, 59])
    relu, both = fold_affine(chain(RELU_STEP, affine([2, 3], [1, 1]), affine([5, 7], [1, 2]))).steps
    assert relu is RELU_STEP
    assert_array_equal(both.scale, [10, 21])
    assert_array_equal(both.offset, [6, 9])


def test_zeros_stay_zeros():
    """Folding keeps the mask, even where scale and offset make the other weights tiny."""
    rng = np.random.default_rng(0)
    weights = np.where(rng.random((30, 20)) < 0.2, rng.standard_normal((30, 20)), 0)
    steps = chain(affine(rng.standard_normal(20), rng.standard_normal(20)), linear(weights, np.zeros(30)),
                  affine(1e-30 * rng.standard_normal(30), rng.standard_normal(30)), length=20)
    (layer,) = to_layers(check_chain(fold_affine(steps)))
    assert_array_equal(layer.mask, weights != 0)


@pytest.mark.parametrize(("steps", "expected"), [
    ((RELU_STEP, WINNERS), (RELU_STEP, WINNERS)),
    ((WINNERS, RELU_STEP), (RELU_STEP, WINNERS)),
    ((RELU_STEP, RELU_STEP), (RELU_STEP,)),
    ((RELU_STEP, WINNERS, RELU_STEP), (RELU_STEP, WINNERS)),
    ((WINNERS,), (WINNERS,)),
])
def test_order_relu(steps, expected):
    assert order_relu(chain(*steps)).steps == expected


def test_check_chain_wrong():
    good = linear([[1, 0], [3, 4], [5, 6]], [5, 6, 7])
    assert check_chain(chain(good, RELU_STEP)).steps == (good, RELU_STEP)
    for bad, message in [
        (replace(good, bias=good.bias[:2]), r"node 'l' \(Gemm\) must have 2 positions, not 2"),
        (replace(good, weights=good.weights[:, :1]), r"node 'l' \(Gemm\) must have 2 positions, not 1"),
        (replace(WINNERS, winners=3), r"node 'k' \(TopK\) must have K of 1 to 2 \(the length of its vector\), not 3"),
        (affine([1, 2], [1, np.inf]), r"node 'a' \(Mul\) has NaN or infinity in its offset"),
    ]:
        with pytest.raises(ModelError, match=rf"^{message}$"):
            check_chain(chain(bad))


def graph(*nodes, output="y", constants=()):
    return Graph(name="m", opset=17, batch=None, input_shape=(2,), input="x", output=output, output_length=None,
                 nodes=nodes, constants={name: np.zeros(1) for name in constants})


def test_check_graph_wrong():
    copy = Node(name="i", op="Identity", inputs=("x",), outputs=("y",), attributes={})
    assert check_graph(graph(copy)).nodes == (copy,)
    for bad, message in [
        (graph(replace(copy, inputs=("z",))),
         r"node 'i' \(Identity\) takes the value 'z', which nothing before it makes"),
        (graph(copy, copy), r"node 'i' \(Identity\) makes the value 'y' a second time"),
        (graph(copy, constants=["x"]), r"value 'x' is made twice"),
        (graph(copy, output="z"), r"nothing makes the output 'z'"),
    ]:
        with pytest.raises(ModelError, match=rf"^{message}$"):
            check_graph(bad)


def test_k_winners():
    values = np.array([[1, 3, 3, 2, 3], [0, 0, 5, 0, 0], [7, 6, 5, 4, 3]])
    assert_array_equal(k_winners(values, 2), [[0, 3, 3, 0, 0], [0, 0, 5, 0, 0], [7, 6, 0, 0, 0]])
    assert_array_equal(k_winners(values, 5), values)


def layer(**changes):
    return FloatLayer(**{
        "name": "a", "weights": np.ones((3, 2)), "bias": np.zeros(3), "relu": True, "winners": 2} | changes)


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"weights": np.ones(3)}, ValueError, r"weights must be a non-empty array of 2 dimensions, not of shape \(3,\)"),
    ({"weights": np.ones((3, 2), complex)}, TypeError, r"weights must be an array of float64, not complex128"),
    ({"weights": np.full((3, 2), np.nan)}, ValueError, r"weights must hold finite numbers only"),
    ({"bias": np.ones(2)}, ValueError, r"bias must have shape \(3,\), not \(2,\)"),
    ({"winners": 4}, ValueError, r"winners must be 1 to 3, not 4"),
    ({"winners": 1.0}, TypeError, r"winners must be an integer, not 1\.0"),
    ({"relu": False}, ValueError, r"winners must be None without relu: k-WTA needs values that are not negative"),
])
def test_float_layer_wrong(changes, error, message):
    with pytest.raises(error, match=rf"^{message}$"):
        layer(**changes)


def test_float_model_wrong():
    def model(*layers, input_shape=(2,)):
        return FloatModel(name="m", input_shape=input_shape, layers=layers, sha256="")

    last = layer(name="b", weights=np.ones((1, 3)), bias=np.zeros(1), relu=False, winners=None)
    assert model(layer(), last).run(np.ones((1, 2)))[-1].tolist() == [[4]]
    for make, error, message in [
        (lambda: model(), ValueError, r"layers must hold at least one layer, not \(\)"),
        (lambda: model(layer(), layer()), ValueError, r"layer 'a' must have 3 positions, not 2"),
        (lambda: model(layer(), replace(last, name="a")), ValueError, r"layer names must be unique, not \['a', 'a'\]"),
        (lambda: model(layer(), input_shape=[2]), TypeError,
         r"input_shape must be a tuple of at least one size, not \[2\]"),
        (lambda: model(layer(), input_shape=(2, 0)), ValueError, r"input_shape must be 1 to 2147483648, not 0"),
        (lambda: model(layer(relu=False, winners=None), last), ValueError,
         r"layer 'a' must have ReLU, since another layer follows"),
        (lambda: model(layer()).run(np.ones(2)), ValueError, r"x must have shape \('n', 2\), not \(2,\)"),
        (lambda: model(layer()).run(np.ones((1, 3))), ValueError, r"x must have shape \('n', 2\), not \(1, 3\)"),
    ]:
        with pytest.raises(error, match=rf"^{message}$"):
            make()
