"""Small ONNX graphs for tests of intake, without a file in between, and what ONNX Runtime makes of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from dovetail.sw.intake.constants import fold_constants
from dovetail.sw.intake.graph import Graph, Node, Tensor, check_graph
from dovetail.sw.intake.lower import to_float_model
from dovetail.sw.model import FloatModel

__all__ = ["lower", "make_graph", "make_model", "node", "onnx_runtime"]

QONNX = "qonnx.custom_op.general"


def node(op: str, inputs: str, output: str | None = None, *, domain: str = "", **attributes: object) -> NodeProto:
    """Make a node; ``inputs`` are names with spaces between them (``-`` for one left out).

    Without ``output`` its output is the operator in lower case; the node's name is that of its first output, and _n.
    """
    outputs = (output or op.lower()).split()
    return helper.make_node(op, ["" if name == "-" else name for name in inputs.split()], outputs,
                            name=f"{outputs[0]}_n", domain=domain, **attributes)


def make_model(
    nodes: Sequence[NodeProto], constants: Mapping[str, np.ndarray], input_shape: Sequence[int | str], *,
    opset: int = 17, element: int = TensorProto.FLOAT,
) -> ModelProto:
    """Make a model of nodes from the value ``x`` to the first output of the last node; constants not used are left
    out."""
    used = {name for item in nodes for name in item.input} - {name for item in nodes for name in item.output}
    graph = helper.make_graph(
        list(nodes), "test", [helper.make_tensor_value_info("x", element, list(input_shape))],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in used])
    return helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in {item.domain for item in nodes}
                                          if domain)])


def _attribute(attribute: object) -> object:
    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def make_graph(model: ModelProto, *, output_length: int | None = None) -> Graph:
    """Make the graph of a model that needs no checks, constants folded."""
    (value,) = model.graph.input
    batch, *shape = [size.dim_value or None for size in value.type.tensor_type.shape.dim]
    return check_graph(fold_constants(Graph(
        name="test", opset=model.opset_import[0].version, batch=batch, input_shape=tuple(shape), input=value.name,
        output=model.graph.output[0].name, output_length=output_length,
        nodes=tuple(Node(name=item.name, op=item.op_type, inputs=tuple(item.input), outputs=tuple(item.output),
                         attributes={each.name: _attribute(each) for each in item.attribute})
                    for item in model.graph.node),
        constants={tensor.name: Tensor(values=numpy_helper.to_array(tensor)) for tensor in model.graph.initializer})))


def lower(
    nodes: Sequence[NodeProto], constants: Mapping[str, np.ndarray], input_shape: Sequence[int | str],
    **arguments: int,
) -> FloatModel:
    """Make the float model of nodes."""
    return to_float_model(make_graph(make_model(nodes, constants, input_shape, **arguments)), sha256="")


def onnx_runtime(model: ModelProto, x: np.ndarray) -> np.ndarray:
    """Compute the output of a model as (n, elements), nothing optimised."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {model.graph.input[0].name: x})
    return output.reshape(len(x), -1)
