"""From drained accumulators to finished sums: sum over the lanes, capture, one bank a beat, bias."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import EngineArch, EngineImages, MemoryKind, bits_for
from .layouts import load_layout, vector_layout
from .rom import Rom
from .tree import pipelined_sum, sum_latency

__all__ = ["Drain", "drain_latency"]


def drain_latency(arch: EngineArch) -> int:
    """Cycles from the last drain slot of a group to its first beat at ``o``: tree, capture, beat, ROM, add, output."""
    return 5 + sum_latency(arch.lanes)


class Drain(wiring.Component):
    """Adds up the lanes' sums as they come, captures a group of every bank and sends it bank by bank, ``drain_width``
    sums a beat.

    Bank ``b`` of a group gives ``group // drain_width`` beats; port ``p`` of beat ``n`` of them is KID
    ``group_start + n * drain_width + p``. The lanes come first, in balanced trees, so that a group is kept, and a bank
    of it chosen, once and not in every lane; then the bias is added. ``o`` has no back-pressure: its receiver gave a
    token for the whole vector, and is always ready.

    Parameters
    ----------
    arch : EngineArch
    images : EngineImages
    load_ids : Mapping[str, int] | None
        Number of each memory of the engine on the load stream; None for memories that cannot be written.
    tables : MemoryKind
        What the biases are kept in.

    Members
    -------
    sums : In(lanes x banks x columns)
    capture, vector_end : In(1), slot : In
        As ``DrainControl`` gives them, when the sums of that slot are here.
    o : Out(stream.Signature(vector_layout(...)))
    load : In(stream.Signature(load_layout)), only with ``load_ids``
    """

    sums: data.View
    capture: Signal
    slot: Signal
    vector_end: Signal
    o: stream.Interface
    load: stream.Interface

    def __init__(self, arch: EngineArch, images: EngineImages, *, load_ids: Mapping[str, int] | None = None,
                 tables: MemoryKind = MemoryKind.AUTO):
        self._arch = arch
        ids = {} if load_ids is None else load_ids
        mask = (1 << arch.bias_width) - 1
        self._biases = [
            Rom(width=arch.bias_width, depth=arch.beats, init=[bias & mask for bias in port],
                load_id=ids.get(f"biases{number}"), kind=tables)
            for number, port in enumerate(images.biases)
        ]
        column = data.ArrayLayout(signed(arch.sum_bits), arch.columns)
        members = {
            "sums": In(data.ArrayLayout(data.ArrayLayout(column, arch.banks), arch.lanes)), "capture": In(1),
            "slot": In(bits_for(arch.group_slots)), "vector_end": In(1),
            "o": Out(stream.Signature(vector_layout(width=arch.drain_width, value=signed(arch.sum_bits)))),
        }
        if load_ids is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        width = arch.drain_width * arch.sum_bits

        # The lanes' sums of every bank and column, and what is to be done with them.
        totals = [Cat(pipelined_sum(m, [self.sums[lane][bank][column] for lane in range(arch.lanes)],
                                    shape=signed(arch.sum_bits), name=f"tree{bank}_{column}")
                      for column in range(arch.columns))
                  for bank in range(arch.banks)]
        capture, slot, vector_end = self.capture, self.slot, self.vector_end
        for stage in range(sum_latency(arch.lanes)):
            capture, slot, vector_end = (self._register(m, value, f"{name}{stage}") for name, value in (
                ("capture", capture), ("slot", slot), ("vector_end", vector_end)))

        # Capture: all columns of all banks, slot after slot.
        group = []
        for bank, total in enumerate(totals):
            for number in range(arch.group_slots):
                register = Signal(arch.columns * arch.sum_bits, name=f"held{bank}_{number}", reset_less=True)
                with m.If(capture & (slot == number)):
                    m.d.sync += register.eq(total)
                group.append(register)

        # Emission: beat after beat out of the captured group, then down the pipeline.
        active, ends, beat = Signal(), Signal(), Signal(range(arch.group_beats))
        last_beat = Signal()
        m.d.comb += last_beat.eq(beat == arch.group_beats - 1)
        with m.If(active):
            m.d.sync += beat.eq(beat + 1)
            with m.If(last_beat):
                m.d.sync += [beat.eq(0), active.eq(0)]
        with m.If(capture & (slot == arch.group_slots - 1)):
            m.d.sync += [active.eq(1), ends.eq(vector_end)]

        sent = Signal(width, reset_less=True)
        m.d.sync += sent.eq(Cat(*group).word_select(beat, width))
        valid = self._register(m, active, "valid")
        last = self._register(m, active & ends & last_beat, "last")

        position = Signal(range(arch.beats))
        with m.If(valid):
            m.d.sync += position.eq(position + 1)
            with m.If(last):
                m.d.sync += position.eq(0)
        for place in ("in_rom", "at_add"):
            valid, last = self._register(m, valid, f"valid_{place}"), self._register(m, last, f"last_{place}")
        m.d.sync += [self.o.valid.eq(valid), self.o.p.last.eq(last)]
        for port in range(arch.drain_width):
            total = sent.word_select(port, arch.sum_bits).as_signed()
            m.submodules[f"bias{port}"] = rom = self._biases[port]
            if "load" in self.signature.members:
                m.d.comb += [rom.load.payload.eq(self.load.payload), rom.load.valid.eq(self.load.valid)]
            in_rom, at_add, bias = (Signal(signed(arch.sum_bits), name=f"{name}{port}", reset_less=True)
                                    for name in ("sum_in_rom", "sum_at_add", "bias_at_add"))
            m.d.comb += [rom.address.eq(position), rom.en.eq(1)]
            m.d.sync += [
                in_rom.eq(total), at_add.eq(in_rom), bias.eq(rom.data.as_signed()),
                self.o.p.values[port].eq(at_add + bias),
            ]
        if "load" in self.signature.members:
            m.d.comb += self.load.ready.eq(1)
        return m

    @staticmethod
    def _register(m: Module, value, name: str) -> Signal:
        register = Signal.like(value, name=name)
        m.d.sync += register.eq(value)
        return register
