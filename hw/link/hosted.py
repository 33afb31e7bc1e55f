"""A network on a serial line: what a board has to hold."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from ..arch import LayerImages, NetworkArch
from ..memory_map import memory_map
from ..network import NetworkTop
from .arch import LinkArch
from .host_link import HostLink
from .uart import UartReceiver, UartTransmitter

__all__ = ["HostedNetwork"]


class HostedNetwork(wiring.Component):
    """A network that a host talks to over two pins, by the protocol of ``docs/host.md``. Clock domain ``sync``.

    It is loaded from the beginning unless a memory of it is empty then. A reset drops all requests and inferences; it
    leaves memories, and what is known of them, as they are.

    Parameters
    ----------
    arch : NetworkArch
    images : Sequence[LayerImages]
    link : LinkArch

    Members
    -------
    rx : In(1)
        From the host; asynchronous, high while nothing is sent.
    tx : Out(1)
        To the host; a register.
    loaded : Out(1)
        Ready for an inference.
    working : Out(1)
        An inference is on its way.
    dropped : Out(1)
        A frame was dropped since the last HELLO was answered.
    """

    rx: Signal
    tx: Signal
    loaded: Signal
    working: Signal
    dropped: Signal

    def __init__(self, arch: NetworkArch, images: Sequence[LayerImages], *, link: LinkArch):
        self._arch, self._images, self._link = arch, tuple(images), link
        super().__init__({"rx": In(1), "tx": Out(1), "loaded": Out(1), "working": Out(1), "dropped": Out(1)})

    def elaborate(self, platform):
        m = Module()
        arch, cycles = self._arch, self._link.cycles_per_bit
        loaded = not any(memory.empty for memory in memory_map(arch, self._images))
        m.submodules.receiver = receiver = UartReceiver(cycles_per_bit=cycles)
        m.submodules.transmitter = transmitter = UartTransmitter(cycles_per_bit=cycles)
        m.submodules.link = link = HostLink(arch, self._link, loaded=loaded)
        m.submodules.network = network = NetworkTop(arch, self._images)
        connect(m, receiver=receiver.o, link=link.i)
        connect(m, link=link.o, transmitter=transmitter.i)
        connect(m, link=link.frames, network=network.i)
        connect(m, network=network.o, link=link.results)
        if arch.loadable:
            connect(m, link=link.load, network=network.load)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx), self.loaded.eq(link.loaded),
                     self.working.eq(link.working), self.dropped.eq(link.dropped)]
        return m
