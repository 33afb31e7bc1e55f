# amaranth: UnusedElaboratable=no
"""Streaming max-pooling: values, borders, stalls, resets."""

from itertools import product

import numpy as np
import pytest
from pools import expected, geometries, random_images, run_pool

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.arch import PoolArch, PoolAxis
from dovetail.hw.pool import Pool

SIZES = [(1, 1), (2, 2), (5, 7), (1, 9)]
#: Gaps between beats, held tokens, a starving consumer, tokens ahead.
BEHAVIOURS = [
    {"ahead": 3}, {"gap": 0.3}, {"hold": 0.4}, {"starve": 0.6, "ahead": 2}, {"gap": 0.2, "hold": 0.2, "starve": 0.9},
]


def make_arch(**options):
    return PoolArch(**{"height": 5, "width": 7, "kernel": (2, 2), "strides": (2, 2), "beats": 2, "ports": 2,
                       "value_bits": 4} | options)


def check(arch, seed, *, images=2, **behaviour):
    codes = random_images(arch, np.random.default_rng(seed), images)
    run = run_pool(arch, codes, seed=seed, **behaviour)
    np.testing.assert_array_equal(run.codes, expected(arch, codes), err_msg=f"{arch} {behaviour}")
    return run


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 3)], ids=str)
@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (2, 3)], ids=str)
def test_grid(kernel, stride):
    """Every size and padding; beats, ports, signedness and behaviour take turns such that no two go together."""
    for number, geometry in enumerate(geometries([kernel], [stride], [0, 1], SIZES)):
        arch = make_arch(**geometry, beats=(1, 2, 5)[number % 3], ports=1 + number // 2 % 2,
                         value_signed=bool(number % 2))
        check(arch, number, **BEHAVIOURS[number % len(BEHAVIOURS)])


@pytest.mark.parametrize(("beats", "ports"), list(product([1, 2, 3, 4, 5], [1, 2])))
@pytest.mark.parametrize("options", [{}, {"kernel": (3, 3), "strides": (1, 1), "pads": (1, 1, 1, 1)}],
                         ids=["apart", "overlapping"])
def test_lines(options, beats, ports):
    """Without a gap: lines that are read before the position before is written back, and those that are not."""
    arch = make_arch(**options, height=3, width=4, beats=beats, ports=ports, value_signed=True)
    check(arch, beats, images=3, ahead=3)


@pytest.mark.parametrize("options", [
    {"height": 1, "width": 16, "kernel": (1, 4), "strides": (1, 4)},
    {"height": 16, "width": 1, "kernel": (4, 1), "strides": (3, 1)},
    {"height": 9, "width": 2, "kernel": (3, 1), "strides": (2, 1), "pads": (1, 0, 1, 0)},
    {"kernel": (1, 1), "strides": (1, 2)},
    {"kernel": (1, 1), "strides": (3, 3)},
    {"kernel": (2, 2), "strides": (3, 1)},
    {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 1, 1)},        # sizes that leave remainders, rounded up
    {"kernel": (2, 2), "strides": (2, 2), "pads": (1, 1, 0, 0)},
    {"kernel": (3, 2), "strides": (1, 1), "pads": (2, 1, 0, 1)},
    {"kernel": (3, 2), "strides": (1, 2), "pads": (0, 0, 2, 0)},
    {"kernel": (5, 4), "strides": (1, 1), "pads": (2, 1, 2, 2)},
    {"kernel": (5, 5), "strides": (2, 3), "pads": (4, 4, 4, 4)},
    {"kernel": (8, 9), "strides": (1, 1), "pads": (3, 2, 4, 2)},
    {"height": 1, "width": 1, "kernel": (3, 4), "strides": (1, 1), "pads": (2, 3, 2, 3)},
    {"height": 1, "width": 2, "kernel": (1, 5), "strides": (1, 1), "pads": (0, 4, 0, 4)},
], ids=str)
def test_odd(options):
    arch = make_arch(**options)
    for number, behaviour in enumerate(BEHAVIOURS[:2]):
        check(arch, number, images=3, **behaviour)


