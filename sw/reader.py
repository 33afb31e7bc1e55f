"""ONNX intake: from a file that nobody vouches for to a float model.

The file is read once, checked from the outside in (size, protobuf, operators, tensors, input and output), and handed to
the passes of ``sw.fold``. Whatever is wrong becomes a ``ModelError`` of one line that names the file and, where there
is one, the node.
"""

import hashlib
import math
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from ..hw.errors import ModelError
from .fold import to_float_model
from .graph import Graph, Node, check_graph, trouble
from .network import FloatModel

__all__ = ["MAX_FILE_BYTES", "MAX_LENGTH", "MAX_NODES", "SUPPORTED", "read_graph", "read_model"]

MAX_FILE_BYTES = 512 * 2**20   # weights become float64: twice that in memory, for a model far above any target device
MAX_NODES = 10_000
MAX_LENGTH = 65_536            # positions or kernels of a layer
MINIMUM_OPSET = 11             # TopK takes the form that k-WTA needs in opset 11

_NAME_LENGTH = 80

SUPPORTED = frozenset({
    "Add", "BatchNormalization", "Constant", "ConstantOfShape", "Div", "Dropout", "Expand", "Flatten", "Gemm",
    "Identity", "LogSoftmax", "MatMul", "Mul", "Relu", "Reshape", "ScatterElements", "Shape", "Softmax", "Sub", "TopK",
    "Transpose",
})
_PERCEPTRON = "a perceptron of Gemm (or MatMul and Add), BatchNormalization, Relu and k-WTA (TopK, ScatterElements)"
_FLATTEN = "Flatten with axis 1"
_RELU = "Relu"
_FLOAT = "the float model before quantisation, which Dovetail quantises itself"
_HEAD = "to end the model at the scores and leave the rest to the host"
NEAREST = {
    **dict.fromkeys(("Concat", "Gather", "Slice", "Squeeze", "Unsqueeze"), _FLATTEN),
    **dict.fromkeys(("Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu",
                     "Softplus", "Tanh", "ThresholdedRelu"), _RELU),
    **dict.fromkeys(("BipolarQuant", "DequantizeLinear", "MatMulInteger", "MultiThreshold", "QGemm", "QLinearMatMul",
                     "Quant", "QuantizeLinear"), _FLOAT),
    **dict.fromkeys(("ArgMax", "Sigmoid"), _HEAD),
}
"""What to use instead of an operator that is not supported."""


def read_model(path: str | Path) -> FloatModel:
    """Read a float multilayer perceptron.

    Supported, opset 11 or later: Gemm, MatMul, Add and the other arithmetic with constants, BatchNormalization, Relu,
    k-WTA as TopK (largest) whose values ScatterElements puts onto zeros, and what changes nothing (Flatten, Reshape,
    Identity, Dropout, a Softmax at the end).

    Parameters
    ----------
    path : str or Path
        An ``.onnx`` file; weights inside, since external data is not supported.

    Raises
    ------
    ModelError
        If the file cannot be read, is no ONNX model, or holds something that is not supported. One line that begins
        with the file's name.
    """
    path = Path(path)
    try:
        data = _read_bytes(path)
        return to_float_model(read_graph(data, name=path.stem), sha256=hashlib.sha256(data).hexdigest())
    except ModelError as error:
        # Names of the file are in the text: whatever they hold, it is one line that a terminal shows as it is.
        line = "".join(character if character.isprintable() else "?" for character in f"{path.name}: {error}")
        raise ModelError(line) from error.__cause__


def _read_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ModelError("is not a file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(f"has {size} bytes; at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}") from error


def read_graph(data: bytes, *, name: str) -> Graph:
    """Parse and check the bytes of an ONNX file.

    Parameters
    ----------
    data : bytes
    name : str
        What to call the model.

    Raises
    ------
    ModelError
    """
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError("is not an ONNX model, or is truncated") from error
    if not model.ir_version or not model.HasField("graph"):
        raise ModelError("is not an ONNX model, or is truncated")
    graph = model.graph
    _check_text(graph)
    _check_operators(graph)
    opset = _opset(model)
    _check_storage(graph)
    constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
    nodes = []
    for label, node in zip(_labels(graph), graph.node, strict=True):
        attributes = {attribute.name: _attribute(label, attribute) for attribute in node.attribute}
        record = Node(name=label, op=node.op_type, inputs=tuple(node.input), outputs=tuple(node.output),
                      attributes=attributes)
        if record.op == "Constant":
            constants |= dict.fromkeys(record.outputs, _constant(record))
        else:
            nodes.append(record)
    input_name, batch, shape = _input(graph)
    output, length = _output(graph)
    result = check_graph(Graph(
        name=name, opset=opset, batch=batch, input_shape=shape, input=input_name, output=output,
        output_length=length, nodes=tuple(nodes), constants=constants))
    try:
        onnx.checker.check_model(model)   # numbers of inputs and outputs, kinds of attributes: passes rely on them
    except onnx.checker.ValidationError as error:
        # The checker's text has many lines; the first says what is wrong.
        raise ModelError(f"is not valid ONNX: {str(error).strip().splitlines()[0][:200]}") from error
    return result


