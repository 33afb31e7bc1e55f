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
    has to begin anew. An octet takes nine cycles.

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
        loaded = Signal(init=self._loaded, reset_less=True)
        octet, write = self.i.p.octet, self.load.p
        # `place` is that in the message; a word after the first has the places of the first.
        place, bit, taken = Signal(range(LOAD_HEAD_OCTETS + 4)), Signal(range(8)), Signal()
        m.d.comb += [self.loaded.eq(loaded), self.contents.eq(~crc.value), taken.eq(self.i.valid & self.i.ready)]
        with m.If(taken):
            m.d.sync += place.eq(Mux(place == LOAD_HEAD_OCTETS + 3, LOAD_HEAD_OCTETS, place + 1))
            with m.If(self.i.p.last):
                m.d.sync += place.eq(0)

        # The number's octets are taken from those of the next one's: 0 is that one, 1 the one before it.
        begun, following, accepted = Signal(), Signal(16), Signal()
        same, one, zero, borrow = Signal(), Signal(), Signal(), Signal()
        difference = Signal(9)
        first, repeated, following_one = Signal(), Signal(), Signal()
        m.d.comb += difference.eq(following.word_select(place[0], 8) - octet - (borrow & place[0]))

        def number_low():
            m.d.sync += [same.eq(difference[:8] == 0), one.eq(difference[:8] == 1), zero.eq(octet == 0),
                         borrow.eq(difference[8])]

        def number_high():
            rest = begun & (difference[:8] == 0)
            m.d.comb += [first.eq(zero & (octet == 0)), following_one.eq(same & rest), repeated.eq(one & rest)]
            m.d.sync += [accepted.eq(first | following_one),
                         self.reason.eq(Mux(first | following_one | repeated, 0, Reason.NOT_NEXT))]
            with m.If(first | following_one):
                m.d.sync += [following.eq(Mux(first, 1, following + 1)), begun.eq(1)]
            with m.If(first):
                m.d.comb += crc.clear.eq(1)
                m.d.sync += loaded.eq(0)

        def shift(register):
            m.d.sync += register.eq(Cat(register[8:], octet))

        with m.If(self.load.valid & self.load.ready):
            m.d.sync += [self.load.valid.eq(0), write.row.eq(write.row + 1)]
        with m.If(self.i.valid & self.i.p.seal):
            wrong = octet != self.contents.word_select(place[:2], 8)
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += same.eq(~wrong & (same | (place == 0)))
            with m.If(self.i.p.last):
                m.d.sync += self.reason.eq(Reason.WRONG_CRC)
                with m.If(~wrong & same & (begun | loaded)):
                    m.d.sync += [loaded.eq(1), begun.eq(0), self.reason.eq(0)]
        with m.Elif(self.i.valid & (place[1:] == 0)):
            m.d.comb += self.i.ready.eq(1)
            with m.If(place[0]):
                number_high()
            with m.Else():
                number_low()
        with m.Elif(self.i.valid & ~accepted):
            m.d.comb += self.i.ready.eq(1)
        with m.Elif(self.i.valid & ~self.load.valid):
            m.d.comb += [crc.step.eq(1), crc.bit.eq(octet.bit_select(bit, 1))]
            m.d.sync += bit.eq(bit + 1)
            with m.If(bit == 7):
                m.d.comb += self.i.ready.eq(1)
                with m.If(place[1:] == 1):
                    shift(write.memory)
                with m.Elif(place[1:] == 2):
                    shift(write.row)
                with m.Else():
                    shift(write.data)
                with m.If(place == LOAD_HEAD_OCTETS + 3):
                    m.d.sync += self.load.valid.eq(1)
        return m
