"""Cases of quantisers, QDQ and QONNX; see `operator_cases`."""

from collections.abc import Iterator

from graphs import node
from onnx import TensorProto
from operator_builders import (
    GEMM,
    IMAGE,
    QGEMM,
    QLAYER,
    QW,
    QX,
    SCATTER,
    TOPK,
    WD,
    XD,
    XQ,
    ZEROS,
    Case,
    Result,
    refused,
    taken,
    weights,
)

from dovetail.sw.intake.supported import MICROSOFT, QONNX

__all__ = ["anything", "qdq", "qonnx"]


def qdq() -> Iterator[Case]:
    """ONNX's own quantisers."""
    for kind, zero in (("UINT8", "z"), ("INT8", "zi"), ("UINT16", "zw"), ("INT16", "zs")):
        yield taken("QuantizeLinear", f"an activation, one scale and zero point, {kind}", Result.STEP,
                    [node("QuantizeLinear", f"x s {zero}", "xq"), node("DequantizeLinear", f"xq s {zero}", "xd"), WD,
                     QGEMM], opset=21)
        yield taken("QuantizeLinear", f"no zero point, `output_dtype` {kind}", Result.STEP,
                    [node("QuantizeLinear", "x s", "xq", output_dtype=TensorProto.DataType.Value(kind)),
                     node("DequantizeLinear", "xq s", "xd"), WD, QGEMM], opset=21)
    yield taken("QuantizeLinear", "no zero point: UINT8", Result.STEP,
                [node("QuantizeLinear", "x s", "xq"), node("DequantizeLinear", "xq s", "xd"), WD, QGEMM])
    yield taken("QuantizeLinear", "constant weights, one scale or one for each index of `axis`", Result.FOLDED,
                [XQ, XD, node("QuantizeLinear", "w s3 z3", "wq", axis=1),
                 node("DequantizeLinear", "wq s3 z3", "wd", axis=1), QGEMM])
    yield taken("QuantizeLinear", "domain com.microsoft", Result.STEP,
                [node("QuantizeLinear", "x s zw", "xq", domain=MICROSOFT),
                 node("DequantizeLinear", "xq s zw", "xd", domain=MICROSOFT), WD, QGEMM])
    yield taken("QuantizeLinear", "`block_size` 0, `precision` 0 or FLOAT; `saturate` has no effect", Result.STEP,
                [node("QuantizeLinear", "x s z", "xq", block_size=0, precision=1, saturate=1), XD, WD, QGEMM], opset=23)
    yield taken("QuantizeLinear", "behind the head: left out, as what the host does is not quantised", Result.FOLDED,
                [GEMM, node("Softmax", "g", "p"), node("QuantizeLinear", "p s1 z0", "q"),
                 node("DequantizeLinear", "q s1 z0")], runtime=False)
    yield taken("DequantizeLinear", "of a QuantizeLinear with the same scale and zero point", Result.FOLDED, QLAYER)
    yield taken("DequantizeLinear", "of an input that is integers of 8 or 16 bits", Result.STEP,
                [WD, node("DequantizeLinear", "x s z", "xd"), QGEMM], kind=TensorProto.UINT8)
    yield taken("DequantizeLinear", "constant weights of 8 or 16 bits, one scale or one for each index of `axis`",
                Result.FOLDED, [XQ, XD, node("DequantizeLinear", "wi s3", "wd", axis=1), QGEMM])
    yield taken("DequantizeLinear", "constant weights of 4 bits", Result.FOLDED,
                [XQ, XD, node("DequantizeLinear", "four s2 four0", "wd"), QGEMM], opset=21)
    yield taken("DequantizeLinear", "constant biases of 32 bits", Result.FOLDED,
                [XQ, XD, WD, node("DequantizeLinear", "bi s64", "bd"), node("Gemm", "xd wd bd", "g")])
    yield taken("DequantizeLinear", "domain com.microsoft", Result.FOLDED,
                [XQ, XD, node("DequantizeLinear", "wi s1 z0", "wd", domain=MICROSOFT), QGEMM])
    yield taken("DequantizeLinear", "`block_size` 0; `output_dtype` has no effect", Result.FOLDED,
                [XQ, XD, node("DequantizeLinear", "wi s1", "wd", block_size=0, output_dtype=1), QGEMM], opset=23)
    yield taken("Transpose", "flattened, before quantised weights, one scale for each kernel", Result.FOLDED,
                [XQ, node("Transpose", "xq", "p", perm=[0, 2, 1]), node("Reshape", "p rows", "f"),
                 node("DequantizeLinear", "f s z", "xd"), node("DequantizeLinear", "wi s3", "wd", axis=1), QGEMM],
                x=(2, 2))
    yield taken("DequantizeLinear", "of constants, where nothing computed is quantised: weights in floating point",
                Result.FOLDED, [WD, node("Gemm", "x wd")])
    for op, first in (("QuantizeLinear", "w"), ("DequantizeLinear", "wi")):
        yield refused(op, "a scale of zero, a negative one, NaN or infinity", weights(node(op, f"{first} zero", "t")),
                      "must have scales that are positive and finite, not 0.0")
        yield refused(op, "`block_size` above 0: blocks", weights(node(op, f"{first} s43", "t", block_size=3)),
                      "must have one scale, or one for each index of an axis, not blocks of 3", opset=21)
        yield refused(op, "a zero point of another shape than the scale", weights(node(op, f"{first} one zz", "t")),
                      "must have a zero point of the shape of its scale, (), integers, not int8 of shape (2,)")
    yield refused("QuantizeLinear", "an activation with many scales",
                  [node("QuantizeLinear", "x s4 z4", "xq"), node("DequantizeLinear", "xq s4 z4", "xd"), WD, QGEMM],
                  "must have one scale for the whole tensor; the nearest supported form quantises activations per "
                  "tensor")
    yield refused("QuantizeLinear", "to other types", weights(node("QuantizeLinear", "w one z32", "t")),
                  "must make integers of 8 or 16 bits, not int32")
    yield refused("QuantizeLinear", "to 4 bits", weights(node("QuantizeLinear", "w one four0", "t")),
                  "takes the 4-bit tensor 'four0'; the nearest supported form has them at DequantizeLinear only",
                  opset=21)
    yield refused("QuantizeLinear", "anew behind k-WTA",
                  [*QLAYER, node("QuantizeLinear", "g s2 zu", "gq"), node("DequantizeLinear", "gq s2 zu", "r"), TOPK,
                   ZEROS, SCATTER, node("QuantizeLinear", "y s zu", "yq"), node("DequantizeLinear", "yq s zu")],
                  "must not quantise anew behind k-WTA, which ranks codes; the nearest supported form has that "
                  "quantiser before k-WTA")
    yield refused("QuantizeLinear", "of activations, where the weights are in floating point",
                  [XQ, XD, node("Gemm", "xd w")],
                  "must have quantised weights, since what is computed is quantised; the nearest supported form has a "
                  "quantiser on its weights, or none anywhere", by="Gemm")
    yield refused("DequantizeLinear", "another scale or zero point than its QuantizeLinear",
                  [XQ, node("DequantizeLinear", "xq s2 z", "xd"), WD, QGEMM],
                  "must have the scale and zero point of its QuantizeLinear, 0.25 and 3, not 0.5 and 3")
    yield refused("DequantizeLinear", "another type of the zero point",
                  weights(node("DequantizeLinear", "wi one zu", "t")),
                  "must have a zero point of the type of its input, int8, not uint8")
    yield refused("DequantizeLinear", "weights with many scales a kernel",
                  [XQ, XD, node("DequantizeLinear", "wi s4", "wd", axis=0), QGEMM],
                  "must have weights with one scale a kernel; the nearest supported form quantises them per tensor or "
                  "along the axis of the kernels", by="Gemm")
    yield refused("DequantizeLinear", "behind another node that works on the codes",
                  [XQ, node("Relu", "xq", "xr"), node("DequantizeLinear", "xr s z", "xd"), WD, QGEMM],
                  "takes integer codes; the nearest supported form has a DequantizeLinear before it", by="Relu")


