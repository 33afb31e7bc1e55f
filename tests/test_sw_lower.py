"""The walk from a graph to a chain: one rule a test, and the forms that are refused."""

import re
from fractions import Fraction

import numpy as np
import pytest
from graphs import QONNX, lower, make_graph, make_model, node
from numpy.testing import assert_array_equal
from onnx import TensorProto

from dovetail.hw.errors import ModelError
from dovetail.sw.intake.graph import Node
from dovetail.sw.intake.lower import to_chain, to_float_model
from dovetail.sw.model import Clip, Head, Rounding

F = np.float32
ONES = np.ones
C = {
    "w": np.array([[1, 0, -2, 3], [0, 4, 0, 5], [6, -7, 0, 0]], F), "v": np.array([[1, 2, 0], [0, -3, 4]], F),
    "b": np.array([1, 2, 3], F), "four": ONES(4, F), "w3": ONES((1, 4, 3), F), "wide": ONES((4, 70_000), F),
    "wt": np.array([[1, 0, 6], [0, 4, -7], [-2, 0, 0], [3, 5, 0]], F), "rows": ONES((2, 3), F),
    "one": F(1), "two": F(2), "half": F(0.5), "zero": F(0), "minus": F(-1), "m": -ONES(3, F),
    "nan": np.full(3, np.nan, F), "six": F(6), "true": np.array(True), "flat": np.array([-1]),
    "merge": np.array([4, -1]), "vector": np.array([0, -1]), "image": np.array([0, 1, 2, 2]), "axis1": np.array([1]),
    "axis0": np.array([0]), "axis2": np.array([2]), "axes23": np.array([2, 3]),
    "k": ONES((3, 2, 2, 2), F), "k1": ONES((3, 2, 2), F), "k3": ONES((3, 2, 1, 1, 1), F), "kp": ONES((3, 2, 1, 1), F),
    "p8": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "p8c": np.array([0, 1, 1, 1, 0, 0, 1, 1]),
    "pixels": np.arange(36, dtype=F).reshape(6, 6),
    "i0": np.array(0, np.int8), "u0": np.array(0, np.uint8), "u128": np.array(128, np.uint8),
    "u7": np.array(7, np.uint8), "s": F(0.5), "s2": F(0.25), "s3": np.array([0.5, 0.25, 0.5], F),
    "s0": F(0), "i32": np.array(0, np.int32), "q": np.array([[1, 0, -2, 3], [0, 4, 0, 5], [6, -7, 0, 0]], np.int8),
    "z": F(0), "z1": F(1), "zh": F(0.5), "b1": F(1), "b2": F(2), "b4": F(4), "b20": F(20), "b3": F(3), "b1h": F(1.5),
    "v27": ONES((27, 2), F),
}
GEMM = node("Gemm", "x w b", "g", transB=1)
RELU = node("Relu", "g", "r")
LAST = node("Gemm", "r v", "out", transB=1)
CONV = node("Conv", "x k", "c")
W = node("DequantizeLinear", "q s", "wd")
INPUT = [node("QuantizeLinear", "x s i0", "xq"), node("DequantizeLinear", "xq s i0", "xd")]
QGEMM = [*INPUT, W, node("Gemm", "xd wd", "g", transB=1)]
QUANT = {"domain": QONNX}


