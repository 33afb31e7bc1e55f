"""Mutations of valid model files, by bytes and by edits of the graph, and a worker that reads what comes out.

``python tests/mutations.py FIRST LAST`` reads the cases FIRST .. LAST - 1, each a seed of a random generator, within
bounds of time and memory, and prints a line before and after each. A case that breaks is met again with its number.
"""

import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from seeds import SEEDS, make_seed

from dovetail.hw.errors import DovetailError
from dovetail.sw.compile import integer_network
from dovetail.sw.data import Samples
from dovetail.sw.inspect import inspect_model
from dovetail.sw.intake.supported import NEAREST, OPERATORS
from dovetail.sw.reader import read_model

__all__ = ["CPU_SECONDS", "LONGEST", "MEMORY", "mutate", "outcome"]

CPU_SECONDS = 5
MEMORY = 2 * 2**30    # growth of the address space
LONGEST = 2_000       # characters of an error

_INTEGERS = (0, 1, -1, 2, -2, 3, 4, 5, 7, 8, 9, 16, 17, 100, 127, 128, 255, 256, 4096, 65_535, 65_536, 65_537, 2**20,
             2**27, 2**31 - 1, 2**31, -2**31, 2**32, 2**53, 2**62, 2**63 - 1, -2**63)
_REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1 / 3, 1e-5, 255.0, 65_536.0, 1e10, -1e10, np.nan, np.inf, -np.inf, 1e-45,
          -1e-45, 1e-40, 1e-38, 1e38, 3.4e38, -3.4e38, 2.0**-126, 2.0**-64, 2.0**64, 2.0**31)
_NAMES = ("", "x", "y", "w", "\n", "\x1b[31mred\x1b[0m\x07", "a\0b", "'; rm", "{0!r}%s", "\u202e\u2028", "n" * 100_000,
          "\N{SNOWMAN}" * 300, " " * 3_000, "_n\r\n" * 1_000)
_PLACES = ("../x", "/etc/passwd", "w.bin", "out", "round", "sub", "", "w.bin\0", "nowhere", "a" * 5_000, "..\\x",
           "./sub/../../x", "C:\\w.bin", "/dev/zero")
_STRINGS = ("", "SAME_UPPER", "SAME_LOWER", "VALID", "FLOOR", "CEIL", "ROUND", "HALF_UP", "UP", "reflect", "x" * 9_000)
_TYPES = (*range(18), 21, 22, 23, 99, -1)

Rng = np.random.Generator
Edit = Callable[[Rng, ModelProto], None]


def _pick(rng: Rng, items):
    return items[int(rng.integers(len(items)))]


def _integer(rng: Rng) -> int:
    return int(rng.integers(0, 6)) if rng.random() < 0.5 else _pick(rng, _INTEGERS)


def _real(rng: Rng) -> float:
    return float(rng.normal()) if rng.random() < 0.3 else _pick(rng, _REALS)


def _node(rng: Rng, model: ModelProto) -> NodeProto:
    return _pick(rng, model.graph.node)


def _tensor(rng: Rng, model: ModelProto) -> TensorProto:
    return _pick(rng, model.graph.initializer)


