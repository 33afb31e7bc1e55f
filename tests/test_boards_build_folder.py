"""Build folders of networks with every kind of requantisation: what is written comes back, and damage is one line."""

import hashlib
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from builders import make_network
from test_sw_records import same

from dovetail.boards import build_folder
from dovetail.boards.build_folder import check_output, read_build, write_build
from dovetail.cli.simulate import report
from dovetail.hw.errors import DovetailError
from dovetail.sim import Engine, golden
from dovetail.sim.verify import NetworkSimulation
from dovetail.sw.data import Samples
from dovetail.sw.model import Affine, Clip, FloatLayer, FloatModel, Head, Quantiser
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings


def make():
    """A plan with three stages, and a float model of the same shape; what it computes is another matter."""
    rng = np.random.default_rng(1)
    network = make_network(rng, sizes=[9, 7, 4], sets=[3, 2], stages=["offsets", "falling", "thresholds"],
                           codes=(-3, 9), input_signed=True)
    last = replace(network.layers[1], output_scale=np.array([0.5, 1.0, 2.0, 0.25]),
                   output_offset=np.array([1e6, 0.0, 0.0, -1e6]))
    network = replace(network, input_scale=0.25, input_origin=-1.5, layers=(network.layers[0], last))
    steps = (Affine(name="bn", op="BatchNormalization", scale=np.ones(7), offset=np.zeros(7)),
             Clip(name="relu", op="Relu", low=0.0, high=math.inf),
             Quantiser(name="q", op="Quant", scale=1.0, low=-3, high=9))
    model = FloatModel(
        name="net", input_shape=(9,), sha256="0" * 64, head=Head.SOFTMAX, layers=(
            FloatLayer(name="fc0", op="Gemm", weights=rng.random((7, 9)), bias=np.zeros(7), steps=steps),
            FloatLayer(name="fc1", op="Gemm", weights=rng.random((4, 7)), bias=np.zeros(4))))
    fixed = {"fc0": LayerSettings(lanes=2, drain_width=2), "fc1": LayerSettings(lanes=2, drain_width=2)}
    return plan(network, Settings(layers=fixed)), model, rng.integers(-128, 128, (6, 9))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("build") / "net"
    planned, model, codes = make()
    manifest = write_build(path, planned, model, codes, intake={"source": "test"})
    return path, planned, model, codes, manifest


def test_comes_back(written):
    path, planned, model, _, manifest = written
    build = read_build(path)
    same(build.plan.network, planned.network)
    same(build.model, model)
    assert build.plan.arch == planned.arch and build.plan.images == planned.images
    for mine, others in zip(build.plan.layers, planned.layers, strict=True):
        same(mine.packing, others.packing)
        np.testing.assert_array_equal(mine.mask, others.mask)
    assert build.manifest == manifest


def test_folder_of_an_older_version_is_replaced(written, tmp_path):
    path, *_ = written
    older, manifest = shutil.copytree(path, tmp_path / "net"), json.loads((path / "manifest.json").read_text())
    (older / "manifest.json").write_text(json.dumps({**manifest, "schema": "dovetail-build/4"}))
    check_output(older)
    (older / "manifest.json").write_text(json.dumps({**manifest, "schema": "else/4"}))
    with pytest.raises(DovetailError, match="which would be lost"):
        check_output(older)


def test_manifest(written):
    *_, manifest = written
    assert manifest["schema"] == "dovetail-build/5"
    assert manifest["model"]["head"] == "softmax" and manifest["intake"] == {"source": "test"}
    assert [layer["requantisation"] for layer in manifest["layers"]] == ["rounded", "rounded"]
    given, result = manifest["interface"]["input"], manifest["interface"]["output"]
    assert {name: given[name] for name in ("bits", "signed", "low", "high", "scale", "origin")} == {
        "bits": 8, "signed": True, "low": -128, "high": 127, "scale": 0.25, "origin": -1.5}
    assert (result["scale"], result["offset"]) == ([0.5, 1.0, 2.0, 0.25], [1e6, 0.0, 0.0, -1e6])


