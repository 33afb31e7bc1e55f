"""Quantisers of constants: a weight that passes one keeps its integers.

Codes are what whoever runs the file computes: the quotient by the scale is rounded in the floating point type of the
file, not in float64, so that a weight between two codes goes the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from ..model import Quantiser, Rounding
from .graph import Node, Tensor, trouble

__all__ = ["Grid", "bipolar", "code_range", "dequantize", "quant", "quant_grid", "quantize", "scales"]

_INTEGERS: dict[int, type] = {TensorProto.UINT8: np.uint8, TensorProto.INT8: np.int8, TensorProto.UINT16: np.uint16,
                              TensorProto.INT16: np.int16}
_OTHER_NAMES = {"HALF_EVEN": Rounding.HALF_EVEN, "ROUND_TO_ZERO": Rounding.DOWN}
_ROUNDINGS = _OTHER_NAMES | {mode.value: mode for mode in Rounding if mode is not Rounding.SIGN}
_MOST_BITS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """What a ``Quant`` node says of its codes; see `Quantiser` for the order of the operations.

    Members
    -------
    scale : float array
        In the file's own shape and type.
    zero : int64 array
        In the file's own shape.
    low, high : int
        Least and greatest code with the zero point in it.
    rounding : Rounding
        SIGN for one signed bit: 1 where ``x / scale + zero`` is not negative, else -1.
    """

    scale: np.ndarray
    zero: np.ndarray
    low: int
    high: int
    rounding: Rounding


def code_range(*, signed: bool, narrow: bool, bits: int) -> tuple[int, int]:
    """Least and greatest code of QONNX's ``Quant``: narrow leaves out the least signed or the greatest unsigned one."""
    if signed:
        return narrow - 2 ** (bits - 1), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def scales(node: Node, tensor: Tensor) -> np.ndarray:
    """Values of a tensor of scales, checked to be positive and finite; integers become float64."""
    values = tensor.values if tensor.values.dtype.kind == "f" else _numbers(node, tensor).astype(np.float64)
    bad = values[~(np.isfinite(values) & (values > 0))]
    if bad.size or not values.size:
        raise trouble(node, f"must have scales that are positive and finite, not {_first(bad)}")
    return values


def quant_grid(node: Node, scale: Tensor, zero: Tensor, bits: Tensor) -> Grid:
    """Read the parameters of ``Quant`` or ``IntQuant``.

    Raises
    ------
    ModelError
        If they are not constants of a form that is supported.
    """
    width = _whole(_numbers(node, bits))
    if width is None or width.size != 1 or not 1 <= width.item() <= _MOST_BITS:
        raise trouble(node, f"must have a bit width of 1 to {_MOST_BITS}, one number, not {_first(bits.values)}")
    zeros = _whole(_numbers(node, zero))
    if zeros is None or not zeros.size:
        raise trouble(node, f"must have zero points that are integers, not {_first(zero.values)}")
    mode = str(node.attributes.get("rounding_mode", "ROUND")).upper()
    rounding = _ROUNDINGS.get(mode)
    if rounding is None:
        raise trouble(node, f"must have the rounding mode ROUND, CEIL, FLOOR, UP, DOWN, HALF_UP or HALF_DOWN, "
                            f"not {mode[:40]!r}")
    signed, narrow = bool(node.integer("signed", 1)), bool(node.integer("narrow", 0))
    low, high = code_range(signed=signed, narrow=narrow, bits=int(width.item()))
    if signed and width.item() == 1:   # QONNX makes such a node bipolar
        low, high, rounding = -1, 1, Rounding.SIGN
    return Grid(scale=scales(node, scale), zero=zeros, low=low, high=high, rounding=rounding)


