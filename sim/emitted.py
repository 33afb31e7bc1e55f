"""What the simulators of the emitted Verilog share: a folder with design and testbench, compiled once, run often."""

import shutil
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

from amaranth.lib import wiring

from ..hw.verilog import emit
from .harness import Harness
from .job import Job, Outcome
from .testbench import WAVES, read_trace, testbench, write_job
from .tools import run_tool

__all__ = ["EmittedModel"]


class EmittedModel:
    """A design as Verilog text with its testbench, which the first run compiles.

    A simulator is a subclass with ``_find``, ``_compile`` and ``_command``.

    Parameters
    ----------
    dut : wiring.Component
    probes : sequence of str
        As for `Harness.around`.

    Raises
    ------
    ToolMissing, ToolFailed
        If the simulator is not installed; from `run`, if it refuses the design.
    """

    def __init__(self, dut: wiring.Component, *, probes: Sequence[str] = ()):
        harness = Harness.around(dut, probes=probes)
        self._find()
        self.ports = harness.ports
        self._path = Path(tempfile.mkdtemp(prefix="dovetail-"))
        weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)
        (self._path / "top.v").write_text(emit(harness, name="top"))
        (self._path / "tb.sv").write_text(testbench(self.ports))

    def _find(self) -> None:
        """Find the simulator's programs."""
        raise NotImplementedError

    def _compile(self, name: str, *, waves: bool) -> None:
        """Compile ``tb.sv`` and ``top.v`` in the folder to what ``_command`` runs."""
        raise NotImplementedError

    def _command(self, name: str) -> list[str]:
        """Command that runs what was compiled under this name."""
        raise NotImplementedError

    def run(self, job: Job) -> Outcome:
        """Run the job; `seconds` is the time of the whole process."""
        waves = job.vcd is not None
        name = "waves" if waves else "plain"
        if not (self._path / name).exists():
            self._compile(name, waves=waves)
        write_job(job, self.ports, self._path)
        begin = time.perf_counter()
        run_tool(self._command(name), folder=self._path)
        outcome = read_trace(self.ports, self._path, seconds=time.perf_counter() - begin)
        if job.vcd:
            shutil.copyfile(self._path / WAVES, job.vcd)
        return outcome
