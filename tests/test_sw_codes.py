"""Quantised constants: QuantizeLinear and DequantizeLinear against ONNX Runtime, Quant against its definition."""

import math
from fractions import Fraction

import numpy as np
import pytest
from intake import make_model, reference
from models import node
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper

from dovetail.hw.errors import ModelError
from dovetail.sw.intake.codes import code_range
from dovetail.sw.intake.constants import fold_constants
from dovetail.sw.intake.graph import Graph, Tensor
from dovetail.sw.reader import read_graph

RNG = np.random.default_rng(9)
W = (8 * RNG.standard_normal((3, 4))).astype(np.float32)
DOMAIN = "qonnx.custom_op.general"


def folded(nodes, constants, **arguments) -> Tensor:
    model = make_model([*nodes, node("Identity", ["x"], ["y"])], constants, **arguments)
    graph = fold_constants(read_graph(model.SerializeToString(), name="m"))
    return graph.constants[nodes[-1].output[0]]


def refused(nodes, constants, message, **arguments):
    with pytest.raises(ModelError, match=rf"^node '{nodes[-1].name}' \({nodes[-1].op_type}\) {message}$"):
        folded(nodes, constants, **arguments)


SCALES = {None: np.float32(0.1), 0: np.array([0.1, 0.25, 0.07], np.float32),
          1: np.array([0.1, 0.25, 0.07, 3.0], np.float32)}
ZEROS = {None: 3, 0: [3, 0, -7], 1: [0, 5, -2, 1]}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("axis", [None, 0, 1, -2])
@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_quantize(dtype, axis, domain):
    scale = SCALES[axis % 2 if axis is not None else None]
    zero = np.array(ZEROS[axis % 2 if axis is not None else None]) % (4 if np.dtype(dtype).kind == "u" else 99)
    constants = {"w": W, "s": scale, "z": zero.astype(dtype)}
    where = {} if axis is None else {"axis": axis}
    pair = [node("QuantizeLinear", ["w", "s", "z"], ["q"], domain=domain, **where),
            node("DequantizeLinear", ["q", "s", "z"], ["d"], domain=domain, **where)]
    kinds = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8, np.uint16: TensorProto.UINT16,
             np.int16: TensorProto.INT16}
    expected = reference(make_model(pair[:1], constants, output_type=kinds[dtype], opset=21), np.zeros((1, 4), "f"))
    integers = folded(pair[:1], constants, opset=21)
    assert integers.values.dtype == dtype and integers.codes is None
    assert_array_equal(integers.values, expected)
    found = folded(pair, constants, opset=21)
    along = (-1, 1) if axis in (0, -2) else (-1,)
    assert_array_equal(found.codes, expected.astype(np.int64) - zero.reshape(along if zero.ndim else ()))
    assert_array_equal(found.scale, np.broadcast_to(scale.reshape(along if zero.ndim else ()), W.shape).astype(float))
    assert_array_equal(found.values, found.codes * found.scale)
    assert (found.codes.dtype, found.scale.dtype) == (np.int64, np.float64)


def test_ties():
    """Halves go to the even code, and quotients are those of float32."""
    w = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 300, -300], np.float32)
    quantize = [node("QuantizeLinear", ["w", "s"], ["q"])]
    assert_array_equal(folded(quantize, {"w": w, "s": np.float32(1)}).values, [0, 2, 2, 0, 0, 255, 0])
    w, scale = np.array([0.255], np.float32), np.float32(0.03)   # 8.5, and in float64 a little more
    assert_array_equal(folded(quantize, {"w": w, "s": scale}).values, [8])
    assert np.rint(float(w[0]) / float(scale)) == 9


def test_dequantize():
    one = [node("DequantizeLinear", ["w", "s"], ["d"])]
    found = folded(one, {"w": np.array([-2**31, 2**31 - 1], np.int32), "s": np.float32(0.3)})
    assert_array_equal(found.codes, [-2**31, 2**31 - 1])
    four = helper.make_tensor("w", TensorProto.INT4, [3], [-8, 7, 1])
    zero = helper.make_tensor("z", TensorProto.INT4, [], [1])
    item = [node("DequantizeLinear", ["w", "s", "z"], ["d"])]
    assert_array_equal(folded(item, {"w": four, "s": np.float32(0.5), "z": zero}, opset=21).codes, [-9, 6, 0])
    four = helper.make_tensor("w", TensorProto.UINT4, [3], [0, 15, 8])
    assert_array_equal(folded(one, {"w": four, "s": np.float32(0.5)}, opset=21).values, [0, 7.5, 4])


