"""From drained accumulators to finished sums: capture, one bank a beat, sum over the lanes, bias."""

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
    """Cycles from the last capture of a group to its first beat at ``o``: capture, beat, tree, ROM, add, output."""
    return 5 + sum_latency(arch.lanes)


class Drain(wiring.Component):
    """Captures a group in every lane and bank at once and sends it bank by bank, ``drain_width`` sums a beat.

    Bank ``b`` of a group gives ``group // drain_width`` beats; port ``p`` of beat ``n`` of them is KID
    ``group_start + n * drain_width + p``. The same bank of all lanes is added in a balanced tree, then the bias. ``o``
    has no back-pressure: its receiver gave a token for the whole vector, and is always ready.

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

        # Capture: all columns of all banks, slot after slot.
        held = []
        for lane in range(arch.lanes):
            group = []
            for bank in range(arch.banks):
                for slot in range(arch.group_slots):
                    register = Signal(arch.columns * arch.sum_bits, name=f"held{lane}_{bank}_{slot}", reset_less=True)
                    with m.If(self.capture & (self.slot == slot)):
                        m.d.sync += register.eq(self.sums[lane][bank])
                    group.append(register)
            held.append(Cat(*group))

        # Emission: beat after beat out of the captured group, then down the pipeline.
        active, ends, beat = Signal(), Signal(), Signal(range(arch.group_beats))
        last_beat = Signal()
        m.d.comb += last_beat.eq(beat == arch.group_beats - 1)
        with m.If(active):
            m.d.sync += beat.eq(beat + 1)
            with m.If(last_beat):
                m.d.sync += [beat.eq(0), active.eq(0)]
        with m.If(self.capture & (self.slot == arch.group_slots - 1)):
            m.d.sync += [active.eq(1), ends.eq(self.vector_end)]

        lanes = []
        for lane in range(arch.lanes):
            register = Signal(width, name=f"beat_of_lane{lane}", reset_less=True)
            m.d.sync += register.eq(held[lane].word_select(beat, width))
            lanes.append(register)
        valid, last = active, active & ends & last_beat
        for stage in range(1 + sum_latency(arch.lanes)):
            valid, last = self._register(m, valid, f"valid{stage}"), self._register(m, last, f"last{stage}")

        position = Signal(range(arch.beats))
        with m.If(valid):
            m.d.sync += position.eq(position + 1)
            with m.If(last):
                m.d.sync += position.eq(0)
        for place in ("in_rom", "at_add"):
            valid, last = self._register(m, valid, f"valid_{place}"), self._register(m, last, f"last_{place}")
        m.d.sync += [self.o.valid.eq(valid), self.o.p.last.eq(last)]
        for port in range(arch.drain_width):
            terms = [lane[port * arch.sum_bits:(port + 1) * arch.sum_bits].as_signed() for lane in lanes]
            total = pipelined_sum(m, terms, shape=signed(arch.sum_bits), name=f"tree{port}")
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
        register = Signal(name=name)
        m.d.sync += register.eq(value)
        return register
