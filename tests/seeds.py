"""Small valid files of every kind, to be mutated."""

from collections.abc import Sequence

import numpy as np
from models import node
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["SEEDS", "make_seed"]

_F, _QONNX = np.float32, "qonnx.custom_op.general"
_Parts = tuple[list[NodeProto], dict[str, np.ndarray], list[int]]


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.where(rng.random(shape) < 0.6, rng.standard_normal(shape), 0).astype(_F)


def _mlp(rng: np.random.Generator) -> _Parts:
    """Float perceptron with k-WTA and batch normalisation."""
    constants = {
        "w": _weights(rng, 8, 6), "b": _weights(rng, 8), "k": np.array([3]), "zero": np.zeros(1, _F),
        "gamma": np.ones(8, _F), "beta": _weights(rng, 8), "mean": _weights(rng, 8), "var": np.full(8, 0.5, _F),
        "v": _weights(rng, 8, 4)}
    nodes = [
        node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "b"], ["g"], transB=1),
        node("BatchNormalization", ["g", "gamma", "beta", "mean", "var"], ["n"]), node("Relu", ["n"], ["r"]),
        node("TopK", ["r", "k"], ["tv", "ti"], axis=1), node("Mul", ["r", "zero"], ["z"]),
        node("ScatterElements", ["z", "ti", "tv"], ["s"], axis=1), node("MatMul", ["s", "v"], ["y"]),
        node("Softmax", ["y"], ["p"])]
    return nodes, constants, [2, 3]


def _cnn(rng: np.random.Generator) -> _Parts:
    """Float network with convolutions, pools, and a shape that is computed."""
    constants = {
        "w": _weights(rng, 4, 2, 3, 3), "b": _weights(rng, 4), "w2": _weights(rng, 4, 2, 1, 3),
        "v": _weights(rng, 4, 3), "half": _F(0.5), "six": _F(6), "nothing": _F(0), "first": np.array([0]),
        "rest": np.array([-1])}
    nodes = [
        node("Mul", ["x", "half"], ["h"]), node("Conv", ["h", "w", "b"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Clip", ["c", "nothing", "six"], ["r"]),
        node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("Conv", ["m", "w2"], ["d"], group=2, auto_pad="SAME_UPPER"), node("Relu", ["d"], ["e"]),
        node("GlobalAveragePool", ["e"], ["a"]), node("Shape", ["a"], ["n"]), node("Gather", ["n", "first"], ["n0"]),
        node("Concat", ["n0", "rest"], ["n1"], axis=0), node("Reshape", ["a", "n1"], ["f"]),
        node("Gemm", ["f", "v"], ["y"]), node("ArgMax", ["y"], ["p"], axis=1)]
    return nodes, constants, [2, 5, 5]


def _pair(value: str, name: str, scale: str, zero: str, **attributes: object) -> list[NodeProto]:
    return [node("QuantizeLinear", [value, scale, zero], [f"{name}q"], **attributes),
            node("DequantizeLinear", [f"{name}q", scale, zero], [name], **attributes)]


def _integers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-127, 128, shape).astype(np.int8)


def _qdq_mlp(rng: np.random.Generator) -> _Parts:
    """Perceptron in QDQ format, with zero points and scales by kernel."""
    constants = {
        "sx": _F(0.02), "zx": np.int8(3), "w": _integers(rng, 8, 6), "sw": rng.uniform(0.01, 0.02, 8).astype(_F),
        "zw": np.zeros(8, np.int8), "b": rng.integers(-500, 500, 8).astype(np.int32), "sb": _F(2.0**-12),
        "sr": _F(0.125), "zr": np.uint8(0), "v": _integers(rng, 8, 4), "sv": _F(0.01), "zv": np.int8(0)}
    nodes = [
        *_pair("x", "xd", "sx", "zx"), node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], axis=0),
        node("DequantizeLinear", ["b", "sb"], ["bd"]), node("Gemm", ["xd", "wd", "bd"], ["g"], transB=1),
        node("Relu", ["g"], ["r"]), *_pair("r", "rd", "sr", "zr"), node("DequantizeLinear", ["v", "sv", "zv"], ["vd"]),
        node("MatMul", ["rd", "vd"], ["m"]), *_pair("m", "y", "sr", "zv")]
    return nodes, constants, [6]


