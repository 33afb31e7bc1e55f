"""Frames on an octet stream: flags, stuffing and a CRC-32, put on and taken off. ``docs/host.md`` has the format."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .crc import RESIDUE, CrcRegister
from .layouts import Part, body_layout, line_layout, part_layout
from .messages import ESCAPE, ESCAPE_XOR, FLAG
from .sizes import CRC_OCTETS, HEAD_OCTETS

__all__ = ["Deframer", "Framer"]

#: A frame with fewer octets holds no message.
_LEAST = HEAD_OCTETS + CRC_OCTETS


class Deframer(wiring.Component):
    """Takes flags and stuffing off, and tells of every frame whether it is good.

    What is between two flags comes out octet by octet, the CRC with it, then `Part.GOOD` or `Part.BAD`: where the CRC
    is wrong, where it is too short for a message, where an octet was an error, or where it was aborted. Nothing comes
    for two flags one behind the other. Takes nine cycles for an octet.

    Members
    -------
    i : In(stream.Signature(line_layout))
    o : Out(stream.Signature(part_layout))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({"i": In(stream.Signature(line_layout)), "o": Out(stream.Signature(part_layout))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CrcRegister()
        escaped, bad, octets, bit = Signal(), Signal(), Signal(range(_LEAST + 1)), Signal(range(8))
        good = Signal()
        m.d.comb += [
            good.eq(~bad & ~escaped & (octets == _LEAST) & (crc.value == RESIDUE)),
            self.o.p.octet.eq(self.i.p.octet ^ Mux(escaped, ESCAPE_XOR, 0)),
            crc.bit.eq(self.o.p.octet.bit_select(bit, 1)),
        ]

        def begin():
            m.d.comb += crc.clear.eq(1)
            m.d.sync += [escaped.eq(0), bad.eq(0), octets.eq(0)]

        with m.FSM():
            with m.State("OCTET"):
                with m.If(~self.i.valid):
                    pass
                with m.Elif(self.i.p.error):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += bad.eq(1)
                with m.Elif(self.i.p.octet == FLAG):
                    something = bad | escaped | octets.any()
                    m.d.comb += [
                        self.o.valid.eq(something), self.o.p.part.eq(Mux(good, Part.GOOD, Part.BAD)),
                        self.i.ready.eq(~something | self.o.ready),
                    ]
                    with m.If(self.i.ready):
                        begin()
                with m.Elif((self.i.p.octet == ESCAPE) & ~escaped):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += escaped.eq(1)
                with m.Else():
                    m.d.comb += [self.o.valid.eq(1), self.o.p.part.eq(Part.OCTET)]
                    with m.If(self.o.ready):
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += crc.step.eq(1)
                m.d.sync += bit.eq(bit + 1)
                with m.If(bit == 7):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += escaped.eq(0)
                    with m.If(octets != _LEAST):
                        m.d.sync += octets.eq(octets + 1)
                    m.next = "OCTET"
        return m


class Framer(wiring.Component):
    """Makes frames of messages: a flag, the octets and their CRC with stuffing, a flag.

    Has an octet every nine cycles.

    Members
    -------
    i : In(stream.Signature(body_layout))
        Messages of one octet or more.
    o : Out(stream.Signature(8))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({"i": In(stream.Signature(body_layout)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CrcRegister()
        checking, escaped, bit, number = Signal(), Signal(), Signal(range(8)), Signal(range(CRC_OCTETS))
        octet, special = Signal(8), Signal()
        m.d.comb += [
            octet.eq(Mux(checking, ~crc.value[:8], self.i.p.octet)), special.eq((octet == FLAG) | (octet == ESCAPE)),
            crc.bit.eq(octet.bit_select(bit, 1)), crc.rotate.eq(checking),
        ]
        with m.FSM():
            with m.State("FLAG"):
                m.d.comb += [self.o.payload.eq(FLAG), self.o.valid.eq(self.i.valid), crc.clear.eq(1)]
                with m.If(self.o.valid & self.o.ready):
                    m.next = "OCTET"
            with m.State("OCTET"):
                m.d.comb += self.o.valid.eq(self.i.valid | checking)
                with m.If(~special):
                    m.d.comb += self.o.payload.eq(octet)
                with m.Elif(~escaped):
                    m.d.comb += self.o.payload.eq(ESCAPE)
                with m.Else():
                    m.d.comb += self.o.payload.eq(octet ^ ESCAPE_XOR)
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += escaped.eq(special & ~escaped)
                    with m.If(~special | escaped):
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += crc.step.eq(1)
                m.d.sync += bit.eq(bit + 1)
                with m.If(bit == 7):
                    m.next = "OCTET"
                    with m.If(checking):
                        m.d.sync += number.eq(number + 1)
                        with m.If(number == CRC_OCTETS - 1):
                            m.d.sync += checking.eq(0)
                            m.next = "END"
                    with m.Else():
                        m.d.comb += self.i.ready.eq(1)
                        m.d.sync += checking.eq(self.i.p.last)
            with m.State("END"):
                m.d.comb += [self.o.payload.eq(FLAG), self.o.valid.eq(1)]
                with m.If(self.o.ready):
                    m.next = "FLAG"
        return m
