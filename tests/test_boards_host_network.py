"""The packaged network on an emulated board: the driver, the link's hardware and the network, octet by octet."""

import os
import re
import threading
import time
from importlib import resources

import numpy as np
import pytest
from board_model import Faults, frame
from builders import retrained
from emulation import SpoiledLine, opened, read, running

from dovetail.boards.host.device import Device
from dovetail.boards.host.emulate import Emulator
from dovetail.boards.host.identity import link_arch
from dovetail.boards.host.line import open_line
from dovetail.hw.errors import DeviceError
from dovetail.hw.link.contents import load_messages
from dovetail.hw.link.hosted import HostedNetwork
from dovetail.hw.memory_map import memory_map
from dovetail.hw.verilog import emit_rtlil
from dovetail.sim import golden
from dovetail.sw.compile import compile_model
from dovetail.sw.data import load_samples
from dovetail.sw.plan import plan
from dovetail.sw.quantise import input_codes
from dovetail.sw.settings import Settings

BAUD = 3_000_000
LOAD = 3


@pytest.fixture(scope="module")
def digits():
    """Plans of the packaged network and of one with other weights, loadable; codes of all test images."""
    with resources.as_file(resources.files("dovetail.cli") / "digits") as folder:
        settings = Settings(target_cycles=300, loadable=True)
        compiled = compile_model(folder / "digits.onnx", calibration=folder / "digits_calibration.npz",
                                 settings=settings)
        samples = load_samples(folder / "digits_test.npz", compiled.model.input_shape)
    codes = input_codes(compiled.network, samples.x, samples.scale)
    # Without calibration data, so that both are planned alike.
    other = retrained(compiled.network, np.random.default_rng(1))
    first, second = (plan(network, settings) for network in (compiled.network, other))
    return first, second, codes


@pytest.fixture(scope="module")
def hosted(digits):
    """The first network behind its link: the component and its RTLIL, which takes longer than anything else here."""
    first, *_ = digits
    component = HostedNetwork(first.arch, first.images, link=link_arch(first, clock_hz=12_000_000, baud=BAUD))
    return component, emit_rtlil(component, name="top")


@pytest.fixture
def board(hosted, monkeypatch):
    """A board with the first network, just switched on."""
    component, text = hosted
    monkeypatch.setattr("dovetail.boards.host.emulate.emit_rtlil", lambda *_, name: text)
    with running(Emulator(component, cycles_per_bit=4)) as emulator:
        yield emulator


def device(board, built, **given):
    return Device(open_line(board.port, BAUD), built, baud=BAUD, name="board", **given)


def expected(built, codes):
    return golden.run(built.network, codes)[-1].outputs


def test_every_image(board, digits):
    first, _, codes = digits
    # With patience for a busy machine: then nothing is sent again that arrived.
    with device(board, first, patience=60.0) as found:
        np.testing.assert_array_equal(found(codes), expected(first, codes))
        np.testing.assert_array_equal(found(codes[:1]), expected(first, codes[:1]))
    assert (len(codes), found.resent, found.hello.dropped, found.loaded) == (360, 0, 0, False)


def test_other_weights(board, digits):
    """Loaded where they are not there, and there for the next host; then the first ones again."""
    first, second, codes = digits
    assert (expected(first, codes) != expected(second, codes)).any()
    for built, loaded in ((second, True), (second, False), (first, True)):
        with device(board, built) as found:
            np.testing.assert_array_equal(found(codes[:30]), expected(built, codes[:30]))
        assert found.loaded == loaded
        assert found.hello.contents == link_arch(built, clock_hz=1 << 20, baud=9600).contents


