"""External data: what is read from beside the model, and that nothing else is opened."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from intake import make_model
from models import make_mlp, node
from numpy.testing import assert_array_equal
from onnx import TensorProto

from dovetail.hw.errors import ModelError
from dovetail.sw import reader
from dovetail.sw.reader import read_graph, read_model

W = np.arange(12, dtype=np.float32).reshape(4, 3)


def external(folder: Path, **entries: object) -> onnx.ModelProto:
    """A model whose weights stand in w.bin, from byte 4 on, unless entries say otherwise; None leaves one out."""
    (folder / "w.bin").write_bytes(b"abcd" + W.tobytes() + b"ef")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=W.shape, data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "w.bin", "offset": 4, "length": 48} | entries).items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return make_model([node("MatMul", ["x", "w"], ["y"])], {"w": tensor})


def read(folder, model):
    return read_graph(model.SerializeToString(), name="m", folder=folder).constants["w"].values


@pytest.mark.parametrize("entries", [
    {}, {"length": None}, {"checksum": "no SHA1 at all"}, {"location": "./w.bin"}, {"location": "sub/../w.bin"},
])
def test_places(tmp_path, entries):
    (tmp_path / "sub").mkdir()
    if ".." in entries.get("location", ""):
        with pytest.raises(ModelError, match=r"^tensor 'w' has external data in 'sub/\.\./w\.bin', which is not inside "
                                             r"the folder of the model$"):
            read(tmp_path, external(tmp_path, **entries))
    else:
        assert_array_equal(read(tmp_path, external(tmp_path, **entries)), W)


def test_folders_and_links(tmp_path):
    (tmp_path / "sub").mkdir()
    model = external(tmp_path, location="sub/inner")
    (tmp_path / "sub" / "inner").symlink_to(tmp_path / "w.bin")
    assert_array_equal(read(tmp_path, model), W)


def test_whole_model(tmp_path):
    """As ONNX itself writes it, and as a relative path from within the folder."""
    path = make_mlp(tmp_path / "m.onnx", sizes=(4, 5, 3), winners=2, seed=0)
    x = np.random.default_rng(0).standard_normal((3, 4))
    expected = read_model(path).run(x)[-1]
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="m.bin", size_threshold=0)
    assert (tmp_path / "m.bin").stat().st_size
    assert_array_equal(read_model(path).run(x)[-1], expected)
    assert_array_equal(read_model(os.path.relpath(path)).run(x)[-1], expected)


@pytest.mark.parametrize(("entries", "message"), [
    ({"location": None}, r"tensor 'w' has external data without a location"),
    ({"location": ""}, r"tensor 'w' has external data without a location"),
    ({"location": "w\0.bin"}, r"tensor 'w' has external data without a location"),
    ({"location": "../w.bin"},
     r"tensor 'w' has external data in '\.\./w\.bin', which is not inside the folder of the model"),
    ({"location": "/etc/hostname"},
     r"tensor 'w' has external data in '/etc/hostname', which is not inside the folder of the model"),
    ({"location": r"C:\w.bin"},
     r"tensor 'w' has external data in 'C:.+w\.bin', which is not inside the folder of the model"),
    ({"location": r"..\w.bin"},
     r"tensor 'w' has external data in '\.\..+w\.bin', which is not inside the folder of the model"),
    ({"location": "out"}, r"tensor 'w' has external data in 'out', which is not inside the folder of the model"),
    ({"location": "way/host"}, r"tensor 'w' has external data in 'way/host', which is not inside the folder of the "
                               r"model"),
    ({"location": "round"}, r"tensor 'w' has external data in 'round', which cannot be read: .+"),
    ({"location": "none"}, r"tensor 'w' has external data in 'none', which cannot be read: No such file or directory"),
    ({"location": "sub"}, r"tensor 'w' has external data in 'sub', which is not a file"),
    ({"location": "pipe"}, r"tensor 'w' has external data in 'pipe', which is not a file"),
    ({"location": "a" * 5000}, r"tensor 'w' has external data in 'a+', which cannot be read: File name too long"),
    ({"offset": 7}, r"tensor 'w' has external data of 48 bytes at 7 in 'w\.bin', which has 54 bytes"),
    ({"offset": 10**17}, rf"tensor 'w' has external data of 48 bytes at {10**17} in 'w\.bin', which has 54 bytes"),
    ({"offset": -1}, r"tensor 'w' has external data with the offset '-1', which is no number of bytes"),
    ({"offset": "four"}, r"tensor 'w' has external data with the offset 'four', which is no number of bytes"),
    ({"offset": "9" * 5000}, r"tensor 'w' has external data with the offset '9{80}', which is no number of bytes"),
    ({"length": "1e1"}, r"tensor 'w' has external data with the length '1e1', which is no number of bytes"),
    ({"length": 47}, r"tensor 'w' has external data of 47 bytes, but its type and shape need 48"),
    ({"length": 10**15}, rf"tensor 'w' has external data of {10**15} bytes, but its type and shape need 48"),
])
def test_wrong(tmp_path, entries, message):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(bytes(100))
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "way").symlink_to("/etc")
    (folder / "round").symlink_to(folder / "round")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ModelError, match=rf"^{message}$"):
        read(folder, external(folder, **entries))


def test_no_folder_wrong(tmp_path):
    with pytest.raises(ModelError, match=r"^tensor 'w' has external data, and no folder to read it from; save the "
                                         r"model with its weights inside$"):
        read(None, external(tmp_path))


def test_too_much_wrong(tmp_path, monkeypatch):
    model = external(tmp_path)
    monkeypatch.setattr(reader, "MAX_FILE_BYTES", len(model.SerializeToString()) + 48)
    assert_array_equal(read(tmp_path, model), W)
    monkeypatch.setattr(reader, "MAX_FILE_BYTES", len(model.SerializeToString()) + 47)
    with pytest.raises(ModelError, match=r"^tensor 'w' has external data, with which the model is larger than can be "
                                         r"read$"):
        read(tmp_path, model)
