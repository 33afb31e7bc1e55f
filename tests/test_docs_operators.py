"""docs/operators.md, row by row: every form is read as the row says, or refused in its words."""

import re
from collections import Counter

import numpy as np
import pytest
from graphs import onnx_runtime
from numpy.testing import assert_allclose, assert_array_equal
from onnx import helper
from operator_builders import Result
from operator_cases import CASES, DOCUMENT, UNKNOWN, document

from dovetail.hw.errors import ModelError
from dovetail.sw.intake.supported import NEAREST, OPERATORS
from dovetail.sw.model import Head, Winners
from dovetail.sw.reader import read_model

TAKEN = [case for case in CASES if case.result is not Result.REFUSED]
REFUSED = [case for case in (*CASES, *UNKNOWN) if case.result is Result.REFUSED]
HEADS = {"ArgMax", "LogSoftmax", "Sigmoid", "Softmax"}
ROUNDED = {"AveragePool", "BatchNormalization", "GlobalAveragePool", "ReduceMean"}   # in float32, by the runtime
# What is one step, k-WTA, once it is read.
K_WTA = {"Cast", "Gather", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mul", "Not", "OneHot", "ReduceMin",
         "ReduceSum", "ScatterElements", "Slice", "TopK", "Where"}


def label(case):
    return f"{case.op}: {case.form}"


def read(case, folder):
    path = folder / "model.onnx"
    path.write_bytes(case.model.SerializeToString())
    return read_model(path)


def subjects(case):
    return [item for item in case.model.graph.node if item.op_type == case.op]


def result(case, model):
    """What has become of the case's node."""
    name, steps = subjects(case)[-1].name, [step for layer in model.layers for step in layer.steps]
    if name in [layer.name for layer in model.layers]:
        return Result.LAYER
    if name in [step.name for step in (*steps, model.input_quantiser) if step is not None]:
        return Result.STEP
    if case.op in K_WTA and any(isinstance(step, Winners) for step in steps):
        return Result.STEP
    return Result.HOST if case.op in HEADS and model.head is not None else Result.FOLDED


def with_head(head, scores):
    """What the host makes of the scores."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    softmax = powers / powers.sum(axis=1, keepdims=True)
    match head:
        case Head.ARGMAX:
            return scores.argmax(axis=1)[:, np.newaxis]
        case Head.SIGMOID:
            return 1 / (1 + np.exp(-scores))
        case Head.SOFTMAX:
            return softmax
        case Head.LOG_SOFTMAX:
            return np.log(softmax)
    return scores


@pytest.mark.parametrize("case", TAKEN, ids=label)
def test_taken(case, tmp_path):
    model = read(case, tmp_path)
    assert result(case, model) is case.result
    if not case.runtime:
        return
    kind = helper.tensor_dtype_to_np_dtype(case.model.graph.input[0].type.tensor_type.elem_type)
    x = np.random.default_rng(0).integers(0 if kind == np.uint8 else -40, 41, (6, *model.input_shape))
    x = x.astype(kind) if kind == np.uint8 else (x / 8).astype(kind)
    found, expected = with_head(model.head, model.run(x)[-1]), onnx_runtime(case.model, x)
    if model.head is None and ROUNDED.isdisjoint(item.op_type for item in case.model.graph.node):
        assert_array_equal(found, expected)   # numbers of few bits, whatever their type
    else:
        assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", REFUSED, ids=label)
def test_refused(case, tmp_path):
    with pytest.raises(ModelError) as caught:
        read(case, tmp_path)
    assert re.sub(r"^model\.onnx: node '[^']+' \((?:[\w.]+\.)?(\w+)\) ", r"\1 ", str(caught.value)) == \
        f"{case.by} {case.message}"


def test_rows_are_different():
    assert [row for row, count in Counter(label(case) for case in CASES).items() if count > 1] == []


@pytest.mark.parametrize("op", OPERATORS)
def test_operator(op):
    """Every operator has a row with success, and every attribute of it a row that names it and a model that has it."""
    rows = [case for case in CASES if case.op == op]
    assert any(case.result is not Result.REFUSED for case in rows)
    for name in OPERATORS[op].attributes:
        assert any(f"`{name}`" in case.form and attribute.name == name
                   for case in rows for item in subjects(case) for attribute in item.attribute), name


def test_no_other_operators():
    assert {case.op for case in CASES} == {"any operator", *OPERATORS}
    assert {case.op for case in UNKNOWN} == set(NEAREST)


def test_document():
    """``make docs`` writes it anew."""
    assert document(DOCUMENT.read_text()) == DOCUMENT.read_text()
    with pytest.raises(ValueError, match="^the document must have the line '## Every operator and attribute\\\\n'$"):
        document("another text")
