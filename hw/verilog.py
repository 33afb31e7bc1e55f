"""Portable Verilog of a component, one flat module, the same bytes every time.

Amaranth's own `verilog.convert` is silently wrong in Icarus: its ``always @*`` blocks that read constants alone are
never triggered and leave X. Here Yosys turns processes into nets before writing, which leaves only assignments,
clocked registers and memories.
"""

import importlib
import re
import tempfile
from pathlib import Path
from typing import Any

from amaranth.hdl import Const, Module, Shape, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from .rom import EMPTY_STYLE
from .yosys import run_yosys

__all__ = ["LINT_WAIVERS", "emit", "emit_rtlil"]

LINT_WAIVERS = {
    "UNUSEDSIGNAL": "A block need not use every bit of an input: an end mark, a ready, low bits that are rounded off.",
    "UNOPTFLAT": "Bits of one wire may depend on other bits of it (fields of a payload); there are no true loops.",
    "WIDTH": "Operands are widened and results cut where Amaranth computed their widths; Verilog does so implicitly.",
}
"""Rules of ``verilator -Wall`` that the text switches off for itself, each with its reason."""


class _Plain(wiring.Component):
    """A component without the constant ports of streams that are always valid or always ready."""

    def __init__(self, inner: Any):
        self._inner = inner
        self._ports = {}
        for path, member, value in inner.signature.flatten(inner):
            if not isinstance(value, Const):
                self._ports["__".join(map(str, path))] = (member.flow, Value.cast(value))
        super().__init__({name: flow(Shape.cast(value.shape())) for name, (flow, value) in self._ports.items()})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = self._inner
        for name, (flow, value) in self._ports.items():
            port = getattr(self, name)
            m.d.comb += value.eq(port) if flow == In else port.eq(value)
        return m


def emit_rtlil(component: wiring.Component, *, name: str) -> str:
    """RTLIL of a component, with the ports that `emit` describes, hierarchy and all.

    Memories in `EMPTY_STYLE` have no initial contents; Amaranth writes zeros for them.
    """
    values = [value for _, _, value in component.signature.flatten(component)]
    if any(isinstance(value, Const) for value in values):
        component = _Plain(component)
    rtlil = importlib.import_module("amaranth.back.rtlil")  # the type stubs do not know it
    return _without_contents(rtlil.convert(component, name=name, emit_src=False))


def _without_contents(text: str) -> str:
    """The RTLIL without the initial contents of memories that have none."""
    if f'\\ram_style "{EMPTY_STYLE}"' not in text:
        return text
    empty = rf'attribute \\ram_style "{EMPTY_STYLE}"\n(?: *attribute .*\n)* *memory .* (\S+)\n'
    modules = re.split(r"(?m)^(?=module )", text)
    for number, module in enumerate(modules):
        names = set(re.findall(empty, module))
        modules[number] = re.sub(
            r'(?m)^  cell \$meminit_v2 .*\n(?:    .*\n)*?    parameter \\MEMID "(.*)"\n(?:    .*\n)*  end\n',
            lambda cell, names=names: "" if cell[1].replace("\\\\", "\\") in names else cell[0], module)
    return "".join(modules)


def emit(component: wiring.Component, *, name: str) -> str:
    """Verilog of a component.

    Parameters
    ----------
    component : wiring.Component
        Ports are named after their path: ``i__payload``, ``i__valid``, ``i__ready``, ``clk``, ``rst``. A stream that is
        always valid (always ready) has no such port.
    name : str
        Name of the module, a Verilog identifier.

    Returns
    -------
    str
        One module, initial memory contents included, without a date or version; the one attribute is ``ram_style``.

    Raises
    ------
    ValueError
        If the name is not an identifier.
    ToolFailed
        If Yosys fails.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"Name must be a Verilog identifier, not {name!r}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "in.il").write_text(emit_rtlil(component, name=name))
        # Without `opt_expr -fine` there are comparisons that are always true, and without `pmuxtree` there are
        # `parallel_case` comments; tools warn of both.
        passes = "proc; flatten; opt_expr -fine; opt_clean -purge; pmuxtree"
        run_yosys(f"read_rtlil in.il; {passes}; write_verilog out.v", folder=path)
        text = (path / "out.v").read_text()
    # Of the attributes only what a memory is to be made of matters to anybody else.
    text = re.sub(r"\(\* (?!ram_style)[^*]*\*\)(\n *| )", "", text)
    # Verilator warns of a register that is both initialised where it is declared and assigned by a process.
    text = re.sub(r"^(  reg .*?)(\S+ ?) = (.*;)$", r"\1\2;\n  initial \2 = \3", text, flags=re.MULTILINE)
    waivers = [f"// {reason}\n/* verilator lint_off {rule} */\n" for rule, reason in LINT_WAIVERS.items()]
    return "// Generated by Dovetail.\n" + "".join(waivers) + re.sub(r"\A/\*.*?\*/\s*", "", text, flags=re.DOTALL)