@pytest.mark.parametrize(("shape", "nodes", "message"), [
    # one straight line
    ((4,), [GEMM, RELU, node("Add", "g r")],
     "node 'add_n' (Add) must take one computed value, that of the node before it: the nearest supported form is a "
     "straight line of layers without branches"),
    ((4,), [GEMM, node("Add", "g g")],
     "node 'add_n' (Add) must take one computed value, that of the node before it: the nearest supported form is a "
     "straight line of layers without branches"),
    ((4,), [GEMM, node("Dropout", "g", "d mask"), node("Identity", "mask")],
     "node 'identity_n' (Identity) must take one computed value, that of the node before it: the nearest supported "
     "form is a straight line of layers without branches"),
    ((4,), [GEMM, node("TopK", "g axis1", "tv ti")],
     "node 'tv_n' (TopK) must be followed by ScatterElements of its values onto zeros (k-WTA)"),
    ((4,), [GEMM, node("Neg", "g")],
     "node 'neg_n' (Neg) is supported on constants only; the nearest supported form is a straight line of layers"),
    ((4,), [GEMM, node("Softmax", "g"), node("Relu", "softmax")],
     "node 'relu_n' (Relu) must not follow softmax, which is left to the host and must be the last node"),
    ((4,), [GEMM, node("Softmax", "g"), node("Sigmoid", "softmax")],
     "node 'sigmoid_n' (Sigmoid) must not follow another head (softmax)"),
    ((4,), [GEMM, node("Softmax", "g", axis=0)],
     "node 'softmax_n' (Softmax) must have the last axis of a flat vector, not axis 0 of ('batch', 3)"),
    ((4,), [GEMM, node("ArgMax", "g")],
     "node 'argmax_n' (ArgMax) must have the last axis of a flat vector, not axis 0 of ('batch', 3)"),
    ((4,), [GEMM, node("ArgMax", "g", axis=1, select_last_index=1)],
     "node 'argmax_n' (ArgMax) must have select_last_index 0: a tie goes to the lower index"),
    ((4,), [node("Cast", "x", to=7), node("Gemm", "cast wt")],
     "node 'cast_n' (Cast) must cast to floating point: the nearest supported form of rounding is QuantizeLinear"),
    ((4,), [node("Relu", "x"), node("Gemm", "relu wt")], "node 'relu_n' (Relu) must follow a Gemm, MatMul or Conv"),
    ((4,), [node("Identity", "x")], "has no Gemm, MatMul or Conv, so there is nothing to build"),
    # Gemm and MatMul
    ((4,), [node("MatMul", "w x")], "node 'matmul_n' (MatMul) must have the computed value as its first input"),
    ((4,), [node("Gemm", "w x")],
     "node 'gemm_n' (Gemm) must have the computed value, not transposed, as its first input"),
    ((4,), [node("Gemm", "x wt", transA=1)],
     "node 'gemm_n' (Gemm) must have the computed value, not transposed, as its first input"),
    ((4,), [node("MatMul", "x w3")],
     "node 'matmul_n' (MatMul) must have weights of two dimensions, not of shape (1, 4, 3)"),
    ((4,), [node("Gemm", "x w")], "node 'gemm_n' (Gemm) must have 4 positions, not 3"),
    ((4,), [node("Gemm", "x wt four")],
     "node 'gemm_n' (Gemm) must have a constant that spreads over the shape (3,), not one of shape (4,)"),
    ((4,), [node("Gemm", "x wt nan")], "node 'gemm_n' (Gemm) has NaN or infinity in its input 2"),
    ((4,), [node("MatMul", "x wide")],
     "node 'matmul_n' (MatMul) must have at most 65536 kernels and positions, not (70000, 4)"),
    ((2, 2), [node("Gemm", "x wt")],
     "node 'gemm_n' (Gemm) must take a flat vector, not the shape (2, 2); put a Flatten with axis 1 before it"),
    ((2, 2), [node("MatMul", "x wt")],
     "node 'matmul_n' (MatMul) must take a flat vector, not the shape (2, 2); put a Flatten with axis 1 before it"),
    # convolutions and pools
    ((2, 4, 4), [node("Conv", "x k1")],
     "node 'conv_n' (Conv) must have windows of 2 axes like what it takes, not [2]"),
    ((2, 4, 4, 4), [node("Conv", "x k3")],
     "node 'conv_n' (Conv) must take an image (channels, height, width) or a signal (channels, width), not the shape "
     "(2, 4, 4, 4); windows over three axes are not supported"),
    ((2, 4, 4), [node("Conv", "x k", dilations=[2, 4])],
     "node 'conv_n' (Conv) has a window that does not fit what it takes, of shape (2, 4, 4): kernel must fit into the "
     "padded image, not (3, 5)"),
    ((2, 4, 4), [node("Conv", "x k", dilations=[2])], "node 'conv_n' (Conv) must have 2 dilations, not [2]"),
    ((2, 4, 4), [node("Conv", "x k", dilations=[2, 0])],
     "node 'conv_n' (Conv) must have positive kernel_shape, strides and dilations, not [2, 2], [1, 1] and [2, 0]"),
    ((3, 4, 4), [node("Conv", "x k")],
     "node 'conv_n' (Conv) must have weights (kernels, 3 channels / groups, height, width), not of shape (3, 2, 2, 2) "
     "in 1 groups"),
    ((4, 4, 4), [node("Conv", "x k", group=2)],
     "node 'conv_n' (Conv) must have weights (kernels, 4 channels / groups, height, width), not of shape (3, 2, 2, 2) "
     "in 2 groups"),
    ((2, 4, 4), [node("Conv", "x k", kernel_shape=[3, 2])],
     "node 'conv_n' (Conv) must have kernel_shape [2, 2] like its weights, not [3, 2]"),
    ((2, 4, 4), [node("Conv", "x k", strides=[0, 1])],
     "node 'conv_n' (Conv) must have positive kernel_shape, strides and dilations, not [2, 2], [0, 1] and [1, 1]"),
    ((2, 4, 4), [node("Conv", "x k", pads=[0, 0, -1, 0])],
     "node 'conv_n' (Conv) must have pads that are not negative, not [0, 0, -1, 0]"),
    ((2, 4, 4), [node("Conv", "x k", pads=[0, 0])], "node 'conv_n' (Conv) must have 4 pads, not [0, 0]"),
    ((2, 4, 4), [node("Conv", "x k", auto_pad="SAME")],
     "node 'conv_n' (Conv) must have auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER, not 'SAME'"),
    ((2, 1, 4), [node("Conv", "x k")],
     "node 'conv_n' (Conv) has a window that does not fit what it takes, of shape (2, 1, 4): kernel must fit into the "
     "padded image, not (2, 2)"),
    ((2, 4, 4), [node("Conv", "x k b")], None),
    ((2, 4, 4), [node("Conv", "x k four")], "node 'conv_n' (Conv) must have 3 biases, not of shape (4,)"),
    ((2, 4, 4), [node("Conv", "x kp", pads=[500] * 4)],
     "node 'conv_n' (Conv) must take at most 1048576 elements, pads (500, 500, 500, 500) included, not 2016032; the "
     "nearest supported form has pads below its kernel"),
    ((2, 4, 4), [CONV, node("MaxPool", "c", kernel_shape=[2, 2], pads=[0, 0, 0, 2])],
     "node 'maxpool_n' (MaxPool) must have pads smaller than its kernel (2, 2), not (0, 0, 0, 2)"),
    ((2, 4, 4), [CONV, node("MaxPool", "c", kernel_shape=[2, 2], dilations=[2, 2])],
     "node 'maxpool_n' (MaxPool) must have dilations 1, not [2, 2]; the nearest supported form takes every pixel of "
     "its window"),
    ((2, 4, 4), [CONV, node("MaxPool", "c", "p at", kernel_shape=[2, 2]), node("Identity", "at")],
     "node 'identity_n' (Identity) must take one computed value, that of the node before it: the nearest supported "
     "form is a straight line of layers without branches"),
    ((2, 4, 4), [node("AveragePool", "x", kernel_shape=[2, 2], pads=[1, 1, 1, 1])],
     "node 'averagepool_n' (AveragePool) must count what it pads, and not pad for ceil_mode: the nearest supported "
     "form has count_include_pad 1 and ceil_mode 0, or no pads"),
    ((2, 4, 4), [node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, count_include_pad=1)],
     "node 'averagepool_n' (AveragePool) must count what it pads, and not pad for ceil_mode: the nearest supported "
     "form has count_include_pad 1 and ceil_mode 0, or no pads"),
    ((2, 4, 4), [node("ReduceMean", "x", axes=[1])],
     "node 'reducemean_n' (ReduceMean) must have axes [2, 3], all behind the channels, not [1]"),
    ((2, 4, 4), [node("ReduceMean", "x")],
     "node 'reducemean_n' (ReduceMean) must have axes [2, 3], all behind the channels, not None"),
    ((4,), [node("GlobalAveragePool", "x")],
     "node 'globalaveragepool_n' (GlobalAveragePool) must take an image or a signal, not the shape (4,)"),
    ((600, 16, 4), [node("GlobalAveragePool", "x")],
     "node 'globalaveragepool_n' (GlobalAveragePool) must have at most 16777216 weights, zeros between groups and taps "
     "included, not 23040000"),
    ((2, 4, 4), [node("Pad", "x p8 one"), node("Conv", "pad k")], "node 'pad_n' (Pad) must pad with zeros"),
    ((2, 4, 4), [node("Pad", "x p8c"), node("Conv", "pad k")],
     "node 'pad_n' (Pad) must have pads of 8 integers, none negative and none for batch or channels, "
     "not [0, 1, 1, 1, 0, 0, 1, 1]"),
    ((2, 4, 4), [node("Pad", "x p8", mode="edge"), node("Conv", "pad k")],
     "node 'pad_n' (Pad) must have mode 'constant', not 'edge'"),
    ((2, 4, 4), [node("Pad", "x p8"), node("MaxPool", "pad", kernel_shape=[2, 2])],
     "node 'pad_n' (Pad) must be followed by a Conv or AveragePool that takes its zeros as pads"),
    ((2, 4, 4), [CONV, node("Pad", "c p8")],
     "node 'pad_n' (Pad) must be followed by a Conv or AveragePool that takes its zeros as pads"),
    # shapes
    ((4,), [node("Flatten", "x", axis=0), node("Gemm", "flatten wt")],
     "node 'flatten_n' (Flatten) must have axis 1, not 0"),
    ((4,), [node("Reshape", "x flat"), node("Gemm", "reshape wt")],
     "node 'reshape_n' (Reshape) must keep the batch, not turn ('batch', 4) into [-1]; the nearest supported form is "
     "Flatten with axis 1"),
    ((4,), [node("Reshape", "x merge"), node("Gemm", "reshape wt")],
     "node 'reshape_n' (Reshape) must keep the batch, not turn ('batch', 4) into [4, -1]; the nearest supported form "
     "is Flatten with axis 1"),
    ((4,), [node("Reshape", "x four"), node("Gemm", "reshape wt")],
     "node 'reshape_n' (Reshape) must have constant shape of integers"),
    ((4,), [node("Shape", "x", "n"), node("Mul", "n merge", "n2"), node("Reshape", "x n2")],
     "node 'n2_n' (Mul) computes with the batch, whose size is free; the nearest supported form is Flatten with axis "
     "1"),
    ((1, 4), [node("Squeeze", "x")],
     "node 'squeeze_n' (Squeeze) must name its axes, since without them a batch of 1 vanishes too; the nearest "
     "supported form is Flatten with axis 1"),
    ((1, 4), [node("Squeeze", "x axis0")],
     "node 'squeeze_n' (Squeeze) must have axes of 1 to 2 that leave the batch alone, not [0]; the nearest supported "
     "form is Flatten with axis 1"),
    ((1, 4), [node("Squeeze", "x axis2")],
     "node 'squeeze_n' (Squeeze) must leave out axes of size 1, not [2] of ('batch', 1, 4); the nearest supported form "
     "is Flatten with axis 1"),
    ((4,), [node("Unsqueeze", "x axis0")],
     "node 'unsqueeze_n' (Unsqueeze) must have axes of 1 to 2 that leave the batch alone, not [0]; the nearest "
     "supported form is Flatten with axis 1"),
    ((2, 3, 3), [node("Transpose", "x", perm=[0, 2, 3, 1]), node("Flatten", "transpose")],
     "node 'transpose_n' (Transpose) must only move axes of size 1, or be undone by the next Transpose; the nearest "
     "supported form has the channels first throughout"),
    ((2, 3, 3), [CONV, node("Transpose", "c", perm=[0, 2, 3, 1])],
     "node 'transpose_n' (Transpose) must only move axes of size 1, or be undone by the next Transpose; the nearest "
     "supported form has the channels first throughout"),
    ((4,), [node("Transpose", "x")],
     "node 'transpose_n' (Transpose) must leave the batch first: the nearest supported form transposes nothing "
     "computed"),
    ((4,), [node("Transpose", "x", perm=[0, 0])],
     "node 'transpose_n' (Transpose) must have a perm of 2 axes, not [0, 0]"),
    # element by element
    ((4,), [GEMM, node("Add", "g rows")],
     "node 'add_n' (Add) must have a constant that spreads over the shape (3,), not one of shape (2, 3)"),
    ((4,), [GEMM, node("Div", "g zero")], "node 'div_n' (Div) must divide by a constant that is nowhere zero"),
    ((4,), [GEMM, node("Div", "b g")], "node 'div_n' (Div) must divide by a constant that is nowhere zero"),
    ((4,), [GEMM, node("Add", "g nan")], "node 'add_n' (Add) has NaN or infinity in its input 1"),
    ((4,), [GEMM, node("Add", "g true")], "node 'add_n' (Add) must have a constant tensor of numbers as input 1"),
    ((4,), [GEMM, node("BatchNormalization", "g b b b four")],
     "node 'batchnormalization_n' (BatchNormalization) must have 3 parameters of each kind, not of shape (4,)"),
    ((4,), [GEMM, node("BatchNormalization", "g b b b m")],
     "node 'batchnormalization_n' (BatchNormalization) must have positive variances"),
    ((4,), [GEMM, node("BatchNormalization", "g b b nan b")],
     "node 'batchnormalization_n' (BatchNormalization) has NaN or infinity in its input 3"),
    ((4,), [GEMM, node("BatchNormalization", "g b b b b", "n mean var", training_mode=1)],
     "node 'n_n' (BatchNormalization) must not be in training mode: export the model for inference"),
    ((4,), [GEMM, node("Dropout", "g half true")],
     "node 'dropout_n' (Dropout) must not be in training mode: export the model for inference"),
    ((4,), [GEMM, node("Clip", "g six one")],
     "node 'clip_n' (Clip) must have a min that is at most its max, not 6.0 and 1.0"),
    ((4,), [GEMM, node("Clip", "g b")], "node 'clip_n' (Clip) must have a constant number as min"),
    # quantisers
    ((4,), [*QGEMM, node("QuantizeLinear", "g s3 i0")],
     "node 'quantizelinear_n' (QuantizeLinear) must have one scale for the whole tensor; the nearest supported form "
     "quantises activations per tensor"),
    ((4,), [*QGEMM, node("QuantizeLinear", "g s0 i0")],
     "node 'quantizelinear_n' (QuantizeLinear) must have a positive scale, not 0.0"),
    ((4,), [*QGEMM, node("QuantizeLinear", "g s i32")],
     "node 'quantizelinear_n' (QuantizeLinear) must have codes of 2 to 16 bits, named by the type of its zero point, "
     "not 'int32'"),
    ((4,), [*QGEMM, node("QuantizeLinear", "g s u0", "gq"), node("DequantizeLinear", "gq s2 u0")],
     "node 'dequantizelinear_n' (DequantizeLinear) must have the scale and zero point of its QuantizeLinear, 0.5 and "
     "0, not 0.25 and 0"),
    ((4,), [*QGEMM, node("QuantizeLinear", "g s u0", "gq"), node("Relu", "gq")],
     "node 'relu_n' (Relu) takes integer codes; the nearest supported form has a DequantizeLinear before it"),
    ((4,), [*QGEMM, node("DequantizeLinear", "g s i0")],
     "node 'dequantizelinear_n' (DequantizeLinear) must follow a QuantizeLinear, or the input of the model as it "
     "stands"),
    ((2, 4, 4), [node("Pad", "x p8"), node("DequantizeLinear", "pad s u128")],
     "node 'dequantizelinear_n' (DequantizeLinear) must follow a QuantizeLinear, or the input of the model as it "
     "stands"),
    ((4,), [node("DequantizeLinear", "x s"), W, node("Gemm", "dequantizelinear wd", transB=1)],
     "node 'dequantizelinear_n' (DequantizeLinear) must have codes of 2 to 16 bits, named by the type of its zero "
     "point, not None"),
    ((4,), [*QGEMM, node("Quant", "g s zh b4", **QUANT)],
     "node 'quant_n' (Quant) must have a zero point that is an integer of -65536 to 65536, not 0.5"),
    ((4,), [*QGEMM, node("Quant", "g s z b20", **QUANT)],
     "node 'quant_n' (Quant) must have a bit width that is an integer of 1 to 16, not 20.0"),
    ((4,), [*QGEMM, node("Quant", "g s z b1h", **QUANT)],
     "node 'quant_n' (Quant) must have a bit width that is an integer of 1 to 16, not 1.5"),
    ((4,), [*QGEMM, node("Quant", "g s z1 b1", **QUANT)],
     "node 'quant_n' (Quant) must have zero point 0, since it is bipolar, not 1"),
    ((4,), [*QGEMM, node("Quant", "g s z b1", signed=0, narrow=1, **QUANT)],
     "node 'quant_n' (Quant) must leave more than one code: narrow with 1 bit unsigned does not"),
    ((4,), [*QGEMM, node("Quant", "g s z b4", rounding_mode="STOCHASTIC", **QUANT)],
     "node 'quant_n' (Quant) must have rounding_mode ROUND, FLOOR, CEIL, UP, DOWN, HALF_UP or HALF_DOWN, not "
     "'STOCHASTIC'"),
    ((4,), [*QGEMM, node("Trunc", "g s z b4 b2", rounding_mode="ROUND", **QUANT)],
     "node 'trunc_n' (Trunc) must have rounding_mode FLOOR or CEIL, not 'ROUND'"),
    ((4,), [*QGEMM, node("Trunc", "g s z b2 b4", **QUANT)], "node 'trunc_n' (Trunc) must drop bits, not add any"),
    ((4,), [*INPUT, node("DequantizeLinear", "q s3b", "wd", axis=1), node("Gemm", "xd wd", transB=1)],
     "node 'gemm_n' (Gemm) must have weights with one scale a kernel; the nearest supported form quantises them per "
     "tensor or along the axis of the kernels"),
    ((4,), [*INPUT, W, node("Gemm", "xd wd", alpha=-1.0, transB=1)],
     "node 'gemm_n' (Gemm) must have weights with a positive scale"),
    ((4,), [*INPUT, node("Gemm", "xd w", "g", transB=1), node("Relu", "g")],
     "node 'g_n' (Gemm) must have quantised weights, since what is computed is quantised; the nearest supported form "
     "has a quantiser on its weights, or none anywhere"),
    ((4,), [node("Mul", "x four2"), node("QuantizeLinear", "mul s i0", "xq"), *QGEMM[1:]],
     "node 'mul_n' (Mul) must have one positive scale and one offset before the input is quantised; the nearest "
     "supported form normalises by channel in the data"),
    ((4,), [*INPUT, node("Mul", "xd four2"), W, node("Gemm", "mul wd", transB=1)],
     "node 'mul_n' (Mul) must have one positive scale before the quantised weights of 'gemm_n'; the nearest supported "
     "form puts a quantiser behind it"),
])
def test_form_wrong(shape, nodes, message):
    constants = C | {"s3b": np.array([0.5, 0.25, 0.5, 0.5], F), "four2": np.array([1, 2, 3, 4], F)}
    if message is None:
        assert lower(nodes, constants, ["n", *shape]).layers
        return
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        lower(nodes, constants, ["n", *shape])


