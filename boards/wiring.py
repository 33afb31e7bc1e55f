"""What is particular to a board: the pins around its network, their polarity, and the PLL."""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .clocking import Clocking, pll_instance
from .devices import DEVICES, Family
from .kits.record import Board, Pin
from .kits.record import Signal as Carries

__all__ = ["WiredTop", "constraints"]


class WiredTop(wiring.Component):
    """A board's network with the board's pins for ports, and a clock of its own.

    Members
    -------
    clk, rx, tx, ... : In(1), Out(1)
        One for each pin of the board, by the values of `dovetail.boards.kits.record.Signal`, as the pin has it.
    """

    def __init__(self, board: Board, top: Any, *, clocking: Clocking):
        self._board, self._top, self._clocking = board, top, clocking
        super().__init__({
            **{signal.value: In(1) for signal in board.inputs}, **{signal.value: Out(1) for signal in board.outputs}})

    def elaborate(self, platform):
        m = Module()
        m.submodules.top = top = self._top
        # Every register has its initial value from the configuration; what is more is done by the power-on reset.
        m.domains.sync = ClockDomain("sync", reset_less=True)
        clock = Signal()
        m.d.comb += ClockSignal().eq(clock)
        oscillator, unlocked, button = self._port(Carries.CLOCK), Signal(), Signal()
        if self._clocking.pll is None:
            m.d.comb += clock.eq(oscillator)
        else:
            locked = Signal()
            m.submodules.pll = pll_instance(
                self._board, self._clocking.pll, oscillator=oscillator, clock=clock, locked=locked)
            m.d.comb += unlocked.eq(~locked)
        for signal, pin in self._board.pins.items():
            port = self._port(signal)
            match signal:
                case Carries.CLOCK:
                    pass
                case Carries.BUTTON:
                    m.d.comb += button.eq(port ^ pin.inverted)
                case Carries.RECEIVE:
                    m.d.comb += top.rx.eq(port ^ pin.inverted)
                case Carries.HELD:
                    m.d.comb += port.eq(1)
                case _:
                    m.d.comb += port.eq(getattr(top, signal.value) ^ pin.inverted)
        m.d.comb += top.restart.eq(button | unlocked)
        return m

    def _port(self, signal: Carries) -> Signal:
        return getattr(self, signal.value)


def constraints(board: Board) -> str:
    """Where the ports of `WiredTop` are: an LPF file for ECP5, a PCF file for iCE40."""
    line = _lpf if DEVICES[board.device].family is Family.ECP5 else _pcf
    pins: Mapping[Carries, Pin] = board.pins
    return "".join(line(signal.value, pin) for signal, pin in pins.items())


def _pcf(port: str, pin: Pin) -> str:
    return f"set_io {'-pullup yes ' if pin.pull_up else ''}{port} {pin.site}\n"


def _lpf(port: str, pin: Pin) -> str:
    pull = "UP" if pin.pull_up else "DOWN" if pin.pull_down else "NONE"
    return (f'LOCATE COMP "{port}" SITE "{pin.site}";\n'
            f'IOBUF PORT "{port}" IO_TYPE=LVCMOS33 PULLMODE={pull};\n')
