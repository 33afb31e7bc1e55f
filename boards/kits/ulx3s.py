"""The ULX3S of Radiona: an ECP5 with an FT231X. The sizes differ in nothing else that is used here.

Lights are numbered D0 to D7 on the board; the button is FIRE 1. GPIO 0 of the ESP32 beside the ECP5 is held high, so
that its firmware runs and does not take the board over.
"""

from ...sw.settings import Device
from .record import Board, Pin, Signal

__all__ = ["ULX3S_25F", "ULX3S_45F", "ULX3S_85F"]


def _ulx3s(size: str, device: Device) -> Board:
    return Board(
        name=f"ulx3s_{size}", title=f"ULX3S {size.upper()}", device=device, oscillator_hz=25_000_000, clock_mhz=50,
        baud=2_000_000, program="openFPGALoader -b ulx3s {file}",
        pins={
            Signal.CLOCK: Pin(site="G2"),
            Signal.RECEIVE: Pin(site="M1", pull_up=True),
            Signal.TRANSMIT: Pin(site="L4"),
            Signal.BUTTON: Pin(site="R1", pull_down=True),
            Signal.ALIVE: Pin(site="B2"),
            Signal.LOADED: Pin(site="C2"),
            Signal.WORKING: Pin(site="C1"),
            Signal.DROPPED: Pin(site="D2"),
            Signal.HELD: Pin(site="L2"),
        })


ULX3S_25F = _ulx3s("25f", Device.ECP5_25K)
ULX3S_45F = _ulx3s("45f", Device.ECP5_45K)
ULX3S_85F = _ulx3s("85f", Device.ECP5_85K)
