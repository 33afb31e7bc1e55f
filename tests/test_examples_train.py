"""The training script, and the network and images it made for the package."""

import importlib.resources
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.testing import assert_array_equal
from onnx import numpy_helper

from dovetail.sw.complementary import find_complementary

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "train_digits.py"
SHIPPED = importlib.resources.files("dovetail.cli") / "digits"
FILES = {"digits.onnx", "digits_calibration.npz", "digits_test.npz"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_digits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shipped_model():
    return onnx.load_from_string((SHIPPED / "digits.onnx").read_bytes())


@pytest.fixture(scope="module")
def shipped_masks(shipped_model):
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in shipped_model.graph.initializer}
    return [tensors[f"weight{layer}"] != 0 for layer in (1, 2, 3)]


def shipped_arrays(name):
    with (SHIPPED / name).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def outputs(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": images})[0]


def test_shipped_files_are_small():
    sizes = {file.name: len(file.read_bytes()) for file in SHIPPED.iterdir()}
    assert set(sizes) == FILES
    assert sum(sizes.values()) < 600_000


def test_shipped_network_is_accurate(shipped_model):
    test = shipped_arrays("digits_test.npz")
    labels = outputs(shipped_model, test["x"] * test["scale"]).argmax(axis=1)
    assert (labels == test["y"]).mean() >= 0.96


def test_shipped_images(script):
    digits = script.load(seed=1)
    test, calibration = shipped_arrays("digits_test.npz"), shipped_arrays("digits_calibration.npz")
    assert set(test) == {"x", "scale", "y"}
    assert set(calibration) == {"x", "scale"}
    assert_array_equal(test["x"], digits.x_test.reshape(360, 1, 8, 8), strict=True)
    assert_array_equal(test["y"], digits.y_test, strict=True)
    assert_array_equal(calibration["x"], digits.x_train[:256].reshape(256, 1, 8, 8), strict=True)
    for arrays in (test, calibration):
        assert_array_equal(arrays["scale"], np.float32(1 / 16), strict=True)
        assert arrays["x"].max() == 16


def test_shipped_operators(shipped_model):
    hidden = ["Gemm", "BatchNormalization", "Relu", "TopK", "Mul", "ScatterElements"]
    assert [node.op_type for node in shipped_model.graph.node] == ["Flatten", *hidden, *hidden, "Gemm"]
    assert [opset.version for opset in shipped_model.opset_import] == [17]


def test_shipped_masks_are_those_of_the_seed(script, shipped_masks):
    network = script.build(sizes=(64, 256, 256, 10), set_sizes=(8, 8, 2), winners=26, rng=np.random.default_rng(1))
    for layer, mask in zip(network.layers, shipped_masks, strict=True):
        assert_array_equal(mask, layer.mask)


@pytest.mark.parametrize("layer, set_size", [(0, 8), (1, 8), (2, 2)])
def test_shipped_masks_are_complementary(shipped_masks, layer, set_size):
    mask = shipped_masks[layer]
    kernels, positions = mask.shape
    assert set(mask.sum(axis=1)) == {positions // set_size}
    assert set(mask.sum(axis=0)) == {kernels // set_size}
    sets = find_complementary(mask)
    assert sorted(kernel for members in sets for kernel in members) == list(range(kernels))
    for members in sets:
        assert_array_equal(mask[list(members)].sum(axis=0), 1)


@pytest.mark.parametrize("layer", [0, 1])
def test_shipped_kernels_do_not_stand_in_set_order(shipped_masks, layer):
    sets = shipped_masks[layer].reshape(32, 8, -1).sum(axis=1)
    assert (sets.max(axis=1) > 1).all()


@pytest.mark.parametrize("kernels, positions, set_size", [(8, 8, 8), (12, 15, 3), (10, 6, 2), (5, 7, 1), (50, 100, 25)])
def test_complementary_masks(script, kernels, positions, set_size):
    mask = script.complementary_masks(kernels, positions, set_size=set_size, rng=np.random.default_rng(0))
    assert_array_equal(mask.reshape(-1, set_size, positions).sum(axis=1), 1)
    assert set(mask.sum(axis=1)) == {positions // set_size}


@pytest.mark.parametrize("kernels, positions", [(9, 8), (8, 9)])
def test_complementary_masks_wrong(script, kernels, positions):
    with pytest.raises(ValueError, match=f"^Kernels and positions must be multiples of the set size 4, "
                                         f"not {kernels} and {positions}$"):
        script.complementary_masks(kernels, positions, set_size=4, rng=np.random.default_rng(0))


def test_k_winners(script):
    activations = np.array([[5, 1, 4, 3], [0, 0, 2, 0], [0, 0, 0, 0], [1, 2, 3, 4]], np.float32)
    assert_array_equal(script.k_winners(activations, 2), np.array(
        [[1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]], bool))
    assert_array_equal(script.k_winners(activations, 4), activations > 0)


def test_shifted(script):
    images = np.zeros((200, 8, 8), np.float32)
    images[:, 3, 5] = 1
    images[:, 0, 0] = 2
    moved = script.shifted(images.reshape(-1, 64), np.random.default_rng(0)).reshape(-1, 8, 8)
    places = {tuple(map(int, np.argwhere(image == 1)[0])) for image in moved}
    assert places == {(3, 5), (2, 5), (4, 5), (3, 4), (3, 6)}
    assert (moved == 1).sum() == len(images)
    assert 0 < (moved == 2).sum() < len(images)   # the corner's pixel leaves in two of the directions, and never wraps


def test_gradients(script):
    """The backward pass against the difference quotient, in double precision and away from ties."""
    rng = np.random.default_rng(3)
    network = script.build(sizes=(8, 12, 6), set_sizes=(4, 2), winners=4, rng=rng)
    for layer in network.layers:
        layer.parameters = {name: value.astype(np.float64) for name, value in layer.parameters.items()}
    x, weights = rng.standard_normal((16, 8)), rng.standard_normal((16, 6))

    def loss():
        return float((script.forward(network, x, training=True) * weights).sum())

    loss()
    step, gradients = 1e-6, script.backward(network, weights)
    for layer, found in zip(network.layers, gradients, strict=True):
        for name, value in layer.parameters.items():
            free = layer.mask if name == "weight" else np.ones_like(value)
            for index in map(tuple, np.argwhere(free)[::5]):
                before = value[index]
                value[index] = before + step
                above = loss()
                value[index] = before - step
                below = loss()
                value[index] = before
                # The quotient's own error is about 1e-9 here, of rounding and of curvature.
                assert abs((above - below) / (2 * step) - found[name][index]) < 1e-6


@pytest.fixture(scope="module")
def one_epoch(script, tmp_path_factory):
    folders = [tmp_path_factory.mktemp("digits") / "new" for _ in range(2)]
    for folder in folders:
        assert script.main(["--epochs", "1", "--output", str(folder)]) == 0
    return folders


def test_script_writes_the_same_bytes_twice(one_epoch):
    first, second = one_epoch
    assert {file.name for file in first.iterdir()} == FILES
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_script_prints_the_accuracies(script, tmp_path, capsys):
    script.main(["--epochs", "1", "--output", str(tmp_path)])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("training: ") and first.endswith(" % of 1437 images")
    assert second.startswith("test: ") and second.endswith(" % of 360 images")


def test_exported_model_is_the_trained_one(script):
    digits = script.load(seed=1)
    network = script.train(digits, epochs=1, seed=1)
    images = digits.x_test.reshape(-1, 1, 8, 8) * script.PIXEL_SCALE
    expected = script.forward(network, digits.x_test * script.PIXEL_SCALE, training=False)
    # Two float32 implementations, which add in different orders.
    np.testing.assert_allclose(outputs(script.to_onnx(network), images), expected, rtol=1e-4, atol=1e-5)


def test_epochs_wrong(script):
    with pytest.raises(ValueError, match="^Epochs must be at least 1, not 0$"):
        script.train(script.load(seed=1), epochs=0, seed=1)


@pytest.mark.parametrize("name", ["sklearn", "threadpoolctl"])
def test_a_missing_package_is_one_line(name, tmp_path):
    """As in an installation without the tools for tests."""
    hide = f"import runpy, sys; sys.modules[{name!r}] = None; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", hide], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == ("scikit-learn or threadpoolctl is missing: "
                           f"{sys.executable} -m pip install scikit-learn threadpoolctl\n")