def _qdq_cnn(rng: np.random.Generator) -> _Parts:
    """Convolution, MaxPool on codes and Gemm in QDQ format; an Add on the way."""
    constants = {
        "sx": _F(0.03), "zx": np.uint8(128), "w": _integers(rng, 3, 2, 2, 2), "sw": _F(0.02), "zw": np.int8(0),
        "b": _weights(rng, 3, 1, 1), "sr": _F(0.0625), "zr": np.uint8(7), "v": _weights(rng, 3, 12),
        "flat": np.array([0, 12])}
    nodes = [
        *_pair("x", "xd", "sx", "zx"), node("DequantizeLinear", ["w", "sw", "zw"], ["wd"]),
        node("Conv", ["xd", "wd"], ["c"], strides=[1, 1]), node("Add", ["c", "b"], ["a"]), node("Relu", ["a"], ["r"]),
        node("QuantizeLinear", ["r", "sr", "zr"], ["rq"]),
        node("MaxPool", ["rq"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        node("DequantizeLinear", ["m", "sr", "zr"], ["md"]), node("Reshape", ["md", "flat"], ["f"]),
        *_pair("v", "vd", "sw", "zw"), node("Gemm", ["f", "vd"], ["y"], transB=1, alpha=0.5)]
    return nodes, constants, [2, 5, 5]


def _qonnx(rng: np.random.Generator) -> _Parts:
    """Quant, BipolarQuant and Trunc of QONNX."""
    constants = {
        "sx": _F(0.125), "nought": _F(0), "b8": _F(8), "w": _weights(rng, 6, 8), "sw": _F(0.25), "b3": _F(3),
        "gamma": np.ones(8, _F), "beta": _weights(rng, 8), "mean": _weights(rng, 8), "var": np.full(8, 0.5, _F),
        "sr": _F(0.5), "b2": _F(2), "u": _weights(rng, 8, 5), "one": _F(1), "b4": _F(4), "v": _weights(rng, 5, 3)}

    def quant(value: str, name: str, scale: str, bits: str, **attributes: object) -> NodeProto:
        return node("Quant", [value, scale, "nought", bits], [name], domain=_QONNX,
                    **{"signed": 1, "narrow": 0, "rounding_mode": "ROUND"} | attributes)

    nodes = [
        quant("x", "xq", "sx", "b8"), quant("w", "wq", "sw", "b3", narrow=1), node("MatMul", ["xq", "wq"], ["g"]),
        node("BatchNormalization", ["g", "gamma", "beta", "mean", "var"], ["n"]), node("Relu", ["n"], ["r"]),
        quant("r", "rq", "sr", "b2", signed=0), node("BipolarQuant", ["u", "one"], ["uq"], domain=_QONNX),
        node("MatMul", ["rq", "uq"], ["h"]), quant("h", "hq", "sr", "b8"),
        node("Trunc", ["hq", "sr", "nought", "b8", "b4"], ["t"], domain=_QONNX), quant("v", "vq", "sw", "b3"),
        node("MatMul", ["t", "vq"], ["y"])]
    return nodes, constants, [6]


SEEDS = (_mlp, _cnn, _qdq_mlp, _qdq_cnn, _qonnx)


def make_seed(number: int) -> ModelProto:
    """Make one of the files, always the same."""
    nodes, constants, shape = SEEDS[number](np.random.default_rng(number))
    kind = TensorProto.INT64 if nodes[-1].op_type == "ArgMax" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "seed", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(nodes[-1].output[0], kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    return helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in _domains(nodes))])


def _domains(nodes: Sequence[NodeProto]) -> list[str]:
    return sorted({item.domain for item in nodes if item.domain})
