"""Tensors of every type, and those whose type, shape and data do not agree."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper, numpy_helper

from dovetail.hw.errors import ModelError
from dovetail.sw.intake import tensors
from dovetail.sw.intake.tensors import TensorReader


def read(tensor, **arguments):
    return TensorReader(folder=None, room=0).read(tensor, **arguments)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int16, np.uint16, np.int32,
                                   np.uint32, np.int64, np.uint64, np.bool_])
@pytest.mark.parametrize("shape", [(2, 3), (), (0,), (1,)])
def test_types(dtype, shape):
    """As raw bytes, and as numbers in the message."""
    values = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    raw = numpy_helper.from_array(values, "t")
    typed = helper.make_tensor("t", raw.data_type, shape, values.reshape(-1))
    for tensor in (raw, typed):
        found = read(tensor)
        assert found.dtype == dtype
        assert_array_equal(found, values)


@pytest.mark.parametrize("raw", [False, True])
def test_four_bits(raw):
    for kind, values, dtype in ((TensorProto.INT4, [-8, 7, -1], np.int8), (TensorProto.UINT4, [0, 15, 8], np.uint8)):
        tensor = helper.make_tensor("t", kind, [3], values)
        if raw:
            tensor = TensorProto(name="t", data_type=kind, dims=[3], raw_data=bytes(tensor.int32_data))
        found = read(tensor)
        assert found.dtype == dtype
        assert_array_equal(found, values)


def test_bfloat16():
    found = read(helper.make_tensor("t", TensorProto.BFLOAT16, [3], [1.5, -2.0, 3.140625]))
    assert found.dtype == np.float32
    assert_array_equal(found, [1.5, -2.0, 3.140625])


def test_unusual_numbers():
    """Denormals, infinity and NaN are read as they are; where they may not stand is for others to say."""
    values = np.array([1e-45, -1e-40, np.inf, -np.inf, np.nan], np.float32)
    assert_array_equal(read(numpy_helper.from_array(values, "t")), values)


@pytest.mark.parametrize(("kind", "name"), [
    (TensorProto.STRING, "STRING"), (TensorProto.COMPLEX64, "COMPLEX64"), (TensorProto.FLOAT8E4M3FN, "FLOAT8E4M3FN"),
    (TensorProto.UNDEFINED, "UNDEFINED"), (99, "99"), (-1, "-1"),
])
def test_type_wrong(kind, name):
    tensor = TensorProto(name="t", dims=[1], raw_data=bytes(8))
    tensor.data_type = kind
    with pytest.raises(ModelError, match=rf"^tensor 't' has the type {name}, which is not supported; the nearest "
                                         r"supported form is FLOAT, or INT8 and DequantizeLinear$"):
        read(tensor)


FLOAT = TensorProto.FLOAT
DAMAGED = r"tensor 't' is damaged: its data do not fit its type and shape"


@pytest.mark.parametrize(("tensor", "message"), [
    (TensorProto(name="t", data_type=FLOAT, dims=[2], raw_data=bytes(7)), DAMAGED),
    (TensorProto(name="t", data_type=FLOAT, dims=[2], raw_data=bytes(12)), DAMAGED),
    (TensorProto(name="t", data_type=FLOAT, dims=[2]), DAMAGED),
    (TensorProto(name="t", data_type=FLOAT, dims=[2], float_data=[1]), DAMAGED),
    (TensorProto(name="t", data_type=FLOAT, dims=[2], int32_data=[1, 2]), DAMAGED),
    (TensorProto(name="t", data_type=FLOAT, dims=[2**20, 100], raw_data=bytes(4)), DAMAGED),
    (TensorProto(name="t", data_type=TensorProto.INT4, dims=[3], raw_data=bytes(3)), DAMAGED),
    (TensorProto(name="t", data_type=FLOAT, dims=[1], raw_data=bytes(4), segment=TensorProto.Segment(begin=0)),
     DAMAGED),
    (TensorProto(name="t", data_type=TensorProto.INT8, dims=[1], int32_data=[300]), DAMAGED),
    (TensorProto(name="t", data_type=TensorProto.UINT16, dims=[2], int32_data=[7, -1]), DAMAGED),
    (TensorProto(name="t", data_type=TensorProto.UINT32, dims=[1], uint64_data=[2**32]), DAMAGED),
    (TensorProto(name="t", data_type=FLOAT, dims=[-2], raw_data=bytes(8)),
     r"tensor 't' must have at most 8 dimensions of at least 0, not \(-2,\)"),
    (TensorProto(name="t", data_type=FLOAT, dims=[1] * 9, raw_data=bytes(4)),
     r"tensor 't' must have at most 8 dimensions of at least 0, not \(1, 1, 1, 1, 1, 1, 1, 1, 1\)"),
    (TensorProto(name="t", data_type=FLOAT, dims=[2**31, 2**31]),
     rf"tensor 't' of {2**62} elements is too large; at most {2**27} are read in all"),
    (TensorProto(name="t", data_type=FLOAT, dims=[0, 2**62]),
     rf"tensor 't' of 0 elements is too large; at most {2**27} are read in all"),
    (TensorProto(name="t" * 200, data_type=FLOAT, dims=[1]), rf"tensor '{'t' * 80}' is damaged: its data do not fit "
                                                             r"its type and shape"),
])
def test_wrong(tensor, message):
    with pytest.raises(ModelError, match=rf"^{message}$"):
        read(tensor)


def test_called():
    """An attribute's tensor has no name of its own."""
    with pytest.raises(ModelError, match=r"^tensor \"value of node 'n'\" is damaged: its data do not fit its type and "
                                         r"shape$"):
        read(TensorProto(data_type=FLOAT, dims=[1]), called="value of node 'n'")


def test_all_together_wrong(monkeypatch):
    monkeypatch.setattr(tensors, "MAX_ELEMENTS", 10)
    reader, tensor = TensorReader(folder=None, room=0), numpy_helper.from_array(np.zeros(6, np.float32), "t")
    reader.read(tensor)
    with pytest.raises(ModelError, match=r"^tensor 't' of 6 elements is too large; at most 10 are read in all$"):
        reader.read(tensor)
