"""Every spelling of k-WTA that becomes one node, and what is refused."""

import numpy as np
import pytest
from intake import make_model, passes, reference
from models import node
from numpy.testing import assert_array_equal
from onnx import TensorProto, load_model, numpy_helper

from dovetail.hw.errors import ModelError
from dovetail.sw.intake.graph import Graph, Node, Tensor
from dovetail.sw.intake.winners import recognise_winners
from dovetail.sw.model import k_winners

RNG = np.random.default_rng(5)
FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL
ONE = numpy_helper.from_array(np.ones(1, np.float32))
CONSTANTS = {
    "k": np.array([3]), "k1": np.array([1]), "zero": np.zeros(1, np.float32), "one": np.ones(1, np.float32),
    "zeros": np.zeros((1, 1), np.float32), "ones": np.ones((5, 3), np.float32), "depth": np.array([8]),
    "off_on": np.array([0, 1], np.float32), "on_off": np.array([1, 0], np.float32), "axis1": np.array([1]),
    "axis2": np.array([2]), "last": np.array([-1]), "far": np.array([2**63 - 1]), "third": np.array([2]),
    "index": np.array(-1), "third_index": np.array(2), "two": np.array([2, 2]), "k0": np.array([0]),
    "km": np.array([-3]), "real_k": np.array([3.0], np.float32), "shallow": np.array([1]), "true": np.array(True),
    "s": np.float32(0.125), "z": np.uint8(3), "s2": np.float32(0.25), "sm": np.float32(1 / 255), "zm": np.uint8(0),
}
TOPK = node("TopK", ["x", "k"], ["v", "i"], axis=1)
ZEROS = node("Mul", ["x", "zero"], ["z0"])
SHAPE = node("Shape", ["x"], ["n"])
SHAPE_K = node("Shape", ["i"], ["nk"])
ONES_K = node("ConstantOfShape", ["nk"], ["o"], value=ONE)
SCATTER = node("ScatterElements", ["z0", "i", "v"], ["y"], axis=1)
SCATTER_ONES = node("ScatterElements", ["z0", "i", "o"], ["m"], axis=1)
LEAST = node("ReduceMin", ["v"], ["t"], axes=[1])
AT_LEAST = node("GreaterOrEqual", ["x", "t"], ["c"])
FLOAT_MASK = node("Cast", ["c"], ["m"], to=FLOAT)
BOOL_MASK = node("Cast", ["m"], ["c"], to=BOOL)
MUL = node("Mul", ["x", "m"], ["y"])
WHERE = node("Where", ["c", "x", "zero"], ["y"])
HOT = node("OneHot", ["i", "depth", "off_on"], ["h"], axis=1)
SUM = node("ReduceSum", ["h", "axis2"], ["m"], keepdims=0)

