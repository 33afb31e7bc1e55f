"""The table of what is read, against the ONNX standard as installed."""

import onnx
import pytest

from dovetail.sw.intake.constants import FOLDABLE
from dovetail.sw.intake.supported import NEAREST, OPERATORS, QONNX, STANDARD
from dovetail.sw.reader import MINIMUM_OPSET

STANDARD_OPERATORS = sorted(op for op, row in OPERATORS.items() if row.domains[:2] == STANDARD)


def schemas(op):
    """Every form that an operator has in the opsets that are read."""
    found = {onnx.defs.get_schema(op, opset, "").since_version: onnx.defs.get_schema(op, opset, "")
             for opset in range(MINIMUM_OPSET, onnx.defs.onnx_opset_version() + 1) if onnx.defs.has(op, opset, "")}
    return list(found.values())


@pytest.mark.parametrize("op", STANDARD_OPERATORS)
def test_attributes(op):
    assert set(OPERATORS[op].attributes) == {name for schema in schemas(op) for name in schema.attributes}


@pytest.mark.parametrize("op", STANDARD_OPERATORS)
def test_inputs(op):
    fewest, most = OPERATORS[op].inputs
    assert fewest == min(schema.min_input for schema in schemas(op))
    assert most == min(1_000, max(schema.max_input for schema in schemas(op)))


def test_rows():
    for op, row in OPERATORS.items():
        assert row.op == op
        assert row.domains[:2] == STANDARD or row.domains == QONNX
        assert len(set(row.attributes)) == len(row.attributes)


def test_tables_agree():
    assert not set(NEAREST) & set(OPERATORS)
    assert FOLDABLE <= set(OPERATORS)
    names = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert set(STANDARD_OPERATORS) <= names