def _array(tensor: TensorProto) -> np.ndarray | None:
    """A copy of its elements, where they are numbers of the file itself, and not damaged already."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return None
    try:
        array = numpy_helper.to_array(tensor).copy()
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    return array if array.dtype.kind in "fiub" else None


def _values(model: ModelProto) -> list[str]:
    graph = model.graph
    return ["x", "", *(tensor.name for tensor in graph.initializer),
            *(name for item in graph.node for name in item.output)]


# Nodes

def _drop_node(rng: Rng, model: ModelProto) -> None:
    del model.graph.node[int(rng.integers(len(model.graph.node)))]


def _bypass_node(rng: Rng, model: ModelProto) -> None:
    """Leave a node out, and let what follows take its input."""
    place = int(rng.integers(len(model.graph.node)))
    item = model.graph.node[place]
    if item.input and item.output:
        for other in model.graph.node:
            other.input[:] = [item.input[0] if name == item.output[0] else name for name in other.input]
        for value in model.graph.output:
            value.name = item.input[0] if value.name == item.output[0] else value.name
    del model.graph.node[place]


def _repeat_node(rng: Rng, model: ModelProto) -> None:
    """Once more, with outputs of its own (or the same), behind itself and perhaps in between."""
    place = int(rng.integers(len(model.graph.node)))
    item = NodeProto()
    item.CopyFrom(model.graph.node[place])
    if item.input and item.output and rng.random() < 0.8:
        output = model.graph.node[place].output[0]
        item.input[0], item.output[0] = output, f"{output}_again"
        for other in list(model.graph.node)[place + 1:]:
            other.input[:] = [item.output[0] if name == output else name for name in other.input]
    model.graph.node.insert(place + 1, item)


def _insert_node(rng: Rng, model: ModelProto) -> None:
    """Put an operator on the way from one node to the next."""
    place = int(rng.integers(len(model.graph.node)))
    before = model.graph.node[place]
    if not before.output:
        return
    op = _pick(rng, sorted(OPERATORS))
    row, name = OPERATORS[op], before.output[0]
    inputs = [name, *(_pick(rng, _values(model)) for _ in range(min(row.inputs[0], 5) - 1))]
    item = helper.make_node(op, inputs, [f"{name}_then"], domain=row.domains[-1] if len(row.domains) == 3 else "")
    for attribute in row.attributes:
        if rng.random() < 0.4:
            item.attribute.append(_attribute(rng, attribute))
    for other in list(model.graph.node)[place + 1:]:
        other.input[:] = [item.output[0] if each == name else each for each in other.input]
    model.graph.node.insert(place + 1, item)


def _insert_sound(rng: Rng, model: ModelProto) -> None:
    """Put something on the way that could be in a real file, but for its numbers."""
    place = int(rng.integers(len(model.graph.node)))
    before, number = model.graph.node[place], len(model.graph.node)
    if not before.output:
        return

    def constant(array) -> str:
        name = f"made{len(model.graph.initializer)}"
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def real() -> np.float32:
        return np.float32(_pick(rng, (1, 2, 0.5, 0.125, 0.3, -1, 100, _real(rng))))

    def windows() -> dict[str, list[int]]:
        axes, sizes = int(_pick(rng, (1, 2, 2))), (0, 1, 1, 2, 3, 5, 70_000)
        return {"kernel_shape": [_pick(rng, sizes[1:]) for _ in range(axes)],
                "strides": [_pick(rng, sizes[1:]) for _ in range(axes)],
                "pads": [_pick(rng, sizes) for _ in range(2 * axes)]}

    name, out = before.output[0], f"more{number}"
    with np.errstate(all="ignore"):
        match rng.integers(9):
            case 0:
                made = [helper.make_node(_pick(rng, ("Relu", "Identity", "Dropout", "Flatten", "GlobalAveragePool",
                                                     "Softmax", "Sigmoid", "ArgMax")), [name], [out])]
            case 1 | 2:
                made = [helper.make_node(_pick(rng, ("Add", "Sub", "Mul", "Div")), [name, constant(real())], [out])]
            case 3:
                made = [helper.make_node("Clip", [name, constant(real()), constant(real())], [out])]
            case 4 | 5:
                grid = [constant(real()), constant(_pick(rng, (np.int8, np.uint8, np.uint16))(rng.integers(0, 9)))]
                made = [helper.make_node("QuantizeLinear", [name, *grid], [f"{out}q"]),
                        helper.make_node("DequantizeLinear", [f"{out}q", *grid], [out])]
            case 6:
                made = [helper.make_node("Quant", [name, constant(real()), constant(np.float32(rng.integers(-1, 2))),
                                                   constant(np.float32(rng.integers(0, 18)))], [out],
                                         domain="qonnx.custom_op.general", signed=int(rng.integers(2)),
                                         narrow=int(rng.integers(2)), rounding_mode=_pick(rng, _STRINGS[4:9]))]
                model.opset_import.append(helper.make_opsetid("qonnx.custom_op.general", 1))
            case 7:
                made = [helper.make_node(_pick(rng, ("MaxPool", "AveragePool")), [name], [out], **windows())]
            case _:
                k = constant(np.array([_pick(rng, (1, 2, 3, _integer(rng)))]))
                made = [helper.make_node("TopK", [name, k], [f"{out}v", f"{out}i"], axis=1),
                        helper.make_node("Sub", [name, name], [f"{out}z"]),
                        helper.make_node("ScatterElements", [f"{out}z", f"{out}i", f"{out}v"], [out], axis=1)]
    for other in list(model.graph.node)[place + 1:]:
        other.input[:] = [out if each == name else each for each in other.input]
    for value in model.graph.output:
        value.name = out if value.name == name else value.name
    for item in reversed(made):
        model.graph.node.insert(place + 1, item)


def _reorder_nodes(rng: Rng, model: ModelProto) -> None:
    nodes = [NodeProto.FromString(item.SerializeToString()) for item in model.graph.node]
    one, other = rng.integers(len(nodes), size=2)
    nodes[one], nodes[other] = nodes[other], nodes[one]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _rewire(rng: Rng, model: ModelProto) -> None:
    item = _node(rng, model)
    if item.input:
        item.input[int(rng.integers(len(item.input)))] = _pick(rng, [*_values(model), *item.output, "nowhere"])


def _more_or_fewer(rng: Rng, model: ModelProto) -> None:
    item = _node(rng, model)
    names = _pick(rng, (item.input, item.output))
    if names and rng.random() < 0.5:
        del names[int(rng.integers(len(names)))]
    else:
        names.append(_pick(rng, _values(model)))


def _operator(rng: Rng, model: ModelProto) -> None:
    item = _node(rng, model)
    item.op_type = _pick(rng, [*sorted(OPERATORS), *sorted(OPERATORS), *sorted(NEAREST), *_NAMES])
    if rng.random() < 0.3:
        item.domain = _pick(rng, ("", "ai.onnx", "com.microsoft", "onnx.brevitas", "my.own", *_NAMES))


def _attribute(rng: Rng, name: str) -> AttributeProto:
    kind = rng.integers(8)
    if kind == 0:
        return helper.make_attribute(name, _real(rng))
    if kind == 1:
        return helper.make_attribute(name, _pick(rng, _STRINGS))
    if kind == 2:
        return helper.make_attribute(name, numpy_helper.from_array(np.array([_real(rng)], np.float32)))
    if kind == 3:
        return helper.make_attribute(name, helper.make_graph([], "g", [], []))
    if kind < 6:
        return helper.make_attribute(name, _integer(rng))
    count = _pick(rng, (1, 2, 2, 3, 4, 4, 8, 5_000)) if rng.random() < 0.9 else 0
    return helper.make_attribute(name, [_integer(rng) for _ in range(count)], attr_type=AttributeProto.INTS)


def _add_attribute(rng: Rng, model: ModelProto) -> None:
    item = _node(rng, model)
    row = OPERATORS.get(item.op_type)
    names = list(row.attributes) if row is not None and rng.random() < 0.9 else []
    name = _pick(rng, names or ["axis", "epsilon", "perm", "pads", "k", *_NAMES])
    if rng.random() < 0.9:
        kept = [each for each in item.attribute if each.name != name]
        del item.attribute[:]
        item.attribute.extend(kept)
    item.attribute.append(_attribute(rng, name))


def _change_attribute(rng: Rng, model: ModelProto) -> None:
    """Another number of the same kind."""
    item = _pick(rng, [each for each in model.graph.node if each.attribute] or model.graph.node)
    if not item.attribute:
        return
    attribute = _pick(rng, item.attribute)
    if attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = _integer(rng)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = _real(rng)
    elif attribute.type == AttributeProto.STRING:
        attribute.s = _pick(rng, _STRINGS).encode() + (b"\xff" if rng.random() < 0.2 else b"")
    else:
        attribute.i = _integer(rng)


def _damage_attribute(rng: Rng, model: ModelProto) -> None:
    item = _node(rng, model)
    if item.attribute:
        place = int(rng.integers(len(item.attribute)))
        match rng.integers(3):
            case 0:
                item.attribute[place].type = int(rng.integers(15))
            case 1:
                item.attribute[place].ref_attr_name = "other"
            case _:
                del item.attribute[place]


# Tensors

def _elements(rng: Rng, model: ModelProto) -> None:
    """Unusual numbers in a tensor, in one place or everywhere."""
    tensor = _tensor(rng, model)
    array = _array(tensor)
    if array is None or array.dtype.kind == "b" or not array.size:
        return
    real = array.dtype.kind == "f"
    bounds = None if real else np.iinfo(array.dtype)
    places = slice(None) if rng.random() < 0.3 else rng.integers(array.size, size=int(rng.integers(1, 4)))
    with np.errstate(all="ignore"):
        if real and rng.random() < 0.4:
            array.reshape(-1)[places] *= array.dtype.type(2.0 ** float(rng.integers(-150, 128)))
        else:
            array.reshape(-1)[places] = _real(rng) if bounds is None else np.clip(_integer(rng), bounds.min, bounds.max)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _type(rng: Rng, model: ModelProto) -> None:
    """Another type, with or without the data that fit it."""
    tensor = _tensor(rng, model)
    if rng.random() < 0.3:
        tensor.data_type = _pick(rng, _TYPES)
        return
    dtype = _pick(rng, (np.float64, np.float16, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.bool_))
    array = _array(tensor)
    if array is not None:
        with np.errstate(all="ignore"):
            array = np.nan_to_num(array.astype(np.float64)).astype(dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _dimensions(rng: Rng, model: ModelProto) -> None:
    """A shape that the data do not have."""
    dims = _tensor(rng, model).dims
    match rng.integers(4):
        case 0 if dims:
            dims[int(rng.integers(len(dims)))] = _integer(rng)
        case 1 if dims:
            del dims[int(rng.integers(len(dims)))]
        case 2 if len(dims) > 1:
            dims[:] = list(reversed(dims))
        case _:
            dims.extend([_pick(rng, (1, 1, 0, 2, 2**62))] * int(rng.integers(1, 10)))


def _resize(rng: Rng, model: ModelProto) -> None:
    """A tensor of another shape, whole."""
    tensor = _tensor(rng, model)
    array = _array(tensor)
    if array is None:
        return
    shape = [*array.shape]
    if shape and rng.random() < 0.7:
        shape[int(rng.integers(len(shape)))] = int(_pick(rng, (0, 1, 2, 3, 5, 7, 16, 300, 5_000)))
    else:
        shape = [int(size) for size in rng.integers(0, 5, size=int(rng.integers(0, 6)))]
    if np.prod(shape) < 100_000:
        tensor.CopyFrom(numpy_helper.from_array(np.resize(array, shape) if array.size else np.zeros(shape, array.dtype),
                                                tensor.name))


def _data(rng: Rng, model: ModelProto) -> None:
    """Bytes that are too many, too few, or at the wrong place."""
    tensor = _tensor(rng, model)
    match rng.integers(4):
        case 0:
            tensor.raw_data = tensor.raw_data[:int(rng.integers(len(tensor.raw_data) + 1))]
        case 1:
            tensor.raw_data = tensor.raw_data + bytes(int(rng.integers(1, 20)))
        case 2:
            tensor.raw_data = rng.bytes(len(tensor.raw_data))
        case _:
            tensor.ClearField("raw_data")
            tensor.float_data.extend([_real(rng)] * int(rng.integers(0, 60)))


def _external(rng: Rng, model: ModelProto) -> None:
    tensor = _tensor(rng, model)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=_pick(rng, _PLACES))
    for key in ("offset", "length"):
        if rng.random() < 0.3:
            tensor.external_data.add(key=key, value=str(_integer(rng)))
    if rng.random() < 0.7:
        tensor.ClearField("raw_data")


def _constants(rng: Rng, model: ModelProto) -> None:
    """An initializer less, once more, or as a node."""
    place = int(rng.integers(len(model.graph.initializer)))
    tensor = TensorProto()
    tensor.CopyFrom(model.graph.initializer[place])
    match rng.integers(4):
        case 0:
            del model.graph.initializer[place]
        case 1:
            model.graph.initializer.append(tensor)
        case 2:
            del model.graph.initializer[place]
            model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        case _:   # a tensor that is made, as large as it likes
            del model.graph.initializer[place]
            sizes = [_integer(rng) for _ in range(int(rng.integers(1, 4)))]
            model.graph.initializer.append(numpy_helper.from_array(np.array(sizes), "sizes"))
            model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["sizes"], [tensor.name]))


def _sparse(rng: Rng, model: ModelProto) -> None:
    tensor = TensorProto()
    tensor.CopyFrom(_tensor(rng, model))
    indices = numpy_helper.from_array(np.arange(3), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [_integer(rng)]))


# The model

def _opset(rng: Rng, model: ModelProto) -> None:
    match rng.integers(3):
        case 0:
            model.opset_import[0].version = int(rng.integers(5, 30))
        case 1:
            model.opset_import[0].version = _integer(rng)
        case _:
            model.ir_version = _integer(rng)


def _rename(rng: Rng, model: ModelProto) -> None:
    """Another name, at one place or wherever it stands."""
    item, name = _node(rng, model), _pick(rng, _NAMES)
    match rng.integers(4):
        case 0:
            item.name = name
        case 1:
            _tensor(rng, model).name = name
        case 2 if item.output:
            item.output[0] = name
        case _:
            old = _pick(rng, _values(model))
            for each in model.graph.node:
                each.input[:] = [name if value == old else value for value in each.input]
                each.output[:] = [name if value == old else value for value in each.output]
            for value in (*model.graph.initializer, *model.graph.input, *model.graph.output):
                value.name = name if value.name == old else value.name


def _ends(rng: Rng, model: ModelProto) -> None:
    """Input or output: more, fewer, of another shape or type."""
    values = model.graph.input if rng.random() < 0.5 else model.graph.output
    if not values:
        return
    value = _pick(rng, values)
    shape = value.type.tensor_type.shape
    match rng.integers(7):
        case 0:
            del values[:]
        case 1:
            values.append(value)
        case 2:
            value.name = _pick(rng, [*_values(model), *_NAMES])
        case 3:
            value.type.tensor_type.elem_type = _pick(rng, [kind for kind in _TYPES if kind >= 0])
        case 4:
            shape.dim.add(dim_value=_integer(rng))
        case 5 if shape.dim:
            _pick(rng, shape.dim).dim_value = _integer(rng)
        case _:
            del shape.dim[:]
            for _ in range(int(rng.integers(0, 5))):
                shape.dim.add(dim_value=int(rng.integers(1, 9)))


def _function(rng: Rng, model: ModelProto) -> None:
    item = _node(rng, model)
    domain = _pick(rng, (item.domain, "my.own"))
    model.functions.append(helper.make_function(domain, item.op_type, ["a"], ["b"], [
        helper.make_node(item.op_type, ["a"], ["b"], domain=domain)], [helper.make_opsetid("", 17)]))
    if rng.random() < 0.5:
        item.domain = domain


def _subgraph(rng: Rng, model: ModelProto) -> None:
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["inner"])], "g", [], [])
    for _ in range(int(rng.integers(0, 25))):
        graph = helper.make_graph([helper.make_node("If", ["x"], ["inner"], then_branch=graph)], "g", [], [])
    item = _node(rng, model)
    item.attribute.append(helper.make_attribute("then_branch", graph))
    if rng.random() < 0.5:
        item.op_type = "If"


_EDITS: tuple[Edit, ...] = (   # what leaves a file that can be read more often, since it gets further
    _drop_node, *[_bypass_node] * 3, _repeat_node, *[_insert_node] * 3, _reorder_nodes, *[_rewire] * 2, _more_or_fewer,
    _operator, *[_add_attribute] * 2, *[_change_attribute] * 4, _damage_attribute, *[_elements] * 6, _type, _dimensions,
    *[_resize] * 2, _data, _external, _constants, _sparse, _opset, _rename, _ends, _function, _subgraph)
_GENTLE: tuple[Edit, ...] = (*[_insert_sound] * 3, *[_elements] * 2, _change_attribute, _bypass_node)


# Bytes

def _bytes(rng: Rng, data: bytes) -> bytes:
    """One change of the file's bytes."""
    one, other = sorted(int(place) for place in rng.integers(len(data) + 1, size=2))
    short = data[one:one + int(rng.integers(1, 30))]
    match rng.integers(10):
        case 0 | 1:
            changed = bytearray(data)
            for place in rng.integers(len(data), size=int(rng.integers(1, 8))):
                changed[place] ^= 1 << int(rng.integers(8))
            return bytes(changed)
        case 2:
            changed = bytearray(data)
            for place in rng.integers(len(data), size=int(rng.integers(1, 4))):
                changed[place] = _pick(rng, (0, 1, 0x7F, 0x80, 0xFF, 0xC3))
            return bytes(changed)
        case 3:
            return data[:one] + data[one + len(short):]
        case 4:
            return data[:one] + rng.bytes(len(short)) + data[one:]
        case 5:
            return data[:one] + short * int(rng.integers(2, 40)) + data[one:]
        case 6:
            return data[:one]
        case 7:
            return data[:one] + data[other:other + len(short)] + data[one + len(short):other] + short + data[other:]
        case 8:   # a name that is no text
            place = data.find(_pick(rng, (b"Gemm", b"_node", b"axis", b"MatMul", b"scale", b"seed", b"transB")))
            return data if place < 0 else data[:place] + b"\xff\xfe" + data[place + 2:]
        case _:
            donor = make_seed(int(rng.integers(len(SEEDS)))).SerializeToString(deterministic=True)
            return data[:one] + donor[int(rng.integers(len(donor))):]