def with_winners(nodes, shape, place, **attributes):
    """Float model of a graph with k-WTA behind the value ``place``."""
    graph = make_graph(make_model(nodes, C, ["n", *shape]))
    found = []
    for item in graph.nodes:
        found.append(item)
        if item.outputs[0] == place:
            found.append(Node(name="t", op="KWinners", inputs=(place,), outputs=("won",),
                              attributes={"k": 2} | attributes))
    found = [item if item.op == "KWinners" else Node(
        name=item.name, op=item.op, inputs=tuple("won" if name == place else name for name in item.inputs),
        outputs=item.outputs, attributes=item.attributes) for item in found]
    output = "won" if graph.output == place else graph.output
    return to_float_model(type(graph)(**vars(graph) | {"nodes": tuple(found), "output": output}), sha256="")


CHANNELS = [CONV, node("Relu", "c", "r"), node("Flatten", "r", "f"), node("Gemm", "f v27", "out")]


def test_winners():
    model = with_winners(CHANNELS, (2, 4, 4), "r")
    assert (model.layers[0].winners, model.layers[0].relu) == (2, True)
    assert with_winners([GEMM, RELU, LAST], (4,), "g", ties=1).layers[0].winners == 2
    quantised = [*QGEMM, node("QuantizeLinear", "g s u0", "gq"), node("DequantizeLinear", "gq s u0", "gd"),
                 node("QuantizeLinear", "gd s u0", "hq"), node("DequantizeLinear", "hq s u0", "hd")]
    assert len(with_winners(quantised, (4,), "gd").layers[0].steps) == 2
    six = [GEMM, node("Clip", "g z six", "r"), LAST]
    assert with_winners(six, (4,), "r").layers[0].winners == 2
    signed = [*QGEMM, node("QuantizeLinear", "g s i0", "gq"), node("DequantizeLinear", "gq s i0", "gd")]
    other = [*quantised[:-2], node("QuantizeLinear", "gd s2 u0", "hq"), node("DequantizeLinear", "hq s2 u0", "hd")]
    for make, message in [
        (lambda: with_winners(CHANNELS, (2, 4, 4), "f"),
         "node 't' (TopK) must choose among the 3 kernels of 'c_n', not among 27 elements; the nearest supported form "
         "is k-WTA along the channels (axis 1), before Flatten"),
        (lambda: with_winners(CHANNELS, (2, 4, 4), "r", axis=2),
         "node 't' (TopK) must have axis 1, along the kernels, not 2"),
        (lambda: with_winners([GEMM, RELU, LAST], (4,), "r", k=4),
         "node 't' (TopK) must have K of 1 to 3 (the length of its vector), not 4"),
        (lambda: with_winners([GEMM, RELU, LAST], (4,), "r", k=0),
         "node 't' (TopK) must have K of 1 to 3 (the length of its vector), not 0"),
        (lambda: with_winners([GEMM], (4,), "g"),
         "node 't' (TopK) must have a Relu before it: k-WTA ranks codes that are not negative"),
        (lambda: with_winners(quantised, (4,), "gd", ties=1),
         "node 't' (TopK) must not keep ties, which are common among codes: the nearest supported form puts the values "
         "of TopK onto zeros with ScatterElements"),
        (lambda: with_winners(six, (4,), "r", ties=1),
         "node 't' (TopK) must not keep ties, which are common at the upper bound of 'r_n': the nearest supported form "
         "puts the values of TopK onto zeros with ScatterElements"),
        (lambda: with_winners(signed, (4,), "gd"),
         "node 't' (TopK) must have a Relu or an unsigned quantiser before it: k-WTA ranks codes that are not "
         "negative"),
        (lambda: with_winners(other, (4,), "gd"),
         "node 'hq_n' (QuantizeLinear) must not quantise anew behind k-WTA, which ranks codes; the nearest supported "
         "form has that quantiser before k-WTA"),
    ]:
        with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
            make()


