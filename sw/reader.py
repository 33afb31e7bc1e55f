"""ONNX intake: from a file that nobody vouches for to a model of floating point records.

The file is read once and checked from the outside in (size, protobuf, operators, tensors, input and output); what
depends on constants is computed; k-WTA becomes one node; the rest is the business of ``sw.intake.lower``. Whatever is
wrong becomes a ``ModelError`` of one line that names the file and, where there is one, the node.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from ..hw.errors import ModelError
from .intake.constants import fold_constants
from .intake.graph import Graph, Node, Tensor, check_graph, drop_unused, trouble
from .intake.lower import to_float_model
from .intake.supported import FORMS, MICROSOFT, NEAREST, OPERATORS, QONNX, STANDARD
from .intake.tensors import FOUR_BITS, TensorReader
from .intake.winners import recognise_winners
from .model import FloatModel

__all__ = ["MAX_FILE_BYTES", "MAX_LENGTH", "MAX_NODES", "MINIMUM_OPSET", "read_graph", "read_model"]

MAX_FILE_BYTES = 512 * 2**20   # weights become float64: twice that in memory, for a model far above any target device
MAX_NODES = 10_000
MAX_VALUES = 100_000           # names of inputs and outputs of all nodes, and of initializers
MAX_LENGTH = 65_536            # elements of one input
MAX_LIST = 4_096               # numbers or characters of one attribute that is no tensor, Constant's apart
MAX_NUMBERS = 2**22            # numbers and characters of all attributes that are no tensors
MINIMUM_OPSET = 9              # what the public QONNX files have; k-WTA needs opset 11, where ScatterElements begins

_NAME_LENGTH = 80
_MESSAGE_LENGTH = 1_200
_INPUT_TYPES: dict[int, type] = {
    TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64,
    TensorProto.BFLOAT16: np.float32, TensorProto.UINT8: np.uint8, TensorProto.INT8: np.int8,
    TensorProto.UINT16: np.uint16, TensorProto.INT16: np.int16,
}
_KINDS = {AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT, AttributeProto.FLOATS, AttributeProto.STRING,
          AttributeProto.TENSOR}
# What the ONNX checker does not look at: attributes of operators that are not in its list.
_CUSTOM_KINDS = {"rounding_mode": AttributeProto.STRING}


def read_model(path: str | Path) -> FloatModel:
    """Read a feed-forward network: floating point, QDQ or QONNX, opset 9 or later.

    The operators and attributes that are read stand in ``sw.intake.supported``.

    Parameters
    ----------
    path : str or Path
        An ``.onnx`` file; external data are read from its own folder only.

    Raises
    ------
    ModelError
        If the file cannot be read, is no ONNX model, or holds something that is not supported. One line that begins
        with the file's name.
    """
    path = Path(path)
    try:
        data = _read_bytes(path)
        graph = read_graph(data, name=path.stem, folder=path.parent)
        graph = check_graph(fold_constants(graph))
        graph = check_graph(recognise_winners(graph))
        graph = check_graph(drop_unused(graph))
        if not graph.nodes:
            raise ModelError(f"output {graph.output!r} does not depend on the input, so there is nothing to build")
        return to_float_model(graph, sha256=hashlib.sha256(data).hexdigest())
    except ModelError as error:
        # Names of the file are in the text: whatever they hold, it is one line that a terminal shows as it is.
        raise ModelError(_shortened(_printable(f"{path.name}: {error}"))) from error.__cause__


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _shortened(text: str) -> str:
    """Leave out the middle of a text that is too long: node and reason stand at its ends."""
    half = _MESSAGE_LENGTH // 2
    return text if len(text) <= _MESSAGE_LENGTH else f"{text[:half]} ... {text[-half:]}"


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


def read_graph(data: bytes, *, name: str, folder: Path | None = None) -> Graph:
    """Parse and check the bytes of an ONNX file.

    Parameters
    ----------
    data : bytes
    name : str
        What to call the model.
    folder : Path or None
        Where its external data stand; None refuses external data.

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
    if not graph.node:
        raise ModelError("has no nodes, so there is nothing to build")
    _check_amounts(graph)
    _check_text(model)
    labels = _labels(graph)
    _check_operators(model, labels)
    opset = _opset(model)
    if graph.sparse_initializer:
        raise ModelError("has sparse initializers, which are not supported; save the weights dense")
    reader = TensorReader(folder=folder, room=MAX_FILE_BYTES - len(data))
    constants = _initializers(graph, reader)
    four_bits = {tensor.name for tensor in graph.initializer if tensor.data_type in FOUR_BITS}
    nodes = []
    for label, item in zip(labels, graph.node, strict=True):
        attributes = {attribute.name: _attribute(label, item, attribute, reader) for attribute in item.attribute}
        node = Node(name=label, op=item.op_type, inputs=tuple(item.input), outputs=tuple(item.output),
                    attributes=attributes)
        _check_attributes(node, item)
        if node.op == "Constant":
            if any(attribute.t.data_type in FOUR_BITS for attribute in item.attribute):
                four_bits.update(node.outputs)
            if constants.keys() & set(node.outputs):
                raise trouble(node, f"makes the value {node.outputs[0]!r} a second time")
            constants |= dict.fromkeys(node.outputs, Tensor(values=_constant(node)))
        else:
            _check_four_bits(node, four_bits)
            nodes.append(_in_its_opset(node, opset))
    input_name, input_dtype, batch, shape = _input(graph)
    output, length = _output(graph)
    result = check_graph(Graph(
        name=name, opset=opset, batch=batch, input_shape=shape, input=input_name, output=output,
        output_length=length, nodes=tuple(nodes), constants=constants, input_dtype=input_dtype))
    _check_onnx(model)
    return result


