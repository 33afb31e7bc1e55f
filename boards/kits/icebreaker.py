"""The iCEBreaker of 1BitSquared: an iCE40 UltraPlus UP5K with an FT2232H.

Red and green beside the USB socket, and lights of the snap-off part, which stays on PMOD 2 unless it is broken off.
"""

from ...sw.settings import Device
from .record import Board, Pin, Signal

__all__ = ["ICEBREAKER"]

ICEBREAKER = Board(
    name="icebreaker", title="iCEBreaker", device=Device.UP5K, oscillator_hz=12_000_000, pll_pad=True,
    clock_mhz=18, baud=1_000_000, program="iceprog {file}",
    pins={
        Signal.CLOCK: Pin(site="35"),
        Signal.RECEIVE: Pin(site="6", pull_up=True),
        Signal.TRANSMIT: Pin(site="9"),
        Signal.BUTTON: Pin(site="10", inverted=True, pull_up=True),
        Signal.LOADED: Pin(site="37", inverted=True),       # green
        Signal.DROPPED: Pin(site="11", inverted=True),      # red
        Signal.WORKING: Pin(site="25"),                     # snap-off part, green
        Signal.ALIVE: Pin(site="26"),                       # snap-off part, red
    })
