"""The unrolled engine of a layer: windows in, finished sums with bias out."""

from amaranth.hdl import Module, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .arch import PoolArch, UnrolledArch, UnrolledImages, bits_for
from .layouts import Token, activation_shape, vector_layout, window_layout
from .pool import Pool
from .serialise import Serialise
from .unrolled import Unrolled

__all__ = ["UnrolledEngine", "memories"]


def memories(arch: UnrolledArch, images: UnrolledImages) -> list[tuple[str, int, int, tuple[int, ...]]]:
    """Name, width, depth and contents of an unrolled engine's memories."""
    mask = (1 << arch.sum_bits) - 1
    return [(f"biases{port}", arch.sum_bits, arch.beats, tuple(bias & mask for bias in biases))
            for port, biases in enumerate(images.biases)]


class UnrolledEngine(wiring.Component):
    """Sums of all windows, those of a window in one beat; pooled, if they are; then a few a beat, with bias.

    ::

        i -> Unrolled -> [Pool] -> Serialise -> o

    The maximum of sums without bias is that of sums with bias, less the bias: both are of one kernel.

    Parameters
    ----------
    arch : UnrolledArch
    images : UnrolledImages
    pool : PoolArch or None
        Where ``arch.pooled``.

    Members
    -------
    i : In(stream.Signature(window_layout(...)))
        A window a beat, every tap with its code.
    credit : In(Token)
        One token per vector that leaves, from the unit behind ``o``.
    o : Out(stream.Signature(vector_layout(...)))
        Always ready once the token is given. What fills up a vector's last beat is unspecified.

    Raises
    ------
    ValueError
        If the graph does not fit the architecture.
    """

    i: stream.Interface
    credit: stream.Interface
    o: stream.Interface

    def __init__(self, arch: UnrolledArch, images: UnrolledImages, *, pool: PoolArch | None = None):
        self._pool = None if pool is None else Pool(pool)
        self._unrolled = unrolled = Unrolled(images.graph, stage_depth=arch.stage_depth)
        graph = images.graph
        for name, of_graph, of_arch in (
                ("inputs", graph.inputs, arch.positions), ("outputs", len(graph.outputs), arch.kernels),
                ("latency", unrolled.latency, arch.latency)):
            if of_graph != of_arch:
                raise ValueError(f"{name} of the graph must be {of_arch}, not {of_graph}")
        self._serialise = Serialise(kernels=arch.kernels, width=arch.drain_width, value_bits=arch.value_bits,
                                    sum_bits=arch.sum_bits, biases=images.biases,
                                    vectors=arch.vectors)
        super().__init__({
            "i": In(stream.Signature(window_layout(
                lanes=arch.positions, address_bits=bits_for(1), value=activation_shape(arch)))),
            "credit": In(Token),
            "o": Out(stream.Signature(vector_layout(width=arch.drain_width, value=signed(arch.sum_bits)))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.unrolled, m.submodules.serialise = unrolled, serialise = self._unrolled, self._serialise
        m.d.comb += [
            self.i.ready.eq(unrolled.i.ready), unrolled.i.valid.eq(self.i.valid), unrolled.i.p.last.eq(self.i.p.last),
            *(unrolled.i.p.values[lane].eq(self.i.p.values[lane]) for lane in range(len(self.i.p.mask))),
        ]
        connect(m, flipped(self.credit), serialise.o_credit)
        connect(m, serialise.o, flipped(self.o))
        behind, credit = serialise.i, serialise.credit
        if self._pool is not None:
            m.submodules.pool = pool = self._pool
            connect(m, serialise.credit, pool.o_credit)
            connect(m, pool.o, serialise.i)
            behind, credit = pool.i, pool.credit
        connect(m, credit, unrolled.credit)
        m.d.comb += [
            behind.valid.eq(unrolled.o.valid), behind.p.last.eq(unrolled.o.p.last), unrolled.o.ready.eq(1),
            *(there.eq(here) for there, here in zip(behind.p.values, unrolled.o.p.values, strict=True)),
        ]
        return m
