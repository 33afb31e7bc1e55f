"""Constant folding, against ONNX Runtime, and what it refuses."""

import numpy as np
import pytest
from intake import make_model, reference
from models import node
from numpy.testing import assert_array_equal
from onnx import TensorProto, numpy_helper

from dovetail.hw.errors import ModelError
from dovetail.sw.intake import constants
from dovetail.sw.intake.constants import evaluate, fold_constants
from dovetail.sw.intake.graph import Graph, Node, Tensor
from dovetail.sw.reader import read_graph

RNG = np.random.default_rng(4)
A = RNG.standard_normal((2, 3, 4)).astype(np.float32)
CONSTANTS = {
    "a": A, "b": np.abs(RNG.standard_normal((3, 1))).astype(np.float32) + 1, "i": np.array([7, -7, 5]),
    "j": np.array([2, 2, -3]), "v": np.array([1, 2, 3, 4]), "shape": np.array([4, -1]), "copy": np.array([0, 0, 2, 2]),
    "zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "minus": np.array([-1]),
    "far": np.array([2**63 - 1]), "near": np.array([-2**63]), "s": np.array(2), "low": np.array(-0.5, np.float32),
    "high": np.array(0.5, np.float32), "wide": np.array([2, 1, 1, 4]), "column": A[:, :1], "yes": A > 0,
    "axes": np.array([0, -1]), "flat": np.ones((1, 3, 1), np.float32),
}
F, N, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def folded(nodes, **arguments):
    """The constant that nodes make, and what ONNX Runtime makes of them."""
    name = nodes[-1].output[0]
    use = [node("Identity", ["x"], ["y"])]
    model = make_model([*nodes, *use], CONSTANTS, **arguments)
    graph = fold_constants(read_graph(model.SerializeToString(), name="m"))
    assert [item.op for item in graph.nodes] == ["Identity"]
    return graph.constants[name]


@pytest.mark.parametrize(("nodes", "kind"), [
    ([node("Add", ["a", "b"])], F), ([node("Sub", ["a", "b"])], F), ([node("Mul", ["a", "b"])], F),
    ([node("Div", ["a", "b"])], F), ([node("Pow", ["b", "low"])], F), ([node("Sqrt", ["b"])], F),
    ([node("Neg", ["a"])], F), ([node("Neg", ["i"])], N), ([node("Add", ["i", "j"])], N),
    ([node("Mul", ["i", "j"])], N), ([node("Div", ["i", "j"])], N), ([node("Pow", ["v", "two"])], N),
    ([node("Transpose", ["a"])], F), ([node("Transpose", ["a"], perm=[0, 2, 1])], F),
    ([node("Reshape", ["a", "shape"])], F), ([node("Reshape", ["a", "copy"])], F),
    ([node("Identity", ["a"])], F), ([node("Flatten", ["a"])], F), ([node("Flatten", ["a"], axis=0)], F),
    ([node("Flatten", ["a"], axis=-1)], F), ([node("Flatten", ["a"], axis=3)], F),
    ([node("Squeeze", ["flat"])], F), ([node("Squeeze", ["flat", "axes"])], F),
    ([node("Unsqueeze", ["a", "axes"])], F), ([node("Unsqueeze", ["s", "zero"])], N),
    ([node("Cast", ["a"], to=TensorProto.INT64)], N), ([node("Cast", ["i"], to=TensorProto.FLOAT)], F),
    ([node("Cast", ["a"], to=TensorProto.BOOL)], B), ([node("Clip", ["a", "low", "high"])], F),
    ([node("Clip", ["a", "", "high"])], F), ([node("Clip", ["a", "low"])], F), ([node("Clip", ["a"])], F),
    ([node("Concat", ["a", "a"], axis=-1)], F), ([node("Concat", ["i", "v"], axis=0)], N),
    ([node("Gather", ["a", "s"], axis=2)], F), ([node("Gather", ["a", "minus"], axis=-1)], F),
    ([node("Gather", ["i", "zero"])], N), ([node("Gather", ["v", "s"])], N),
    ([node("Slice", ["a", "one", "far", "two"])], F), ([node("Slice", ["a", "minus", "near", "two", "minus"])], F),
    ([node("Slice", ["v", "one", "minus"])], N), ([node("Slice", ["a", "zero", "two", "minus", "two"])], F),
    ([node("Shape", ["a"])], N), ([node("Shape", ["a"], start=1)], N), ([node("Shape", ["a"], start=-2, end=-1)], N),
    ([node("ConstantOfShape", ["v"])], F), ([node("Expand", ["b", "wide"])], F),
    ([node("ConstantOfShape", ["v"], value=numpy_helper.from_array(np.array([7])))], N),
    ([node("Greater", ["a", "b"])], B), ([node("GreaterOrEqual", ["i", "j"])], B), ([node("Less", ["a", "b"])], B),
    ([node("LessOrEqual", ["i", "i"])], B), ([node("Not", ["yes"])], B), ([node("Where", ["yes", "a", "column"])], F),
    ([node("Shape", ["a"], ["n"]), node("Gather", ["n", "s"], ["g"]), node("Unsqueeze", ["g", "zero"], ["u"]),
      node("Concat", ["u", "minus"], axis=0)], N),
])
def test_operators(nodes, kind):
    found = folded(nodes)
    expected = reference(make_model(nodes, CONSTANTS, output_type=kind, input_shape=(1,)), np.zeros(1, np.float32))
    assert found.codes is None and found.scale is None
    assert found.values.shape == expected.shape
    assert found.values.dtype.kind == expected.dtype.kind
    if kind == F:
        np.testing.assert_array_max_ulp(found.values.astype(np.float32), expected, 2)
    else:
        assert_array_equal(found.values, expected)


