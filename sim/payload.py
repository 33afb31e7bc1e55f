"""Payloads of streams as numpy arrays: records of integers on one side, words of bits on the other.

The words of a stream are one array (n, chunks) of uint32, ``chunks = ceil(width / 32)``: chunk 0 holds the lowest 32
bits, unused high bits are 0. Every simulator takes and gives this form. `pack` and `unpack` translate it::

    layout = StructLayout({"codes": ArrayLayout(unsigned(4), 2), "last": unsigned(1)})   # width 9

    pack(layout, {"codes": [[1, 2], [15, 0]], "last": [0, 1]})
        == [[0b0_0010_0001],        # bit 8: last; bits 7..4: codes[1]; bits 3..0: codes[0]
            [0b1_0000_1111]]
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data

__all__ = ["chunks", "pack", "unpack", "width_of"]


def width_of(shape: Any) -> int:
    """Width in bits of anything that Amaranth casts to a shape."""
    return Shape.cast(shape).width


def chunks(shape: Any) -> int:
    """How many 32-bit chunks a word of `shape` takes."""
    return -(-width_of(shape) // 32)


def pack(shape: Any, values: Any) -> np.ndarray:
    """Words of a stream from the values of its payloads.

    Parameters
    ----------
    shape : shape-like
        A plain shape, an enum, a `StructLayout` or an `ArrayLayout`, nested as you like.
    values : integers or dict
        For a plain shape n integers; for an array layout (n, length, ...) integers; for a struct layout a dict with the
        values of every field.

    Returns
    -------
    array (n, chunks) of uint32

    Raises
    ------
    TypeError
        If values are not integers, or the layout is of another kind (a union, a flexible layout).
    ValueError
        If a value does not fit its field, a field is missing or unknown, or lengths differ.
    """
    bits = _to_bits(shape, values, 1, "payload")
    padded = np.zeros((bits.shape[0], chunks(shape) * 32), np.uint8)
    padded[:, : bits.shape[1]] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32, copy=False)


def unpack(shape: Any, words: np.ndarray) -> Any:
    """The values of the payloads in `words`; the inverse of `pack`.

    Parameters
    ----------
    shape : shape-like
        As for `pack`.
    words : array (n, chunks) of uint32

    Returns
    -------
    array or dict of arrays
        int64 for signed and for unsigned fields of less than 64 bits, uint64 for unsigned 64 bits, Python integers
        (dtype object) above.
    """
    words = np.ascontiguousarray(words, dtype="<u4")
    if words.ndim != 2 or words.shape[1] != chunks(shape):
        raise ValueError(f"Words must be an array (n, {chunks(shape)}), not {words.shape}")
    bits = np.unpackbits(words.view(np.uint8).reshape(len(words), 4 * chunks(shape)), axis=1, bitorder="little")
    return _from_bits(shape, bits[:, : width_of(shape)])


def _layout(shape: Any) -> data.Layout | None:
    try:
        return data.Layout.cast(shape)
    except TypeError:
        return None


def _to_bits(shape: Any, values: Any, ndim: int, name: str) -> np.ndarray:
    """Bits (..., width), lowest first, with `ndim` leading dimensions."""
    layout = _layout(shape)
    if isinstance(layout, data.ArrayLayout):
        inner = _to_bits(layout.elem_shape, values, ndim + 1, f"{name}[]")
        if inner.shape[ndim] != layout.length and inner.size:
            raise ValueError(f"{name} must hold {layout.length} elements, not {inner.shape[ndim]}")
        return inner.reshape(*inner.shape[:ndim], layout.size)
    if isinstance(layout, data.StructLayout):
        if not isinstance(values, Mapping):
            raise TypeError(f"{name} must be a dict of fields, not {values!r}")
        fields = dict(layout)
        if set(values) != set(fields):
            raise ValueError(f"{name} must have the fields {list(fields)!r}, not {list(values)!r}")
        parts = [_to_bits(field.shape, values[key], ndim, f"{name}.{key}") for key, field in fields.items()]
        lengths = {part.shape[:ndim] for part in parts}
        if len(lengths) != 1:
            shapes = {key: part.shape[:ndim] for key, part in zip(fields, parts, strict=True)}
            raise ValueError(f"{name} must have fields of one length, not {shapes!r}")
        return np.concatenate(parts, axis=-1)
    if layout is not None:
        raise TypeError(f"{name} must be a plain shape, a struct or an array layout, not {layout!r}")
    return _scalar_to_bits(Shape.cast(shape), values, ndim, name)


def _scalar_to_bits(shape: Shape, values: Any, ndim: int, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind == "f" and shape.width >= 64:
        array = np.asarray(values, dtype=object)  # integers that no numpy type holds together
    if array.size == 0 and array.ndim < ndim:
        array = array.reshape((0,) * ndim)
    integral = array.dtype.kind in "biu" or array.dtype.kind == "O" and all(isinstance(v, int) for v in array.flat)
    if not integral and array.size:
        raise TypeError(f"{name} must be integers, not {values!r}")
    if array.ndim != ndim:
        raise ValueError(f"{name} must be an array of {ndim} dimension(s), not of shape {array.shape}")
    low, high = (-(1 << shape.width >> 1), (1 << shape.width >> 1) - 1) if shape.signed else (0, (1 << shape.width) - 1)
    if array.size:
        smallest, largest = int(array.min()), int(array.max())
        if smallest < low or largest > high:
            worst = smallest if smallest < low else largest
            raise ValueError(f"{name} must be in {low}..{high}, not {worst}")
    if shape.width <= 64:
        if array.dtype.kind == "O":
            array = np.array([int(v) & (1 << 64) - 1 for v in array.flat], np.uint64).reshape(array.shape)
        octets = array.astype("<u8" if array.dtype.kind == "u" else "<i8").view(np.uint8)
        octets = octets.reshape(*array.shape, 8)
    else:
        size = -(-shape.width // 8)
        mask = (1 << shape.width) - 1
        text = b"".join((int(v) & mask).to_bytes(size, "little") for v in array.flat)
        octets = np.frombuffer(text, np.uint8).reshape(*array.shape, size)
    return np.unpackbits(octets, axis=-1, bitorder="little")[..., : shape.width]


def _from_bits(shape: Any, bits: np.ndarray) -> Any:
    layout = _layout(shape)
    if isinstance(layout, data.ArrayLayout):
        width = width_of(layout.elem_shape)
        return _from_bits(layout.elem_shape, bits.reshape(*bits.shape[:-1], layout.length, width))
    if isinstance(layout, data.StructLayout):
        return {
            key: _from_bits(field.shape, bits[..., field.offset : field.offset + field.width])
            for key, field in dict(layout).items()
        }
    if layout is not None:
        raise TypeError(f"Shape must be a plain shape, a struct or an array layout, not {layout!r}")
    return _scalar_from_bits(Shape.cast(shape), bits)


def _scalar_from_bits(shape: Shape, bits: np.ndarray) -> np.ndarray:
    lead = bits.shape[:-1]
    if shape.width > 64:
        octets = np.packbits(bits, axis=-1, bitorder="little").reshape(-1, -(-shape.width // 8))
        sign = 1 << shape.width - 1 if shape.signed else 0
        values = [(int.from_bytes(row.tobytes(), "little") ^ sign) - sign for row in octets]
        result = np.empty(len(values), object)
        result[:] = values
        return result.reshape(lead)
    padded = np.zeros((*lead, 64), np.uint8)
    padded[..., : shape.width] = bits
    if shape.signed and shape.width:
        padded[..., shape.width :] = bits[..., -1:]
    octets = np.packbits(padded, axis=-1, bitorder="little").reshape(*lead, 8)
    wide = shape.width == 64 and not shape.signed
    return octets.view("<u8" if wide else "<i8").astype(np.uint64 if wide else np.int64, copy=False).reshape(lead)
