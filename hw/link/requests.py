"""Requests, one after the other: what each asks for, and whether it may."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import answer_layout, body_layout, loaded_layout
from .messages import MOST_LOAD_WORDS, Reason, Reply, Request
from .sizes import HEAD_OCTETS, LOAD_HEAD_OCTETS, SEAL_OCTETS

__all__ = ["Requests"]


class Requests(wiring.Component):
    """Sends requests on to who carries them out.

    An INFER is begun as soon as fewer than ``window`` are on their way; anything else when none is. So replies are
    made one at a time and in the order of the requests, and contents never change under an inference.

    Parameters
    ----------
    request : data.StructLayout
        ``request_layout(...)``.
    infer_octets : int
        Of the body of an INFER.
    window : int
    loadable : bool

    Members
    -------
    i : In(stream.Signature(request))
        Messages of `HEAD_OCTETS` or more.
    tag : Out(stream.Signature(8))
        Tags of all requests.
    codes : Out(stream.Signature(body_layout))
        Bodies of INFER.
    load : Out(stream.Signature(loaded_layout)), only where ``loadable``
        Bodies of LOAD and SEAL.
    answer : Out(stream.Signature(answer_layout))
        What to answer but results. Taken with the end of the answer.
    loaded : In(1)
    reason : In(3), only where ``loadable``
        Why ``load`` refused what it took last; 0 where it did not.
    sent : In(1)
        Set for a cycle with the end of each result: an event, from a receiver that does not wait.
    working : Out(1)
        An inference is on its way.
    """

    i: stream.Interface
    tag: stream.Interface
    codes: stream.Interface
    load: stream.Interface
    answer: stream.Interface
    loaded: Signal
    reason: Signal
    sent: Signal
    working: Signal

    def __init__(self, *, request: data.StructLayout, infer_octets: int, window: int, loadable: bool):
        self._infer_octets, self._window, self._loadable = infer_octets, window, loadable
        members = {
            "i": In(stream.Signature(request)), "tag": Out(stream.Signature(8)),
            "codes": Out(stream.Signature(body_layout)), "answer": Out(stream.Signature(answer_layout)),
            "loaded": In(1), "sent": In(1), "working": Out(1),
        }
        if loadable:
            members |= {"load": Out(stream.Signature(loaded_layout)), "reason": In(3)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        left, octet = self.i.p.left, self.i.p.octet
        refusal = Signal(3)         # of the request whose type is there; 0 where it is right
        infer, may = Signal(), Signal()
        with m.Switch(octet):
            with m.Case(Request.HELLO):
                m.d.comb += refusal.eq(Mux(left == HEAD_OCTETS, 0, Reason.LENGTH))
            with m.Case(Request.INFER):
                m.d.comb += [
                    refusal.eq(Mux(left != HEAD_OCTETS + self._infer_octets, Reason.LENGTH,
                                   Mux(self.loaded, 0, Reason.NOT_LOADED))),
                    infer.eq(refusal == 0),
                ]
            with m.Case(Request.LOAD, Request.SEAL):
                if self._loadable:
                    head = HEAD_OCTETS + LOAD_HEAD_OCTETS
                    is_load = ((left >= head + 4) & (left <= head + 4 * MOST_LOAD_WORDS) & (left[:2] == head % 4))
                    is_seal = left == HEAD_OCTETS + SEAL_OCTETS
                    m.d.comb += refusal.eq(Mux(Mux(octet == Request.SEAL, is_seal, is_load), 0, Reason.LENGTH))
                else:
                    m.d.comb += refusal.eq(Reason.NOT_LOADABLE)
            with m.Default():
                m.d.comb += refusal.eq(Reason.UNKNOWN)

        flying = Signal(range(self._window + 1))
        begin = Signal()
        m.d.comb += [self.working.eq(flying != 0), may.eq(Mux(infer, flying != self._window, flying == 0))]
        m.d.sync += flying.eq(flying + (begin & infer) - self.sent)

        request, reason, number = Signal(3), Signal(3), Signal(2)
        taken, last = Signal(), Signal()
        m.d.comb += [taken.eq(self.i.valid & self.i.ready), last.eq(left == 1), self.tag.payload.eq(octet),
                     self.codes.p.octet.eq(octet), self.codes.p.last.eq(last)]
        if self._loadable:
            m.d.comb += [self.load.p.octet.eq(octet), self.load.p.last.eq(last),
                         self.load.p.seal.eq(request == Request.SEAL)]
        with m.FSM():
            with m.State("TYPE"):
                m.d.comb += [self.i.ready.eq(may), begin.eq(taken)]
                with m.If(taken):
                    m.d.sync += [request.eq(octet), reason.eq(refusal)]
                    m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += [self.tag.valid.eq(self.i.valid), self.i.ready.eq(self.tag.ready)]
                with m.If(taken):
                    m.d.sync += number.eq(number + 1)
                    with m.If(number == 3):
                        m.next = "BODY"
                        with m.If(last):
                            m.next = "ANSWER"
            with m.State("BODY"):
                with m.If(reason != 0):
                    m.d.comb += self.i.ready.eq(1)
                with m.Elif(request == Request.INFER):
                    m.d.comb += [self.codes.valid.eq(self.i.valid), self.i.ready.eq(self.codes.ready)]
                if self._loadable:
                    with m.Else():
                        m.d.comb += [self.load.valid.eq(self.i.valid), self.i.ready.eq(self.load.ready)]
                with m.If(taken & last):
                    m.next = "ANSWER"
                    with m.If((reason == 0) & (request == Request.INFER)):
                        m.next = "TYPE"
            with m.State("ANSWER"):
                why = self.answer.p.reason
                m.d.comb += why.eq(reason)
                if self._loadable:
                    with m.If((reason == 0) & (request != Request.HELLO)):
                        m.d.comb += why.eq(self.reason)
                with m.Switch(request):
                    for of, reply in ((Request.HELLO, Reply.HELLO), (Request.LOAD, Reply.LOAD_DONE),
                                      (Request.SEAL, Reply.SEAL_DONE)):
                        with m.Case(of):
                            m.d.comb += self.answer.p.reply.eq(reply)
                with m.If(why != 0):
                    m.d.comb += self.answer.p.reply.eq(Reply.REFUSED)
                m.d.comb += self.answer.valid.eq(1)
                with m.If(self.answer.ready):
                    m.next = "TYPE"
        return m