def mutate(case: int) -> tuple[str, bytes]:
    """Make the file of a case.

    Parameters
    ----------
    case : int
        Seed of all that is random in it.

    Returns
    -------
    text : str
        What was done to which file.
    data : bytes
    """
    rng = np.random.default_rng(case)
    number = int(rng.integers(len(SEEDS)))
    model, done = make_seed(number), [SEEDS[number].__name__]
    kind = rng.random()
    if kind < 0.2:
        data = model.SerializeToString(deterministic=True)
        for _ in range(int(rng.integers(1, 4))):
            data = _bytes(rng, data) or b"\0"
        return f"{done[0]}: bytes", data
    for _ in range(_pick(rng, (1, 1, 1, 2, 2, 3, 5))):
        edit = _pick(rng, _EDITS if kind < 0.6 else _GENTLE)
        if model.graph.node and model.graph.initializer:
            try:
                edit(rng, model)
            except ValueError:   # what the library lets nobody write
                continue
            done.append(edit.__name__)
    return ": ".join((done[0], ", ".join(done[1:]))), model.SerializeToString(deterministic=True)


# The worker

def outcome(path: Path) -> str:
    """Read, make integers, inspect; "built", or the error if it is a clean one. Any other exception passes."""
    try:
        model = read_model(path)
        x = np.random.default_rng(0).standard_normal((3, *model.input_shape)).reshape(3, -1)
        integer_network(model, Samples(x=x, scale=1.0, labels=None))
        inspect_model(model)
    except DovetailError as error:
        text = str(error)
        if not text.isprintable() or len(text) > LONGEST:
            raise RuntimeError(f"error of {len(text)} characters must be a line of at most {LONGEST}: {text[:200]!r}"
                               ) from error
        return f"refused {text}"
    return "built"


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _run(case: int, folder: Path) -> str:
    """Run one case within its bounds."""
    path = folder / "m.onnx"
    path.write_bytes(mutate(case)[1])
    begun = time.process_time()
    limit = int(begun) + CPU_SECONDS + 2    # whole seconds; then the worker dies
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        text = outcome(path)
    except Exception:
        last = traceback.format_exc().strip().splitlines()
        return "broken " + " | ".join(line.strip() for line in last[-7:])
    spent = time.process_time() - begun
    return text if spent <= CPU_SECONDS else f"broken: {spent:.1f} s of CPU time"


def main(first: int, last: int) -> None:
    """Print ``case NUMBER`` before each case and its outcome behind it."""
    if Path("/proc/self/statm").exists():   # Linux; elsewhere nobody says how large the address space is
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "folder")
        (folder / "sub").mkdir(parents=True)
        (folder / "w.bin").write_bytes(np.arange(64, dtype=np.float32).tobytes())
        Path(name, "x").write_bytes(bytes(256))
        (folder / "out").symlink_to(Path(name, "x"))
        (folder / "round").symlink_to(folder / "round")
        for case in range(first, last):
            print(f"case {case}", flush=True)
            print(_run(case, folder), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
