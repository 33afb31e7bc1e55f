"""The serial line as the host sees it."""

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import serial
from serial.tools.list_ports import comports

from ...hw.errors import DeviceError, DovetailError

__all__ = ["READ_SECONDS", "Line", "is_pseudo_terminal", "open_line"]

#: Seconds that a read waits at most: what the driver's deadlines are late by.
READ_SECONDS = 0.005

#: Seconds for which a line may stand still while it is written to.
_WRITE_SECONDS = 5.0

#: Octets that are written at a time, and those that drivers keep. Many take more only when nearly all of it is sent.
_PIECE, _KEPT = 4096, 4096

_BITS = 10      # of an octet on the line

_MEANING = {
    errno.EACCES: "no permission to open it (on Linux: is the user in the group dialout?)",
    errno.EAGAIN: "in use by another program",
    errno.EBUSY: "in use by another program",
    errno.ENODEV: "there is no such device",
    errno.ENXIO: "there is no such device",
}


class Line(Protocol):
    """What is asked of a serial line; `serial.Serial` has it."""

    @property
    def in_waiting(self) -> int:
        """Octets that came and were not read."""
        ...

    def read(self, size: int = 1, /) -> bytes:
        """At most so many octets; fewer, or none, where no more come for a short time."""
        ...

    def write(self, octets: bytes, /) -> object:
        """Send all of them."""
        ...

    def close(self) -> None:
        """Give the line back."""
        ...


class _Port(serial.Serial):
    """A port that has its time to write for each piece, however long a frame is."""

    def write(self, octets: bytes, /) -> None:
        for start in range(0, len(octets), _PIECE):
            super().write(octets[start:start + _PIECE])


def open_line(port: str, baud: int) -> Line:
    """Open a serial port, for this program alone.

    Raises
    ------
    DovetailError
        If that is the name of something else: a file, a folder, ``/dev/null``.
    DeviceError
        If there is no such port, it cannot be opened, or somebody else has it.
    """
    if not port.strip() or "\0" in port:
        raise DovetailError(f"{port!r}: is no serial port's name")
    seconds = _WRITE_SECONDS + (_PIECE + _KEPT) * _BITS / max(baud, 1)
    try:
        line = _Port(port, baud, timeout=READ_SECONDS, write_timeout=seconds, exclusive=True)
    except (OSError, ValueError, OverflowError) as error:
        # Of errors of the port's settings, pyserial keeps the number in their cause alone.
        numbers = [getattr(error, "errno", None), *(error.__context__.args if error.__context__ else ())]
        number = next((number for number in numbers if isinstance(number, int)), 0)
        if number in (errno.ENOTTY, errno.ENOTDIR) or Path(port).is_dir():
            raise DovetailError(f"{port}: is no serial port") from error
        if number == errno.ENOENT:
            raise DeviceError(f"{port}: there is no such serial port; {_ports()}") from error
        raise DeviceError(f"{port}: {_MEANING.get(number, str(error))}") from error
    # A USB adapter may hold octets back for 16 ms, to send more at once; drivers that can be asked not to, are.
    with suppress(AttributeError, NotImplementedError, OSError, ValueError):
        line.set_low_latency_mode(True)
    return line


def is_pseudo_terminal(port: str | Path) -> bool:
    """Whether no line is behind the port but another program, `dovetail emulate` say; links to it count, too, even
    where the terminal is gone."""
    return re.fullmatch(r"/dev/(pts/|ttys)\d+", os.path.realpath(port)) is not None


def _ports() -> str:
    """The serial ports of this machine, in words."""
    names = sorted(port.device for port in comports())
    return f"those of this machine are {', '.join(names)}" if names else "this machine has none"
