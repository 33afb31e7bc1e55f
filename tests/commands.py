"""The command line, called from tests, and what it leaves behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from dovetail.cli.main import main

__all__ = ["as_json", "contents"]


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    """Exit code of a command, and what it prints with ``--json``."""
    capsys.readouterr()
    code = main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
