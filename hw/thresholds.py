"""The datapath of `ThresholdArch`: comparators, and how many of them say yes."""

from amaranth.hdl import Module, Shape, Signal, Value

from .arch import ThresholdArch
from .winners import balanced_sum

__all__ = ["count_reached"]


def count_reached(m: Module, arch: ThresholdArch, value: Value, thresholds: Value, *, name: str) -> Value:
    """``low + step * (how many thresholds are at most value)``.

    The comparisons are registered; everything behind them is combinational, and the result fits ``arch.code_format``.

    Parameters
    ----------
    m : Module
    arch : ThresholdArch
    value : Value
    thresholds : Value
        The first in the low bits, each a bit wider than ``value`` and as signed; in the cycle of ``value``.
    name : str
        Of the register.
    """
    reached = Signal(arch.count, name=name, reset_less=True)
    is_signed = Shape.cast(value.shape()).signed
    for number in range(arch.count):
        threshold = thresholds.word_select(number, len(value) + 1)
        m.d.sync += reached[number].eq(value >= (threshold.as_signed() if is_signed else threshold))
    return arch.low + arch.step * balanced_sum(list(reached))
