"""Max-pooling of vectors as they come: one axis of the image after the other."""

from amaranth.hdl import Array, Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from .arch import PoolArch, PoolAxis, bits_for
from .layouts import Token, vector_layout

__all__ = ["Pool", "PoolControl", "PoolLine", "PoolWalk"]


class PoolWalk(wiring.Component):
    """What happens with each position of an axis, again and again: see `PoolAxis`.

    Members
    -------
    step : In(1)
        The position is over.
    final, outside : Out(1)
        The position is the axis's last; it does not exist.
    leaves : Out(1), file : Out(bits_for(files))
        An element leaves, from that file if it is kept in any.
    enters : Out(files)
        Files that elements enter.
    holds : Out(files)
        Files that elements entered before and did not leave.
    """

    step: Signal
    final: Signal
    outside: Signal
    leaves: Signal
    file: Signal
    enters: Signal
    holds: Signal

    def __init__(self, axis: PoolAxis):
        self._axis = axis
        files = max(1, axis.files)
        super().__init__({
            "step": In(1), "final": Out(1), "outside": Out(1), "leaves": Out(1), "file": Out(bits_for(files)),
            "enters": Out(files), "holds": Out(files),
        })

    def elaborate(self, platform):
        m = Module()
        axis, files = self._axis, max(1, self._axis.files)
        position = Signal(bits_for(axis.positions))
        m.d.comb += [self.final.eq(position == axis.positions - 1), self.outside.eq(position >= axis.size)]
        with m.If(self.step):
            m.d.sync += position.eq(Mux(self.final, 0, position + 1))

        def every_stride(start, name):
            """Set at position `start` and each `stride` behind it."""
            rest, here = Signal(bits_for(max(start + 1, axis.stride)), init=start, name=f"{name}_in"), Signal(name=name)
            m.d.comb += here.eq(rest == 0)
            with m.If(self.step):
                m.d.sync += rest.eq(Mux(self.final, start, Mux(here, axis.stride - 1, rest - 1)))
            return here

        def turn(number, step, start):
            """Move the number of a file on."""
            with m.If(self.step & (self.final | step)):
                m.d.sync += number.eq(Mux(self.final, start, Mux(number == files - 1, 0, number + 1)))

        whole_ends = every_stride(axis.kernel - 1 - axis.before, "whole_ends")
        m.d.comb += self.leaves.eq(whole_ends | ((position >= axis.size - 1) if axis.count > axis.whole else 0))
        turn(self.file, self.leaves, 0)
        kept = axis.kept
        at_start = sum({1 << element % files for element in kept if element < axis.together})
        with m.If(position == 0):
            m.d.comb += self.enters.eq(at_start)
        if kept and kept[-1] >= axis.together:
            begins = every_stride(axis.together * axis.stride - axis.before, "begins")
            newest = Signal(bits_for(files), init=axis.together % files)
            turn(newest, begins, axis.together % files)
            with m.If(begins & (position <= axis.first(kept[-1]))):
                m.d.comb += self.enters.eq(1 << newest)
        with m.If(self.step):
            m.d.sync += self.holds.eq(self.holds & ~Mux(self.leaves, 1 << self.file, 0) | self.enters)
        return m