def test_output_wrong():
    graph = make_graph(make_model([GEMM, node("Dropout", "g", "d mask")], C, ["n", 4]))
    with pytest.raises(ModelError, match=r"^node 'd_n' \(Dropout\) must have its first output as the output of the "
                                         r"model$"):
        to_chain(type(graph)(**vars(graph) | {"output": "mask"}))
    graph = make_graph(make_model([GEMM], C, ["n", 4]), output_length=4)
    with pytest.raises(ModelError, match=r"^output 'g' must have 3 elements as computed, not 4 as declared$"):
        to_float_model(graph, sha256="")


@pytest.mark.parametrize(("nodes", "shape"), [
    ([node("Transpose", "x", "f", perm=[0, 2, 1])], (1, 4)),
    ([node("Transpose", "x", "t", perm=[0, 2, 1]), node("Transpose", "t", "u", perm=[0, 2, 1]),
      node("Flatten", "u", "f")], (2, 2)),
    ([node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Identity", "t", "i"),
      node("Transpose", "i", "u", perm=[0, 3, 1, 2]), node("Flatten", "u", "f")], (2, 2, 1)),
    ([node("Squeeze", "x axis1", "f")], (1, 4)),
    ([node("Unsqueeze", "x axis2", "u"), node("Squeeze", "u axis2", "f")], (4,)),
    ([node("Reshape", "x image", "i"), node("Reshape", "i vector", "f")], (4,)),
    ([node("Cast", "x", "i", to=1), node("Dropout", "i", "d"), node("Identity", "d", "f")], (4,)),
])
def test_nothing_moves(nodes, shape):
    """Nodes that give the elements another shape leave no step behind."""
    gemm = [node("Flatten", "f", "flat"), node("Gemm", "flat wt")]
    chain, _ = to_chain(make_graph(make_model([*nodes, *gemm], C, ["n", *shape])))
    assert [type(item).__name__ for item in chain.items] == ["FloatLayer"]