def test_full_speed():
    """Pooled or not, a vector takes as many cycles as it has beats, image after image."""
    run = check(make_arch(height=6, width=6, kernel=(3, 3), pads=(1, 1, 0, 0)), 5, images=4, ahead=2)
    assert run.beats == list(range(1, 1 + 4 * 36 * 2))
    assert run.codes.shape == (4 * 9, 4)


def test_no_token():
    """A consumer without room holds back the vector that lets a pooled one go, and only that."""
    run = check(make_arch(height=2, width=2, beats=1), 3, images=2, starve=0.97, ahead=8)
    assert run.taken[:4] == [0, 1, 2, max(3, run.o_valid[0])]
    assert run.taken[4:7] == [run.taken[3] + 1 + vector for vector in range(3)]


@pytest.mark.parametrize("options", [{}, {"kernel": (3, 3), "strides": (1, 1), "pads": (1, 1, 1, 1)}],
                         ids=["apart", "overlapping"])
@pytest.mark.parametrize("cut", [0, 5, 17, 40, 61, 90, 118])
def test_reset(options, cut):
    """Nothing of what was before is left, in any phase."""
    arch = make_arch(**options, height=4, width=5, value_signed=True)
    run = check(arch, cut, starve=0.3, ahead=2, reset_at=cut)
    assert run.valid[0] == 0


def test_axis():
    """The positions with which elements leave: each one's last, one a position, in order; files for those kept."""
    for size, kernel, stride, before, after in product(range(1, 8), range(1, 6), range(1, 5), range(5), range(5)):
        if before >= kernel or after >= kernel or kernel > size + before + after:
            continue
        count = (size + before + after - kernel) // stride + 1
        axis = PoolAxis(size=size, count=count, kernel=kernel, stride=stride, before=before)
        taps = [[tap for tap in range(element * stride - before, element * stride - before + kernel) if 0 <= tap < size]
                for element in range(count)]
        lasts = []
        for seen in taps:
            lasts.append(max(seen[-1], lasts[-1] + 1 if lasts else 0))
        assert [axis.first(element) for element in range(count)] == [seen[0] for seen in taps]
        assert [axis.last(element) for element in range(count)] == lasts
        assert axis.positions == max(size, lasts[-1] + 1)
        assert list(axis.kept) == [element for element in range(count) if taps[element][0] < lasts[element]]
        assert axis.files == max(sum(seen[0] <= position < last for seen, last in zip(taps, lasts, strict=True))
                                 for position in range(axis.positions))
        assert axis.hands_over == any(lasts[one] == taps[other][0] for one in axis.kept for other in axis.kept
                                      if other == one + axis.files)


def test_output_size():
    arch = make_arch(height=9, width=10, kernel=(2, 3), strides=(1, 2), pads=(1, 0, 0, 2))
    assert arch.output_size == (9, 5)


@pytest.mark.parametrize(("kind", "options", "message"), [
    (TypeError, {"height": 2.0}, r"^height must be an integer, not 2.0$"),
    (ValueError, {"beats": 0}, r"^beats must be at least 1, not 0$"),
    (TypeError, {"kernel": 2}, r"^kernel must be a tuple of 2 integers, not 2$"),
    (TypeError, {"pads": (0, 0)}, r"^pads must be a tuple of 4 integers, not \(0, 0\)$"),
    (ValueError, {"strides": (0, 1)}, r"^strides must be at least 1 each, not \(0, 1\)$"),
    (ValueError, {"pads": (0, 0, 2, 0)}, r"^pads must be less than the kernel \(2, 2\), not \(0, 0, 2, 0\)$"),
    (ValueError, {"kernel": (2, 8)}, r"^kernel must fit into the padded image, not \(2, 8\)$"),
])
def test_arch_wrong(kind, options, message):
    with pytest.raises(kind, match=message):
        make_arch(**options)


def test_cells():
    """Row and pooled row go where memories go: LUT RAM for 32 words, block RAM for 160."""
    arch = make_arch(height=10, width=10, beats=32, value_bits=8)
    cells = count_cells(Pool(arch), Family.ECP5)
    assert (cells.bram, cells.lut_ram, cells.dsp) == (1, 8, 0)
    assert cells.lut_equivalents < 260
