"""A memory of octets whose writer finds out afterwards whether they were good."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..arch import bits_for
from .layouts import Part, part_layout, request_layout

__all__ = ["CheckedFifo"]


class CheckedFifo(wiring.Component):
    """Keeps frames until they are read; those that are bad or too long were never there.

    A frame is octets, then `Part.GOOD` or `Part.BAD`. Of a good one the reader sees all but the last ``trailer``
    octets. A good frame for which there is no room is dropped whole, as if it were bad. The memory holds octets only,
    so that 512 of them are one block RAM of iCE40. The reader gets an octet every other cycle,
    and none in the cycle after one is written.

    Parameters
    ----------
    depth : int
        Octets; a power of two.
    frames : int
        How many frames there may be, with the one that is read; at least 2.
    trailer : int
        Octets at the end of each frame that are not for the reader; a good frame has more.

    Members
    -------
    i : In(stream.Signature(part_layout))
        Always ready.
    o : Out(stream.Signature(request_layout(depth)))
    dropped : Out(1)
        Set for a cycle when a frame is dropped: an event that nobody waits for.
    """

    i: stream.Interface
    o: stream.Interface
    dropped: Signal

    def __init__(self, *, depth: int, frames: int, trailer: int = 0):
        if depth < 2 or depth & depth - 1:
            raise ValueError(f"depth must be a power of two from 2 on, not {depth!r}")
        if frames < 2:
            raise ValueError(f"frames must be at least 2, not {frames!r}")
        if not 0 <= trailer < depth:
            raise ValueError(f"trailer must be at least 0 and less than depth ({depth}), not {trailer!r}")
        self._depth, self._frames, self._trailer = depth, frames, trailer
        super().__init__({
            "i": In(stream.Signature(part_layout)), "o": Out(stream.Signature(request_layout(depth))),
            "dropped": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        depth, trailer = self._depth, self._trailer
        m.submodules.memory = memory = Memory(shape=8, depth=depth, init=[])
        # Of every frame the address behind its last octet for the reader. The first is that of the frame being read.
        m.submodules.ends = ends = SyncFIFO(width=bits_for(2 * depth), depth=self._frames)
        write, read = memory.write_port(), memory.read_port(domain="comb")
        # Addresses have a bit more than the memory's: all of a full memory differs from nothing of an empty one.
        good, taken, count, end = (Signal(range(2 * depth), name=name) for name in ("good", "taken", "count", "end"))
        full, overflow, keep = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(1), end.eq(good + count), full.eq(end == taken ^ depth), write.addr.eq(end),
            write.data.eq(self.i.p.octet), ends.w_data.eq(end - trailer),
            keep.eq((self.i.p.part == Part.GOOD) & ~overflow & ends.w_rdy),
        ]
        with m.If(self.i.valid):
            with m.If(self.i.p.part == Part.OCTET):
                m.d.comb += write.en.eq(~full & ~overflow)
                m.d.sync += [overflow.eq(overflow | full), count.eq(count + 1)]
            with m.Else():
                m.d.comb += [ends.w_en.eq(keep), self.dropped.eq(~keep)]
                m.d.sync += [overflow.eq(0), count.eq(0)]
                with m.If(keep):
                    m.d.sync += good.eq(end)

        # Never reading in a cycle with a write lets synthesis make a block RAM and its register of this, and no more.
        m.d.comb += read.addr.eq(taken)
        with m.If(self.o.valid):
            with m.If(self.o.ready):
                last = self.o.p.left == 1
                m.d.comb += ends.r_en.eq(last)
                m.d.sync += [self.o.valid.eq(0), taken.eq(taken + Mux(last, trailer + 1, 1))]
        with m.Elif(ends.r_rdy & ~write.en):
            m.d.sync += [self.o.valid.eq(1), self.o.p.octet.eq(read.data), self.o.p.left.eq(ends.r_data - taken)]
        return m
