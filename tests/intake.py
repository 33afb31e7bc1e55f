"""Small ONNX files in memory, for tests of what reads them."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from dovetail.sw.intake.constants import fold_constants
from dovetail.sw.intake.graph import Graph
from dovetail.sw.intake.winners import recognise_winners
from dovetail.sw.reader import read_graph

__all__ = ["make_model", "passes", "reference"]


def make_model(
    nodes: Sequence[NodeProto], constants: Mapping[str, np.ndarray | TensorProto] | None = None, *,
    input_shape: Sequence[int | str] = ("n", 4), input_type: int = TensorProto.FLOAT, opset: int = 17,
    output_shape: Sequence[int | str] | None = None, output_type: int = TensorProto.FLOAT,
) -> ModelProto:
    """Make a model of nodes from the value ``x`` to the first output of the last one, with the constants they take."""
    used = {name for node in nodes for name in node.input}
    tensors = [value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
               for name, value in (constants or {}).items() if name in used]
    graph = helper.make_graph(
        list(nodes), "test", [helper.make_tensor_value_info("x", input_type, list(input_shape))],
        [helper.make_tensor_value_info(nodes[-1].output[0] if nodes else "x", output_type, output_shape)], tensors)
    domains = dict.fromkeys(node.domain for node in nodes if node.domain)
    return helper.make_model(graph, ir_version=8 if opset < 19 else 10, opset_imports=[
        helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)])


def passes(model: ModelProto) -> Graph:
    """All that is done to a file before it is lowered."""
    return recognise_winners(fold_constants(read_graph(model.SerializeToString(), name="m")))


def reference(model: ModelProto, x: np.ndarray) -> np.ndarray:
    """What ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]
