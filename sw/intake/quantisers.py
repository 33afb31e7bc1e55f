"""Nodes that quantise what is computed: QDQ pairs of ONNX, and the operators of QONNX."""

import math
import re
from dataclasses import replace

import numpy as np

from ..model import Affine, Quantiser, Rounding
from .bounds import bounds
from .graph import Node, trouble
from .walk import Codes, Scope, Value

__all__ = ["bipolar_quant", "dequantize_linear", "quant", "quantize_linear", "trunc"]

_PER_TENSOR = "the nearest supported form quantises activations per tensor"
_ELEMENT_TYPES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4", 25: "uint2", 26: "int2"}


def _one(scope: Scope, node: Node, index: int, what: str) -> float:
    """The one number of a constant input whose elements are all equal."""
    numbers = scope.numbers(node, index)
    if (numbers != numbers.flat[0]).any():
        raise trouble(node, f"must have one {what} for the whole tensor; {_PER_TENSOR}")
    return float(numbers.flat[0])


def _scale(scope: Scope, node: Node, index: int) -> float:
    scale = _one(scope, node, index, "scale")
    if not 2.0**-256 <= scale <= 2.0**256:   # far beyond float32, and far from overflow
        raise trouble(node, f"must have a positive scale, not {scale!r}")
    return scale


def _whole(scope: Scope, node: Node, index: int, what: str, low: int, high: int) -> int:
    number = _one(scope, node, index, what)
    if number != int(number) or not low <= number <= high:
        raise trouble(node, f"must have a {what} that is an integer of {low} to {high}, not {number!r}")
    return int(number)


def _check_first(scope: Scope, node: Node) -> None:
    if scope.tensor(node, 0) is not None:
        raise trouble(node, "must have the computed value as its first input")


def _linear(scope: Scope, node: Node, default: str | None) -> tuple[Codes, int, int]:
    """Scale and zero point of QuantizeLinear or DequantizeLinear, and the least and the greatest code of its type."""
    _check_first(scope, node)
    if node.integer("block_size", 0):
        raise trouble(node, f"must not quantise block by block; {_PER_TENSOR}")
    scale, zero, kind = _scale(scope, node, 1), 0, default
    kind = _ELEMENT_TYPES.get(node.integer("output_dtype", 0), kind)
    if len(node.inputs) > 2 and node.inputs[2]:
        zero = _whole(scope, node, 2, "zero point", -(2**16), 2**16)
        kind = scope.given(node, 2).values.dtype.name
    found = re.fullmatch(r"(u?)int(2|4|8|16)", kind or "")
    if found is None:
        raise trouble(node, f"must have codes of 2 to 16 bits, named by the type of its zero point, not {kind!r}")
    bits = int(found[2])
    low, high = (0, 2**bits - 1) if found[1] else (-(2**(bits - 1)), 2**(bits - 1) - 1)
    return Codes(scale=scale, zero=zero), low, high


def quantize_linear(scope: Scope, node: Node, value: Value) -> Value:
    """QuantizeLinear: what follows works on codes, up to a DequantizeLinear."""
    if value.head is not None:   # what the host does is not quantised
        return value
    codes, low, high = _linear(scope, node, "uint8")
    step = Quantiser(name=node.name, op=node.op, scale=codes.scale, low=low - codes.zero, high=high - codes.zero)
    return replace(value.then(step), codes=codes)


def dequantize_linear(scope: Scope, node: Node, value: Value) -> Value:
    """DequantizeLinear of such codes; or of integers that are the input of the model."""
    if value.head is not None:
        return value
    codes, low, high = _linear(scope, node, "uint8" if value.codes is not None else None)
    if value.codes is not None:
        if value.codes != codes:
            raise trouble(node, f"must have the scale and zero point of its QuantizeLinear, {value.codes.scale!r} and "
                                f"{value.codes.zero}, not {codes.scale!r} and {codes.zero}")
        return replace(value, codes=None)
    if value.items or value.padded is not None:
        raise trouble(node, "must follow a QuantizeLinear, or the input of the model as it stands")
    size = math.prod(value.shape)
    real = Affine(name=node.name, op=node.op, scale=np.full(size, codes.scale),
                  offset=np.full(size, -codes.scale * codes.zero))
    return value.then(real, Quantiser(name=node.name, op=node.op, scale=codes.scale, low=low - codes.zero,
                                      high=high - codes.zero))


def _rounding(node: Node, default: str) -> Rounding:
    name = str(node.attributes.get("rounding_mode", default)).upper()
    name = {"HALF_EVEN": "ROUND", "ROUND_TO_ZERO": "DOWN"}.get(name, name)
    if name not in {mode.value for mode in Rounding if mode is not Rounding.SIGN}:
        raise trouble(node, f"must have rounding_mode ROUND, FLOOR, CEIL, UP, DOWN, HALF_UP or HALF_DOWN, not {name!r}")
    return Rounding(name)


