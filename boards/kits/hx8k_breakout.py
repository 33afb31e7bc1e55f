"""Lattice's iCE40-HX8K Breakout Board, with an FT2232H. It has no button; lights are D2 to D5."""

from ...sw.settings import Device
from .record import Board, Pin, Signal

__all__ = ["HX8K_BREAKOUT"]

HX8K_BREAKOUT = Board(
    name="hx8k_breakout", title="iCE40-HX8K Breakout Board", device=Device.HX8K, oscillator_hz=12_000_000,
    clock_mhz=48, baud=1_000_000, program="iceprog {file}",
    pins={
        Signal.CLOCK: Pin(site="J3"),
        Signal.RECEIVE: Pin(site="B10", pull_up=True),
        Signal.TRANSMIT: Pin(site="B12"),
        Signal.ALIVE: Pin(site="C3"),
        Signal.LOADED: Pin(site="B3"),
        Signal.WORKING: Pin(site="C4"),
        Signal.DROPPED: Pin(site="C5"),
    })
