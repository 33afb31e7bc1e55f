"""Joins the pixels of an image to one vector, for a fully connected layer behind a convolution."""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import bits_for
from .layouts import beat_layout

__all__ = ["Join"]


class Join(wiring.Component):
    """Element ``e`` of pixel ``p`` becomes element ``p * elements + e``. No latency, one beat a cycle.

    Parameters
    ----------
    vectors, elements : int
        Pixels of an image, and channels of a pixel.
    lanes : int
        Elements per beat; divides ``elements``.
    value : Shape

    Members
    -------
    i : In(stream.Signature(beat_layout(...)))
        ``last`` ends a pixel. A pixel without pairs is one empty beat, and so is handed on.
    o : Out(stream.Signature(beat_layout(...)))
        ``last`` ends the vector.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, vectors: int, elements: int, lanes: int, value: Shape):
        if elements % lanes:
            raise ValueError(f"lanes must divide elements ({elements}), not {lanes!r}")
        self._vectors, self._addresses = vectors, elements // lanes
        super().__init__({
            "i": In(stream.Signature(beat_layout(lanes=lanes, address_bits=bits_for(self._addresses), value=value))),
            "o": Out(stream.Signature(beat_layout(
                lanes=lanes, address_bits=bits_for(vectors * self._addresses), value=value))),
        })

    def elaborate(self, platform):
        m = Module()
        vector, base, final = Signal(range(self._vectors)), Signal.like(self.o.p.address), Signal()
        m.d.comb += [
            final.eq(vector == self._vectors - 1), self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready),
            self.o.p.address.eq(base + self.i.p.address), self.o.p.values.eq(self.i.p.values),
            self.o.p.mask.eq(self.i.p.mask), self.o.p.last.eq(self.i.p.last & final),
        ]
        with m.If(self.i.valid & self.i.ready & self.i.p.last):
            m.d.sync += [vector.eq(Mux(final, 0, vector + 1)), base.eq(Mux(final, 0, base + self._addresses))]
        return m
