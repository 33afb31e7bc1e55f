"""Balanced sums."""

from collections.abc import Sequence

from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.utils import ceil_log2

__all__ = ["pipelined_sum", "sum_latency"]


def sum_latency(terms: int) -> int:
    """Clock cycles of :func:`pipelined_sum`."""
    return ceil_log2(terms)


def pipelined_sum(m: Module, terms: Sequence[Value], *, shape: Shape, name: str) -> Value:
    """Sum of ``terms`` in a balanced tree with a register behind every level; it wraps to ``shape``.

    Latency is ``sum_latency(len(terms))`` cycles, throughput one sum a cycle.
    """
    level = list(terms)
    depth = 0
    while len(level) > 1:
        above = []
        for index in range(0, len(level), 2):
            register = Signal(shape, name=f"{name}_{depth}_{index // 2}", reset_less=True)
            m.d.sync += register.eq(sum(level[index + 1:index + 2], start=level[index]))
            above.append(register)
        level, depth = above, depth + 1
    return level[0]