PADDED = "must not be bipolar behind a Pad, whose zeros it makes 1; the nearest supported form has the Pad behind it"
QK = node("Quant", "k2 s2 off bits", "wd", domain=QONNX[0], signed=1, narrow=1)
QCONV = node("Conv", "xd wd", "c")


def qonnx() -> Iterator[Case]:
    """QONNX quantisers."""
    for op in ("Quant", "IntQuant"):
        for signed, narrow in ((0, 0), (0, 1), (1, 0), (1, 1)):
            x = node(op, "x s off bits8", "xd", domain=QONNX[0], signed=signed, narrow=narrow)
            yield taken(op, "an activation, one scale and zero point, 1 to 16 bits; "
                            f"`signed` {signed}, `narrow` {narrow}", Result.STEP, [QW, x, QGEMM])
        yield taken(op, "constant weights, scales that spread over them, one for a kernel", Result.FOLDED,
                    [QX, node(op, "w sc off bits", "wd", domain=QONNX[0], signed=1, narrow=1), QGEMM])
        for mode in ("ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"):
            yield taken(op, f"`rounding_mode` {mode}, in any case", Result.STEP,
                        [QW, node(op, "x s off bits8", "xd", domain=QONNX[0], rounding_mode=mode.lower()), QGEMM])
        yield taken(op, "1 bit signed: -1 and 1", Result.STEP,
                    [QW, node(op, "x s off bit", "xd", domain=QONNX[1], signed=1), QGEMM])
        for domain in QONNX:
            yield taken(op, f"domain {domain}", Result.STEP,
                        [QW, node(op, "x s off bits8", "xd", domain=domain), QGEMM])
        yield refused(op, "a scale of zero, a negative one, NaN or infinity",
                      [node(op, "x zero off bits8", "xd", domain=QONNX[0]), QW, QGEMM],
                      "must have a positive scale, not 0.0")
        yield refused(op, "a zero point that is no integer",
                      [node(op, "x s bh bits8", "xd", domain=QONNX[0]), QW, QGEMM],
                      "must have a zero point that is an integer of -65536 to 65536, not 0.5")
        yield refused(op, "other bit widths", [node(op, "x s off bits17", "xd", domain=QONNX[0]), QW, QGEMM],
                      "must have a bit width that is an integer of 1 to 16, not 17.0")
        yield refused(op, "another `rounding_mode`",
                      [node(op, "x s off bits8", "xd", domain=QONNX[0], rounding_mode="NEAR"), QW, QGEMM],
                      "must have rounding_mode ROUND, FLOOR, CEIL, UP, DOWN, HALF_UP or HALF_DOWN, not 'NEAR'")
        yield refused(op, "an activation with many scales",
                      [node(op, "x s4 off bits8", "xd", domain=QONNX[0]), QW, QGEMM],
                      "must have one scale for the whole tensor; the nearest supported form quantises activations per "
                      "tensor")
        yield refused(op, "1 bit unsigned and narrow: one code",
                      [node(op, "x s off bit", "xd", domain=QONNX[0], signed=0, narrow=1), QW, QGEMM],
                      "must leave more than one code: narrow with 1 bit unsigned does not")
        yield refused(op, "1 bit signed, behind a Pad",
                      [node("Pad", "x pads", "p"), node(op, "p s off bit", "xd", domain=QONNX[0], signed=1), QK, QCONV],
                      PADDED, x=IMAGE)
    yield refused("BipolarQuant", "behind a Pad",
                  [node("Pad", "x pads", "p"), node("BipolarQuant", "p s", "xd", domain=QONNX[0]), QK, QCONV],
                  PADDED, x=IMAGE)
    yield taken("BipolarQuant", "an activation, one scale: -1 and 1, times the scale", Result.STEP,
                [QW, node("BipolarQuant", "x s", "xd", domain=QONNX[0]), QGEMM])
    yield taken("BipolarQuant", "constant weights", Result.FOLDED,
                [QX, node("BipolarQuant", "w sc", "wd", domain=QONNX[0]), QGEMM])
    yield refused("BipolarQuant", "a scale of zero, a negative one, NaN or infinity",
                  [node("BipolarQuant", "x zero", "xd", domain=QONNX[0]), QW, QGEMM],
                  "must have a positive scale, not 0.0")
    yield refused("BipolarQuant", "an activation with many scales",
                  [node("BipolarQuant", "x s4", "xd", domain=QONNX[0]), QW, QGEMM],
                  "must have one scale for the whole tensor; the nearest supported form quantises activations per "
                  "tensor")
    sums = [QX, QW, QGEMM]
    yield taken("Trunc", "five inputs (version 1): as many codes as can occur", Result.STEP,
                [*sums, node("Trunc", "g eighth off bits8 bits", domain=QONNX[0])])
    yield taken("Trunc", "seven inputs (version 2), `signed`, `narrow`", Result.STEP,
                [*sums, node("Trunc", "g eighth off bits8 two off bits", domain=QONNX[0], signed=1, narrow=0)])
    for mode in ("FLOOR", "CEIL"):
        yield taken("Trunc", f"`rounding_mode` {mode}", Result.STEP,
                    [*sums, node("Trunc", "g eighth off bits8 bits", domain=QONNX[0], rounding_mode=mode)])
    yield refused("Trunc", "another `rounding_mode`",
                  [*sums, node("Trunc", "g eighth off bits8 bits", domain=QONNX[0], rounding_mode="ROUND")],
                  "must have rounding_mode FLOOR or CEIL, not 'ROUND'")
    yield refused("Trunc", "more bits than before", [*sums, node("Trunc", "g eighth off bits bits8", domain=QONNX[0])],
                  "must drop bits, not add any")
    yield refused("Trunc", "five inputs (version 1), of sums of unknown range",
                  [QW, node("Gemm", "x wd", "g"), node("Trunc", "g eighth off bits8 bits", domain=QONNX[0])],
                  "must have a quantised value before it, since version 1 does not say which codes there are; the "
                  "nearest supported form is version 2 (seven inputs)")
    yield refused("Trunc", "many scales", [*sums, node("Trunc", "g s3 off bits8 bits", domain=QONNX[0])],
                  "must have one scale for the whole tensor; the nearest supported form quantises activations per "
                  "tensor")
    yield refused("Trunc", "of a constant", [QX, node("Trunc", "w s off bits8 bits", "wd", domain=QONNX[0]), QGEMM],
                  "is not computed from constants")


def anything() -> Iterator[Case]:
    """What holds for all of them."""
    yield refused("any operator", "an attribute that this table does not name",
                  [node("Gemm", "x w", activation="Relu")],
                  "has the attribute 'activation', which is not supported; the nearest supported form is without it",
                  by="Gemm")
    yield refused("any operator", "too few or too many inputs", [GEMM, node("Relu", "g b")],
                  "must have 1 input", by="Relu")
    yield refused("any operator", "a domain that this table does not name", [GEMM, node("Relu", "g", domain="my.own")],
                  "is not supported; the nearest supported form is a network of Gemm, MatMul or Conv, "
                  "BatchNormalization, Relu, MaxPool and k-WTA (TopK, ScatterElements), in floating point, QDQ or "
                  "QONNX", by="Relu")
    yield refused("any operator", "that no table names", [GEMM, node("Nonsense", "g")],
                  "is not supported; the nearest supported form is a network of Gemm, MatMul or Conv, "
                  "BatchNormalization, Relu, MaxPool and k-WTA (TopK, ScatterElements), in floating point, QDQ or "
                  "QONNX", by="Nonsense")
