"""The threshold of a short vector: a bit-serial search over codes held in registers."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import SelectArch, bits_for
from .layouts import Token, arrival_layout, threshold_layout
from .winners import balanced_sum

__all__ = ["RadixSelect"]


class RadixSelect(wiring.Component):
    """Keeps the codes of a vector in shift registers and finds the K-th largest one bit by bit (radix select).

    From the top bit down, the candidates with this bit set are counted. If they are at least as many as still needed,
    the K-th largest is among them; otherwise they all win, and it is among the others. This takes two cycles a bit
    whatever the length (count in groups of eight; add and compare), but hardware for every element: it is meant for
    vectors of some 64 elements at most. Where fewer than K codes are non-zero, the threshold is 0 and
    takes no ties.

    In cycles, the last beat of a vector arriving on ``i`` in cycle 0 (and the threshold before it taken by then)::

        0               last beat         shifted in
        1, 2            top bit
        2*value_bits    bottom bit        the codes are cleared
        2*value_bits+1  threshold on `o`  and token: a new vector may arrive from the next cycle on

    The token comes ``arch.early`` cycles before that, where it is known that the vector takes as long to come.

    Members
    -------
    i : In(stream.Signature(arrival_layout(...)))
        Always ready, R codes a cycle: a vector may only be sent after its token was taken, ``max(1, arch.early)``
        cycles later at the earliest.
    credit : Out(Token)
    o : Out(stream.Signature(threshold_layout(arch)))
        One per vector. The search in the next vector waits until it is taken.
    """

    i: stream.Interface
    credit: stream.Interface
    o: stream.Interface

    def __init__(self, arch: SelectArch):
        self._arch = arch
        super().__init__({
            "i": In(stream.Signature(arrival_layout(width=arch.width, value=arch.value_bits))), "credit": Out(Token),
            "o": Out(stream.Signature(threshold_layout(arch))),
        })

    @staticmethod
    def latency(arch: SelectArch) -> int:
        """Cycles from a vector's last beat on ``i`` to its threshold on ``o``, where nothing is in the way."""
        return 2 * arch.value_bits + 1

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        idle, searching, decide = Signal(init=1), Signal(), Signal()
        arrived, arrive, start = Signal(), Signal(), Signal()
        done = Signal()
        place = Signal(arch.value_bits)     # one-hot: the bit that is looked at
        m.d.comb += [
            self.i.ready.eq(1), self.credit.valid.eq(idle), arrive.eq(self.i.valid & self.i.p.last),
            start.eq((arrive | arrived) & ~self.o.valid), done.eq(decide & place[0]),
        ]
        with m.If(self.credit.valid & self.credit.ready):
            m.d.sync += idle.eq(0)
        with m.If(arrive):
            m.d.sync += arrived.eq(1)
        with m.If(start):
            m.d.sync += [arrived.eq(0), searching.eq(1), place.eq(1 << arch.value_bits - 1)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        m.d.sync += decide.eq(searching & ~decide)
        with m.If(decide):
            m.d.sync += place.eq(place >> 1)
        with m.If(done):
            m.d.sync += [searching.eq(0), self.o.valid.eq(1)]
        # What the search does in its cycle that is followed by the token.
        bit, is_decision = divmod(arch.most_early - arch.early - 1, 2)
        if arch.early == arch.most_early:
            release = start
        else:
            release = searching & place[arch.value_bits - 1 - bit] & (decide == is_decision)
        with m.If(release):
            m.d.sync += idle.eq(1)

        # A port brings an element per word of the store at most. Elements that are missing stay zero and never count.
        codes = []
        for port in range(arch.width):
            chain = [Signal(arch.value_bits, name=f"code{port}_{index}") for index in range(arch.words)]
            with m.If(self.i.valid & self.i.p.mask[port]):
                for code, source in zip(chain, [self.i.p.values[port], *chain[:-1]], strict=True):
                    m.d.sync += code.eq(source)
            with m.If(done):
                for code in chain:
                    m.d.sync += code.eq(0)
            codes += chain

        # The decision on one bit parts the candidates while the next bit is counted.
        candidates, candidates_now = Signal(len(codes)), Signal(len(codes))
        ones, ones_now = Signal(len(codes)), Signal(len(codes))
        groups = [ones_now[low:low + 8] for low in range(0, len(codes), 8)]
        partial = [Signal(bits_for(len(group) + 1), name=f"partial{index}") for index, group in enumerate(groups)]
        count = Signal(bits_for(arch.kernels + 1))
        need, threshold = Signal(bits_for(arch.winners + 1)), Signal(arch.value_bits)
        keep, kept = Signal(), Signal()
        m.d.comb += [
            candidates_now.eq(Mux(kept, ones, candidates & ~ones)),
            ones_now.eq(candidates_now & Cat((code & place).any() for code in codes)),
            count.eq(balanced_sum(list(partial))), keep.eq(count >= need),
            self.o.p.threshold.eq(threshold), self.o.p.ties.eq(Mux(threshold.any(), need, 0)),
        ]
        with m.If(searching & ~decide):
            m.d.sync += [candidates.eq(candidates_now), ones.eq(ones_now)]
            for total, group in zip(partial, groups, strict=True):
                m.d.sync += total.eq(balanced_sum(list(group)))
        with m.If(decide):
            m.d.sync += [kept.eq(keep), threshold.eq(Cat(keep, threshold)), need.eq(Mux(keep, need, need - count))]
        with m.If(start):
            m.d.sync += [candidates.eq(-1), ones.eq(0), kept.eq(0), need.eq(arch.winners)]
        return m
