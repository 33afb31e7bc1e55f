"""From words of the store to beats of as many elements as the next unit has lanes."""

from amaranth.hdl import Cat, Const, Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import SelectArch
from .layouts import beat_layout
from .winners import word_layout

__all__ = ["Gearbox"]


class Gearbox(wiring.Component):
    """Rearranges masked words of R elements into beats of ``arch.lanes`` elements, in order; combinational.

    * Lanes a multiple of R: every word is one beat. With R = 2 and 4 lanes, word 5 holds elements 10 and 11, so it
      becomes address 2, lanes 2 and 3.
    * R a multiple of lanes: a word is sent as those of its parts that are not empty, one a cycle. With R = 4 and
      2 lanes, word 5 is address 10 (elements 20 and 21), then address 11.

    ``last`` is set on the last beat of a vector only; where its last word is empty, that is an empty beat.

    Members
    -------
    i : In(stream.Signature(word_layout(arch)))
        Words with an empty mask must not come, except as a vector's last.
    o : Out(stream.Signature(beat_layout(...)))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, arch: SelectArch):
        self._arch = arch
        value = Shape(arch.value_bits, signed=arch.value_signed)
        super().__init__({
            "i": In(stream.Signature(word_layout(arch))),
            "o": Out(stream.Signature(beat_layout(lanes=arch.lanes, address_bits=arch.address_bits, value=value))),
        })

    def elaborate(self, platform):
        m = Module()
        if self._arch.lanes >= self._arch.width:
            self._widen(m)
        else:
            self._narrow(m)
        return m

    def _widen(self, m: Module) -> None:
        width, ratio = self._arch.width, self._arch.lanes // self._arch.width
        address = self.i.p.address
        m.d.comb += [
            self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready), self.o.p.last.eq(self.i.p.last),
            self.o.p.address.eq(address // ratio),
            self.o.p.values.as_value().eq(self.i.p.values.as_value().replicate(ratio)),
            self.o.p.mask.eq(Cat(self.i.p.mask & (address % ratio == offset).replicate(width)
                                 for offset in range(ratio))),
        ]

    def _narrow(self, m: Module) -> None:
        lanes, parts = self._arch.lanes, self._arch.width // self._arch.lanes
        sent, pending, rest = Signal(parts), Signal(parts), Signal(parts)
        values = self.i.p.values.as_value()
        m.d.comb += [
            pending.eq(~sent & Cat(self.i.p.mask.word_select(part, lanes).any() for part in range(parts))),
            rest.eq(pending & (pending - 1)),       # without the lowest bit
            self.o.valid.eq(self.i.valid), self.o.p.last.eq(self.i.p.last & (rest == 0)),
            self.i.ready.eq(self.o.ready & (rest == 0)),
        ]
        with m.If(self.i.valid & self.o.ready):
            m.d.sync += sent.eq(0)
            with m.If(rest != 0):
                m.d.sync += sent.eq(sent | pending & ~rest)
        bits = len(values) // parts
        # The lowest pending part; the highest one needs no bit of its own, and an empty word ends up there, too.
        for part in reversed(range(parts)):
            with m.If(pending[part] if part < parts - 1 else Const(1)):
                m.d.comb += [
                    self.o.p.address.eq(self.i.p.address * parts + part),
                    self.o.p.values.as_value().eq(values.word_select(part, bits)),
                    self.o.p.mask.eq(self.i.p.mask.word_select(part, lanes)),
                ]
