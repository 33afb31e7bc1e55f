"""The float record against ONNX Runtime on the same graph: float32 there, float64 here."""

import numpy as np
import onnx
import pytest
from graphs import lower, make_graph, make_model, node, onnx_runtime
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from dovetail.hw.errors import ModelError
from dovetail.sw.intake.lower import to_float_model
from dovetail.sw.model import Head, Quantiser
from dovetail.sw.reader import read_model


def compare(nodes, constants, input_shape, *, batch=2, seed=0, opset=17):
    """Both results on random inputs, close; the model."""
    x = np.random.default_rng(seed).standard_normal((batch, *input_shape)).astype(np.float32)
    expected = onnx_runtime(make_model(nodes, constants, ["n", *input_shape], opset=opset), x)
    model = lower(nodes, constants, ["n", *input_shape], opset=opset)
    found = model.run(x)[-1]
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())
    return model


def parameters(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {f"p{number}": rng.standard_normal(shape).astype(np.float32) for number, shape in enumerate(shapes)}


@pytest.mark.parametrize(("kernel", "attributes"), [
    *(((size, size), {"strides": [stride, stride], "pads": [pad] * 4})
      for size in (1, 2, 3, 5) for stride in (1, 2, 3) for pad in (0, 1, 3)),
    ((2, 3), {"pads": [1, 0, 2, 3], "strides": [1, 2]}), ((1, 5), {}), ((5, 1), {"kernel_shape": [5, 1]}),
    *((kernel, {"auto_pad": mode, "strides": strides}) for kernel in ((3, 3), (2, 2), (4, 1), (2, 5))
      for mode in ("SAME_UPPER", "SAME_LOWER", "VALID") for strides in ([1, 1], [2, 3])),
])
def test_conv(kernel, attributes):
    model = compare([node("Conv", "x p0 p1", **attributes)], parameters((4, 3, *kernel), (4,)), (3, 7, 6))
    assert model.layers[0].op == "Conv"


@pytest.mark.parametrize(("groups", "kernels", "channels"), [(2, 4, 6), (3, 3, 3), (4, 8, 4), (1, 2, 4)])
def test_conv_groups(groups, kernels, channels):
    """Grouped and depthwise convolutions are dense ones with zeros."""
    model = compare([node("Conv", "x p0", group=groups, pads=[1, 1, 1, 1])],
                    parameters((kernels, channels // groups, 3, 3)), (channels, 5, 5))
    assert model.layers[0].mask.mean() == 1 / groups


@pytest.mark.parametrize("attributes", [
    {"dilations": [2, 2]}, {"dilations": [1, 3], "strides": [2, 1], "pads": [1, 0, 2, 3]},
    {"dilations": [3, 2], "group": 2, "auto_pad": "VALID"}])
def test_conv_dilated(attributes):
    """A dilated convolution is one with zeros between its taps."""
    model = compare([node("Conv", "x p0 p1", **attributes)],
                    parameters((4, 4 // attributes.get("group", 1), 3, 2), (4,)), (4, 9, 8))
    assert np.count_nonzero(model.layers[0].mask, axis=1).tolist() == [24 // attributes.get("group", 1)] * 4


@pytest.mark.parametrize("attributes", [
    {}, {"strides": [2], "pads": [2, 1]}, {"auto_pad": "SAME_LOWER"}, {"group": 2}, {"dilations": [3], "group": 2}])
def test_conv_signal(attributes):
    nodes = [node("Conv", "x p0 p1", "c", **attributes), node("Relu", "c", "r"),
             node("MaxPool", "r", "m", kernel_shape=[3], strides=[2], pads=[1, 1])]
    model = compare(nodes, parameters((4, 4 // attributes.get("group", 1), 4), (4,)), (4, 11))
    assert model.layers[0].output_shape[1] == 1


@pytest.mark.parametrize("size", [5, 6, 7, 8])
@pytest.mark.parametrize("attributes", [
    {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": [pad] * 4, "ceil_mode": ceil}
    for kernel, pad in ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)) for stride in (1, 2, 3) for ceil in (0, 1)
] + [{"kernel_shape": [2, 3], "auto_pad": mode, "strides": [2, 2]} for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")])
def test_max_pool(attributes, size):
    nodes = [node("Conv", "x p0 p1", "c"), node("MaxPool", "c", "m", **attributes), node("Relu", "m")]
    compare(nodes, parameters((2, 1, 1, 1), (2,)), (1, size, size))


@pytest.mark.parametrize("attributes", [
    {"kernel_shape": [2, 2]}, {"kernel_shape": [2, 2], "strides": [2, 2]}, {"kernel_shape": [3, 2], "strides": [1, 2]},
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, {"kernel_shape": [3, 3], "ceil_mode": 0},
])
@pytest.mark.parametrize("place", ["alone", "behind", "before", "dense", "padded"])
def test_average_pool(attributes, place):
    """An average is a layer of its own, or is merged into the linear layer beside it."""
    pool = node("AveragePool", "{}", "a", **attributes)
    relu = [node("Conv", "x p0 p1", "c0", pads=[1, 1, 1, 1]), node("Relu", "c0", "r")]
    nodes = {
        "alone": [pool], "behind": [node("Conv", "x p0 p1", "c"), pool, node("Relu", "a")],
        "before": [*relu, pool, node("Conv", "a p2 p3", "c")],
        "dense": [*relu, pool, node("Flatten", "a", "f"), node("Gemm", "f p4")],
        "padded": [*relu, pool, node("Conv", "a p2", "c", pads=[1, 0, 1, 2])],
    }[place]
    pool.input[0] = nodes[nodes.index(pool) - 1].output[0] if place != "alone" else "x"
    rows = [(6 + 2 * attributes.get("pads", [0])[0] - k) // s + 1
            for k, s in zip(attributes["kernel_shape"], attributes.get("strides", [1, 1]), strict=True)]
    constants = parameters((3, 2, 3, 3), (3,), (4, 3, 2, 2), (4,), (3 * rows[0] * rows[1], 5))
    side_by_side = attributes["kernel_shape"] == attributes.get("strides")
    if place == "padded" and not side_by_side or place == "behind" and "pads" in attributes:
        # What lies between both is padded, and that is not the same as padding the image.
        second, first = ("c_n' \\(Conv", "a_n") if place == "padded" else ("a_n' \\(AveragePool", "c_n")
        with pytest.raises(ModelError, match=rf"^node '{second}\) follows the linear layer '{first}' with no Relu in "
                                             r"between; the nearest supported form is one layer with the product of "
                                             r"both weights$"):
            compare(nodes, constants, (2, 6, 6))
        return
    model = compare(nodes, constants, (2, 6, 6))
    assert [layer.op for layer in model.layers] == {
        "alone": ["AveragePool"], "behind": ["Conv"], "before": ["Conv", "Conv"], "dense": ["Conv", "Gemm"],
        "padded": ["Conv", "Conv"]}[place]


@pytest.mark.parametrize("mean", [
    node("GlobalAveragePool", "r", "g"), node("ReduceMean", "r", "g", axes=[2, 3]),
    node("ReduceMean", "r", "g", axes=[-1, -2], keepdims=0)])
@pytest.mark.parametrize("first", [True, False])
def test_global_average(mean, first):
    nodes = [node("Conv", "x p0 p1", "r" if first else "c", pads=[1, 0, 1, 0])]
    nodes += [] if first else [node("Relu", "c", "r")]
    nodes += [mean, node("Flatten", "g", "f"), *([node("Relu", "f")] if first else [node("Gemm", "f p2")])]
    model = compare(nodes, parameters((3, 2, 3, 3), (3,), (3, 5)), (2, 6, 5))
    assert [layer.op for layer in model.layers] == (["Conv"] if first else ["Conv", "Gemm"])


def test_pad():
    """Zeros around an image become the pads of the convolution."""
    constants = parameters((3, 2, 3, 3)) | {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])}
    nodes = [node("Pad", "x pads", "p"), node("Conv", "p p0", pads=[0, 1, 0, 1])]
    model = compare(nodes, constants, (2, 5, 5))
    assert model.layers[0].window.pads == (1, 3, 3, 1)
    compare([nodes[0], node("AveragePool", "p", kernel_shape=[2, 2])], constants, (2, 5, 5))
    compare([nodes[0], node("Conv", "p p0", auto_pad="SAME_UPPER", strides=[2, 2])], constants, (2, 5, 5))


def norm(rng, channels):
    return {"gamma": rng.uniform(0.5, 1.5, channels).astype(np.float32),
            **{name: rng.normal(0, 1, channels).astype(np.float32) for name in ("beta", "mean")},
            "var": rng.uniform(0.5, 1.5, channels).astype(np.float32)}


NORM = " gamma beta mean var"


def test_batch_normalization_anywhere():
    """Before the first layer, behind a linear step, across MaxPool, and before the next layer."""
    rng = np.random.default_rng(1)
    constants = parameters((3, 3, 3, 3), (3,), (12, 5), seed=1) | norm(rng, 3)
    conv, gemm = node("Conv", "c0 p0 p1", "c"), [node("Flatten", "f0", "f"), node("Gemm", "f p2", "g")]
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    for nodes in (
        [node("BatchNormalization", "x" + NORM, "c0"), conv, node("Relu", "c", "r"),
         node("MaxPool", "r", "f0", **pool)],
        [node("Conv", "x p0 p1", "c"), node("BatchNormalization", "c" + NORM, "b"), node("MaxPool", "b", "m", **pool),
         node("Relu", "m", "f0")],
        [node("Conv", "x p0 p1", "c"), node("MaxPool", "c", "m", **pool), node("BatchNormalization", "m" + NORM, "b"),
         node("Relu", "b", "f0")],
        [node("Conv", "x p0 p1", "c"), node("Relu", "c", "r"), node("BatchNormalization", "r" + NORM, "b"),
         node("MaxPool", "b", "f0", **pool)],
        [node("Conv", "x p0 p1", "c"), node("Clip", "c - six", "u"), node("MaxPool", "u", "m", **pool),
         node("Relu", "m", "r"), node("BatchNormalization", "r" + NORM, "f0")],
    ):
        model = compare([*nodes, *gemm], constants | {"six": np.array(0.7, np.float32)}, (3, 6, 6))
        assert len(model.layers) == 2


def test_sizes_of_values(tmp_path):
    """A Reshape whose target is put together from Shape, Gather, Unsqueeze and Concat."""
    constants = parameters((12, 5)) | {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    nodes = [node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n axes", "n1"),
             node("Concat", "n1 rest", "t", axis=0), node("Reshape", "x t", "f"), node("Gemm", "f p0", "g")]
    compare(nodes, constants, (3, 2, 2))
    one = make_graph(make_model(nodes, constants, [1, 3, 2, 2]))
    assert to_float_model(one, sha256="").layers[0].kernels == 5


@pytest.mark.parametrize("name", ["kws_mlp", "kws_cnn", "fashion_mlp_unstructured"])
def test_trained(shared_models, name):
    path = shared_models / f"{name}.onnx"
    with np.load(shared_models / f"{name}_test.npz") as data:
        x = (data["x"][:16] * data["scale"]).astype(np.float32)
    model = read_model(path)
    onnx_model = onnx.load(path)
    x = x.reshape(len(x), *model.input_shape)
    expected = onnx_runtime(onnx_model, x)
    assert_allclose(model.run(x)[-1], expected, rtol=1e-3, atol=1e-5 * abs(expected).max())
    assert not model.quantised


class Reader(CalibrationDataReader):
    """Calibration data in one batch."""

    def __init__(self, x):
        self.batches = iter([{"x": x}])

    def get_next(self):
        return next(self.batches, None)


def quantised(tmp_path, nodes, constants, input_shape, *, seed=0, **arguments):
    """Quantise a model with ONNX Runtime; its file, and inputs."""
    model = make_model(nodes, constants, ["n", *input_shape])
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None))
    model = onnx.shape_inference.infer_shapes(model)
    onnx.save(model, tmp_path / "float.onnx")
    x = np.random.default_rng(seed).standard_normal((512, *input_shape)).astype(np.float32)
    quantize_static(tmp_path / "float.onnx", tmp_path / "q.onnx", Reader(x[:256]), quant_format=QuantFormat.QDQ,
                    weight_type=QuantType.QInt8, **arguments)
    return tmp_path / "q.onnx", x


def same_codes(path, x):
    """Compare the last quantiser's codes: never more than one apart, and 99.9 % equal; the model."""
    model = read_model(path)
    expected = onnx_runtime(onnx.load(path), x)
    found = model.run(x)[-1]
    assert model.quantised
    (last,) = model.layers[-1].quantisers[-1:]
    apart = abs(np.rint(found / last.scale) - np.rint(expected / last.scale))
    assert apart.max() <= 1
    assert (apart == 0).mean() >= 0.999
    return model


MLP = [node("Flatten", "x", "f"), node("Gemm", "f p0 p1", "g0", transB=1), node("Relu", "g0", "r0"),
       node("MatMul", "r0 p2", "m"), node("Add", "m p3", "a"), node("Relu", "a", "r1"),
       node("Gemm", "r1 p4 p5", "g2", transB=1)]
CNN = [node("Conv", "x p0 p1", "c0", pads=[1, 1, 1, 1]), node("Relu", "c0", "r0"),
       node("MaxPool", "r0", "m0", kernel_shape=[2, 2], strides=[2, 2]), node("Conv", "m0 p2 p3", "c1"),
       node("Relu", "c1", "r1"), node("GlobalAveragePool", "r1", "g"), node("Flatten", "g", "f"),
       node("Gemm", "f p4 p5", "out", transB=1)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")   # ONNX Runtime's quantiser calls old helpers of onnx
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activation", [QuantType.QUInt8, QuantType.QInt8])
def test_quantize_static(tmp_path, activation, per_channel):
    arguments = {"activation_type": activation, "per_channel": per_channel}
    path, x = quantised(tmp_path, MLP, parameters((32, 24), (32,), (32, 16), (16,), (10, 16), (10,)), (2, 3, 4),
                        **arguments)
    model = same_codes(path, x)
    assert [len(layer.quantisers) for layer in model.layers] == [1, 2, 1]   # one between MatMul and Add
    path, x = quantised(tmp_path, CNN, parameters((8, 1, 3, 3), (8,), (6, 8, 2, 2), (6,), (5, 6), (5,)), (1, 8, 8),
                        **arguments)
    model = same_codes(path, x)
    assert [layer.op for layer in model.layers] == ["Conv", "Conv", "GlobalAveragePool", "Gemm"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")   # ONNX Runtime's quantiser calls old helpers of onnx
@pytest.mark.parametrize(("activation", "per_channel"), [(QuantType.QUInt8, False), (QuantType.QInt8, True)])
def test_quantize_static_trained(tmp_path, shared_models, activation, per_channel):
    """A network with k-WTA: quantisers around TopK that repeat each other are one."""
    with np.load(shared_models / "kws_mlp_test.npz") as data:
        x = (data["x"] * data["scale"]).astype(np.float32).reshape(-1, 1, 32, 32)
    reader = Reader(None)
    reader.batches = iter([{"input": x[:64]}])
    quantize_static(shared_models / "kws_mlp.onnx", tmp_path / "q.onnx", reader, quant_format=QuantFormat.QDQ,
                    activation_type=activation, weight_type=QuantType.QInt8, per_channel=per_channel)
    model = same_codes(tmp_path / "q.onnx", x)
    assert [[type(step).__name__ for step in layer.steps] for layer in model.layers] == [
        ["Quantiser", "Affine", "Quantiser", "Winners"]] * 2 + [["Quantiser"]]
    assert isinstance(model.input_quantiser, Quantiser)


def test_exact():
    """Where all scales are powers of two, nothing is rounded twice, and the outputs are equal."""
    rng = np.random.default_rng(3)
    constants = {
        "w0": rng.integers(-127, 128, (16, 12)).astype(np.int8), "w1": rng.integers(-127, 128, (4, 16)).astype(np.int8),
        "b0": rng.integers(-500, 500, 16).astype(np.int32), "s6": np.array(2**-6, np.float32),
        "s4": np.array(2**-4, np.float32), "s2": np.array(2**-2, np.float32), "s10": np.array(2**-10, np.float32),
        "i0": np.array(0, np.int8), "z0": np.array(0, np.uint8), "z9": np.array(9, np.uint8),
        "z128": np.array(128, np.uint8),
    }
    nodes = [node("QuantizeLinear", "x s4 z128", "xq"), node("DequantizeLinear", "xq s4 z128", "xd"),
             node("DequantizeLinear", "w0 s6 i0", "w0d"), node("DequantizeLinear", "b0 s10", "b0d"),
             node("Gemm", "xd w0d b0d", "g", transB=1), node("Relu", "g", "r"),
             node("QuantizeLinear", "r s2 z0", "rq"), node("DequantizeLinear", "rq s2 z0", "rd"),
             node("DequantizeLinear", "w1 s6 i0", "w1d"), node("Gemm", "rd w1d", "h", transB=1),
             node("QuantizeLinear", "h s2 z9", "hq"), node("DequantizeLinear", "hq s2 z9", "hd")]
    x = (rng.integers(-5000, 5000, (500, 12)) / 512).astype(np.float32)
    model = lower(nodes, constants, ["n", 12])
    assert_array_equal(model.run(x)[-1], onnx_runtime(make_model(nodes, constants, ["n", 12]), x))
    assert_array_equal(model.layers[0].codes, constants["w0"])
    assert (model.input_quantiser.low, model.input_quantiser.high) == (-128, 127)
    assert (model.layers[1].quantisers[0].low, model.layers[1].quantisers[0].high) == (-9, 246)


def test_tfc(shared_models, shared_data):
    """A public network of one-bit weights and two-bit activations, whose published accuracy is 94.79 %.

    Its scores are integers but for one scale, so 35 of the 10,000 images have several best ones: the accuracy is 94.61
    to 94.89 %, by how ties are broken, and 94.74 % where they go to the lower index.
    """
    model = read_model(shared_models / "TFC_1W2A.onnx")
    with np.load(shared_data / "mnist_test.npz") as data:
        x, y = data["x"], data["y"]
    assert model.quantised and model.head is None
    scores = model.run(x.reshape(len(x), *model.input_shape) / 255)[-1]
    assert (scores.argmax(axis=1) == y).sum() == 9474
    best = np.isclose(scores, scores.max(axis=1, keepdims=True), rtol=0, atol=1e-9)
    right, alone = best[np.arange(len(y)), y], best.sum(axis=1) == 1
    assert ((right & alone).sum(), right.sum()) == (9461, 9489)


def test_qkeras(shared_models):
    model = read_model(shared_models / "qkeras_jettagging.onnx")
    assert [layer.weights.shape for layer in model.layers] == [(64, 16), (32, 64), (32, 32), (5, 32)]
    assert (model.quantised, model.input_quantiser, model.head) == (True, None, Head.SOFTMAX)
    for layer in model.layers[:-1]:
        (step,) = layer.quantisers
        assert (step.scale, step.low, step.high) == (2**-6, 0, 63)
        assert_array_equal(layer.scale, 2**-5)