def _check_amounts(graph: GraphProto) -> None:
    if len(graph.node) > MAX_NODES:
        raise ModelError(f"has {len(graph.node)} nodes; at most {MAX_NODES} are read")
    values = sum(len(node.input) + len(node.output) + len(node.attribute) for node in graph.node)
    values += len(graph.initializer) + len(graph.input) + len(graph.output)
    if values > MAX_VALUES:
        raise ModelError(f"has {values} values; at most {MAX_VALUES} are read")
    numbers = sum(len(item.ints) + len(item.floats) + len(item.strings) + len(item.s)
                  for node in graph.node for item in node.attribute)
    if numbers > MAX_NUMBERS:
        raise ModelError(f"has {numbers} numbers in attributes; at most {MAX_NUMBERS} are read")


def _check_text(model: ModelProto) -> None:
    """Refuse names that are no text: protobuf hands out bytes where a damaged file is not UTF-8."""
    graph = model.graph
    names: list[object] = [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    names += (name for function in model.functions for name in (function.name, function.domain))
    names += (entry.domain for entry in model.opset_import)
    for tensor in _tensors(graph):
        names += (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for node in graph.node:
        names += (node.name, node.domain, node.op_type, *node.input, *node.output)
        names += (attribute.name for attribute in node.attribute)
    if not all(isinstance(name, str) for name in names):
        raise ModelError("is damaged: a name in it is not text")


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _labels(graph: GraphProto) -> list[str]:
    """Give every node a name that nobody else has: its own, else that of its first output, numbered where repeated."""
    labels: list[str] = []
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for node in graph.node:
        name = (node.name or (node.output[0] if node.output else "") or node.op_type)[:_NAME_LENGTH]
        stem = label = _printable(name)
        while label in taken:
            counts[stem] = counts.get(stem, 1) + 1
            label = f"{stem}_{counts[stem]}"
        taken.add(label)
        labels.append(label)
    return labels


def _check_operators(model: ModelProto, labels: list[str]) -> None:
    """Name the first operator that is not supported, before anything stricter hides it behind its own message."""
    functions = {(function.domain, function.name) for function in model.functions}
    for label, node in zip(labels, model.graph.node, strict=True):
        op = _printable(".".join(filter(None, (node.domain, node.op_type)))[:_NAME_LENGTH])
        if (node.domain, node.op_type) in functions:
            raise ModelError(f"node {label!r} ({op}) calls a function of the model, which is not supported; the "
                             "nearest supported form is the model with its functions inlined (onnx.inliner)")
        record = OPERATORS.get(node.op_type)
        if record is None or node.domain not in record.domains:
            raise ModelError(f"node {label!r} ({op}) is not supported; the nearest supported form is "
                             f"{NEAREST.get(node.op_type, FORMS)}")


def _opset(model: ModelProto) -> int:
    opset = max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=0)
    newest = onnx.defs.onnx_opset_version()
    if not MINIMUM_OPSET <= opset <= newest:
        raise ModelError(f"has opset {opset}; export it with opset {MINIMUM_OPSET} to {newest}")
    return opset


def _initializers(graph: GraphProto, reader: TensorReader) -> dict[str, Tensor]:
    constants: dict[str, Tensor] = {}
    for tensor in graph.initializer:
        if tensor.name in constants:
            raise ModelError(f"value {tensor.name!r} is made twice")
        constants[tensor.name] = Tensor(values=reader.read(tensor))
    return constants


def _attribute(label: str, node: NodeProto, attribute: AttributeProto, reader: TensorReader) -> object:
    name = f"node {label!r} ({node.op_type}) has the attribute {attribute.name[:_NAME_LENGTH]!r}"
    if attribute.ref_attr_name:
        raise ModelError(f"{name}, which is damaged: it refers to a function")
    if attribute.name not in OPERATORS[node.op_type].attributes:
        raise ModelError(f"{name}, which is not supported; the nearest supported form is without it")
    if attribute.type == AttributeProto.TENSOR:
        return reader.read(attribute.t, called=f"{attribute.name} of node {label!r}")
    if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
        raise ModelError(f"{name}, a graph, which is not supported; the nearest supported form is a model without "
                         "control flow, traced for inference")
    try:
        value = helper.get_attribute_value(attribute)
    except ValueError as error:
        raise ModelError(f"{name}, which is damaged") from error
    if attribute.type not in _KINDS:
        return None   # strings or sparse numbers, refused where somebody wants a number
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str | list) or not isinstance(value, int | float):
        value = value if isinstance(value, str) else list(value)
        if len(value) > MAX_LIST and node.op_type != "Constant":
            raise ModelError(f"{name}, which holds {len(value)} elements; at most {MAX_LIST} are read")
    return value


