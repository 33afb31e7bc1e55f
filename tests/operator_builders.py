"""What the cases of the operators' table are made of: the record of a case, constants, and nodes that stand around."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from graphs import node
from intake import make_model
from onnx import ModelProto, NodeProto, TensorProto, helper

from dovetail.sw.intake.supported import QONNX

__all__ = [
    "CHOOSE", "CLAYER", "CONV", "GEMM", "HOT", "IMAGE", "LAST", "LAYER", "LEAST", "MUL", "OVER", "QGEMM", "QLAYER",
    "QW", "QX", "SCATTER", "SIGNAL", "SUM", "TOPK", "VOLUME", "WD", "XD", "XQ", "ZEROS", "Case", "Result", "floats",
    "refused", "taken", "weights",
]


class Result(Enum):
    """What becomes of a node."""

    LAYER = "layer"
    STEP = "step"
    FOLDED = "folded"
    HOST = "left to the host"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One row of the table.

    Members
    -------
    op, form : str
        The row is about the last node of this operator in the model.
    result : Result
    message : str
        Why it is refused, behind the names of the file and the node.
    by : str
        Operator of the node that the message names.
    model : ModelProto
        Of exactly that form.
    runtime : bool
        Whether ONNX Runtime can run it.
    """

    op: str
    form: str
    result: Result
    message: str = ""
    by: str = ""
    model: ModelProto
    runtime: bool = False


def floats(*shape: int) -> np.ndarray:
    """Small integers of both signs: sums of products with them are exact."""
    size = int(np.prod(shape))
    return ((np.arange(size) * 7 + 3) % 11 - 5).reshape(shape).astype(np.float32)


F, I8, U8 = np.float32, np.int8, np.uint8
CONSTANTS: dict[str, np.ndarray | TensorProto] = {
    # weights and biases
    "w": floats(4, 3), "wt": floats(3, 4), "b": floats(3), "v": floats(3, 2), "w1": floats(1, 4, 3),
    "wi": floats(4, 3).astype(I8), "bi": floats(3).astype(np.int32),
    "k": floats(2, 3, 3, 3), "k2": floats(2, 3, 2, 2), "kb": floats(2), "kg": floats(6, 1, 2, 2),
    "k1": floats(2, 3, 3), "k3": floats(2, 3, 2, 2, 2), "deep": floats(48, 3), "wide": floats(8, 3),
    "flat2": floats(2, 3),
    "four": helper.make_tensor("four", TensorProto.INT4, [4, 3], [5, -8, 7, 0, 1, 2, -3, 4, 0, 0, 6, -1]),
    "four0": helper.make_tensor("four0", TensorProto.INT4, [], [1]),
    "nan": np.full((4, 3), np.nan, F), "nans": np.full(3, np.nan, F), "knan": np.full((2, 3, 3, 3), np.nan, F),
    # one number, one for each kernel or channel, one for each pixel
    "zero": F(0), "one": F(1), "minus": F(-1), "half": F(0.5),
    "two": F(2), "six": F(6), "gain": np.array([1, 2, 4], F),
    "gamma": np.array([1, 2, 0.5], F), "beta": np.array([1, -1, 0], F), "mean": np.array([0, 1, 2], F),
    "var": np.array([1, 4, 0.25], F), "negative": np.array([1, -4, 1], F),
    "spots": floats(2, 3, 3),
    # integers
    "n": np.array([2]), "n2": np.array([1, 2]), "n0": np.array([0]), "n1": np.array([1]), "n9": np.array([9]),
    "last": np.array([-1]), "far": np.array([2**63 - 1]), "keep": np.array([0, -1]), "rows": np.array([-1, 4]),
    "merge": np.array([4, -1]), "scalar": np.array(0), "axes": np.array([2, 3]),
    "shape": np.array([4, 3]), "n3": np.array([3]), "n4": np.array([4]), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "edge": np.array([0, 1, 0, 0, 0, 1, 0, 0]), "hot": np.array([0, 1], F), "cold": np.array([1, 0], F),
    "true": np.array(True), "false": np.array(False), "pick": np.array([[True, False, True]] * 4),
    # quantisation
    "s": F(0.25), "s2": F(0.5), "s3": np.array([0.5, 0.25, 1], F), "s43": np.full((4, 3), 0.5, F), "s1": F(0.0625),
    "s4": np.array([1, 1, 1, 0.5], F), "z": U8(3), "zu": U8(0), "zi": I8(-5), "z0": I8(0), "z3": np.zeros(3, I8),
    "z4": np.zeros(4, U8), "zw": np.uint16(300), "zs": np.int16(-2), "z32": np.int32(0), "zz": np.zeros(2, I8),
    "lo": U8(3), "hi": U8(18), "bits": F(4), "bit": F(1), "bits17": F(17),
    "bits8": F(8), "off": F(0), "bh": F(0.5), "sc": np.full((1, 3), 0.5, F), "eighth": F(0.125), "s64": F(2**-6),
}

