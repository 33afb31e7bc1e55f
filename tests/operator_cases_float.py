"""Cases of operators that compute, and of those that change nothing; see `operator_cases`."""

from collections.abc import Iterator

from graphs import node
from onnx import TensorProto, helper
from operator_builders import (
    CHOOSE,
    CLAYER,
    CONV,
    GEMM,
    HOT,
    IMAGE,
    LAST,
    LAYER,
    LEAST,
    MUL,
    OVER,
    QGEMM,
    QLAYER,
    SCATTER,
    SIGNAL,
    SUM,
    TOPK,
    VOLUME,
    WD,
    XQ,
    ZEROS,
    Case,
    Result,
    floats,
    refused,
    taken,
    weights,
)

__all__ = ["activations", "arithmetic", "constants", "heads", "layers", "pools", "renames", "winners"]


def layers() -> Iterator[Case]:
    """What multiplies by weights."""
    yield taken("Gemm", "constant weights, constant bias or none", Result.LAYER, [GEMM])
    yield taken("Gemm", "`transB` 0", Result.LAYER, [node("Gemm", "x w b", transB=0)])
    yield taken("Gemm", "`transB` 1", Result.LAYER, [node("Gemm", "x wt b", transB=1)])
    yield taken("Gemm", "`alpha`, `beta`", Result.LAYER, [node("Gemm", "x w b", alpha=0.5, beta=-2.0)])
    yield taken("Gemm", "`transA` 0", Result.LAYER, [node("Gemm", "x w", transA=0)])
    yield refused("Gemm", "`transA` 1", [node("Gemm", "x w", transA=1)],
                  "must have the computed value, not transposed, as its first input")
    yield refused("Gemm", "the computed value as second input", [node("Gemm", "w x")],
                  "must have the computed value, not transposed, as its first input")
    yield refused("Gemm", "an image", [node("Gemm", "x w")],
                  "must take a flat vector, not the shape (3, 4, 4); put a Flatten with axis 1 before it", x=IMAGE)
    yield refused("Gemm", "NaN or infinity in weights or bias", [node("Gemm", "x nan")],
                  "has NaN or infinity in its input 1")
    yield refused("Gemm", "two layers with nothing in between, in floating point", [GEMM, node("Gemm", "g v")],
                  "follows the linear layer 'g_n' with no Relu in between; the nearest supported form is one layer "
                  "with the product of both weights")
    yield taken("MatMul", "constant weights (L, M)", Result.LAYER, [node("MatMul", "x w")])
    yield taken("MatMul", "of a vector with axes of size 1 before it", Result.LAYER, [node("MatMul", "x w")], x=(1, 4))
    yield refused("MatMul", "the computed value as second input", [node("MatMul", "w x")],
                  "must have the computed value as its first input")
    yield refused("MatMul", "weights of one, three or more axes", [node("MatMul", "x w1")],
                  "must have weights of two dimensions, not of shape (1, 4, 3)")
    yield refused("MatMul", "an image", [node("MatMul", "x w")],
                  "must take a flat vector, not the shape (3, 4, 4); put a Flatten with axis 1 before it", x=IMAGE)
    yield refused("MatMul", "NaN or infinity in weights", [node("MatMul", "x nan")],
                  "has NaN or infinity in its input 1")
    yield taken("Conv", "2-D, constant weights, constant bias or none", Result.LAYER, [node("Conv", "x k2 kb")],
                x=IMAGE)
    yield taken("Conv", "1-D", Result.LAYER, [node("Conv", "x k1 kb")], x=SIGNAL)
    yield taken("Conv", "`kernel_shape` that of the weights, `strides`, `pads`", Result.LAYER,
                [node("Conv", "x k", kernel_shape=[3, 3], strides=[2, 1], pads=[1, 0, 1, 2])], x=IMAGE)
    for mode in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        yield taken("Conv", f"`auto_pad` {mode}", Result.LAYER, [node("Conv", "x k2", auto_pad=mode)], x=IMAGE)
    yield taken("Conv", "`group`: zeros between the groups", Result.LAYER, [node("Conv", "x kg", group=3)], x=IMAGE)
    yield taken("Conv", "`dilations` 1", Result.LAYER, [node("Conv", "x k2", dilations=[1, 1])], x=IMAGE)
    yield taken("Conv", "other `dilations`: zeros between the taps", Result.LAYER,
                [node("Conv", "x k2", dilations=[2, 1], strides=[1, 2], pads=[1, 0, 1, 0])], x=IMAGE)
    yield taken("Conv", "`group` and `dilations` together", Result.LAYER,
                [node("Conv", "x kg", group=3, dilations=[2, 3])], x=IMAGE)
    yield refused("Conv", "3-D", [node("Conv", "x k3")],
                  "must take an image (channels, height, width) or a signal (channels, width), not the shape (3, 4, "
                  "4, 4); windows over three axes are not supported", x=VOLUME)
    yield refused("Conv", "the computed value as second input", [node("Conv", "k x")],
                  "must have the computed value as its first input", x=IMAGE)
    yield refused("Conv", "NaN or infinity in weights or bias", [node("Conv", "x knan")],
                  "has NaN or infinity in its input 1", x=IMAGE)


