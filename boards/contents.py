"""Initial contents of iCE40 block RAMs.

Yosys maps a memory onto ``SB_RAM40_4K`` by a module that is evaluated anew for every content: a second of constant
functions each, three quarters of the time that a small design takes. So contents are taken out before that step, which
is then done once for all memories of a shape, and put into the netlist afterwards.

A cell's INIT_0 to INIT_F hold 16 words of 16 bits each. Yosys counts a word's narrow parts from the other end of the
address: bit i of its word is the bit of the cell's whose number is i with its four bits reversed.
"""

import json
from pathlib import Path

from ..hw.errors import ToolFailed

__all__ = ["UNMAPPED", "fill", "ram_parameters"]

#: What Yosys calls a block RAM before it maps it; the parameter INIT has its contents.
UNMAPPED = "$__ICE40_RAM4K_"

_WORD = 16
_ORDER = [int(f"{bit:04b}"[::-1], 2) for bit in range(_WORD)]


def ram_parameters(init: str) -> dict[str, str]:
    """The parameters of a cell with these contents.

    Parameters
    ----------
    init : str
        4096 binary digits, the highest first; an x becomes 0.

    Returns
    -------
    dict of str
    """
    bits = init[::-1].replace("x", "0")
    words = [bits[at:at + _WORD] for at in range(0, len(bits), _WORD)]
    turned = ["".join(word[bit] for bit in _ORDER) for word in words]
    return {f"INIT_{number:X}": "".join(turned[_WORD * number:_WORD * (number + 1)])[::-1] for number in range(16)}


def fill(netlist: Path, before: Path, top: str) -> None:
    """Put the contents of all block RAMs into a netlist.

    Parameters
    ----------
    netlist : Path
        JSON, with contents of zero; rewritten.
    before : Path
        JSON of the design when memories had been given to block RAMs, which were not mapped yet.
    top : str

    Raises
    ------
    ToolFailed
        If the netlist has a block RAM that is not found in the design.
    """
    cells = json.loads(before.read_text())["modules"][top]["cells"]
    inits = {name: cell["parameters"]["INIT"] for name, cell in cells.items() if cell["type"] == UNMAPPED}
    design = json.loads(netlist.read_text())
    for name, cell in design["modules"][top]["cells"].items():
        if cell["type"].startswith("SB_RAM40_4K"):
            if name not in inits:
                raise ToolFailed(f"Yosys gave a block RAM a name of its own ({name}), so that its contents are unknown")
            cell["parameters"].update(ram_parameters(inits[name]))
    netlist.write_text(json.dumps(design))
