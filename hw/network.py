"""A whole network: layers in a pipeline, frames in, frames out."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .arch import EngineArch, EngineImages, LayerArch, LayerImages, NetworkArch, UnrolledArch, UnrolledImages
from .engine import Engine
from .frames import InputFrames, OutputFrames, PixelFrames
from .join import Join
from .layouts import activation_shape, frame_layout, load_layout
from .memory_map import memory_map, stage_prefix
from .pool import Pool
from .requantise import Requantise
from .select import Select
from .unrolled_engine import UnrolledEngine
from .windows import Windows

__all__ = ["LayerUnit", "NetworkTop", "result_shape"]


def result_shape(arch: NetworkArch) -> Shape:
    """One element of the network's result."""
    select = arch.layers[-1].select
    return Shape(select.value_bits, signed=select.value_signed)


class LayerUnit(wiring.Component):
    """The units of one layer.

    ::

        i -> [Windows | Join] -> Engine -> stages -> [Pool] -> Select -> o
        i -> Windows -> UnrolledEngine -> stages -> [Pool] -> Select -> o

    Members
    -------
    i : In(stream.Signature(beat_layout(...)))
        Vectors, or the pixels of an image.
    o : Out(stream.Signature(beat_layout(...)))
    load : In(stream.Signature(load_layout)), only with ``load_ids``
    """

    i: stream.Interface
    o: stream.Interface
    load: stream.Interface

    def __init__(self, arch: LayerArch, images: LayerImages, *, load_ids: Mapping[str, int] | None = None):
        self._loadable = load_ids is not None
        self.entry = None
        if arch.window is not None:
            self.entry = Windows(arch.window)
        elif arch.joined > 1:
            self.entry = Join(vectors=arch.joined, elements=arch.elements, lanes=arch.engine.lanes,
                              value=activation_shape(arch.engine))
        pool = arch.pool
        match arch.engine, images.engine:
            case EngineArch() as engine, EngineImages() as contents:
                self.engine = Engine(engine, contents, load_ids=load_ids, tables=arch.tables)
            case UnrolledArch() as engine, UnrolledImages() as contents:
                self.engine = UnrolledEngine(engine, contents, pool=pool if engine.pooled else None)
                pool = None if engine.pooled else pool
            case _:
                raise TypeError(f"images must be those of an {type(arch.engine).__name__}, not {images.engine!r}")
        self.pool = None if pool is None else Pool(pool)
        self.stages = []
        for number, stage in enumerate(zip(arch.stages, images.stages, arch.stage_formats, strict=True)):
            prefix = stage_prefix(number)
            ids = load_ids and {name.removeprefix(prefix): first for name, first in load_ids.items()
                                if name.startswith(prefix)}
            self.stages.append(Requantise(
                stage[0], stage[1], value=stage[2], width=arch.engine.drain_width, beats=arch.engine.beats,
                load_ids=ids, tables=arch.tables))
        self.select = Select(arch.select, images.select, load_ids, arch.tables)
        members = {"i": In((self.entry or self.engine).i.signature.flip()), "o": Out(self.select.o.signature)}
        if load_ids is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine, m.submodules.select = engine, select = self.engine, self.select
        if self.entry is None:
            connect(m, flipped(self.i), engine.i)
        else:
            m.submodules.entry = self.entry
            connect(m, flipped(self.i), self.entry.i)
            connect(m, entry=self.entry.o, engine=engine.i)
        connect(m, flipped(self.o), select.o)
        upstream = engine.o
        for number, stage in enumerate(self.stages):
            m.submodules[f"stage{number}"] = stage
            connect(m, upstream, stage.i)
            upstream = stage.o
        if self.pool is None:
            connect(m, engine=engine.credit, select=select.credit)
        else:
            m.submodules.pool = pool = self.pool
            connect(m, upstream, pool.i)
            connect(m, engine=engine.credit, pool=pool.credit)
            connect(m, pool=pool.o_credit, select=select.credit)
            upstream = pool.o
        connect(m, upstream, select.i)
        if self._loadable:
            m.d.comb += self.load.ready.eq(1)
            for unit in (engine, *self.stages, select):
                if isinstance(unit, UnrolledEngine):
                    continue                            # never in a network that is loadable
                m.d.comb += [unit.load.payload.eq(self.load.payload), unit.load.valid.eq(self.load.valid)]
        return m


class NetworkTop(wiring.Component):
    """The network: a stream of input codes in, a stream of results out.

    A frame in is one input vector in the model's order, ``arch.input_width`` codes a beat; a frame out is one result
    vector in the model's order. Images, in and out, come pixel by pixel: row, column, channel. Any number of frames may
    be on their way. Reset, at any time, drops them all.

    Members
    -------
    i : In(stream.Signature(frame_layout(..., keep=False)))
        See ``InputFrames`` and ``PixelFrames`` for frames of a wrong length.
    o : Out(stream.Signature(frame_layout(..., keep=True)))
    load : In(stream.Signature(load_layout)), only where ``arch.loadable``
        Always ready. Writes one row, 32 bits at a time, of the memories that ``memory_map`` lists; the network must be
        idle.
    """

    i: stream.Interface
    o: stream.Interface
    load: stream.Interface

    def __init__(self, arch: NetworkArch, images: Sequence[LayerImages]):
        self._arch = arch
        ids: dict[str, dict[str, int]] = {layer.name: {} for layer in arch.layers}
        for memory in memory_map(arch, images):
            ids[memory.layer][memory.name] = memory.first
        self.layers = [LayerUnit(layer, contents, load_ids=ids[layer.name] if arch.loadable else None)
                       for layer, contents in zip(arch.layers, images, strict=True)]
        first, last = arch.layers[0].engine, arch.layers[-1].select
        members = {
            "i": In(stream.Signature(frame_layout(width=arch.input_width, value=activation_shape(first), keep=False))),
            "o": Out(stream.Signature(frame_layout(width=last.width, value=result_shape(arch), keep=True))),
        }
        if arch.loadable:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        first, last = arch.layers[0].engine, arch.layers[-1].select
        if arch.layers[0].window is None:
            source = InputFrames(length=first.positions, width=arch.input_width, lanes=first.lanes,
                                 value=activation_shape(first), skip_zeros=first.indexed)
        else:
            source = PixelFrames(
                pixels=arch.layers[0].arrivals, channels=arch.layers[0].elements, width=arch.input_width,
                value=activation_shape(first), skip_zeros=first.indexed)
        m.submodules.input = source
        m.submodules.output = sink = OutputFrames(
            length=last.kernels, vectors=arch.layers[-1].pixels, width=last.width, value=result_shape(arch))
        connect(m, flipped(self.i), source.i)
        connect(m, flipped(self.o), sink.o)
        upstream = source.o
        for number, layer in enumerate(self.layers):
            m.submodules[f"layer{number}"] = layer
            connect(m, upstream, layer.i)
            upstream = layer.o
        connect(m, upstream, sink.i)
        if arch.loadable:
            # One register, so that the writes of a large network are not one long path.
            payload, valid = Signal.like(self.load.payload, reset_less=True), Signal()
            m.d.sync += [payload.eq(self.load.payload), valid.eq(self.load.valid)]
            m.d.comb += self.load.ready.eq(1)
            for layer in self.layers:
                m.d.comb += [layer.load.payload.eq(payload), layer.load.valid.eq(valid)]
        return m
