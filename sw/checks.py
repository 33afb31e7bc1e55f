"""Checks that records make of their own members."""

import numpy as np
from numpy.typing import ArrayLike

from ..hw.adders import check_whole

__all__ = ["check_shape", "check_whole", "frozen"]


def frozen(
    name: str, value: ArrayLike, dtype: type, shape: tuple[int, ...] | None = None, *, ndim: int = 1,
) -> np.ndarray:
    """Read-only copy of ``value`` with exactly this ``dtype`` (lossless conversion only) and shape.

    Raises
    ------
    TypeError, ValueError
        If it cannot be, or holds NaN or infinity; names the member.
    """
    array = np.asarray(value)
    if not np.can_cast(array.dtype, dtype, casting="safe"):
        raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, not {array.dtype}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape!r}, not {array.shape!r}")
    if shape is None and (array.ndim != ndim or array.size == 0):
        raise ValueError(f"{name} must be a non-empty array of {ndim} dimensions, not of shape {array.shape!r}")
    array = np.array(array, dtype=dtype, order="C")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers only")
    array.flags.writeable = False
    return array


def check_shape(input_shape: tuple[int, ...]) -> None:
    """Raise TypeError or ValueError unless ``input_shape`` is a tuple of sizes."""
    if not isinstance(input_shape, tuple) or not input_shape:
        raise TypeError(f"input_shape must be a tuple of at least one size, not {input_shape!r}")
    for size in input_shape:
        check_whole("input_shape", size, 1, 2**31)