@pytest.mark.parametrize(("nodes", "found"), [
    ([node("Softmax", "g")], Head.SOFTMAX), ([node("LogSoftmax", "g", axis=1)], Head.LOG_SOFTMAX),
    ([node("Sigmoid", "g")], Head.SIGMOID), ([node("ArgMax", "g", axis=-1, keepdims=0)], Head.ARGMAX),
    ([node("Softmax", "g", "p"), node("ArgMax", "p", "a", axis=1), node("Cast", "a", to=1)], Head.ARGMAX),
    ([node("Softmax", "g", "p"), node("QuantizeLinear", "p s u0", "q"), node("DequantizeLinear", "q s u0")],
     Head.SOFTMAX),
    ([node("Identity", "g")], None),
])
def test_head(nodes, found):
    model = lower([GEMM, *nodes], C, ["n", 4])
    assert model.head is found
    assert not model.layers[0].steps


def test_clip_forms():
    """Bounds from attributes in old opsets, from constants in new ones, either left out."""
    for nodes, opset, expected in [
        ([node("Clip", "g zero six", "r")], 17, (0, 6)), ([node("Clip", "g zero", "r")], 17, (0, np.inf)),
        ([node("Clip", "g", "r", min=0.0, max=6.0)], 9, (0, 6)),
        ([node("Clip", "g - six", "h"), node("Relu", "h", "r")], 17, (0, 6)),
        ([node("Relu", "g", "h"), node("Clip", "h one six", "r")], 17, None), ([node("Clip", "g", "r")], 17, ()),
    ]:
        if expected is None:
            with pytest.raises(ModelError, match=r"^node 'h_n' \(Relu\) must clip from 0 on, not from 1\.0; the "
                                                 r"nearest supported form is Relu, or a Clip with min 0$"):
                lower([GEMM, *nodes, LAST], C, ["n", 4], opset=opset)
        elif not expected:
            assert not lower([GEMM, *nodes], C, ["n", 4], opset=opset).layers[0].steps
        else:
            (step,) = lower([GEMM, *nodes, LAST], C, ["n", 4], opset=opset).layers[0].steps
            assert isinstance(step, Clip)
            assert (step.low, step.high) == expected


