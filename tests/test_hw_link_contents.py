"""The LOAD messages of a network's memories: what the load stream would write, and nothing else."""

import zlib

import pytest

from dovetail.hw.errors import DovetailError
from dovetail.hw.link.contents import contents_crc, load_messages
from dovetail.hw.memory_map import MappedMemory, load_words


def memory(**given):
    return MappedMemory(**{"layer": "fc0", "name": "weights0", "width": 8, "depth": 2, "first": 0, "rows": ()} | given)


MEMORIES = (
    memory(width=40, depth=58, rows=tuple(range(1 << 32, (1 << 32) + 57))),
    memory(name="biases0", width=12, depth=3, first=2, rows=(0xabc, 1)),
)


def test_bodies():
    bodies = load_messages(MEMORIES)
    assert [body[:6].hex(" ", 2) for body in bodies] == [
        "0000 0000 0000", "0100 0000 3800", "0200 0100 0000", "0300 0100 3800", "0400 0200 0000"]
    assert [len(body) for body in bodies] == [6 + 4 * words for words in (56, 2, 56, 2, 3)]
    assert bodies[1][6:].hex(" ", 4) == "38000000 00000000"       # the last row is beyond those given
    assert bodies[3][6:].hex(" ", 4) == "01000000 00000000"
    assert bodies[4][6:].hex(" ", 4) == "bc0a0000 01000000 00000000"


def test_says_what_the_load_stream_would():
    found = {}
    for number, body in enumerate(load_messages(MEMORIES)):
        of, index, row = (int.from_bytes(body[at:at + 2], "little") for at in (0, 2, 4))
        assert of == number
        for at in range(6, len(body), 4):
            assert (index, row) not in found
            found[index, row] = int.from_bytes(body[at:at + 4], "little")
            row += 1
    assert found == {(word["memory"], word["row"]): word["data"] for word in load_words(MEMORIES)}


def test_crc():
    """Of all that is written, in order, and not of the messages' numbers."""
    assert contents_crc(MEMORIES) == zlib.crc32(b"".join(body[2:] for body in load_messages(MEMORIES)))
    assert contents_crc(MEMORIES[1:]) == zlib.crc32(bytes.fromhex("02000000" "bc0a0000" "01000000" "00000000"))
    assert contents_crc(()) == 0


@pytest.mark.parametrize("given", [{"first": 0xffff, "width": 33}, {"depth": 0x1_0001}])
def test_too_large(given):
    with pytest.raises(DovetailError, match=r"^host link: the network's memories are too large to be loaded$"):
        load_messages([memory(**given)])
