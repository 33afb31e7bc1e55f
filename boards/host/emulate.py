"""A board without the board: the whole design in CXXRTL, its serial line behind a pseudo-terminal."""

import ctypes
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from amaranth.hdl import Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...hw.errors import DovetailError
from ...hw.link.arch import LEAST_CYCLES_PER_BIT
from ...hw.verilog import emit_rtlil
from ...sim.cxxrtl_build import build_library
from .emulate_shim import SHIM

__all__ = ["Emulator"]

_SLICE = 0.002              # seconds of work between two looks at the terminal
_CYCLES = 1_000, 1 << 20    # of a slice: fewest, most
_QUIET = 100_000            # cycles without any movement after which the clock stands still
_QUIET_BITS = 100           # and bits
_START = 10_000             # cycles after power-up before the first octet: a board has a reset of its own
_PAUSE_BITS = 20            # bits of silence that end an answer
_WAITING = 1 << 12          # octets from the host that wait for the design, whose line is slow
_UNREAD = 1 << 16           # octets from the design that nobody reads; what comes then is lost, as on a line


class _Step(ctypes.Structure):
    """`Step` of the shim."""

    _fields_ = [
        ("input", ctypes.c_char_p),
        ("inputs", ctypes.c_int64),
        ("output", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("cycles", ctypes.c_int64),
        ("pause", ctypes.c_int64),
        ("quiet", ctypes.c_int64),
        ("busy", ctypes.c_uint32),
        ("levels", ctypes.c_uint32),
        ("raised", ctypes.c_uint32),
    ]


class Emulator:
    """A design with a serial line, behind a pseudo-terminal that any program can open as a serial port.

    Its clock runs as fast as it can while octets are under way, or an output that means work is high, and a while
    after that; then it stands still until an octet comes. So baud rates are of no meaning to the host: octets go to and
    fro at the pace of the clock. The terminal passes every octet as it is. It stays when a host closes it; another may
    open it then.

    Parameters
    ----------
    dut : wiring.Component
        With an input ``rx`` and an output ``tx``, clocked by ``sync``. All ports have one bit; other inputs stay low.
    cycles_per_bit : int
        Of the design's serial line; at least `LEAST_CYCLES_PER_BIT`.
    busy : sequence of str
        Outputs that are high while the design has work to do, as far as it has them.

    Members
    -------
    port : str
        Path of the terminal.

    Raises
    ------
    DovetailError
        If this system has no pseudo-terminals.
    TypeError, ValueError
        If the design has other ports, or a bit is too short.
    ToolMissing, ToolFailed
        If there is no C++ compiler, or it or Yosys fails.
    """

    def __init__(self, dut: wiring.Component, *, cycles_per_bit: int, busy: Sequence[str] = ("working",)):
        if cycles_per_bit < LEAST_CYCLES_PER_BIT:
            raise ValueError(f"cycles_per_bit must be at least {LEAST_CYCLES_PER_BIT}, not {cycles_per_bit!r}")
        if not hasattr(os, "openpty"):
            raise DovetailError("this system has no pseudo-terminals, which an emulated board needs")
        self._levels = _levels(dut)
        self._busy = sum(1 << number for number, name in enumerate(self._levels) if name in busy)
        self._bit = cycles_per_bit
        self._library = _load(dut, self._levels)
        self._board = self._library.dovetail_board(cycles_per_bit)
        self._output = ctypes.create_string_buffer(_CYCLES[1] // (9 * cycles_per_bit) + 2)
        self._master, self._slave = _terminal()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self._started = self._stopped = False

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Take the terminal away. Nothing may run."""
        for file in (self._master, self._slave, self._woken, self._wake):
            os.close(file)
        self._library.dovetail_close(self._board)

    def stop(self) -> None:
        """End `run`, from another thread or a signal handler."""
        self._stopped = True
        os.write(self._wake, b"\0")

    def run(self, on_change: Callable[[Mapping[str, bool]], None] = lambda levels: None) -> None:
        """Be the board until `stop` is called.

        Parameters
        ----------
        on_change : callable
            Told the outputs by name, at first and when they changed. One that means work is high until the clock
            stands still, however short it was.
        """
        waiting, unread, cycles = bytearray(), bytearray(), _CYCLES[0]
        shown, worked, quiet = None, 0, False
        enough = max(_QUIET, _QUIET_BITS * self._bit)
        if not self._started:
            self._step(b"", _START)
            self._started = True
        while not self._stopped:
            readable, writable, _ = select.select(
                [self._woken, *[self._master] * (len(waiting) < _WAITING)], [self._master] * bool(unread), [],
                None if quiet and not waiting else 0)
            if self._master in readable:
                waiting += os.read(self._master, _WAITING)
            if writable:
                del unread[:os.write(self._master, unread)]
            if quiet and not waiting:
                continue
            begin = time.perf_counter()
            step = self._step(bytes(waiting), cycles)
            # A slice as long in cycles as the last one was quick.
            pace = step.cycles / max(time.perf_counter() - begin, 1e-6)
            cycles = min(max(int(pace * _SLICE), _CYCLES[0]), _CYCLES[1])
            del waiting[:step.inputs]
            if len(unread) < _UNREAD:
                unread += self._output.raw[:step.outputs]
            quiet = step.quiet >= enough
            worked = 0 if quiet else worked | step.raised & self._busy
            levels = step.levels & ~self._busy | worked
            if levels != shown:
                on_change({name: bool(levels >> number & 1) for number, name in enumerate(self._levels)})
                shown = levels

    def _step(self, octets: bytes, cycles: int) -> _Step:
        step = _Step(input=octets, inputs=len(octets), output=ctypes.addressof(self._output), cycles=cycles,
                     pause=_PAUSE_BITS * self._bit, busy=self._busy)
        self._library.dovetail_step(self._board, ctypes.byref(step))
        return step


def _terminal() -> tuple[int, int]:
    """Both ends of a pseudo-terminal that passes every octet as it is."""
    import tty  # not on Windows, where this module must not be in the way of others

    master, slave = os.openpty()
    tty.setraw(slave)
    return master, slave


def _levels(dut: wiring.Component) -> list[str]:
    """The outputs besides ``tx``."""
    members = dict(dut.signature.members)
    for name, member in members.items():
        if not member.is_port or Shape.cast(member.shape).width != 1:
            raise TypeError(f"Ports must have one bit each, not {name!r}: {member!r}")
    flows = {name: member.flow for name, member in members.items()}
    if flows.get("rx") != In or flows.get("tx") != Out:
        raise TypeError(f"Design must have an input rx and an output tx, not {sorted(members)!r}")
    return sorted(name for name, flow in flows.items() if flow == Out and name != "tx")


def _load(dut: wiring.Component, levels: Sequence[str]) -> ctypes.CDLL:
    def pin(name: str) -> str:
        return "p_" + name.replace("_", "__")

    bits = " | ".join(["0u", *(f"(*out(dut.{pin(name)}) & 1) << {number}" for number, name in enumerate(levels))])
    glue = (f"#define RX {pin('rx')}\n#define TX {pin('tx')}\n"
            f"static uint32_t levels(Dut &dut) {{ return {bits}; }}\n")
    library = ctypes.CDLL(str(build_library(emit_rtlil(dut, name="top"), glue=glue, loop=SHIM)))
    library.dovetail_board.restype = ctypes.c_void_p
    library.dovetail_board.argtypes = [ctypes.c_int64]
    library.dovetail_close.restype = library.dovetail_step.restype = None
    library.dovetail_close.argtypes = [ctypes.c_void_p]
    library.dovetail_step.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Step)]
    return library
