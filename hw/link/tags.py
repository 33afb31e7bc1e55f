"""Tags of the calls that have no answer yet."""

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Tags"]


class Tags(wiring.Component):
    """A queue of tags, written and read octet by octet.

    Whoever writes sees to it that there is room, and whoever reads that a tag is there: both count calls. Registers
    that shift, so that neither side needs a memory or addresses for octets.

    Parameters
    ----------
    depth : int
        Tags.

    Members
    -------
    i : In(stream.Signature(8))
        Always ready.
    o : Out(stream.Signature(8))
        Always valid.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, depth: int):
        if depth < 1:
            raise ValueError(f"depth must be at least 1, not {depth!r}")
        self._depth = depth
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        tags = [Signal(32, name=f"tag{number}", reset_less=True) for number in range(self._depth)]

        def counters(name: str, step):
            """Number of a tag, and of the octet in it."""
            tag, octet = Signal(range(self._depth), name=f"{name}_tag"), Signal(2, name=f"{name}_octet")
            with m.If(step):
                m.d.sync += octet.eq(octet + 1)
                with m.If(octet == 3):
                    m.d.sync += tag.eq(tag + 1)
                    with m.If(tag == self._depth - 1):
                        m.d.sync += tag.eq(0)
            return tag

        writing, reading = counters("write", self.i.valid), counters("read", self.o.ready)
        m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(1), self.o.payload.eq(Array(tag[:8] for tag in tags)[reading])]
        for number, tag in enumerate(tags):
            with m.If((self.i.valid & (writing == number)) | (self.o.ready & (reading == number))):
                m.d.sync += tag.eq(Cat(tag[8:], self.i.payload))
        return m
