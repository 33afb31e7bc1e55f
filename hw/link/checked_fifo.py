"""A memory of octets whose writer finds out afterwards whether they were good."""

from amaranth.hdl import Module, Signal
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
    so that 512 of them are one block RAM of iCE40. The reader gets an octet every other cycle.

    Parameters
    ----------
    depth : int
        Octets; a power of two.
    frames : int
        How many frames may wait behind the one that is read.
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
        if frames < 1:
            raise ValueError(f"frames must be at least 1, not {frames!r}")
        if not 0 <= trailer < depth:
            raise ValueError(f"trailer must be at least 0 and less than depth ({depth}), not {trailer!r}")
        self._depth, self._frames, self._trailer = depth, frames, trailer
        super().__init__({
            "i": In(stream.Signature(part_layout)), "o": Out(stream.Signature(request_layout(depth))),
            "dropped": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        depth = self._depth
        m.submodules.memory = memory = Memory(shape=8, depth=depth, init=[])
        m.submodules.lengths = lengths = SyncFIFO(width=bits_for(depth + 1), depth=self._frames)
        write, read = memory.write_port(), memory.read_port()
        # Pointers have a bit more than addresses: all of a full memory differs from nothing of an empty one.
        written, good, taken = (Signal(range(2 * depth), name=name) for name in ("written", "good", "taken"))
        end, full, overflow, keep = Signal.like(written), Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(1), full.eq(written == taken ^ depth), end.eq(written - self._trailer),
            keep.eq((self.i.p.part == Part.GOOD) & ~overflow & lengths.w_rdy),
            write.addr.eq(written), write.data.eq(self.i.p.octet), lengths.w_data.eq(end - good),
        ]
        with m.If(self.i.valid):
            with m.If(self.i.p.part == Part.OCTET):
                m.d.comb += write.en.eq(~full & ~overflow)
                m.d.sync += [overflow.eq(overflow | full), written.eq(written + write.en)]
            with m.Else():
                m.d.comb += [lengths.w_en.eq(keep), self.dropped.eq(~keep)]
                m.d.sync += [overflow.eq(0), written.eq(good)]
                with m.If(keep):
                    m.d.sync += [written.eq(end), good.eq(end)]

        # What is read stays in the memory's own output register until it is taken.
        left = self.o.p.left
        m.d.comb += [self.o.p.octet.eq(read.data), read.addr.eq(taken), read.en.eq(~self.o.valid)]
        with m.If(self.o.valid):
            with m.If(self.o.ready):
                m.d.sync += [self.o.valid.eq(0), left.eq(left - 1), taken.eq(taken + 1)]
        with m.Elif(left != 0):
            m.d.sync += self.o.valid.eq(1)
        with m.Else():
            m.d.comb += lengths.r_en.eq(1)
            with m.If(lengths.r_rdy):
                m.d.sync += left.eq(lengths.r_data)
        return m
