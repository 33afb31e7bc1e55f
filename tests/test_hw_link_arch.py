"""What a link is built from: numbers that are possible, and sizes of messages."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_cnn, make_network

from dovetail.hw.link.arch import LinkArch
from dovetail.hw.link.sizes import code_octets, infer_octets, request_depth, result_octets
from dovetail.sw.plan import plan
from dovetail.sw.settings import Settings

LINK = LinkArch(clock_hz=12_000_000, baud=115_200, design=0, contents=0)


def test_cycles_per_bit():
    assert LINK.cycles_per_bit == 104
    assert replace(LINK, baud=3_000_000).cycles_per_bit == 4
    assert replace(LINK, baud=921_600).cycles_per_bit == 13


@pytest.mark.parametrize(("given", "message"), [
    ({"clock_hz": 0}, r"^clock_hz must be a number of 32 bits, not 0$"),
    ({"baud": 1 << 32}, r"^baud must be a number of 32 bits, not 4294967296$"),
    ({"design": 1 << 64}, r"^design must be a number of 64 bits, not 18446744073709551616$"),
    ({"contents": -1}, r"^contents must be a number of 32 bits, not -1$"),
    ({"window": 0}, r"^window must be a number of 4 bits, not 0$"),
    ({"window": 16}, r"^window must be a number of 4 bits, not 16$"),
    ({"baud": 3_500_000}, r"^baud must be at most a 4th of clock_hz \(12000000\), not 3500000$"),
    ({"baud": 2_500_000}, r"^baud must be within 2 % of what whole cycles of clock_hz \(12000000\) make, not 2500000$"),
])
def test_wrong(given, message):
    with pytest.raises(ValueError, match=message):
        replace(LINK, **given)


def arch(*, loadable=False, **given):
    return plan(make_network(np.random.default_rng(0), **given), Settings(loadable=loadable)).arch


@pytest.mark.parametrize(("bits", "octets"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
def test_code_octets(bits, octets):
    assert code_octets(bits) == octets


def test_octets_of_frames():
    assert infer_octets(arch(sizes=[7, 5])) == 7
    assert infer_octets(arch(sizes=[7, 5], input_bits=11)) == 14
    built = arch(sizes=[7, 9, 5])
    assert result_octets(built) == 5 * code_octets(built.layers[-1].select.value_bits) == 15
    image = plan(make_cnn(np.random.default_rng(0), image=(2, 4, 5), layers=[{"kernels": 3, "kernel": (2, 2)}]),
                 Settings()).arch
    assert infer_octets(image) == 2 * 4 * 5
    assert result_octets(image) == 3 * 3 * 4 * code_octets(image.layers[-1].select.value_bits)


def test_request_depth():
    """Each of ``window`` frames is stored with type, tag and CRC: nine octets more than its body."""
    assert request_depth(arch(sizes=[7, 5]), window=2) == 64
    assert request_depth(arch(sizes=[23, 5]), window=2) == 64          # 2 * (23 + 9) is exactly 64
    assert request_depth(arch(sizes=[24, 5]), window=2) == 128
    assert request_depth(arch(sizes=[490, 5]), window=2) == 1024
    assert request_depth(arch(sizes=[7, 5], loadable=True), window=2) == 512    # 2 * (6 + 4 * 56 + 9) are 478
    assert request_depth(arch(sizes=[7, 5], loadable=True), window=3) == 1024
