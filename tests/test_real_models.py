"""Files as people have them: the quick part of benchmarks/real_models.py."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import QuantType
from rich.table import Table

from dovetail.sim import Engine
from dovetail.sw.compile import integer_network
from dovetail.sw.data import Samples
from dovetail.sw.network import Exactness
from dovetail.sw.reader import read_model

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "real_models.py"

# ONNX Runtime's quantiser calls old helpers of onnx.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("real_models", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits(script):
    return script.digits_perceptron()


@pytest.fixture
def bounds(script):
    return script.Bounds()


@pytest.fixture
def rtl():
    return Table(*"abcdefg")


def test_digits(script, bounds):
    """All kinds of QDQ file, each as made and with power-of-two scales, against ONNX Runtime, plain and optimised."""
    tables = script.digits(bounds, count=500)
    assert bounds.missed == []
    assert [table.row_count for table in tables] == [16, 24] * 2


def test_power_of_two_scales_need_no_multiplier(script, digits):
    model, calibration, samples = digits
    file = script.power_of_two(script.quantised(model, calibration, QuantType.QUInt8, False))
    read, network = script._read(file)
    assert [layer.exactness for layer in network.layers] == [Exactness.SHIFT] * 3
    compared, codes, _ = script.compare_codes(file, network, read, samples, optimised=True)
    assert [layer.apart for layer in compared] == [0, 0, 0]
    assert (codes.argmax(axis=1) == samples.labels).mean() > 0.95


def test_differences_are_seen(script, digits):
    """A wrong bias shows in its layer alone, and end to end in those behind it."""
    model, calibration, samples = digits
    file = script.quantised(model, calibration, QuantType.QInt8, True)
    read, network = script._read(file)
    first, *others = network.layers
    wrong = replace(network, layers=(replace(first, bias=first.bias + 400), *others))
    compared, _, _ = script.compare_codes(file, wrong, read, samples, optimised=False)
    assert compared[0].alone == compared[0].apart > 0
    assert [layer.alone for layer in compared[1:]] == [0, 0]
    assert all(layer.inputs > 0 and layer.apart > 0 for layer in compared[1:])


def test_digits_rtl(script, digits, bounds, rtl, tmp_path):
    model, calibration, samples = digits
    path = tmp_path / "digits.onnx"
    path.write_bytes(script.quantised(model, calibration, QuantType.QInt8, True).SerializeToString())
    compiled = script.compile_samples(path, samples)
    shown = script.simulate("digits", compiled, samples, 8, Engine.CXXRTL, rtl, bounds)
    assert shown.passed and bounds.missed == []


def test_kws(script, shared_models, bounds):
    files, _ = script.kws(shared_models, bounds, formats=((QuantType.QUInt8, True),))
    assert bounds.missed == []
    assert files.row_count == 4


def test_tfc(script, shared_models, shared_data):
    """One-bit weights: scores are those of the file evaluated node by node, to float rounding, and so is every tie."""
    path = shared_models / "TFC_1W2A.onnx"
    network, _ = integer_network(read_model(path), None)
    with np.load(shared_data / "mnist_test.npz") as data:
        x, y, scale = data["x"], data["y"], float(data["scale"])
    found = script.scores_of(network, Samples(x=x.reshape(len(x), -1), scale=scale, labels=y))
    stated = script.evaluate_qonnx(path, x * scale)
    assert abs(found - stated).max() < 1e-9
    np.testing.assert_array_equal(found.argmax(axis=1), stated.argmax(axis=1))
    assert (found.argmax(axis=1) == y).sum() == 9474


def test_jettagging(script, shared_models, bounds, rtl):
    """Sums are equal bit for bit, and so is the RTL."""
    script.jettagging(shared_models / "qkeras_jettagging.onnx", rtl, bounds, widths=(16,), count=300, frames=5)
    assert bounds.missed == []
    assert rtl.row_count == 1


def test_unstructured(script, shared_models, bounds, rtl):
    """Random masks: lossless, accurate, the large layers more than half busy, the RTL exact."""
    layers, packed = script.unstructured(shared_models, rtl, bounds, frames=2, few=0, lossy=())
    assert bounds.missed == []
    assert (layers.row_count, packed.row_count, rtl.row_count) == (3, 1, 1)
