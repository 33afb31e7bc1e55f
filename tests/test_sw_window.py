"""Windows against ONNX Runtime, and against a loop where ONNX Runtime has no say."""

from itertools import product

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper, numpy_helper

from dovetail.sw.window import Window, max_pool

KERNELS = (1, 1), (2, 2), (3, 3), (5, 5), (1, 5), (3, 2)
STRIDES = (1, 1), (2, 2), (3, 3), (1, 3), (2, 1)
PADS = (0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3), (0, 1, 2, 3), (3, 0, 1, 2)


def windows(kernel):
    """Every window of the grid that fits an image of 2 x 7 x 6."""
    for strides, pads in product(STRIDES, PADS):
        yield Window(channels=2, height=7, width=6, kernel=kernel, strides=strides, pads=pads)


def run_onnx(op, x, weights=None, **attributes):
    """One node of ONNX Runtime on small integers, which float32 holds exactly."""
    constants = [] if weights is None else [numpy_helper.from_array(weights.astype(np.float32), "w")]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"][:1 + len(constants)], ["y"], **attributes)], "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.astype(np.float32)})[0]


def loop_gather(window, image, fill=0):
    """Every window of one image, element by element."""
    top, left, *_ = window.pads
    height, width = window.output_size
    return [[image[c][y][x] if 0 <= y < window.height and 0 <= x < window.width else fill
             for c in range(window.channels)
             for y in range(row * window.strides[0] - top, row * window.strides[0] - top + window.kernel[0])
             for x in range(column * window.strides[1] - left, column * window.strides[1] - left + window.kernel[1])]
            for row in range(height) for column in range(width)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_gather(kernel):
    rng = np.random.default_rng(0)
    images = rng.integers(-9, 10, (2, 2, 7, 6))
    weights = rng.integers(-9, 10, (3, 2, *kernel))
    for window in windows(kernel):
        expected = run_onnx("Conv", images, weights, kernel_shape=kernel, strides=window.strides, pads=window.pads)
        assert window.output_size == expected.shape[2:]
        assert (window.positions, window.inputs) == (2 * kernel[0] * kernel[1], 84)
        sums = window.gather(images.reshape(2, 84)) @ weights.reshape(3, -1).T
        assert_array_equal(sums.transpose(0, 2, 1).reshape(expected.shape), expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_max_pool(kernel):
    """Also an image without a positive element, where a padding of zeros would win."""
    rng = np.random.default_rng(1)
    images = np.stack([rng.integers(-9, 10, (2, 7, 6)), rng.integers(-9, 0, (2, 7, 6)), rng.integers(3, 9, (2, 7, 6))])
    count = 0
    for window in windows(kernel):
        if all(pad < size for pad, size in zip(window.pads, 2 * kernel, strict=True)):   # ONNX Runtime takes no other
            assert window.covered
            expected = run_onnx("MaxPool", images, kernel_shape=kernel, strides=window.strides, pads=window.pads)
            pooled = max_pool(window, images.reshape(3, 84))
            assert pooled.dtype == np.int64
            assert_array_equal(pooled, expected.reshape(3, -1))
            count += 1
    assert count >= len(STRIDES)


@pytest.mark.parametrize("fill", [0, 5, -1])
def test_gather_loop(fill):
    images = np.random.default_rng(2).integers(-9, 10, (3, 2, 4, 5))
    window = Window(channels=2, height=4, width=5, kernel=(3, 2), strides=(2, 3), pads=(2, 0, 1, 3))
    assert_array_equal(window.gather(images.reshape(3, 40), fill=fill),
                       [loop_gather(window, image, fill) for image in images.tolist()])


@pytest.mark.parametrize(("kernel", "stride", "pads"), [
    (1, 1, (0, 0)), (2, 1, (1, 0)), (3, 2, (1, 1)), (5, 3, (0, 3)), (5, 1, (3, 3))])
def test_one_dimension(kernel, stride, pads):
    """A signal is an image of height 1."""
    rng = np.random.default_rng(3)
    signals, weights = rng.integers(-9, 10, (2, 3, 11)), rng.integers(-9, 10, (4, 3, kernel))
    window = Window(channels=3, height=1, width=11, kernel=(1, kernel), strides=(1, stride),
                    pads=(0, pads[0], 0, pads[1]))
    expected = run_onnx("Conv", signals, weights, kernel_shape=[kernel], strides=[stride], pads=pads)
    sums = window.gather(signals.reshape(2, -1)) @ weights.reshape(4, -1).T
    assert_array_equal(sums.transpose(0, 2, 1).reshape(expected.shape), expected)
    pooled = run_onnx("MaxPool", signals, kernel_shape=[kernel], strides=[stride], pads=pads)
    assert_array_equal(max_pool(window, signals.reshape(2, -1)), pooled.reshape(2, -1))


def test_covered():
    """Exactly where every window sees an element of the image."""
    for kernel in KERNELS:
        for window in windows(kernel):
            assert window.covered == window.gather(np.ones((1, 84), int)).any(axis=2).all()
    assert not Window(channels=1, height=3, width=3, kernel=(2, 2), pads=(2, 0, 0, 0)).covered
    assert not Window(channels=1, height=3, width=3, kernel=(2, 2), pads=(0, 0, 0, 2)).covered
    assert Window(channels=1, height=3, width=3, kernel=(3, 2), pads=(2, 1, 2, 1)).covered


def test_no_images():
    window = Window(channels=2, height=4, width=5, kernel=(3, 2))
    assert window.gather(np.zeros((0, 40))).shape == (0, 8, 12)
    assert max_pool(window, np.zeros((0, 40))).shape == (0, 16)


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"channels": 0}, ValueError, r"channels must be 1 to 2147483648, not 0"),
    ({"height": 4.0}, TypeError, r"height must be an integer, not 4\.0"),
    ({"width": 0}, ValueError, r"width must be 1 to 2147483648, not 0"),
    ({"kernel": (3,)}, TypeError, r"kernel must be a tuple of 2 integers, not \(3,\)"),
    ({"kernel": [3, 3]}, TypeError, r"kernel must be a tuple of 2 integers, not \[3, 3\]"),
    ({"kernel": (0, 3)}, ValueError, r"kernel must be 1 to 65536, not 0"),
    ({"strides": (1, 0)}, ValueError, r"strides must be 1 to 65536, not 0"),
    ({"strides": 1}, TypeError, r"strides must be a tuple of 2 integers, not 1"),
    ({"pads": (0, 0)}, TypeError, r"pads must be a tuple of 4 integers, not \(0, 0\)"),
    ({"pads": (0, 0, 0, -1)}, ValueError, r"pads must be 0 to 65536, not -1"),
    ({"kernel": (3, 7)}, ValueError, r"kernel must fit into the padded image, not \(3, 7\)"),
    ({"kernel": (6, 1), "pads": (1, 0, 0, 0)}, ValueError, r"kernel must fit into the padded image, not \(6, 1\)"),
])
def test_window_wrong(changes, error, message):
    with pytest.raises(error, match=rf"^{message}$"):
        Window(**{"channels": 2, "height": 4, "width": 5, "kernel": (2, 2)} | changes)
