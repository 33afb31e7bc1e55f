"""What there is to know about a host link before it is built."""

from dataclasses import dataclass

__all__ = ["BAUD_TOLERANCE", "LEAST_CYCLES_PER_BIT", "LinkArch"]

#: Clock cycles that a bit of the serial line lasts at least: the receiver takes a vote in its middle.
LEAST_CYCLES_PER_BIT = 4

#: A line may be one part in so many off its rate, because its cycles are whole; the host's end has its own share.
BAUD_TOLERANCE = 50


@dataclass(frozen=True, kw_only=True)
class LinkArch:
    """A host link.

    Members
    -------
    clock_hz : int
        Of the network and the link; what HELLO answers.
    baud : int
        Bits per second on the line.
    design : int
        64 bits: the first 8 octets of a SHA-256, low octet first. See ``docs/host.md``.
    contents : int
        CRC of the contents that the memories have from the beginning; of no meaning where they have none.
    window : int
        Calls that a host may have without an answer.

    Raises
    ------
    ValueError
        If a number is out of range, a bit is shorter than `LEAST_CYCLES_PER_BIT`, or ``baud`` is more than a
        `BAUD_TOLERANCE`th off what the clock can make.
    """

    clock_hz: int
    baud: int
    design: int
    contents: int
    window: int = 2

    def __post_init__(self):
        for name, bits in (("clock_hz", 32), ("baud", 32), ("design", 64), ("contents", 32), ("window", 4)):
            value = getattr(self, name)
            if not 0 <= value < 1 << bits or not value and name in ("clock_hz", "baud", "window"):
                raise ValueError(f"{name} must be a number of {bits} bits, not {value!r}")
        if self.cycles_per_bit < LEAST_CYCLES_PER_BIT:
            raise ValueError(f"baud must be at most a {LEAST_CYCLES_PER_BIT}th of clock_hz ({self.clock_hz}), "
                             f"not {self.baud!r}")
        if BAUD_TOLERANCE * abs(self.cycles_per_bit * self.baud - self.clock_hz) > self.clock_hz:
            raise ValueError(f"baud must be within {100 // BAUD_TOLERANCE} % of what whole cycles of clock_hz "
                             f"({self.clock_hz}) make, not {self.baud!r}")

    @property
    def cycles_per_bit(self) -> int:
        """Clock cycles of one bit, to the nearest."""
        return (2 * self.clock_hz + self.baud) // (2 * self.baud)
