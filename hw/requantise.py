"""Requantisation: sums, or the codes of the stage before, become codes."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import MemoryKind, ScaleArch, StageImages, ThresholdArch
from .layouts import load_layout, vector_layout
from .rom import Rom
from .scale import scale
from .thresholds import count_reached

__all__ = ["Requantise", "memories"]


def memories(
    arch: ScaleArch | ThresholdArch, images: StageImages, *, width: int, value: tuple[int, bool], beats: int,
) -> list[tuple[str, int, int, tuple[int, ...]]]:
    """Name, width, depth and contents of a stage's memories, in the order of their numbers on the load stream.

    Parameters
    ----------
    arch, images, width, value, beats
        As for `Requantise`.

    Raises
    ------
    ValueError
        If the images do not fit the architecture.
    """
    bits, is_signed = value
    found = []

    def add(name: str, held: Sequence[Sequence[Sequence[int]]], places: int, shape: Shape) -> None:
        ports = width if shape.width else 0
        if len(held) != ports:
            raise ValueError(f"{name} must be given for {ports} ports, not for {len(held)}")
        low, high = (-(1 << shape.width - 1), 1 << shape.width - 1) if shape.signed else (0, 1 << shape.width)
        for port, rows in enumerate(held):
            if any(len(row) != places or not low <= min(row) <= max(row) < high for row in rows):
                raise ValueError(f"{name} must hold {places} of {shape!r} a beat, not {rows!r}")
            words = tuple(sum((entry & (1 << shape.width) - 1) << place * shape.width
                              for place, entry in enumerate(row)) for row in rows)
            found.append((f"{name}{port}", places * shape.width, beats, words))

    if isinstance(arch, ThresholdArch):
        add("thresholds", images.thresholds, arch.count, Shape(bits + 1, is_signed))
    else:
        for name, held, shape in (
                ("multipliers", images.multipliers, Shape(arch.multiplier_bits, arch.multiplier_signed)),
                ("offsets", images.offsets, Shape(arch.offset_bits, bool(arch.offset_bits)))):
            add(name, [[[entry] for entry in port] for port in held], 1, shape)
    return found


class Requantise(wiring.Component):
    """One stage of requantisation on every port of a vector stream: `scale`, or `count_reached`.

    The parameters of a kernel are read from one memory per port, a word per beat; what is the same for all kernels
    costs none. Latency is ``latency`` cycles whatever the stage, throughput one beat a cycle, no back-pressure.

    ======  ==============================================================================
    cycle   what is registered
    ======  ==============================================================================
    1       the value; the memories read
    2       the value again, and what the memories hold
    3       product, or comparisons
    4       code
    ======  ==============================================================================

    Parameters
    ----------
    arch : ScaleArch or ThresholdArch
    images : StageImages
    width : int
        Ports.
    value : (int, bool)
        Width of what arrives, and whether it is signed.
    beats : int
        Beats per vector.
    load_ids : Mapping[str, int] | None
        Number of each memory of `memories` on the load stream; None for memories that cannot be written.
    tables : MemoryKind
        What the parameters are kept in.

    Members
    -------
    i, o : In, Out(stream.Signature(vector_layout(...)))
    load : In(stream.Signature(load_layout)), only with ``load_ids``; always ready

    Raises
    ------
    ValueError
        If the images do not fit the architecture.
    """

    latency = 4

    i: stream.Interface
    o: stream.Interface
    load: stream.Interface

    def __init__(self, arch: ScaleArch | ThresholdArch, images: StageImages, *, width: int, value: tuple[int, bool],
                 beats: int, load_ids: Mapping[str, int] | None = None, tables: MemoryKind = MemoryKind.AUTO):
        self._arch, self._width, self._value, self._beats = arch, width, Shape(*value), beats
        ids = {} if load_ids is None else load_ids
        self._roms = {name: Rom(width=bits, depth=depth, init=rows, load_id=ids.get(name), kind=tables)
                      for name, bits, depth, rows in memories(
                          arch, images, width=width, value=value, beats=beats)}
        members = {
            "i": In(stream.Signature(vector_layout(width=width, value=self._value))),
            "o": Out(stream.Signature(vector_layout(width=width, value=Shape(*arch.code_format)))),
        }
        if load_ids is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
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

        for name, rom in self._roms.items():
            m.submodules[name] = rom
            m.d.comb += [rom.address.eq(position), rom.en.eq(1)]
            if "load" in self.signature.members:
                m.d.comb += [rom.load.payload.eq(self.load.payload), rom.load.valid.eq(self.load.valid)]
        if "load" in self.signature.members:
            m.d.comb += self.load.ready.eq(1)
        for port in range(self._width):
            fetched, ready = (Signal(self._value, name=f"{name}{port}", reset_less=True)
                              for name in ("value_fetched", "value_ready"))
            code = Signal(Shape(*self._arch.code_format), name=f"code{port}", reset_less=True)
            m.d.sync += [fetched.eq(self.i.p.values[port]), ready.eq(fetched), code.eq(self._code(m, ready, port))]
            m.d.comb += self.o.p.values[port].eq(code)
        return m

    def _code(self, m: Module, value: Value, port: int) -> Value:
        """The code of a port's ``value``, through one register and what is in front of the next one."""
        arch = self._arch

        parameters = {}
        for name in ("multipliers", "offsets", "thresholds"):
            if f"{name}{port}" in self._roms:
                rom = self._roms[f"{name}{port}"]
                parameters[name] = Signal(len(rom.data), name=f"{name}_ready{port}", reset_less=True)
                m.d.sync += parameters[name].eq(rom.data)
        if isinstance(arch, ThresholdArch):
            return count_reached(m, arch, value, parameters["thresholds"], name=f"reached{port}")
        return scale(m, arch, value, multiplier=parameters.get("multipliers"), offset=parameters.get("offsets"),
                     name=f"scaled{port}")
