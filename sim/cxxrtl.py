"""CXXRTL: Yosys turns the design into C++, which is compiled together with the whole clock loop."""

import ctypes
import errno
import time
from collections.abc import Sequence

import numpy as np
from amaranth.lib import wiring

from ..hw.verilog import emit_rtlil
from .cxxrtl_build import build_library
from .cxxrtl_shim import SHIM
from .harness import Harness, Port, Role
from .job import SETTLE, Job, Outcome, Status, Trace
from .payload import chunks

__all__ = ["CxxrtlModel"]

_NEVER = 1 << 62
_WAVES_LOST = 3


class _Spec(ctypes.Structure):
    """`Spec` of the shim."""

    _fields_ = [
        ("words", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("restart", ctypes.c_int64),
        ("state", ctypes.c_uint32),
        ("rate", ctypes.c_uint32),
        ("steady", ctypes.c_uint32),
        ("setup", ctypes.c_void_p),
        ("setup_count", ctypes.c_int64),
    ]


class CxxrtlModel:
    """A design as a compiled CXXRTL model.

    Parameters
    ----------
    dut : wiring.Component
    probes : sequence of str
        As for `Harness.around`.

    Raises
    ------
    ToolMissing, ToolFailed
        If there is no C++ compiler, or it or Yosys fails.
    """

    def __init__(self, dut: wiring.Component, *, probes: Sequence[str] = ()):
        harness = Harness.around(dut, probes=probes)
        self._prepare(emit_rtlil(harness, name="top"), harness.ports, level=2)

    @classmethod
    def of(cls, text: str, ports: Sequence[Port], *, level: int = 2) -> "CxxrtlModel":
        """A model of a design that is there as text.

        Parameters
        ----------
        text : str
            RTLIL with a module ``top``, whose ports are named as those of a `Harness`.
        ports : sequence of Port
        level : int
            How much the C++ compiler optimises: 2 for long runs, 0 for short ones of large designs.

        Raises
        ------
        ToolMissing, ToolFailed
            If there is no C++ compiler, or it or Yosys fails.
        """
        model = cls.__new__(cls)
        model._prepare(text, ports, level=level)
        return model

    def _prepare(self, text: str, ports: Sequence[Port], *, level: int) -> None:
        self.ports = tuple(ports)
        self._rtlil, self._level = text, level
        self._plain = _load(text, ports, waves=False, level=level)

    def run(self, job: Job) -> Outcome:
        """Run the whole job in C++, without Python's lock."""
        library = _load(self._rtlil, self.ports, waves=True, level=self._level) if job.vcd else self._plain
        sources = sum(port.role is Role.SOURCE for port in self.ports)
        sinks = sum(port.role is Role.SINK for port in self.ports)
        words = [np.ascontiguousarray(drive.words, np.uint32) for drive in job.drives]
        setups = [None if drive.setup is None else np.ascontiguousarray(drive.setup, np.uint32) for drive in job.drives]
        specs = (_Spec * len(job.drives))(*(
            _Spec(data.ctypes.data, drive.count, drive.restart, drive.state, drive.rate, port.steady,
                  None if setup is None else setup.ctypes.data, drive.setup_words)
            for data, setup, drive, port in zip(words, setups, job.drives, self.ports, strict=False)
        ))
        resets = np.array(job.resets, np.int64)
        vcd = str(job.vcd).encode() if job.vcd else None
        begin = time.perf_counter()
        run = library.dovetail_run(
            specs, sources, sinks, resets.ctypes.data, len(resets), job.idle_limit, min(job.max_cycles, _NEVER),
            SETTLE if job.has_setup else 0, vcd,
        )
        seconds = time.perf_counter() - begin
        try:
            if library.dovetail_status(run) == _WAVES_LOST:
                raise OSError(errno.EIO, "waves could not be written", str(job.vcd))
            traces = []
            for k, port in enumerate(self.ports):
                transfers = library.dovetail_transfers(run, k)
                times = np.empty(transfers, np.int64)
                taken = np.empty((transfers if port.role is not Role.SOURCE else 0, chunks(port.shape)), np.uint32)
                library.dovetail_copy(run, k, times.ctypes.data, taken.ctypes.data)
                traces.append(Trace(times=times, words=taken))
            return Outcome(
                status=Status(library.dovetail_status(run)),
                cycles=library.dovetail_cycles(run),
                seconds=seconds,
                moved=tuple(library.dovetail_moved(run, k) for k in range(len(self.ports))),
                traces=tuple(traces),
            )
        finally:
            library.dovetail_free(run)


def _load(text: str, ports: Sequence[Port], *, waves: bool, level: int) -> ctypes.CDLL:
    library = ctypes.CDLL(str(build_library(text, glue=_glue(ports), loop=SHIM, waves=waves, level=level)))
    library.dovetail_run.restype = ctypes.c_void_p
    library.dovetail_run.argtypes = [
        ctypes.POINTER(_Spec), ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
        ctypes.c_int64, ctypes.c_int64, ctypes.c_char_p,
    ]  # fmt: skip
    for name in ("moved", "transfers"):
        getattr(library, f"dovetail_{name}").argtypes = [ctypes.c_void_p, ctypes.c_int32]
        getattr(library, f"dovetail_{name}").restype = ctypes.c_int64
    library.dovetail_status.argtypes = library.dovetail_cycles.argtypes = [ctypes.c_void_p]
    library.dovetail_cycles.restype = ctypes.c_int64
    library.dovetail_copy.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p]
    library.dovetail_copy.restype = library.dovetail_free.restype = None
    library.dovetail_free.argtypes = [ctypes.c_void_p]
    return library


def _glue(ports: Sequence[Port]) -> str:
    """The part of the C++ that knows the ports by name."""
    lines = [
        "struct Port { uint32_t *payload, *valid, *ready; };",
        f"constexpr int PORTS = {len(ports)};",
        f"constexpr size_t CHUNKS[] = {{{', '.join(str(chunks(port.shape)) for port in ports)}}};",
        # The highest chunk of a payload of all ones.
        f"constexpr uint32_t TOPS[] = {{{', '.join(f'{(1 << (port.width - 1) % 32 + 1) - 1}u' for port in ports)}}};",
        "static void bind(Dut &dut, Port *ports) {",
    ]
    for k, port in enumerate(ports):
        prefix = "dut.p_" + port.prefix.replace("_", "__") + "____"
        forward, back = ("in", "out") if port.role is Role.SOURCE else ("out", "in")
        ready = f"{'out' if port.role is Role.PROBE else back}({prefix}ready)"
        lines.append(f"    ports[{k}] = {{{forward}({prefix}payload), {forward}({prefix}valid), {ready}}};")
    return "\n".join([*lines, "}", ""])
