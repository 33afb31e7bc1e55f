"""Whole vectors become beats: all sums of a vector in, a few a beat out, each with its bias."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import bits_for, ceil_div
from .layouts import Token, vector_layout
from .rom import Rom

__all__ = ["Serialise"]


class Serialise(wiring.Component):
    """Two vectors deep: one waits while another is sent, ``width`` elements a beat, a beat a cycle.

    A vector's first beat leaves ``latency`` cycles after the cycle in which the token of the unit behind is taken,
    which is at the earliest two cycles after the vector came. Room for a vector is free again with the last beat of
    the vector two before it, so that vectors follow each other without a gap where they come soon enough: with
    d cycles from a token to its vector, every ``max(beats, (beats + d + 2) / 2)`` cycles.

    Parameters
    ----------
    kernels : int
        Elements of a vector.
    width : int
        Elements of a beat: element ``beat * width + port``. What fills up the last beat is unspecified.
    value_bits, sum_bits : int
        Of an element that comes and of one that leaves, two's complement.
    biases : sequence of sequences of int
        Per port and per beat: what is added.

    Members
    -------
    i : In(stream.Signature(vector_layout(width=kernels, value=signed(value_bits))))
        A vector a beat. Always ready: a vector may only be sent after its token was taken, from the next cycle on.
    credit : Out(Token)
        A token per vector.
    o : Out(stream.Signature(vector_layout(width=width, value=signed(sum_bits))))
        Does not respect back-pressure.
    o_credit : In(Token)
        From the consumer: a token per vector that it can take whole.

    Raises
    ------
    ValueError
        If the biases are not of this shape.
    """

    #: Cycles from taking the consumer's token to the first beat.
    latency = 3

    i: stream.Interface
    credit: stream.Interface
    o: stream.Interface
    o_credit: stream.Interface

    def __init__(self, *, kernels: int, width: int, value_bits: int, sum_bits: int, biases: Sequence[Sequence[int]]):
        self._kernels, self._width, self._value_bits, self._sum_bits = kernels, width, value_bits, sum_bits
        self._beats, self._biases = ceil_div(kernels, width), biases
        if [len(port) for port in biases] != [self._beats] * width:
            raise ValueError(f"biases must be given for {width} ports of {self._beats} beats, not {biases!r}")
        super().__init__({
            "i": In(stream.Signature(vector_layout(width=kernels, value=signed(value_bits)))), "credit": Out(Token),
            "o": Out(stream.Signature(vector_layout(width=width, value=signed(sum_bits)))), "o_credit": In(Token),
        })

    def elaborate(self, platform):
        m = Module()
        beats = self._beats
        words = data.ArrayLayout(data.ArrayLayout(signed(self._value_bits), self._width), beats)
        free = Signal(range(3), init=2)                 # vectors whose token can be taken
        waiting, sending = Signal(), Signal()
        waiting_words, words_left = (Signal(words, name=name, reset_less=True)
                                     for name in ("waiting_words", "words_left"))
        beat, first, go, last, move = Signal(bits_for(beats)), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(1), self.credit.valid.eq(free != 0), first.eq(beat == 0),
            self.o_credit.ready.eq(sending & first), go.eq(sending & (self.o_credit.valid | ~first)),
            last.eq(go & (beat == beats - 1)), move.eq(waiting & (~sending | last)),
        ]
        m.d.sync += [
            free.eq(free + last - (self.credit.valid & self.credit.ready)),
            waiting.eq(self.i.valid | (waiting & ~move)), sending.eq(move | (sending & ~last)),
        ]
        with m.If(self.i.valid):
            m.d.sync += waiting_words.as_value().eq(self.i.p.values.as_value())
        # The word to send is always the lowest.
        with m.If(go):
            m.d.sync += [
                beat.eq(Mux(last, 0, beat + 1)),
                words_left.as_value().eq(words_left.as_value() >> self._width * self._value_bits),
            ]
        with m.If(move):
            m.d.sync += words_left.eq(waiting_words)

        valid, is_last = go, last
        for stage in range(self.latency):
            valid_next, last_next = Signal(name=f"valid{stage}"), Signal(name=f"last{stage}", reset_less=True)
            m.d.sync += [valid_next.eq(valid), last_next.eq(is_last)]
            valid, is_last = valid_next, last_next
        m.d.comb += [self.o.valid.eq(valid), self.o.p.last.eq(is_last)]
        mask = (1 << self._sum_bits) - 1
        for port in range(self._width):
            m.submodules[f"bias{port}"] = rom = Rom(
                width=self._sum_bits, depth=beats, init=[bias & mask for bias in self._biases[port]])
            in_rom, at_add = (Signal(signed(self._value_bits), name=f"{name}{port}", reset_less=True)
                              for name in ("value_in_rom", "value_at_add"))
            bias, total = (Signal(signed(self._sum_bits), name=f"{name}{port}", reset_less=True)
                           for name in ("bias_at_add", "sum"))
            m.d.comb += [rom.address.eq(beat), rom.en.eq(1), self.o.p.values[port].eq(total)]
            m.d.sync += [in_rom.eq(words_left[0][port]), at_add.eq(in_rom), bias.eq(rom.data), total.eq(at_add + bias)]
        return m
