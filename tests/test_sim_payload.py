import re

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data, enum
from numpy.testing import assert_array_equal

from dovetail.sim.payload import chunks, pack, unpack


class Kind(enum.Enum, shape=3):
    A = 1
    B = 6


RECORD = data.StructLayout({
    "codes": data.ArrayLayout(unsigned(8), 16),
    "sums": data.ArrayLayout(signed(5), 3),
    "grid": data.ArrayLayout(data.ArrayLayout(signed(2), 2), 3),
    "inner": data.StructLayout({"first": signed(1), "second": unsigned(7)}),
    "pairs": data.ArrayLayout(data.StructLayout({"x": 3, "y": signed(4)}), 2),
    "last": unsigned(1),
})


def random_record(rng, n):
    return {
        "codes": rng.integers(0, 256, (n, 16)),
        "sums": rng.integers(-16, 16, (n, 3)),
        "grid": rng.integers(-2, 2, (n, 3, 2)),
        "inner": {"first": rng.integers(-1, 1, n), "second": rng.integers(0, 128, n)},
        "pairs": {"x": rng.integers(0, 8, (n, 2)), "y": rng.integers(-8, 8, (n, 2))},
        "last": rng.integers(0, 2, n),
    }


def row(values, k):
    if isinstance(values, dict):
        return {key: row(value, k) for key, value in values.items()}
    return values[k].tolist()


def as_const(record):
    """What Amaranth's own `const` takes: arrays of structs are lists of dicts there."""
    pairs = [dict(zip(("x", "y"), pair, strict=True)) for pair in zip(*record["pairs"].values(), strict=True)]
    return {**record, "pairs": pairs}


def assert_same(left, right):
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    else:
        assert_array_equal(left, right)


def test_pack_equals_amaranth():
    values = random_record(np.random.default_rng(1), 20)
    words = pack(RECORD, values)
    assert words.shape == (20, chunks(RECORD)) and words.dtype == np.uint32
    for k in range(20):
        expected = RECORD.const(as_const(row(values, k))).as_value().value
        assert int.from_bytes(words[k].astype("<u4").tobytes(), "little") == expected


def test_unpack_equals_amaranth():
    rng = np.random.default_rng(2)
    words = rng.integers(0, 1 << 32, (10, chunks(RECORD)), dtype=np.uint32)
    words[:, -1] &= (1 << RECORD.size % 32) - 1
    values = unpack(RECORD, words)
    for k in range(10):
        record = RECORD.from_bits(int.from_bytes(words[k].astype("<u4").tobytes(), "little"))
        assert [record["codes"][j] for j in range(16)] == values["codes"][k].tolist()
        assert [record["sums"][j] for j in range(3)] == values["sums"][k].tolist()
        assert [record["pairs"][j]["y"] for j in range(2)] == values["pairs"]["y"][k].tolist()
        assert record["inner"]["first"] == values["inner"]["first"][k]
    assert_array_equal(pack(RECORD, values), words)


@pytest.mark.parametrize("n", [0, 1, 7])
def test_round_trip(n):
    values = random_record(np.random.default_rng(n), n)
    assert_same(values, unpack(RECORD, pack(RECORD, values)))


@pytest.mark.parametrize("width", [1, 8, 31, 32, 33, 63, 64, 65, 100, 128])
@pytest.mark.parametrize("kind", [unsigned, signed])
def test_scalar_extremes(kind, width):
    shape = kind(width)
    values = [-(1 << width - 1), -1, 0, (1 << width - 1) - 1] if shape.signed else [0, 1, (1 << width) - 1]
    words = pack(shape, values)
    assert words.shape == (len(values), -(-width // 32))
    assert [int(v) for v in unpack(shape, words)] == values
    for value, word in zip(values, words, strict=True):
        assert int.from_bytes(word.astype("<u4").tobytes(), "little") == value & (1 << width) - 1


def test_enum_and_empty():
    assert_array_equal(unpack(Kind, pack(Kind, [1, 6])), [1, 6])
    assert pack(unsigned(40), []).shape == (0, 2)


@pytest.mark.parametrize(("shape", "values", "error", "message"), [
    (unsigned(8), [1, 256], ValueError, "payload must be in 0..255, not 256"),
    (signed(4), [-9], ValueError, "payload must be in -8..7, not -9"),
    (unsigned(8), [1.5], TypeError, "payload must be integers, not [1.5]"),
    (unsigned(64), [0.5], TypeError, "payload must be integers, not [0.5]"),
    (unsigned(8), [[1]], ValueError, "payload must be an array of 1 dimension(s), not of shape (1, 1)"),
    (data.ArrayLayout(4, 3), [[1, 2]], ValueError, "payload must hold 3 elements, not 2"),
    (data.StructLayout({"a": 4}), [1], TypeError, "payload must be a dict of fields, not [1]"),
    (data.StructLayout({"a": 4}), {"b": [1]}, ValueError, "payload must have the fields ['a'], not ['b']"),
    (data.StructLayout({"a": 4}), {"a": [16]}, ValueError, "payload.a must be in 0..15, not 16"),
    (data.StructLayout({"a": 4, "b": 2}), {"a": [1, 2], "b": [1]}, ValueError,
     "payload must have fields of one length, not {'a': (2,), 'b': (1,)}"),
])
def test_pack_wrong(shape, values, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        pack(shape, values)


def test_union_wrong():
    with pytest.raises(TypeError, match="^payload must be a plain shape, a struct or an array layout, not UnionLayout"):
        pack(data.UnionLayout({"a": 4, "b": 2}), [1])


def test_unpack_wrong():
    with pytest.raises(ValueError, match=r"^Words must be an array \(n, 2\), not \(3, 1\)$"):
        unpack(unsigned(40), np.zeros((3, 1), np.uint32))
