"""Sums to codes: multiply, round, shift, clamp."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import RequantiseArch
from .layouts import load_layout, vector_layout
from .rom import Rom

__all__ = ["Requantise"]


class Requantise(wiring.Component):
    """``clamp((sum * m + 2**(shift - 1)) >> shift, 0, 2**code_bits - 1)`` on every port of a vector stream.

    ``m`` is read from one memory per port, a word per beat; with ``multiplier_bits`` of 0 it is 1 and costs nothing. A
    shift of 0 has no rounding term. Latency is ``latency`` cycles, throughput one beat a cycle, no back-pressure.

    Parameters
    ----------
    width, sum_bits, beats : int
        Ports, width of a sum, beats per vector.
    multipliers : Sequence[Sequence[int]]
        Per port and beat; empty without multipliers.
    """

    latency = 4

    i: stream.Interface
    o: stream.Interface
    load: stream.Interface

    def __init__(self, arch: RequantiseArch, *, width: int, sum_bits: int, beats: int,
                 multipliers: Sequence[Sequence[int]], load_ids: Mapping[str, int] | None = None):
        if bool(multipliers) != bool(arch.multiplier_bits):
            raise ValueError(
                f"multipliers must be given where multiplier_bits is not 0, and only there, not {multipliers!r}")
        self._arch, self._width, self._sum_bits, self._beats = arch, width, sum_bits, beats
        ids = {} if load_ids is None else load_ids
        self._roms = [
            Rom(width=arch.multiplier_bits, depth=beats, init=port, load_id=ids.get(f"multipliers{number}"))
            for number, port in enumerate(multipliers)
        ]
        members = {
            "i": In(stream.Signature(vector_layout(width=width, value=signed(sum_bits)))),
            "o": Out(stream.Signature(vector_layout(width=width, value=unsigned(arch.code_bits)))),
        }
        if load_ids is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        position = Signal(range(self._beats))
        with m.If(self.i.valid):
            m.d.sync += position.eq(position + 1)
            with m.If(self.i.p.last):
                m.d.sync += position.eq(0)
        valid, last = self.i.valid, self.i.p.last
        for stage in range(self.latency):
            valid_next, last_next = Signal(name=f"valid{stage}"), Signal(name=f"last{stage}")
            m.d.sync += [valid_next.eq(valid), last_next.eq(last)]
            valid, last = valid_next, last_next
        m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(valid), self.o.p.last.eq(last)]

        for port in range(self._width):
            fetched, ready = (Signal(signed(self._sum_bits), name=f"{name}{port}", reset_less=True)
                              for name in ("sum_fetched", "sum_ready"))
            m.d.sync += [fetched.eq(self.i.p.values[port]), ready.eq(fetched)]
            scaled = Signal(signed(self._sum_bits + arch.multiplier_bits + 1), name=f"scaled{port}", reset_less=True)
            if self._roms:
                m.submodules[f"multiplier{port}"] = rom = self._roms[port]
                if "load" in self.signature.members:
                    m.d.comb += [rom.load.payload.eq(self.load.payload), rom.load.valid.eq(self.load.valid)]
                multiplier = Signal(arch.multiplier_bits, name=f"multiplier_ready{port}", reset_less=True)
                m.d.comb += [rom.address.eq(position), rom.en.eq(1)]
                m.d.sync += [multiplier.eq(rom.data), scaled.eq(ready * multiplier)]
            else:
                m.d.sync += scaled.eq(ready)
            # (x + 2**(s - 1)) >> s is ((x >> (s - 1)) + 1) >> 1: the bits that are shifted out need no adder.
            rounded = (scaled >> arch.shift - 1) + 1 >> 1 if arch.shift else scaled
            code = Signal(arch.code_bits, name=f"code{port}", reset_less=True)
            above = rounded[arch.code_bits:]        # sign and overflow, without a comparison
            m.d.sync += code.eq(Mux(rounded[-1], 0, Mux(above.any(), ~0, rounded[:arch.code_bits])))
            m.d.comb += self.o.p.values[port].eq(code)
        if "load" in self.signature.members:
            m.d.comb += self.load.ready.eq(1)
        return m