@pytest.mark.parametrize("seed", range(4))
def test_faults(board, digits, seed):
    """Lost, wrong, doubled and invented octets both ways, in the load and in inferences."""
    first, second, codes = digits
    # A load is long, so faults are rarer then; in either case there are a dozen of them to be expected each way.
    built, rate = ((first, 0.0004), (second, 0.0001))[seed % 2]
    faults = Faults(lost=rate, changed=rate, doubled=rate, noise=rate, cut=0.02)
    line = SpoiledLine(open_line(board.port, BAUD), faults, seed)
    try:
        with Device(line, built, baud=BAUD, name="board", patience=0.02) as found:
            np.testing.assert_array_equal(found(codes[:120]), expected(built, codes[:120]))
        assert found.resent
    except DeviceError as error:
        assert re.match("^board: no answer to ", str(error))
    with device(board, built) as after:
        np.testing.assert_array_equal(after(codes[:5]), expected(built, codes[:5]))
        assert after.hello.dropped


def infer(codes, tag=7):
    return frame(2, tag, codes.astype(np.uint8).tobytes())


@pytest.mark.parametrize("length", [1, 5, 6, 40, 70])
def test_a_host_that_disappears_in_a_frame(board, digits, length):
    first, _, codes = digits
    with opened(board.port) as file:
        os.write(file, infer(codes[0])[:length])
    with device(board, first) as found:
        np.testing.assert_array_equal(found(codes[:5]), expected(first, codes[:5]))


def test_answers_that_nobody_read(board, digits):
    first, _, codes = digits
    with opened(board.port) as file:
        for tag in range(2):
            os.write(file, infer(codes[0], tag))
    with device(board, first) as found:
        np.testing.assert_array_equal(found(codes[:5]), expected(first, codes[:5]))


@pytest.mark.parametrize("cut", [0, 100])
def test_a_host_that_disappears_in_a_load(board, digits, cut):
    """What it loaded of other weights is never taken for a network; the next host loads them all."""
    first, second, codes = digits
    bodies = load_messages(memory_map(second.arch, second.images))
    with opened(board.port) as file:
        for number, body in enumerate(bodies[:4]):
            os.write(file, frame(LOAD, number, body))
            assert read(file, 11)[:2] == b"\x7e\x83"
        os.write(file, frame(LOAD, 4, bodies[4])[:cut])
        os.write(file, infer(codes[0]))
        assert cut or read(file, 12)[:2] == b"\x7e\xff"
    with device(board, first) as found:
        np.testing.assert_array_equal(found(codes[:5]), expected(first, codes[:5]))
    assert found.loaded


def test_a_second_host(board, digits):
    first, _, codes = digits
    with device(board, first) as found:
        with pytest.raises(DeviceError, match=f"^{board.port}: in use by another program$") as caught:
            open_line(board.port, BAUD)
        np.testing.assert_array_equal(found(codes[:5]), expected(first, codes[:5]))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("loads", [False, True])
def test_two_hosts_without_a_lock(board, digits, loads):
    """Somebody else writes whole and half frames in between, and takes answers away: no result is wrong."""
    first, second, codes = digits
    bodies = load_messages(memory_map(second.arch, second.images)) if loads else []
    rng, over = np.random.default_rng(0), threading.Event()

    def disturb():
        with opened(board.port) as file:
            for number in range(10_000):
                pieces = [infer(codes[number % len(codes)], number), frame(1, number, b""), rng.bytes(20)]
                pieces += [frame(LOAD, number, body) for body in bodies[:2]] if number % 10 == 0 else []
                piece = pieces[number % len(pieces)]
                os.write(file, piece[:rng.integers(1, len(piece) + 1)])
                if number % 3 == 0:
                    read(file, 1 << 12, 0.001)
                if over.wait(0.02):
                    break

    thread = threading.Thread(target=disturb)
    thread.start()
    right, begin = 0, time.monotonic()
    try:
        while right < 5 and time.monotonic() - begin < 20:
            try:
                with device(board, first, patience=0.02) as found:
                    np.testing.assert_array_equal(found(codes[:20]), expected(first, codes[:20]))
                right += 1
            except DeviceError:
                pass
    finally:
        over.set()
        thread.join(10)
    assert right or loads
    with device(board, first) as found:
        np.testing.assert_array_equal(found(codes[:5]), expected(first, codes[:5]))
