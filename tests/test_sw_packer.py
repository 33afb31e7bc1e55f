"""The packer: lossless for every mask, complementary sets found, never worse than its stated bound."""

import time
from itertools import product

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal
from onnx import numpy_helper

from dovetail.sw.balance import balance
from dovetail.sw.packer import Packing, find_complementary, pack

MASKS = st.tuples(st.integers(1, 24), st.integers(1, 12)).flatmap(lambda shape: arrays(bool, shape))
COUNTS = st.none() | st.integers(1, 7)


def planted(kernels, positions, size, *, seed, each=None):
    """Return a mask of sets of ``size`` kernels whose ``each`` non-zeros are disjoint and random, in random order."""
    rng = np.random.default_rng(seed)
    each = each or positions // size
    mask = np.zeros((kernels, positions), bool)
    for kernel in range(kernels):
        if kernel % size == 0:
            order = rng.permutation(positions)
        place = kernel % size
        mask[kernel, order[place * each : (place + 1) * each]] = True
    return mask[rng.permutation(kernels)]


def weights_of(folder, model):
    """Return the masks of the matrices of a model, by name."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(folder / model).graph.initializer}
    return {name: array.reshape(len(array), -1) != 0 for name, array in arrays.items() if array.ndim > 1}


def naive_rows(mask, members):
    """Count rows as the definition says, one number at a time."""
    rows = np.zeros((len(members), mask.shape[1]), np.int64)
    for fold, banks in enumerate(members):
        for position in range(mask.shape[1]):
            rows[fold, position] = max(sum(mask[k, position] for k in bank if k >= 0) for bank in banks)
    return rows


def dealt(mask, packing):
    """Return the kernels dealt in order into the shape of a packing."""
    members = np.full(packing.members.shape, -1)
    for kernel in range(len(mask)):
        place, fold, bank = kernel // packing.sets, kernel // packing.banks % packing.folds, kernel % packing.banks
        members[fold, bank, place] = kernel
    return members


def check_packing(mask, packing):
    """Check what holds for every packing."""
    assert (packing.kernels, packing.positions) == mask.shape
    assert packing.members.shape == (packing.folds, packing.banks, packing.set_size)
    assert packing.members.dtype == packing.rows.dtype == np.int64
    placed = packing.members[packing.members >= 0]
    assert_array_equal(np.sort(placed), np.arange(len(mask)))
    for bank in packing.members.reshape(packing.sets, -1):
        used = bank[bank >= 0]
        assert_array_equal(bank[: len(used)], np.sort(used))
        assert_array_equal(bank[len(used) :], -1)
    assert packing.sets == packing.folds * packing.banks
    assert packing.nonzero == mask.sum()
    assert packing.slots == packing.rows.sum() * packing.banks >= packing.nonzero
    assert packing.fill == (packing.nonzero / packing.slots if packing.slots else 1.0)
    assert packing.rows_lower_bound <= packing.rows.sum()
    assert packing.complementary == (packing.rows.max() <= 1)


def check_sets(mask, sets):
    """Check that sets are a division into complementary sets, in order."""
    assert sorted(kernel for group in sets for kernel in group) == list(range(len(mask)))
    assert sets == sorted(tuple(sorted(group)) for group in sets)
    for group in sets:
        assert group
        assert mask[list(group)].sum(axis=0).max() <= 1


@given(MASKS, COUNTS, COUNTS, st.randoms(use_true_random=False), st.booleans())
def test_pack_is_lossless_and_never_worse_than_dealing(mask, banks, set_size, random, weighted):
    activity = np.array([random.random() for _ in range(mask.shape[1])]) if weighted else None
    packing = pack(mask, banks=banks, set_size=set_size, activity=activity, depth_limit=9)
    check_packing(mask, packing)
    assert_array_equal(packing.rows, naive_rows(mask, packing.members))
    assert packing.set_size <= 9
    assert banks in (None, packing.banks)
    assert set_size in (None, packing.set_size)
    if banks is None:
        assert packing.folds == 1
    bound = naive_rows(mask, dealt(mask, packing)).sum(axis=0)
    if activity is None:
        assert packing.rows.sum() <= bound.sum()
    else:
        rounded = np.rint(activity / (activity.max() or 1) * 2**20)
        assert rounded @ packing.rows.sum(axis=0) <= rounded @ bound


@given(MASKS, st.integers(1, 4))
def test_find_complementary_gives_complementary_sets(mask, size):
    for set_size in (None, size):
        sets = find_complementary(mask, set_size=set_size)
        if sets is not None:
            check_sets(mask, sets)
        if sets is not None and set_size is not None:
            assert len(sets) == -(-len(mask) // size)
            assert max(map(len, sets)) <= size


def divisible(mask, size):
    """Try every division of the kernels into ceil(M / size) sets."""
    kernels = len(mask)
    for homes in product(range(-(-kernels // size)), repeat=kernels):
        groups = [np.flatnonzero(np.array(homes) == home) for home in range(-(-kernels // size))]
        if all(len(group) <= size and (mask[group].sum(axis=0) <= 1).all() for group in groups):
            return True
    return False


@given(st.tuples(st.integers(1, 6), st.integers(1, 5)).flatmap(lambda shape: arrays(bool, shape)), st.integers(2, 4))
def test_find_complementary_agrees_with_trying_everything(mask, size):
    assert (find_complementary(mask, set_size=size) is not None) == divisible(mask, size)


@pytest.mark.parametrize(
    ("kernels", "positions", "size"),
    [
        (64, 64, 4), (64, 64, 8), (96, 128, 8), (60, 64, 2), (61, 64, 2), (60, 64, 3), (61, 64, 3), (65, 64, 5),
        (66, 64, 5), (64, 128, 16), (250, 256, 16), (100, 100, 25), (103, 200, 25), (7, 31, 7), (40, 40, 40),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(3))
def test_planted_sets_are_found(kernels, positions, size, seed):
    mask = planted(kernels, positions, size, seed=seed)
    for set_size in (None, size):
        sets = find_complementary(mask, set_size=set_size)
        check_sets(mask, sets)
        assert len(sets) == -(-kernels // size)
    packing = pack(mask)
    check_packing(mask, packing)
    assert packing.complementary
    assert (packing.folds, packing.banks) == (1, -(-kernels // size))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [2, 3, 5])
def test_planted_sets_with_positions_to_spare_are_found(size, seed):
    mask = planted(48, 64, size, seed=seed, each=int(0.8 * 64) // size)
    sets = find_complementary(mask)
    check_sets(mask, sets)
    assert len(sets) == -(-48 // size)


@pytest.mark.parametrize("seed", range(3))
def test_dead_kernels_and_positions_are_placed(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((70, 80), bool)
    rows, columns = np.sort(rng.permutation(70)[:60]), np.sort(rng.permutation(80)[:64])
    mask[np.ix_(rows, columns)] = planted(60, 64, 4, seed=seed)
    sets = find_complementary(mask)
    check_sets(mask, sets)
    assert len(sets) == 15
    assert find_complementary(mask, set_size=4) is not None  # 18 sets for 70 kernels
    packing = pack(mask)
    check_packing(mask, packing)
    assert_array_equal(packing.rows[0], mask.any(axis=0))


def test_degenerate_masks():
    empty = np.zeros((5, 3), bool)
    assert find_complementary(empty) == [(0, 1, 2, 3, 4)]
    assert find_complementary(empty, set_size=2) == [(0, 1), (2, 3), (4,)]
    assert pack(empty).fill == 1.0
    assert pack(empty).slots == 0
    full = np.ones((4, 3), bool)
    assert find_complementary(full) == [(0,), (1,), (2,), (3,)]
    assert find_complementary(full, set_size=2) is None
    packing = pack(full, set_size=2)
    assert (packing.banks, packing.set_size, packing.rows.tolist()) == (2, 2, [[2, 2, 2]])
    assert find_complementary(np.eye(6, dtype=bool)) == [(0, 1, 2, 3, 4, 5)]
    assert len(find_complementary(np.eye(6, dtype=bool), depth_limit=4)) == 2


def test_search_gives_up_within_its_budget():
    mask = planted(128, 64, 16, seed=0, each=3)
    assert find_complementary(mask, set_size=16, node_budget=10) is None


@pytest.mark.parametrize("seed", range(3))
def test_folds_of_complementary_sets(seed):
    mask = planted(64, 64, 4, seed=seed)
    packing = pack(mask, banks=5)
    check_packing(mask, packing)
    assert (packing.folds, packing.banks, packing.set_size) == (4, 5, 4)
    assert packing.complementary
    assert packing.rows.sum() == packing.rows_lower_bound == 4 * 64


def test_sets_that_use_the_same_positions_share_a_fold():
    mask = np.zeros((8, 8), bool)
    mask[[0, 2, 4, 6], :4] = True
    mask[[1, 3, 5, 7], 4:] = True
    packing = pack(mask, banks=2, set_size=1)
    assert packing.rows.sum() == packing.rows_lower_bound == 16
    assert packing.fill == 1.0


def test_activity_moves_rows_to_quiet_positions():
    mask = np.random.default_rng(0).random((64, 40)) < 0.3
    activity = np.where(np.arange(40) < 20, 1.0, 0.01)
    weighted, plain = pack(mask, set_size=16, activity=activity), pack(mask, set_size=16)
    assert activity @ weighted.rows.sum(axis=0) < activity @ plain.rows.sum(axis=0)
    still = pack(mask, set_size=16, activity=np.zeros(40))
    check_packing(mask, still)


@pytest.mark.parametrize("seed", range(3))
def test_balance_beats_dealing(seed):
    mask = np.random.default_rng(seed).random((96, 80)) < 0.1
    for banks, set_size in ((2, 48), (6, 16), (4, 8)):
        packing = pack(mask, banks=banks, set_size=set_size)
        check_packing(mask, packing)
        assert packing.rows.sum() < 0.95 * naive_rows(mask, dealt(mask, packing)).sum()


def test_balance_stops_after_its_visits():
    mask = np.random.default_rng(0).random((96, 80)) < 0.1
    sums = []
    for visits in (0, 1, 5, 1000):
        members = balance(mask, np.full(80, 2.0**20), folds=1, banks=6, set_size=16, visits=visits)
        assert_array_equal(np.sort(members.ravel()), np.arange(96))
        sums.append(naive_rows(mask, members).sum())
    assert sums[-1] < sums[0]


def test_same_mask_same_packing():
    mask = np.random.default_rng(0).random((100, 64)) < 0.1
    one, two = pack(mask, banks=8, node_budget=500), pack(mask.copy(), banks=8, node_budget=500)
    assert_array_equal(one.members, two.members)
    with pytest.raises(ValueError, match="read-only"):
        one.members[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        one.rows[0, 0] = 1


def test_depth_is_the_packers_choice():
    mask = np.random.default_rng(0).random((90, 64)) < 0.3
    packing = pack(mask, depth_limit=40)
    assert (packing.folds, packing.banks, packing.set_size) == (1, 3, 30)
    packing = pack(mask, depth_limit=10, banks=4)
    assert (packing.folds, packing.banks, packing.set_size) == (3, 4, 8)


def test_unstructured_2048_at_5_percent():
    mask = np.random.default_rng(1).random((2048, 2048)) < 0.05
    packing = pack(mask)
    check_packing(mask, packing)
    counts = np.array([mask[bank].sum(axis=0) for bank in packing.members[0]])  # every place is taken
    assert_array_equal(packing.rows[0], counts.max(axis=0))
    assert packing.set_size <= 512
    assert packing.fill >= 0.85


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_kws_mlp_is_found_complementary(shared_models, seed):
    started = time.process_time()
    sizes = []
    for name, stored in weights_of(shared_models, "kws_mlp.onnx").items():
        mask = stored
        if seed is not None:
            rng = np.random.default_rng(seed)
            mask = mask[rng.permutation(len(mask))][:, rng.permutation(mask.shape[1])]
        packing = pack(mask)
        check_packing(mask, packing)
        assert packing.complementary, name
        assert packing.fill == 1.0
        assert packing.sets * packing.set_size == len(mask)
        sizes.append(packing.set_size)
    assert sizes == [16, 16, 2]
    assert time.process_time() - started < 5


def test_kws_cnn_is_found_complementary(shared_models):
    packings = [pack(mask) for mask in weights_of(shared_models, "kws_cnn.onnx").values()]
    assert [(packing.banks, packing.set_size) for packing in packings] == [(32, 2), (8, 8), (60, 25), (10, 1)]
    assert [packing.fill for packing in packings] == [24 / 25, 1.0, 1.0, 1.0]


def test_fashion_mlp_is_packed(shared_models):
    for mask in weights_of(shared_models, "fashion_mlp_unstructured.onnx").values():
        for banks in (None, 8):
            packing = pack(mask, banks=banks)
            check_packing(mask, packing)
            assert packing.rows.sum() <= (1.5 if banks else 1.1) * packing.rows_lower_bound


@pytest.mark.parametrize("function", [pack, find_complementary])
@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ([[True]], TypeError, r"^mask must be a two-dimensional bool array, not \[\[True\]\]$"),
        (np.ones((2, 3)), TypeError, r"^mask must be a two-dimensional bool array, not float64 of shape \(2, 3\)$"),
        (np.ones(3, bool), TypeError, r"^mask must be a two-dimensional bool array, not bool of shape \(3,\)$"),
        (np.ones((0, 3), bool), ValueError, r"^mask must have at least one kernel .* position, not shape \(0, 3\)$"),
        (np.ones((3, 0), bool), ValueError, r"^mask must have at least one .* and one position, not shape \(3, 0\)$"),
    ],
)
def test_mask_wrong(function, mask, error, message):
    with pytest.raises(error, match=message):
        function(mask)


@pytest.mark.parametrize(
    ("function", "name"),
    [*((pack, name) for name in ("banks", "set_size", "depth_limit", "node_budget")),
     *((find_complementary, name) for name in ("set_size", "depth_limit", "node_budget"))],
)  # fmt: skip
def test_counts_wrong(function, name):
    mask = np.ones((2, 3), bool)
    with pytest.raises(ValueError, match=rf"^{name} must be a positive integer, not 0$"):
        function(mask, **{name: 0})
    for wrong in (1.0, True, "1"):
        with pytest.raises(TypeError, match=rf"^{name} must be a positive integer, not {wrong!r}$"):
            function(mask, **{name: wrong})


def test_set_size_above_depth_limit_wrong():
    with pytest.raises(ValueError, match=r"^set_size must be at most depth_limit, 8, not 9$"):
        pack(np.ones((2, 3), bool), set_size=9, depth_limit=8)


@pytest.mark.parametrize(
    ("activity", "error", "message"),
    [
        ([1.0, 1.0, 1.0], TypeError, r"^activity must be an array of probabilities, not \[1.0, 1.0, 1.0\]$"),
        (np.array(["a"] * 3), TypeError, r"^activity must be an array of probabilities, not array"),
        (np.ones(2), ValueError, r"^activity must be of shape \(3,\), not \(2,\)$"),
        (np.array([0, 1, 1.5]), ValueError, r"^activity must be between 0 and 1, not 1.5$"),
        (np.array([0, -1, 1]), ValueError, r"^activity must be between 0 and 1, not -1.0$"),
        (np.array([0, np.nan, 1]), ValueError, r"^activity must be between 0 and 1, not nan$"),
    ],
)
def test_activity_wrong(activity, error, message):
    with pytest.raises(error, match=message):
        pack(np.ones((2, 3), bool), activity=activity)


def test_packing_is_frozen():
    packing = pack(np.ones((2, 3), bool))
    assert isinstance(packing, Packing)
    with pytest.raises(AttributeError):
        packing.banks = 3
