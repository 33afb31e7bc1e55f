"""What there is to know about a board: its device, its oscillator, its pins and how it is programmed."""

from dataclasses import dataclass, field
from enum import Enum

from ...sw.settings import Device

__all__ = ["Board", "Pin", "Signal"]


class Signal(Enum):
    """What a pin carries; the values are ports of `dovetail.boards.wiring.WiredTop`."""

    CLOCK = "clk"
    RECEIVE = "rx"          # from the host
    TRANSMIT = "tx"         # to the host
    BUTTON = "button"       # held: everything is reset
    LOADED = "loaded"       # light: the memories have their contents
    WORKING = "working"     # light: an inference is on its way
    DROPPED = "dropped"     # light: a frame was dropped since the last HELLO
    ALIVE = "alive"         # light: blinks about once a second
    HELD = "held"           # always high


#: Signals that come from the board.
_INPUTS = (Signal.CLOCK, Signal.RECEIVE, Signal.BUTTON)


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One pin.

    Members
    -------
    site : str
        Its name on the package: ``35``, ``G2``.
    inverted : bool
        Low means yes.
    pull_up : bool
        With the device's resistor to the supply: where nothing is connected, it reads high.
    pull_down : bool
        With the one to ground; ECP5 only.
    """

    site: str
    inverted: bool = False
    pull_up: bool = False
    pull_down: bool = False


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board.

    Members
    -------
    name : str
        Of ``--board``.
    title : str
        As its maker calls it.
    device : Device
    oscillator_hz : int
    pll_pad : bool
        The oscillator comes in at a pin that is the PLL's own (iCE40).
    clock_mhz : float
        Of the network, where nobody asks for another.
    baud : int
        Likewise, of the serial line.
    pins : dict of Pin
        Of a `Signal` each; clock, receive and transmit are always there.
    program : str
        The command that programs the board; ``{file}`` stands for the bitstream.

    Raises
    ------
    ValueError
        If a signal is missing, or two are at one pin.
    """

    name: str
    title: str
    device: Device
    oscillator_hz: int
    pll_pad: bool = False
    clock_mhz: float
    baud: int
    pins: dict[Signal, Pin] = field(hash=False)
    program: str

    def __post_init__(self) -> None:
        for signal in (Signal.CLOCK, Signal.RECEIVE, Signal.TRANSMIT):
            if signal not in self.pins:
                have = sorted(each.value for each in self.pins)
                raise ValueError(f"pins must have {signal.value!r}, not only {have!r}")
        sites = [pin.site for pin in self.pins.values()]
        if len(set(sites)) < len(sites):
            raise ValueError(f"pins must be at different sites, not {sites!r}")

    @property
    def inputs(self) -> dict[Signal, Pin]:
        """Pins that come from the board."""
        return {signal: pin for signal, pin in self.pins.items() if signal in _INPUTS}

    @property
    def outputs(self) -> dict[Signal, Pin]:
        """Pins that go to the board."""
        return {signal: pin for signal, pin in self.pins.items() if signal not in _INPUTS}