def _check_text(graph: GraphProto) -> None:
    """Refuse names that are no text: protobuf hands out bytes where a damaged file is not UTF-8."""
    names: list[object] = [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    for node in graph.node:
        names += (node.name, node.domain, node.op_type, *node.input, *node.output)
        names += (attribute.name for attribute in node.attribute)
    if not all(isinstance(name, str) for name in names):
        raise ModelError("is damaged: a name in it is not text")


def _labels(graph: GraphProto) -> list[str]:
    """Give every node a name that nobody else has: its own, else that of its first output, numbered where repeated."""
    labels: list[str] = []
    taken: set[str] = set()
    for node in graph.node:
        name = (node.name or (node.output[0] if node.output else "") or node.op_type)[:_NAME_LENGTH]
        stem = label = "".join(character if character.isprintable() else "?" for character in name)
        count = 1
        while label in taken:
            count += 1
            label = f"{stem}_{count}"
        taken.add(label)
        labels.append(label)
    return labels


def _check_operators(graph: GraphProto) -> None:
    """Name the first operator that is not supported, before anything stricter hides it behind its own message."""
    if len(graph.node) > MAX_NODES:
        raise ModelError(f"has {len(graph.node)} nodes; at most {MAX_NODES} are read")
    wrong = [(label, node) for label, node in zip(_labels(graph), graph.node, strict=True)
             if node.domain not in ("", "ai.onnx") or node.op_type not in SUPPORTED]
    if wrong:
        # A quantised model says so first, whatever else it also holds.
        label, node = min(wrong, key=lambda pair: NEAREST.get(pair[1].op_type) != _FLOAT)
        op = ".".join(filter(None, (node.domain, node.op_type)))[:_NAME_LENGTH]
        raise ModelError(f"node {label!r} ({op}) is not supported; the nearest supported form is "
                         f"{NEAREST.get(node.op_type, _PERCEPTRON)}")


def _opset(model: ModelProto) -> int:
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    newest = onnx.defs.onnx_opset_version()
    if not MINIMUM_OPSET <= opset <= newest:
        raise ModelError(f"has opset {opset}; export it with opset {MINIMUM_OPSET} to {newest}")
    return opset


def _check_storage(graph: GraphProto) -> None:
    held = (attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t"))
    tensors = [*graph.initializer, *held]
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
        raise ModelError("has external data, which is not supported; save the model with its weights inside")
    if graph.sparse_initializer:
        raise ModelError("has sparse initializers, which are not supported; save the weights dense")


def _array(tensor: TensorProto) -> np.ndarray:
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ModelError(f"tensor {tensor.name!r} is damaged: its data do not fit its type and shape") from error


def _attribute(label: str, attribute: AttributeProto) -> object:
    if attribute.type == AttributeProto.TENSOR:
        return _array(attribute.t)
    try:
        value = helper.get_attribute_value(attribute)
    except ValueError as error:
        raise ModelError(f"node {label!r} has a damaged attribute {attribute.name!r}") from error
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _constant(node: Node) -> np.ndarray:
    for name, dtype in (("value", None), ("value_float", np.float32), ("value_floats", np.float32),
                        ("value_int", np.int64), ("value_ints", np.int64)):
        if name in node.attributes:
            return np.asarray(node.attributes[name], dtype=dtype)
    raise trouble(node, "must hold a tensor or numbers")


def _sizes(value: onnx.ValueInfoProto) -> list[int | None] | None:
    """Sizes that a value declares, None for a free one; None where it declares no shape."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]


def _input(graph: GraphProto) -> tuple[str, int | None, tuple[int, ...]]:
    """Name, batch and shape of the one input that is not an initializer."""
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    if len(inputs) != 1:
        raise ModelError(f"must have one input, not {len(inputs)}")
    (value,) = inputs
    sizes = _sizes(value)
    if value.type.tensor_type.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        raise ModelError(f"input {value.name!r} must be a tensor of floating point numbers")
    if sizes is None or len(sizes) < 2:
        raise ModelError(f"input {value.name!r} must have a batch and at least one size, not {sizes!r}")
    batch, *rest = sizes
    shape = tuple(size for size in rest if size is not None)
    if len(shape) != len(rest) or min(shape) < 1:
        raise ModelError(f"input {value.name!r} must have fixed sizes after the batch, not {rest!r}")
    if math.prod(shape) > MAX_LENGTH:
        raise ModelError(f"input {value.name!r} must have at most {MAX_LENGTH} elements, not {math.prod(shape)}")
    return value.name, batch, shape


def _output(graph: GraphProto) -> tuple[str, int | None]:
    """Name of the one output and, where it is declared, its number of elements without the batch."""
    if len(graph.output) != 1:
        raise ModelError(f"must have one output, not {len(graph.output)}")
    sizes = _sizes(graph.output[0])
    rest = [size for size in (sizes or [])[1:] if size is not None]
    return graph.output[0].name, math.prod(rest) if sizes and rest and len(rest) == len(sizes) - 1 else None
