"""The driver against a board in plain Python, over lines that lose, change, double, cut and invent octets."""

import errno
import os
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from board_model import Clock, Faults, ModelBoard, ModelLine, frame
from builders import make_cnn, make_network, retrained
from hypothesis import given
from hypothesis import strategies as st
from serial.tools.list_ports_common import ListPortInfo

import dovetail.boards.host.line
from dovetail.boards.host.codes import Format
from dovetail.boards.host.device import Device
from dovetail.boards.host.exchange import TRIES
from dovetail.boards.host.frames import Decoder
from dovetail.boards.host.identity import design_id, link_arch
from dovetail.boards.host.line import open_line
from dovetail.hw.arch import EngineKind, MemoryKind
from dovetail.hw.errors import DeviceError, DovetailError
from dovetail.hw.network import NetworkTop
from dovetail.hw.verilog import emit_rtlil
from dovetail.sim import golden
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings


def plans(*, loadable=True, signed=False):
    network = make_network(np.random.default_rng(0), sizes=[9, 12, 5], sets=[3, None], winners=[4, None],
                           input_signed=signed)
    fixed = {name: LayerSettings(lanes=2, banks=1, drain_width=2) for name in ("fc0", "fc1")}
    settings = Settings(loadable=loadable, layers=fixed)
    others = [retrained(network, np.random.default_rng(seed)) for seed in (1, 2)]
    return [plan(one, settings) for one in (network, *others)]


FIRST, SECOND, THIRD = plans()


def codes(count=8, seed=1, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, (count, 9))


def expected(built, given):
    return golden.run(built.network, given)[-1].outputs


def device(board, built, **given):
    line = given.pop("line", None) or ModelLine(board.feed, **given)
    return Device(line, built, name="board", clock=line.clock)


def test_outputs_are_golden():
    board = ModelBoard(FIRST)
    with device(board, FIRST) as found:
        for count in (8, 1, 0, 3):
            np.testing.assert_array_equal(found(codes(count)), expected(FIRST, codes(count)))
            assert found(codes(count)).dtype == np.int64
    assert (found.resent, found.loaded, board.inferred, found._line.closed) == (0, False, 24, True)
    assert (found.hello.window, found.hello.clock_hz) == (2, 12_000_000)


def test_tag_wraps(monkeypatch):
    monkeypatch.setattr("random.SystemRandom.getrandbits", lambda self, bits: (1 << bits) - 2)
    given = codes(4)
    np.testing.assert_array_equal(device(ModelBoard(FIRST), FIRST)(given), expected(FIRST, given))


def test_signed_codes():
    built, *_ = plans(signed=True)
    given = codes(low=-128, high=128)
    np.testing.assert_array_equal(device(ModelBoard(built), built)(given), expected(built, given))


@pytest.mark.parametrize("loaded", [True, False])
def test_upload(loaded):
    """Other weights of the same design are loaded; the same ones are not."""
    board, told = ModelBoard(FIRST, SECOND, loaded=loaded), []
    line = ModelLine(board.feed)
    found = Device(line, SECOND, name="board", clock=line.clock, on_load=lambda *progress: told.append(progress))
    assert found.loaded and board.plan is SECOND
    assert told == [(number + 1, len(told)) for number in range(len(told))] and len(told) > 5
    np.testing.assert_array_equal(found(codes()), expected(SECOND, codes()))
    assert (expected(SECOND, codes()) != expected(FIRST, codes())).any()
    assert not device(board, SECOND).loaded


def test_other_weights_of_a_design_that_is_not_loadable():
    first, second, _ = plans(loadable=False)
    assert design_id(first.arch, first.images) == design_id(second.arch, second.images)
    with pytest.raises(DovetailError, match=r"^board: the board holds other weights of this design, .*loadable = true$"
                       ) as caught:
        device(ModelBoard(first), second)
    assert caught.value.exit_code == 2


def test_other_design():
    line = ModelLine(ModelBoard(FIRST).feed)
    with pytest.raises(DovetailError, match="^board: the board holds another design: ") as caught:
        device(None, plans(loadable=False)[0], line=line)
    assert caught.value.exit_code == 2 and line.closed


