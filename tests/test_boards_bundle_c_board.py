"""The C driver of a build folder at an emulated board: octet by octet through the link's hardware to the network."""

import os
import select

import numpy as np
from c_driver import Status, compile_driver
from emulation import opened, running

from dovetail.boards.host.emulate import Emulator
from dovetail.boards.host.identity import link_arch
from dovetail.hw.link.hosted import HostedNetwork

BAUD, CLOCK_HZ = 3_000_000, 12_000_000


def test_board(bundle_of, tmp_path):
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
