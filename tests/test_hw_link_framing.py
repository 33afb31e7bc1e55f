# amaranth: UnusedElaboratable=no
"""Frames: what the hardware makes of a line is what a decoder in plain Python makes of it, whatever comes."""

import zlib

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from hypothesis import given, settings
from hypothesis import strategies as st
from serial_line import decode, frame

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.link.framing import Deframer, Framer
from dovetail.hw.link.layouts import Part, body_layout, part_layout
from dovetail.sim import Engine, Simulation, simulate

GOOD = b"\x82tag!\x7E\x7D\x5E\x5D\x00"


@pytest.fixture(scope="module")
def deframer():
    return Simulation(Deframer())


def parts(octets):
    """How many words the deframer has for these: octets of frames, and ends of those that are something."""
    count, something, escaped = 0, False, False
    for octet in octets:
        if octet == 0x7E:
            count += something
            something = escaped = False
            continue
        something = True
        if octet == 0x7D and not escaped:
            escaped = True
        elif octet is not None:
            count, escaped = count + 1, False
    return count


def deframe(simulation, octets, **options):
    """Messages and number of frames dropped. A good frame at the end shows that nothing more came before it."""
    octets = [*octets, *frame(GOOD)]
    run = simulation.run(
        {"i": {"octet": np.array([octet or 0 for octet in octets]),
               "error": np.array([octet is None for octet in octets], int)}},
        {"o": parts(octets)}, **options).outputs["o"]
    messages, dropped, content = [], 0, []
    for part, octet in zip(run["part"].tolist(), run["octet"].tolist(), strict=True):
        match Part(part):
            case Part.OCTET:
                content.append(octet)
            case Part.GOOD:
                messages.append(bytes(content[:-4]))
                content = []
            case Part.BAD:
                dropped, content = dropped + 1, []
    assert not content and messages[-1] == GOOD
    assert (messages, dropped) == decode(octets)
    return messages[:-1], dropped


messages = st.binary(min_size=5, max_size=12).map(lambda body: body.replace(b"\x00", b"\x7E").replace(b"\x01", b"\x7D"))
frames = messages.map(frame)


@st.composite
def spoilt(draw):
    """A good frame, of which one octet is something else, or missing, or twice there."""
    octets = list(draw(frames))
    place = draw(st.integers(0, len(octets) - 1))
    octets[place:place + 1] = draw(st.sampled_from([
        [], [octets[place]] * 2, [None], [0x7E], [0x7D], [0x7D, 0x7E], [octets[place] ^ 0x20], [octets[place], None]]))
    return octets


garbage = st.lists(st.one_of(st.integers(0, 255), st.sampled_from([0x7E, 0x7D, 0x5E, 0x5D, None])), max_size=20)


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.one_of(frames.map(list), spoilt(), garbage), max_size=6), seed=st.integers(0, 9))
def test_any_line(deframer, pieces, seed):
    deframe(deframer, [octet for piece in pieces for octet in piece], stall_seed=seed or None)


@pytest.mark.parametrize(("octets", "expected"), [
    ([], ([], 0)),
    ([0x7E] * 5, ([], 0)),
    (frame(b"12345"), ([b"12345"], 0)),
    (frame(b"12345")[:-1] + frame(b"67890"), ([b"12345", b"67890"], 0)),    # one flag ends and begins
    (frame(b"12345")[1:], ([b"12345"], 0)),                                 # power-up is as good as a flag
    (frame(b"1234"), ([], 1)),                                              # too short for a message, and right
    (frame(b""), ([], 1)),
    (frame(b"12345")[:-1] + b"\x7D\x7E", ([], 1)),                          # aborted
    (b"\x7E\x7D\x7E", ([], 1)),
    (frame(b"\x7E\x7D\x7E\x7D\x7E"), ([b"\x7E\x7D\x7E\x7D\x7E"], 0)),
    ([0x7E, None, *frame(b"12345")], ([b"12345"], 1)),                      # a break between frames
    ([0x7E, *frame(b"12345")[1:4], None, *frame(b"12345")[4:]], ([], 1)),
    (frame(b"12345") + b"noise" + frame(b"67890"), ([b"12345", b"67890"], 1)),
], ids=range(13))
def test_known_lines(deframer, octets, expected):
    assert deframe(deframer, octets) == expected


