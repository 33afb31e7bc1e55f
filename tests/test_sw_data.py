"""Sample files, good and bad."""

import io
import zipfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dovetail.hw.errors import ModelError
from dovetail.sw import data
from dovetail.sw.data import load_samples

SHAPE = (1, 2, 3)
X = np.arange(24, dtype=np.uint8).reshape(4, *SHAPE)


def save(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float16, np.float32, np.float64])
def test_samples(tmp_path, dtype):
    path = save(tmp_path / "a.npz", x=X.astype(dtype), y=np.array([3, 1, 0, 2], dtype=np.uint8), scale=np.float32(0.25))
    samples = load_samples(path, SHAPE)
    assert samples.x.dtype == dtype
    assert_array_equal(samples.x, np.arange(24).reshape(4, 6))
    assert samples.scale == 0.25
    assert samples.labels.dtype == np.int64
    assert_array_equal(samples.labels, [3, 1, 0, 2])


def test_samples_defaults(tmp_path):
    samples = load_samples(str(save(tmp_path / "a.npz", x=X > 3, other=np.arange(2))), SHAPE)
    assert samples.scale == 1.0
    assert samples.labels is None
    assert samples.x.dtype == np.uint8
    assert_array_equal(samples.x, (X > 3).reshape(4, 6))


@pytest.mark.parametrize(("arrays", "message"), [
    ({"a": X}, r"has no array 'x'"),
    ({"x": X.astype(complex)}, r"'x' must hold real numbers, not complex128"),
    ({"x": X.astype(str)}, r"'x' must hold real numbers, not <U3"),
    ({"x": X[:, 0]}, r"'x' must have shape \(n, 1, 2, 3\), not \(4, 2, 3\)"),
    ({"x": np.float32(1)}, r"'x' must have shape \(n, 1, 2, 3\), not \(\)"),
    ({"x": X[:0]}, r"'x' must hold at least one sample"),
    ({"x": np.where(X == 5, np.nan, X)}, r"'x' must hold finite numbers only, not NaN or infinity"),
    ({"x": X, "scale": np.ones(2)}, r"'scale' must be one number, not float64 of shape \(2,\)"),
    ({"x": X, "scale": "1"}, r"'scale' must be one number, not <U1 of shape \(\)"),
    ({"x": X, "scale": 0.0}, r"'scale' must be positive, not 0\.0"),
    ({"x": X, "scale": np.inf}, r"'scale' must be positive, not inf"),
    ({"x": X, "y": np.zeros(4)}, r"'y' must hold integers, not float64"),
    ({"x": X, "y": np.zeros(3, int)}, r"'y' must have shape \(4,\) as 'x' has, not \(3,\)"),
])
def test_contents_wrong(tmp_path, arrays, message):
    with pytest.raises(ModelError, match=rf"^a\.npz: {message}$"):
        load_samples(save(tmp_path / "a.npz", **arrays), SHAPE)


@pytest.mark.parametrize("name", ["x", "y", "other"])
def test_pickle_wrong(tmp_path, name):
    path = save(tmp_path / "a.npz", **{"x": X, name: np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ModelError, match=r"^a\.npz: holds pickled objects, which are not loaded; "
                                         r"save plain arrays of numbers$"):
        load_samples(path, SHAPE)


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npz():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=X)
    return buffer.getvalue()


def npy(header):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize("content", [
    b"", b"not an archive", npz()[:100], npz()[:-30],
    npz()[:60] + b"\0\0\0\0" + npz()[64:],
    archive(x=npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, 1, 2, 3), }\n") + b"few"),
    archive(x=npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999, 6), }\n")),
])
def test_file_wrong(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^a\.npz: is not an \.npz file, or is damaged$"):
        load_samples(path, SHAPE)


def test_single_array_wrong(tmp_path):
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(ModelError, match=r"^a\.npy: is not an \.npz file, or is damaged$"):
        load_samples(tmp_path / "a.npy", SHAPE)


def test_other_archive_wrong(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x", "text")
    with pytest.raises(ModelError, match=r"^a\.npz: must hold arrays only$"):
        load_samples(tmp_path / "a.npz", SHAPE)


def test_size_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MAX_BYTES", 100)
    with pytest.raises(ModelError, match=r"^a\.npz: unpacks to 152 bytes; at most 100 are read$"):
        load_samples(save(tmp_path / "a.npz", x=X), SHAPE)


def test_missing_wrong(tmp_path):
    with pytest.raises(ModelError, match=r"^b\.npz: cannot be read: No such file or directory$"):
        load_samples(tmp_path / "b.npz", SHAPE)
    with pytest.raises(ModelError, match=r"^d\.npz: is no file$"):
        (tmp_path / "d.npz").mkdir()
        load_samples(tmp_path / "d.npz", SHAPE)
