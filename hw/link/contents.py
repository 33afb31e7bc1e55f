"""Contents of memories as the LOAD messages that carry them, and the CRC that names them; free of Amaranth."""

import zlib
from collections.abc import Sequence
from typing import Protocol

from ..errors import DovetailError
from .messages import MOST_LOAD_WORDS

__all__ = ["LoadedMemory", "contents_crc", "load_messages"]


class LoadedMemory(Protocol):
    """What is asked of a memory; see `hw.memory_map.MappedMemory`."""

    @property
    def depth(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def rows(self) -> tuple[int, ...]: ...
    @property
    def chunks(self) -> int: ...


def load_messages(memories: Sequence[LoadedMemory]) -> list[bytes]:
    """Bodies of the LOAD messages that write every row of ``memories``, in the one order that is the protocol's.

    Memories in their order, the chunks of each, and of each chunk the rows from 0 on, `MOST_LOAD_WORDS` in a message.
    Message 3, rows 56 and 57 of memory number 2, is ``03 00  02 00  38 00  wwwwwwww  wwwwwwww``.

    Raises
    ------
    DovetailError
        If a message's number, a memory's or a row's has more than 16 bits.
    """
    bodies = []
    for memory in memories:
        for chunk in range(memory.chunks):
            for start in range(0, memory.depth, MOST_LOAD_WORDS):
                rows = memory.rows[start:start + min(MOST_LOAD_WORDS, memory.depth - start)]
                absent = min(MOST_LOAD_WORDS, memory.depth - start) - len(rows)
                words = b"".join((row >> 32 * chunk & 0xffff_ffff).to_bytes(4, "little") for row in rows)
                numbers = (len(bodies), memory.first + chunk, start)
                if max(*numbers, memory.depth - 1) > 0xffff:
                    raise DovetailError("host link: the network's memories are too large to be loaded")
                bodies.append(b"".join(number.to_bytes(2, "little") for number in numbers) + words + bytes(4 * absent))
    return bodies


def contents_crc(memories: Sequence[LoadedMemory]) -> int:
    """What HELLO calls ``contents``: CRC-32 over the bodies of `load_messages`, each without its number."""
    crc = 0
    for body in load_messages(memories):
        crc = zlib.crc32(body[2:], crc)
    return crc
