# amaranth: UnusedElaboratable=no
"""Bounded proof that an accumulator file has no hazards: each accumulator equals a register, whatever the slots."""

import pytest
from amaranth.hdl import Assert, Module, Mux, Signal, signed
from amaranth.lib.memory import Memory
from formal import Spec, prove

from dovetail.hw import accumulator
from dovetail.hw.arch import AccumulatorKind, bits_for

DEPTH = 8


class AccumulatorSpec(Spec):
    """One register beside the file, for an accumulator that is picked freely; one slot a cycle.

    Every input is free but the rule for drain slots. What holds for any one accumulator holds for all.
    """

    def __init__(self, *, kids, columns, kind):
        self._kids, self._columns, self._kind = kids, columns, kind
        super().__init__({"kid": bits_for(kids), "word": bits_for(kids // columns), "half": 1, "drain": 1,
                          "product": signed(2), "pick": bits_for(kids) + 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        kids, columns, sum_bits = self._kids, self._columns, 2
        m.submodules.dut = dut = accumulator.AccumulatorFile(
            kids=kids, columns=columns, sum_bits=sum_bits, product_bits=2, kind=self._kind)
        kid, word, half, drain = (Signal.like(port) for port in (self.kid, self.word, self.half, self.drain))
        product = Signal(signed(2))
        for now, port in ((kid, self.kid), (word, self.word), (half, self.half), (drain, self.drain)):
            m.d.sync += now.eq(port)
        running = Signal()      # the first slot's product comes in the second cycle
        m.d.sync += running.eq(1)
        m.d.comb += [
            # Addresses that do not exist are not asked for.
            dut.kid.eq(Mux(self.kid < kids, self.kid, 0)), dut.word.eq(Mux(self.word < kids // columns, self.word, 0)),
            dut.half.eq(self.half), dut.drain.eq(self.drain),
            product.eq(Mux(drain | ~running, 0, self.product)), dut.product.eq(product),
        ]
        kid, word = Mux(kid < kids, kid, 0), Mux(word < kids // columns, word, 0)
        picked, pick = Signal.like(self.pick), Signal.like(self.pick)
        m.d.comb += pick.eq(Mux(running, picked, self.pick))
        m.d.sync += picked.eq(pick)
        total = Signal(signed(sum_bits))
        with m.If(running & (half == pick[-1])):
            for column in range(columns):
                with m.If(drain & (word * columns + column == pick[:-1])):
                    m.d.comb += Assert(dut.sums[column] == total, "a drain shows every product so far")
                    m.d.sync += total.eq(0)
            with m.If(~drain & (kid == pick[:-1])):
                m.d.sync += total.eq(total + product)
        return m


@pytest.mark.parametrize("kind", AccumulatorKind)
@pytest.mark.parametrize(("kids", "columns"), [(1, 1), (2, 1), (3, 1), (2, 2), (4, 2), (4, 4)])
def test_equals_registers(kids, columns, kind, tmp_path):
    code, said = prove(AccumulatorSpec(kids=kids, columns=columns, kind=kind), tmp_path, depth=DEPTH)
    assert code == 0, said


class WithoutForwarding(Memory):
    """A memory that shows the old word where a word is read and written at once."""

    def read_port(self, *, domain="sync", transparent_for=(), src_loc_at=0):
        return super().read_port(domain=domain)


@pytest.mark.parametrize("columns", [1, 2])
def test_missing_forwarding_is_found(columns, tmp_path, monkeypatch):
    monkeypatch.setattr(accumulator, "Memory", WithoutForwarding)
    spec = AccumulatorSpec(kids=2, columns=columns, kind=AccumulatorKind.BLOCK_RAM)
    code, said = prove(spec, tmp_path, depth=DEPTH)
    assert code == 1
    assert "Assert failed in spec" in said
