"""Hands beats to the lanes' replay buffers and knows when a half is free."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import EngineArch, bits_for
from .layouts import activation_shape, engine_layout

__all__ = ["Intake"]


class Intake(wiring.Component):
    """One beat a cycle goes to all lanes at once while the writing half is free; a vector frees it when every lane has
    taken its last slot. Latency: none, the lanes write in the cycle of the transfer.

    Members
    -------
    i : In(stream.Signature(engine_layout(arch)))
    push : Out(lanes), addresses : Out(ArrayLayout), values : Out(ArrayLayout), end : Out(1)
        To the lanes' ``ReplayBuffer``.
    vector_end : In(lanes)
        A lane takes the last slot of a vector.
    """

    i: stream.Interface
    push: Signal
    addresses: data.View
    values: data.View
    end: Signal
    vector_end: Signal

    def __init__(self, arch: EngineArch):
        self._arch = arch
        super().__init__({
            "i": In(stream.Signature(engine_layout(arch))), "push": Out(arch.lanes),
            "addresses": Out(data.ArrayLayout(bits_for(arch.lane_positions), arch.lanes)),
            "values": Out(data.ArrayLayout(activation_shape(arch), arch.lanes)), "end": Out(1),
            "vector_end": In(arch.lanes),
        })

    def elaborate(self, platform):
        m = Module()
        held = Signal(range(3))         # vectors that are written and not freed
        free = Signal()
        finished = []                   # per lane: it is through with the oldest held vector
        for lane in range(self._arch.lanes):
            through = Signal(range(3), name=f"through{lane}")
            m.d.sync += through.eq(through + self.vector_end[lane] - free)
            finished.append(through != 0)
        transfer = Signal()
        m.d.comb += [
            free.eq(Cat(*finished).all()), self.i.ready.eq(held != 2), transfer.eq(self.i.valid & self.i.ready),
            self.end.eq(transfer & self.i.p.last), self.values.eq(self.i.p.values),
            *(self.addresses[lane].eq(self.i.p.addresses[lane] if self._arch.own_addresses else self.i.p.address)
              for lane in range(self._arch.lanes)),
        ]
        with m.If(transfer):
            m.d.comb += self.push.eq(self.i.p.mask)
        m.d.sync += held.eq(held + self.end - free)
        return m
