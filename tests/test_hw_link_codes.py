# amaranth: UnusedElaboratable=no
"""Octets and codes: any width, sign and beat, with stalls."""

import numpy as np
import pytest
from amaranth.hdl import Shape
from serial_line import octets_of

from dovetail.hw.link.codes import FrameCodes, ResultOctets
from dovetail.sim import Engine, simulate

SHAPES = [(1, False), (4, True), (8, False), (8, True), (11, False), (16, True), (20, True), (24, False)]


def numbers(rng, bits, is_signed, shape):
    low, high = (-(1 << bits - 1), 1 << bits - 1) if is_signed else (0, 1 << bits)
    found = rng.integers(low, high, shape)
    found.ravel()[:2] = low, high - 1
    return found


def octet_words(frames, bits):
    octets = [octets_of(frame, bits) for frame in frames]
    last = [number == len(each) - 1 for each in octets for number in range(len(each))]
    return {"octet": np.array(list(b"".join(octets))), "last": np.array(last, int)}


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(("width", "length"), [(1, 5), (3, 6), (4, 10)])
@pytest.mark.parametrize(("bits", "is_signed"), SHAPES)
def test_frame_codes(bits, is_signed, width, length, seed):
    frames = numbers(np.random.default_rng(bits), bits, is_signed, (4, length))
    beats = -(-length // width)
    run = simulate(FrameCodes(width=width, value=Shape(bits, is_signed)), {"i": octet_words(frames, bits)},
                   {"o": 4 * beats}, engine=Engine.AMARANTH, stall_seed=seed)
    data = run.outputs["o"]["data"].reshape(4, beats * width)[:, :length]
    np.testing.assert_array_equal(data, frames)
    assert run.outputs["o"]["last"].tolist() == ([0] * (beats - 1) + [1]) * 4
    if seed is None:
        assert max(np.diff(run.times["i"])) == 1, "an octet a cycle"


def test_frame_codes_beyond_their_bits():
    """The bits that a code does not have are of no account."""
    run = simulate(FrameCodes(width=1, value=Shape(11, True)), {"i": {"octet": [0xFF, 0xFB], "last": [0, 1]}}, {"o": 1},
                   engine=Engine.AMARANTH)
    assert run.outputs["o"]["data"].tolist() == [[0x3FF]]


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(("width", "length", "vectors"), [(1, 5, 1), (3, 6, 1), (4, 10, 1), (4, 6, 3), (2, 1, 2)])
@pytest.mark.parametrize(("bits", "is_signed"), SHAPES)
def test_result_octets(bits, is_signed, width, length, vectors, seed):
    """Beats of vectors, each with a last beat of its own, of which ``keep`` says how much there is."""
    results = numbers(np.random.default_rng(bits), bits, is_signed, (3, vectors * length))
    beats = -(-length // width)
    rng = np.random.default_rng(0)
    data = numbers(rng, bits, is_signed, (3, vectors, beats * width))       # what does not exist is anything
    data[:, :, :length] = results.reshape(3, vectors, length)
    keep = np.full((3, vectors, beats), (1 << width) - 1)
    keep[:, :, -1] = (1 << length - (beats - 1) * width) - 1
    last = np.zeros((3, vectors, beats), int)
    last[:, -1, -1] = 1
    expected = octet_words(results, bits)
    run = simulate(ResultOctets(width=width, value=Shape(bits, is_signed)),
                   {"i": {"data": data.reshape(-1, width), "keep": keep.ravel(), "last": last.ravel()}},
                   {"o": len(expected["octet"])}, engine=Engine.AMARANTH, stall_seed=seed)
    for name, wanted in expected.items():
        np.testing.assert_array_equal(run.outputs["o"][name], wanted)
    if seed is None:
        assert max(np.diff(run.times["o"])) == 1, "an octet a cycle"
