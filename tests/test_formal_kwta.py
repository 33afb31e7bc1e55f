# amaranth: UnusedElaboratable=no
"""Bounded proofs of both k-WTA units, whole, inside Select: one or two vectors of any codes under any stalls.

What is emitted is compared with the definition, written down as one formula: an element wins if it is not zero and if
fewer than K elements are larger, or equal with a lower index.
"""

from dataclasses import replace

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Array, Assert, ClockDomain, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from dovetail.hw import select, turns
from dovetail.hw.arch import SelectArch, SelectImages, SelectKind, bits_for
from dovetail.hw.errors import ToolFailed
from dovetail.hw.winners import Winners
from dovetail.hw.yosys import run_yosys
from dovetail.sim.select_cycles import SelectCycles


class KWTASpec(wiring.Component):
    """Sends vectors of arbitrary codes in the model's order, and checks every beat that comes out.

    ``codes``, ``send``, ``take`` and ``ready`` are free in every cycle: any values, gaps and stalls.
    """

    def __init__(self, arch, dut, *, vectors):
        self._arch, self._dut, self._vectors = arch, dut, vectors
        self.domain = ClockDomain("sync", reset_less=True)
        super().__init__({"codes": wiring.In(arch.width * arch.value_bits), "send": wiring.In(1), "take": wiring.In(1),
                          "ready": wiring.In(1)})

    def elaborate(self, platform):
        m = Module()
        arch, dut, vectors = self._arch, self._dut, self._vectors
        m.domains.sync = self.domain
        m.submodules.dut = dut

        # The sender keeps to the rules: a token before a vector, `last` on the last beat; and it stops in the end.
        tokens, beat, sent = Signal(range(vectors + 1)), Signal(range(arch.beats)), Signal(range(vectors + 1))
        ends, taken = Signal(), Signal()
        usable = tokens
        for stage in range(arch.early - 2):
            older = Signal.like(tokens, name=f"usable{stage}")
            m.d.sync += older.eq(usable)
            usable = older
        m.d.comb += [
            dut.i.valid.eq(self.send & (usable > sent)), dut.i.p.last.eq(beat == arch.beats - 1),
            dut.i.p.values.as_value().eq(self.codes), ends.eq(dut.i.valid & dut.i.p.last),
            dut.credit.ready.eq(self.take), taken.eq(dut.credit.valid & dut.credit.ready), dut.o.ready.eq(self.ready),
        ]
        with m.If(taken & (tokens != vectors)):
            m.d.sync += tokens.eq(tokens + 1)
        codes = [Array(Signal(arch.value_bits, name=f"code{v}_{e}") for e in range(arch.kernels))
                 for v in range(vectors)]
        with m.If(dut.i.valid):
            m.d.sync += [beat.eq(beat + 1), sent.eq(sent + ends)]
            with m.If(ends):
                m.d.sync += beat.eq(0)
            for v in range(vectors):
                for e in range(arch.kernels):
                    with m.If((sent == v) & (beat == e // arch.width)):
                        m.d.sync += codes[v][e].eq(dut.i.p.values[e % arch.width])

        # The definition.
        vector = Signal(range(vectors + 1))
        mine = [Signal(arch.value_bits, name=f"mine{e}") for e in range(arch.kernels)]
        wins = Signal(arch.kernels)
        for e, code in enumerate(mine):
            m.d.comb += code.eq(Array(codes[v][e] for v in range(vectors))[vector])
            ahead = [(other > code) | ((other == code) & (index < e)) for index, other in enumerate(mine) if index != e]
            m.d.comb += wins[e].eq((code != 0) & (sum(ahead, start=0) < arch.winners))

        # Every beat holds winners, none twice and in order; with the last one they are complete.
        emitted, now, ever = Signal(arch.kernels), Signal(arch.kernels), Signal(arch.kernels)
        exact = []
        for e, code in enumerate(mine):
            here = dut.o.p.mask[e % arch.lanes] & (dut.o.p.address == e // arch.lanes)
            m.d.comb += now[e].eq(here)
            exact.append(~here | (dut.o.p.values[e % arch.lanes] == code))
        m.d.comb += ever.eq(emitted | now)
        with m.If(dut.o.valid):
            # One statement each: the checker tells a failed assertion by its line.
            m.d.comb += Assert(vector < sent, "a vector leaves after it has arrived")
            m.d.comb += Assert((now & ~wins) == 0, "only winners leave")
            m.d.comb += Assert((now & emitted) == 0, "no winner leaves twice")
            m.d.comb += Assert((emitted >> (dut.o.p.address * arch.lanes)) == 0, "beats leave in order")
            m.d.comb += Assert(sum(exact, start=0) == arch.kernels, "codes leave unchanged")
            m.d.comb += Assert(dut.o.p.last | (dut.o.p.mask != 0), "only the last beat may be empty")
            m.d.comb += Assert(~dut.o.p.last | (ever == wins), "all winners have left with the last beat")
            with m.If(dut.o.ready):
                m.d.sync += emitted.eq(ever)
                with m.If(dut.o.p.last):
                    m.d.sync += [emitted.eq(0), vector.eq(vector + 1)]

        # The streams.
        stalled, payload = Signal(), Signal.like(dut.o.payload)
        refused = Signal()
        m.d.sync += [stalled.eq(dut.o.valid & ~dut.o.ready), payload.eq(dut.o.payload),
                     refused.eq(dut.credit.valid & ~dut.credit.ready)]
        m.d.comb += Assert(dut.i.ready, "the input is always ready")
        with m.If(stalled):
            m.d.comb += Assert(dut.o.valid, "valid stays until the transfer")
            m.d.comb += Assert(dut.o.payload.as_value() == payload.as_value(), "the payload stays until the transfer")
        with m.If(refused):
            m.d.comb += Assert(dut.credit.valid, "a token stays until it is taken")
        return m


class HigherIndexWins(wiring.Component):
    """A planted bug: Winners, but of equal elements in one word the later one wins."""

    def __init__(self, arch):
        self._real = Winners(arch)
        super().__init__(self._real.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.real = real = self._real
        connect(m, flipped(self.i_threshold), real.i_threshold)
        for source, target in ((self.i, real.i), (real.o, self.o)):
            m.d.comb += [
                target.valid.eq(source.valid), source.ready.eq(target.ready), target.p.last.eq(source.p.last),
                target.p.address.eq(source.p.address), target.p.mask.eq(source.p.mask[::-1]),
            ]
            for value, other in zip(target.p.values, reversed(list(source.p.values)), strict=True):
                m.d.comb += value.eq(other)
        return m


def prove(arch, folder, *, vectors):
    """Check every run up to the cycle in which the last of ``vectors`` can have left, and some cycles more."""
    word_bits = bits_for(arch.words)
    order = [[1 << word_bits | beat if beat * arch.width + port < arch.kernels else 0 for beat in range(arch.beats)]
             for port in range(arch.width)]
    images = SelectImages(order=tuple(map(tuple, order)), ranks=tuple([tuple(range(arch.width))] * arch.words))
    model, last = SelectCycles(arch), 0
    for _ in range(vectors):
        token = model.token()
        last = model.frame([1] * arch.kernels, taken=token, last_beat=token + arch.beats, ready=0).last
    spec = KWTASpec(arch, select.Select(arch, images), vectors=vectors)
    ports = [spec.domain.clk, spec.codes, spec.send, spec.take, spec.ready]
    (folder / "spec.il").write_text(rtlil.convert(spec, name="spec", ports=ports, platform="formal"))
    # The SAT solver inside Yosys: on this problem it is several times as fast as z3 behind smtbmc.
    run_yosys("read_rtlil spec.il; prep -top spec; flatten; chformal -lower; memory_nordff; memory_map; async2sync; "
              f"dffunmap; opt -full; sat -tempinduct-baseonly -maxsteps {last + 3} -prove-asserts -verify spec",
              folder=folder)


def small(kind, *, kernels, winners, bins, **options):
    return SelectArch(**{"kernels": kernels, "width": 2, "beats": -(-kernels // 2), "value_bits": 2, "kind": kind,
                         "winners": winners, "lanes": 1, "bins": bins} | options)


@pytest.mark.parametrize("kind", [SelectKind.GLOBAL, SelectKind.LOCAL])
@pytest.mark.parametrize(("kernels", "winners", "bins", "vectors"), [(4, 2, 2, 1), (3, 2, 4, 1), (2, 1, 4, 2)])
def test_exactly_the_k_largest(kind, kernels, winners, bins, vectors, tmp_path):
    prove(small(kind, kernels=kernels, winners=winners, bins=bins), tmp_path, vectors=vectors)


# Codes of one bit, a beat a vector: what is proved is which vector meets which threshold, and that no search is
# disturbed.
TURNS = small(SelectKind.LOCAL, kernels=2, winners=1, bins=2, value_bits=1, turns=2, buffers=4)


@pytest.mark.parametrize("early", [0, 2])
def test_turns(early, tmp_path):
    prove(replace(TURNS, early=early), tmp_path, vectors=3)


class WrongTurn(turns.Turns):
    """A planted bug: what decides is always the first one's threshold."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o.payload.eq(self._finders[0].o.payload)
        return m


def test_wrong_turn_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(select, "Turns", WrongTurn)
    with pytest.raises(ToolFailed, match="proof did fail"):
        prove(TURNS, tmp_path, vectors=3)


@pytest.mark.parametrize("kind", [SelectKind.GLOBAL, SelectKind.LOCAL])
def test_planted_bug_is_found(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(select, "Winners", HigherIndexWins)
    with pytest.raises(ToolFailed, match="proof did fail"):
        prove(small(kind, kernels=4, winners=2, bins=2), tmp_path, vectors=1)
