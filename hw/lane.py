"""One lane: a slice of the weight tensor and a row of multipliers, each with its accumulator file."""

from collections.abc import Mapping

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .accumulator import OWN_REGISTER, AccumulatorFile
from .arch import EngineArch, EngineImages, bits_for, ceil_div
from .layouts import activation_shape, load_layout
from .replay import ReplayBuffer
from .rom import Rom
from .sequencer import RowTable, Sequencer
from .soft_product import soft_product

__all__ = ["Lane", "Multiplier"]

#: Banks that one copy of a lane's value goes to: with all of them on one register, wires from end to end of a large
#: device are what its clock waits for.
_GROUP = 8


class Multiplier(wiring.Component):
    """A (lane, bank) pair: one multiplier and its accumulator file.

    ``slot`` is the bank's part of an AWT row; weight, KID and value are registered, the product once more. ``sums``
    shows a drain slot's accumulators ``latency`` cycles after the slot's row was at ``slot``.

    Parameters
    ----------
    arch : EngineArch
    soft : bool
        The multiplier is made of look-up tables; otherwise it is what synthesis makes of a product.

    Members
    -------
    slot : In(arch.slot_bits)
    half, drain : In(1), word : In
        The drain's view of the slot, one cycle after ``slot``.
    value : In(activation shape), one cycle after ``slot``; zero in a drain slot
    sums : Out(ArrayLayout(signed(sum_bits), columns))
    """

    latency = 2

    slot: Signal
    half: Signal
    drain: Signal
    word: Signal
    value: Signal
    sums: data.View

    def __init__(self, arch: EngineArch, *, soft: bool = False):
        self._arch, self._soft = arch, soft
        super().__init__({
            "slot": In(arch.slot_bits), "half": In(1), "drain": In(1), "word": In(bits_for(arch.drain_slots)),
            "value": In(activation_shape(arch)), "sums": Out(data.ArrayLayout(signed(arch.sum_bits), arch.columns)),
        })

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        product_bits = arch.weight_bits + arch.activation_bits
        m.submodules.file = file = AccumulatorFile(
            kids=arch.kids, columns=arch.columns, sum_bits=arch.sum_bits, product_bits=product_bits,
            kind=arch.accumulator, carries=self._soft)
        weight = Signal(signed(arch.weight_bits), reset_less=True)
        kid = Signal(arch.kid_bits, reset_less=True)
        product = Signal(signed(product_bits), reset_less=True)
        m.d.sync += [
            weight.eq(self.slot[:arch.weight_bits].as_signed()), kid.eq(self.slot[arch.weight_bits:]),
        ]
        if self._soft:
            carry = Signal(reset_less=True)
            soft, soft_carry = soft_product(m, weight, self.value, name="soft")
            m.d.sync += [product.eq(soft), carry.eq(soft_carry)]
            m.d.comb += file.carry.eq(carry)
        else:
            m.d.sync += product.eq(weight * self.value)
        m.d.comb += [
            file.kid.eq(kid), file.word.eq(self.word), file.half.eq(self.half), file.drain.eq(self.drain),
            file.product.eq(product), self.sums.eq(file.sums),
        ]
        return m