def arithmetic() -> Iterator[Case]:
    """What folds into the weights and biases beside it."""
    for op, what in (("Add", "x + c"), ("Sub", "x - c"), ("Mul", "x * c"), ("Div", "x / c")):
        yield taken(op, f"{what} behind a layer: into its weights and bias", Result.FOLDED, [GEMM, node(op, "g gain")])
        yield taken(op, f"{what} behind ReLU: into the next layer", Result.FOLDED,
                    [*LAYER, node(op, "r gain", "y"), LAST])
        yield taken(op, f"{what} on the input, one number: done by the host", Result.FOLDED,
                    [node(op, "x two"), node("Gemm", f"{op.lower()} w b")])
        yield taken(op, "on constants", Result.FOLDED, weights(node(op, "w gain", "t")))
        yield refused(op, "of two computed values (a residual connection)", [*LAYER, node(op, "r g")],
                      "must take one computed value, that of the node before it: the nearest supported form is a "
                      "straight line of layers without branches")
        yield refused(op, "NaN or infinity in the constant", [GEMM, node(op, "g nans")],
                      "has NaN or infinity in its input 1")
    yield taken("Sub", "c - x", Result.FOLDED, [GEMM, node("Sub", "gain g")])
    yield refused("Div", "a constant that is zero somewhere", [GEMM, node("Div", "g zero")],
                  "must divide by a constant that is nowhere zero")
    yield refused("Div", "c / x", [GEMM, node("Div", "one g")],
                  "must divide by a constant that is nowhere zero")
    yield refused("Mul", "a constant that varies over the pixels, beside a Conv", [CONV, node("Mul", "c spots")],
                  "must have one number a kernel of 'c_n', not one that varies over the pixels", x=IMAGE)
    parameters = "gamma beta mean var"
    yield taken("BatchNormalization", "behind a layer: into its weights and bias", Result.FOLDED,
                [GEMM, node("BatchNormalization", f"g {parameters}")])
    yield taken("BatchNormalization", "behind ReLU: into the next layer", Result.FOLDED,
                [*LAYER, node("BatchNormalization", f"r {parameters}", "y"), LAST])
    yield taken("BatchNormalization", "on the input: into the first layer", Result.FOLDED,
                [node("BatchNormalization", f"x {parameters}", "y"), node("Conv", "y k2")], x=IMAGE)
    yield taken("BatchNormalization", "`epsilon`; `momentum` has no effect", Result.FOLDED,
                [GEMM, node("BatchNormalization", f"g {parameters}", epsilon=0.25, momentum=0.5)])
    yield taken("BatchNormalization", "`training_mode` 0", Result.FOLDED,
                [GEMM, node("BatchNormalization", f"g {parameters}", training_mode=0)])
    yield refused("BatchNormalization", "`training_mode` 1",
                  [GEMM, node("BatchNormalization", f"g {parameters}", "y m s", training_mode=1)],
                  "must not be in training mode: export the model for inference")
    yield refused("BatchNormalization", "variances below zero",
                  [GEMM, node("BatchNormalization", "g gamma beta mean negative")],
                  "must have positive variances")
    yield refused("BatchNormalization", "NaN or infinity in parameters",
                  [GEMM, node("BatchNormalization", "g gamma beta mean nans")],
                  "has NaN or infinity in its input 4")
    yield refused("BatchNormalization", "before a Conv with pads, where it adds something",
                  [node("BatchNormalization", f"x {parameters}", "y"), node("Conv", "y k2", pads=[1, 1, 1, 1])],
                  "must not add anything before 'conv_n', whose padding is zero behind it; the nearest supported form "
                  "has no pads there, or a Conv without it", x=IMAGE)
    yield taken("Pow", "on constants", Result.FOLDED, weights(node("Pow", "w two", "t")))
    yield taken("Sqrt", "on constants", Result.FOLDED, [node("Sqrt", "var", "t"), GEMM, node("Div", "g t")])
    yield taken("Neg", "on constants", Result.FOLDED, weights(node("Neg", "w", "t")))
    for op in ("Pow", "Sqrt", "Neg"):
        yield refused(op, "of the computed value", [GEMM, node(op, "g two" if op == "Pow" else "g")],
                      "is supported on constants only; the nearest supported form is a straight line of layers")


