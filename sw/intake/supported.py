"""What is read: one table of operators and their attributes, and what to use instead of the others. Data, no code.

Every operator, attribute and form with its result stands in docs/operators.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FORMS", "MICROSOFT", "NEAREST", "OPERATORS", "QONNX", "STANDARD", "Operator"]

STANDARD = ("", "ai.onnx")
MICROSOFT = "com.microsoft"
QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operator as it is read.

    Members
    -------
    op : str
    domains : tuple of str
    inputs : tuple of int
        The least and the greatest number of inputs, over all opsets.
    attributes : tuple of str
        Every attribute that the operator may have, in any opset that is read.
    """

    op: str
    domains: tuple[str, ...] = STANDARD
    inputs: tuple[int, int]
    attributes: tuple[str, ...] = ()


_WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
_REDUCE = ("axes", "keepdims", "noop_with_empty_axes")
_QUANT = ("signed", "narrow", "rounding_mode")

_ROWS = (
    Operator(op="Gemm", inputs=(2, 3), attributes=("alpha", "beta", "transA", "transB")),
    Operator(op="MatMul", inputs=(2, 2)),
    Operator(op="Conv", inputs=(2, 3), attributes=(*_WINDOW, "group")),
    *(Operator(op=op, inputs=(2, 2)) for op in ("Add", "Sub", "Mul", "Div")),
    Operator(op="BatchNormalization", inputs=(5, 5), attributes=("epsilon", "momentum", "training_mode")),
    Operator(op="Relu", inputs=(1, 1)),
    Operator(op="Clip", inputs=(1, 3), attributes=("min", "max")),
    *(Operator(op=op, inputs=(1, 1_000)) for op in ("Max", "Min")),
    Operator(op="Identity", inputs=(1, 1)),
    Operator(op="Dropout", inputs=(1, 3), attributes=("ratio", "seed")),
    Operator(op="Flatten", inputs=(1, 1), attributes=("axis",)),
    Operator(op="Reshape", inputs=(2, 2), attributes=("allowzero",)),
    *(Operator(op=op, inputs=(1, 2), attributes=("axes",)) for op in ("Squeeze", "Unsqueeze")),
    Operator(op="Transpose", inputs=(1, 1), attributes=("perm",)),
    Operator(op="MaxPool", inputs=(1, 1), attributes=(*_WINDOW, "ceil_mode", "storage_order")),
    Operator(op="AveragePool", inputs=(1, 1), attributes=(*_WINDOW, "ceil_mode", "count_include_pad")),
    Operator(op="GlobalAveragePool", inputs=(1, 1)),
    Operator(op="ReduceMean", inputs=(1, 2), attributes=_REDUCE),
    Operator(op="Pad", inputs=(1, 4), attributes=("mode", "pads", "value")),
    Operator(op="TopK", inputs=(1, 2), attributes=("axis", "largest", "sorted", "k")),
    Operator(op="ScatterElements", inputs=(3, 3), attributes=("axis", "reduction")),
    Operator(op="Where", inputs=(3, 3)),
    Operator(op="OneHot", inputs=(3, 3), attributes=("axis",)),
    *(Operator(op=op, inputs=(2, 2)) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    Operator(op="Not", inputs=(1, 1)),
    *(Operator(op=op, inputs=(1, 2), attributes=_REDUCE) for op in ("ReduceSum", "ReduceMin")),
    Operator(op="Cast", inputs=(1, 1), attributes=("to", "saturate", "round_mode")),
    *(Operator(op=op, inputs=(1, 1), attributes=("axis",)) for op in ("Softmax", "LogSoftmax")),
    Operator(op="Sigmoid", inputs=(1, 1)),
    Operator(op="ArgMax", inputs=(1, 1), attributes=("axis", "keepdims", "select_last_index")),
    Operator(op="Constant", inputs=(0, 0),
             attributes=("value", "value_float", "value_floats", "value_int", "value_ints", "value_string",
                         "value_strings", "sparse_value")),
    Operator(op="ConstantOfShape", inputs=(1, 1), attributes=("value",)),
    Operator(op="Expand", inputs=(2, 2)),
    Operator(op="Shape", inputs=(1, 1), attributes=("start", "end")),
    Operator(op="Gather", inputs=(2, 2), attributes=("axis",)),
    Operator(op="Slice", inputs=(1, 5), attributes=("starts", "ends", "axes")),
    Operator(op="Concat", inputs=(1, 1_000), attributes=("axis",)),
    Operator(op="Pow", inputs=(2, 2)),
    *(Operator(op=op, inputs=(1, 1)) for op in ("Sqrt", "Neg")),
    Operator(op="QuantizeLinear", domains=(*STANDARD, MICROSOFT), inputs=(2, 3),
             attributes=("axis", "block_size", "output_dtype", "precision", "saturate")),
    Operator(op="DequantizeLinear", domains=(*STANDARD, MICROSOFT), inputs=(2, 3),
             attributes=("axis", "block_size", "output_dtype")),
    *(Operator(op=op, domains=QONNX, inputs=(4, 4), attributes=_QUANT) for op in ("Quant", "IntQuant")),
    Operator(op="BipolarQuant", domains=QONNX, inputs=(2, 2)),
    Operator(op="Trunc", domains=QONNX, inputs=(5, 7), attributes=_QUANT),
)
OPERATORS: Mapping[str, Operator] = {row.op: row for row in _ROWS}

FORMS = ("a network of Gemm, MatMul or Conv, BatchNormalization, Relu, MaxPool and k-WTA (TopK, ScatterElements), in "
         "floating point, QDQ or QONNX")
_QDQ = "the same model in QDQ format (QuantizeLinear and DequantizeLinear around operators in floating point)"
_STRAIGHT = "a feed-forward network of Gemm or Conv layers in a straight line"
_FLOW = "a model without control flow, traced for inference"
_RELU = "Relu"
_RAW = "the model as exported, before a runtime has fused its operators"

NEAREST: Mapping[str, str] = {
    **dict.fromkeys(("Celu", "Elu", "Gelu", "FastGelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu",
                     "QuickGelu", "Selu", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu", "Abs", "Erf"),
                    _RELU),
    **dict.fromkeys(("ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger",
                     "MatMulIntegerToFloat", "MatMulNBits", "QGemm", "QLinearAdd", "QLinearAveragePool",
                     "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMatMul",
                     "QLinearMul", "QLinearSigmoid", "QLinearSoftmax"), _QDQ),
    **dict.fromkeys(("Attention", "EmbedLayerNormalization", "GRU", "GroupQueryAttention", "LSTM",
                     "MultiHeadAttention", "RNN"), _STRAIGHT),
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceAt", "SequenceConstruct", "SplitToSequence"), _FLOW),
    **dict.fromkeys(("FusedConv", "FusedGemm", "FusedMatMul", "NhwcMaxPool", "NchwcConv"), _RAW),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization", "LpNormalization",
                     "MeanVarianceNormalization", "RMSNormalization"),
                    "BatchNormalization, whose parameters are constant"),
    **dict.fromkeys(("ConvTranspose", "DeformConv", "DepthToSpace", "Resize", "SpaceToDepth", "Upsample"), "Conv"),
    **dict.fromkeys(("GlobalMaxPool", "LpPool", "ReduceMax"), "MaxPool, its kernel the whole image"),
    **dict.fromkeys(("GlobalLpPool",), "GlobalAveragePool"),
    **dict.fromkeys(("Split",), _STRAIGHT),
    **dict.fromkeys(("Sum", "Mean"), "Add of a constant, in a network without branches"),
    **dict.fromkeys(("Einsum",), "Gemm or MatMul"),
    **dict.fromkeys(("Exp", "Log", "Hardmax", "ArgMin"),
                    "to end the model at the scores and leave the rest to the host"),
    **dict.fromkeys(("Scatter", "ScatterND"), "ScatterElements of the values of TopK onto zeros, opset 11 or later"),
    "FloatQuant": "Quant or IntQuant, which make integers",
    "MultiThreshold": "the QONNX file before FINN's streamlining, with its Quant nodes",
}
"""What to use instead of an operator that is not supported."""
