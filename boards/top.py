"""The network on a board: its link, a reset that begins by itself, lights that an eye can follow."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ..hw.arch import LayerImages, NetworkArch
from ..hw.link.arch import LinkArch
from ..hw.link.hosted import HostedNetwork

__all__ = ["BoardTop", "Lights", "PowerOnReset"]

#: Shortest reset. Block RAMs of iCE40 give wrong data in the first microseconds after the configuration.
RESET_SECONDS = 20e-6
#: Shortest time that a light is on.
SHOWN_SECONDS = 0.05


class PowerOnReset(wiring.Component):
    """A reset that is active from the configuration on, and again while it is asked for.

    Members
    -------
    restart : In(1)
        Not synchronous to the clock: a button, or a PLL that is not locked.
    reset : Out(1)
        Active, after the configuration and after each ``restart``, for at least ``cycles``.
    """

    restart: Signal
    reset: Signal

    def __init__(self, cycles: int):
        if cycles < 1:
            raise ValueError(f"cycles must be at least 1, not {cycles!r}")
        self._cycles = cycles
        super().__init__({"restart": In(1), "reset": Out(1)})

    def elaborate(self, platform):
        m = Module()
        asked, done = Signal(), Signal()
        # The highest bit ends the count.
        count = Signal(1 + (self._cycles - 1).bit_length())
        m.submodules.synchroniser = FFSynchronizer(self.restart, asked)
        m.d.comb += [done.eq(count[-1]), self.reset.eq(~done)]
        with m.If(asked):
            m.d.sync += count.eq(0)
        with m.Elif(~done):
            m.d.sync += count.eq(count + 1)
        return m


class Lights(wiring.Component):
    """Stretches short pulses, and blinks.

    Members
    -------
    i : In(lights)
    o : Out(lights)
        On with ``i``, one cycle late, and until at least ``cycles`` after it.
    alive : Out(1)
        Changes every ``16 * cycles`` or more.
    """

    i: Signal
    o: Signal
    alive: Signal

    def __init__(self, *, lights: int, cycles: int):
        self._lights, self._bits = lights, (cycles - 1).bit_length()
        super().__init__({"i": In(lights), "o": Out(lights), "alive": Out(1)})

    def elaborate(self, platform):
        m = Module()
        count, tick = Signal(self._bits + 5), Signal()
        m.d.sync += [count.eq(count + 1), tick.eq(count[:self._bits].all())]
        m.d.comb += self.alive.eq(count[-1])
        for light in range(self._lights):
            # Two ticks: the first may come at once.
            seen, older = Signal(name=f"seen{light}"), Signal(name=f"older{light}")
            with m.If(self.i[light]):
                m.d.sync += [seen.eq(1), older.eq(1)]
            with m.Elif(tick):
                m.d.sync += [seen.eq(0), older.eq(seen)]
            m.d.comb += self.o[light].eq(older)
        return m


class BoardTop(wiring.Component):
    """All of a board but what is particular to it: pins and PLL. This is what an emulator runs.

    Members
    -------
    rx : In(1)
    tx : Out(1)
        See `HostedNetwork`.
    restart : In(1)
        See `PowerOnReset`.
    loaded, working, dropped, alive : Out(1)
        Lights: see `HostedNetwork` and `Lights`.
    """

    rx: Signal
    tx: Signal
    restart: Signal
    loaded: Signal
    working: Signal
    dropped: Signal
    alive: Signal

    def __init__(self, arch: NetworkArch, images: Sequence[LayerImages], *, link: LinkArch):
        self._hosted = HostedNetwork(arch, images, link=link)
        self._clock_hz = link.clock_hz
        super().__init__({"rx": In(1), "tx": Out(1), "restart": In(1), "loaded": Out(1), "working": Out(1),
                          "dropped": Out(1), "alive": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.power_on = power_on = PowerOnReset(max(1, round(self._clock_hz * RESET_SECONDS)))
        m.submodules.lights = lights = Lights(lights=2, cycles=max(2, round(self._clock_hz * SHOWN_SECONDS)))
        hosted = self._hosted
        m.submodules.hosted = ResetInserter(power_on.reset)(hosted)
        m.d.comb += [
            power_on.restart.eq(self.restart), hosted.rx.eq(self.rx),
            lights.i.eq(Cat(hosted.working, hosted.dropped)),
            Cat(self.working, self.dropped).eq(lights.o), self.alive.eq(lights.alive),
            self.tx.eq(hosted.tx), self.loaded.eq(hosted.loaded),
        ]
        return m
