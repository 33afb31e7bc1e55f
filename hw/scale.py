"""The datapath of `ScaleArch`: multiply, add, shift, clamp."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from .arch import ScaleArch

__all__ = ["scale"]


def scale(
    m: Module, arch: ScaleArch, value: Value, *, multiplier: Value | None, offset: Value | None, name: str,
) -> Value:
    """``clamp((value * multiplier + offset) >> shift, low, high)``, and one less for odd ties where ``arch`` says so.

    The product is registered; everything behind it is combinational, and the result fits ``arch.code_format``. Where
    the offset is the constant ``2**(shift - 1)`` and the codes are all of some width, that is an increment and no
    comparison.

    Parameters
    ----------
    m : Module
    arch : ScaleArch
    value : Value
    multiplier, offset : Value or None
        Of this kernel, with the bits of ``arch`` and in the cycle of ``value``; None where all kernels have the same.
    name : str
        Of the register.
    """
    scaled = Signal(signed(len(value) + arch.multiplier_bits + 1), name=name, reset_less=True)
    if multiplier is None:
        m.d.sync += scaled.eq(value)
    else:
        m.d.sync += scaled.eq(value * (multiplier.as_signed() if arch.multiplier_signed else multiplier))
    if offset is None:
        # Bits of the product below the constant's lowest one need no adder, nor do those that are shifted out.
        lowest = (arch.offset & -arch.offset).bit_length() - 1 if arch.offset else arch.shift
        below = min(lowest, arch.shift)
        total = (scaled >> below) + (arch.offset >> below)
    else:
        below = 0
        added = Signal(signed(arch.offset_bits), name=f"{name}_offset", reset_less=True)
        m.d.sync += added.eq(offset)
        total = scaled + added
    quotient = total >> arch.shift - below
    if arch.ties_to_even:
        shifted_out = Cat(scaled[:below], total[:arch.shift - below])
        tie = ~shifted_out.any() if len(shifted_out) else Const(1)
        quotient = quotient - (tie & quotient[0])
    return _clamp(quotient, arch.low, arch.high)


def _clamp(value: Value, low: int, high: int) -> Value:
    if low or high < 1 or high & high + 1:
        return Mux(value < low, low, Mux(value > high, high, value))
    bits = high.bit_length()
    above = value[bits:]        # sign and overflow, without a comparison
    return Mux(value[-1], 0, Mux(above.any(), high, value[:bits]))