def test_gemm_factors():
    model = lower([node("Gemm", "x w b", alpha=2.0, beta=3.0, transB=1)], C, ["n", 4])
    assert_array_equal(model.layers[0].weights, 2 * C["w"])
    assert_array_equal(model.layers[0].bias, 3 * C["b"])
    model = lower([*INPUT, W, node("Gemm", "xd wd b", alpha=2.0, transB=1)], C, ["n", 4])
    assert_array_equal(model.layers[0].codes, C["q"])
    assert_array_equal(model.layers[0].scale, [1, 1, 1])
    assert_array_equal(model.layers[0].weights, C["q"])


@pytest.mark.parametrize(("attributes", "bits", "zero", "expected"), [
    ({"signed": 1, "narrow": 0}, 4.0, 0, (-8, 7, Rounding.HALF_EVEN)),
    ({"narrow": 1}, 4, 0, (-7, 7, Rounding.HALF_EVEN)),
    ({"signed": 0}, 4, 3, (-3, 12, Rounding.HALF_EVEN)), ({"signed": 0, "narrow": 1}, 2, 0, (0, 2, Rounding.HALF_EVEN)),
    ({"rounding_mode": "floor"}, 8, 0, (-128, 127, Rounding.FLOOR)), ({}, 1, 0, (-1, 1, Rounding.SIGN)),
    ({"rounding_mode": "HALF_EVEN"}, 2, 0, (-2, 1, Rounding.HALF_EVEN)),
    ({"rounding_mode": "HALF_UP"}, 2, 0, (-2, 1, Rounding.HALF_UP)),
])
@pytest.mark.parametrize("op", ["Quant", "IntQuant"])
def test_quant(op, attributes, bits, zero, expected):
    constants = C | {"bits": F(bits), "zp": F(zero)}
    model = lower([*QGEMM, node(op, "g s zp bits", "y", **attributes, **QUANT)], constants, ["n", 4])
    (step,) = model.layers[0].quantisers
    assert (step.low, step.high, step.rounding, step.scale, step.zero) == (*expected, 0.5, zero)


def test_bipolar():
    model = lower([*QGEMM, node("BipolarQuant", "g s", "y", **QUANT)], C, ["n", 4])
    assert_array_equal(model.run(np.array([[0, 0, 0, 0], [0, 1, 0, 0]]))[-1], [[0.5, 0.5, 0.5], [0.5, 0.5, -0.5]])


@pytest.mark.parametrize(("mode", "function"), [("FLOOR", np.floor), ("CEIL", np.ceil), ("floor", np.floor)])
@pytest.mark.parametrize("version", [1, 2])
def test_trunc(mode, function, version):
    """Equal to the definition, rounding ties of the first rounding included."""
    identity = {"one8": np.eye(4, dtype=np.int8), "fs": F(0.25), "x8": F(2.0**-10), "b6": F(6)}
    inputs = "g fs z b6 b4" if version == 1 else "g fs z b6 one z b4"   # one = 0.25 * 2**2
    nodes = [node("Quant", "x x8 z b16", "xd", **QUANT), node("DequantizeLinear", "one8 one", "wd"),
             node("Gemm", "xd wd", "g"), node("Trunc", inputs, "y", rounding_mode=mode, **QUANT)]
    model = lower(nodes, C | identity | {"b16": F(16)}, ["n", 4])
    u = np.arange(-32, 32, 0.125)                       # 6 bits, and ties of the first rounding
    x = (0.25 * u).reshape(-1, 4)
    codes = function(np.rint(u) / 4)   # version 1 does not clamp
    expected = 0.25 * codes if version == 1 else np.clip(codes, -8, 7)
    assert_array_equal(model.run(x)[-1].reshape(-1), expected)


