"""The stages that decide, word by word, which elements are handed on."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import SelectArch, bits_for
from .layouts import beat_layout, threshold_layout

__all__ = ["NonZero", "Winners", "balanced_sum", "word_layout"]


def word_layout(arch: SelectArch) -> data.StructLayout:
    """A word of the store on its way out: R elements, ``address`` counts words."""
    value = Shape(arch.value_bits, signed=arch.value_signed)
    return beat_layout(lanes=arch.width, address_bits=bits_for(arch.words), value=value)


def balanced_sum(terms: Sequence[Value]) -> Value:
    """Sum of at least one unsigned value, as a combinational tree that grows no wider than it must."""
    while len(terms) > 1:
        terms = [sum(terms[index + 1:index + 2], start=terms[index]) for index in range(0, len(terms), 2)]
    return terms[0]


class NonZero(wiring.Component):
    """Takes zeros off the mask, and words without a non-zero element out of the stream, but never the last word.

    Latency is one cycle, throughput a word a cycle.

    Members
    -------
    i, o : In, Out(stream.Signature(word_layout(arch)))
    """

    latency = 1

    i: stream.Interface
    o: stream.Interface

    def __init__(self, arch: SelectArch):
        self._arch = arch
        super().__init__({"i": In(stream.Signature(word_layout(arch))), "o": Out(stream.Signature(word_layout(arch)))})

    def elaborate(self, platform):
        m = Module()
        mask = Signal(self._arch.width)
        m.d.comb += [
            mask.eq(self.i.p.mask & Cat(self.i.p.values[r] != 0 for r in range(self._arch.width))),
            self.i.ready.eq(~self.o.valid | self.o.ready),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                self.o.valid.eq(self.i.valid & (self.i.p.last | mask.any())), self.o.payload.eq(self.i.payload),
                self.o.p.mask.eq(mask),
            ]
        return m


class Winners(wiring.Component):
    """Compares every element with its vector's threshold, and counts the ties in the model's order.

    An element wins if it is above the threshold, or equal to it and among the first ``ties`` that are. Losers are taken
    off the mask; words without a winner are taken out of the stream, but never the last word. With ``arch.losers``
    losers stay, as zeros, and so does every word.

    The registers are: the threshold in use; comparison; number of ties before each element; result. A word's latency is
    three cycles, throughput a word a cycle, also from one vector to the next. A vector's first word is compared in the
    cycle after its threshold was taken, and a threshold is taken once the vector before it is compared.

    Members
    -------
    i, o : In, Out(stream.Signature(word_layout(arch)))
    i_threshold : In(stream.Signature(threshold_layout(arch)))
        One per vector.
    """

    latency = 3

    i: stream.Interface
    i_threshold: stream.Interface
    o: stream.Interface

    def __init__(self, arch: SelectArch):
        self._arch = arch
        super().__init__({
            "i": In(stream.Signature(word_layout(arch))), "i_threshold": In(stream.Signature(threshold_layout(arch))),
            "o": Out(stream.Signature(word_layout(arch))),
        })

    def elaborate(self, platform):
        m = Module()
        width = self._arch.width
        layout = threshold_layout(self._arch)
        count_bits = bits_for(width + 1)
        # What a word carries through the stages; `first` begins a vector, whose `ties` count from there.
        stage = data.StructLayout({
            "word": word_layout(self._arch), "ties": layout["ties"].shape, "first": 1, "above": width, "equal": width,
        })

        armed, first = Signal(), Signal(init=1)
        current = Signal(layout, reset_less=True)
        accept = Signal()
        m.d.comb += [
            accept.eq(self.i.valid & self.i.ready), self.i_threshold.ready.eq(~armed | (accept & self.i.p.last)),
        ]
        with m.If(self.i_threshold.ready):
            m.d.sync += [armed.eq(self.i_threshold.valid), current.eq(self.i_threshold.payload)]

        compared, counted = Signal(stage, reset_less=True), Signal(stage, reset_less=True)
        compared_valid, counted_valid = Signal(), Signal()
        before = [Signal(count_bits, name=f"before{r}", reset_less=True) for r in range(width + 1)]
        step_compared, step_counted, step_o = Signal(), Signal(), Signal()
        m.d.comb += [
            step_o.eq(~self.o.valid | self.o.ready), step_counted.eq(~counted_valid | step_o),
            step_compared.eq(~compared_valid | step_counted), self.i.ready.eq(step_compared & armed),
        ]
        with m.If(accept):
            m.d.sync += first.eq(self.i.p.last)
        with m.If(step_compared):
            m.d.sync += [
                compared_valid.eq(accept), compared.word.eq(self.i.payload), compared.ties.eq(current.ties),
                compared.first.eq(first),
                compared.above.eq(Cat(self.i.p.values[r] > current.threshold for r in range(width))),
                compared.equal.eq(Cat(self.i.p.values[r] == current.threshold for r in range(width))),
            ]
        with m.If(step_counted):
            m.d.sync += [counted_valid.eq(compared_valid), counted.eq(compared)]
            for r, count in enumerate(before):
                m.d.sync += count.eq(balanced_sum([compared.equal[q] for q in range(r)]) if r else 0)

        left, left_before = Signal(layout["ties"].shape, reset_less=True), Signal(layout["ties"].shape)
        wins = Signal(width)
        m.d.comb += [
            left_before.eq(Mux(counted.first, counted.ties, left)),
            wins.eq(counted.above | counted.equal & Cat(before[r] < left_before for r in range(width))),
        ]
        with m.If(step_o):
            m.d.sync += self.o.payload.eq(counted.word)
            if self._arch.losers:
                m.d.sync += self.o.valid.eq(counted_valid)
                for r in range(width):
                    m.d.sync += self.o.p.values[r].eq(Mux(wins[r], counted.word.values[r], 0))
            else:
                m.d.sync += [
                    self.o.valid.eq(counted_valid & (counted.word.last | wins.any())), self.o.p.mask.eq(wins),
                ]
            with m.If(counted_valid):
                m.d.sync += left.eq(Mux(before[width] < left_before, left_before - before[width], 0))
        return m