def _bounds(*, signed: bool, narrow: bool, bits: int) -> tuple[int, int]:
    """Least and greatest integer of QONNX's ``signed``, ``narrow`` and bit width."""
    if signed:
        return -(2**(bits - 1)) + narrow, 2**(bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def quant(scope: Scope, node: Node, value: Value) -> Value:
    """QONNX's Quant, also called IntQuant. One signed bit is bipolar, as in its reference implementation."""
    if value.head is not None:
        return value
    _check_first(scope, node)
    scale, zero = _scale(scope, node, 1), _whole(scope, node, 2, "zero point", -(2**16), 2**16)
    bits = _whole(scope, node, 3, "bit width", 1, 16)
    signed, narrow = bool(node.integer("signed", 1)), bool(node.integer("narrow", 0))
    if bits == 1 and signed:
        if zero:
            raise trouble(node, f"must have zero point 0, since it is bipolar, not {zero}")
        return _sign(node, value, scale)
    low, high = _bounds(signed=signed, narrow=narrow, bits=bits)
    if low == high:
        raise trouble(node, "must leave more than one code: narrow with 1 bit unsigned does not")
    return value.then(Quantiser(name=node.name, op=node.op, scale=scale, zero=zero, low=low - zero, high=high - zero,
                                rounding=_rounding(node, "ROUND")))


def _sign(node: Node, value: Value, scale: float) -> Value:
    if value.padded is not None:
        raise trouble(node, "must not be bipolar behind a Pad, whose zeros it makes 1; the nearest supported form has "
                            "the Pad behind it")
    return value.then(Quantiser(name=node.name, op=node.op, scale=scale, low=-1, high=1, rounding=Rounding.SIGN))


def bipolar_quant(scope: Scope, node: Node, value: Value) -> Value:
    """QONNX's BipolarQuant: ``scale`` from 0 on, else ``-scale``."""
    if value.head is not None:
        return value
    _check_first(scope, node)
    return _sign(node, value, _scale(scope, node, 1))


def trunc(scope: Scope, node: Node, value: Value) -> Value:
    """QONNX's Trunc: round to ``scale``, then drop the lowest bits.

    With ``u = x / scale`` and t bits to drop, version 1 (five inputs) is ``scale * floor(rint(u) / 2**t)``; version 2
    (seven) has a scale of its own for the output, which tells t, and clamps. For t > 0 a tie of ``rint`` at a multiple
    of ``2**t`` is even and goes up, so ``floor(rint(u) / 2**t) = floor((u + 1/2) / 2**t)``: an affine step and one
    quantiser. For ``ceil`` the half is subtracted. Version 1 does not clamp: its codes are all that can occur.
    """
    if value.head is not None:
        return value
    _check_first(scope, node)
    rounding = _rounding(node, "FLOOR")
    scale = output = _scale(scope, node, 1)
    _whole(scope, node, 2, "zero point", 0, 0)
    wide = _whole(scope, node, 3, "input bit width", 1, 16)
    bits = _whole(scope, node, 6 if len(node.inputs) > 5 else 4, "output bit width", 1, 16)
    dropped, clamp = wide - bits, None
    if len(node.inputs) > 5:
        output = _scale(scope, node, 4)
        _whole(scope, node, 5, "output zero point", 0, 0)
        clamp = _bounds(signed=bool(node.integer("signed", 1)), narrow=bool(node.integer("narrow", 0)), bits=bits)
        ratio = output / scale
        dropped = round(math.log2(ratio)) if 2.0**-16 <= ratio <= 2.0**16 else 0
        if output != scale * 2.0**dropped:
            raise trouble(node, f"must have an output scale that is its scale times a power of two, not {output!r}")
    if dropped < 0:
        raise trouble(node, "must drop bits, not add any")
    if dropped and rounding not in (Rounding.FLOOR, Rounding.CEIL):
        raise trouble(node, f"must have rounding_mode FLOOR or CEIL, not {rounding.value!r}")
    ceil = rounding is Rounding.CEIL
    low, high = clamp or _reached(node, value, scale, dropped, ceil=ceil)
    if not dropped:
        return value.then(Quantiser(name=node.name, op=node.op, scale=output, low=low, high=high))
    factor = output / scale * 2.0**-dropped   # what Trunc makes of an input, apart from rounding
    size = math.prod(value.shape)
    return value.then(
        Affine(name=node.name, op=node.op, scale=np.full(size, factor),
               offset=np.full(size, (-0.5 if ceil else 0.5) * scale * factor)),
        Quantiser(name=node.name, op=node.op, scale=output, low=low, high=high, rounding=rounding))


def _reached(node: Node, value: Value, scale: float, dropped: int, *, ceil: bool) -> tuple[int, int]:
    """Least and greatest code that Trunc can make of a value, 0 and 1 among them, so that nothing is clamped."""
    reached = bounds(value)
    if not all(math.isfinite(bound / scale) for bound in reached):
        raise trouble(node, "must have a quantised value before it, since version 1 does not say which codes there "
                            "are; the nearest supported form is version 2 (seven inputs)")
    # Python's integers: shifted, they are rounded down.
    low, high = (-(-round(bound / scale) >> dropped) if ceil else round(bound / scale) >> dropped for bound in reached)
    low, high = min(low, 0), max(high, 1)
    if low < -(2**15) or high >= 2**16:
        raise trouble(node, f"can have codes of {low} to {high}, since version 1 does not clamp; the nearest supported "
                            "form is version 2 (seven inputs), which does")
    return low, high
