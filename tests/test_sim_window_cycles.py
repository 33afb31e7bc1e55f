"""The cycle model against the RTL: every pixel's acceptance and every window's first and last beat, to the cycle."""

import random

import numpy as np
import pytest
from window_builders import make_images, pixel_counts, run_windows

from dovetail.hw.arch import WindowArch
from dovetail.sim.window_cycles import WindowCycles, window_beats


def check_cycles(arch, images, log):
    """Hold every event against the model, given when beats were offered and when the consumer was ready."""
    model = WindowCycles(arch)
    first, valid, begun, done = [], [], [], []
    pixels = arch.height * arch.width
    for number, counts in enumerate(pixel_counts(arch, images)):
        model.image(counts)
        for pixel in range(number * pixels, (number + 1) * pixels):
            first.append(max(model.ready(), log.offered[pixel]))
            for window in model.pixel(first=first[-1], last=log.last[pixel]):
                assert window == len(valid)
                times = model.window(log.asked[window])
                valid.append(times.valid)
                begun.append(times.first)
                done.append(times.last)
    assert (first, valid, begun, done) == (log.first, log.valid, log.begun, log.done)
    assert not log.waited, "inside a row no beat must wait"


def random_arch(dice):
    """Any geometry that is small."""
    while True:
        kernel = (dice.randint(1, 4), dice.randint(1, 4))
        channels, indexed = dice.randint(1, 5), dice.random() < 0.8
        try:
            return WindowArch(
                channels=channels, height=dice.randint(1, 7), width=dice.randint(1, 7), kernel=kernel,
                strides=(dice.randint(1, 3), dice.randint(1, 3)), pads=tuple(dice.randint(0, 2) for _ in range(4)),
                lanes=dice.choice([1, kernel[1], kernel[0] * kernel[1]]),
                slots=dice.randint(1, channels) if indexed else channels, input_lanes=dice.choice([1, 1, 2]),
                activation_bits=2, indexed=indexed, depth=dice.randint(1, 3))
        except ValueError:      # the kernel is greater than the image
            pass


@pytest.mark.parametrize("seed", range(40))
def test_random(seed):
    dice = random.Random(seed)
    arch = random_arch(dice)
    images = make_images(arch, np.random.default_rng(seed), 4)
    log = run_windows(arch, images, seed=seed, gap=dice.choice([0, 0, 0.3, 0.8]), wait=dice.choice([0, 0, 3, 12, 60]))
    check_cycles(arch, images, log)


@pytest.mark.parametrize("lanes", [1, 3, 9])
def test_no_bubbles(lanes):
    """From the first window on the unit is limited by its beats alone, where pixels are faster."""
    arch = WindowArch(channels=4, height=6, width=4, kernel=(3, 3), pads=(1, 1, 1, 1), lanes=lanes, slots=4,
                      input_lanes=4)
    images = make_images(arch, np.random.default_rng(lanes), 3)
    images[:] = np.maximum(images, 1)
    log = run_windows(arch, images)
    check_cycles(arch, images, log)
    beats = window_beats(arch, pixel_counts(arch, images)).sum()
    assert log.done[-1] - log.begun[0] + 1 == beats


def test_wrong():
    arch = WindowArch(channels=1, height=2, width=2, kernel=(1, 1), lanes=1, slots=1, depth=1)
    model = WindowCycles(arch)
    with pytest.raises(ValueError, match="^image must be called before pixel$"):
        model.pixel(first=0, last=0)
    with pytest.raises(ValueError, match=r"^counts must have the shape \(2, 2\), not \(4,\)$"):
        model.image(np.zeros(4))
    model.image(np.ones((2, 2), np.int64))
    with pytest.raises(ValueError, match="^pixel must be called before window: window 0 needs pixel 0$"):
        model.window()
    assert model.pixel(first=3, last=5) == range(0, 1)
    with pytest.raises(ValueError, match="^first must be at least 6 and at most last, not 5 and 6$"):
        model.pixel(first=5, last=6)
    with pytest.raises(ValueError, match="^first must be at least 6 and at most last, not 7 and 6$"):
        model.pixel(first=7, last=6)
    assert model.pixel(first=6, last=6) == range(1, 2)
    with pytest.raises(ValueError, match="^window must be called before ready: window 0 decides$"):
        model.ready()
