"""Replies, one after the other."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import LinkArch
from .layouts import answer_layout, body_layout
from .messages import VERSION, Reply
from .sizes import HELLO_OCTETS

__all__ = ["Replies"]


class Replies(wiring.Component):
    """Makes the messages of the board, and counts what it cannot answer.

    No answer may be asked for while a result is on its way: `Requests` sees to that, and so nothing has to choose
    between them.

    Parameters
    ----------
    link : LinkArch
    loadable : bool

    Members
    -------
    answer : In(stream.Signature(answer_layout))
    results : In(stream.Signature(body_layout))
        Bodies of RESULT.
    tag : In(stream.Signature(8))
        Of each reply, the tag.
    o : Out(stream.Signature(body_layout))
    sent : Out(1)
        Set for a cycle with the end of each result.
    loaded : In(1)
    contents : In(32)
    drop : In(1)
        A frame is dropped in this cycle.
    dropped : Out(1)
        A frame was dropped since the last HELLO was answered.
    """

    answer: stream.Interface
    results: stream.Interface
    tag: stream.Interface
    o: stream.Interface
    sent: Signal
    loaded: Signal
    contents: Signal
    drop: Signal
    dropped: Signal

    def __init__(self, link: LinkArch, *, loadable: bool):
        self._link, self._loadable = link, loadable
        super().__init__({
            "answer": In(stream.Signature(answer_layout)), "results": In(stream.Signature(body_layout)),
            "tag": In(stream.Signature(8)), "o": Out(stream.Signature(body_layout)), "sent": Out(1), "loaded": In(1),
            "contents": In(32), "drop": In(1), "dropped": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        link = self._link
        drops, index, reply = Signal(16), Signal(range(HELLO_OCTETS)), Signal(Reply)
        # The next octet of the line is put together before a register, because it comes from far.
        step, valid, sent, end, out = Signal(), Signal(), Signal(), Signal(), Signal(body_layout)
        with m.If(step):
            m.d.sync += [self.o.valid.eq(valid), self.o.payload.eq(out)]
        m.d.comb += [
            reply.eq(Mux(self.answer.valid, self.answer.p.reply, Reply.RESULT)),
            step.eq(~self.o.valid | self.o.ready), sent.eq(valid & step), end.eq(sent & out.last),
            self.answer.ready.eq(end & (reply != Reply.RESULT)), self.sent.eq(end & (reply == Reply.RESULT)),
        ]
        # Frames may be dropped while the count is on its way, whose two octets have to fit each other.
        told = Signal(16)
        with m.If(self.drop & ~drops.all()):
            m.d.sync += drops.eq(drops + 1)
        with m.If(self.drop):
            m.d.sync += self.dropped.eq(1)
        # What never changes is one table; the rest is where it has noughts.
        design, clock = link.design.to_bytes(8, "little"), link.clock_hz.to_bytes(4, "little")
        fixed = bytes([VERSION, self._loadable, link.window, 0]) + design + bytes(4) + clock + bytes(2)
        hello = Signal(8)
        m.d.comb += hello.eq(Const(int.from_bytes(fixed, "little"), 8 * HELLO_OCTETS).word_select(index, 8)
                             | Mux(index == 1, self.loaded << 1, 0)
                             | Mux(index[2:] == 3, self.contents.word_select(index[:2], 8), 0)
                             | Mux(index[2:] == 5, told.word_select(index[0], 8), 0))

        with m.FSM():
            with m.State("TYPE"):
                m.d.comb += [valid.eq(self.answer.valid | self.results.valid), out.octet.eq(reply)]
                with m.If(sent):
                    m.next = "TAG"
                    with m.If(reply == Reply.HELLO):
                        m.d.sync += [told.eq(drops), self.dropped.eq(self.drop)]
            with m.State("TAG"):
                m.d.comb += [
                    valid.eq(self.tag.valid), self.tag.ready.eq(step),
                    out.octet.eq(self.tag.payload),
                    out.last.eq((index == 3) & ((reply == Reply.LOAD_DONE) | (reply == Reply.SEAL_DONE))),
                ]
                with m.If(sent):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == 3):
                        m.d.sync += index.eq(0)
                        m.next = "BODY"
                    with m.If(out.last):
                        m.next = "TYPE"
            with m.State("BODY"):
                with m.Switch(reply):
                    with m.Case(Reply.RESULT):
                        m.d.comb += [valid.eq(self.results.valid), self.results.ready.eq(step),
                                     out.eq(self.results.payload)]
                    with m.Case(Reply.HELLO):
                        m.d.comb += [valid.eq(1), out.octet.eq(hello),
                                     out.last.eq(index == HELLO_OCTETS - 1)]
                        with m.If(sent):
                            m.d.sync += index.eq(index + 1)
                    with m.Default():
                        m.d.comb += [valid.eq(1), out.octet.eq(self.answer.p.reason), out.last.eq(1)]
                with m.If(end):
                    m.d.sync += index.eq(0)
                    m.next = "TYPE"
        return m
