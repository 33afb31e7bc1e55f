"""The engine: lanes side by side, their drain, and the unit that hands beats to them."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .arch import EngineArch, EngineImages, MemoryKind, bits_for
from .drain import Drain
from .drain_control import DrainControl
from .intake import Intake
from .lane import Lane
from .layouts import Token, engine_layout, load_layout, vector_layout

__all__ = ["Engine", "memories"]


def memories(arch: EngineArch, images: EngineImages) -> list[tuple[str, int, int, tuple[int, ...]]]:
    """Name, width, depth and contents of an engine's memories, in the order of their numbers on the load stream."""
    mask = (1 << arch.bias_width) - 1
    found = [(f"weights{lane}", arch.banks * arch.slot_bits, arch.lane_rows, rows)
             for lane, rows in enumerate(images.weights)]
    if images.rows is not None:
        width = bits_for(arch.lane_rows) + bits_for(arch.most_rows + 1)
        depth = arch.folds * arch.lane_positions
        found += [(f"rows{lane}", width, depth, rows) for lane, rows in enumerate(images.rows)]
    found += [(f"biases{port}", arch.bias_width, arch.beats, tuple(bias & mask for bias in biases))
              for port, biases in enumerate(images.biases)]
    return found


class Engine(wiring.Component):
    """Sums of a layer: vectors of (position, value) pairs in, finished sums with bias out, in drain order.

    A vector is stored, replayed fold by fold, and drained while the next fold runs. See ``docs/architecture.md`` for
    the cycle count; ``sim.cycles`` computes it exactly.

    Parameters
    ----------
    arch : EngineArch
    images : EngineImages
    load_ids : Mapping[str, int] | None
        Number of each memory of `memories` on the load stream; None for memories that cannot be written.
    tables : MemoryKind
        What the biases are kept in.

    Members
    -------
    i : In(stream.Signature(engine_layout(arch)))
    credit : In(Token)
        One token per vector from the unit behind ``o``.
    o : Out(stream.Signature(vector_layout(...)))
        Always ready once the token is given.
    load : In(stream.Signature(load_layout)), only with ``load_ids``
    """

    i: stream.Interface
    credit: stream.Interface
    o: stream.Interface
    load: stream.Interface

    def __init__(self, arch: EngineArch, images: EngineImages, *, load_ids: Mapping[str, int] | None = None,
                 tables: MemoryKind = MemoryKind.AUTO):
        self._arch, self._images, self._load_ids, self._tables = arch, images, load_ids, tables
        members = {
            "i": In(stream.Signature(engine_layout(arch))), "credit": In(Token),
            "o": Out(stream.Signature(vector_layout(width=arch.drain_width, value=signed(arch.sum_bits)))),
        }
        if load_ids is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        m.submodules.intake = intake = Intake(arch)
        m.submodules.control = control = DrainControl(arch)
        m.submodules.drain = drain = Drain(
            arch, self._images, load_ids=self._load_ids, tables=self._tables)
        connect(m, flipped(self.i), intake.i)
        connect(m, flipped(self.credit), control.credit)
        connect(m, flipped(self.o), drain.o)
        complete, ends, loads = [], [], []
        for number in range(arch.lanes):
            m.submodules[f"lane{number}"] = lane = Lane(arch, self._images, lane=number, load_ids=self._load_ids)
            m.d.comb += [
                lane.push.eq(intake.push[number]), lane.address.eq(intake.addresses[number]),
                lane.value.eq(intake.values[number]), lane.end.eq(intake.end), lane.drain.eq(control.drain),
                lane.retire.eq(control.retire), lane.word.eq(control.word), lane.half.eq(control.half),
                drain.sums[number].eq(lane.sums),
            ]
            complete.append(lane.complete)
            ends.append(lane.vector_end)
            loads.append(lane)
        m.d.comb += [control.complete.eq(Cat(*complete).all()), intake.vector_end.eq(Cat(*ends))]
        for name in ("capture", "slot", "vector_end"):
            value = getattr(control, name)
            for stage in range(Lane.latency):
                register = Signal.like(value, name=f"{name}{stage}")
                m.d.sync += register.eq(value)
                value = register
            m.d.comb += getattr(drain, name).eq(value)
        if "load" in self.signature.members:
            m.d.comb += self.load.ready.eq(1)
            for unit in (*loads, drain):
                m.d.comb += [unit.load.payload.eq(self.load.payload), unit.load.valid.eq(self.load.valid)]
        return m
