"""A memory that is read by the design and, on request, written over the load stream."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .arch import bits_for
from .layouts import load_layout

__all__ = ["Rom"]


class Rom(wiring.Component):
    """Rows of ``width`` bits, initialised from ``init``.

    Latency is one cycle: ``data`` follows ``address`` after each clock edge with ``en`` set, and holds otherwise. Rows
    are kept in chunks of at most 32 bits, numbered from ``load_id`` on upward; a chunk is written when the load stream
    names it. Reading a row in the cycle in which it is written returns either value: load while the network is idle.

    Parameters
    ----------
    width, depth : int
        Bits of a row, number of rows.
    init : Sequence[int]
        At most ``depth`` rows; the rest are zero.
    load_id : int | None
        Number of the first chunk on the load stream; None for a memory that cannot be written.

    Members
    -------
    address : In(bits_for(depth))
    en : In(1)
    data : Out(width)
    load : In(stream.Signature(load_layout)), only with ``load_id``; always ready
    """

    address: Signal
    en: Signal
    data: Signal
    load: stream.Interface

    def __init__(self, *, width: int, depth: int, init: Sequence[int], load_id: int | None = None):
        if len(init) > depth:
            raise ValueError(f"init must hold at most {depth} rows, not {len(init)!r}")
        for row in init:
            if not 0 <= row < 1 << width:
                raise ValueError(f"init must hold rows of {width} bits, not {row!r}")
        self._width, self._depth, self._init, self._load_id = width, depth, init, load_id
        members = {"address": In(bits_for(depth)), "en": In(1), "data": Out(width)}
        if load_id is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        parts = []
        if self._load_id is not None:
            m.d.comb += self.load.ready.eq(1)
        for chunk, low in enumerate(range(0, self._width, 32)):
            bits = min(32, self._width - low)
            memory = Memory(shape=bits, depth=self._depth, init=[row >> low & (1 << bits) - 1 for row in self._init])
            m.submodules[f"chunk{chunk}"] = memory
            read = memory.read_port()
            m.d.comb += [read.addr.eq(self.address), read.en.eq(self.en)]
            parts.append(read.data)
            if self._load_id is not None:
                write, load = memory.write_port(), self.load
                m.d.comb += [
                    write.addr.eq(load.p.row), write.data.eq(load.p.data),
                    write.en.eq(load.valid & (load.p.memory == self._load_id + chunk)),
                ]
        m.d.comb += self.data.eq(Cat(*parts))
        return m