def activations() -> Iterator[Case]:
    """What is done to every sum."""
    yield taken("Relu", "behind a layer", Result.STEP, [*LAYER])
    yield taken("Relu", "a second time", Result.FOLDED, [GEMM, node("Clip", "g zero six", "r"), node("Relu", "r")])
    yield refused("Relu", "on the input", [node("Relu", "x", "r"), node("Gemm", "r w")],
                  "must follow a Gemm, MatMul or Conv")
    yield taken("Clip", "constant bounds, from 0 on", Result.STEP, [GEMM, node("Clip", "g zero six")])
    yield taken("Clip", "the same, with `min` and `max` as attributes (before opset 11)", Result.STEP,
                [GEMM, node("Clip", "g", min=0.0, max=6.0)], opset=9)
    yield taken("Clip", "other bounds, in a file that states integers", Result.STEP,
                [*QLAYER, node("Clip", "g minus one", "h"), node("QuantizeLinear", "h s1 z0", "q"),
                 node("DequantizeLinear", "q s1 z0")])
    yield taken("Clip", "of codes, between QuantizeLinear and DequantizeLinear: fewer codes", Result.FOLDED,
                [XQ, node("Clip", "xq lo hi", "xc"), node("DequantizeLinear", "xc s z", "xd"), WD, QGEMM])
    yield taken("Clip", "no bounds", Result.FOLDED, [GEMM, node("Clip", "g")])
    yield taken("Clip", "on constants", Result.FOLDED, weights(node("Clip", "w minus two", "t")))
    yield refused("Clip", "another lower bound, in floating point", [GEMM, node("Clip", "g minus one")],
                  "must clip from 0 on, not from -1.0; the nearest supported form is Relu, or a Clip with min 0")
    yield refused("Clip", "bounds the wrong way round", [GEMM, node("Clip", "g six one")],
                  "must have a min that is at most its max, not 6.0 and 1.0")
    yield refused("Clip", "a bound that is computed", [GEMM, node("Clip", "six g")],
                  "must have a constant number as min")
    yield taken("Max", "the computed value and 0", Result.STEP, [GEMM, node("Max", "g zero")])
    yield taken("Min", "behind ReLU, a constant number: both are one step", Result.FOLDED,
                [*LAYER, node("Min", "r six", "y"), LAST])
    for op in ("Max", "Min"):
        yield taken(op, "on constants", Result.FOLDED, weights(node(op, "w zero", "t")))
        yield refused(op, "of two computed values", [*LAYER, node(op, "r g")],
                      "must take one computed value, that of the node before it: the nearest supported form is a "
                      "straight line of layers without branches")
        yield refused(op, "of a constant that varies", [GEMM, node(op, "g gain")],
                      "must have one number for all elements; the nearest supported form is Clip with constant bounds")
        yield refused(op, "of one, three or more inputs", [GEMM, node(op, "g zero zero")],
                      "must have two inputs, not 3; the nearest supported form is Clip with constant bounds")
    yield refused("Min", "without a ReLU, in floating point", [GEMM, node("Min", "g six")],
                  "must clip from 0 on, not from -inf; the nearest supported form is Relu, or a Clip with min 0")


