import numpy as np
import pytest

from dovetail.sw.fit import MULTIPLIER_BITS, StepFunction, fit
from dovetail.sw.network import Exactness, Scale, Thresholds


def function(codes, *, least, slope, low, high, falls=None):
    """Step function from its codes at every x, int64 (x, M), rising in every column."""
    count, kernels = codes.shape
    thresholds = np.array([[least + np.count_nonzero(column < code) for column in codes.T]
                           for code in range(low + 1, high + 1)], dtype=np.int64)
    return StepFunction(
        thresholds=thresholds, codes=np.arange(low + 1, high + 1), low=low,
        least=np.full(kernels, least), most=np.full(kernels, least + count - 1),
        slope=np.broadcast_to(np.asarray(slope, dtype=np.float64), kernels).copy(),
        falls=np.zeros(kernels, dtype=bool) if falls is None else np.array(falls))


def applied(wanted, found):
    """Codes of the stage at every x of the function."""
    x = np.arange(wanted.least[0], wanted.most[0] + 1)[:, np.newaxis] + np.zeros_like(wanted.least)
    return found.stage.apply(np.where(wanted.falls, -x, x) + found.bias)


def exact(codes, *, biased=True, **rest):
    wanted = function(codes, **rest)
    found = fit(wanted, biased=biased)
    np.testing.assert_array_equal(applied(wanted, found), codes)
    assert (found.misplaced, found.distance) == (0, 0)
    if not biased:
        assert not found.bias.any()
    return found


X = np.arange(-3000, 3001)[:, np.newaxis]


class TestShift:
    def test_half_up(self):
        found = exact(np.clip((X + [3, -50, 700] + 16) >> 5, 0, 63), least=-3000, slope=1 / 32, low=0, high=63)
        assert found.exactness is Exactness.SHIFT
        assert found.stage.multiplier is None and found.stage.shift == 5 and not found.stage.ties_to_even
        assert found.stage.offset == 16
        np.testing.assert_array_equal(found.bias, [3, -50, 700])

    def test_floor(self):
        found = exact(np.clip((X + [0, 9]) >> 4, -8, 63), least=-3000, slope=1 / 16, low=-8, high=63)
        assert found.exactness is Exactness.SHIFT
        assert found.stage.offset == 8
        np.testing.assert_array_equal(found.bias, [-8, 1])

    def test_half_even(self):
        codes = np.rint((X + [0, 5]) / 64).clip(-20, 30).astype(int)
        found = exact(codes, least=-3000, slope=1 / 64, low=-20, high=30)
        assert found.exactness is Exactness.SHIFT
        assert found.stage.ties_to_even and found.stage.shift == 6

    def test_no_shift(self):
        found = exact(np.clip(X + [1, -1], -100, 100), least=-3000, slope=1.0, low=-100, high=100)
        assert found.exactness is Exactness.SHIFT
        assert found.stage.shift == 0

    def test_constant_kernels(self):
        codes = np.hstack([np.clip((X + 16) >> 5, 0, 63), np.full_like(X, 5), np.full_like(X, 0), np.full_like(X, 63)])
        found = exact(codes, least=-3000, slope=[1 / 32, 0, 0, 7e9], low=0, high=63)
        assert np.abs(found.bias).max() < 2**20

    def test_own_offsets_without_bias(self):
        found = exact(np.clip((X + [3, 50]) >> 5, 0, 63), biased=False, least=-3000, slope=1 / 32, low=0, high=63)
        assert found.exactness is Exactness.SHIFT
        np.testing.assert_array_equal(found.stage.offset, [3, 50])

    def test_one_offset_without_bias(self):
        found = exact(np.clip((X + [3, 3]) >> 5, 0, 63), biased=False, least=-3000, slope=1 / 32, low=0, high=63)
        assert found.stage.offset == 3


class TestMultiplier:
    @pytest.mark.parametrize("seed", range(10))
    @pytest.mark.parametrize("biased", [False, True])
    def test_recovers(self, seed, biased):
        """What a multiplier of 8 bits does is found, and needs no more than that."""
        rng = np.random.default_rng(seed)
        multiplier, ties = rng.integers(40, 256, 6), bool(seed % 2)
        offset = rng.integers(-(2**15), 2**15, 6) if not biased else 2**11 + multiplier * rng.integers(-500, 500, 6)
        stage = Scale(multiplier=multiplier, offset=offset, shift=12, low=-30, high=90, ties_to_even=ties)
        found = exact(stage.apply(X), biased=biased, least=-3000, slope=multiplier / 2**12, low=-30, high=90)
        assert found.exactness is Exactness.MULTIPLIER
        assert found.stage.multiplier_bits <= 8 and found.stage.shift <= 12
        if biased:
            assert isinstance(found.stage.offset, int)

    def test_own_offsets(self):
        multiplier = np.array([5, 5, 7])
        stage = Scale(multiplier=multiplier, offset=np.array([0, 1, 2]), shift=3, low=-1000, high=1000)
        found = exact(stage.apply(X), least=-3000, slope=multiplier / 8, low=-1000, high=1000)
        assert found.exactness is Exactness.MULTIPLIER
        assert np.ptp(found.stage.offset) > 0

    def test_falls(self):
        multiplier = np.array([50, 60, 70])
        stage = Scale(multiplier=multiplier, offset=np.array([9, 77, 400]), shift=9, low=-30, high=90)
        found = exact(stage.apply(X), biased=False, least=-3000, slope=multiplier / 2**9, low=-30, high=90,
                      falls=[True, False, True])
        np.testing.assert_array_equal(np.sign(found.stage.multiplier), [-1, 1, -1])

    def test_ties(self):
        codes = np.rint(X * [3 / 128, 5 / 128]).clip(-40, 80).astype(int)
        found = exact(codes, least=-3000, slope=[3 / 128, 5 / 128], low=-40, high=80)
        assert found.exactness is Exactness.MULTIPLIER
        assert found.stage.ties_to_even
        np.testing.assert_array_equal(found.stage.multiplier, [3, 5])