class PoolLine(wiring.Component):
    """Max-pooling along one axis of which each position is a line of beats.

    An open element keeps a line, the maximum so far, in its file. Each beat is compared with the same beat of every
    file, and what comes out is written back; with the last position of an element its file's maximum leaves. A beat
    leaves ``latency`` cycles after it came, one beat a cycle. No back-pressure.

    ======  ===================================================================
    cycle   what is registered
    ======  ===================================================================
    1       the beat; the files read
    2       the beat again, what the files hold, and what happens at the position
    3       the maximum; written back in the next cycle
    ======  ===================================================================

    Lines of three beats or fewer are read in the cycle in which they are written, from LUT RAM or registers: the
    next position would come before its beat is written back.

    Parameters
    ----------
    axis : PoolAxis
    line, ports : int
        Beats of a position, elements of a beat.
    value : Shape
        An element.

    Members
    -------
    i, o : In, Out(stream.Signature(vector_layout(...)))
        ``last`` is handed through. Beats of positions behind the axis's end may hold anything.
    """

    latency = 3

    i: stream.Interface
    o: stream.Interface

    def __init__(self, axis: PoolAxis, *, line: int, ports: int, value: Shape):
        self._axis, self._line, self._ports, self._value = axis, line, ports, value
        vectors = stream.Signature(vector_layout(width=ports, value=value))
        super().__init__({"i": In(vectors), "o": Out(vectors)})

    def elaborate(self, platform):
        m = Module()
        axis, line = self._axis, self._line
        short = line <= self.latency

        word, line_end = Signal(bits_for(line)), Signal()
        m.d.comb += [self.i.ready.eq(1), line_end.eq(word == line - 1)]
        with m.If(self.i.valid):
            m.d.sync += word.eq(Mux(line_end, 0, word + 1))
        words = [word, *(Signal.like(word, name=f"word{stage}", reset_less=True) for stage in (1, 2, 3))]
        beats = [self.i.p, *(Signal(self.i.p.shape(), name=f"beat{stage}", reset_less=True) for stage in (1, 2))]
        valids = [self.i.valid, *(Signal(name=f"valid{stage}") for stage in (1, 2, 3))]
        for stages in (words, beats, valids):
            m.d.sync += [after.eq(before) for before, after in zip(stages, stages[1:], strict=False)]

        m.submodules.walk = walk = PoolWalk(axis)
        ended = Signal()
        m.d.sync += ended.eq(self.i.valid & line_end)
        m.d.comb += walk.step.eq(ended)
        outside, leaves, file, enters, holds = now = [
            Signal.like(signal, name=name, reset_less=True)
            for name in ("outside", "leaves", "file", "enters", "holds") for signal in [getattr(walk, name)]]
        m.d.sync += [signal.eq(getattr(walk, signal.name)) for signal in now]

        values = [beats[2].values[port] for port in range(self._ports)]
        shape = data.ArrayLayout(self._value, self._ports)
        greatest = []
        for number in range(axis.files):
            m.submodules[f"file{number}"] = memory = Memory(shape=unsigned(shape.size), depth=max(2, line), init=[])
            write = memory.write_port()
            read = memory.read_port(domain="comb" if short else "sync")
            held, found = Signal(shape, name=f"held{number}"), Signal(shape, name=f"found{number}")
            kept = Signal(shape, name=f"kept{number}")
            for port, value in enumerate(values):
                wins = Signal(name=f"wins{number}_{port}")
                m.d.comb += [
                    wins.eq(~holds[number] | ((value > held[port]) & ~outside)),
                    found[port].eq(Mux(wins, value, held[port])),
                    kept[port].eq(Mux(enters[number], value, found[port]) if axis.hands_over else found[port]),
                ]
            if short:
                m.d.comb += [
                    read.addr.eq(words[2]), held.as_value().eq(read.data), write.addr.eq(words[2]),
                    write.en.eq(valids[2]), write.data.eq(kept.as_value()),
                ]
            else:
                changed = Signal(shape.size, name=f"changed{number}", reset_less=True)
                m.d.comb += [
                    read.addr.eq(word), read.en.eq(self.i.valid), write.addr.eq(words[3]), write.en.eq(valids[3]),
                    write.data.eq(changed),
                ]
                m.d.sync += [held.as_value().eq(read.data), changed.eq(kept.as_value())]
            greatest.append(found.as_value())
        chosen = Array(greatest)[file] if greatest else Cat(values)
        m.d.sync += [
            self.o.valid.eq(valids[2] & leaves), self.o.p.last.eq(beats[2].last),
            self.o.p.values.as_value().eq(chosen),
        ]
        return m