def test_json_is_strict(written):
    """No `Infinity`, which only some programs read."""
    def refuse(constant):
        raise AssertionError(constant)
    for path in written[0].rglob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)


def test_fields_of_stages(written):
    """Parameters, read from the images by their map, are those of the layer at its kernels."""
    path, planned, *_ = written
    layer, described = planned.layers[0], json.loads((path / "images" / "map.json").read_text())["memories"]
    assert {memory["memory"] for memory in described if memory["memory"].startswith("stage")} == {
        f"{name}{port}" for name in ("stage0_multipliers", "stage0_offsets", "stage1_multipliers", "stage1_offsets",
                                     "stage2_thresholds") for port in (0, 1)}
    for memory in described:
        kind = memory["memory"].rstrip("0123456789")
        if not kind.startswith("stage"):
            continue
        port, number, name = int(memory["memory"][len(kind):]), int(kind[5]), kind[7:]
        rows = [int(line, 16) for line in (path / "images" / f"{memory['file']}.hex").read_text().split()]
        expected = getattr(layer.images.stages[number], name)[port]
        for row, wanted in zip(rows, expected, strict=True):
            values = []
            for field in memory["fields"]:
                value = row >> field["low"] & (1 << field["bits"]) - 1
                values.append(value - (value >> field["bits"] - 1 << field["bits"]) if field["signed"] else value)
            assert values == (list(wanted) if name == "thresholds" else [wanted])


def test_accuracy_is_of_real_values(written):
    """Scale and offset of every kernel: the integers alone would rank otherwise."""
    path, planned, model, codes, _ = written
    outputs = golden.run(planned.network, codes)[-1].outputs
    labels = np.zeros(len(codes), np.int64)         # the kernel whose offset is the largest
    assert (outputs.argmax(axis=1) != 0).any()
    samples = Samples(x=codes, scale=1.0, labels=labels)
    verification = NetworkSimulation(planned, engine=Engine.AMARANTH).verify(codes)
    found = report(read_build(path), samples, verification, Engine.AMARANTH)
    assert verification.passed and found["accuracy"] == 1.0
    assert found["float_accuracy"] == (model.run(codes)[-1].argmax(axis=1) == 0).mean()


def rewrite(path, name, change):
    """Change a file and make all digests right again: what only somebody who means it can do."""
    file, manifest = path / name, json.loads((path / "manifest.json").read_text())
    file.write_bytes(change(file.read_bytes()))
    manifest["files"][name] = hashlib.sha256(file.read_bytes()).hexdigest()
    del manifest["sha256"]
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(("name", "change", "message"), [
    ("network.json", lambda text: text.replace(b'"inf"', b'"infinite"'), r"value must be of type .*"),
    ("network.json", lambda text: text.replace(b'"shift"', b'"shaft"'), r"value must be of type .*"),
    ("network.json", lambda text: text.replace(b"stored.network.layers.0.bias", b"elsewhere"), r"'elsewhere'"),
    ("network.json", lambda text: text.replace(b"layers.0.bias", b"layers.0.weights"), r"bias must .*"),
    ("network.json", lambda text: b"[" * 100_000, r"maximum recursion depth exceeded.*"),
    ("network.json", lambda text: b"{}", r"value must be of type .*"),
    ("network.npz", lambda octets: octets[:200], r"File is not a zip file"),
])
def test_damage_that_no_digest_shows(written, tmp_path, name, change, message):
    shutil.copytree(written[0], tmp_path / "net")
    rewrite(tmp_path / "net", name, change)
    with pytest.raises(DovetailError, match=rf"^.*net: damaged \({message}\); compile the model again$") as caught:
        read_build(tmp_path / "net")
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_arrays_that_unpack_to_too_much(written, monkeypatch):
    monkeypatch.setattr(build_folder, "MAX_BYTES", 1000)
    with pytest.raises(DovetailError, match=r"damaged \(network\.npz unpacks to \d+ bytes; at most 1000 are read\)"):
        read_build(written[0])
