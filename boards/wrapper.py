"""A frame of registers around a core, so that one with more ports than the device has pins can be placed and timed.

Inputs come from a shift register with one pin, outputs go into registers and through a multiplexer to one pin::

    si -> [shift register] -> core -> [registers] -> [shift register] -> so

Every path into and out of the core thus begins and ends in a register and counts for the clock's frequency, as it would
inside a larger design.
"""

from collections.abc import Mapping, Sequence

__all__ = ["CORE", "wrapper"]

#: Name of the core's instance, with which the names in a placed design begin.
CORE = "core"

_CLOCK, _RESET = "clk", "rst"


def wrapper(top: str, ports: Mapping[str, tuple[str, int]], *, name: str) -> str:
    """Verilog of the frame, and of the core as a module without contents.

    Parameters
    ----------
    top : str
        The core's module.
    ports : mapping of (str, int)
        By name: ``"input"`` or ``"output"``, and bits. A port ``clk`` is the clock; ``rst`` gets a pin and a register.
    name : str
        The frame's module.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no input ``clk``, or a port of another direction.
    """
    if ports.get(_CLOCK) != ("input", 1):
        raise ValueError(f"ports must have an input {_CLOCK!r} of one bit, not {ports.get(_CLOCK)!r}")
    for port, (direction, _) in ports.items():
        if direction not in ("input", "output"):
            raise ValueError(f"ports must be inputs or outputs, not {port!r}: {direction!r}")
    inputs = [(port, bits) for port, (way, bits) in ports.items() if way == "input" and port not in (_CLOCK, _RESET)]
    outputs = [(port, bits) for port, (way, bits) in ports.items() if way == "output"]
    ins, outs = sum(bits for _, bits in inputs), sum(bits for _, bits in outputs)
    connections = [f".{_CLOCK}(clk)"] + ([f".{_RESET}(rst_held)"] if _RESET in ports else [])
    for register, members in (("sent", inputs), ("taken", outputs)):
        connections += _slices(register, members)
    declared = ", ".join(f"{way} [{bits - 1}:0] \\{port} " for port, (way, bits) in ports.items())
    lines = [
        f"(* blackbox *) module {top}({declared}); endmodule",
        f"module {name}(input clk, input rst, input si, input load, output so);",
        "  reg rst_held, load_held;",
        "  always @(posedge clk) begin rst_held <= rst; load_held <= load; end",
    ]
    if ins:
        shifted = f"{{sent[{ins - 2}:0], si}}" if ins > 1 else "si"
        lines += [f"  reg [{ins - 1}:0] sent;", f"  always @(posedge clk) sent <= {shifted};"]
    if outs:
        lines += [
            f"  wire [{outs - 1}:0] taken;", f"  reg [{outs - 1}:0] held, shift;",
            "  always @(posedge clk) begin held <= taken; shift <= load_held ? held : shift >> 1; end",
            "  assign so = shift[0];",
        ]
    else:
        lines.append("  assign so = si;")
    lines += [f"  {top} {CORE}({', '.join(connections)});", "endmodule", ""]
    return "\n".join(lines)


def _slices(register: str, members: Sequence[tuple[str, int]]) -> list[str]:
    found, low = [], 0
    for port, bits in members:
        found.append(f".\\{port} ({register}[{low + bits - 1}:{low}])")
        low += bits
    return found