@pytest.mark.parametrize(("item", "opset", "expected"), [
    (node("Clip", ["a"], min=-0.5, max=0.5), 10, np.clip(A, -0.5, 0.5)),
    (node("Clip", ["a"], max=0.5), 9, np.minimum(A, 0.5)),
    (node("Squeeze", ["flat"], axes=[0, 2]), 12, np.ones(3)),
    (node("Unsqueeze", ["i"], axes=[0, 2]), 9, np.array([[[7], [-7], [5]]])),
    (node("Slice", ["a"], starts=[1, 0], ends=[2**63 - 1, -1], axes=[1, 2]), 9, A[:, 1:, :-1]),
    (node("Slice", ["a"], starts=[1], ends=[2]), 9, A[1:2]),
])
def test_old_opsets(item, opset, expected):
    assert_array_equal(folded([item], opset=opset).values, expected)


def test_float64():
    """Numbers are computed in float64, whatever the file's own type."""
    assert_array_equal(folded([node("Div", ["a", "b"])]).values,
                       A.astype(np.float64) / CONSTANTS["b"].astype(np.float64))


def test_codes_move_along():
    codes = np.arange(6).reshape(2, 3)
    grid = Tensor(values=codes / 4, codes=codes, scale=np.full((2, 3), 0.25))
    one = Tensor(values=np.array([1]))
    for item, others, move in [
        (("Transpose", {}), [], np.transpose),
        (("Reshape", {}), [Tensor(values=np.array([3, 2]))], lambda array: array.reshape(3, 2)),
        (("Flatten", {"axis": 0}), [], lambda array: array.reshape(1, 6)),
        (("Identity", {}), [], lambda array: array),
        (("Unsqueeze", {}), [one], lambda array: array[:, np.newaxis]),
        (("Squeeze", {}), [], lambda array: array),
        (("Gather", {"axis": 1}), [one], lambda array: array[:, 1:2]),
        (("Cast", {"to": TensorProto.FLOAT16}), [], lambda array: array),
        (("Concat", {"axis": 0}), [grid], lambda array: np.concatenate([array, array])),
    ]:
        op, attributes = item
        (found,) = evaluate(Node(name="n", op=op, inputs=(), outputs=("y",), attributes=attributes), [grid, *others])
        assert_array_equal(found.codes, move(grid.codes))
        assert_array_equal(found.scale, move(grid.scale))
        assert_array_equal(found.values, found.codes * found.scale)


def test_what_is_left(monkeypatch):
    """Nodes of the computed value stay, and the graph that came in is as it was."""
    nodes = [node("Transpose", ["b"], ["t"]), node("Shape", ["x"], ["n"]), node("Mul", ["x", "t"], ["y"])]
    graph = read_graph(make_model(nodes, CONSTANTS, input_shape=("n", 3)).SerializeToString(), name="m")
    result = fold_constants(graph)
    assert [item.op for item in result.nodes] == ["Shape", "Mul"]
    assert set(graph.constants) == {"b"} and set(result.constants) == {"b", "t"}
    monkeypatch.setattr(constants, "MAX_ELEMENTS", 1)
    with pytest.raises(ModelError, match=r"^node 't_node' \(Transpose\) is one of many constants to compute, at most 2 "
                                         r"elements together; the nearest supported form has them as initializers$"):
        fold_constants(graph)


def test_small_files_stay_small(monkeypatch):
    """What is made is bounded by what the file holds, node by node and in all."""
    monkeypatch.setattr(constants, "MAX_GROWN", 8)
    monkeypatch.setattr(constants, "MAX_MADE", 40)
    def folded(count, constants):
        nodes = [node("Add", ["m", "one"], [f"t{index}"]) for index in range(count)]
        model = make_model([*nodes, node("Identity", ["x"], ["y"])], constants)
        return fold_constants(read_graph(model.SerializeToString(), name="m"))

    one = np.zeros((1, 1), np.float32)
    assert folded(10, {"m": np.zeros((4, 3), np.float32), "one": one}).constants["t9"].values.shape == (4, 3)
    with pytest.raises(ModelError, match=r"^node 't17_node' \(Add\) is one of many constants to compute, at most 208 "
                                         r"elements together; the nearest supported form has them as initializers$"):
        folded(18, {"m": np.zeros((4, 3), np.float32), "one": one})
    with pytest.raises(ModelError, match=r"^node 't0_node' \(Add\) makes a constant of 9 elements; at most 8 are "
                                         r"computed; the nearest supported form has it as an initializer$"):
        folded(1, {"m": np.zeros((3, 1), np.float32), "one": np.zeros((1, 3), np.float32)})


