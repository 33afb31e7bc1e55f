# amaranth: UnusedElaboratable=no
"""The link with a network behind it, octet by octet: every request against a board in plain Python."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from builders import make_cnn, make_network, retrained
from hosted_board import Board, infer_body, link_of
from serial_line import frame, message
from whole import quickest

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.arch import MemoryKind
from dovetail.hw.link.contents import contents_crc, load_messages
from dovetail.hw.link.host_link import HostLink
from dovetail.hw.link.layouts import line_layout
from dovetail.hw.link.messages import Reason, Reply, Request
from dovetail.hw.link.uart import UartReceiver, UartTransmitter
from dovetail.hw.memory_map import memory_map
from dovetail.hw.network import NetworkTop
from dovetail.sim import Engine, Simulation
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings

SIZES = [7, 9, 5]

#: Flags between frames, a cycle each: more than any answer takes.
REST = b"\x7E" * 600


class OnOctets(wiring.Component):
    """All of a hosted network but for the two ends of the line."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, built, link):
        self._built, self._link = built, link
        super().__init__({"i": In(stream.Signature(line_layout)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        arch, images = self._built.arch, self._built.images
        loaded = not any(memory.empty for memory in memory_map(arch, images))
        m.submodules.link, m.submodules.network = link, network = HostLink(arch, self._link, loaded=loaded), NetworkTop(
            arch, images)
        connect(m, flipped(self.i), link.i)
        connect(m, flipped(self.o), link.o)
        connect(m, link=link.frames, network=network.i)
        connect(m, network=network.o, link=link.results)
        if arch.loadable:
            connect(m, link=link.load, network=network.load)
        return m


def dense(seed=0, *, loadable=False, kind=None, sizes=SIZES, **options):
    network = make_network(np.random.default_rng(seed), sizes=sizes, sets=[3, None], winners=[4, None], **options)
    fixed = {"fc0": LayerSettings(lanes=2, banks=3, drain_width=2, weight_memory=kind),
             "fc1": LayerSettings(lanes=2, banks=1, set_size=3, drain_width=2, weight_memory=kind)}
    return plan(network, Settings(loadable=loadable, layers=fixed))


def image():
    """Pixels of two codes in; out, pixels of three results, two a beat."""
    network = make_cnn(np.random.default_rng(0), image=(2, 3, 3), input_bits=4, input_signed=True,
                       layers=[{"kernels": 3, "kernel": (2, 2)}])
    return plan(network, Settings(layers={"layer0": LayerSettings(drain_width=2)}))


def send(simulation, octets, count, *, seed=None):
    """Send octets, None for one that is an error; the first ``count`` octets that come back."""
    line = {"octet": np.array([octet or 0 for octet in octets]),
            "error": np.array([octet is None for octet in octets], int)}
    return bytes(simulation.run({"i": line}, {"o": count}, stall_seed=seed, idle_limit=20_000).outputs["o"].tolist())


def exchange(simulation, board, octets, messages, *, seed=None):
    """Send octets, in which these messages are, and compare every octet of the answers."""
    expected = b"".join(frame(board.answer(request)) for request in messages)
    assert send(simulation, octets, len(expected), seed=seed) == expected


def calls(dice, built, count):
    """Requests of all kinds, right and wrong."""
    arch, made = built.arch, []
    first = arch.layers[0].engine
    low = -(1 << first.activation_bits - 1) if first.activation_signed else 0
    for _ in range(count):
        codes = [dice.randrange(low, low + (1 << first.activation_bits)) for _ in range(arch.input_codes)]
        right = infer_body(built, codes)
        kind, body = dice.choice([
            (Request.HELLO, b""), (Request.HELLO, b"\x7E"), (Request.INFER, right), (Request.INFER, right),
            (Request.INFER, right), (Request.INFER, right[:-1]), (Request.INFER, right + b"\0"), (Request.INFER, b""),
            (Request.LOAD, bytes(6)), (Request.LOAD, bytes(9)), (Request.LOAD, b"\1" + bytes(9)), (Request.SEAL, b""),
            (Request.SEAL, bytes(4)), (Request.SEAL, bytes(5)), (0x00, b""), (0x05, right), (0x82, b""), (0xFF, b"")])
        made.append(message(kind, dice.randrange(1 << 32), body))
    return made


@pytest.mark.parametrize("built", [
    dense(), dense(input_bits=11, input_signed=True), image(), dense(loadable=True)],
    ids=["vectors", "codes of two octets", "images", "loadable"])
def test_any_requests(built):
    """One after the other, without and with stalls."""
    simulation = Simulation(OnOctets(built, link_of(built)), engine=quickest())
    for seed in (None, 1):
        dice, board = random.Random(seed), Board(built, link=link_of(built))
        requests = calls(dice, built, 20)
        exchange(simulation, board, [octet for request in requests for octet in [*frame(request), *REST]], requests,
                 seed=seed)


def test_garbage_is_counted():
    """Nothing that is not a frame is answered, and HELLO tells how often there was such a thing."""
    built = dense()
    dice, octets, expected, board = random.Random(9), [], b"", Board(built, link=link_of(built))
    for count in range(1, 21):
        wrong = bytearray(frame(message(Request.HELLO, 0)))
        wrong[dice.randrange(1, len(wrong) - 1)] ^= dice.choice([1, 4, 8])      # that makes no flag and no escape
        board.dropped = count
        hello = message(Request.HELLO, 1)
        octets += [*dice.choice([wrong, [None, 0x7E], b"\x11\x7E", b"\x7D\x7E"]), *REST, *frame(hello), *REST]
        expected += frame(board.answer(hello))
    assert send(Simulation(OnOctets(built, link_of(built)), engine=quickest()), octets, len(expected)) == expected


@pytest.mark.parametrize("kind", [None, MemoryKind.SPRAM], ids=["block RAM", "SPRAM"])
def test_loads(kind):
    """Contents of the network, then of one that was trained again, then half a load, then the first ones again.

    In SPRAM the network is not loaded at first, and says so.
    """
    one = dense(loadable=True, kind=kind)
    two = plan(retrained(one.network, np.random.default_rng(5)), one.settings)
    assert one.arch == two.arch
    link = link_of(one)
    board, dice, requests, octets = Board(one, two, link=link), random.Random(1), [], []

    def ask(kind, body=b""):
        requests.append(message(kind, dice.randrange(1 << 32), body))
        octets.extend(frame(requests[-1]) + REST)

    def use():
        ask(Request.HELLO)
        for _ in range(3):
            ask(Request.INFER, dice.randbytes(7))

    use()
    for built, most in ((two, None), (one, 4), (one, None)):
        memories = memory_map(built.arch, built.images)
        bodies = load_messages(memories)
        for number, body in enumerate(bodies[:most]):
            if number == 1:
                use()
            if dice.random() < 0.2:
                ask(Request.LOAD, bodies[(number + 2) % len(bodies) or 1])
            ask(Request.LOAD, body)
            if number and dice.random() < 0.2:
                ask(Request.LOAD, body)
        if most is None:
            ask(Request.SEAL, (contents_crc(memories) ^ 1).to_bytes(4, "little"))
            ask(Request.SEAL, contents_crc(memories).to_bytes(4, "little"))
            ask(Request.SEAL, contents_crc(memories).to_bytes(4, "little"))
        use()
    answers = [Board.answer(fresh, request) for fresh in [Board(one, two, link=link)] for request in requests]
    kinds = [answer[0] for answer in answers]
    assert {Reply.HELLO, Reply.RESULT, Reply.LOAD_DONE, Reply.SEAL_DONE, Reply.REFUSED} == set(kinds)
    refused = {answer[5] for answer in answers if answer[0] == Reply.REFUSED}
    assert refused == {Reason.NOT_LOADED, Reason.NOT_NEXT, Reason.WRONG_CRC}
    # No Verilog simulator: the noughts that idle engines add to their sums are unknown to it where empty memories are,
    # and stay so without a reset behind the load.
    exchange(Simulation(OnOctets(one, link), engine=Engine.CXXRTL), board, octets, requests)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_inferences_one_behind_the_other(window):
    """As many as the window has, without a rest between them, and with requests of other kinds behind."""
    built = dense()
    link = link_of(built, window=window)
    dice, requests, octets = random.Random(window), [], []
    for _ in range(6):
        group = [message(Request.INFER, dice.randrange(1 << 32), dice.randbytes(7)) for _ in range(window)]
        if dice.random() < 0.5:
            group[-1] = message(dice.choice([Request.HELLO, Request.SEAL]), 7)
        requests += group
        octets += [*b"".join(map(frame, group)), *REST * window]
    exchange(Simulation(OnOctets(built, link), engine=quickest()), Board(built, link=link), octets, requests)


def test_too_long_for_the_receiver():
    """A frame that finds no room is dropped, counted, and all that follows is as before."""
    built = dense()
    board = Board(built, link=link_of(built))
    board.dropped = 1
    long = frame(message(Request.INFER, 1, bytes(200)))
    requests = [message(Request.INFER, 2, bytes(range(7))), message(Request.HELLO, 3)]
    octets = [*long, *REST] + [octet for request in requests for octet in frame(request) + REST]
    exchange(Simulation(OnOctets(built, link_of(built)), engine=quickest()), board, octets, requests)


def test_size():
    """What a network on iCE40 pays for its link."""
    for loadable, most in ((False, 530), (True, 681)):
        built = dense(loadable=loadable)
        parts = (HostLink(built.arch, link_of(built), loaded=True), UartReceiver(cycles_per_bit=12),
                 UartTransmitter(cycles_per_bit=12))
        cells = [count_cells(part, Family.ICE40) for part in parts]
        assert sum(each.lut for each in cells) < most
        assert sum(each.bram for each in cells) == 1


def test_wrong():
    with pytest.raises(ValueError, match=r"^loaded must be True where arch is not loadable, not False$"):
        HostLink((built := dense()).arch, link_of(built), loaded=False)
