"""A layer with constant weights as logic: one vector a cycle, no memories."""

from amaranth.hdl import Cat, Module, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .adders import AdderGraph, width_of_range
from .layouts import Token, vector_layout

__all__ = ["Unrolled"]


def _shape(low: int, high: int) -> Shape:
    """The narrowest shape that holds all of a range."""
    return Shape(width_of_range(low, high), signed=low < 0)


def _lowest(value: Value, count: int) -> Value:
    """The lowest bits of a value, however narrow it is."""
    if len(value) >= count:
        return value[:count]
    sign = value[-1] if value.shape().signed and len(value) else 0
    return Cat(value, *[sign] * (count - len(value)))


class Unrolled(wiring.Component):
    """All sums of a vector, a vector a cycle: every adder of an adder graph is an adder of its own.

    Registers follow every ``stage_depth`` levels of adders, and the last one. Latency is ``latency`` cycles, throughput
    one vector a cycle. Hardware whose weights are wires cannot be folded: a slower rate makes it no smaller.

    There is no back-pressure behind ``i``: a vector enters with a token of the unit that takes its sums. One clock
    enable for all registers, the alternative, was measured to be the slowest path by far (95 MHz for 12 kernels of 25
    inputs in an ECP5 of speed grade 6, three quarters of it the routing of the enable).

    Parameters
    ----------
    graph : AdderGraph
    stage_depth : int
        At least 1, which is also best on ECP5: there is a register behind every carry chain anyway, and where two
        levels have none between them Yosys makes carry-save adders of some, which are larger.

    Attributes
    ----------
    latency : int
        Cycles from a vector to its sums, always; at least 1.
    sum_shape : Shape
        Of all sums: the narrowest for the widest of them.

    Members
    -------
    i : In(stream.Signature(vector_layout(width=inputs, value=...)))
        A whole vector a beat, every value within the graph's input range. ``last`` is handed through with its vector.
    o : Out(stream.Signature(vector_layout(width=outputs, value=sum_shape)))
        Its sums, in the order of the graph's outputs, a whole vector a beat. Must always be ready.
    credit : In(Token)
        One token per vector from the unit behind ``o``.

    Raises
    ------
    TypeError, ValueError
        If ``stage_depth`` is no integer, or below 1.
    """

    i: stream.Interface
    o: stream.Interface
    credit: stream.Interface

    def __init__(self, graph: AdderGraph, *, stage_depth: int = 1):
        if not isinstance(stage_depth, int) or isinstance(stage_depth, bool):
            raise TypeError(f"stage_depth must be an integer, not {stage_depth!r}")
        if stage_depth < 1:
            raise ValueError(f"stage_depth must be at least 1, not {stage_depth!r}")
        self._graph, self._stage_depth = graph, stage_depth
        self.latency = max(1, -(-graph.depth // stage_depth))
        lows, highs = zip(*graph.output_ranges, strict=True)
        self.sum_shape = _shape(min(lows), max(highs))
        super().__init__({
            "i": In(stream.Signature(vector_layout(width=graph.inputs, value=_shape(*graph.input_range)))),
            "o": Out(stream.Signature(vector_layout(width=len(graph.outputs), value=self.sum_shape))),
            "credit": In(Token),
        })

    def elaborate(self, platform):
        m = Module()
        graph = self._graph
        m.d.comb += [self.i.ready.eq(self.credit.valid), self.credit.ready.eq(self.i.valid)]

        valid, last = self.i.valid & self.credit.valid, self.i.p.last
        for stage in range(self.latency):
            valid_next, last_next = Signal(name=f"valid{stage}"), Signal(name=f"last{stage}", reset_less=True)
            m.d.sync += [valid_next.eq(valid), last_next.eq(last)]
            valid, last = valid_next, last_next
        m.d.comb += [self.o.valid.eq(valid), self.o.p.last.eq(last)]

        first = graph.inputs + len(graph.constants)
        fresh: list[Value] = [self.i.p.values[index] for index in range(graph.inputs)]
        old: dict[tuple[int, int], Signal] = {}

        def stage_of(node: int) -> int:
            """Registers in front of a node that has none behind it."""
            return max(graph.depths[node] - 1, 0) // self._stage_depth

        def at(node: int, stage: int) -> Value:
            """A node behind so many registers; those are shared by all that need it."""
            if graph.inputs <= node < first:
                return Value.cast(graph.constants[node - graph.inputs])
            if stage == stage_of(node):
                return fresh[node]
            if (node, stage) not in old:
                before = at(node, stage - 1)
                old[node, stage] = Signal.like(before, name=f"node{node}_{stage}", reset_less=True)
                m.d.sync += old[node, stage].eq(before)
            return old[node, stage]

        fresh += [Value.cast(constant) for constant in graph.constants]
        for node, adder in enumerate(graph.adders, first):
            one, other = (at(term.node, stage_of(node)) for term in (adder.first, adder.second))
            total = Signal(_shape(*graph.ranges[node]), name=f"node{node}")
            m.d.comb += total.eq(_add(one, adder.first.shift, other, adder.second.shift, subtract=adder.subtract))
            fresh.append(total)
        for index, term in enumerate(graph.outputs):
            m.d.comb += self.o.p.values[index].eq(at(term.node, self.latency).shift_left(term.shift))
        return m


def _add(one: Value, shift: int, other: Value, other_shift: int, *, subtract: bool) -> Value:
    """``(one << shift) +- (other << other_shift)``; bits that have nothing to be added to pass the adder."""
    if not shift:
        upper = one.shift_right(other_shift)
        upper = upper - other if subtract else upper + other
        return Cat(_lowest(one, other_shift), upper).as_signed()
    if not subtract:
        return Cat(_lowest(other, shift), other.shift_right(shift) + one).as_signed()
    return one.shift_left(shift) - other