def test_design():
    """What makes other hardware makes another design; labels and contents do not."""
    def design(built, **change):
        first, *rest = built.arch.layers
        arch = replace(built.arch, layers=(replace(first, **change), *rest))
        return design_id(arch, built.images)

    arch, engine = FIRST.arch, FIRST.arch.layers[0].engine
    assert design(FIRST) == design(SECOND) == design(FIRST, name="other")
    assert design(FIRST) != design(FIRST, engine=replace(engine, capacity=engine.capacity + 1))
    assert design(FIRST) != design(FIRST, tables=next(kind for kind in MemoryKind if kind is not arch.layers[0].tables
                                                     and kind is not MemoryKind.SPRAM))
    assert design(FIRST) != design_id(replace(arch, loadable=False), FIRST.images)
    assert design(FIRST) < 1 << 64
    assert (link_arch(FIRST, clock_hz=12_000_000, baud=1_000_000).contents
            != link_arch(SECOND, clock_hz=12_000_000, baud=1_000_000).contents)


def test_one_design_is_one_hardware():
    """Designs of the same number differ in nothing but what their memories hold at first."""
    def hardware(built):
        text = emit_rtlil(NetworkTop(built.arch, built.images), name="top")
        assert text.count("cell $meminit_v2") > 5
        return re.sub(r"connect \\DATA \d+'[01]+", "", text)

    assert hardware(FIRST) == hardware(SECOND) == hardware(THIRD)


def test_weights_in_logic_are_part_of_the_design():
    network = make_cnn(np.random.default_rng(0), image=(1, 5, 4), layers=[{"kernels": 5, "kernel": (3, 2)}])
    settings = Settings(layers={"layer0": LayerSettings(engine=EngineKind.UNROLLED, drain_width=2)})
    built = plan(network, settings)
    (images,) = built.images
    graph = images.engine.graph
    changed = replace(images, engine=replace(images.engine, graph=replace(graph, outputs=graph.outputs[::-1])))
    assert design_id(built.arch, [images]) != design_id(built.arch, [changed])
    moved = replace(images, engine=replace(images.engine, biases=images.engine.biases[::-1]))
    assert design_id(built.arch, [images]) == design_id(built.arch, [moved])


@pytest.mark.parametrize("seed", range(30))
def test_faults(seed):
    """Whatever the line does, every result is right, or one error says that there is none."""
    rng = np.random.default_rng(seed)
    rate = float(rng.choice([0.0, 0.001, 0.01]))
    faults = Faults(lost=rate * rng.random(), changed=rate * rng.random(), doubled=rate * rng.random(),
                    noise=rate * rng.random(), cut=0.1 * rng.random(), late=float(rng.choice([0.0, 0.3])))
    board = ModelBoard(FIRST, SECOND)
    line = ModelLine(board.feed, faults=faults, seed=seed, before=[rng.bytes(50)])
    try:
        found = device(board, SECOND, line=line)
        for number in range(4):
            given = codes(10, number)
            np.testing.assert_array_equal(found(given), expected(SECOND, given))
    except DeviceError as error:
        assert re.match(r"board: (no answer to \w+, sent 6 times at 1,000,000 baud$|the board refused )", str(error))
    assert line.clock.now < 1000 + 3600


def test_most_faults_are_overcome():
    """The last test is not all errors."""
    board = ModelBoard(FIRST, SECOND)
    line = ModelLine(board.feed, faults=Faults(lost=0.001, changed=0.001, cut=0.05), seed=3)
    found = device(board, SECOND, line=line)
    np.testing.assert_array_equal(found(codes(100)), expected(SECOND, codes(100)))
    assert found.resent > 5


def test_a_dead_line():
    line = ModelLine(ModelBoard(FIRST).feed)
    found = device(None, FIRST, line=line)
    line.dead = True
    begin = line.clock.now
    with pytest.raises(DeviceError, match="^board: no answer to INFER, sent 6 times at 1,000,000 baud$") as caught:
        found(codes())
    assert caught.value.exit_code == 3 and found.resent == 2 * (TRIES - 1) and line.clock.now - begin < 15


def test_a_slow_board():
    """Answers that come late are taken; soon nothing is sent twice."""
    board, clock = ModelBoard(FIRST), Clock()

    def slowly(octets):
        clock.now += 0.5
        return board.feed(octets)

    line = ModelLine(slowly, clock=clock)
    found = Device(line, FIRST, name="board", clock=clock)
    for _ in range(2):
        np.testing.assert_array_equal(found(codes(20)), expected(FIRST, codes(20)))
    assert found.resent < 5


def test_deadlines_do_not_run_away():
    """Answers that come sooner than they might do not move those that follow: a loss is seen as soon at the end."""
    board, clock, left = ModelBoard(FIRST), Clock(), [150]

    def feed(octets):
        left[0] -= 1
        return b"" if not left[0] else board.feed(octets)

    found = Device(ModelLine(feed, clock=clock), FIRST, name="board", clock=clock, cycles=120_000)
    begin = clock.now
    np.testing.assert_array_equal(found(codes(200)), expected(FIRST, codes(200)))
    assert found.resent == 1 and clock.now - begin < 0.5


