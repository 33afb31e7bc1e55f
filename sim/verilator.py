"""Verilator on the emitted Verilog."""

from .emitted import EmittedModel
from .tools import find_verilator, run_tool

__all__ = ["VerilatorModel"]


class VerilatorModel(EmittedModel):
    """A design that its first run compiles with Verilator, testbench and all. See `EmittedModel`."""

    def _find(self) -> None:
        self._verilator, self._environment = find_verilator()

    def _compile(self, name: str, *, waves: bool) -> None:
        options = ["--trace", "-DWAVES"] if waves else []
        command = [*self._verilator, "--binary", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-O3", *options]
        command += ["-MAKEFLAGS", "OPT_FAST=-O2", "--top-module", "tb", "--Mdir", name, "-o", "run", "tb.sv", "top.v"]
        run_tool(command, folder=self._path, environment=self._environment)

    def _command(self, name: str) -> list[str]:
        return [str(self._path / name / "run")]
