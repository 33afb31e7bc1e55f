"""Small ONNX files and integer evaluation for tests."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from dovetail.sw.network import Network, Stage, Thresholds

__all__ = ["evaluate", "make_mlp", "node", "requantised", "save_model"]


def node(op: str, inputs: Sequence[str], outputs: Sequence[str] | None = None, **attributes: object) -> NodeProto:
    """Make a node; without ``outputs`` its name is that of its one output, the operator in lower case."""
    outputs = [op.lower()] if outputs is None else outputs
    return helper.make_node(op, list(inputs), list(outputs), name=f"{outputs[0]}_node", **attributes)


def save_model(
    path: Path, nodes: Sequence[NodeProto], constants: Mapping[str, np.ndarray], *, input_shape: Sequence[int | str],
    output_shape: Sequence[int | str] = ("n", "m"), opset: int = 17,
) -> Path:
    """Write nodes from the value ``x`` to the first output of the last node; shapes include the batch."""
    graph = helper.make_graph(
        list(nodes), "test", [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(input_shape))],
        [helper.make_tensor_value_info(nodes[-1].output[0] if nodes else "x", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def make_mlp(
    path: Path, *, sizes: Sequence[int], winners: Sequence[int | None] | int | None, seed: int,
    densities: Sequence[float] | None = None, masks: Sequence[np.ndarray] | None = None, batch_norm: bool = True,
    input_shape: Sequence[int] | None = None,
) -> Path:
    """Write a random perceptron: Flatten, then Gemm, BatchNormalization, Relu and k-WTA a hidden layer, then Gemm.

    Parameters
    ----------
    path : Path
    sizes : sequence of int
        Length of the input, of every hidden layer and of the output.
    winners : int or None, or a sequence of them
        K of all hidden layers, or of each; None is ReLU alone.
    seed : int
    densities : sequence of float
        Share of weights a layer; 1 by default.
    masks : sequence of bool (M, L)
        Instead of densities.
    batch_norm : bool
    input_shape : sequence of int
        Without the batch; flat by default.
    """
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    if masks is None:
        densities = densities or [1.0] * len(shapes)
        masks = [rng.random(shape) < density for shape, density in zip(shapes, densities, strict=True)]
    if not isinstance(winners, Sequence):
        winners = [winners] * (len(shapes) - 1)
    nodes, constants, value = [node("Flatten", ["x"], ["flat"])], {}, "flat"
    for i, ((kernels, positions), mask) in enumerate(zip(shapes, masks, strict=True)):
        weights = rng.standard_normal((kernels, positions)) / np.sqrt(max(1, mask.sum(axis=1).mean()))
        constants[f"w{i}"] = np.where(mask, weights, 0).astype(np.float32)
        constants[f"b{i}"] = rng.normal(0, 0.1, kernels).astype(np.float32)
        nodes.append(node("Gemm", [value, f"w{i}", f"b{i}"], [f"fc{i}"], transB=1))
        value = f"fc{i}"
        if i == len(shapes) - 1:
            break
        if batch_norm:
            for name, numbers in (("gamma", rng.uniform(0.5, 1.5, kernels)), ("beta", rng.normal(0, 0.1, kernels)),
                                  ("mean", rng.normal(0, 0.1, kernels)), ("variance", rng.uniform(0.5, 1.5, kernels))):
                constants[f"{name}{i}"] = numbers.astype(np.float32)
            parameters = [f"{name}{i}" for name in ("gamma", "beta", "mean", "variance")]
            nodes.append(node("BatchNormalization", [value, *parameters], [f"bn{i}"]))
            value = f"bn{i}"
        nodes.append(node("Relu", [value], [f"relu{i}"]))
        value = f"relu{i}"
        if winners[i] is not None:
            constants |= {f"k{i}": np.array([winners[i]]), f"zero{i}": np.zeros(1, np.float32)}
            nodes += [
                node("TopK", [value, f"k{i}"], [f"values{i}", f"indices{i}"], axis=1),
                node("Mul", [value, f"zero{i}"], [f"zeros{i}"]),
                node("ScatterElements", [f"zeros{i}", f"indices{i}", f"values{i}"], [f"kwta{i}"], axis=1),
            ]
            value = f"kwta{i}"
    save_model(path, nodes, constants, input_shape=["n", *(input_shape or sizes[:1])], output_shape=["n", sizes[-1]])
    onnx.checker.check_model(path, full_check=True)
    return path


def evaluate(network: Network, codes: np.ndarray) -> list[np.ndarray]:
    """Compute every layer's output from input codes in Python's own way, one vector and one integer at a time.

    Slow on purpose: it shares no line with the golden model. Networks without convolutions only.
    """
    outputs = []
    for layer in network.layers:
        rows = []
        for vector in codes.tolist():
            values = [sum(weight * code for weight, code in zip(kernel, vector, strict=True)) + bias
                      for kernel, bias in zip(layer.weights.tolist(), layer.bias.tolist(), strict=True)]
            for stage in layer.stages:
                values = [requantised(stage, kernel, value) for kernel, value in enumerate(values)]
            if layer.winners is not None:
                ranked = sorted((-code, index) for index, code in enumerate(values))
                chosen = {index for _, index in ranked[:layer.winners]}
                values = [code if index in chosen else 0 for index, code in enumerate(values)]
            rows.append(values)
        codes = np.array(rows, dtype=np.int64)
        outputs.append(codes)
    return outputs


def requantised(stage: Stage, kernel: int, value: int) -> int:
    """One kernel's code of one integer, by fractions where the definition shifts."""
    if isinstance(stage, Thresholds):
        reached = [threshold for threshold in stage.values[kernel].tolist() if not value < threshold]
        return stage.low + stage.step * len(reached)
    factor = 1 if stage.multiplier is None else int(stage.multiplier[kernel])
    offset = int(stage.offset[kernel]) if isinstance(stage.offset, np.ndarray) else stage.offset
    exact = Fraction(value * factor + offset, 2**stage.shift)
    code = math.floor(exact)
    if stage.ties_to_even and exact.denominator == 1 and code % 2:
        code -= 1
    return min(max(code, stage.low), stage.high)
