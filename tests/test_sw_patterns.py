"""Planted patterns are named, random masks are not."""

import re

import numpy as np
import pytest

from dovetail.sw.patterns import pattern


def grouped(rng, kernels, positions, n, m):
    """Exactly n of m in every aligned group."""
    order = rng.random((kernels, positions // m, m)).argsort(axis=2)
    return (order < n).reshape(kernels, positions)


def blocked(rng, kernels, positions, rows, columns, density=0.3):
    blocks = rng.random((-(-kernels // rows), -(-positions // columns))) < density
    return np.kron(blocks, np.ones((rows, columns), bool))[:kernels, :positions]


def banked(rng, kernels, positions, banks, count):
    """``count`` weights a bank in every kernel."""
    order = rng.random((kernels, positions // banks, banks)).argsort(axis=1)
    return (order < count).reshape(kernels, positions)


@pytest.mark.parametrize("n, m", [(1, 2), (2, 4), (1, 4), (4, 8), (2, 8), (1, 16), (4, 16), (1, 32), (16, 32)])
def test_groups(n, m):
    mask = grouped(np.random.default_rng(n * m), 32, 256, n, m)
    assert pattern(mask) == f"{n}:{m} along the positions"
    mask[3, 5:9] = False        # weights that are zero by accident
    assert pattern(mask) == f"{n}:{m} along the positions"
    full = mask.copy()
    full[4, :m] = True          # one group with too many
    assert pattern(full) != f"{n}:{m} along the positions"


def test_groups_with_a_rest():
    rng = np.random.default_rng(2)
    mask = np.hstack([grouped(rng, 32, 64, 2, 4), rng.random((32, 1)) < 0.5])
    assert pattern(mask) == "2:4 along the positions"


@pytest.mark.parametrize("rows, columns", [(1, 2), (2, 1), (1, 16), (4, 1), (2, 2), (4, 8), (16, 16), (32, 32)])
@pytest.mark.parametrize("shape", [(128, 256), (100, 201)])
def test_blocks(rows, columns, shape):
    mask = blocked(np.random.default_rng(3), *shape, rows, columns)
    assert pattern(mask) == f"blocks of {rows}x{columns}"
    mask[9, 7] ^= True
    assert pattern(mask) == "unstructured"


@pytest.mark.parametrize("banks, count", [(2, 10), (4, 5), (8, 4), (16, 2), (32, 1), (32, 3)])
def test_banks(banks, count):
    mask = banked(np.random.default_rng(4), 32, 256, banks, count)
    assert pattern(mask) == f"gather-scatter over {banks} banks"
    mask[5, mask[5].argmax()] = False
    assert pattern(mask) == "unstructured"


def test_banks_with_another_number_in_every_kernel():
    rng = np.random.default_rng(5)
    mask = np.vstack([banked(rng, 1, 256, 8, 1 + kernel % 5) for kernel in range(40)])
    assert pattern(mask) == "gather-scatter over 8 banks"


def test_structured():
    mask = np.ones((40, 60), bool)
    assert pattern(mask) == "dense"
    mask[[3, 7]] = False
    assert pattern(mask) == "whole kernels removed"
    mask[:, 20:33] = False
    assert pattern(mask) == "whole kernels and positions removed"
    mask[[3, 7]] = mask[2]
    assert pattern(mask) == "whole positions removed"
    mask[0, 0] = False
    assert pattern(mask) == "unstructured"


def test_small():
    assert pattern(np.zeros((4, 4), bool)) == "empty"
    assert pattern(np.ones((1, 1), bool)) == "dense"
    assert pattern(np.array([[True, False]])) == "unstructured"
    assert pattern(np.eye(2, dtype=bool)) == "unstructured"


@pytest.mark.parametrize("density", [0.001, 0.01, 0.03125, 0.0625, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
def test_random(density):
    rng = np.random.default_rng(6)
    for _ in range(60):
        mask = rng.random(rng.integers(1, 70, 2)) < density
        assert pattern(mask) == ("dense" if mask.all() else "unstructured" if mask.any() else "empty")


@pytest.mark.parametrize("density", [0.0625, 0.25, 0.5])
def test_random_with_equal_counts(density):
    """As many weights in every kernel, as magnitude pruning by kernel leaves them."""
    rng = np.random.default_rng(8)
    for _ in range(20):
        order = rng.random((64, 128)).argsort(axis=1)
        assert pattern(order < density * 128) == "unstructured"


def test_complementary_sets_have_no_other_name():
    rng = np.random.default_rng(9)
    owner = rng.integers(0, 8, (8, 256))
    assert pattern((owner[:, np.newaxis] == np.arange(8)[:, np.newaxis]).reshape(64, 256)) == "unstructured"


@pytest.mark.parametrize("mask, error, message", [
    ([[True]], TypeError, "mask must be an array of bool, not [[True]]"),
    (np.ones((1, 1)), TypeError, "mask must be an array of bool, not array([[1.]])"),
    (np.ones(3, bool), ValueError, "mask must be a non-empty array of 2 dimensions, not of shape (3,)"),
    (np.ones((0, 3), bool), ValueError, "mask must be a non-empty array of 2 dimensions, not of shape (0, 3)"),
])
def test_wrong(mask, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        pattern(mask)