class Lane(wiring.Component):
    """Everything that belongs to the positions ``i % lanes == lane``.

    Members
    -------
    push, address, value, end : In
        The writer's side of the lane's ``ReplayBuffer``.
    drain, retire, word, half : In
        This cycle's slot is a drain slot of ``word`` in ``half``; ``retire`` with the last one of a fold.
    complete, vector_end : Out(1)
        See ``Sequencer``.
    sums : Out(ArrayLayout(ArrayLayout(signed(sum_bits), columns), banks))
        What a drain slot reads, ``latency`` cycles after ``drain``.
    load : In(stream.Signature(load_layout)), only with ``load_ids``
    """

    #: From a drain slot's decision to its sums: sequencer register, weight memory, multiplier.
    latency = 2 + Multiplier.latency

    push: Signal
    address: Signal
    value: Signal
    end: Signal
    drain: Signal
    retire: Signal
    word: Signal
    half: Signal
    complete: Signal
    vector_end: Signal
    sums: data.View
    load: stream.Interface

    def __init__(self, arch: EngineArch, images: EngineImages, *, lane: int, load_ids: Mapping[str, int] | None = None):
        self._arch, self._lane = arch, lane
        ids = {} if load_ids is None else load_ids
        self._buffer = ReplayBuffer(arch)
        self._table = RowTable(arch, None if images.rows is None else images.rows[lane], load_id=ids.get(f"rows{lane}"))
        self._weights = Rom(width=arch.banks * arch.slot_bits, depth=arch.lane_rows, init=images.weights[lane],
                            load_id=ids.get(f"weights{lane}"), kind=arch.weight_memory)
        sums = data.ArrayLayout(data.ArrayLayout(signed(arch.sum_bits), arch.columns), arch.banks)
        members = {
            "push": In(1), "address": In(bits_for(arch.lane_positions)), "value": In(activation_shape(arch)),
            "end": In(1), "drain": In(1), "retire": In(1), "word": In(bits_for(arch.drain_slots)), "half": In(1),
            "complete": Out(1), "vector_end": Out(1), "sums": Out(sums),
        }
        if load_ids is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        m.submodules.buffer = buffer = self._buffer
        m.submodules.table = table = self._table
        m.submodules.sequencer = sequencer = Sequencer(arch)
        m.submodules.weights = weights = self._weights
        connect(m, buffer=buffer.o, table=table.i)
        connect(m, table=table.o, sequencer=sequencer.i)
        if "load" in self.signature.members:
            connect(m, load=flipped(self.load), weights=weights.load)
            if arch.row_table:
                m.d.comb += [table.load.payload.eq(self.load.payload), table.load.valid.eq(self.load.valid)]
        m.d.comb += [
            buffer.push.eq(self.push), buffer.address.eq(self.address), buffer.value.eq(self.value),
            buffer.end.eq(self.end),
            sequencer.drain.eq(self.drain), sequencer.retire.eq(self.retire), self.complete.eq(sequencer.complete),
            self.vector_end.eq(sequencer.vector_end), weights.address.eq(sequencer.row), weights.en.eq(1),
        ]

        def delayed(value, cycles: int, name: str):
            for stage in range(cycles):
                register = Signal.like(value, name=f"{name}{stage}", reset_less=True)
                m.d.sync += register.eq(value)
                value = register
            return value

        # Sequencer outputs are one cycle old; the weights take one more and are registered in the multiplier.
        drain = delayed(self.drain, 3, "drain")
        half_of_drain = delayed(self.half, 3, "half_of_drain")
        half_of_fold = delayed(sequencer.half, 2, "half_of_fold")
        word = delayed(self.word, 3, "word")
        value = delayed(sequencer.value, 1, "value")
        values = []
        for group in range(ceil_div(arch.banks, _GROUP)):
            register = Signal.like(sequencer.value, name=f"value_of_group{group}", reset_less=True,
                                   attrs={OWN_REGISTER: 1} if arch.banks > _GROUP else {})
            m.d.sync += register.eq(value)
            values.append(register)
        for bank in range(arch.banks):
            m.submodules[f"bank{bank}"] = multiplier = Multiplier(arch, soft=arch.is_soft(self._lane, bank))
            m.d.comb += [
                multiplier.slot.eq(weights.data[bank * arch.slot_bits:(bank + 1) * arch.slot_bits]),
                multiplier.drain.eq(drain), multiplier.word.eq(word), multiplier.value.eq(values[bank // _GROUP]),
                self.sums[bank].eq(multiplier.sums),
            ]
            with m.If(drain):
                m.d.comb += multiplier.half.eq(half_of_drain)
            with m.Else():
                m.d.comb += multiplier.half.eq(half_of_fold)
        return m