class TestThresholds:
    def test_few(self):
        """Up to three comparators are preferred to a multiplier."""
        stage = Scale(multiplier=np.array([3, 5]), offset=0, shift=10, low=-2, high=1)
        found = exact(stage.apply(X), least=-3000, slope=[3 / 1024, 5 / 1024], low=-2, high=1)
        assert found.exactness is Exactness.THRESHOLDS
        assert found.stage.values.shape == (2, 3)

    def test_multiplier_before_many(self):
        stage = Scale(multiplier=np.array([3, 5]), offset=0, shift=10, low=-2, high=5)
        found = exact(stage.apply(X), least=-3000, slope=[3 / 1024, 5 / 1024], low=-2, high=5)
        assert found.exactness is Exactness.MULTIPLIER

    @pytest.mark.parametrize("high", [7, 15])
    def test_many(self, high):
        codes = np.floor(np.sqrt(np.clip(X, 0, None) / 3000 * [high**2, high**2 / 3])).astype(int)
        found = exact(codes, least=-3000, slope=high / 3000, low=0, high=high)
        assert found.exactness is Exactness.THRESHOLDS
        assert found.stage.values.shape == (2, high)

    def test_two_apart(self):
        wanted = StepFunction(
            thresholds=np.array([[3, -7]]), codes=np.array([1]), low=-1, least=np.array([-9, -9]),
            most=np.array([9, 9]), slope=np.ones(2), falls=np.zeros(2, dtype=bool))
        found = fit(wanted, biased=True)
        assert isinstance(found.stage, Thresholds) and found.stage.step == 2
        np.testing.assert_array_equal(found.stage.apply(np.array([[2, -8], [3, -7]])), [[-1, -1], [1, 1]])


class TestNearest:
    def test_counts(self):
        """One code comes a little too early for any slope; whatever is then off is counted."""
        x = np.arange(2**15)[:, np.newaxis]
        codes = x * [200, 201] >> 15
        early = int(np.argmax(codes[:, 0] == 31)) - 20
        codes[early:, 0] = np.maximum(codes[early:, 0], 31)
        wanted = function(codes, least=0, slope=[200 / 2**15, 201 / 2**15], low=0, high=200)
        found = fit(wanted, biased=True)
        assert found.exactness is Exactness.NEAREST
        assert found.stage.multiplier_bits == MULTIPLIER_BITS
        got = applied(wanted, found)
        assert np.abs(got - codes).max() == 1
        has = function(got, least=0, slope=1.0, low=0, high=200).thresholds
        assert found.misplaced == np.count_nonzero(has != wanted.thresholds) > 0
        assert found.distance == np.abs(has - wanted.thresholds).max()

    def test_none(self):
        """Two kernels that are clipped at different codes."""
        codes = np.clip((X + 16) >> 5, [0, 20], 63)
        assert fit(function(codes, least=-3000, slope=1 / 32, low=0, high=63), biased=True) is None

    def test_sums_of_fifty_bits(self):
        """No product may leave 64 bits."""
        least, most, codes = -(2**51), 2**51, np.arange(1, 256)
        thresholds = np.array([[code * 2**43 + 5 * kernel * 2**30 for kernel in range(3)] for code in codes])
        wanted = StepFunction(
            thresholds=thresholds.clip(least, most + 1), codes=codes, low=0, least=np.full(3, least),
            most=np.full(3, most), slope=np.full(3, 2.0**-43), falls=np.zeros(3, dtype=bool))
        found = fit(wanted, biased=True)
        assert found.exactness is Exactness.SHIFT
        assert found.stage.shift == 43


def test_thresholds_out_of_reach():
    """Sixteen-bit codes of which the sums reach few: the answer is that of the few, and comes at once."""
    x = np.arange(-40, 60)[:, np.newaxis]
    codes = np.clip(np.floor((x * [3, 5] + 2) / 4), 0, 60_000).astype(np.int64)
    found = exact(codes, least=-40, slope=[0.75, 1.25], low=0, high=60_000)
    few = exact(codes, least=-40, slope=[0.75, 1.25], low=0, high=int(codes.max()) + 1)
    assert (found.stage.shift, found.stage.offset) == (few.stage.shift, few.stage.offset)
    np.testing.assert_array_equal(found.stage.multiplier, few.stage.multiplier)
    np.testing.assert_array_equal(found.bias, few.bias)
