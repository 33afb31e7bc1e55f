"""The host link at octets: what is between a serial line's two ends and a network."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..arch import NetworkArch
from ..layouts import activation_shape, frame_layout, load_layout
from ..network import result_shape
from .arch import LinkArch
from .checked_fifo import CheckedFifo
from .codes import FrameCodes, ResultOctets
from .framing import Deframer, Framer
from .layouts import line_layout, request_layout
from .loader import Loader
from .replies import Replies
from .requests import Requests
from .sizes import CRC_OCTETS, infer_octets, request_depth
from .tags import Tags

__all__ = ["HostLink"]


class HostLink(wiring.Component):
    """Has a network do what frames on a line ask for. ``docs/host.md`` is what it does.

    ::

        i -> Deframer -> CheckedFifo -> Requests -> FrameCodes -> frames    (the network's input)
                                           |  \\---> Loader ----> load
                                         answer, Tags
                                           v
        o <------------- Framer <------ Replies <- ResultOctets <- results  (the network's output)

    Nothing can wait for itself. The line in never waits: what finds no room is dropped. A request waits for the
    network's input or for inferences that are on their way; these wait for replies only, and replies for the line out,
    which always moves. No reply waits for a request, because the results and answers that it may have to wait behind
    are of requests that have been taken whole.

    Parameters
    ----------
    arch : NetworkArch
    link : LinkArch
    loaded : bool
        The network's memories hold ``link.contents`` from power-up.

    Members
    -------
    i : In(stream.Signature(line_layout))
        Takes an octet every nine cycles.
    o : Out(stream.Signature(8))
    frames : Out(stream.Signature(frame_layout(..., keep=False)))
    results : In(stream.Signature(frame_layout(..., keep=True)))
    load : Out(stream.Signature(load_layout)), only where ``arch.loadable``
    loaded : Out(1)
        The network is ready for an inference.
    working : Out(1)
        An inference is on its way.
    dropped : Out(1)
        A frame was dropped since the last HELLO was answered.
    """

    i: stream.Interface
    o: stream.Interface
    frames: stream.Interface
    results: stream.Interface
    load: stream.Interface
    loaded: Signal
    working: Signal
    dropped: Signal

    def __init__(self, arch: NetworkArch, link: LinkArch, *, loaded: bool):
        if not (loaded or arch.loadable):
            raise ValueError(f"loaded must be True where arch is not loadable, not {loaded!r}")
        self._arch, self._link, self._loaded = arch, link, loaded
        self._code, self._result = activation_shape(arch.layers[0].engine), result_shape(arch)
        members = {
            "i": In(stream.Signature(line_layout)), "o": Out(stream.Signature(8)),
            "frames": Out(stream.Signature(frame_layout(width=arch.input_width, value=self._code, keep=False))),
            "results": In(stream.Signature(frame_layout(width=arch.layers[-1].select.width, value=self._result,
                                                        keep=True))),
            "loaded": Out(1), "working": Out(1), "dropped": Out(1),
        }
        if arch.loadable:
            members["load"] = Out(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        arch, link = self._arch, self._link
        depth = request_depth(arch, window=link.window)
        m.submodules.deframer = deframer = Deframer()
        m.submodules.fifo = fifo = CheckedFifo(depth=depth, frames=link.window + 1, trailer=CRC_OCTETS)
        m.submodules.requests = requests = Requests(
            request=request_layout(depth), infer_octets=infer_octets(arch), window=link.window, loadable=arch.loadable)
        m.submodules.codes = codes = FrameCodes(width=arch.input_width, value=self._code)
        m.submodules.tags = tags = Tags(depth=link.window)
        m.submodules.results = results = ResultOctets(width=arch.layers[-1].select.width, value=self._result)
        m.submodules.replies = replies = Replies(link, loadable=arch.loadable)
        m.submodules.framer = framer = Framer()
        connect(m, flipped(self.i), deframer.i)
        connect(m, deframer=deframer.o, fifo=fifo.i)
        connect(m, fifo=fifo.o, requests=requests.i)
        connect(m, requests=requests.codes, codes=codes.i)
        connect(m, flipped(self.frames), codes.o)
        connect(m, requests=requests.tag, tags=tags.i)
        connect(m, tags=tags.o, replies=replies.tag)
        connect(m, requests=requests.answer, replies=replies.answer)
        connect(m, flipped(self.results), results.i)
        connect(m, results=results.o, replies=replies.results)
        connect(m, replies=replies.o, framer=framer.i)
        connect(m, flipped(self.o), framer.o)
        if arch.loadable:
            m.submodules.loader = loader = Loader(contents=link.contents, loaded=self._loaded)
            connect(m, requests=requests.load, loader=loader.i)
            connect(m, flipped(self.load), loader.load)
            m.d.comb += [requests.reason.eq(loader.reason), self.loaded.eq(loader.loaded),
                         replies.contents.eq(loader.contents)]
        else:
            m.d.comb += [self.loaded.eq(1), replies.contents.eq(link.contents)]
        m.d.comb += [
            requests.loaded.eq(self.loaded), replies.loaded.eq(self.loaded), requests.sent.eq(replies.sent),
            replies.drop.eq(fifo.dropped), self.working.eq(requests.working), self.dropped.eq(replies.dropped),
        ]
        return m