VALUES = [
    [TOPK, ZEROS, SCATTER],
    [node("TopK", ["x", "k"], ["v", "i"], axis=1, sorted=0), ZEROS, SCATTER],
    [TOPK, node("Sub", ["x", "x"], ["z0"]), SCATTER],
    [TOPK, SHAPE, node("ConstantOfShape", ["n"], ["z0"]), SCATTER],
    [TOPK, SHAPE, node("Expand", ["zero", "n"], ["z0"]), SCATTER],
    [TOPK, node("Identity", ["x"], ["xx"]), node("Sub", ["xx", "x"], ["z0"]), node("Identity", ["i"], ["ii"]),
     node("Cast", ["v"], ["vv"], to=FLOAT), node("ScatterElements", ["z0", "ii", "vv"], ["y"], axis=1)],
]
MASKS = [
    [TOPK, ZEROS, SHAPE_K, ONES_K, SCATTER_ONES, MUL],
    [TOPK, ZEROS, SHAPE_K, node("Expand", ["one", "nk"], ["o"]), SCATTER_ONES, node("Mul", ["m", "x"], ["y"])],
    [TOPK, ZEROS, SHAPE_K, ONES_K, SCATTER_ONES, BOOL_MASK, WHERE],
    [TOPK, ZEROS, SHAPE_K, ONES_K, SCATTER_ONES, BOOL_MASK, node("Not", ["c"], ["d"]),
     node("Where", ["d", "z0", "x"], ["y"])],
]
FLAT_MASKS = [
    [TOPK, ZEROS, node("ScatterElements", ["z0", "i", "ones"], ["m"], axis=1), MUL],
    [TOPK, node("OneHot", ["i", "depth", "off_on"], ["h"]), node("ReduceSum", ["h", "axis1"], ["m"], keepdims=0), MUL],
    [TOPK, HOT, node("ReduceSum", ["h", "last"], ["m"], keepdims=0), MUL],
]
HOT_MASKS = [
    [TOPK, HOT, SUM, MUL],
    [TOPK, HOT, SUM, BOOL_MASK, WHERE],
    [TOPK, node("OneHot", ["i", "depth", "off_on"], ["h"], axis=2),
     node("ReduceSum", ["h", "axis1"], ["m"], keepdims=0), MUL],
]
THRESHOLDS = [
    [TOPK, LEAST, AT_LEAST, FLOAT_MASK, MUL],
    [TOPK, LEAST, AT_LEAST, WHERE],
    [TOPK, LEAST, node("LessOrEqual", ["t", "x"], ["c"]), WHERE],
    [TOPK, LEAST, node("Less", ["x", "t"], ["d"]), node("Not", ["d"], ["c"]), WHERE],
    [TOPK, LEAST, node("Greater", ["t", "x"], ["d"]), node("Where", ["d", "zero", "x"], ["y"])],
    [TOPK, node("ReduceMin", ["v"], ["f"], axes=[1], keepdims=0), node("Unsqueeze", ["f", "axis1"], ["t"]), AT_LEAST,
     WHERE],
    [TOPK, node("Slice", ["v", "last", "far", "axis1"], ["t"]), AT_LEAST, WHERE],
    [TOPK, node("Slice", ["v", "third", "k", "axis1"], ["t"]), AT_LEAST, WHERE],
    [TOPK, node("Gather", ["v", "last"], ["t"], axis=1), AT_LEAST, WHERE],
    [TOPK, node("Gather", ["v", "index"], ["f"], axis=1), node("Unsqueeze", ["f", "axis1"], ["t"]), AT_LEAST, WHERE],
    [TOPK, node("Gather", ["v", "third_index"], ["f"], axis=1), node("Unsqueeze", ["f", "axis1"], ["t"]), AT_LEAST,
     WHERE],
    [TOPK, LEAST, node("Squeeze", ["t", "axis1"], ["f"]), node("Unsqueeze", ["f", "axis1"], ["tt"]),
     node("GreaterOrEqual", ["x", "tt"], ["c"]), WHERE],
    [TOPK, node("TopK", ["v", "k1"], ["t", "j"], axis=1, largest=0), AT_LEAST, WHERE],
]


def check(nodes, x, attributes):
    model = make_model(nodes, CONSTANTS, input_shape=("n", *x.shape[1:]))
    graph = passes(model)
    (found,) = graph.nodes
    assert (found.name, found.op, found.inputs, found.outputs) == ("v_node", "KWinners", ("x",), ("y",))
    assert found.attributes == attributes
    rows = np.moveaxis(x, 1, -1)
    expected = np.moveaxis(k_winners(rows.reshape(-1, 8), 3).reshape(rows.shape), -1, 1)
    assert_array_equal(reference(model, x), expected)


VECTORS = RNG.permutation(80).reshape(10, 8).astype(np.float32) + 1
IMAGES = RNG.permutation(240).reshape(5, 8, 2, 3).astype(np.float32) + 1


@pytest.mark.parametrize("nodes", VALUES + MASKS + HOT_MASKS)
@pytest.mark.parametrize("x", [VECTORS, IMAGES])
def test_spellings(nodes, x):
    check(nodes, x, {"k": 3})


