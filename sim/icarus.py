"""Icarus Verilog on the emitted Verilog."""

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
from .tools import find_icarus, run_tool

__all__ = ["IcarusModel"]


class IcarusModel:
    """A design that its first run compiles for `vvp`.

    Parameters
    ----------
    dut : wiring.Component
    probes : sequence of str
        As for `Harness.around`.

    Raises
    ------
    ToolMissing, ToolFailed
        If Icarus is not installed; from `run`, if it refuses the design.
    """

    def __init__(self, dut: wiring.Component, *, probes: Sequence[str] = ()):
        harness = Harness.around(dut, probes=probes)
        self._compiler, self._runner = find_icarus()
        self.ports = harness.ports
        self._path = Path(tempfile.mkdtemp(prefix="dovetail-"))
        weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)
        (self._path / "top.v").write_text(emit(harness, name="top"))
        (self._path / "tb.sv").write_text(testbench(self.ports))

    def _compiled(self, name: str, options: Sequence[str]) -> Path:
        program = self._path / name
        if not program.exists():
            command = [self._compiler, "-g2012", *options, "-s", "tb", "-o", name, "tb.sv", "top.v"]
            run_tool(command, folder=self._path)
        return program

    def run(self, job: Job) -> Outcome:
        """Run the job; `seconds` is the time of the whole process."""
        program = self._compiled("waves", ("-DWAVES",)) if job.vcd else self._compiled("plain", ())
        write_job(job, self.ports, self._path)
        begin = time.perf_counter()
        run_tool([self._runner, "-n", str(program)], folder=self._path)
        outcome = read_trace(self.ports, self._path, seconds=time.perf_counter() - begin)
        if job.vcd:
            shutil.copyfile(self._path / WAVES, job.vcd)
        return outcome
