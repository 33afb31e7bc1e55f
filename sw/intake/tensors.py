"""Tensors of an ONNX file as arrays, each checked against its own type and shape before a byte of it is looked at."""

import math
from pathlib import Path

import numpy as np
from onnx import TensorProto, numpy_helper

from ...hw.errors import ModelError
from .constants import MAX_ELEMENTS
from .external import read_external

__all__ = ["FOUR_BITS", "TensorReader"]

MAX_RANK = 8

FOUR_BITS = (TensorProto.INT4, TensorProto.UINT4)
"""Types whose arrays are those of 8 bits."""

# Bits of an element in the file, the array's type, and the field of the protobuf message that may hold the elements.
_TYPES: dict[int, tuple[int, type, str]] = {
    TensorProto.FLOAT: (32, np.float32, "float_data"), TensorProto.DOUBLE: (64, np.float64, "double_data"),
    TensorProto.FLOAT16: (16, np.float16, "int32_data"), TensorProto.BFLOAT16: (16, np.float32, "int32_data"),
    TensorProto.INT8: (8, np.int8, "int32_data"), TensorProto.UINT8: (8, np.uint8, "int32_data"),
    TensorProto.INT16: (16, np.int16, "int32_data"), TensorProto.UINT16: (16, np.uint16, "int32_data"),
    TensorProto.INT32: (32, np.int32, "int32_data"), TensorProto.UINT32: (32, np.uint32, "uint64_data"),
    TensorProto.INT64: (64, np.int64, "int64_data"), TensorProto.UINT64: (64, np.uint64, "uint64_data"),
    TensorProto.BOOL: (8, np.bool_, "int32_data"),
    TensorProto.INT4: (4, np.int8, "int32_data"), TensorProto.UINT4: (4, np.uint8, "int32_data"),
}


class TensorReader:
    """Reads the tensors of one file, and counts what they add up to.

    Parameters
    ----------
    folder : Path or None
        Of the model, for external data.
    room : int
        Bytes that all external data together may have.
    """

    def __init__(self, *, folder: Path | None, room: int):
        self.folder = folder
        self.room = room
        self.elements = 0

    def read(self, tensor: TensorProto, *, called: str = "") -> np.ndarray:
        """Make the array; bfloat16 becomes float32, 4-bit integers those of 8 bits.

        Parameters
        ----------
        tensor : TensorProto
            Loses its place outside the file where it has one.
        called : str
            What errors call it where it has no name.

        Raises
        ------
        ModelError
            If type, shape or data cannot be; names the tensor.
        """
        name = f"tensor {(tensor.name or called)[:80]!r}"
        if tensor.data_type not in _TYPES:
            types = {number: text for text, number in TensorProto.DataType.items()}
            raise ModelError(f"{name} has the type {types.get(tensor.data_type, tensor.data_type)}, which is not "
                             "supported; the nearest supported form is FLOAT, or INT8 and DequantizeLinear")
        bits, dtype, field = _TYPES[tensor.data_type]
        dims = tuple(tensor.dims)
        if len(dims) > MAX_RANK or any(size < 0 for size in dims):
            raise ModelError(f"{name} must have at most {MAX_RANK} dimensions of at least 0, not {dims[:20]!r}")
        elements = math.prod(dims)
        self.elements += max(elements, *dims, 1)
        if self.elements > MAX_ELEMENTS:
            raise ModelError(f"{name} of {elements} elements is too large; at most {MAX_ELEMENTS} are read in all")
        size = (elements * bits + 7) // 8
        if tensor.data_location == TensorProto.EXTERNAL:
            self.room -= size
            if self.room < 0:
                raise ModelError(f"{name} has external data, with which the model is larger than can be read")
            tensor.raw_data = read_external(tensor, folder=self.folder, size=size)
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
        if tensor.HasField("raw_data"):
            fits = len(tensor.raw_data) == size
        else:
            numbers = getattr(tensor, field)
            fits = len(numbers) == (elements if bits != 4 else size)
            if fits and elements and bits != 4 and np.dtype(dtype).kind in "iu":
                bounds = np.iinfo(np.dtype(dtype).name)
                fits = bounds.min <= min(numbers) and max(numbers) <= bounds.max
        if not fits or tensor.HasField("segment"):
            raise ModelError(f"{name} is damaged: its data do not fit its type and shape")
        try:
            with np.errstate(invalid="ignore", over="ignore"):
                return numpy_helper.to_array(tensor).astype(dtype, copy=False)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise ModelError(f"{name} is damaged: its data do not fit its type and shape") from error