@pytest.mark.parametrize("nodes", THRESHOLDS)
@pytest.mark.parametrize("x", [VECTORS, IMAGES])
def test_thresholds(nodes, x):
    check(nodes, x, {"k": 3, "ties": 1})


@pytest.mark.parametrize(("nodes", "attributes"), [
    (FLAT_MASKS[0], {"k": 3}), (FLAT_MASKS[1], {"k": 3, "axis": -1}), (FLAT_MASKS[2], {"k": 3, "axis": -1}),
])
def test_flat(nodes, attributes):
    check(nodes, VECTORS[:5], attributes)


@pytest.mark.parametrize("axes", [(-1, 1), (1, -1), (-1, -1)])
def test_axis(axes):
    """An axis counted from the end is kept: what it means is known where the shape is."""
    first, second = axes
    check([node("TopK", ["x", "k"], ["v", "i"], axis=first), ZEROS,
           node("ScatterElements", ["z0", "i", "v"], ["y"], axis=second)], VECTORS, {"k": 3, "axis": -1})


def test_only_winner():
    """With K of 1 the value itself is the threshold."""
    nodes = [node("TopK", ["x", "k1"], ["v", "i"], axis=1), node("GreaterOrEqual", ["x", "v"], ["c"]), WHERE]
    (found,) = passes(make_model(nodes, CONSTANTS, input_shape=("n", 8))).nodes
    assert found.attributes == {"k": 1, "ties": 1}


def pair(name, scale="s", zero="z"):
    return [node("QuantizeLinear", [name, scale, zero], [f"{name}q"]),
            node("DequantizeLinear", [f"{name}q", scale, zero], [f"{name}d"])]


def test_static_quantiser():
    """The pairs that a static quantiser puts between the nodes, on the grid that the input of TopK is on."""
    nodes = [*pair("x"), node("TopK", ["xd", "k"], ["v", "i"], axis=1), node("Mul", ["xd", "zero"], ["z0"]),
             *pair("v"), *pair("z0", "s2"), node("ScatterElements", ["z0d", "i", "vd"], ["y"], axis=1)]
    graph = passes(make_model(nodes, CONSTANTS, input_shape=("n", 8)))
    assert [item.op for item in graph.nodes] == ["QuantizeLinear", "DequantizeLinear", "KWinners"]
    assert graph.nodes[-1].inputs == ("xd",)
    mask = [*pair("x"), node("TopK", ["xd", "k"], ["v", "i"], axis=1), node("Mul", ["xd", "zero"], ["z0"]), SHAPE_K,
            ONES_K, *pair("o", "sm", "zm"), node("ScatterElements", ["z0", "i", "od"], ["m"], axis=1),
            *pair("m", "sm", "zm"), *pair("xd"), node("Mul", ["xdd", "md"], ["y"])]
    graph = passes(make_model(mask, CONSTANTS, input_shape=("n", 8)))
    assert [item.op for item in graph.nodes] == ["QuantizeLinear", "DequantizeLinear", "KWinners"]
    least = [*pair("x"), node("TopK", ["xd", "k"], ["v", "i"], axis=1), LEAST, *pair("t"),
             node("GreaterOrEqual", ["xd", "td"], ["c"]), node("Where", ["c", "xd", "zero"], ["y"])]
    graph = passes(make_model(least, CONSTANTS, input_shape=("n", 8)))
    assert [item.op for item in graph.nodes] == ["QuantizeLinear", "DequantizeLinear", "KWinners"]


@pytest.mark.parametrize(("scale", "zero"), [("s2", "z"), ("s", "zm")])
def test_static_quantiser_wrong(scale, zero):
    """A pair on another grid changes the values."""
    nodes = [*pair("x"), node("TopK", ["xd", "k"], ["v", "i"], axis=1), node("Mul", ["xd", "zero"], ["z0"]),
             *pair("v", scale, zero), node("ScatterElements", ["z0", "i", "vd"], ["y"], axis=1)]
    refused(nodes, r"node 'y_node' \(ScatterElements\) must put the values of one TopK, or ones, at its indices: the "
                   r"nearest supported form is k-WTA")


