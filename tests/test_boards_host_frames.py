"""Frames of the host link: nothing but frames is found in anything, and the next one always is."""

import numpy as np
import pytest
from board_model import frame, frames
from hypothesis import given
from hypothesis import strategies as st

from dovetail.boards.host.frames import Decoder, Frame, encode, worst_octets

# Flags and escapes far more often than in a random octet.
OCTETS = st.lists(st.sampled_from([0x7e, 0x7d, 0x5e, 0x5d, 0x00, 0x41]) | st.integers(0, 255)).map(bytes)
FRAMES = st.builds(Frame, type=st.integers(0, 255), tag=st.integers(0, 0xffff_ffff), body=OCTETS)


def test_octets():
    """Written out; gzip says the same CRC of 01 7E 00 00 00."""
    assert encode(Frame(type=1, tag=0x7e)).hex(" ") == "7e 01 7d 5e 00 00 00 02 09 a2 70 7e"


@given(FRAMES)
def test_encode(sent):
    octets = encode(sent)
    assert octets == frame(sent.type, sent.tag, sent.body)
    assert octets.count(0x7e) == 2 and len(octets) <= worst_octets(len(sent.body))
    assert Decoder(most=len(sent.body)).feed(octets) == [sent]


@given(st.lists(FRAMES | OCTETS), st.lists(st.integers(0, 40)))
def test_garbage(parts, cuts):
    """Any octets, cut anywhere: what the plain receiver takes, and nothing else."""
    octets = b"".join(encode(part) if isinstance(part, Frame) else part for part in parts)
    plain, expected = frames(), []
    for octet in octets:
        content = plain(octet)
        if content is not None:
            expected.append(Frame(type=content[0], tag=int.from_bytes(content[1:5], "little"), body=content[5:]))
    decoder, found, rest = Decoder(most=1 << 16), [], octets
    for cut in cuts:
        found += decoder.feed(rest[:cut])
        rest = rest[cut:]
    assert found + decoder.feed(rest) == expected
    assert decoder.dropped == plain.dropped


@given(OCTETS, FRAMES)
def test_after_garbage(garbage, sent):
    """A frame is found behind anything: its first flag ends whatever that was."""
    assert Decoder(most=1 << 16).feed(garbage + encode(sent))[-1] == sent


def test_any_octet_may_be_escaped():
    """Even one that becomes an escape again, and that at the end: 7D 7D is 5D, and no abort."""
    tag = next(tag for tag in range(1 << 16) if encode(Frame(type=1, tag=tag))[-2] == 0x5d)
    octets = encode(Frame(type=1, tag=tag))
    assert Decoder(most=0).feed(octets[:-2] + b"\x7d\x7d\x7e") == [Frame(type=1, tag=tag)]
    assert Decoder(most=0).feed(octets[:-1] + b"\x7d\x7e") == []


@given(FRAMES, st.data())
def test_damage(sent, data):
    """One wrong bit between the flags is never taken for another frame."""
    octets = bytearray(encode(sent))
    octets[data.draw(st.integers(1, len(octets) - 2))] ^= 1 << data.draw(st.integers(0, 7))
    assert Decoder(most=1 << 16).feed(bytes(octets)) == []


def test_shared_flag():
    one, two = Frame(type=1, tag=2), Frame(type=3, tag=4, body=b"~}~")
    assert Decoder(most=3).feed(encode(one)[:-1] + encode(two)) == [one, two]


@pytest.mark.parametrize("length, dropped", [(3, 0), (4, 0), (100, 1)])
def test_too_long(length, dropped):
    """What cannot be an answer is not stored, however long it is."""
    decoder, rng = Decoder(most=3), np.random.default_rng(0)
    long = encode(Frame(type=1, tag=2, body=rng.bytes(length)))
    for octet in long[:-1]:
        assert decoder.feed(bytes([octet])) == []
        assert len(decoder._content) <= worst_octets(3)
    assert (len(decoder.feed(long[-1:])), decoder.dropped) == (1 - dropped, dropped)
    assert decoder.feed(encode(Frame(type=5, tag=6))) == [Frame(type=5, tag=6)]