@pytest.mark.parametrize(("change", "message"), [
    ({"s": np.float32(0)}, r"must have scales that are positive and finite, not 0\.0"),
    ({"s": np.float32(-0.5)}, r"must have scales that are positive and finite, not -0\.5"),
    ({"s": np.float32(np.nan)}, r"must have scales that are positive and finite, not nan"),
    ({"s": np.array([1, np.inf, 1, 1], np.float32)}, r"must have scales that are positive and finite, not inf"),
    ({"s": np.zeros(0, np.float32)}, r"must have scales that are positive and finite, not an empty tensor"),
    ({"s": np.ones(3, np.float32), "z": np.zeros(3, np.uint8)},
     r"must have one scale, or one for each index of axis 1 of the shape \(3, 4\), not of shape \(3,\)"),
    ({"s": np.ones(4, np.float32)},
     r"must have a zero point of the shape of its scale, \(4,\), integers, not uint8 of shape \(\)"),
    ({"z": np.float32(1)},
     r"must have a zero point of the shape of its scale, \(\), integers, not float32 of shape \(\)"),
    ({"z": np.int32(1)}, r"must make integers of 8 or 16 bits, not int32"),
    ({"w": np.full((3, 4), np.nan, np.float32)}, r"has NaN or infinity in what it quantises"),
    ({"w": np.ones((3, 4), bool)}, r"must take numbers, not bool"),
])
def test_quantize_wrong(change, message):
    constants = {"w": W, "s": np.float32(1), "z": np.uint8(0)} | change
    refused([node("QuantizeLinear", ["w", "s", "z"], ["q"])], constants, message)


def test_linear_wrong():
    w = np.ones((3, 4), np.int8)
    item = [node("DequantizeLinear", ["w", "s", "z"], ["d"])]
    refused(item, {"w": w, "s": np.float32(1), "z": np.uint8(0)},
            r"must have a zero point of the type of its input, int8, not uint8")
    refused([node("DequantizeLinear", ["w", "s"], ["d"])], {"w": W, "s": np.float32(1)},
            r"must take integers of 4 to 32 bits, not float32")
    refused([node("DequantizeLinear", ["w", "s"], ["d"], block_size=2)], {"w": w, "s": np.ones((3, 2), np.float32)},
            r"must have one scale, or one for each index of an axis, not blocks of 2", opset=21)
    refused([node("QuantizeLinear", ["w", "s"], ["d"], output_dtype=TensorProto.FLOAT8E4M3FN)],
            {"w": W, "s": np.float32(1)}, r"must make integers of 8 or 16 bits, not int64", opset=21)


def rounded(x: Fraction, mode: str) -> int:
    """The table of rounding modes, in exact numbers."""
    away = math.ceil(abs(x)) * (1 if x > 0 else -1)
    sign = 1 if x > 0 else -1
    return {"ROUND": round(x), "CEIL": math.ceil(x), "FLOOR": math.floor(x), "UP": away, "DOWN": int(x),
            "HALF_UP": sign * math.floor(abs(x) + Fraction(1, 2)),
            "HALF_DOWN": sign * math.ceil(abs(x) - Fraction(1, 2))}[mode]