def test_trained(shared_models):
    for name, winners in (("kws_mlp", [51, 51]), ("kws_cnn", [8, 8, 150])):
        graph = passes(load_model(shared_models / f"{name}.onnx"))
        assert [item.attributes for item in graph.nodes if item.op == "KWinners"] == [{"k": k} for k in winners]


def refused(nodes, message, **arguments):
    with pytest.raises(ModelError, match=rf"^{message}$"):
        passes(make_model(nodes, CONSTANTS, input_shape=("n", 8), **arguments))


LEFT = "is supported as part of k-WTA only; the nearest supported form is TopK \\(axis 1\\), whose values " \
       "ScatterElements puts onto zeros"
OTHERS = "must put the values of one TopK, or ones, at its indices: the nearest supported form is k-WTA"


@pytest.mark.parametrize(("nodes", "message"), [
    ([TOPK], rf"node 'v_node' \(TopK\) {LEFT}"),
    ([TOPK, node("Relu", ["v"], ["y"])], rf"node 'v_node' \(TopK\) {LEFT}"),
    ([node("Where", ["true", "x", "zero"], ["y"])], rf"node 'y_node' \(Where\) {LEFT}"),
    ([node("ReduceSum", ["x", "axis1"], ["y"])], rf"node 'y_node' \(ReduceSum\) {LEFT}"),
    ([TOPK, LEAST, node("Greater", ["x", "t"], ["c"]), WHERE], rf"node 'v_node' \(TopK\) {LEFT}"),
    ([TOPK, LEAST, AT_LEAST, node("Where", ["c", "zero", "x"], ["y"])], rf"node 'v_node' \(TopK\) {LEFT}"),
    ([TOPK, LEAST, AT_LEAST, node("Where", ["c", "x", "one"], ["y"])], rf"node 'v_node' \(TopK\) {LEFT}"),
    ([TOPK, node("ReduceMin", ["v"], ["t"], axes=[1], keepdims=0), AT_LEAST, WHERE], rf"node 'v_node' \(TopK\) {LEFT}"),
    ([TOPK, node("Gather", ["v", "axis1"], ["t"], axis=1), AT_LEAST, WHERE], rf"node 'v_node' \(TopK\) {LEFT}"),
    ([node("TopK", ["x", "k"], ["v", "i"], sorted=0), node("Gather", ["v", "last"], ["t"], axis=1), AT_LEAST, WHERE],
     rf"node 'v_node' \(TopK\) {LEFT}"),
    ([TOPK, node("OneHot", ["i", "depth", "on_off"], ["h"], axis=1), SUM, MUL], rf"node 'v_node' \(TopK\) {LEFT}"),
    ([TOPK, node("Relu", ["x"], ["r"]), LEAST, AT_LEAST, node("Where", ["c", "r", "zero"], ["y"])],
     rf"node 'v_node' \(TopK\) {LEFT}"),
    ([TOPK, node("OneHot", ["i", "shallow", "off_on"], ["h"], axis=1), SUM, MUL],
     r"node 'h_node' \(OneHot\) must have a constant depth: the number of kernels, at least 2"),
    ([TOPK, HOT, node("ReduceSum", ["h", "axis1"], ["m"], keepdims=0), MUL],
     r"node 'm_node' \(ReduceSum\) must sum over the winners, not over axis 1 of OneHot on axis 1"),
    ([TOPK, ZEROS, node("ScatterElements", ["z0", "i", "z0"], ["y"], axis=1)],
     rf"node 'y_node' \(ScatterElements\) {OTHERS}"),
    ([TOPK, node("TopK", ["x", "k"], ["w", "j"], axis=1), ZEROS,
      node("ScatterElements", ["z0", "i", "w"], ["y"], axis=1)],
     rf"node 'y_node' \(ScatterElements\) {OTHERS}"),
    ([TOPK, ZEROS, node("Cast", ["v"], ["w"], to=TensorProto.FLOAT16),
      node("ScatterElements", ["z0", "i", "w"], ["y"])],
     rf"node 'y_node' \(ScatterElements\) {OTHERS}"),
    ([TOPK, node("ScatterElements", ["x", "i", "v"], ["y"], axis=1)],
     r"node 'y_node' \(ScatterElements\) must put the values of TopK onto zeros"),
    ([TOPK, SHAPE, node("ConstantOfShape", ["n"], ["z0"], value=ONE), SCATTER],
     r"node 'y_node' \(ScatterElements\) must put the values of TopK onto zeros"),
    ([TOPK, ZEROS, node("ScatterElements", ["z0", "i", "v"], ["y"], axis=1, reduction="add")],
     r"node 'y_node' \(ScatterElements\) must have reduction 'none', not 'add'"),
    ([TOPK, ZEROS, node("ScatterElements", ["z0", "i", "v"], ["y"])],
     r"node 'y_node' \(ScatterElements\) must have axis 1, along the kernels, not 0"),
    ([node("TopK", ["x", "k"], ["v", "i"], axis=0), ZEROS, SCATTER],
     r"node 'v_node' \(TopK\) must have axis 1, along the kernels, not 0"),
    ([node("TopK", ["x", "k"], ["v", "i"], axis=-1), ZEROS, node("ScatterElements", ["z0", "i", "v"], ["y"], axis=-2)],
     r"node 'y_node' \(ScatterElements\) must have axis 1, along the kernels, not -2"),
    ([node("TopK", ["x", "k"], ["v", "i"], largest=0), ZEROS, SCATTER],
     r"node 'v_node' \(TopK\) must have largest 1: winners are the largest values"),
    ([node("TopK", ["x", "two"], ["v", "i"]), ZEROS, SCATTER],
     r"node 'v_node' \(TopK\) must have a constant K of one integer"),
    ([node("TopK", ["x", "real_k"], ["v", "i"]), ZEROS, SCATTER],
     r"node 'v_node' \(TopK\) must have a constant K of one integer"),
    ([SHAPE, node("TopK", ["x", "n"], ["v", "i"]), ZEROS, SCATTER],
     r"node 'v_node' \(TopK\) must have a constant K of one integer"),
    ([node("TopK", ["x", "k0"], ["v", "i"], axis=1), ZEROS, SCATTER],
     r"node 'v_node' \(TopK\) must have K of at least 1, not 0"),
    ([node("TopK", ["x", "km"], ["v", "i"], axis=1), ZEROS, SCATTER],
     r"node 'v_node' \(TopK\) must have K of at least 1, not -3"),
])
def test_wrong(nodes, message):
    refused(nodes, message)


