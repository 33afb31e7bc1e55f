"""Every operator and attribute as a case: a model of exactly that form, and what becomes of it.

``python tests/operator_cases.py`` (``make docs``) writes the cases into the tables of docs/operators.md.
"""

from collections.abc import Iterator
from pathlib import Path

import onnx
from graphs import node
from intake import make_model
from operator_builders import Case, Result
from operator_cases_float import activations, arithmetic, constants, heads, layers, pools, renames, winners
from operator_cases_grids import anything, qdq, qonnx

from dovetail.sw import reader
from dovetail.sw.intake import linear, walk
from dovetail.sw.intake.supported import MICROSOFT, NEAREST, QONNX

__all__ = ["CASES", "DOCUMENT", "UNKNOWN", "document"]

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "operators.md"
_HEADING = "## Every operator and attribute\n"   # from here on the document is made of the cases

_SECTIONS = (anything, layers, arithmetic, activations, renames, pools, winners, heads, constants, qdq, qonnx)
CASES = tuple(case for section in _SECTIONS for case in section())
"""One for each row of the first table."""


def _unknown() -> Iterator[Case]:
    standard = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    for op, nearest in NEAREST.items():
        domain = "" if op in standard else QONNX[0] if op in ("FloatQuant", "MultiThreshold") else MICROSOFT
        yield Case(op=op, form="any", result=Result.REFUSED, by=op, model=make_model([node(op, "x", domain=domain)]),
                   message=f"is not supported; the nearest supported form is {nearest}")


UNKNOWN = tuple(_unknown())
"""Operators that people have in their files and that are not read: the rows of the second table."""


def _first_table() -> Iterator[str]:
    yield "| operator | form or attribute | result | message |"
    yield "| --- | --- | --- | --- |"
    first = CASES[0].op
    for case in sorted(CASES, key=lambda case: (case.op != first, case.op, case.result is Result.REFUSED)):
        other = case.op not in (case.by, first) and case.result is Result.REFUSED
        message = f"({case.by}) {case.message}" if other else case.message
        yield " | ".join(filter(None, ("|", case.op, case.form, case.result.value, message or None))).replace(
            "| | ", "| ") + (" |" if message else " | |")


def _second_table() -> Iterator[str]:
    yield "| operators | message |"
    yield "| --- | --- |"
    for message in dict.fromkeys(case.message for case in UNKNOWN):
        yield f"| {', '.join(sorted(case.op for case in UNKNOWN if case.message == message))} | {message} |"


def _limits() -> Iterator[str]:
    yield "| what | at most |"
    yield "| --- | ---: |"
    for what, amount in (
        ("bytes of the file and its external data together", reader.MAX_FILE_BYTES), ("nodes", reader.MAX_NODES),
        ("elements of one input", reader.MAX_LENGTH), ("elements of any other computed value", walk.MAX_ELEMENTS),
        ("kernels, or positions, of a layer", linear.MAX_KERNELS), ("weights of a layer", linear.MAX_WEIGHTS),
        ("weights of one that a few numbers stand for: groups, dilations, averages", linear.MAX_EXPANDED),
    ):
        yield f"| {what} | {amount:,} |"


def document(text: str) -> str:
    """Replace the tables at the end of the document by those of the cases."""
    before, heading, _ = text.partition(_HEADING)
    if not heading:
        raise ValueError(f"the document must have the line {_HEADING!r}")
    return "\n".join((before + heading, *_first_table(), "\n## Operators that are not read\n", *_second_table(),
                      "\n## Limits\n", *_limits(), ""))


if __name__ == "__main__":
    DOCUMENT.write_text(document(DOCUMENT.read_text()))
