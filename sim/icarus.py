"""Icarus Verilog on the emitted Verilog."""

from .emitted import EmittedModel
from .tools import find_icarus, run_tool

__all__ = ["IcarusModel"]


class IcarusModel(EmittedModel):
    """A design that its first run compiles for `vvp`. See `EmittedModel`."""

    def _find(self) -> None:
        self._compiler, self._runner = find_icarus()

    def _compile(self, name: str, *, waves: bool) -> None:
        options = ["-DWAVES"] if waves else []
        command = [self._compiler, "-g2012", *options, "-s", "tb", "-o", name, "tb.sv", "top.v"]
        run_tool(command, folder=self._path)

    def _command(self, name: str) -> list[str]:
        return [self._runner, "-n", name]