def _check_attributes(node: Node, item: NodeProto) -> None:
    """Check numbers of inputs and, for operators outside the ONNX standard, all that its checker would."""
    fewest, most = OPERATORS[node.op].inputs
    if not fewest <= len(node.inputs) <= most or not all(node.inputs[:fewest]):
        amount = f"{fewest} to {most} inputs" if fewest < most else f"{most} input{'s' * (most > 1)}"
        raise trouble(node, f"must have {amount}")
    if not node.outputs or not node.outputs[0]:
        raise trouble(node, "must have an output")
    names = [attribute.name for attribute in item.attribute]
    if len(set(names)) != len(names):
        raise trouble(node, "has an attribute twice")
    if item.domain not in STANDARD:
        if len(node.outputs) != 1:
            raise trouble(node, f"must have one output, not {len(node.outputs)}")
        for attribute in item.attribute:
            if attribute.type != _CUSTOM_KINDS.get(attribute.name, AttributeProto.INT):
                raise trouble(node, f"must have an attribute {attribute.name!r} of another type")


def _check_four_bits(node: Node, names: set[str]) -> None:
    """Arrays have no type of 4 bits: only DequantizeLinear, which gives them their meaning, may see one as bytes."""
    wrong = [name for name in node.inputs if name in names]
    if wrong and node.op != "DequantizeLinear":
        raise trouble(node, f"takes the 4-bit tensor {wrong[0]!r}; the nearest supported form has them at "
                            "DequantizeLinear only")


def _in_its_opset(node: Node, opset: int) -> Node:
    """Write down what an attribute that was left out means in the opset of the file."""
    if node.op == "TopK" and opset < 10:
        raise trouble(node, "must have K as an input; export the model with opset 11 or later")
    if node.op in ("Softmax", "LogSoftmax"):
        return replace(node, attributes={"axis": 1 if opset < 13 else -1} | dict(node.attributes))
    return node


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


def _input(graph: GraphProto) -> tuple[str, np.dtype, int | None, tuple[int, ...]]:
    """Name, type, batch and shape of the one input that is not an initializer."""
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    if len(inputs) != 1:
        raise ModelError(f"must have one input, not {len(inputs)}")
    (value,) = inputs
    sizes = _sizes(value)
    dtype = _INPUT_TYPES.get(value.type.tensor_type.elem_type)
    if dtype is None:
        raise ModelError(f"input {value.name!r} must be a tensor of floating point numbers, or of integers of 8 or 16 "
                         "bits")
    if sizes is None or len(sizes) < 2:
        raise ModelError(f"input {value.name!r} must have a batch and at least one size, not {sizes!r}")
    batch, *rest = sizes
    shape = tuple(size for size in rest if size is not None)
    if len(shape) != len(rest) or min(shape) < 1 or (batch is not None and batch < 0):
        raise ModelError(f"input {value.name!r} must have fixed sizes after the batch, not {rest!r}")
    if math.prod(shape) > MAX_LENGTH:
        raise ModelError(f"input {value.name!r} must have at most {MAX_LENGTH} elements, not {math.prod(shape)}")
    return value.name, np.dtype(dtype), batch or None, shape


def _output(graph: GraphProto) -> tuple[str, int | None]:
    """Name of the one output and, where it is declared, its number of elements without the batch."""
    if len(graph.output) != 1:
        raise ModelError(f"must have one output, not {len(graph.output)}")
    sizes = _sizes(graph.output[0])
    rest = [size for size in (sizes or [])[1:] if size is not None]
    return graph.output[0].name, math.prod(rest) if sizes and rest and len(rest) == len(sizes) - 1 else None


def _check_onnx(model: ModelProto) -> None:
    """Let the ONNX checker look at the nodes: numbers of inputs and outputs, kinds of attributes, forms by opset.

    It refuses operators it does not know and reads external data from the working folder. Both have been looked at
    here, so it sees Identity in place of the former and empty tensors in place of all weights. Changes the model.
    """
    for node in model.graph.node:
        if node.domain in (*QONNX, MICROSOFT):
            node.domain, node.op_type = "", "Identity"
            del node.input[1:], node.attribute[:]
    for tensor in _tensors(model.graph):
        tensor.CopyFrom(TensorProto(name=tensor.name, data_type=TensorProto.FLOAT, dims=[0]))
    for value in model.graph.output:
        value.type.tensor_type.shape.SetInParent()   # many exporters leave it out, and nothing here needs it
    del model.functions[:], model.graph.value_info[:]
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        # The checker's text has many lines; the first says what is wrong.
        raise ModelError(f"is not valid ONNX: {str(error).strip().splitlines()[0][:200]}") from error