def test_one_bit_wrong(deframer):
    """Every bit of a frame but for those of its flags."""
    right = b"1234\x00\xFF"
    for place in range(1, len(frame(right)) - 1):
        for bit in range(8):
            octets = list(frame(right))
            octets[place] ^= 1 << bit
            assert right not in deframe(deframer, octets)[0]


@settings(max_examples=20, deadline=None)
@given(sent=st.lists(st.binary(min_size=1, max_size=9).map(lambda body: body.replace(b"\x00", b"\x7E")), min_size=1,
                     max_size=4),
       seed=st.integers(0, 9))
def test_framer(framer, sent, seed):
    octets = b"".join(sent)
    last = [number == len(message) - 1 for message in sent for number in range(len(message))]
    expected = b"".join(map(frame, sent))
    run = framer.run({"i": {"octet": np.array(list(octets)), "last": np.array(last, int)}}, {"o": len(expected)},
                     stall_seed=seed or None)
    assert bytes(run.outputs["o"].tolist()) == expected


@pytest.fixture(scope="module")
def framer():
    return Simulation(Framer())


def test_crc_with_special_octets(framer):
    """A CRC is stuffed, too: this one's octets are 7D and 7E."""
    found = next(number for number in range(1 << 20)
                 if {0x7D, 0x7E} <= set(zlib.crc32(b"crc" + number.to_bytes(3, "little")).to_bytes(4, "little")))
    message = b"crc" + found.to_bytes(3, "little")
    run = framer.run({"i": {"octet": np.array(list(message)), "last": np.eye(6, dtype=int)[5]}},
                     {"o": len(frame(message))})
    assert bytes(run.outputs["o"].tolist()) == frame(message)


class There(wiring.Component):
    """A framer and a deframer."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({"i": In(stream.Signature(body_layout)), "o": Out(stream.Signature(part_layout))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.framer, m.submodules.deframer = framer, deframer = Framer(), Deframer()
        connect(m, flipped(self.i), framer.i)
        connect(m, flipped(self.o), deframer.o)
        m.d.comb += [deframer.i.valid.eq(framer.o.valid), framer.o.ready.eq(deframer.i.ready),
                     deframer.i.p.octet.eq(framer.o.payload)]
        return m


def test_there_and_back():
    """All octets."""
    sent = bytes(range(256))
    last = np.eye(256, dtype=int)[255]
    run = simulate(There(), {"i": {"octet": np.arange(256), "last": last}}, {"o": 256 + 4 + 1}, engine=Engine.AMARANTH)
    assert bytes(run.outputs["o"]["octet"].tolist()[:256]) == sent
    assert run.outputs["o"]["part"].tolist() == [Part.OCTET.value] * 260 + [Part.GOOD.value]


def test_times(deframer, framer):
    """Nine cycles an octet: a line of four cycles a bit has forty."""
    octets = np.array(list(frame(GOOD)))
    run = deframer.run({"i": {"octet": octets, "error": 0 * octets}}, {"o": parts(octets)})
    assert max(np.diff(run.times["i"])) == 9
    run = framer.run({"i": {"octet": np.array(list(GOOD)), "last": np.eye(len(GOOD), dtype=int)[-1]}},
                     {"o": len(octets)})
    assert max(np.diff(run.times["o"])) == 9


def test_size():
    """A register of 32 bits and a comparison, not a network for eight bits at once."""
    assert count_cells(Deframer(), Family.ICE40).lut < 90
    assert count_cells(Framer(), Family.ICE40).lut < 90


