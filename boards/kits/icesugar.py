"""The iCESugar of Muse Lab: an iCE40 UltraPlus UP5K whose programmer is also the serial line.

Its only light has three colours: green while the memories have their contents, red after a dropped frame, blue while an
inference is on its way. There is no button, only switches.
"""

from ...sw.settings import Device
from .record import Board, Pin, Signal

__all__ = ["ICESUGAR"]

ICESUGAR = Board(
    name="icesugar", title="iCESugar", device=Device.UP5K, oscillator_hz=12_000_000, pll_pad=True, clock_mhz=18,
    baud=115_200, program="icesprog {file}",
    pins={
        Signal.CLOCK: Pin(site="35"),
        Signal.RECEIVE: Pin(site="4", pull_up=True),
        Signal.TRANSMIT: Pin(site="6"),
        Signal.LOADED: Pin(site="41", inverted=True),
        Signal.DROPPED: Pin(site="40", inverted=True),
        Signal.WORKING: Pin(site="39", inverted=True),
    })
