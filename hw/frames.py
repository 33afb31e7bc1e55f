"""The network's border: frames of codes in, frames of results out."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import bits_for, ceil_div
from .layouts import beat_layout, frame_layout

__all__ = ["InputFrames", "OutputFrames", "PixelFrames"]


class InputFrames(wiring.Component):
    """Numbers the codes of a frame.

    A frame is ``length`` codes, ``width`` a beat, the last beat marked; surplus codes of the last beat do not count. A
    frame that ends early is completed by zeros, and what a frame has too much is dropped, so that no frame length can
    stop or shift the network. No latency, one beat a cycle.

    Parameters
    ----------
    length, width, lanes : int
        Codes per frame and per beat; ``lanes``, a multiple of ``width``, of the engine behind.
    value : Shape
    skip_zeros : bool
        Do not hand on zeros (zero skipping).

    Members
    -------
    i : In(stream.Signature(frame_layout(...)))
    o : Out(stream.Signature(beat_layout(lanes=lanes, ...)))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, length: int, width: int, lanes: int, value: Shape, skip_zeros: bool):
        if lanes % width:
            raise ValueError(f"width must divide lanes ({lanes}), not {width!r}")
        self._length, self._width, self._lanes, self._skip_zeros = length, width, lanes, skip_zeros
        address_bits = bits_for(ceil_div(length, lanes))
        super().__init__({
            "i": In(stream.Signature(frame_layout(width=width, value=value, keep=False))),
            "o": Out(stream.Signature(beat_layout(lanes=lanes, address_bits=address_bits, value=value))),
        })

    def elaborate(self, platform):
        m = Module()
        parts = self._lanes // self._width
        beats = ceil_div(self._length, self._width)
        beat, part, address = Signal(range(beats + 1)), Signal(range(parts)), Signal.like(self.o.p.address)
        inside = Signal()
        codes = [self.i.p.data[number] for number in range(self._width)]
        # Only the last regular beat can hold codes beyond the frame.
        surplus = beats * self._width - self._length
        exist = [(beat != beats - 1) if number >= self._width - surplus else 1 for number in range(self._width)]
        keep = Cat(*(inside & here & ((code != 0) if self._skip_zeros else 1)
                     for here, code in zip(exist, codes, strict=True)))
        m.d.comb += [
            inside.eq(beat != beats), self.o.valid.eq(self.i.valid & (inside | self.i.p.last)),
            self.i.ready.eq(self.o.ready | ~(inside | self.i.p.last)),
            self.o.p.address.eq(address), self.o.p.last.eq(self.i.p.last),
            self.o.p.mask.eq(keep << (part * self._width)),
        ]
        for lane in range(self._lanes):
            m.d.comb += self.o.p.values[lane].eq(codes[lane % self._width])
        with m.If(self.i.valid & self.i.ready):
            with m.If(inside):
                m.d.sync += [beat.eq(beat + 1), part.eq(part + 1)]
                with m.If(part == parts - 1):
                    m.d.sync += [part.eq(0), address.eq(address + 1)]
            with m.If(self.i.p.last):
                m.d.sync += [beat.eq(0), part.eq(0), address.eq(0)]
        return m


class PixelFrames(wiring.Component):
    """Parts the codes of a frame into the pixels of an image.

    A frame is the codes of ``pixels`` pixels, ``width`` a beat, the last beat marked. A frame that ends early is
    completed by zeros, a beat a cycle in which ``i`` waits; what a frame has too much is dropped. No latency, one beat
    a cycle.

    Parameters
    ----------
    pixels, channels : int
        Of an image; codes of a pixel.
    width : int
        Codes a beat; divides ``channels``.
    value : Shape
    skip_zeros : bool
        Do not hand on zeros (zero skipping); every beat is sent.

    Members
    -------
    i : In(stream.Signature(frame_layout(...)))
    o : Out(stream.Signature(beat_layout(lanes=width, ...)))
        ``last`` ends a pixel.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, pixels: int, channels: int, width: int, value: Shape, skip_zeros: bool):
        if channels % width:
            raise ValueError(f"width must divide channels ({channels}), not {width!r}")
        self._pixels, self._parts, self._width, self._skip_zeros = pixels, channels // width, width, skip_zeros
        super().__init__({
            "i": In(stream.Signature(frame_layout(width=width, value=value, keep=False))),
            "o": Out(stream.Signature(beat_layout(lanes=width, address_bits=bits_for(self._parts), value=value))),
        })

    def elaborate(self, platform):
        m = Module()
        part, pixel = Signal(range(self._parts)), Signal(range(self._pixels))
        missing, surplus = Signal(), Signal()       # the frame ended early; it goes on behind its end
        pixel_end, frame_end = Signal(), Signal()
        m.d.comb += [
            pixel_end.eq(part == self._parts - 1), frame_end.eq(pixel_end & (pixel == self._pixels - 1)),
            self.o.valid.eq(missing | self.i.valid & ~surplus), self.i.ready.eq(~missing & (self.o.ready | surplus)),
            self.o.p.address.eq(part), self.o.p.last.eq(pixel_end),
        ]
        for lane in range(self._width):
            code = self.i.p.data[lane]
            with m.If(~missing):
                m.d.comb += self.o.p.values[lane].eq(code)
            m.d.comb += self.o.p.mask[lane].eq(~missing & (code != 0) if self._skip_zeros else 1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += part.eq(part + 1)
            with m.If(pixel_end):
                m.d.sync += [part.eq(0), pixel.eq(pixel + 1)]
            with m.If(frame_end):
                m.d.sync += [pixel.eq(0), missing.eq(0), surplus.eq(~missing & ~self.i.p.last)]
            with m.Elif(self.i.p.last):
                m.d.sync += missing.eq(1)
        with m.If(surplus & self.i.valid & self.i.p.last):
            m.d.sync += surplus.eq(0)
        return m


class OutputFrames(wiring.Component):
    """Drops the address of beats that arrive complete and in order. No latency.

    A frame is ``vectors`` vectors of ``length`` elements, each with beats of its own; the last beat of the last one
    ends it.

    Members
    -------
    i : In(stream.Signature(beat_layout(...)))
    o : Out(stream.Signature(frame_layout(..., keep=True)))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, length: int, vectors: int = 1, width: int, value: Shape):
        self._width, self._vectors = width, vectors
        address_bits = bits_for(ceil_div(length, width))
        super().__init__({
            "i": In(stream.Signature(beat_layout(lanes=width, address_bits=address_bits, value=value))),
            "o": Out(stream.Signature(frame_layout(width=width, value=value, keep=True))),
        })

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready), self.o.p.keep.eq(self.i.p.mask),
        ]
        vector, final = Signal(range(self._vectors)), Signal()
        m.d.comb += [final.eq(vector == self._vectors - 1), self.o.p.last.eq(self.i.p.last & final)]
        with m.If(self.i.valid & self.i.ready & self.i.p.last):
            m.d.sync += vector.eq(Mux(final, 0, vector + 1))
        for number in range(self._width):
            m.d.comb += self.o.p.data[number].eq(self.i.p.values[number])
        return m
