"""The pairs of one lane: two vectors in a memory, each replayed once per fold."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .arch import EngineArch, bits_for
from .layouts import activation_shape, item_layout

__all__ = ["ReplayBuffer"]


class ReplayBuffer(wiring.Component):
    """Two halves of ``capacity`` pairs: one fills while the other is read ``folds`` times.

    Replaying the few pairs of a vector keeps the accumulators at N words a bank, however many folds there are. The
    first item of a vector is valid two cycles after ``end``; from then on one item a cycle. The writer must know that a
    half is free (see ``Intake``), and must not push more than ``capacity`` pairs.

    Members
    -------
    push : In(1)
        Store a pair of the vector that is being written.
    address : In(bits_for(lane_positions)), value : In(activation shape)
        The pair. Without ``arch.indexed`` the address is not stored: pairs come in order, from local address 0 on.
    end : In(1)
        The vector is complete, with the pair pushed in the same cycle.
    o : Out(stream.Signature(item_layout(arch)))
    """

    push: Signal
    address: Signal
    value: Signal
    end: Signal
    o: stream.Interface

    def __init__(self, arch: EngineArch):
        self._arch = arch
        super().__init__({
            "push": In(1), "address": In(bits_for(arch.lane_positions)), "value": In(activation_shape(arch)),
            "end": In(1), "o": Out(stream.Signature(item_layout(arch))),
        })

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        members = {"value": activation_shape(arch)}
        if arch.indexed:
            members["address"] = unsigned(bits_for(arch.lane_positions))
        pair = data.StructLayout(members)
        slot_bits = bits_for(arch.capacity)
        m.submodules.pairs = pairs = Memory(shape=pair, depth=2 << slot_bits, init=[])
        write, read = pairs.write_port(), pairs.read_port()

        counts = [Signal(range(arch.capacity + 1), name=f"count{half}", reset_less=True) for half in range(2)]
        finished = Signal()                 # the last item of a vector is being read
        waiting = Signal(range(3))          # complete vectors that are not read to the end
        m.d.sync += waiting.eq(waiting + self.end - finished)

        write_half, write_slot = Signal(), Signal(range(arch.capacity + 1))
        m.d.comb += [
            write.addr.eq(Cat(write_slot[:slot_bits], write_half)), write.en.eq(self.push),
            write.data.value.eq(self.value),
        ]
        if arch.indexed:
            m.d.comb += write.data.address.eq(self.address)
        m.d.sync += write_slot.eq(write_slot + self.push)
        with m.If(self.end):
            m.d.sync += [write_slot.eq(0), write_half.eq(~write_half)]
            with m.Switch(write_half):
                for half in range(2):
                    with m.Case(half):
                        m.d.sync += counts[half].eq(write_slot + self.push)

        half, slot, fold = Signal(), Signal(slot_bits), Signal(range(arch.folds))
        base = Signal(arch.index_bits)
        count = Mux(half, counts[1], counts[0])
        last_slot, last_fold, step = Signal(), Signal(), Signal()
        m.d.comb += [
            last_slot.eq(slot + 1 >= count), last_fold.eq(fold == arch.folds - 1),
            read.addr.eq(Cat(slot, half)), read.en.eq(step), step.eq(~self.o.valid | self.o.ready),
            finished.eq(step & (waiting != 0) & last_slot & last_fold),
        ]
        item = self.o.p
        base_now, slot_now, empty_now = Signal.like(base), Signal.like(slot), Signal()
        with m.If(step):
            m.d.sync += [
                self.o.valid.eq(waiting != 0), base_now.eq(base), slot_now.eq(slot), empty_now.eq(count == 0),
                item.fold_end.eq(last_slot), item.vector_end.eq(last_slot & last_fold),
            ]
            with m.If(waiting != 0):
                m.d.sync += slot.eq(slot + 1)
                with m.If(last_slot):
                    m.d.sync += [slot.eq(0), fold.eq(fold + 1), base.eq(base + arch.lane_positions)]
                    with m.If(last_fold):
                        m.d.sync += [fold.eq(0), base.eq(0), half.eq(~half)]
        # An empty vector reads whatever the half held; its address is valid, its value must not count.
        m.d.comb += [
            item.index.eq(base_now + (read.data.address if arch.indexed else slot_now)),
            item.value.eq(Mux(empty_now, 0, read.data.value)), item.empty.eq(empty_now),
        ]
        return m