@pytest.mark.parametrize("mode", ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "half_up"])
@pytest.mark.parametrize("op", ["Quant", "IntQuant"])
@pytest.mark.parametrize(("signed", "narrow"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_quant(mode, op, signed, narrow):
    w = np.arange(-20, 20, dtype=np.float32).reshape(4, 10) / 4   # ties, and what is outside
    scale, zero = np.array([[0.5], [1], [2], [0.25]], np.float32), np.array([[0], [1], [-2], [3]], np.float32)
    item = node(op, ["w", "s", "z", "b"], ["q"], domain=DOMAIN, signed=signed, narrow=narrow, rounding_mode=mode)
    for bits in (2, 4):
        found = folded([item], {"w": w, "s": scale, "z": zero, "b": np.float32(bits)})
        low = (-(2**(bits - 1)) + narrow) if signed else 0
        high = 2**(bits - 1) - 1 if signed else 2**bits - 1 - narrow
        assert code_range(signed=bool(signed), narrow=bool(narrow), bits=bits) == (low, high)
        exact = [[(Fraction(float(x)) / Fraction(float(s)) + int(z), int(z)) for x in row]
                 for row, (s,), (z,) in zip(w, scale, zero, strict=True)]
        expected = [[min(max(rounded(x, mode.upper()), low), high) - z for x, z in row] for row in exact]
        assert_array_equal(found.codes, expected)
        assert_array_equal(found.scale, np.broadcast_to(scale, w.shape))
        assert_array_equal(found.values, found.codes * found.scale)


@pytest.mark.parametrize("domain", [DOMAIN, "onnx.brevitas", "finn.custom_op.general"])
def test_bipolar(domain):
    w, scale = np.array([[0.0, -0.0, 3, -3, 1e-40]], np.float32), np.array([[0.5]], np.float32)
    for item in (node("BipolarQuant", ["w", "s"], ["q"], domain=domain),
                 node("Quant", ["w", "s", "z", "b"], ["q"], domain=domain, signed=1, narrow=0)):
        found = folded([item], {"w": w, "s": scale, "z": np.float32(0), "b": np.array([1])})
        assert_array_equal(found.codes, [[1, 1, 1, -1, 1]])
        assert_array_equal(found.values, [[0.5, 0.5, 0.5, -0.5, 0.5]])


def test_then_transposed():
    item = node("Quant", ["w", "s", "z", "b"], ["q"], domain=DOMAIN, signed=1, narrow=1)
    scale = np.array([[0.5], [1], [2]], np.float32)
    found = folded([item, node("Transpose", ["q"], ["t"])], {"w": W, "s": scale, "z": np.array(0), "b": np.array(4)})
    assert_array_equal(found.codes, np.clip(np.rint(W / scale), -7, 7).T)
    assert_array_equal(found.scale, np.broadcast_to(scale, W.shape).T)


@pytest.mark.parametrize(("change", "message"), [
    ({"s": np.float32(0)}, r"must have scales that are positive and finite, not 0\.0"),
    ({"s": np.float32(-1)}, r"must have scales that are positive and finite, not -1\.0"),
    ({"s": np.float32(np.inf)}, r"must have scales that are positive and finite, not inf"),
    ({"s": np.ones(3, np.float32)}, r"must have parameters that spread over the shape \(3, 4\), not of shape \(3,\)"),
    ({"z": np.float32(0.5)}, r"must have zero points that are integers, not 0\.5"),
    ({"z": np.float32(np.nan)}, r"must have zero points that are integers, not nan"),
    ({"b": np.float32(17)}, r"must have a bit width of 1 to 16, one number, not 17\.0"),
    ({"b": np.float32(0)}, r"must have a bit width of 1 to 16, one number, not 0\.0"),
    ({"b": np.float32(4.5)}, r"must have a bit width of 1 to 16, one number, not 4\.5"),
    ({"b": np.array([4, 4])}, r"must have a bit width of 1 to 16, one number, not 4"),
    ({"w": np.full((3, 4), np.inf, np.float32)}, r"has NaN or infinity in what it quantises"),
])
def test_quant_wrong(change, message):
    constants = {"w": W, "s": np.float32(1), "z": np.float32(0), "b": np.float32(4)} | change
    refused([node("Quant", ["w", "s", "z", "b"], ["q"], domain=DOMAIN, signed=1, narrow=0)], constants, message)


def test_rounding_wrong():
    constants = {"w": W, "s": np.float32(1), "z": np.float32(0), "b": np.float32(4)}
    refused([node("Quant", ["w", "s", "z", "b"], ["q"], domain=DOMAIN, rounding_mode="random")], constants,
            r"must have the rounding mode ROUND, CEIL, FLOOR, UP, DOWN, HALF_UP or HALF_DOWN, not 'RANDOM'")


def test_computed_values_stay():
    """A quantiser of the computed value is not touched."""
    item = node("Quant", ["x", "s", "z", "b"], ["q"], domain=DOMAIN, signed=1, narrow=0)
    constants = {"s": np.float32(1), "z": np.float32(0), "b": np.float32(4)}
    graph = fold_constants(read_graph(make_model([item], constants).SerializeToString(), name="m"))
    assert isinstance(graph, Graph)
    assert [each.op for each in graph.nodes] == ["Quant"]
