"""A network on a board, called like a function."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from ...hw.errors import DeviceError, DovetailError
from ...hw.link.contents import contents_crc, load_messages
from ...hw.link.messages import VERSION, Reason, Request
from ...hw.memory_map import memory_map
from ...sw.plan import Plan
from ..build_folder import Build
from .codes import input_format, output_format
from .exchange import PATIENCE, Call, Exchange, Refused
from .identity import design_id
from .line import Line, open_line

__all__ = ["BAUD", "Device", "Hello"]

#: Bits per second where nobody says.
BAUD = 1_000_000

_LOADS = 3          # times that contents are sent, where somebody comes between
_HELLO = 22         # octets of the answer
_LOADABLE, _LOADED = 1, 2


@dataclass(frozen=True, kw_only=True)
class Hello:
    """What a board says of itself; see ``docs/host.md``.

    Members
    -------
    loadable, loaded : bool
    window : int
    design, contents : int
    clock_hz : int
    dropped : int
        Frames that the board dropped.
    """

    loadable: bool
    loaded: bool
    window: int
    design: int
    contents: int
    clock_hz: int
    dropped: int

    @classmethod
    def of(cls, body: bytes, *, name: str) -> "Hello":
        """Read the answer of the board ``name``.

        Raises
        ------
        DeviceError
            If the board speaks another version of the protocol, or says what cannot be.
        """
        if body[0] != VERSION:
            raise DeviceError(f"{name}: the board speaks version {body[0]} of the protocol, not {VERSION}")
        design, contents, clock_hz, dropped = (
            int.from_bytes(body[low:high], "little") for low, high in ((4, 12), (12, 16), (16, 20), (20, 22)))
        if not body[2] or not clock_hz:
            raise DeviceError(f"{name}: the board says that its window is {body[2]} and its clock {clock_hz} Hz")
        return cls(loadable=bool(body[1] & _LOADABLE), loaded=bool(body[1] & _LOADED), window=body[2], design=design,
                   contents=contents, clock_hz=clock_hz, dropped=dropped)


class Device:
    """A planned network on a board: input codes in, the network's results out, as `NetworkSimulation` gives them.

    The board is asked what it holds when the device is made, and again after every call. Where it holds other contents
    of the same design, and can be loaded, it is.

    Parameters
    ----------
    line : Line
        Closed with the device, or at once where the device cannot be made.
    plan : Plan
    baud : int
    cycles : int
        That an input takes from the network's first layer to its result, roughly.
    name : str
        What messages call the board.
    on_load : callable
        Told how many of how many messages of an upload were taken.
    patience, clock
        As for `Exchange`.

    Members
    -------
    hello : Hello
        What the board said last.
    resent : int
        Requests that were sent again, for want of an answer.
    loaded : bool
        Contents were uploaded.

    Raises
    ------
    DovetailError
        If the board holds another design, or other contents that it cannot change.
    DeviceError
        If it does not answer, or not as it should.
    """

    def __init__(self, line: Line, plan: Plan, *, baud: int = BAUD, cycles: int = 0, name: str = "board",
                 on_load: Callable[[int, int], None] = lambda done, total: None,
                 patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic):
        self._line, self._name = line, name
        try:
            self._memories = memory_map(plan.arch, plan.images)
            self._input, self._output = input_format(plan.arch), output_format(plan.arch)
            self._contents = contents_crc(self._memories)
            self._cycles = cycles
            self._exchange = Exchange(line, name=name, baud=baud, most=max(_HELLO, self._output.body),
                                      patience=patience, clock=clock)
            self.loaded = False
            self.hello = self._ask()
            if self.hello.design != design_id(plan.arch, plan.images):
                raise DovetailError(f"{name}: the board holds another design: build this one's bitstream and program "
                                    "the board with it")
            if not self._is_current():
                if not self.hello.loadable:
                    raise DovetailError(
                        f"{name}: the board holds other weights of this design, which are part of its bitstream: "
                        "build and program it anew, or compile with loadable = true")
                self._load(on_load)
        except BaseException:
            line.close()
            raise

    @classmethod
    def open(cls, port: str, build: Build, *, baud: int = BAUD,
             on_load: Callable[[int, int], None] = lambda done, total: None) -> "Device":
        """The network of a build folder on the board at a serial port, which is locked for others.

        Raises
        ------
        DovetailError
            If that is no port; else as `Device`.
        DeviceError
            If the port cannot be opened; else as `Device`.
        """
        # While one layer works on an input, the next ones wait for it.
        cycles = round(build.manifest["predicted_cycles_per_inference"] * (len(build.plan.layers) + 1))
        return cls(open_line(port, baud), build.plan, baud=baud, cycles=cycles, name=port, on_load=on_load)

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the line back."""
        self._line.close()

    @property
    def resent(self) -> int:
        return self._exchange.resent

    def __call__(self, codes: np.ndarray, *, on_result: Callable[[int], None] = lambda count: None) -> np.ndarray:
        """Results of input codes.

        Parameters
        ----------
        codes : int (n, L)
            In the model's order.
        on_result : callable
            Told how many results are there, whenever it is one more.

        Returns
        -------
        int64 (n, M)
            In the model's order.

        Raises
        ------
        TypeError, ValueError
            If ``codes`` has another shape, or holds what is no code.
        DeviceError
            If the board does not answer, or somebody changed its contents meanwhile.
        """
        codes = np.asarray(codes)
        if not np.issubdtype(codes.dtype, np.integer):
            raise TypeError(f"codes must be integers, not {codes.dtype}")
        if codes.ndim != 2 or codes.shape[1] != self._input.count:
            raise ValueError(f"codes must have the shape (n, {self._input.count}), not {codes.shape!r}")
        low, high = self._input.range
        if codes.size and not low <= codes.min() <= codes.max() <= high:
            raise ValueError(f"codes must be {low} to {high}, not {codes.min()} to {codes.max()}")
        calls = [Call(request=Request.INFER, body=body, answer=self._output.body, cycles=self._cycles)
                 for body in self._input.pack(codes)]
        try:
            answers = self._exchange.run(calls, window=self.hello.window, on_answer=on_result)
        except Refused as refused:
            if refused.reason == Reason.NOT_LOADED:
                raise DeviceError(f"{self._name}: the board lost its contents: it was reset, or somebody else loads "
                                  "it; open it again") from refused
            raise
        self.hello = self._ask()
        if not self._is_current():
            raise DeviceError(f"{self._name}: the board's contents were changed by somebody else; results are dropped")
        return self._output.unpack(answers)

    def _ask(self) -> Hello:
        answers = self._exchange.run([Call(request=Request.HELLO, answer=_HELLO)])
        hello = Hello.of(answers.pop(), name=self._name)
        self._exchange.clock_hz = hello.clock_hz
        return hello

    def _is_current(self) -> bool:
        return self.hello.loaded and self.hello.contents == self._contents

    def _load(self, on_load: Callable[[int, int], None]) -> None:
        """Upload the contents, and see that they arrived."""
        loads = [Call(request=Request.LOAD, body=body) for body in load_messages(self._memories)]
        seal = Call(request=Request.SEAL, body=self._contents.to_bytes(4, "little"))
        for attempt in range(_LOADS):
            try:
                self._exchange.run(loads, on_answer=lambda done: on_load(done, len(loads)))
                self._exchange.run([seal])
                break
            except Refused as refused:
                # Somebody else's LOAD came between, or the board was reset.
                if refused.reason not in (Reason.NOT_NEXT, Reason.WRONG_CRC) or attempt == _LOADS - 1:
                    raise DeviceError(f"{refused}, in load {attempt + 1} of {_LOADS}") from refused
        self.hello = self._ask()
        if not self._is_current():
            raise DeviceError(f"{self._name}: the board was loaded and does not hold what was sent")
        self.loaded = True
