"""Running a tool: its log followed, its failure told with the end of its log, nothing left running."""

import sys

import pytest

from dovetail.boards.programs import Program, find_program, run_program
from dovetail.hw.errors import ToolFailed, ToolMissing


def script(text):
    return Program(name="tool", command=(sys.executable, "-c", text), version="1", native=False)


def test_log_is_followed_line_by_line(tmp_path):
    text = """
import time
with open("tool.log", "w", buffering=1) as log:
    log.write("first\\nsec")
    time.sleep(0.7)
    log.write("ond\\n")
    time.sleep(0.7)
"""
    lines = []
    assert run_program(script(text), [], folder=tmp_path, log="tool.log", watch=lines.append) == "first\nsecond\n"
    assert lines == ["first", "second"]


def test_failure_quotes_the_errors_of_the_log(tmp_path):
    text = "import sys; open('tool.log', 'w').write('Info: a\\nERROR: no such cell\\nbye\\n'); sys.exit(7)"
    with pytest.raises(ToolFailed, match=r"^tool failed with code 7: ERROR: no such cell$"):
        run_program(script(text), [], folder=tmp_path, log="tool.log")


def test_failure_without_a_log_quotes_what_was_printed(tmp_path):
    with pytest.raises(ToolFailed, match=r"^tool failed with code 1: .*nowhere"):
        run_program(script("import sys; sys.exit('nowhere')"), [], folder=tmp_path, log="tool.log")


def test_killed(tmp_path):
    text = "import os; open('tool.log', 'w').write('half way\\n'); os.kill(os.getpid(), 9)"
    with pytest.raises(ToolFailed, match=r"^tool was ended by signal 9: half way$"):
        run_program(script(text), [], folder=tmp_path, log="tool.log")


def test_interruption_ends_the_tool(tmp_path):
    text = "import time; open('tool.log', 'w', buffering=1).write('on\\n'); time.sleep(60); open('late', 'w')"

    def interrupt(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_program(script(text), [], folder=tmp_path, log="tool.log", watch=interrupt)
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize("name", ["yosys", "nextpnr-ice40", "nextpnr-ecp5"])
def test_wheels_are_found(name):
    program = find_program(name)
    assert not program.native and program.version[0].isdigit()


def test_native_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissing, match=r"^nextpnr-ecp5 is not on PATH; without --native the wheel is used: pip"):
        find_program("nextpnr-ecp5", native=True)


def test_native_found(monkeypatch, tmp_path):
    tool = tmp_path / "yosys"
    tool.write_text("#!/bin/sh\necho Yosys 0.99\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    program = find_program("yosys", native=True)
    assert (program.command, program.version, program.native) == ((str(tool),), "native Yosys 0.99", True)
