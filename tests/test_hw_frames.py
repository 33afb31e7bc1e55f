# amaranth: UnusedElaboratable=no
"""The border: numbering, zero skipping, frames of a wrong length."""

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.hw.frames import InputFrames, OutputFrames, PixelFrames
from dovetail.hw.join import Join
from dovetail.sim import Engine, simulate


def send(frames, *, length, width, lanes, skip_zeros=False, value=None, stall_seed=None):
    """Frames of any length through InputFrames: per frame the pairs (position, code) that came out, in order."""
    words, last, regular, dropped = [], [], -(-length // width), 0
    for frame in frames:
        beats = max(1, -(-len(frame) // width))
        padded = [*frame, *[7] * (beats * width - len(frame))]     # what fills up a beat must not count
        words += [padded[start:start + width] for start in range(0, beats * width, width)]
        last += [0] * (beats - 1) + [1]
        dropped += max(0, beats - 1 - regular)
    dut = InputFrames(length=length, width=width, lanes=lanes, value=value or unsigned(4), skip_zeros=skip_zeros)
    result = simulate(dut, {"i": {"data": words, "last": last}}, {"o": len(words) - dropped},
                      engine=Engine.AMARANTH, stall_seed=stall_seed)
    out = result.outputs["o"]
    assert result.times["i"].size == len(words)
    pairs, found = [[]], 0
    for address, values, mask, ends in zip(out["address"], out["values"], out["mask"], out["last"], strict=True):
        pairs[-1] += [(int(address) * lanes + lane, int(values[lane])) for lane in range(lanes) if mask >> lane & 1]
        found += 1
        if ends:
            pairs.append([])
    assert found == len(words) - dropped
    assert pairs.pop() == []
    return pairs


def expected(frames, *, length, width, skip_zeros=False):
    """What stands in whole beats of a frame; an early end takes the beat's other codes with it."""
    result = []
    for frame in frames:
        beats = max(1, -(-len(frame) // width))
        padded = [*frame, *[7] * (beats * width - len(frame))]
        result.append([(position, code) for position, code in enumerate(padded[:length]) if code or not skip_zeros])
    return result


SHAPES = [(1, 1, 1), (5, 1, 1), (5, 1, 3), (6, 2, 2), (7, 2, 2), (7, 2, 6), (9, 3, 6), (4, 4, 4), (3, 4, 4), (13, 4, 4)]


@pytest.mark.parametrize(("length", "width", "lanes"), SHAPES)
@pytest.mark.parametrize("skip_zeros", [False, True])
@pytest.mark.parametrize("stall_seed", [None, 1])
def test_regular_frames(length, width, lanes, skip_zeros, stall_seed):
    rng = np.random.default_rng(length)
    frames = (rng.integers(0, 16, (6, length)) * rng.integers(0, 2, (6, length))).tolist() + [[0] * length]
    found = send(frames, length=length, width=width, lanes=lanes, skip_zeros=skip_zeros, stall_seed=stall_seed)
    assert found == expected(frames, length=length, width=width, skip_zeros=skip_zeros)


@pytest.mark.parametrize(("length", "width", "lanes"), SHAPES)
@pytest.mark.parametrize("skip_zeros", [False, True])
def test_frames_of_a_wrong_length_leave_no_trace(length, width, lanes, skip_zeros):
    """Short by one beat, long by one, by many, and one beat only; a regular frame behind each."""
    beats, regular = -(-length // width), list(range(1, length + 1))
    frames = []
    for count in (beats - 1, beats + 1, beats + 9, 1, 2 * beats):
        frames += [[3] * (max(1, count) * width), regular]
    assert send(frames, length=length, width=width, lanes=lanes, skip_zeros=skip_zeros) == expected(
        frames, length=length, width=width, skip_zeros=skip_zeros)


@given(shape=st.sampled_from(SHAPES), counts=st.lists(st.integers(1, 12), min_size=1, max_size=8),
       stall_seed=st.integers(0, 99))
@settings(max_examples=10)
def test_any_lengths(shape, counts, stall_seed):
    length, width, lanes = shape
    frames = [[(number + beat) % 16 for beat in range(count * width)] for number, count in enumerate(counts)]
    assert send(frames, length=length, width=width, lanes=lanes, stall_seed=stall_seed) == expected(
        frames, length=length, width=width)


def test_signed_codes():
    frames = [[-8, 7, 0, -1]]
    assert send(frames, length=4, width=2, lanes=2, value=signed(4), skip_zeros=True) == [[(0, -8), (1, 7), (3, -1)]]


@pytest.mark.parametrize("stall_seed", [None, 5])
def test_output_frames(stall_seed):
    beats = {"address": [0, 1, 2], "values": [[1, -2], [-3, 4], [5, 0]], "mask": [3, 3, 1], "last": [0, 0, 1]}
    dut = OutputFrames(length=5, width=2, value=signed(5))
    result = simulate(dut, {"i": beats}, {"o": 3}, engine=Engine.AMARANTH, stall_seed=stall_seed)
    np.testing.assert_array_equal(result.outputs["o"]["data"], beats["values"])
    np.testing.assert_array_equal(result.outputs["o"]["keep"], [3, 3, 1])
    np.testing.assert_array_equal(result.outputs["o"]["last"], [0, 0, 1])
    np.testing.assert_array_equal(result.times["o"], result.times["i"])


def test_width_wrong():
    with pytest.raises(ValueError, match=r"^width must divide lanes \(4\), not 3$"):
        InputFrames(length=5, width=3, lanes=4, value=unsigned(4), skip_zeros=False)


def send_pixels(frames, *, pixels, channels, width, skip_zeros=False, value=None, stall_seed=None):
    """Frames of any number of beats through PixelFrames: per pixel the pairs (channel, code), and times in and out."""
    words = [word for frame in frames for word in frame]
    last = [int(number == len(frame) - 1) for frame in frames for number in range(len(frame))]
    dut = PixelFrames(pixels=pixels, channels=channels, width=width, value=value or unsigned(4), skip_zeros=skip_zeros)
    beats = pixels * channels // width
    result = simulate(dut, {"i": {"data": words, "last": last}}, {"o": beats * len(frames)}, engine=Engine.AMARANTH,
                      stall_seed=stall_seed)
    out, found = result.outputs["o"], [[]]
    for address, values, mask, ends in zip(out["address"], out["values"], out["mask"], out["last"], strict=True):
        found[-1] += [(int(address) * width + lane, int(values[lane])) for lane in range(width) if mask >> lane & 1]
        if ends:
            found.append([])
    assert found.pop() == []
    return found, result.times


def expected_pixels(frames, *, pixels, channels, skip_zeros=False):
    found = []
    for frame in frames:
        codes = [code for word in frame for code in word][:pixels * channels]
        codes += [0] * (pixels * channels - len(codes))
        found += [[(channel, code) for channel, code in enumerate(codes[start:start + channels])
                   if code or not skip_zeros] for start in range(0, len(codes), channels)]
    return found


PIXELS = [(1, 1, 1), (5, 1, 1), (4, 3, 1), (4, 3, 3), (3, 4, 2), (1, 6, 2), (7, 2, 2)]


@pytest.mark.parametrize(("pixels", "channels", "width"), PIXELS)
@pytest.mark.parametrize("skip_zeros", [False, True])
def test_pixels(pixels, channels, width, skip_zeros):
    """Regular frames pass as they come, a beat a cycle."""
    rng, beats = np.random.default_rng(pixels), pixels * channels // width
    frames = (rng.integers(0, 16, (4, beats, width)) * rng.integers(0, 2, (4, beats, width))).tolist()
    found, times = send_pixels(frames, pixels=pixels, channels=channels, width=width, skip_zeros=skip_zeros)
    assert found == expected_pixels(frames, pixels=pixels, channels=channels, skip_zeros=skip_zeros)
    np.testing.assert_array_equal(times["o"], times["i"])
    assert len(times["o"]) == times["o"][-1] + 1 - times["o"][0]


@given(shape=st.sampled_from(PIXELS), counts=st.lists(st.integers(1, 20), min_size=1, max_size=8),
       skip_zeros=st.booleans(), stall_seed=st.none() | st.integers(0, 99))
@settings(max_examples=15)
def test_pixels_of_frames_of_any_length(shape, counts, skip_zeros, stall_seed):
    """An early end is made up for with pixels of zeros, a late one is dropped, and the next frame begins afresh."""
    pixels, channels, width = shape
    frames = [[[(7 * number + 3 * beat + lane) % 16 for lane in range(width)] for beat in range(count)]
              for number, count in enumerate([*counts, pixels * channels // width])]
    found, _ = send_pixels(frames, pixels=pixels, channels=channels, width=width, skip_zeros=skip_zeros,
                           stall_seed=stall_seed)
    assert found == expected_pixels(frames, pixels=pixels, channels=channels, skip_zeros=skip_zeros)


def test_pixels_of_signed_codes():
    found, _ = send_pixels([[[-8, 0], [7, -1]]], pixels=2, channels=2, width=2, value=signed(4), skip_zeros=True)
    assert found == [[(0, -8)], [(0, 7), (1, -1)]]


@pytest.mark.parametrize("stall_seed", [None, 5])
def test_output_frames_of_images(stall_seed):
    """Every pixel has beats of its own, and the last of them ends the frame."""
    beats = {"address": [0, 1] * 6, "values": [[number] * 2 for number in range(12)], "mask": [3, 1] * 6,
             "last": [0, 1] * 6}
    dut = OutputFrames(length=3, vectors=3, width=2, value=signed(5))
    result = simulate(dut, {"i": beats}, {"o": 12}, engine=Engine.AMARANTH, stall_seed=stall_seed)
    np.testing.assert_array_equal(result.outputs["o"]["data"], beats["values"])
    np.testing.assert_array_equal(result.outputs["o"]["keep"], beats["mask"])
    np.testing.assert_array_equal(result.outputs["o"]["last"], [0, 0, 0, 0, 0, 1] * 2)


@pytest.mark.parametrize("stall_seed", [None, 7])
def test_join(stall_seed):
    """Pixels of six elements on two lanes: addresses go on from pixel to pixel, and only the last one ends anything."""
    beats = {"address": [0, 2, 1, 0, 1, 2, 0, 0, 1], "values": [[number, -number] for number in range(9)],
             "mask": [3, 1, 2, 3, 3, 3, 0, 0, 2], "last": [0, 1, 1, 0, 0, 1, 1, 1, 1]}
    dut = Join(vectors=3, elements=6, lanes=2, value=signed(5))
    result = simulate(dut, {"i": beats}, {"o": 9}, engine=Engine.AMARANTH, stall_seed=stall_seed)
    found = result.outputs["o"]
    np.testing.assert_array_equal(found["address"], [0, 2, 4, 6, 7, 8, 0, 3, 7])
    np.testing.assert_array_equal(found["last"], [0, 0, 0, 0, 0, 1, 0, 0, 1])
    for name in ("values", "mask"):
        np.testing.assert_array_equal(found[name], beats[name])
    np.testing.assert_array_equal(result.times["o"], result.times["i"])


def test_sizes_of_pixels_wrong():
    with pytest.raises(ValueError, match=r"^width must divide channels \(4\), not 3$"):
        PixelFrames(pixels=5, channels=4, width=3, value=unsigned(4), skip_zeros=False)
    with pytest.raises(ValueError, match=r"^lanes must divide elements \(4\), not 3$"):
        Join(vectors=5, elements=4, lanes=3, value=unsigned(4))