class Pool(wiring.Component):
    """Takes the maximum, element by element, over neighbouring vectors of an image; image after image, row by row.

    Rows are pooled first, then columns: max-pooling is separable. The maxima so far are all that is stored, mostly one
    vector for the row and one pooled row. A vector that is the last one of a pooled vector lets that go while it comes:
    its beats leave ``PoolLine.latency`` cycles after they came for every axis that is pooled. So the token of such a
    vector is the consumer's, handed on in the same cycle; those of all others are free.

    Where several pooled vectors would go with one vector, at the right or the lower border (`PoolAxis.positions`), all
    but the first go with positions behind the border. Such a position waits until all vectors before it are here and,
    if a pooled vector goes with it, for its token; it takes ``beats`` cycles and one, in which no token is given.

    Parameters
    ----------
    arch : PoolArch

    Members
    -------
    i : In(stream.Signature(vector_layout(...)))
        Exactly ``arch.beats`` beats per vector, in any order that is the same for every vector. Always ready: a vector
        may only be sent after its token was taken, from the next cycle on.
    credit : Out(Token)
        A token per vector.
    o : Out(stream.Signature(vector_layout(...)))
        Pooled vectors, in the order of ``i``; does not respect back-pressure.
    o_credit : In(Token)
        From the consumer: a token per vector that it can take whole.
    """

    i: stream.Interface
    credit: stream.Interface
    o: stream.Interface
    o_credit: stream.Interface

    def __init__(self, arch: PoolArch):
        self._arch = arch
        self._value = Shape(arch.value_bits, signed=arch.value_signed)
        vectors = stream.Signature(vector_layout(width=arch.ports, value=self._value))
        super().__init__({"i": In(vectors), "credit": Out(Token), "o": Out(vectors), "o_credit": In(Token)})

    def elaborate(self, platform):
        m = Module()
        arch, columns, rows = self._arch, self._arch.horizontal, self._arch.vertical
        beats = stream.Signature(self.o.p.shape()).create(path=("beats",))
        m.submodules.control = control = PoolControl(arch)
        connect(m, flipped(self.o_credit), control.o_credit)
        connect(m, control.credit, flipped(self.credit))
        m.d.comb += [
            self.i.ready.eq(1), control.arrived.eq(self.i.valid & self.i.p.last),
            beats.valid.eq(self.i.valid | control.insert), beats.payload.eq(self.i.payload),
        ]
        with m.If(control.insert):
            m.d.comb += beats.p.last.eq(control.insert_last)
        for name, axis, line in (("columns", columns, arch.beats), ("rows", rows, columns.count * arch.beats)):
            if not axis.is_identity:
                m.submodules[name] = unit = PoolLine(axis, line=line, ports=arch.ports, value=self._value)
                m.d.comb += [unit.i.valid.eq(beats.valid), unit.i.payload.eq(beats.payload)]
                beats = unit.o
        m.d.comb += [self.o.valid.eq(beats.valid), self.o.payload.eq(beats.payload)]
        return m


class PoolControl(wiring.Component):
    """Gives the tokens of a pool, in the order of the positions, and inserts the beats of those that do not exist.

    Members
    -------
    credit : Out(Token), o_credit : In(Token)
        As in `Pool`.
    arrived : In(1)
        The last beat of a vector.
    insert, insert_last : Out(1)
        A beat is inserted; it is the position's last.
    """

    credit: stream.Interface
    o_credit: stream.Interface
    arrived: Signal
    insert: Signal
    insert_last: Signal

    def __init__(self, arch: PoolArch):
        self._arch = arch
        super().__init__({
            "credit": Out(Token), "o_credit": In(Token), "arrived": In(1), "insert": Out(1), "insert_last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        arch, columns, rows = self._arch, self._arch.horizontal, self._arch.vertical
        m.submodules.columns, m.submodules.rows = column, row = PoolWalk(columns), PoolWalk(rows)
        step, taken, leaves, outside, all_here = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            column.step.eq(step), row.step.eq(step & column.final), leaves.eq(column.leaves & row.leaves),
            outside.eq(column.outside | row.outside),
            self.credit.valid.eq(~outside & (~leaves | self.o_credit.valid)),
            self.o_credit.ready.eq(leaves & Mux(outside, all_here & ~self.insert, self.credit.ready)),
            taken.eq(self.credit.valid & self.credit.ready), step.eq(taken | self.insert_last),
        ]
        if columns.positions > columns.size or rows.positions > rows.size:
            # Vectors in a row, or in an image, before one that does not exist.
            coming = Signal(range((columns.size if columns.positions > columns.size else columns.size * rows.size) + 1))
            beat = Signal(bits_for(arch.beats))
            m.d.comb += [all_here.eq(coming == 0), self.insert_last.eq(self.insert & (beat == arch.beats - 1))]
            m.d.sync += coming.eq(coming + taken - self.arrived)
            with m.If(self.insert):
                m.d.sync += [beat.eq(Mux(self.insert_last, 0, beat + 1)), self.insert.eq(~self.insert_last)]
            with m.Elif(outside & all_here & (~leaves | self.o_credit.valid)):
                m.d.sync += self.insert.eq(1)
        return m
