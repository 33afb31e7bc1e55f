"""The C driver of a build folder at a board: in plain Python behind a line that spoils things, and emulated.

The emulated one is octet by octet the link's hardware and the network.
"""

import os
import select

import numpy as np
import pytest
from board_model import Clock, Faults, ModelBoard, ModelLine, frame
from c_driver import Status, compile_driver
from emulation import opened, running

from dovetail.boards.host.emulate import Emulator
from dovetail.boards.host.identity import link_arch
from dovetail.hw.link.contents import contents_crc
from dovetail.hw.link.hosted import HostedNetwork
from dovetail.hw.link.messages import Reason
from dovetail.hw.memory_map import memory_map

BAUD, CLOCK_HZ = 3_000_000, 12_000_000


@pytest.fixture(scope="module")
def signed(bundle_of, tmp_path_factory):
    """The loadable perceptron, for the driver."""
    work = tmp_path_factory.mktemp("build")
    bundle = bundle_of("signed")
    return bundle, compile_driver(bundle.folder, work)


def connect(driver, board, faults=None, *, seed=0, attempts=3):
    """The driver at a line to a board; a read waits for 5 ms at most."""
    line = ModelLine(board.feed, faults=faults, seed=seed, clock=Clock())
    driver.open(line.write, lambda: next(iter(line.read()), -1), tag=seed << 16, attempts=attempts)
    return line


def test_inferences(signed):
    bundle, driver = signed
    connect(driver, ModelBoard(bundle.plan))
    status, hello = driver.hello()
    assert (status, hello.loadable, hello.loaded, hello.window) == (Status.OK, 1, 1, 2)
    assert hello.contents == contents_crc(memory_map(bundle.plan.arch, bundle.plan.images))
    for codes, expected in zip(bundle.codes, bundle.outputs, strict=True):
        status, elements = driver.infer(codes)
        assert status is Status.OK
        np.testing.assert_array_equal(elements, expected)


def test_tag_wraps(signed):
    bundle, driver = signed
    line = connect(driver, ModelBoard(bundle.plan))
    driver.open(line.write, lambda: next(iter(line.read()), -1), tag=0xffff_ffff)
    assert driver.hello()[0] is driver.infer(bundle.codes[0])[0] is Status.OK


def test_load(signed):
    bundle, driver = signed
    board = ModelBoard(bundle.plan, loaded=False)
    connect(driver, board)
    assert driver.infer(bundle.codes[0])[0] is Status.NOT_LOADED
    status, hello = driver.hello()
    assert (status, hello.loadable, hello.loaded) == (Status.OK, 1, 0)
    driver.set_images([file.read_bytes() for file in sorted((bundle.folder / "images").glob("*.bin"))])
    assert driver.load_all() is Status.OK
    status, hello = driver.hello()
    assert (status, hello.loaded) == (Status.OK, 1)
    status, elements = driver.infer(bundle.codes[1])
    assert status is Status.OK
    np.testing.assert_array_equal(elements, bundle.outputs[1])


@pytest.mark.parametrize("faults", [
    Faults(lost=0.01), Faults(changed=0.01), Faults(doubled=0.01), Faults(cut=0.2), Faults(noise=0.02),
    Faults(late=0.02), Faults(lost=0.003, changed=0.003, doubled=0.003, cut=0.05, noise=0.005, late=0.01),
], ids=str)
def test_faults(signed, faults):
    """Every result is right, or there is none; with some patience there always is one."""
    bundle, driver = signed
    board = ModelBoard(bundle.plan, loaded=False)
    connect(driver, board, faults, seed=3, attempts=50)
    driver.set_images([file.read_bytes() for file in sorted((bundle.folder / "images").glob("*.bin"))])
    assert driver.load_all() is Status.OK
    for _ in range(7):
        for codes, expected in zip(bundle.codes, bundle.outputs, strict=True):
            status, elements = driver.infer(codes)
            assert status is Status.OK
            np.testing.assert_array_equal(elements, expected)
    assert board.inferred >= 7 * len(bundle.codes)


def test_nobody_there(signed):
    bundle, driver = signed
    line = connect(driver, ModelBoard(bundle.plan))
    line.dead = True
    assert driver.hello()[0] is driver.infer(bundle.codes[0])[0] is Status.NO_ANSWER


def test_endless_garbage(signed):
    _, driver = signed
    driver.open(lambda octets: None, lambda: 0x55)
    assert driver.hello()[0] is Status.NO_ANSWER


def test_other_board(signed, bundle_of):
    """Another design says so before anything is sent to it."""
    bundle, driver = signed
    connect(driver, ModelBoard(bundle_of("empty").plan))
    assert driver.hello()[0] is Status.WRONG_DESIGN


@pytest.mark.parametrize(("answer", "expected"), [
    (lambda tag: frame(0x81, tag, bytes([2]) + bytes(21)), Status.WRONG_VERSION),
    (lambda tag: frame(0x81, tag, bytes([1]) + bytes(20)), Status.WRONG_ANSWER),
    (lambda tag: frame(0x81, tag, b""), Status.WRONG_ANSWER),
    (lambda tag: frame(0x82, tag, bytes(22)), Status.WRONG_ANSWER),
    (lambda tag: frame(0xff, tag, bytes([Reason.UNKNOWN])), Status.REFUSED_CALL),
    (lambda tag: frame(0x81, tag + 1, bytes([1]) + bytes(21)), Status.NO_ANSWER),
])
def test_strange_answers(signed, answer, expected):
    _, driver = signed
    coming = []

    def write(octets):
        coming.extend(answer(int.from_bytes(octets[2:6], "little")))

    driver.open(write, lambda: coming.pop(0) if coming else -1)
    assert driver.hello()[0] is expected
    assert driver.library.reason() == (Reason.UNKNOWN if expected is Status.REFUSED_CALL else 0)


def test_emulated_board(bundle_of, tmp_path):
    """Images in the model's order, codes of two octets; a load, and the same again."""
    bundle = bundle_of("image")
    driver = compile_driver(bundle.folder, tmp_path)
    driver.set_images([file.read_bytes() for file in sorted((bundle.folder / "images").glob("*.bin"))])
    link = link_arch(bundle.plan, clock_hz=CLOCK_HZ, baud=BAUD)
    hosted = HostedNetwork(bundle.plan.arch, bundle.plan.images, link=link)
    with running(Emulator(hosted, cycles_per_bit=link.cycles_per_bit)) as board, opened(board.port) as file:

        def read():
            return os.read(file, 1)[0] if select.select([file], [], [], 1.0)[0] else -1

        driver.open(lambda octets: os.write(file, octets), read, tag=0x7e7d7e7d)
        for _ in range(2):
            status, hello = driver.hello()
            assert (status, hello.clock_hz, hello.loaded, hello.dropped) == (Status.OK, CLOCK_HZ, 1, 0)
            assert hello.contents == link.contents
            for codes, expected in zip(bundle.codes, bundle.outputs, strict=True):
                status, elements = driver.infer(codes)
                assert status is Status.OK
                np.testing.assert_array_equal(elements, expected)
            assert driver.load_all() is Status.OK