def renames() -> Iterator[Case]:
    """What changes nothing, or names only."""
    yield taken("Identity", "anywhere", Result.FOLDED, [node("Identity", "x", "i"), node("Gemm", "i w")])
    yield taken("Dropout", "ratio as input, `seed`: of no effect", Result.FOLDED,
                [GEMM, node("Dropout", "g half false", seed=1)])
    yield taken("Dropout", "`ratio` as attribute (before opset 12)", Result.FOLDED,
                [GEMM, node("Dropout", "g", ratio=0.25)], opset=11)
    yield refused("Dropout", "training mode", [GEMM, node("Dropout", "g half true")],
                  "must not be in training mode: export the model for inference")
    yield taken("Flatten", "`axis` 1, or what means 1", Result.FOLDED,
                [node("Flatten", "x", "f", axis=-3), node("Gemm", "f deep")], x=IMAGE)
    yield taken("Flatten", "on constants, any `axis`", Result.FOLDED, weights(node("Flatten", "w1", "t", axis=2)))
    yield refused("Flatten", "another `axis`", [node("Flatten", "x", "f", axis=2), node("Gemm", "f deep")],
                  "must have axis 1, not 2", x=IMAGE)
    for zero, shape in ((0, "keep"), (1, "rows")):
        yield taken("Reshape", f"of all but the batch, `allowzero` {zero}", Result.FOLDED,
                    [node("Reshape", f"x {shape}", "f", allowzero=zero), node("Gemm", "f w")], x=(2, 2))
    yield taken("Reshape", "to a shape put together from Shape", Result.FOLDED,
                [node("Shape", "x", "s0"), node("Gather", "s0 scalar", "s5"), node("Unsqueeze", "s5 n0", "s6"),
                 node("Concat", "s6 last", "to", axis=0), node("Reshape", "x to", "f"), node("Gemm", "f w")], x=(2, 2))
    yield taken("Reshape", "on constants", Result.FOLDED, weights(node("Reshape", "w1 shape", "t")))
    yield refused("Reshape", "a change of the batch", [node("Reshape", "x merge", "f"), node("Gemm", "f w")],
                  "must keep the batch, not turn ('batch', 2, 2) into [4, -1]; the nearest supported form is Flatten "
                  "with axis 1", x=(2, 2))
    yield taken("Squeeze", "axes of size 1 behind the batch", Result.FOLDED,
                [node("Squeeze", "x n1", "f"), node("Gemm", "f w")], x=(1, 4))
    yield taken("Squeeze", "`axes` as attribute (before opset 13)", Result.FOLDED,
                [node("Squeeze", "x", "f", axes=[1]), node("Gemm", "f w")], x=(1, 4), opset=11)
    yield taken("Squeeze", "on constants", Result.FOLDED, weights(node("Squeeze", "w1", "t")))
    yield refused("Squeeze", "without axes", [node("Squeeze", "x", "f"), node("Gemm", "f w")],
                  "must name its axes, since without them a batch of 1 vanishes too; the nearest supported form is "
                  "Flatten with axis 1", x=(1, 4))
    yield refused("Squeeze", "the batch", [node("Squeeze", "x n0", "f"), node("Gemm", "f w")],
                  "must have axes of 1 to 2 that leave the batch alone, not [0]; the nearest supported form is "
                  "Flatten with axis 1", x=(1, 4))
    yield taken("Unsqueeze", "axes behind the batch", Result.FOLDED,
                [node("Unsqueeze", "x n1", "f"), node("MatMul", "f w")])
    yield taken("Unsqueeze", "`axes` as attribute (before opset 13)", Result.FOLDED,
                [node("Unsqueeze", "x", "f", axes=[1]), node("MatMul", "f w")], opset=11)
    yield taken("Unsqueeze", "on constants", Result.FOLDED, [node("Unsqueeze", "b n0", "t"), node("Gemm", "x w t")])
    yield refused("Unsqueeze", "before the batch", [node("Unsqueeze", "x n0")],
                  "must have axes of 1 to 2 that leave the batch alone, not [0]; the nearest supported form is "
                  "Flatten with axis 1")
    yield taken("Transpose", "`perm` that moves axes of size 1 only", Result.FOLDED,
                [node("Transpose", "x", "f", perm=[0, 2, 1]), node("MatMul", "f w")], x=(4, 1))
    yield taken("Transpose", "undone by the next one", Result.FOLDED,
                [node("Transpose", "x", "p", perm=[0, 2, 3, 1]), node("Transpose", "p", "f", perm=[0, 3, 1, 2]),
                 node("Conv", "f k2")], x=IMAGE)
    yield taken("Transpose", "flattened, before Gemm or MatMul: into the weights", Result.FOLDED,
                [*CLAYER, node("Transpose", "r", "p", perm=[0, 2, 3, 1]), node("Flatten", "p", "f"),
                 node("Gemm", "f wide")], x=(3, 3, 3))
    yield taken("Transpose", "on constants, any `perm`", Result.FOLDED,
                weights(node("Transpose", "wt", "t", perm=[1, 0])))
    yield refused("Transpose", "another order of the elements",
                  [node("Transpose", "x", "f", perm=[0, 2, 1]), node("MatMul", "f w")],
                  "must only move axes of size 1, or be undone by the next Transpose; the nearest supported form has "
                  "the channels first throughout", x=(4, 2))
    for name in ("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"):
        yield taken("Cast", f"`to` {name}", Result.FOLDED,
                    [node("Cast", "x", "h", to=TensorProto.DataType.Value(name)), node("Cast", "h", "f", to=1),
                     node("Gemm", "f w")], kind=TensorProto.UINT8)
    yield taken("Cast", "`saturate`, `round_mode`: of no effect", Result.FOLDED,
                [node("Cast", "x", "f", to=1, saturate=1, round_mode="up"), node("Gemm", "f w")], opset=25,
                runtime=False)
    yield taken("Cast", "on constants, also to BOOL and integers of 8 to 64 bits", Result.FOLDED,
                weights(node("Cast", "wi", "t", to=1)))
    yield refused("Cast", "the computed value to integers", [node("Cast", "x", to=7)],
                  "must cast to floating point: the nearest supported form of rounding is QuantizeLinear")
    yield refused("Cast", "to another type", weights(node("Cast", "w", "t", to=8)),
                  "must cast to numbers of 8 to 64 bits, not to STRING")


