"""The store that turns a vector's drain order into the model's order."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .arch import MemoryKind, SelectArch, SelectImages, bits_for
from .layouts import Token, arrival_layout, beat_layout, load_layout, vector_layout
from .rom import Rom, ram_style

__all__ = ["Store", "check_images", "memories"]


def memories(arch: SelectArch) -> list[tuple[str, int, int]]:
    """Name, width and depth of every memory of a select unit that holds part of the compiled network."""
    order = [(f"order{port}", bits_for(arch.words) + 1, arch.beats) for port in range(arch.width)]
    # A word of one element has only one order.
    return order + ([("ranks", arch.width * bits_for(arch.width), arch.words)] if arch.width > 1 else [])


def check_images(arch: SelectArch, images: SelectImages) -> None:
    """Raise ValueError if the images do not fit the architecture."""
    if len(images.order) != arch.width or any(len(rows) != arch.beats for rows in images.order):
        shape = [len(rows) for rows in images.order]
        raise ValueError(f"images.order must hold {arch.width} ports of {arch.beats} beats, not {shape!r}")
    ports = list(range(arch.width))
    if len(images.ranks) != arch.words:
        raise ValueError(f"images.ranks must hold {arch.words} words, not {len(images.ranks)!r}")
    for word in images.ranks:
        if sorted(word) != ports:
            raise ValueError(f"images.ranks must hold permutations of {arch.width} ports, not {word!r}")


class Store(wiring.Component):
    """Holds ``arch.buffers`` vectors of ``words`` words of R elements: one arrives while another leaves.

    A vector arrives in any order and leaves word by word in the model's order, padding dropped. Word ``w`` of memory
    ``p`` is at ``buffers * w + buffer``::

        i       | beat 0 | beat 1 |  ...  |  last  |        |        |        |        |
        arrivals         | beat 0 | beat 1 |  ...  |  last  |        |        |
        o                                                                     | word 0 | word 1 | ...

    The first word of a vector is valid ``latency`` cycles after its last beat; after that a word leaves per cycle that
    ``o`` is ready. A buffer is free again once its last word is read, four words ahead of ``o`` at most.

    Parameters
    ----------
    arch : SelectArch
    images : SelectImages
        Where each element goes, and which port holds which.
    load_ids : Mapping[str, int] | None
        Number of each memory of :func:`memories` on the load stream; None for memories that cannot be written.
    tables : MemoryKind
        What the store and its orders are kept in.

    Members
    -------
    i : In(stream.Signature(vector_layout(...)))
        Always ready: a vector may only be sent after its token was taken.
    credit : Out(Token)
        A token per vector that fits.
    arrivals : Out(stream.Signature(arrival_layout(...)))
        The elements as they arrive, one cycle after ``i``, padding marked. Does not respect back-pressure.
    o : Out(stream.Signature(beat_layout(...)))
        Words in the model's order; ``mask`` marks the elements that exist.
    load : In(stream.Signature(load_layout)), only with ``load_ids``; always ready

    Raises
    ------
    ValueError
        If the images do not fit the architecture.
    """

    #: Cycles from a vector's last beat on ``i`` to the first word on ``o``.
    latency = 5

    i: stream.Interface
    credit: stream.Interface
    arrivals: stream.Interface
    o: stream.Interface
    load: stream.Interface

    def __init__(self, arch: SelectArch, images: SelectImages, *, load_ids: Mapping[str, int] | None = None,
                 tables: MemoryKind = MemoryKind.AUTO):
        check_images(arch, images)
        self._arch, self._images, self._load_ids, self._tables = arch, images, load_ids, tables
        value = Shape(arch.value_bits, signed=arch.value_signed)
        members = {
            "i": In(stream.Signature(vector_layout(width=arch.width, value=value))), "credit": Out(Token),
            "arrivals": Out(stream.Signature(arrival_layout(width=arch.width, value=value))),
            "o": Out(stream.Signature(beat_layout(lanes=arch.width, address_bits=bits_for(arch.words), value=value))),
        }
        if load_ids is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arch, images = self._arch, self._images
        shapes = {name: (width, depth) for name, width, depth in memories(arch)}

        def rom(name, init):
            width, depth = shapes[name]
            load_id = None if self._load_ids is None else self._load_ids[name]
            m.submodules[name] = unit = Rom(width=width, depth=depth, init=init, load_id=load_id, kind=self._tables)
            if load_id is not None:
                m.d.comb += [unit.load.valid.eq(self.load.valid), unit.load.payload.eq(self.load.payload)]
            return unit

        if self._load_ids is not None:
            m.d.comb += self.load.ready.eq(1)

        # Arrival: the order memories answer while the beat waits in a register.
        beat = Signal(bits_for(arch.beats))
        m.d.comb += self.i.ready.eq(1)
        with m.If(self.i.valid):
            m.d.sync += beat.eq(Mux(self.i.p.last, 0, beat + 1))
        arrived = Signal.like(self.i.payload, reset_less=True)
        m.d.sync += [arrived.eq(self.i.payload), self.arrivals.valid.eq(self.i.valid)]
        orders = [rom(f"order{port}", images.order[port]) for port in range(arch.width)]
        for order in orders:
            m.d.comb += [order.address.eq(beat), order.en.eq(1)]
        m.d.comb += [
            self.arrivals.p.values.eq(arrived.values), self.arrivals.p.last.eq(arrived.last),
            self.arrivals.p.mask.eq(Cat(order.data[-1] for order in orders)),
        ]
        complete, filling = Signal(), Signal(range(arch.buffers))
        m.d.comb += complete.eq(self.arrivals.valid & arrived.last)
        m.d.sync += filling.eq(filling + complete)

        # Departure: the counter, the memories' own output registers, a register behind those (block RAMs are slow), and
        # the register of `o`, in the model's order.
        free, stored = Signal(range(arch.buffers + 1), init=arch.buffers), Signal(range(arch.buffers + 1))
        word, emptying = Signal(bits_for(arch.words)), Signal(range(arch.buffers))
        issue, final = Signal(), Signal()
        step_read, step_held, step_o = Signal(), Signal(), Signal()
        read_valid, read_final, read_word = Signal(), Signal(), Signal.like(word, reset_less=True)
        held_valid, held_final, held_word = Signal(), Signal(), Signal.like(word, reset_less=True)
        m.d.comb += [
            step_o.eq(~self.o.valid | self.o.ready), step_held.eq(~held_valid | step_o),
            step_read.eq(~read_valid | step_held),
            issue.eq(step_read & (stored != 0)), final.eq(word == arch.words - 1), self.credit.valid.eq(free != 0),
        ]
        m.d.sync += [
            free.eq(free + (issue & final) - (self.credit.valid & self.credit.ready)),
            stored.eq(stored + complete - (issue & final)),
        ]
        with m.If(issue):
            m.d.sync += [word.eq(Mux(final, 0, word + 1)), emptying.eq(emptying + final)]
        with m.If(step_read):
            m.d.sync += [read_valid.eq(stored != 0), read_final.eq(final), read_word.eq(word)]
        with m.If(step_held):
            m.d.sync += [held_valid.eq(read_valid), held_final.eq(read_final), held_word.eq(read_word)]

        def hold(value):
            register = Signal(len(value), reset_less=True)
            with m.If(step_held):
                m.d.sync += register.eq(value)
            return register

        ports = []
        for port, order in enumerate(orders):
            m.submodules[f"memory{port}"] = memory = Memory(
                shape=Shape(arch.value_bits, signed=arch.value_signed), depth=arch.buffers * arch.words, init=[],
                attrs=ram_style(self._tables, written=True))
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(Cat(filling, order.data[:-1])), write.data.eq(arrived.values[port]),
                write.en.eq(self.arrivals.valid & order.data[-1]),
                read.addr.eq(Cat(emptying, word)), read.en.eq(issue),
            ]
            ports.append(hold(read.data))
        if arch.width > 1 and (self._load_ids is not None or any(list(row) != sorted(row) for row in images.ranks)):
            bits = bits_for(arch.width)
            ranks = rom("ranks", [sum(port << r * bits for r, port in enumerate(row)) for row in images.ranks])
            m.d.comb += [ranks.address.eq(word), ranks.en.eq(issue)]
            stored_word, rank_word = Cat(*ports), hold(ranks.data)
            ports = [stored_word.word_select(rank_word.word_select(r, bits), arch.value_bits)
                     for r in range(arch.width)]
        everywhere = (1 << arch.width) - 1
        tail = (1 << arch.kernels - (arch.words - 1) * arch.width) - 1
        with m.If(step_o):
            m.d.sync += [
                self.o.valid.eq(held_valid), self.o.p.address.eq(held_word), self.o.p.last.eq(held_final),
                self.o.p.mask.eq(Mux(held_final, tail, everywhere)), self.o.p.values.as_value().eq(Cat(*ports)),
            ]
        return m