def test_a_hiccup():
    """One answer that came seconds late does not make every lost one slow for good."""
    board, clock, late = ModelBoard(FIRST), Clock(), [0.0]

    def feed(octets):
        clock.now += late.pop() if late else 0.0
        return board.feed(octets)

    line = ModelLine(feed, clock=clock)
    found = Device(line, FIRST, name="board", clock=clock)
    late.append(5.0)
    found(codes(40))
    begin, line.feed = clock.now, lambda octets: setattr(line, "feed", feed) or b""
    np.testing.assert_array_equal(found(codes(5)), expected(FIRST, codes(5)))
    assert 0.1 < clock.now - begin < 0.5


def test_answers_to_others_are_ignored():
    """Right frames with somebody else's tags, wrong types or lengths."""
    board, rng = ModelBoard(FIRST), np.random.default_rng(0)

    def feed(octets):
        tag = Decoder(most=100).feed(octets)[0].tag
        strangers = [frame(0x82, tag ^ 1 << 20, bytes(15)), frame(0x82, tag, bytes(14)), frame(0x83, tag, bytes(15)),
                     frame(0xff, tag ^ 1 << 30, b"\x03"), frame(0xff, tag, b""),
                     frame(0x81, int(rng.integers(1 << 32)), bytes(22))]
        return b"".join(strangers) + board.feed(octets)

    np.testing.assert_array_equal(device(None, FIRST, line=ModelLine(feed))(codes()), expected(FIRST, codes()))


def test_contents_that_change_during_a_call():
    """A second host loads other weights between two answers: all results are dropped."""
    board = ModelBoard(FIRST, SECOND)
    line = ModelLine(board.feed)
    found = device(None, FIRST, line=line)

    def feed(octets):
        if board.inferred == 4 and board.plan is FIRST:
            device(board, SECOND)
        return board.feed(octets)

    line.feed = feed
    with pytest.raises(DeviceError, match="^board: the board's contents were changed by somebody else; results are "
                                          "dropped$"):
        found(codes())


def test_a_load_that_somebody_else_begins():
    board = ModelBoard(FIRST, SECOND)
    line = ModelLine(board.feed)
    found = device(None, FIRST, line=line)
    board.feed(frame(3, 1, bytes(6 + 4)))
    with pytest.raises(DeviceError, match="^board: the board lost its contents: "):
        found(codes())


@pytest.mark.parametrize("times", [1, 2, 1000])
def test_a_load_that_somebody_else_disturbs(times):
    """Somebody else's LOAD within ours: it is begun anew, and given up when that happens again and again."""
    board, left = ModelBoard(FIRST, SECOND), [times]

    def feed(octets):
        if board.next == 3 and left[0]:
            left[0] -= 1
            board.feed(frame(3, 1, bytes(6 + 4)))
        return board.feed(octets)

    if times == 1000:
        with pytest.raises(DeviceError, match="^board: the board refused LOAD: not next, in load 3 of 3$"):
            device(None, SECOND, line=ModelLine(feed))
    else:
        found = device(None, SECOND, line=ModelLine(feed))
        np.testing.assert_array_equal(found(codes()), expected(SECOND, codes()))


def test_a_wrong_word_is_never_sealed():
    """A LOAD of a second host that is taken as the next one shows in the CRC."""
    board, left = ModelBoard(FIRST, SECOND), [1]

    def feed(octets):
        if board.next == 3 and left[0]:
            left[0] = 0
            board.feed(frame(3, 1, b"\x03\0" + bytes(4 + 4)))
        return board.feed(octets)

    found = device(None, SECOND, line=ModelLine(feed))
    assert board.plan is SECOND
    np.testing.assert_array_equal(found(codes()), expected(SECOND, codes()))


@pytest.mark.parametrize("hello, message", [
    (b"\x02\x03\x02\0" + bytes(18), "speaks version 2 of the protocol, not 1"),
    (b"\x01\x03\x00\0" + bytes(18), "says that its window is 0 and its clock 0 Hz"),
])
def test_hello_wrong(hello, message, monkeypatch):
    board = ModelBoard(FIRST)
    monkeypatch.setattr(board, "answer", lambda kind, body: (0x81, hello))
    with pytest.raises(DeviceError, match=rf"^board: the board {message}$"):
        device(board, FIRST)


