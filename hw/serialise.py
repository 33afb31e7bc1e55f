"""Whole vectors become beats: all sums of a vector in, a few a beat out, each with its bias."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import bits_for, ceil_div
from .layouts import Token, vector_layout
from .rom import Rom

__all__ = ["Serialise"]


class Serialise(wiring.Component):
    """Holds ``vectors`` vectors: one is sent, ``width`` elements a beat, a beat a cycle, while the others wait.

    They wait in registers one behind the other and move up where the next one is empty, or becomes empty. A vector's
    first beat leaves ``latency`` cycles after the cycle in which the token of the unit behind is taken, which is at
    the earliest ``vectors`` cycles after the vector came. Room for a vector is free again with the last beat of the
    vector that many before it, so that vectors follow each other without a gap where they come soon enough: with
    d cycles from a token to its vector, every ``max(beats, (beats + d + vectors) / vectors)`` cycles.

    A vector more is so many flip-flops and no look-up table, which memories of so few words would be.

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
    vectors : int
        At least 1.

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
        If the biases are not of this shape, or there is no room for a vector.
    """

    #: Cycles from taking the consumer's token to the first beat.
    latency = 3

    i: stream.Interface
    credit: stream.Interface
    o: stream.Interface
    o_credit: stream.Interface

    def __init__(
        self, *, kernels: int, width: int, value_bits: int, sum_bits: int, biases: Sequence[Sequence[int]],
        vectors: int = 2,
    ):
        self._kernels, self._width, self._value_bits, self._sum_bits = kernels, width, value_bits, sum_bits
        self._beats, self._biases, self._vectors = ceil_div(kernels, width), biases, vectors
        if vectors < 1:
            raise ValueError(f"vectors must be at least 1, not {vectors!r}")
        if [len(port) for port in biases] != [self._beats] * width:
            raise ValueError(f"biases must be given for {width} ports of {self._beats} beats, not {biases!r}")
        super().__init__({
            "i": In(stream.Signature(vector_layout(width=kernels, value=signed(value_bits)))), "credit": Out(Token),
            "o": Out(stream.Signature(vector_layout(width=width, value=signed(sum_bits)))), "o_credit": In(Token),
        })

    def elaborate(self, platform):
        m = Module()
        beats, vectors = self._beats, self._vectors
        words = data.ArrayLayout(data.ArrayLayout(signed(self._value_bits), self._width), beats)
        free = Signal(range(vectors + 1), init=vectors)     # vectors whose token can be taken
        # Place 0 is the vector that is sent, its next word always the lowest; the others wait.
        held = [Signal(words, name=f"held{place}", reset_less=True) for place in range(vectors)]
        full, comes, leaves = Signal(vectors), Signal(vectors), Signal(vectors)
        beat, first, final, go, last = Signal(bits_for(beats)), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(1), self.credit.valid.eq(free != 0), first.eq(beat == 0), final.eq(beat == beats - 1),
            self.o_credit.ready.eq(full[0] & first), go.eq(full[0] & (self.o_credit.valid | ~first)),
            last.eq(go & final), comes.eq(Cat(leaves[1:], self.i.valid)),
            *(leaves[place].eq(full[place] & (~full[place - 1] | leaves[place - 1]) if place else last)
              for place in range(vectors)),
        ]
        m.d.sync += [
            free.eq(free + last - (self.credit.valid & self.credit.ready)), full.eq(comes | full & ~leaves),
        ]
        with m.If(go):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        arriving = Signal(words)
        m.d.comb += arriving.as_value().eq(self.i.p.values.as_value())
        behind = [*held[1:], arriving]
        for place in range(1, vectors):
            with m.If(comes[place]):
                m.d.sync += held[place].eq(behind[place])
        # What chooses between a new vector and the next word depends on nothing outside: it is worked out once, not in
        # front of every register.
        new = Signal()
        m.d.comb += new.eq(~full[0] | final)
        for word in range(beats - 1):
            with m.If(comes[0] | go):
                m.d.sync += held[0][word].eq(Mux(new, behind[0][word], held[0][word + 1]))
        with m.If(comes[0]):
            m.d.sync += held[0][beats - 1].eq(behind[0][beats - 1])

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
            m.d.sync += [in_rom.eq(held[0][0][port]), at_add.eq(in_rom), bias.eq(rom.data), total.eq(at_add + bias)]
        return m
