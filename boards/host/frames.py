"""Frames of the host link in plain Python; free of Amaranth. ``docs/host.md`` says what they look like."""

import re
import zlib
from dataclasses import dataclass

from ...hw.link.messages import ESCAPE, ESCAPE_XOR, FLAG

__all__ = ["OVERHEAD", "Decoder", "Frame", "encode", "worst_octets"]

#: Octets of a frame between its flags, besides its body: type, tag, CRC.
OVERHEAD = 1 + 4 + 4

_FLAG = bytes([FLAG])
_SPECIAL = re.compile(b"[%b]" % re.escape(bytes([FLAG, ESCAPE])))
_STUFFED = re.compile(b"%b(.?)" % re.escape(bytes([ESCAPE])), re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What stands between two flags: ``type`` of 8 bits, ``tag`` of 32, ``body``."""

    type: int
    tag: int
    body: bytes = b""


def encode(frame: Frame) -> bytes:
    """The octets of a frame, both flags included. A body of 7E is ``7E  type  tag  7D 5E  CRC  7E``."""
    content = bytes([frame.type]) + frame.tag.to_bytes(4, "little") + frame.body
    content += zlib.crc32(content).to_bytes(4, "little")
    return _FLAG + _SPECIAL.sub(lambda found: bytes([ESCAPE, found[0][0] ^ ESCAPE_XOR]), content) + _FLAG


def worst_octets(body: int) -> int:
    """Most octets on the line of a frame with so long a body: every octet stuffed, and two flags."""
    return 2 * (body + OVERHEAD) + 2


class Decoder:
    """Finds the frames in octets that come piece by piece, whatever else is between them.

    Parameters
    ----------
    most : int
        Longest body. What must be longer, stuffed or not, is dropped and not stored.

    Members
    -------
    dropped : int
        Frames that were aborted, too short, too long or had a wrong CRC.
    """

    def __init__(self, *, most: int):
        self.dropped = 0
        self._most = worst_octets(most)
        self._content = bytearray()
        self._too_long = False

    def feed(self, octets: bytes) -> list[Frame]:
        """The frames that these octets complete."""
        *ended, begun = octets.split(_FLAG)
        found = []
        for piece in ended:
            self._add(piece)
            frame = self._end()
            if frame is not None:
                found.append(frame)
        self._add(begun)
        return found

    def _add(self, piece: bytes) -> None:
        self._too_long |= len(self._content) + len(piece) > self._most
        if not self._too_long:
            self._content += piece

    def _end(self) -> Frame | None:
        content, too_long = bytes(self._content), self._too_long
        self._content.clear()
        self._too_long = False
        if not content and not too_long:
            return None                                 # two flags, or one that ends a frame and begins the next
        frame = None if too_long else _frame(content)
        self.dropped += frame is None
        return frame


def _frame(stuffed: bytes) -> Frame | None:
    """The frame between two flags, if it is one."""
    if stuffed.count(ESCAPE) and _is_aborted(stuffed):
        return None
    content = _STUFFED.sub(lambda found: bytes([found[1][0] ^ ESCAPE_XOR]), stuffed)
    rest, crc = content[:-4], content[-4:]
    if len(content) < OVERHEAD or zlib.crc32(rest).to_bytes(4, "little") != crc:
        return None
    return Frame(type=rest[0], tag=int.from_bytes(rest[1:5], "little"), body=rest[5:])


def _is_aborted(stuffed: bytes) -> bool:
    """Whether an escape is the last octet, not itself escaped."""
    return any(not found[1] for found in _STUFFED.finditer(stuffed))
