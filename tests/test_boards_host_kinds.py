"""Small networks of other kinds on emulated boards: images, signed and wide codes, memories that are empty at first."""

import numpy as np
import pytest
from builders import make_cnn, make_network
from emulation import running

from dovetail.boards.host.device import Device
from dovetail.boards.host.emulate import Emulator
from dovetail.boards.host.identity import link_arch
from dovetail.boards.host.line import open_line
from dovetail.hw.arch import EngineKind, MemoryKind
from dovetail.hw.link.hosted import HostedNetwork
from dovetail.sim import golden
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings

BAUD = 3_000_000


def images():
    """Two channels in, three out, pixel by pixel; an order of its own at each end."""
    network = make_cnn(np.random.default_rng(0), image=(2, 4, 5), codes_out=True, layers=[
        {"kernels": 4, "kernel": (3, 3), "pads": (1, 1, 1, 1)}, {"kernels": 3, "kernel": (2, 2)}])
    return plan(network, Settings())


def unrolled():
    network = make_cnn(np.random.default_rng(1), image=(1, 5, 4), layers=[{"kernels": 5, "kernel": (3, 2)}])
    return plan(network, Settings(layers={"layer0": LayerSettings(engine=EngineKind.UNROLLED, drain_width=2)}))


def signed():
    """Four bits with a sign in, sums of more than eight out."""
    network = make_network(np.random.default_rng(2), sizes=[7, 9, 5], input_bits=4, input_signed=True)
    return plan(network, Settings())


def empty():
    """Weights in memories without initial contents: they must come over the line."""
    network = make_network(np.random.default_rng(3), sizes=[7, 9, 5], sets=[3, None], winners=[4, None])
    fixed = {name: LayerSettings(lanes=2, drain_width=2, weight_memory=MemoryKind.SPRAM) for name in ("fc0", "fc1")}
    return plan(network, Settings(loadable=True, layers=fixed))


@pytest.mark.parametrize("make", [images, unrolled, signed, empty])
def test_network(make):
    built = make()
    low, high = built.network.input_range
    codes = np.random.default_rng(4).integers(low, high + 1, (6, built.network.layers[0].inputs))
    expected = golden.run(built.network, codes)[-1].outputs
    link = link_arch(built, clock_hz=12_000_000, baud=BAUD)
    emulator = Emulator(HostedNetwork(built.arch, built.images, link=link), cycles_per_bit=link.cycles_per_bit)
    with running(emulator):
        for first in (True, False):
            with Device(open_line(emulator.port, BAUD), built, baud=BAUD) as device:
                np.testing.assert_array_equal(device(codes), expected)
                assert device.loaded == (first and make is empty) and not device.resent
