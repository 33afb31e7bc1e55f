"""Both ends of a serial line: eight data bits, the lowest first, no parity, one stop bit."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .arch import LEAST_CYCLES_PER_BIT
from .layouts import line_layout

__all__ = ["UartReceiver", "UartTransmitter"]


def _check(cycles_per_bit: int) -> int:
    if cycles_per_bit < LEAST_CYCLES_PER_BIT:
        raise ValueError(f"cycles_per_bit must be at least {LEAST_CYCLES_PER_BIT}, not {cycles_per_bit!r}")
    return cycles_per_bit


class UartReceiver(wiring.Component):
    """Octets from a line.

    Each bit is what two of the three samples around its middle say. A start bit that is not low in its middle was
    none. A stop bit that is not high is an error, and nothing is received until the line is high again: a line that is
    low for long is one error. ``o`` comes in the middle of the stop bit and is kept until it is taken; an octet that
    comes before that is lost, and the one after it has the error.

    ::

        rx      ‾‾‾\\___start___/‾‾‾bit 0‾‾‾\\ ...
        vote           ^              ^

    Parameters
    ----------
    cycles_per_bit : int

    Members
    -------
    rx : In(1)
        The pin; asynchronous, and high while nothing is sent.
    o : Out(stream.Signature(line_layout))
    """

    rx: Signal
    o: stream.Interface

    def __init__(self, *, cycles_per_bit: int):
        self._cycles = _check(cycles_per_bit)
        super().__init__({"rx": In(1), "o": Out(stream.Signature(line_layout))})

    def elaborate(self, platform):
        m = Module()
        line, before, vote = Signal(init=1), Signal(2, init=3), Signal()
        m.submodules.synchronise = FFSynchronizer(self.rx, line, init=1)
        m.d.sync += before.eq(Cat(line, before))
        m.d.comb += vote.eq((line & before.any()) | before.all())

        timer, now = Signal(range(self._cycles)), Signal()
        count, octet, lost = Signal(range(8)), Signal(8), Signal()
        m.d.comb += now.eq(timer == 0)
        m.d.sync += timer.eq(timer - 1)
        with m.If(now):
            m.d.sync += timer.eq(self._cycles - 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                # The samples of a vote are one behind the other, so that it is ready one cycle after the middle.
                m.d.sync += timer.eq((self._cycles - 1) // 2)
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                with m.If(now):
                    m.next = "IDLE"
                    with m.If(~vote):
                        m.next = "DATA"
            with m.State("DATA"):
                with m.If(now):
                    m.d.sync += [octet.eq(Cat(octet[1:], vote)), count.eq(count + 1)]
                    with m.If(count == 7):
                        m.next = "STOP"
            with m.State("STOP"):
                with m.If(now):
                    with m.If(self.o.valid & ~self.o.ready):
                        m.d.sync += lost.eq(1)
                    with m.Else():
                        m.d.sync += [self.o.valid.eq(1), self.o.p.octet.eq(octet), self.o.p.error.eq(lost | ~vote),
                                     lost.eq(0)]
                    # At once, because the next start bit of a host that is too fast may come half a bit from now.
                    m.next = "IDLE"
                    with m.If(~vote):
                        m.next = "LOW"
            with m.State("LOW"):
                with m.If(vote):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Octets onto a line, ten bits each, one behind the other without a gap.

    Parameters
    ----------
    cycles_per_bit : int

    Members
    -------
    i : In(stream.Signature(8))
    tx : Out(1)
        The pin: a register, high while there is nothing to send.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, *, cycles_per_bit: int):
        self._cycles = _check(cycles_per_bit)
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1)})

    def elaborate(self, platform):
        m = Module()
        # The bit on the line is the lowest; what follows the eighth is the stop bit.
        bits, left, timer, now = Signal(9, init=-1), Signal(range(10)), Signal(range(self._cycles)), Signal()
        m.d.comb += [now.eq(timer == 0), self.tx.eq(bits[0]), self.i.ready.eq(now & (left == 0))]
        with m.If(~now):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [bits.eq(Cat(bits[1:], 1)), left.eq(left - 1), timer.eq(self._cycles - 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [bits.eq(Cat(0, self.i.payload)), left.eq(9), timer.eq(self._cycles - 1)]
        return m
