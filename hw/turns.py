"""Threshold finders that take turns: as many times the vectors in the time that one needs."""

from collections.abc import Sequence

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring

from .histogram import Histogram
from .local_kwta import RadixSelect

__all__ = ["Turns"]


class Turns(wiring.Component):
    """Hands vector after vector to one finder after the other, and their thresholds on in the same order.

    Combinational: what a finder says of its cycles holds for its own vectors. The token of a vector is that of the
    finder whose turn it is, however many others are free; the search in a finder's next vector waits until its
    threshold is taken, which is when those of all vectors before are.

    Parameters
    ----------
    finders : sequence of Histogram or RadixSelect
        All alike, at least one.

    Members
    -------
    i, credit, o
        Those of a finder.
    """

    i: stream.Interface
    credit: stream.Interface
    o: stream.Interface

    def __init__(self, finders: Sequence[Histogram | RadixSelect]):
        self._finders = tuple(finders)
        super().__init__(dict(self._finders[0].signature.members))

    def elaborate(self, platform):
        m = Module()
        finders = self._finders
        arrives, given, taken = Signal(), Signal(), Signal()

        def turn(name, over):
            """The finder whose turn it is, until ``over``."""
            number = Signal(range(len(finders)), name=name)
            with m.If(over):
                m.d.sync += number.eq(Mux(number == len(finders) - 1, 0, number + 1))
            return number

        arriving, giving, finding = turn("arriving", arrives), turn("giving", given), turn("finding", taken)
        m.d.comb += [
            self.i.ready.eq(1), arrives.eq(self.i.valid & self.i.p.last),
            self.credit.valid.eq(Array(finder.credit.valid for finder in finders)[giving]),
            given.eq(self.credit.valid & self.credit.ready),
            self.o.valid.eq(Array(finder.o.valid for finder in finders)[finding]),
            self.o.payload.as_value().eq(Array(finder.o.payload.as_value() for finder in finders)[finding]),
            taken.eq(self.o.valid & self.o.ready),
        ]
        for number, finder in enumerate(finders):
            m.submodules[f"finder{number}"] = finder
            m.d.comb += [
                finder.i.valid.eq(self.i.valid & (arriving == number)), finder.i.payload.eq(self.i.payload),
                finder.credit.ready.eq(self.credit.ready & (giving == number)),
                finder.o.ready.eq(self.o.ready & (finding == number)),
            ]
        return m
