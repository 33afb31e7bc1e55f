"""Names for the patterns that pruning leaves in a mask."""

import math

import numpy as np

__all__ = ["pattern"]

_SIZES = (2, 4, 8, 16, 32)
_BITS = 20.0        # a random mask of the same density has the pattern with a chance below 2**-20
_TYPICAL = 0.9      # share of groups that N:M pruning fills up; a weight that is kept can be zero by accident


def pattern(mask: np.ndarray) -> str:
    """Name the pattern of a mask.

    The first of these that holds, and that a random mask of the same density would have with a chance below 2**-20:

    ``"empty"``, ``"dense"``
        No weight, or all.
    ``"whole kernels removed"``, ``"whole positions removed"``, ``"whole kernels and positions removed"``
        Structured pruning: dense but for rows, or columns, or both, that are empty.
    ``"blocks of RxC"``
        All weights or none in every aligned block of R kernels x C positions (at the edges, in what is left of it), R
        and C powers of two of at most 32; the largest such blocks.
    ``"N:M along the positions"``
        In every kernel, at most N weights in each aligned group of M = 2, 4 ... 32 positions, and exactly N in nine
        groups of ten; N is at most M / 2, M the smallest. 2:4 is what the tensor cores of NVIDIA's Ampere take; for N:M
        see Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", arXiv 2102.04010.
    ``"gather-scatter over B banks"``
        In every kernel, equally many weights at the positions 0, 1 ... B - 1 modulo B = 2, 4 ... 32, B the largest: no
        bank of an interleaved memory is ever waited for. Sun et al., "Load-balanced Gather-scatter Patterns for Sparse
        Deep Neural Networks", arXiv 2112.10898 (the horizontal one of its patterns).
    ``"unstructured"``
        None of these.

    Whether kernels complement each other is another question, which the packer answers.

    Parameters
    ----------
    mask : bool (M, L)
        True where there is a weight.

    Raises
    ------
    TypeError, ValueError
        If ``mask`` is no such array.
    """
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"mask must be an array of bool, not {mask!r}")
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"mask must be a non-empty array of 2 dimensions, not of shape {mask.shape!r}")
    if not mask.any():
        return "empty"
    return _structured(mask) or _blocks(mask) or _groups(mask) or _banks(mask) or "unstructured"


def _structured(mask: np.ndarray) -> str | None:
    kernels, positions = mask.any(axis=1), mask.any(axis=0)
    left = mask[kernels][:, positions]
    if not left.all():
        return None
    what = " and ".join(name for name, kept in (("kernels", kernels), ("positions", positions)) if not kept.all())
    if not what:
        return "dense"
    # Of all masks with as many weights, the share that have no others in their rows and columns.
    bits = _log2_comb(mask.size, left.size) - sum(map(_log2_comb, mask.shape, left.shape))
    return f"whole {what} removed" if bits >= _BITS else None


def _blocks(mask: np.ndarray) -> str | None:
    kernels, positions = mask.shape
    density = mask.mean()
    shapes = [(rows, columns) for rows in (1, *_SIZES) for columns in (1, *_SIZES) if rows * columns > 1]
    for rows, columns in sorted(shapes, key=lambda shape: shape[0] * shape[1], reverse=True):
        area, whole = rows * columns, (kernels // rows) * (positions // columns)
        if -whole * math.log2(density**area + (1 - density)**area) < _BITS:
            continue
        # Repeating the edge completes a block without changing whether it is all or nothing.
        padded = np.pad(mask, ((0, -kernels % rows), (0, -positions % columns)), mode="edge")
        tiles = padded.reshape(-(-kernels // rows), rows, -1, columns)
        if (tiles.any(axis=(1, 3)) == tiles.all(axis=(1, 3))).all():
            return f"blocks of {rows}x{columns}"
    return None


def _groups(mask: np.ndarray) -> str | None:
    density = mask.mean()
    for size in _SIZES:
        whole = mask.shape[1] // size
        if not whole:
            break
        # A group at the end that is not whole may hold as many as any other.
        counts = mask[:, :whole * size].reshape(-1, size).sum(axis=1)
        most = int(counts.max())
        rest = mask[:, whole * size:].sum(axis=1).max()
        if rest > most or 2 * most > size or (counts == most).mean() < _TYPICAL:
            continue
        chance = sum(math.comb(size, count) * density**count * (1 - density)**(size - count)
                     for count in range(most + 1))
        if -counts.size * math.log2(chance) >= _BITS:
            return f"{most}:{size} along the positions"
    return None


def _banks(mask: np.ndarray) -> str | None:
    positions = mask.shape[1]
    for banks in reversed(_SIZES):
        if banks > positions:
            continue
        counts = np.stack([mask[:, bank::banks].sum(axis=1) for bank in range(banks)])
        if (counts != counts[0]).any():
            continue
        # Of all masks with as many weights in each kernel, the share that spread them so.
        sizes = [len(range(bank, positions, banks)) for bank in range(banks)]
        bits = sum(_log2_comb(positions, banks * int(count)) - sum(_log2_comb(size, int(count)) for size in sizes)
                   for count in counts[0])
        if bits >= _BITS:
            return f"gather-scatter over {banks} banks"
    return None


def _log2_comb(n: int, k: int) -> float:
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2)
