"""The host link's numbers, for both of its ends; free of Amaranth. ``docs/host.md`` says what they mean."""

from enum import IntEnum

__all__ = [
    "ESCAPE", "ESCAPE_XOR", "FLAG", "MOST_LOAD_WORDS", "VERSION", "Reason", "Reply", "Request",
]

VERSION = 1

FLAG, ESCAPE, ESCAPE_XOR = 0x7E, 0x7D, 0x20

#: Words that one LOAD carries at most. A load is cut in one way only, which is part of what its CRC is of.
MOST_LOAD_WORDS = 56


class Request(IntEnum):
    """Types of messages from the host."""

    HELLO = 0x01
    INFER = 0x02
    LOAD = 0x03
    SEAL = 0x04


class Reply(IntEnum):
    """Types of messages from the board: an answer is its request with the highest bit set."""

    HELLO = 0x81
    RESULT = 0x82
    LOAD_DONE = 0x83
    SEAL_DONE = 0x84
    REFUSED = 0xFF


class Reason(IntEnum):
    """Why a request was refused."""

    UNKNOWN = 1
    LENGTH = 2
    NOT_LOADED = 3
    NOT_NEXT = 4
    WRONG_CRC = 5
    NOT_LOADABLE = 6
