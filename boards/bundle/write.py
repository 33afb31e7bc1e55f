"""Writing what a build folder carries for integrators."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ...hw.link.messages import ESCAPE, ESCAPE_XOR, FLAG, MOST_LOAD_WORDS, VERSION, Reason, Reply, Request
from ...hw.memory_map import MappedMemory
from ...sw.plan import Plan
from ..host.frames import OVERHEAD
from ..host.identity import design_id
from .facts import Facts, facts_of

__all__ = ["FOLDER", "write_bundle"]

#: Where in the build folder most of it is.
FOLDER = "integrate"

# Where each template's text goes.
_FILES = {
    "README.md": "README.md",
    "network.core": "network.core",
    "network_axis.v": f"{FOLDER}/network_axis.v",
    "test_network.py": f"{FOLDER}/test_network.py",
    "litex_network.py": f"{FOLDER}/litex_network.py",
    "network.h": f"{FOLDER}/network.h",
    "network.c": f"{FOLDER}/network.c",
}

#: Octets of the body of a HELLO from a board.
_HELLO_OCTETS = 22


def write_bundle(folder: Path, plan: Plan, memories: dict[str, MappedMemory]) -> None:
    """Write wrappers, tests, driver and the README of a build folder.

    Parameters
    ----------
    folder : Path
        The build folder.
    plan : Plan
    memories : dict of MappedMemory
        All of the network's, in their order, by the names of their files in ``images`` without the ending.
    """
    facts = facts_of(plan, memories)
    design = design_id(plan.arch, plan.images).to_bytes(8, "little")
    values = vars(facts) | _link(facts) | {
        "design": [f"0x{octet:02X}" for octet in design],
        "loaded": [f"images/{name}.hex" for name, _ in facts.empty], "folder": FOLDER,
    }
    environment = Environment(
        loader=PackageLoader("dovetail.boards.bundle"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True)
    environment.filters |= {"c_double": _c_double, "repeated": _repeated}
    (folder / FOLDER).mkdir()
    for template, file in _FILES.items():
        text = environment.get_template(f"{template}.jinja").render(values)
        (folder / file).write_text(text, encoding="utf-8")


def _link(facts: Facts) -> dict[str, object]:
    """What the driver in C knows of the host link."""
    infer, result = (border.elements * border.octets for border in (facts.given, facts.result))
    load = 6 + 4 * MOST_LOAD_WORDS
    return {
        "version": VERSION, "flag": FLAG, "escape": ESCAPE, "escape_xor": ESCAPE_XOR, "load_words": MOST_LOAD_WORDS,
        "hello_octets": _HELLO_OCTETS, "requests": list(Request), "replies": list(Reply),
        "not_loaded": int(Reason.NOT_LOADED),
        "most_octets": OVERHEAD + max(result, _HELLO_OCTETS),
        "request_octets": max(infer, load if facts.sendable else 0),
    }


def _c_double(value: float) -> str:
    """The same number in C: the shortest decimal that is read back as it."""
    return repr(float(value))


def _repeated(value: str, times: int) -> str:
    """A value so many times side by side, in Verilog."""
    return f"{{{times}{{{value}}}}}"
