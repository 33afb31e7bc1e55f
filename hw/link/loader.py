"""LOAD and SEAL: what memories are written with, whether it is complete, and what it is."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..layouts import load_layout
from .crc import ALL_ONES, CrcRegister
from .layouts import loaded_layout
from .messages import Reason
from .sizes import LOAD_HEAD_OCTETS

__all__ = ["Loader"]


class Loader(wiring.Component):
    """Carries out LOAD and SEAL, of which it gets the bodies; both must have a length that is right.

    A reset, which leaves the network's memories alone, leaves alone what is known of them: only a load that has begun
    has to begin anew. An octet takes eight cycles.

    Parameters
    ----------
    contents : int
        CRC of what the memories hold from power-up.
    loaded : bool
        They hold it all from power-up.

    Members
    -------
    i : In(stream.Signature(loaded_layout))
    load : Out(stream.Signature(load_layout))
    loaded : Out(1)
    contents : Out(32)
        CRC of what was loaded last or is being loaded.
    reason : Out(3)
        Why what came last is refused, from the cycle after its end; 0 where it is not.
    """

    i: stream.Interface
    load: stream.Interface
    loaded: Signal
    contents: Signal
    reason: Signal

    def __init__(self, *, contents: int, loaded: bool):
        self._contents, self._loaded = contents, loaded
        super().__init__({
            "i": In(stream.Signature(loaded_layout)), "load": Out(stream.Signature(load_layout)),
            "loaded": Out(1), "contents": Out(32), "reason": Out(3),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CrcRegister(init=self._contents ^ ALL_ONES, reset_less=True)
        loaded, begun, following = Signal(init=self._loaded, reset_less=True), Signal(), Signal(16)
        write = self.load.p
        # All is done bit by bit: registers shift, and what is compared or counted is one bit of it.
        place, number, bit, step = Signal(range(LOAD_HEAD_OCTETS + 4)), Signal(range(8)), Signal(), Signal()
        octet_end, end = Signal(), Signal()
        m.d.comb += [
            self.loaded.eq(loaded), self.contents.eq(~crc.value), bit.eq(self.i.p.octet.bit_select(number, 1)),
            crc.bit.eq(bit), step.eq(self.i.valid & ~self.load.valid), octet_end.eq(step & (number == 7)),
            self.i.ready.eq(octet_end), end.eq(octet_end & self.i.p.last),
        ]
        # Of a LOAD's number, or of a SEAL's CRC: it is the one expected; it is 0; it is that of the LOAD before.
        same, zero, repeated, carry = Signal(init=1), Signal(init=1), Signal(init=1), Signal(init=1)
        still_same, taken = Signal(), Signal()
        # The CRC stays where it is: a reset in the middle of a SEAL leaves it as it was.
        sealed = self.contents.bit_select(Cat(number, place[:2]), 1)
        expected = Mux(self.i.p.seal, sealed, following[0])
        m.d.comb += [still_same.eq(same & (bit == expected)), taken.eq(zero | (begun & same))]

        def rotate(register, new):
            m.d.sync += register.eq(Cat(register[1:], new))

        with m.If(step):
            m.d.sync += number.eq(number + 1)
        with m.If(octet_end):
            m.d.sync += place.eq(place + 1)
        with m.If(self.load.ready):
            m.d.sync += self.load.valid.eq(0)
        with m.If(step & self.i.p.seal):
            m.d.sync += same.eq(still_same)
            with m.If(end):
                m.d.sync += self.reason.eq(Reason.WRONG_CRC)
                with m.If(still_same & (begun | loaded)):
                    m.d.sync += [loaded.eq(1), begun.eq(0), self.reason.eq(0)]
        with m.Elif(step):
            with m.Switch(place):
                with m.Case(0, 1):                      # the number
                    rotate(following, following[0])
                    m.d.sync += [same.eq(still_same), zero.eq(zero & ~bit), carry.eq(carry & bit),
                                 repeated.eq(repeated & (bit ^ carry == following[0]))]
                    with m.If(octet_end & place[0]):
                        m.d.sync += carry.eq(1)
                        with m.If(zero & ~bit):
                            m.d.comb += crc.clear.eq(1)
                            m.d.sync += [begun.eq(1), loaded.eq(0)]
                with m.Case(2, 3):                      # the memory; meanwhile, one is added to the number expected
                    rotate(write.memory, bit)
                    with m.If(taken):
                        old = following[0] & ~zero
                        rotate(following, old ^ carry)
                        m.d.sync += carry.eq(carry & old)
                with m.Case(4, 5):                      # the row
                    rotate(write.row, bit)
                    m.d.sync += carry.eq(0)
                with m.Default():                       # a word; meanwhile, behind the first, one is added to the row
                    rotate(write.data, bit)
                    with m.If(~place[3]):
                        rotate(write.row, write.row[0] ^ carry)
                        m.d.sync += carry.eq(carry & write.row[0])
                    with m.If(octet_end & (place == LOAD_HEAD_OCTETS + 3)):
                        m.d.sync += [place.eq(LOAD_HEAD_OCTETS), carry.eq(1), self.load.valid.eq(taken)]
            m.d.comb += crc.step.eq(taken & (place[1:] != 0))
            with m.If(end):
                m.d.sync += self.reason.eq(Mux(taken | (begun & repeated), 0, Reason.NOT_NEXT))
        with m.If(end):
            m.d.sync += [place.eq(0), same.eq(1), zero.eq(1), repeated.eq(1), carry.eq(1)]
        return m