def test_what_depends_on_shape_stays():
    """Where and comparisons of sizes are none of k-WTA's business."""
    nodes = [SHAPE, node("Greater", ["n", "two"], ["c"]), node("Where", ["c", "n", "two"], ["e"]),
             node("Reshape", ["x", "e"], ["y"])]
    graph = passes(make_model(nodes, CONSTANTS, input_shape=("n", 8)))
    assert [item.op for item in graph.nodes] == ["Shape", "Greater", "Where", "Reshape"]


def test_pure():
    """The graph that comes in stays as it is."""
    top = Node(name="t", op="TopK", inputs=("x", "k"), outputs=("v", "i"), attributes={"axis": 1})
    put = Node(name="s", op="ScatterElements", inputs=("z", "i", "v"), outputs=("y",), attributes={"axis": 1})
    graph = Graph(name="m", opset=17, batch=None, input_shape=(4,), input="x", output="y", output_length=None,
                  nodes=(top, put), constants={"k": Tensor(values=np.array([2])), "z": Tensor(values=np.zeros((1, 4)))})
    found = recognise_winners(graph)
    assert [item.op for item in found.nodes] == ["KWinners"]
    assert not found.constants
    assert graph.nodes == (top, put)
    assert set(graph.constants) == {"k", "z"}