GROWN = "at most 4194304 are computed; the nearest supported form has it as an initializer"


@pytest.mark.parametrize(("nodes", "message"), [
    ([node("Div", ["a", "zero"])], r"computes NaN or infinity from its constants"),
    ([node("Sqrt", ["a"])], r"computes NaN or infinity from its constants"),
    ([node("Mul", ["a", "nan"])], r"computes NaN or infinity from its constants"),
    ([node("Clip", ["nan"])], r"computes NaN or infinity from its constants"),
    ([node("Mul", ["far", "far"])], r"computes integers of more than 62 bits from its constants"),
    ([node("Add", ["a", "v3"])], r"does not fit its constants of shapes \(2, 3, 4\), \(3,\)"),
    ([node("Reshape", ["a", "v3"])], r"does not fit its constants of shapes \(2, 3, 4\), \(3,\)"),
    ([node("Reshape", ["a", "b"])], r"does not fit its constants of shapes \(2, 3, 4\), \(3, 1\)"),
    ([node("Transpose", ["a"], perm=[0, 0, 1])], r"does not fit its constants of shapes \(2, 3, 4\)"),
    ([node("Gather", ["v3", "far"])],
     r"does not fit its constants of shapes \(3,\), \(1,\)"),
    ([node("Gather", ["s", "s"])], r"does not fit its constants of shapes \(\), \(\)"),
    ([node("Slice", ["a", "zero", "one", "one", "zero"])],
     r"does not fit its constants of shapes \(2, 3, 4\), \(1,\), \(1,\), \(1,\), \(1,\)"),
    ([node("Squeeze", ["a", "zero"])], r"does not fit its constants of shapes \(2, 3, 4\), \(1,\)"),
    ([node("Unsqueeze", ["a", "far"])], r"does not fit its constants of shapes \(2, 3, 4\), \(1,\)"),
    ([node("Concat", ["a", "v"], axis=0)], r"does not fit its constants of shapes \(2, 3, 4\), \(4,\)"),
    ([node("Cast", ["a"], to=TensorProto.STRING)], r"must cast to numbers of 8 to 64 bits, not to STRING"),
    ([node("Cast", ["nan"], to=TensorProto.INT64)], r"must have values that int64 holds"),
    ([node("ConstantOfShape", ["far"])], rf"makes a constant of {2**63 - 1} elements; {GROWN}"),
    ([node("ConstantOfShape", ["minus"])], r"does not fit its constants of shapes \(1,\)"),
    ([node("Expand", ["a", "huge"])], rf"makes a constant of 206158430208 elements; {GROWN}"),
    ([node("Gather", ["row", "many"])], rf"makes a constant of 1000000000 elements; {GROWN}"),
    ([node("Add", ["tall", "row"])], rf"makes a constant of 400000000 elements; {GROWN}"),
    ([node("Where", ["yes", "tall", "row"])], r"does not fit its constants of shapes .+"),
    ([node("Less", ["tall", "row"])], rf"makes a constant of 400000000 elements; {GROWN}"),
])
def test_wrong(nodes, message):
    more = {"nan": np.array([np.nan], np.float32), "huge": np.array([2**33, 1, 1, 1]), "v3": np.array([2, 3, 5]),
            "row": np.zeros((1, 20_000), np.float32), "tall": np.zeros((20_000, 1), np.float32),
            "many": np.zeros(50_000, np.int64)}
    name = nodes[-1].output[0]
    model = make_model([*nodes, node("Identity", ["x"], ["y"])], CONSTANTS | more)
    graph = read_graph(model.SerializeToString(), name="m")
    with pytest.raises(ModelError, match=rf"^node '{name}_node' \({nodes[-1].op_type}\) {message}$"):
        fold_constants(graph)


def test_evaluate_wrong():
    def call(op, *inputs):
        return evaluate(Node(name="n", op=op, inputs=(), outputs=("y",), attributes={}), inputs)

    with pytest.raises(ModelError, match=r"^node 'n' \(Gemm\) is not computed from constants$"):
        call("Gemm", Tensor(values=A))
    with pytest.raises(ModelError, match=r"^node 'n' \(Add\) must have a first input$"):
        call("Add", None, Tensor(values=A))
    with pytest.raises(ModelError, match=r"^node 'n' \(Concat\) does not fit its constants of shapes \(2, 3, 4\)$"):
        call("Concat", Tensor(values=A))


def test_nothing_to_fold():
    graph = Graph(name="m", opset=17, batch=None, input_shape=(2,), input="x", output="y", output_length=None,
                  nodes=(Node(name="n", op="Gemm", inputs=("x", "w"), outputs=("y",), attributes={}),),
                  constants={"w": Tensor(values=A)})
    assert fold_constants(graph).nodes == graph.nodes
