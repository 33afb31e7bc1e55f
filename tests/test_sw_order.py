"""KIDs and ports: every accumulator once, every word on as many ports as it has elements."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.hw.arch import EngineArch, bits_for
from dovetail.sw.order import assign_kids, drain_order, select_images


def make(kernels, *, folds=1, banks=1, set_size, columns=1, drain_width=1, seed=None, members=None):
    """A packing of all kernels, shuffled where there is a seed, and its engine."""
    if members is None:
        places = np.full(folds * banks * set_size, -1)
        places[:kernels] = np.arange(kernels)
        if seed is not None:
            np.random.default_rng(seed).shuffle(places)
        members = places.reshape(folds, banks, set_size)
    arch = EngineArch(positions=4, lanes=1, banks=banks, folds=folds, set_size=set_size, columns=columns,
                      drain_width=drain_width, capacity=4, lane_rows=4 * folds)
    return SimpleNamespace(members=np.asarray(members), folds=folds, banks=banks), arch


def check(packing, arch, kernels):
    """All that the hardware relies on; returns the drain order."""
    table = assign_kids(packing, arch)
    assert table.shape == (arch.folds, arch.banks, arch.kids)
    for fold in range(arch.folds):
        for bank in range(arch.banks):
            mine, given_ = table[fold, bank], packing.members[fold, bank]
            assert sorted(mine[mine >= 0].tolist()) == sorted(given_[given_ >= 0].tolist())
    order = drain_order(table, arch)
    width = arch.drain_width
    assert order.shape == (arch.beats, width)
    beat = 0
    for fold in range(arch.folds):
        for group in range(0, arch.kids, arch.group):
            for bank in range(arch.banks):
                for start in range(group, group + arch.group, width):
                    np.testing.assert_array_equal(order[beat], table[fold, bank, start:start + width])
                    beat += 1
    assert beat == arch.beats
    ports = {int(kernel): port for port in range(width) for kernel in order[:, port] if kernel >= 0}
    assert sorted(ports) == list(range(kernels))
    images = select_images(order, kernels)
    words = -(-kernels // width)
    for word in range(words):
        mine = [ports[kernel] for kernel in range(word * width, min(kernels, (word + 1) * width))]
        assert len(set(mine)) == len(mine), "the elements of a word have ports of their own"
        assert list(images.ranks[word][:len(mine)]) == mine
        assert sorted(images.ranks[word]) == list(range(width))
    for port in range(width):
        for beat, entry in enumerate(images.order[port]):
            kernel = int(order[beat, port])
            assert entry == (kernel // width | 1 << bits_for(words) if kernel >= 0 else 0)
    return order


@pytest.mark.parametrize("drain_width", [1, 2, 4, 8])
@pytest.mark.parametrize(("kernels", "folds", "banks", "set_size"), [
    (1, 1, 1, 1), (5, 1, 1, 5), (7, 1, 2, 4), (24, 3, 2, 4), (23, 3, 2, 4), (50, 2, 5, 5), (32, 1, 2, 16),
    (30, 2, 1, 25)])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_assignment(kernels, folds, banks, set_size, drain_width, seed):
    packing, arch = make(kernels, folds=folds, banks=banks, set_size=set_size, columns=2, drain_width=drain_width,
                         seed=seed)
    check(packing, arch, kernels)


def test_every_set_of_one_residue():
    """Set s holds the kernels k = s mod 4: by `kernel % 4` all of them would want one port."""
    members = np.arange(16).reshape(4, 4).T.reshape(1, 4, 4)
    packing, arch = make(16, banks=4, set_size=4, columns=4, drain_width=4, members=members)
    check(packing, arch, 16)


def test_words_that_fit_keep_their_order():
    packing, arch = make(8, banks=2, set_size=4, columns=2, drain_width=2)
    order = check(packing, arch, 8)
    np.testing.assert_array_equal(order, [[0, 1], [4, 5], [2, 3], [6, 7]])
    assert select_images(order, 8).ranks == ((0, 1),) * 4


@given(data=st.data())
@settings(max_examples=60)
def test_anything(data):
    choose = data.draw
    folds, banks, set_size = (choose(st.integers(1, limit)) for limit in (3, 5, 17))
    kernels = choose(st.integers(1, folds * banks * set_size))
    packing, arch = make(kernels, folds=folds, banks=banks, set_size=set_size,
                         columns=choose(st.sampled_from([1, 2, 4])), seed=choose(st.integers(0, 2**32 - 1)),
                         drain_width=choose(st.sampled_from([1, 2, 4, 8, 16])))
    check(packing, arch, kernels)