def test_trunc_range():
    """Version 1 has the codes that can occur, whatever the bit widths say; the least and the greatest do occur."""
    unsigned = node("Quant", "x one z b4", "xd", signed=0, **QUANT)
    layer = [unsigned, node("DequantizeLinear", "q one", "wd"), node("Gemm", "xd wd b", "g", transB=1)]
    b = {"b6": F(6), "b12": F(12), "b8": F(8)}
    for bits in ("b12 b8", "b6 b2"):
        (step,) = lower([*layer, node("Trunc", f"g one z {bits}", "y", **QUANT)], C | b, ["n", 4]).layers[0].quantisers
        # sums: 1 - 30 to 1 + 60, 2 to 2 + 135, 3 - 105 to 3 + 90
        assert (step.low, step.high) == (-102 // 16, 137 // 16)
    pads = node("Conv", "xd kd", "g", pads=[1, 1, 1, 1])
    for signed, name, low, high in ((0, "g", 0, 15), (1, "g", -8, 7), (1, "r", 0, 7)):
        nodes = [node("Quant", "x one z b4", "xd", signed=signed, **QUANT), node("DequantizeLinear", "kq one", "kd"),
                 pads, node("Relu", "g", "r"), node("Trunc", f"{name} one z b6 b4", "y", **QUANT)]
        nodes = nodes if name == "r" else [*nodes[:3], nodes[4]]
        (step,) = lower(nodes, C | b | {"kq": ONES((1, 1, 2, 2), np.int8)}, ["n", 1, 2, 2]).layers[0].quantisers
        assert (step.low, step.high) == (low, high)   # four codes, of which two bits go
    average = [unsigned, node("GlobalAveragePool", "xd", "a"), node("Mul", "a four1", "m"),
               node("Trunc", "m one z b6 b4", "y", **QUANT)]
    model = lower(average, C | b | {"four1": F(4)}, ["n", 1, 2, 2])
    (step,) = model.layers[0].quantisers
    assert (step.low, step.high) == (0, 15)
    assert_array_equal(model.run(np.array([[15, 15, 15, 15], [15, 15, 15, 1]]))[-1], [[15], [11]])
    for before, bits, message in (
        (layer[1:2] + [node("Gemm", "x wd b", "g", transB=1)], "b6 b4",
         "must have a quantised value before it, since version 1 does not say which codes there are; the nearest "
         "supported form is version 2 (seven inputs)"),
        ([node("Quant", "x one z b16", "xd", **QUANT), *layer[1:]], "b4 b4",
         "can have codes of -425974 to 425981, since version 1 does not clamp; the nearest supported form is version 2 "
         "(seven inputs), which does"),
    ):
        with pytest.raises(ModelError, match=re.escape(f"node 'y_n' (Trunc) {message}")):
            lower([*before, node("Trunc", f"g one z {bits}", "y", **QUANT)], C | b | {"b16": F(16)}, ["n", 4])


def test_bipolar_behind_pad():
    """The Pad's zeros would be ones."""
    before = [node("Quant", "x one z b4", "xd", **QUANT), node("Pad", "xd p8", "p")]
    behind = [node("Quant", "k one z b4", "kd", **QUANT), node("Conv", "h kd", "c")]
    message = "must not be bipolar behind a Pad, whose zeros it makes 1; the nearest supported form has the Pad behind"
    for op, inputs in (("Quant", "p one z b1"), ("IntQuant", "p one z b1"), ("BipolarQuant", "p one")):
        with pytest.raises(ModelError, match=re.escape(f"node 'h_n' ({op}) {message}")):
            lower([*before, node(op, inputs, "h", **QUANT), *behind], C, ["n", 2, 4, 4])
    assert lower([*before, node("Quant", "p one z b2", "h", **QUANT), *behind], C, ["n", 2, 4, 4]).layers


def test_divisions():
    """An average of 98 elements, and a division by 98, are sums that are divided: ties stay ties."""
    sums = np.arange(-784, 784)
    x = np.repeat(sums[:, np.newaxis] // 98, 98, axis=1) + (np.arange(98) < sums[:, np.newaxis] % 98)
    wanted = [min(max(round(Fraction(int(total), 98)), -8), 7) for total in sums]
    last = node("Quant", "a one z b4", "y", **QUANT)
    first = node("Quant", "x one z b5", "xd", **QUANT)
    for op, attributes in (("AveragePool", {"kernel_shape": [7, 14]}), ("GlobalAveragePool", {}),
                           ("ReduceMean", {"axes": [2, 3]})):
        model = lower([first, node(op, "xd", "a", **attributes), last], C | {"b5": F(5)}, ["n", 1, 7, 14])
        assert_array_equal(model.run(x)[-1][:, 0], wanted)
    nodes = [node("Quant", "x one z b16", "xd", **QUANT), node("DequantizeLinear", "i one", "wd"),
             node("MatMul", "xd wd", "g"), node("Div", "g n", "a"), last]
    for sign in (1, -1):
        constants = C | {"b16": F(16), "i": np.array([[sign]], np.int8), "n": F(98 * sign)}
        assert_array_equal(lower(nodes, constants, ["n", 1]).run(sums[:, np.newaxis])[-1][:, 0], wanted)


def test_codes_domain():
    """Between QuantizeLinear and DequantizeLinear elements may be pooled and take another shape."""
    nodes = [node("QuantizeLinear", "x s u7", "xq"), node("Flatten", "xq", "xf"), node("Reshape", "xf image", "xi"),
             node("DequantizeLinear", "xi s u7", "xd"), node("DequantizeLinear", "kq s", "kd"),
             node("Conv", "xd kd", "c", pads=[1, 1, 1, 1]), node("QuantizeLinear", "c s2 u0", "cq"),
             node("MaxPool", "cq", "m", kernel_shape=[2, 2]), node("Transpose", "m", "t", perm=[0, 1, 2, 3]),
             node("DequantizeLinear", "t s2 u0")]
    model = lower(nodes, C | {"kq": np.arange(-6, 6, dtype=np.int8).reshape(3, 1, 2, 2)}, ["n", 4])
    assert [type(step).__name__ for step in model.layers[0].steps] == ["Quantiser", "MaxPool"]
    assert (model.input_quantiser.low, model.input_quantiser.high, model.input_quantiser.zero) == (-7, 248, 0)


def test_integer_input():
    """A model whose input holds integers: what they are worth is gain and offset."""
    nodes = [node("DequantizeLinear", "x s u128", "xd"), W, node("Gemm", "xd wd", transB=1)]
    model = lower(nodes, C, ["n", 4], element=TensorProto.UINT8)
    assert (model.input_gain, model.input_offset) == (0.5, -64)
    assert (model.input_quantiser.low, model.input_quantiser.high) == (-128, 127)
    assert_array_equal(model.run(np.array([[129, 128, 128, 0]]))[-1],
                       0.25 * np.array([[1, 0, 0, -128]]) @ C["q"].T)


def test_input_affine():
    """One scale and offset for all elements are the input's; others fold into the first layer."""
    model = lower([node("Mul", "x two", "y"), node("Sub", "y one", "z"), node("Gemm", "z wt", "g")], C, ["n", 4])
    assert (model.input_gain, model.input_offset) == (2, -1)
    assert_array_equal(model.layers[0].weights, C["w"])
    mixed = C | {"scales": np.array([1, 2, 3, 4], F)}
    model = lower([node("Mul", "x scales", "y"), node("Sub", "y one", "z"), node("Gemm", "z wt", "g")], mixed, ["n", 4])
    assert (model.input_gain, model.input_offset) == (1, 0)
    assert_array_equal(model.layers[0].weights, C["w"] * mixed["scales"])
    assert_array_equal(model.layers[0].bias, -C["w"].sum(axis=1))
    model = lower([node("Mul", "x minus", "y"), node("Gemm", "y wt", "g")], C, ["n", 4])
    assert_array_equal(model.layers[0].weights, -C["w"])
    norm = [node("Mul", "x scale2", "y"), node("Add", "y shift2", "z"), node("Conv", "z k", "c", pads=[0, 0, 1, 0])]
    two = C | {"scale2": np.array([[[2]], [[3]]], F), "shift2": np.array([[[0]], [[1]]], F)}
    with pytest.raises(ModelError, match=r"^node 'z_n' \(Add\) must not add anything before 'c_n', whose padding is "
                                         r"zero behind it; the nearest supported form has no pads there, or a Conv "
                                         r"without it$"):
        lower(norm, two, ["n", 2, 4, 4])
    model = lower([norm[0], node("Conv", "y k", "c", pads=[0, 0, 1, 0])], two, ["n", 2, 4, 4])
    assert_array_equal(model.layers[0].weights, np.tile([2, 2, 2, 2, 3, 3, 3, 3], (3, 1)))
    with pytest.raises(ModelError, match=r"^node 'y_n' \(Add\) must have one number a channel before 'c_n', not one "
                                         r"that varies over the pixels$"):
        lower([node("Add", "x pixels", "y"), node("Conv", "y k", "c")], C, ["n", 2, 6, 6])


def test_dense_weights():
    """Weights of whatever place in the file become rows of kernels, their codes and scales along."""
    scales = {"sk": np.array([0.5, 0.25, 1], F), "zk": np.zeros(3, np.int8)}
    qt = np.ascontiguousarray(C["q"].T)
    model = lower([*INPUT, node("DequantizeLinear", "qt sk zk", "wd", axis=1), node("MatMul", "xd wd", "m"),
                   node("Add", "m b", "a"), node("QuantizeLinear", "a s i0")], C | scales | {"qt": qt}, ["n", 4])
    assert_array_equal(model.layers[0].codes, C["q"])
    assert_array_equal(model.layers[0].scale, scales["sk"])
    assert_array_equal(model.layers[0].bias, C["b"])
    assert [type(step).__name__ for step in model.layers[0].steps] == ["Quantiser"]
    group = np.arange(1, 13, dtype=np.int8).reshape(4, 1, 1, 3)
    model = lower([*INPUT, node("DequantizeLinear", "group sg", "wd", axis=0), node("Conv", "xd wd", group=2)],
                  C | {"group": group, "sg": np.array([1, 2, 4, 8], F)}, ["n", 2, 1, 4])
    assert_array_equal(model.layers[0].codes, [[1, 2, 3, 0, 0, 0], [4, 5, 6, 0, 0, 0], [0, 0, 0, 7, 8, 9],
                                               [0, 0, 0, 10, 11, 12]])
    assert_array_equal(model.layers[0].scale, [1, 2, 4, 8])


def test_many_constants_from_shapes():
    """What is computed from the shape of a value is bounded in all, node by node as it is made."""
    rows = np.array([2048, 2048])
    nodes = [node("Shape", "x", "n"), node("Gather", "n first", "one")]
    nodes += [item for number in range(5) for item in (
        node("Expand", "one rows", f"e{number}"), node("Add", f"e{number} one", f"a{number}"))]
    with pytest.raises(ModelError, match=r"^node 'a1_n' \(Add\) is one of many constants to compute, at most 16777216 "
                                         r"elements together; the nearest supported form has them as initializers$"):
        lower([*nodes, node("Gemm", "x wt", "g")], C | {"first": np.array([1]), "rows": rows}, ["n", 4])
