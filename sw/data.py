"""Input files: ``.npz`` with samples, their scale and perhaps their labels, from anybody."""

import math
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..hw.errors import ModelError

__all__ = ["MAX_BYTES", "Samples", "load_samples"]

MAX_BYTES = 2**31   # unpacked; a small archive can hold an enormous array of zeros


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples of a network's input.

    Members
    -------
    x : real (n, L)
        As the file holds them, in the file's type, flattened row by row. Real value = x * scale.
    scale : float
    labels : int64 (n,) or None
    """

    x: np.ndarray
    scale: float
    labels: np.ndarray | None


def load_samples(path: str | Path, input_shape: tuple[int, ...]) -> Samples:
    """Read ``x`` (n, ``*input_shape``), ``scale`` (1 where absent) and ``y`` (n,) labels (None where absent).

    Parameters
    ----------
    path : str or Path
        An ``.npz`` file. Pickles are never read.
    input_shape : tuple of int
        What the network takes, without the batch.

    Raises
    ------
    ModelError
        If the file cannot be read or does not fit. One line that begins with the file's name.
    """
    path = Path(path)
    try:
        arrays = _read(path)
        return _samples(arrays, tuple(input_shape))
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error.__cause__


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read every array of the archive, so that a damaged or pickled one is never passed over."""
    if path.exists() and not path.is_file():
        raise ModelError("is no file")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise ModelError(f"unpacks to {size} bytes; at most {MAX_BYTES} are read")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise ModelError("is not an .npz file, or is damaged") from error
    except (ValueError, EOFError, KeyError, zlib.error, MemoryError, NotImplementedError, RuntimeError, OverflowError,
            SyntaxError, tokenize.TokenError) as error:
        if "allow_pickle" in str(error):
            raise ModelError("holds pickled objects, which are not loaded; save plain arrays of numbers") from error
        raise ModelError("is not an .npz file, or is damaged") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ModelError("must hold arrays only")
    return arrays


def _samples(arrays: dict[str, np.ndarray], input_shape: tuple[int, ...]) -> Samples:
    if "x" not in arrays:
        raise ModelError("has no array 'x'")
    x = arrays["x"]
    if x.dtype.kind not in "biuf":
        raise ModelError(f"'x' must hold real numbers, not {x.dtype}")
    if x.shape[1:] != input_shape or x.ndim == 0:
        raise ModelError(f"'x' must have shape {_shape(input_shape)}, not {x.shape!r}")
    if not len(x):
        raise ModelError("'x' must hold at least one sample")
    if x.dtype.itemsize > 8:
        x = np.where(np.abs(x) < np.finfo(np.float64).max, x, np.inf).astype(np.float64)
    if not np.isfinite(x).all():
        raise ModelError("'x' must hold finite numbers only, not NaN or infinity")
    x = x.reshape(len(x), math.prod(input_shape))
    scale = _scale(arrays.get("scale"))
    largest = float(np.abs(x.astype(np.float64)).max(initial=0)) * scale
    if largest and not 1e-30 < largest < 1e30:
        raise ModelError(f"'x' times scale must be between 1e-30 and 1e30 in magnitude, not {largest:g}")
    return Samples(x=x.astype(np.uint8) if x.dtype.kind == "b" else x, scale=scale,
                   labels=_labels(arrays.get("y"), len(x)))


def _shape(input_shape: tuple[int, ...]) -> str:
    return f"(n, {', '.join(map(str, input_shape))})"


def _scale(scale: np.ndarray | None) -> float:
    if scale is None:
        return 1.0
    if scale.size != 1 or scale.dtype.kind not in "iuf":
        raise ModelError(f"'scale' must be one number, not {scale.dtype} of shape {scale.shape!r}")
    value = float(scale.item())
    if not (math.isfinite(value) and value > 0):
        raise ModelError(f"'scale' must be positive, not {value!r}")
    return value


def _labels(labels: np.ndarray | None, count: int) -> np.ndarray | None:
    if labels is None:
        return None
    if labels.dtype.kind not in "iu":
        raise ModelError(f"'y' must hold integers, not {labels.dtype}")
    if labels.shape != (count,):
        raise ModelError(f"'y' must have shape ({count},) as 'x' has, not {labels.shape!r}")
    return labels.astype(np.int64)