IMAGE, SIGNAL, VOLUME = (3, 4, 4), (3, 8), (3, 4, 4, 4)

# What stands around the operator that a case is about. x, of the input's shape, to g or c, to r.
GEMM = node("Gemm", "x w b", "g")
RELU = node("Relu", "g", "r")
LAST = node("Gemm", "y v", "o")
CONV = node("Conv", "x k2 kb", "c")
CRELU = node("Relu", "c", "r")
LAYER, CLAYER = (GEMM, RELU), (CONV, CRELU)
# The parts of k-WTA.
TOPK = node("TopK", "r n", "tv ti", axis=1)
ZEROS = node("Mul", "r zero", "o0")
SCATTER = node("ScatterElements", "o0 ti tv", "y", axis=1)
LEAST = node("ReduceMin", "tv", "t", axes=[1], keepdims=1)
OVER = node("GreaterOrEqual", "r t", "m")
CHOOSE = node("Where", "m r zero", "y")
HOT = node("OneHot", "ti n3 hot", "h", axis=1)
SUM = node("ReduceSum", "h n", "m", keepdims=0)
MUL = node("Mul", "r m", "y")
# A layer that states integers.
XQ = node("QuantizeLinear", "x s z", "xq")
XD = node("DequantizeLinear", "xq s z", "xd")
WD = node("DequantizeLinear", "wi s1", "wd")
QGEMM = node("Gemm", "xd wd", "g")
QLAYER = (XQ, XD, WD, QGEMM)
QX = node("Quant", "x s off bits8", "xd", domain=QONNX[0], signed=1, narrow=0)
QW = node("Quant", "w s2 off bits", "wd", domain=QONNX[0], signed=1, narrow=1)



def taken(
    op: str, form: str, result: Result, nodes: Sequence[NodeProto], *, x: Sequence[int] = (4,),
    kind: int = TensorProto.FLOAT, opset: int = 17, runtime: bool = True,
) -> Case:
    """Make the case of a form that is read; x is the shape of the input without the batch, kind its type."""
    output_type = TensorProto.INT64 if nodes[-1].op_type == "ArgMax" else TensorProto.FLOAT
    model = make_model(nodes, CONSTANTS, input_shape=("n", *x), input_type=kind, output_type=output_type, opset=opset)
    return Case(op=op, form=form, result=result, model=model,
                runtime=runtime and not any(item.domain in QONNX for item in nodes))


def refused(
    op: str, form: str, nodes: Sequence[NodeProto], message: str, *, by: str = "", x: Sequence[int] = (4,),
    opset: int = 17,
) -> Case:
    """Make the case of a form that is refused."""
    return Case(op=op, form=form, result=Result.REFUSED, message=message, by=by or op,
                model=make_model(nodes, CONSTANTS, input_shape=("n", *x), opset=opset))


def weights(*nodes: NodeProto) -> list[NodeProto]:
    """A layer whose weights t come from nodes."""
    return [*nodes, node("MatMul", "x t", "o")]
