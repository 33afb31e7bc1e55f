"""Verilator on the emitted Verilog."""

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
from .tools import find_verilator, run_tool

__all__ = ["VerilatorModel"]


class VerilatorModel:
    """A design that its first run compiles with Verilator, testbench and all.

    Parameters
    ----------
    dut : wiring.Component
    probes : sequence of str
        As for `Harness.around`.

    Raises
    ------
    ToolMissing, ToolFailed
        If Verilator is not installed; from `run`, if it refuses the design.
    """

    def __init__(self, dut: wiring.Component, *, probes: Sequence[str] = ()):
        harness = Harness.around(dut, probes=probes)
        self._command, self._environment = find_verilator()
        self.ports = harness.ports
        self._path = Path(tempfile.mkdtemp(prefix="dovetail-"))
        weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)
        (self._path / "top.v").write_text(emit(harness, name="top"))
        (self._path / "tb.sv").write_text(testbench(self.ports))

    def _compiled(self, name: str, options: Sequence[str]) -> Path:
        program = self._path / name / "run"
        if program.exists():
            return program
        command = [*self._command, "--binary", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-O3", *options]
        command += ["-MAKEFLAGS", "OPT_FAST=-O2", "--top-module", "tb", "--Mdir", name, "-o", "run", "tb.sv", "top.v"]
        run_tool(command, folder=self._path, environment=self._environment)
        return program

    def run(self, job: Job) -> Outcome:
        """Run the job; `seconds` is the time of the whole process."""
        program = self._compiled("waves", ("--trace", "-DWAVES")) if job.vcd else self._compiled("plain", ())
        write_job(job, self.ports, self._path)
        begin = time.perf_counter()
        run_tool([str(program)], folder=self._path)
        outcome = read_trace(self.ports, self._path, seconds=time.perf_counter() - begin)
        if job.vcd:
            shutil.copyfile(self._path / WAVES, job.vcd)
        return outcome