def pools() -> Iterator[Case]:
    """Windows without weights of their own."""
    for op in ("MaxPool", "AveragePool"):
        result = Result.STEP if op == "MaxPool" else Result.LAYER
        pool = CLAYER if op == "MaxPool" else []
        of, shape = ("r", (3, 5, 5)) if op == "MaxPool" else ("x", IMAGE)
        yield taken(op, "2-D, `kernel_shape`, `strides`", result,
                    [*pool, node(op, of, kernel_shape=[2, 2], strides=[2, 2])], x=shape)
        yield taken(op, "1-D", result, [*([node("Conv", "x k1", "r")] if pool else []), node(op, of, kernel_shape=[2])],
                    x=SIGNAL)
        for mode in ("NOTSET", "VALID"):
            yield taken(op, f"`auto_pad` {mode}", result, [*pool, node(op, of, kernel_shape=[2, 2], auto_pad=mode)],
                        x=shape)
        yield refused(op, "other `dilations`", [*pool, node(op, of, kernel_shape=[2, 2], dilations=[2, 1])],
                      "must have dilations 1, not [2, 1]; the nearest supported form takes every pixel of its window",
                      x=shape, opset=21)
        yield taken(op, "`dilations` 1", result, [*pool, node(op, of, kernel_shape=[2, 2], dilations=[1, 1])], x=shape,
                    opset=21)
        yield refused(op, "3-D", [node(op, "x", kernel_shape=[2, 2, 2])],
                      "must take an image (channels, height, width) or a signal (channels, width), not the shape (3, "
                      "4, 4, 4); windows over three axes are not supported", x=VOLUME)
    yield taken("MaxPool", "`pads` smaller than the kernel", Result.STEP,
                [*CLAYER, node("MaxPool", "r", kernel_shape=[3, 3], pads=[1, 1, 0, 1])], x=(3, 5, 5))
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        yield taken("MaxPool", f"`auto_pad` {mode}", Result.STEP,
                    [*CLAYER, node("MaxPool", "r", kernel_shape=[2, 2], auto_pad=mode)], x=IMAGE)
    for ceil in (0, 1):
        yield taken("MaxPool", f"`ceil_mode` {ceil}", Result.STEP,
                    [*CLAYER, node("MaxPool", "r", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=ceil)], x=IMAGE)
    yield taken("MaxPool", "`storage_order` 0 or 1: it says how indices count, and those are not read", Result.STEP,
                [*CLAYER, node("MaxPool", "r", kernel_shape=[2, 2], storage_order=1)], x=IMAGE)
    yield refused("MaxPool", "its indices",
                  [*CLAYER, node("MaxPool", "r", "y i", kernel_shape=[2, 2]), node("Cast", "i", to=1)],
                  "must take one computed value, that of the node before it: the nearest supported form is a straight "
                  "line of layers without branches", x=IMAGE, by="Cast")
    yield refused("MaxPool", "on the input", [node("MaxPool", "x", "y", kernel_shape=[2, 2]), node("Conv", "y k2")],
                  "must follow a Conv or AveragePool, not the input of the model", x=IMAGE)
    yield refused("MaxPool", "two in a row, in floating point",
                  [*CLAYER, node("MaxPool", "r", "y", kernel_shape=[2, 2]), node("MaxPool", "y", kernel_shape=[2, 2])],
                  "must follow a layer once; the nearest supported form is one MaxPool with a larger kernel",
                  x=(3, 5, 5))
    yield taken("AveragePool", "beside a Conv or Gemm, in floating point: into its weights", Result.FOLDED,
                [node("AveragePool", "x", "a", kernel_shape=[2, 2], strides=[2, 2]), node("Conv", "a k2")], x=IMAGE)
    yield taken("AveragePool", "`pads` with `count_include_pad` 1", Result.LAYER,
                [node("AveragePool", "x", kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)], x=IMAGE)
    yield taken("AveragePool", "`ceil_mode` 0", Result.LAYER,
                [node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=0)], x=IMAGE)
    yield taken("AveragePool", "`ceil_mode` 1 where every window is whole", Result.LAYER,
                [node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], x=IMAGE)
    yield refused("AveragePool", "`ceil_mode` 1 where one is not",
                  [node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
                  "must count what it pads, and not pad for ceil_mode: the nearest supported form has "
                  "count_include_pad 1 and ceil_mode 0, or no pads", x=IMAGE)
    yield refused("AveragePool", "`pads` that it does not count",
                  [node("AveragePool", "x", kernel_shape=[2, 2], pads=[1, 1, 1, 1])],
                  "must count what it pads, and not pad for ceil_mode: the nearest supported form has "
                  "count_include_pad 1 and ceil_mode 0, or no pads", x=IMAGE)
    yield taken("GlobalAveragePool", "of an image or a signal", Result.LAYER, [node("GlobalAveragePool", "x")], x=IMAGE)
    yield taken("GlobalAveragePool", "beside a Conv or Gemm, in floating point: into its weights", Result.FOLDED,
                [CONV, node("GlobalAveragePool", "c")], x=IMAGE)
    yield refused("GlobalAveragePool", "of a vector", [node("GlobalAveragePool", "x")],
                  "must take an image or a signal, not the shape (4,)")
    for kept in (0, 1):
        yield taken("ReduceMean", f"`axes` (as attribute before opset 18): all behind the channels; `keepdims` {kept}",
                    Result.LAYER, [node("ReduceMean", "x", axes=[2, 3], keepdims=kept)], x=IMAGE)
    yield taken("ReduceMean", "axes as input, `noop_with_empty_axes` 0", Result.LAYER,
                [node("ReduceMean", "x axes", noop_with_empty_axes=0)], x=IMAGE, opset=18)
    yield refused("ReduceMean", "other `axes`", [node("ReduceMean", "x", axes=[1])],
                  "must have axes [2, 3], all behind the channels, not [1]", x=IMAGE)
    yield taken("Pad", "zeros around the image, before Conv or AveragePool", Result.FOLDED,
                [node("Pad", "x pads", "p", mode="constant"), node("Conv", "p k2")], x=IMAGE)
    yield taken("Pad", "`mode`, `pads` and `value` 0 as attributes (before opset 11)", Result.FOLDED,
                [node("Pad", "x", "p", mode="constant", pads=[0, 0, 1, 0, 0, 0, 0, 1], value=0.0),
                 node("Conv", "p k2")], x=IMAGE, opset=9)
    yield refused("Pad", "another `mode`", [node("Pad", "x pads", "p", mode="edge"), node("Conv", "p k2")],
                  "must have mode 'constant', not 'edge'", x=IMAGE)
    yield refused("Pad", "other numbers", [node("Pad", "x pads one", "p"), node("Conv", "p k2")],
                  "must pad with zeros", x=IMAGE)
    yield refused("Pad", "of batch or channels", [node("Pad", "x edge", "p"), node("Conv", "p k2")],
                  "must have pads of 8 integers, none negative and none for batch or channels, not [0, 1, 0, 0, 0, 1, "
                  "0, 0]", x=IMAGE)
    yield refused("Pad", "before another node", [node("Pad", "x pads", "p"), node("MaxPool", "p", kernel_shape=[2, 2])],
                  "must be followed by a Conv or AveragePool that takes its zeros as pads", x=IMAGE)


def winners() -> Iterator[Case]:
    """The parts of k-WTA, each in a spelling of its own."""
    top = [*LAYER, TOPK]
    yield taken("TopK", "values, scattered onto zeros; `axis` 1 or what means it, constant K", Result.STEP,
                [*top, ZEROS, SCATTER])
    for order in (0, 1):
        yield taken("TopK", f"`largest` 1, `sorted` {order}", Result.STEP,
                    [*LAYER, node("TopK", "r n", "tv ti", axis=-1, largest=1, sorted=order), ZEROS, SCATTER])
    yield taken("TopK", "at each pixel of an image", Result.STEP,
                [*CLAYER, node("TopK", "r n1", "tv ti", axis=1), ZEROS, SCATTER], x=IMAGE)
    yield refused("TopK", "`largest` 0", [*LAYER, node("TopK", "r n", "tv ti", axis=1, largest=0), ZEROS, SCATTER],
                  "must have largest 1: winners are the largest values")
    yield refused("TopK", "another `axis`", [*LAYER, node("TopK", "r n", "tv ti", axis=0), ZEROS, SCATTER],
                  "must have axis 1, along the kernels, not 0")
    yield refused("TopK", "K of several integers, or computed",
                  [*LAYER, node("TopK", "r n2", "tv ti", axis=1), ZEROS, SCATTER],
                  "must have a constant K of one integer")
    yield refused("TopK", "K below 1", [*LAYER, node("TopK", "r n0", "tv ti", axis=1), ZEROS, SCATTER],
                  "must have K of at least 1, not 0")
    yield refused("TopK", "K above the number of kernels",
                  [*LAYER, node("TopK", "r n9", "tv ti", axis=1), ZEROS, SCATTER],
                  "must have K of 1 to 3 (the length of its vector), not 9")
    yield refused("TopK", "`k` as attribute (opset 9)", [*LAYER, node("TopK", "r", "tv ti", axis=1, k=2), ZEROS],
                  "must have K as an input; export the model with opset 11 or later", opset=9)
    yield refused("TopK", "another use than k-WTA", [*top, node("Gemm", "tv flat2")],
                  "is supported as part of k-WTA only; the nearest supported form is TopK (axis 1), whose values "
                  "ScatterElements puts onto zeros")
    yield refused("TopK", "without a ReLU",
                  [GEMM, node("TopK", "g n", "tv ti", axis=1), node("Mul", "g zero", "o0"), SCATTER],
                  "must have a Relu before it: k-WTA ranks codes that are not negative")
    yield taken("ScatterElements", "the values of TopK, onto zeros; `axis` as for TopK", Result.STEP,
                [*top, node("Sub", "r r", "o0"), SCATTER])
    yield taken("ScatterElements", "zeros made by ConstantOfShape or Expand of Shape, or by Mul", Result.STEP,
                [*top, node("Shape", "r", "s0"), node("Expand", "zero s0", "o0"), SCATTER])
    yield taken("ScatterElements", "ones at the indices of TopK, the mask of a Mul or Where", Result.STEP,
                [*top, ZEROS, node("Shape", "ti", "s0"), node("Expand", "one s0", "on"),
                 node("ScatterElements", "o0 ti on", "m", axis=1), MUL])
    yield taken("ScatterElements", "`reduction` none", Result.STEP,
                [*top, ZEROS, node("ScatterElements", "o0 ti tv", "y", axis=1, reduction="none")])
    yield refused("ScatterElements", "another `reduction`",
                  [*top, ZEROS, node("ScatterElements", "o0 ti tv", "y", axis=1, reduction="add")],
                  "must have reduction 'none', not 'add'")
    yield refused("ScatterElements", "another `axis`", [*top, ZEROS, node("ScatterElements", "o0 ti tv", "y", axis=0)],
                  "must have axis 1, along the kernels, not 0")
    yield refused("ScatterElements", "onto other values than zero",
                  [*top, node("ScatterElements", "r ti tv", "y", axis=1)],
                  "must put the values of TopK onto zeros")
    yield refused("ScatterElements", "other values", [*top, ZEROS, node("ScatterElements", "o0 ti r", "y", axis=1)],
                  "must put the values of one TopK, or ones, at its indices: the nearest supported form is k-WTA")
    comparisons = (
        ("Greater", "smallest > x, then Not or the other side of Where",
         [node("Greater", "t r", "d"), node("Where", "d zero r", "y")]),
        ("GreaterOrEqual", "x >= smallest", [OVER, CHOOSE]),
        ("Less", "x < smallest, then Not or the other side of Where",
         [node("Less", "r t", "d"), node("Not", "d", "m"), CHOOSE]),
        ("LessOrEqual", "smallest <= x", [node("LessOrEqual", "t r", "m"), CHOOSE]),
    )
    for op, form, tail in comparisons:
        yield taken(op, f"{form}, of the values of TopK; ties stay", Result.STEP, [*top, LEAST, *tail])
        yield refused(op, "another use", [GEMM, node(op, "g one", "m"), node("Where", "m g zero", "y")],
                      "is supported as part of k-WTA only; the nearest supported form is TopK (axis 1), whose values "
                      "ScatterElements puts onto zeros")
    yield refused("GreaterOrEqual", "the same in a file that states integers, where ties are common",
                  [*QLAYER, node("QuantizeLinear", "g s2 zu", "gq"), node("DequantizeLinear", "gq s2 zu", "r"), TOPK,
                   LEAST, OVER, CHOOSE],
                  "must not keep ties, which are common among codes: the nearest supported form puts the values of "
                  "TopK onto zeros with ScatterElements", by="TopK")
    yield refused("GreaterOrEqual", "the same behind an upper bound, as of ReLU6, where ties are common",
                  [GEMM, node("Clip", "g zero six", "r"), TOPK, LEAST, OVER, CHOOSE],
                  "must not keep ties, which are common at the upper bound of 'r_n': the nearest supported form puts "
                  "the values of TopK onto zeros with ScatterElements", by="TopK")
    yield taken("Not", "of the mask", Result.STEP,
                [*top, LEAST, node("Less", "r t", "d"), node("Not", "d", "m"), CHOOSE])
    yield taken("Where", "(mask, x, 0), or (not mask, 0, x)", Result.STEP, [*top, LEAST, OVER, CHOOSE])
    yield taken("Where", "on constants", Result.FOLDED, weights(node("Where", "pick w zero", "t")))
    yield refused("Where", "another use", [GEMM, node("Where", "true g one", "y")],
                  "is supported as part of k-WTA only; the nearest supported form is TopK (axis 1), whose values "
                  "ScatterElements puts onto zeros")
    yield refused("Not", "another use",
                  [GEMM, node("Cast", "g", "d", to=9), node("Not", "d", "m"), node("Where", "m g zero", "y")],
                  "is supported as part of k-WTA only; the nearest supported form is TopK (axis 1), whose values "
                  "ScatterElements puts onto zeros")
    yield taken("Cast", "of the mask", Result.STEP,
                [*top, LEAST, OVER, node("Cast", "m", "f", to=1), node("Mul", "r f", "y")])
    yield taken("Mul", "of a value and its mask", Result.STEP, [*top, HOT, SUM, MUL])
    yield taken("ReduceMin",
                "of the values of TopK: the smallest; `axes` (as attribute before opset 18), `keepdims` 0 or 1",
                Result.STEP, [*top, LEAST, OVER, CHOOSE])
    yield taken("ReduceMin", "axes as input, `noop_with_empty_axes` 0", Result.STEP,
                [*top, node("ReduceMin", "tv n1", "t", noop_with_empty_axes=0), OVER, CHOOSE], opset=18)
    yield refused("ReduceMin", "another use", [GEMM, node("ReduceMin", "g", axes=[1])],
                  "is supported as part of k-WTA only; the nearest supported form is TopK (axis 1), whose values "
                  "ScatterElements puts onto zeros")
    yield taken("Gather", "of the values of TopK, the last: the smallest", Result.STEP,
                [*top, node("Gather", "tv last", "t", axis=1), OVER, CHOOSE])
    yield taken("Slice", "of the values of TopK, the last: the smallest", Result.STEP,
                [*top, node("Slice", "tv last far n1", "t"), OVER, CHOOSE])
    yield taken("OneHot", "of the indices of TopK, values 0 and 1, `axis` 1, 2 or what means one of them", Result.STEP,
                [*top, HOT, SUM, MUL])
    yield refused("OneHot", "a depth that is computed, or 1",
                  [*top, node("OneHot", "ti n1 hot", "h", axis=1), SUM, MUL],
                  "must have a constant depth: the number of kernels, at least 2")
    yield refused("OneHot", "another use", [*top, node("OneHot", "ti n3 cold", "h", axis=1), SUM, MUL],
                  "is supported as part of k-WTA only; the nearest supported form is TopK (axis 1), whose values "
                  "ScatterElements puts onto zeros", by="TopK")
    yield taken("ReduceSum", "of OneHot over the winners, `keepdims` 0", Result.STEP, [*top, HOT, SUM, MUL])
    yield taken("ReduceSum", "`axes` as attribute (before opset 13)", Result.STEP,
                [*top, HOT, node("ReduceSum", "h", "m", axes=[2], keepdims=0), MUL], opset=11)
    yield taken("ReduceSum", "`noop_with_empty_axes` 0", Result.STEP,
                [*top, HOT, node("ReduceSum", "h n", "m", keepdims=0, noop_with_empty_axes=0), MUL])
    yield refused("ReduceSum", "over the kernels", [*top, HOT, node("ReduceSum", "h n1", "m", keepdims=0), MUL],
                  "must sum over the winners, not over axis 1 of OneHot on axis 1")
    yield refused("ReduceSum", "another use", [GEMM, node("ReduceSum", "g n1")],
                  "is supported as part of k-WTA only; the nearest supported form is TopK (axis 1), whose values "
                  "ScatterElements puts onto zeros")


def heads() -> Iterator[Case]:
    """What the host does."""
    for op in ("Softmax", "LogSoftmax"):
        yield taken(op, "over all scores, `axis` the last", Result.HOST, [GEMM, node(op, "g", axis=-1)])
        yield taken(op, "the same before opset 13, `axis` 1", Result.HOST, [GEMM, node(op, "g", axis=1)], opset=11)
        yield refused(op, "another `axis`", [GEMM, node(op, "g", axis=0)],
                      "must have the last axis of a flat vector, not axis 0 of ('batch', 3)")
    yield taken("Sigmoid", "of the scores", Result.HOST, [GEMM, node("Sigmoid", "g")])
    yield refused("Sigmoid", "before a layer", [GEMM, node("Sigmoid", "g", "y"), LAST],
                  "must not follow sigmoid, which is left to the host and must be the last node", by="Gemm")
    for kept in (0, 1):
        yield taken("ArgMax", f"of the scores, `axis` theirs, `keepdims` {kept}", Result.HOST,
                    [GEMM, node("ArgMax", "g", axis=1, keepdims=kept)])
    yield taken("ArgMax", "behind Softmax, LogSoftmax or Sigmoid", Result.HOST,
                [GEMM, node("Softmax", "g", "p"), node("ArgMax", "p", axis=-1)])
    yield taken("ArgMax", "`select_last_index` 0", Result.HOST,
                [GEMM, node("ArgMax", "g", axis=1, select_last_index=0)])
    yield refused("ArgMax", "`select_last_index` 1", [GEMM, node("ArgMax", "g", axis=1, select_last_index=1)],
                  "must have select_last_index 0: a tie goes to the lower index")
    yield refused("ArgMax", "another `axis`", [GEMM, node("ArgMax", "g")],
                  "must have the last axis of a flat vector, not axis 0 of ('batch', 3)")


def constants() -> Iterator[Case]:
    """What is computed before the network is built."""
    tensor = helper.make_tensor("", TensorProto.FLOAT, [4, 3], floats(4, 3).reshape(-1))
    yield taken("Constant", "`value`, a tensor", Result.FOLDED, weights(node("Constant", "", "t", value=tensor)))
    for name, value in (("value_float", 0.5), ("value_floats", [1.0, 2.0, 4.0])):
        yield taken("Constant", f"`{name}`", Result.FOLDED,
                    [GEMM, node("Constant", "", "t", **{name: value}), node("Mul", "g t")])
    for name, value in (("value_int", 2), ("value_ints", [2])):
        yield taken("Constant", f"`{name}`", Result.FOLDED,
                    [GEMM, node("Constant", "", "t", **{name: value}), node("Cast", "t", "u", to=1),
                     node("Mul", "g u")])
    place = helper.make_tensor("", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(helper.make_tensor("", TensorProto.FLOAT, [1], [1.0]), place, [12])
    for name, value in (("value_string", "text"), ("value_strings", ["text"]), ("sparse_value", sparse)):
        yield refused("Constant", f"`{name}`", weights(node("Constant", "", "t", **{name: value})),
                      "must hold a tensor or numbers")
    fill = helper.make_tensor("", TensorProto.FLOAT, [1], [2.0])
    yield taken("ConstantOfShape", "`value`", Result.FOLDED, weights(node("ConstantOfShape", "shape", "t", value=fill)))
    yield taken("Expand", "on constants", Result.FOLDED, weights(node("Expand", "gain shape", "t")))
    yield taken("Shape", "of anything, `start`, `end`", Result.FOLDED,
                [node("Shape", "x", "s0", start=0, end=1), node("Concat", "s0 last", "to", axis=0),
                 node("Reshape", "x to", "f"), node("Gemm", "f w")], x=(2, 2))
    yield taken("Gather", "on constants and sizes, `axis`", Result.FOLDED,
                weights(node("Gather", "w1 scalar", "t", axis=0)))
    yield taken("Slice", "on constants and sizes", Result.FOLDED, weights(node("Slice", "wide n0 n4 n0", "t")))
    yield taken("Slice", "`starts`, `ends`, `axes` as attributes (before opset 10)", Result.FOLDED,
                weights(node("Slice", "wide", "t", starts=[0], ends=[4], axes=[0])), opset=9)
    yield taken("Concat", "on constants and sizes, `axis`", Result.FOLDED,
                weights(node("Concat", "flat2 flat2", "t", axis=0)))
    for op, inputs in (("Expand", "g shape"), ("Gather", "g n0"), ("Slice", "g n0 n1"), ("Concat", "g gain")):
        attributes = {"axis": 1} if op in ("Concat", "Gather") else {}
        yield refused(op, "of the computed value", [GEMM, node(op, inputs, **attributes)],
                      "is supported on constants only; the nearest supported form is a straight line of layers")
