"""A memory that is read by the design and, on request, written over the load stream."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .arch import MemoryKind, bits_for
from .layouts import load_layout

__all__ = ["EMPTY_STYLE", "Rom", "ram_style"]

#: Of a memory without initial contents, the attribute ``ram_style``.
EMPTY_STYLE = "huge"


def ram_style(kind: MemoryKind, *, written: bool) -> dict[str, str]:
    """Attributes of a memory that tell synthesis what to make it of; ``written`` says whether anybody writes it."""
    # Without a write port there is no LUT RAM to Yosys, which refuses "distributed" then.
    lut_ram = "distributed" if written else "logic"
    styles = {MemoryKind.LUT_RAM: lut_ram, MemoryKind.REGISTERS: "logic", MemoryKind.BLOCK_RAM: "block",
              MemoryKind.SPRAM: EMPTY_STYLE}
    return {"ram_style": styles[kind]} if kind in styles else {}


class Rom(wiring.Component):
    """Rows of ``width`` bits, initialised from ``init`` unless they are in SPRAM.

    Latency is one cycle: ``data`` follows ``address`` after each clock edge with ``en`` set, and holds otherwise. Rows
    are kept in chunks of at most 32 bits, numbered from ``load_id`` on upward; a chunk is written when the load stream
    names it. Reading a row in the cycle in which it is written returns either value: load while the network is idle.
    SPRAM has one port, which a write takes whole, and no contents before the load.

    Parameters
    ----------
    width, depth : int
        Bits of a row, number of rows.
    init : Sequence[int]
        At most ``depth`` rows; the rest are zero.
    load_id : int | None
        Number of the first chunk on the load stream; None for a memory that cannot be written.
    kind : MemoryKind
        What it is made of.

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

    def __init__(self, *, width: int, depth: int, init: Sequence[int], load_id: int | None = None,
                 kind: MemoryKind = MemoryKind.AUTO):
        if len(init) > depth:
            raise ValueError(f"init must hold at most {depth} rows, not {len(init)!r}")
        for row in init:
            if not 0 <= row < 1 << width:
                raise ValueError(f"init must hold rows of {width} bits, not {row!r}")
        if kind is MemoryKind.SPRAM and load_id is None:
            raise ValueError("load_id must be given for SPRAM, not None")
        self._width, self._depth, self._init, self._load_id, self._kind = width, depth, init, load_id, kind
        members = {"address": In(bits_for(depth)), "en": In(1), "data": Out(width)}
        if load_id is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        parts = []
        if self._load_id is not None:
            m.d.comb += self.load.ready.eq(1)
        spram = self._kind is MemoryKind.SPRAM
        attributes = ram_style(self._kind, written=self._load_id is not None)
        address = Signal.like(self.address)
        m.d.comb += address.eq(Mux(self.load.valid, self.load.p.row, self.address) if spram else self.address)
        for chunk, low in enumerate(range(0, self._width, 32)):
            bits = min(32, self._width - low)
            init = [] if spram else [row >> low & (1 << bits) - 1 for row in self._init]
            memory = Memory(shape=bits, depth=self._depth, init=init, attrs=attributes)
            m.submodules[f"chunk{chunk}"] = memory
            read = memory.read_port()
            m.d.comb += [read.addr.eq(address), read.en.eq(self.en)]
            parts.append(read.data)
            if self._load_id is not None:
                write = memory.write_port()
                m.d.comb += [
                    write.addr.eq(address if spram else self.load.p.row), write.data.eq(self.load.p.data),
                    write.en.eq(self.load.valid & (self.load.p.memory == self._load_id + chunk)),
                ]
                if spram:       # one address, and never both: what makes it one port for synthesis
                    m.d.comb += read.en.eq(self.en & ~write.en)
        m.d.comb += self.data.eq(Cat(*parts))
        return m