@pytest.mark.parametrize("given, kind, message", [
    (np.zeros((2, 9)), TypeError, "codes must be integers, not float64"),
    (np.zeros((2, 8), int), ValueError, r"codes must have the shape \(n, 9\), not \(2, 8\)"),
    (np.zeros(9, int), ValueError, r"codes must have the shape \(n, 9\), not \(9,\)"),
    (np.full((1, 9), 256), ValueError, "codes must be 0 to 255, not 256 to 256"),
    (np.full((1, 9), -1), ValueError, "codes must be 0 to 255, not -1 to -1"),
])
def test_codes_wrong(given, kind, message):
    with pytest.raises(kind, match=f"^{message}$"):
        device(ModelBoard(FIRST), FIRST)(given)


def test_octets_of_codes():
    form = Format(count=2, bits=17, signed=True, pixels=1)
    assert form.pack(np.array([[-2, 3]])) == [bytes.fromhex("feffff 030000")]
    image = Format(count=4, bits=4, signed=False, pixels=2)       # two channels of two pixels
    assert image.pack(np.array([[1, 2, 11, 12]])) == [bytes([1, 11, 2, 12])]
    assert (image.octets, image.body, image.range, form.range) == (1, 4, (0, 15), (-(1 << 16), (1 << 16) - 1))


@given(st.integers(1, 33), st.booleans(), st.sampled_from([(1, 5), (3, 4), (1, 1)]), st.integers(0, 3), st.data())
def test_codes_come_back(bits, signed, shape, count, data):
    pixels, channels = shape
    form = Format(count=pixels * channels, bits=bits, signed=signed, pixels=pixels)
    least, most = form.range
    values = [[data.draw(st.integers(least, most)) for _ in range(form.count)] for _ in range(count)]
    given = np.array(values, np.int64).reshape(count, form.count)
    np.testing.assert_array_equal(form.unpack(form.pack(given)), given)


@pytest.mark.parametrize("can", [True, False])
def test_adapters_are_asked_to_be_quick(monkeypatch, can):
    """Those that cannot are used as they are."""
    master, slave = os.openpty()
    asked = []

    def ask(self, low):
        asked.append(low)
        if not can:
            raise ValueError("Failed to update ASYNC_LOW_LATENCY flag to True: [Errno 25]")

    monkeypatch.setattr("serial.Serial.set_low_latency_mode", ask, raising=False)
    open_line(os.ttyname(slave), 1_000_000).close()
    assert asked == [True]
    for file in (master, slave):
        os.close(file)


@pytest.mark.parametrize("baud", [300, 9600, 1_000_000])
def test_a_write_has_the_time_that_it_takes(monkeypatch, baud):
    """Drivers keep 4096 octets, and say that they take more when nearly all are sent."""
    master, slave = os.openpty()
    pieces = []
    monkeypatch.setattr("serial.Serial.write", lambda self, octets: pieces.append((octets, self.write_timeout)))
    octets = random.Random(1).randbytes(10_000)
    line = open_line(os.ttyname(slave), baud)
    line.write(octets)
    line.close()
    assert b"".join(piece for piece, _ in pieces) == octets and len(pieces) > 1
    for piece, seconds in pieces:
        assert 3 < seconds - (4096 + len(piece)) * 10 / baud < 300
    for file in (master, slave):
        os.close(file)


@pytest.mark.parametrize("ports, told", [
    ([], "this machine has none"),
    (["/dev/ttyUSB1", "/dev/ttyUSB0"], "those of this machine are /dev/ttyUSB0, /dev/ttyUSB1"),
])
def test_absent_ports(tmp_path, monkeypatch, ports, told):
    """Such a board cannot be reached: exit code 3, and the ports that there are."""
    monkeypatch.setattr(dovetail.boards.host.line, "comports", lambda: [ListPortInfo(port) for port in ports])
    port = tmp_path / "absent"
    with pytest.raises(DeviceError, match=f"^{re.escape(str(port))}: there is no such serial port; {told}$") as found:
        open_line(str(port), 1_000_000)
    assert found.value.exit_code == 3


def test_forbidden_ports(monkeypatch):
    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("serial.serialposix.os.open", refuse)
    with pytest.raises(DeviceError, match=r"^/dev/ttyS0: no permission to open it \(on Linux: .* group dialout\?\)$"):
        open_line("/dev/ttyS0", 1_000_000)


def test_ports_wrong(tmp_path):
    """What is no serial port is a wrong call: exit code 2."""
    (tmp_path / "file").write_text("")
    for port in (tmp_path, tmp_path / "file", tmp_path / "file" / "port", "/dev/null"):
        with pytest.raises(DovetailError, match=f"^{re.escape(str(port))}: is no serial port$") as found:
            open_line(str(port), 1_000_000)
        assert found.value.exit_code == 2
    with pytest.raises(DovetailError, match=r"^' ': is no serial port's name$"):
        open_line(" ", 1_000_000)
