"""The window unit against gathered windows: every geometry, any stalls, images behind each other, a reset."""

import random

import numpy as np
import pytest
from window_builders import make_images, pixel_counts, run_windows

from dovetail.hw.arch import WindowArch
from dovetail.hw.windows import Windows
from dovetail.sim.window_cycles import window_beats
from dovetail.sw.window import Window


def check(arch, images, log):
    """Every window has the pairs that gathering the dense image gives, in order, at the right lanes and addresses."""
    window = Window(channels=arch.channels, height=arch.height, width=arch.width, kernel=arch.kernel,
                    strides=arch.strides, pads=arch.pads)
    gathered = window.gather(images.reshape(len(images), -1)).reshape(-1, arch.channels, arch.taps)
    beats = window_beats(arch, pixel_counts(arch, images)).ravel().tolist()
    assert [len(found) for found in log.windows] == beats
    for wanted, found in zip(gathered.tolist(), log.windows, strict=True):
        lanes = [[] for _ in range(arch.lanes)]
        for pairs in found:
            for lane, address, value in pairs:
                lanes[lane].append((address, value))
        expected = [[] for _ in range(arch.lanes)]
        for tap in range(arch.taps):
            group, lane = divmod(tap, arch.lanes)
            expected[lane] += [(group * arch.channels + channel, wanted[channel][tap])
                               for channel in range(arch.channels) if wanted[channel][tap] or not arch.indexed]
        assert lanes == expected


def random_arch(dice, kernel, lanes, channels, indexed):
    """Any geometry with this kernel that has a few windows."""
    while True:
        try:
            arch = WindowArch(
                channels=channels, height=dice.randint(1, 9), width=dice.randint(1, 9), kernel=kernel,
                strides=(dice.randint(1, 3), dice.randint(1, 3)), pads=tuple(dice.randint(0, 3) for _ in range(4)),
                lanes=lanes, slots=dice.randint(1, channels) if indexed else channels, activation_bits=4,
                activation_signed=dice.random() < 0.5, indexed=indexed, depth=dice.randint(1, 3))
        except ValueError:      # the kernel is greater than the image
            continue
        beats = arch.output_size[0] * arch.output_size[1] * arch.groups * arch.slots
        if beats <= 500 and arch.height * arch.width * arch.slots <= 250:
            return arch


KERNELS = [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (1, 5), (4, 1), (3, 2), (2, 5)]


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 10])
@pytest.mark.parametrize("kernel", KERNELS)
def test_grid(kernel, channels, indexed):
    seed = 100 * KERNELS.index(kernel) + 10 * channels + indexed
    rng, dice = np.random.default_rng(seed), random.Random(seed)
    for lanes in sorted({1, kernel[1], kernel[0] * kernel[1]}):
        if lanes == 49 and channels != 3:       # so many take seconds only to set up
            continue
        arch = random_arch(dice, kernel, lanes, channels, indexed)
        images = make_images(arch, rng, 2)
        log = run_windows(arch, images, seed=seed, gap=dice.choice([0, 0.5]), stall=dice.choice([0, 0.3]))
        check(arch, images, log)


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("input_lanes", [2, 3, 4, 16])
def test_input_lanes(input_lanes, indexed):
    """Several pairs of a beat go into slots one after the other."""
    rng = np.random.default_rng(input_lanes)
    for slots in (1, 3, 7) if indexed else (10,):
        arch = WindowArch(channels=10, height=5, width=4, kernel=(3, 2), pads=(1, 0, 1, 1), lanes=2, slots=slots,
                          input_lanes=input_lanes, indexed=indexed)
        images = make_images(arch, rng, 3)
        check(arch, images, run_windows(arch, images, gap=0.2, stall=0.2))


def test_dropped_rows_and_columns():
    """A stride beyond the kernel leaves rows and columns that no window sees."""
    for lanes, depth in ((1, 1), (2, 1), (4, 2)):
        arch = WindowArch(channels=2, height=11, width=10, kernel=(2, 2), strides=(5, 4), lanes=lanes, slots=2,
                          depth=depth)
        images = make_images(arch, np.random.default_rng(lanes), 4)
        check(arch, images, run_windows(arch, images))


def test_bank_of_one_pixel():
    arch = WindowArch(channels=3, height=6, width=1, kernel=(3, 3), pads=(1, 1, 1, 1), lanes=9, slots=2, depth=1)
    images = make_images(arch, np.random.default_rng(2), 3)
    check(arch, images, run_windows(arch, images))


def test_windows_in_the_padding():
    """Windows that see nothing of the image wait for its first pixel all the same, and are empty."""
    arch = WindowArch(channels=2, height=2, width=1, kernel=(2, 2), pads=(3, 2, 4, 3), lanes=4, slots=2)
    images = make_images(arch, np.random.default_rng(0), 4)
    log = run_windows(arch, images, gap=0.3)
    check(arch, images, log)
    assert log.valid[0] >= log.last[0] + Windows.latency(arch)


@pytest.mark.parametrize("lanes", [1, 3, 9])
def test_reset(lanes):
    """Whatever was there is gone, and the next image is the first."""
    arch = WindowArch(channels=3, height=5, width=6, kernel=(3, 3), pads=(1, 1, 1, 1), lanes=lanes, slots=2)
    rng = np.random.default_rng(lanes)
    for reset_after in (1, 7, 40, 75, 130):
        before, images = make_images(arch, rng, 3), make_images(arch, rng, 2)
        log = run_windows(arch, images, seed=reset_after, gap=0.2, stall=0.2, before=before, reset_after=reset_after)
        check(arch, images, log)


@pytest.mark.parametrize(("kernel", "lanes", "latency"), [
    ((3, 3), 1, 8), ((3, 3), 3, 8), ((3, 3), 9, 9), ((1, 1), 1, 8),
])
def test_latency(kernel, lanes, latency):
    arch = WindowArch(channels=2, height=3, width=3, kernel=kernel, lanes=lanes, slots=2)
    log = run_windows(arch, make_images(arch, np.random.default_rng(1), 1))
    needed = (kernel[0] - 1) * 3 + kernel[1] - 1
    assert log.valid[0] - log.last[needed] == Windows.latency(arch) == latency


GOOD = {"channels": 4, "height": 5, "width": 6, "kernel": (3, 2), "lanes": 2, "slots": 2}


@pytest.mark.parametrize(("wrong", "error", "message"), [
    ({"lanes": 3}, ValueError, r"lanes must be 1, 2 or 6, not 3"),
    ({"slots": 5}, ValueError, r"slots must be at most 4, not 5"),
    ({"indexed": False}, ValueError, r"slots must be 4, not 2"),
    ({"kernel": (6, 2)}, ValueError, r"kernel must fit into the padded image, not \(6, 2\)"),
    ({"kernel": [3, 2]}, TypeError, r"kernel must be a tuple of 2 integers, not \[3, 2\]"),
    ({"kernel": (3, 2.0)}, TypeError, r"kernel must be a tuple of 2 integers, not \(3, 2\.0\)"),
    ({"strides": (0, 1)}, ValueError, r"strides must be at least 1 each, not \(0, 1\)"),
    ({"pads": (0, 0, -1, 0)}, ValueError, r"pads must be at least 0 each, not \(0, 0, -1, 0\)"),
    ({"depth": 0}, ValueError, r"depth must be at least 1, not 0"),
    ({"channels": 2.5}, TypeError, r"channels must be an integer, not 2\.5"),
])
def test_arch_wrong(wrong, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        WindowArch(**GOOD | wrong)
