"""The windows of a convolution, from pixels that come one after the other."""

from amaranth.hdl import Module, Shape
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .arch import WindowArch
from .layouts import beat_layout, window_layout
from .line_buffer import LineBuffer
from .window_reader import WindowReader
from .window_walk import WindowWalk

__all__ = ["Windows"]


class Windows(wiring.Component):
    """Every window of an image as beats for an engine's lanes.

    ::

        i -> LineBuffer <-> WindowReader -> o
                 |               ^
                 +-> WindowWalk -+

    Pixels are stored as they come, with their few pairs only: a sparse line buffer. The taps that are read side by side
    (``arch.lanes`` of them) are in as many banks, by the pixel's row and column modulo those of the kernel; from banks
    to lanes they are turned by where the window stands. The same holds for every stride and pad, and one image follows
    the other without a gap.

    A group of ``lanes`` taps takes as many beats as its fullest pixel has pairs, at least one, which may then be empty;
    a window the sum over its groups. Nothing else takes time as long as pixels are there and ``o`` is ready. A window's
    first beat is valid ``latency`` cycles after the last beat of its last pixel. A row is free as soon as the window
    row that needs it last is read; the next ``arch.rows`` rows are stored meanwhile. A row that no window needs passes
    through like any other. No geometry can lock up: a window row needs no more rows than the buffer has, and no row is
    kept for windows that were read. `dovetail.sim.window_cycles` tells every cycle exactly.

    Without ``arch.indexed`` every tap has all its channels, in order and with zeros for what lies in the padding, so
    that an engine can count local addresses by itself.

    A reset, at any time, drops everything.

    Members
    -------
    i : In(stream.Signature(beat_layout(...)))
        The pixels of an image, row by row: element ``address * input_lanes + lane`` is the channel, ``last`` ends the
        pixel. A pixel without pairs is one empty beat. No pixel may have more than ``arch.slots`` pairs.
    o : Out(stream.Signature(window_layout(...)))
    """

    i: stream.Interface
    o: stream.Interface

    @staticmethod
    def latency(arch: WindowArch) -> int:
        """Cycles from a pixel's last beat to the first beat of a window that waited for nothing else."""
        return 3 + WindowReader.latency(arch)

    def __init__(self, arch: WindowArch):
        self._arch = arch
        value = Shape(arch.activation_bits, signed=arch.activation_signed)
        super().__init__({
            "i": In(stream.Signature(beat_layout(
                lanes=arch.input_lanes, address_bits=arch.input_address_bits, value=value))),
            "o": Out(stream.Signature(window_layout(lanes=arch.lanes, address_bits=arch.address_bits, value=value))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = LineBuffer(self._arch)
        m.submodules.walk = walk = WindowWalk(self._arch)
        m.submodules.reader = reader = WindowReader(self._arch)
        connect(m, flipped(self.i), buffer.i)
        connect(m, walk=walk.o, reader=reader.i)
        connect(m, reader.o, flipped(self.o))
        m.d.comb += [
            walk.row_done.eq(buffer.row_done), walk.column.eq(buffer.column), buffer.release.eq(reader.release),
            buffer.place.eq(reader.place), buffer.slot.eq(reader.slot), buffer.en.eq(reader.en),
            reader.pairs.eq(buffer.pairs),
        ]
        if self._arch.indexed:
            m.d.comb += [
                buffer.count_place.eq(reader.count_place), buffer.count_en.eq(reader.count_en),
                reader.counts.eq(buffer.counts),
            ]
        return m