def quant(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """QONNX ``Quant`` or ``IntQuant`` of a constant."""
    x, scale, zero, bits = inputs
    grid = quant_grid(node, scale, zero, bits)
    values = _real(node, x)
    spread, zeros = _over(node, grid.scale, values.shape), _over(node, grid.zero, values.shape)
    steps = _quotient(values, spread) + zeros.astype(values.dtype)
    if grid.rounding is Rounding.SIGN:
        codes = np.where(steps >= 0, 1, -1)
    else:
        ruler = Quantiser(name=node.name, op=node.op, scale=1.0, low=grid.low, high=grid.high, rounding=grid.rounding)
        codes = ruler.codes(steps)
    return _on_grid(codes.astype(np.int64) - zeros, spread)


def bipolar(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """QONNX ``BipolarQuant`` of a constant: 1 where it is not negative, else -1."""
    x, scale = inputs
    values = _real(node, x)
    return _on_grid(np.where(values >= 0, 1, -1).astype(np.int64), _over(node, scales(node, scale), values.shape))


def quantize(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    """``QuantizeLinear`` of a constant: its integers, with the zero point in them."""
    x, scale, zero = _linear(node, inputs)
    values = _real(node, x)
    if zero is not None:
        dtype = zero.dtype
    else:
        dtype = np.dtype(_INTEGERS.get(node.integer("output_dtype", 0) or TensorProto.UINT8, np.int64))
    if dtype not in {np.dtype(each) for each in _INTEGERS.values()}:
        raise trouble(node, f"must make integers of 8 or 16 bits, not {dtype}")
    codes = np.rint(_quotient(values, _along(node, scale, values.shape)))
    if zero is not None:
        codes = codes + _along(node, zero, values.shape).astype(codes.dtype)
    bounds = np.iinfo(dtype.name)
    return Tensor(values=np.clip(codes, bounds.min, bounds.max).astype(dtype))


def dequantize(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    """``DequantizeLinear`` of constant integers, 4 to 32 bits."""
    x, scale, zero = _linear(node, inputs)
    if x.values.dtype.kind not in "iu" or x.values.dtype.itemsize > 4 or x.values.dtype == np.uint32:
        raise trouble(node, f"must take integers of 4 to 32 bits, not {x.values.dtype}")
    codes = x.values.astype(np.int64)
    if zero is not None:
        if zero.dtype != x.values.dtype:
            raise trouble(node, f"must have a zero point of the type of its input, {x.values.dtype}, not {zero.dtype}")
        codes = codes - _along(node, zero, codes.shape)
    return _on_grid(codes, _along(node, scale, codes.shape))


def _linear(node: Node, inputs: Sequence[Tensor | None]) -> tuple[Tensor, np.ndarray, np.ndarray | None]:
    """Input, scale and zero point of the two ONNX operators, their shapes checked."""
    x, scale, zero = (*inputs, None)[:3]
    if x is None or scale is None:
        raise trouble(node, "must have a scale")
    if node.integer("block_size", 0):
        raise trouble(node, "must have one scale, or one for each index of an axis, not blocks of "
                            f"{node.integer('block_size', 0)}")
    spread = scales(node, scale)
    if zero is not None and (zero.values.dtype.kind not in "iu" or zero.values.size != spread.size):
        raise trouble(node, f"must have a zero point of the shape of its scale, {spread.shape!r}, integers, "
                            f"not {zero.values.dtype} of shape {zero.values.shape!r}")
    return x, spread, None if zero is None else zero.values


def _on_grid(codes: np.ndarray, scale: np.ndarray) -> Tensor:
    scale = scale.astype(np.float64)
    with np.errstate(over="ignore"):
        return Tensor(values=codes * scale, codes=codes, scale=scale)


def _quotient(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", divide="ignore"):   # infinity is clamped like any other large number
        return np.nan_to_num(values / scale.astype(values.dtype), nan=0.0, posinf=np.inf, neginf=-np.inf)


def _real(node: Node, tensor: Tensor) -> np.ndarray:
    """Values to quantise, in a floating point type of 32 bits at least."""
    values = _numbers(node, tensor)
    if not np.isfinite(values).all():
        raise trouble(node, "has NaN or infinity in what it quantises")
    return values.astype(np.float64 if values.dtype.kind in "iu" else np.result_type(values.dtype, np.float32))


def _numbers(node: Node, tensor: Tensor) -> np.ndarray:
    if tensor.values.dtype.kind not in "fiu":
        raise trouble(node, f"must take numbers, not {tensor.values.dtype}")
    return tensor.values


def _whole(values: np.ndarray) -> np.ndarray | None:
    """The same numbers as int64, or None where one of them is no integer of 32 bits."""
    numbers = values.astype(np.float64)
    if not (np.isfinite(numbers) & (np.abs(numbers) < 2**31)).all() or not np.array_equal(numbers, np.trunc(numbers)):
        return None
    return values.astype(np.int64)


def _over(node: Node, parameter: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """QONNX's way to spread a parameter: numpy's rules, and the value keeps its shape."""
    if parameter.size == 1:
        return np.broadcast_to(parameter.reshape(()), shape)
    try:
        return np.broadcast_to(parameter, shape)
    except ValueError as error:
        raise trouble(node, f"must have parameters that spread over the shape {shape!r}, not of shape "
                            f"{parameter.shape!r}") from error


def _along(node: Node, parameter: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """ONNX's way to spread a parameter: one number, or one for each index of an axis."""
    if parameter.size == 1:
        return np.broadcast_to(parameter.reshape(()), shape)
    axis = node.integer("axis", 1)
    axis += len(shape) if axis < 0 else 0
    if not 0 <= axis < len(shape) or parameter.shape != shape[axis:axis + 1]:
        raise trouble(node, f"must have one scale, or one for each index of axis {node.integer('axis', 1)} of the "
                            f"shape {shape!r}, not of shape {parameter.shape!r}")
    return np.broadcast_to(parameter.reshape([-1 if index == axis else 1 for index in range(len(shape))]), shape)


def _first(values: np.ndarray) -> str:
    """Show the first number of an array, or that there is none."""
    return repr(values.flat[0].item()) if values.size else "an empty tensor"
