"""Decides when the lanes drain: which cycles are drain slots, and of which accumulators."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import EngineArch, bits_for
from .layouts import Token

__all__ = ["DrainControl"]


class DrainControl(wiring.Component):
    """Drains a fold when all lanes have completed it, group by group, ``arch.group_period`` cycles a group.

    A vector's first fold waits for a token of the unit that takes its sums: from then on the sums flow without
    back-pressure, and need none. The first drain slot comes one cycle after the decision; a fold takes
    ``1 + groups * group_period`` cycles. After reset both halves are cleared, unseen, before anything else.

    Members
    -------
    complete : In(1)
        Every lane has a complete fold.
    credit : In(Token)
    drain, retire, half : Out(1), word : Out
        To the lanes; see ``Lane``.
    capture : Out(1)
        The drain slot's sums are wanted.
    slot : Out(bits_for(group_slots))
        Number of the drain slot within its group.
    vector_end : Out(1)
        With ``capture``: the group is the vector's last.
    """

    complete: Signal
    credit: stream.Interface
    drain: Signal
    retire: Signal
    half: Signal
    word: Signal
    capture: Signal
    slot: Signal
    vector_end: Signal

    def __init__(self, arch: EngineArch):
        self._arch = arch
        super().__init__({
            "complete": In(1), "credit": In(Token), "drain": Out(1), "retire": Out(1), "half": Out(1),
            "word": Out(bits_for(arch.drain_slots)), "capture": Out(1), "slot": Out(bits_for(arch.group_slots)),
            "vector_end": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        fold = Signal(range(arch.folds))
        tick = Signal(range(arch.group_period))
        first_fold, last_word, last_slot = Signal(), Signal(), Signal()
        m.d.comb += [
            first_fold.eq(fold == 0), last_word.eq(self.word == arch.drain_slots - 1), self.slot.eq(tick),
            self.vector_end.eq((fold == arch.folds - 1) & (self.word >= arch.drain_slots - arch.group_slots)),
        ]
        with m.FSM():
            with m.State("CLEAR"):
                m.d.comb += self.drain.eq(1)
                m.d.sync += self.word.eq(self.word + 1)
                with m.If(last_word):
                    m.d.sync += [self.word.eq(0), self.half.eq(~self.half)]
                    with m.If(self.half):
                        m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.credit.ready.eq(self.complete & first_fold)
                with m.If(self.complete & (self.credit.valid | ~first_fold)):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += [
                    self.drain.eq(tick < arch.group_slots), self.capture.eq(self.drain),
                    self.retire.eq(self.drain & last_word),
                ]
                with m.If(self.drain & ~last_word):
                    m.d.sync += self.word.eq(self.word + 1)
                m.d.sync += tick.eq(tick + 1)
                with m.If(tick == arch.group_period - 1):
                    m.d.sync += tick.eq(0)
                    with m.If(last_slot):
                        m.d.sync += [self.word.eq(0), self.half.eq(~self.half), fold.eq(fold + 1)]
                        with m.If(fold == arch.folds - 1):
                            m.d.sync += fold.eq(0)
                        m.next = "WAIT"
        # The fold ends with the period in which its last word was drained, at once or earlier.
        drained = Signal()
        m.d.comb += last_slot.eq(drained | self.retire)
        m.d.sync += drained.eq(last_slot & (tick != arch.group_period - 1))
        return m
