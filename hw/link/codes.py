"""Between octets and a network's streams: each code in the fewest octets that hold it."""

from amaranth.hdl import Cat, Const, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..layouts import frame_layout
from .layouts import body_layout
from .sizes import code_octets

__all__ = ["FrameCodes", "ResultOctets"]


class FrameCodes(wiring.Component):
    """Octets of one input frame after the other into beats of ``width`` codes. One octet a cycle.

    Codes of 12 bits, two a beat: octets 0 and 1 are code 0, octets 2 and 3 code 1, of octets 1 and 3 the low four
    bits count. What a frame's last beat has beyond the frame is of any value.

    Parameters
    ----------
    width : int
        Codes a beat.
    value : Shape

    Members
    -------
    i : In(stream.Signature(body_layout))
        Whole codes.
    o : Out(stream.Signature(frame_layout(..., keep=False)))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, width: int, value: Shape):
        self._width, self._value = width, value
        super().__init__({
            "i": In(stream.Signature(body_layout)),
            "o": Out(stream.Signature(frame_layout(width=width, value=value, keep=False))),
        })

    def elaborate(self, platform):
        m = Module()
        bits, octets = self._value.width, code_octets(self._value.width)
        place = Signal(range(self._width * octets))
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(0)
            with m.If(self.i.valid):
                m.d.sync += place.eq(place + 1)
                with m.If((place == self._width * octets - 1) | self.i.p.last):
                    m.d.sync += [place.eq(0), self.o.valid.eq(1), self.o.p.last.eq(self.i.p.last)]
        for code in range(self._width):
            for octet in range(octets):
                part = Value.cast(self.o.p.data[code])[8 * octet:min(8 * octet + 8, bits)]
                with m.If(self.i.ready & self.i.valid & (place == code * octets + octet)):
                    m.d.sync += part.eq(self.i.p.octet)
        return m


class ResultOctets(wiring.Component):
    """Beats of one result after the other into octets, each element sign-extended. One octet a cycle, no latency.

    Parameters
    ----------
    width : int
        Elements a beat.
    value : Shape

    Members
    -------
    i : In(stream.Signature(frame_layout(..., keep=True)))
        Elements that exist are a beat's first, and at least one.
    o : Out(stream.Signature(body_layout))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, width: int, value: Shape):
        self._width, self._value = width, value
        super().__init__({
            "i": In(stream.Signature(frame_layout(width=width, value=value, keep=True))),
            "o": Out(stream.Signature(body_layout)),
        })

    def elaborate(self, platform):
        m = Module()
        octets = code_octets(self._value.width)
        place, end = Signal(range(self._width * octets)), Signal()
        shape = signed(8 * octets) if self._value.signed else unsigned(8 * octets)
        words, ends = [], []
        for number in range(self._width):
            word = Signal(shape, name=f"word{number}")
            m.d.comb += word.eq(self.i.p.data[number])
            words.append(word)
            final = ~self.i.p.keep[number + 1] if number < self._width - 1 else Const(1)
            ends += [0] * (octets - 1) + [final]
        m.d.comb += [
            self.o.p.octet.eq(Cat(*words).word_select(place, 8)), end.eq(Cat(*ends).bit_select(place, 1)),
            self.o.valid.eq(self.i.valid), self.o.p.last.eq(self.i.p.last & end),
            self.i.ready.eq(self.o.ready & end),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += place.eq(place + 1)
            with m.If(end):
                m.d.sync += place.eq(0)
        return m
