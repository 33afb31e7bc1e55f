"""Requests and their answers over a line that may lose, damage or repeat anything."""

import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...hw.errors import DeviceError
from ...hw.link.messages import Reason, Reply, Request
from .frames import Decoder, Frame, encode, worst_octets
from .line import Line

__all__ = ["PATIENCE", "TRIES", "Call", "Exchange", "Refused"]

#: Times that a request is sent before the board counts as silent.
TRIES = 6

#: Seconds that a first answer may be late for reasons that no arithmetic knows: drivers, hubs, other programs.
PATIENCE = 0.1

#: Seconds to which patience grows at most.
_MOST_PATIENCE = 2.0

#: What patience becomes with each answer that is in time.
_FORGETS = 0.9

_BITS = 10      # of an octet on the line, start and stop bit included


class Refused(DeviceError):
    """The board refused a request.

    Attributes
    ----------
    reason : int
        One of `Reason`, or a number that this version does not know.
    """

    def __init__(self, name: str, request: Request, reason: int):
        known = {one.value for one in Reason}
        what = Reason(reason).name.lower().replace("_", " ") if reason in known else f"reason {reason}"
        super().__init__(f"{name}: the board refused {request.name}: {what}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request, and what its answer is expected to be.

    Members
    -------
    request : Request
    body : bytes
    answer : int
        Octets of the answer's body; an answer of another length is none.
    cycles : int
        Clock cycles that the board works on it.
    """

    request: Request
    body: bytes = b""
    answer: int = 0
    cycles: int = 0


@dataclass(kw_only=True)
class _Pending:
    """A call that waits for its answer.

    Members
    -------
    number : int
        Of the call.
    due : dict
        The tag of each time that it was sent, with the time when an answer was due.
    deadline : float
        When it is sent again.
    seconds : float
        That line and board are busy with it, at most.
    """

    number: int
    call: Call
    due: dict[int, float] = field(default_factory=dict)
    deadline: float = 0.0
    seconds: float = 0.0


class Exchange:
    """Calls to a board.

    A request whose answer does not come in time is sent again, each time with a tag of its own and twice the patience.
    An answer with a tag that nobody waits for is ignored. So is one that came although it was given up and sent again,
    but it shows that the board is slower than thought: then patience grows for what follows.

    Parameters
    ----------
    line : Line
    name : str
        What messages call the board.
    baud : int
        Bits per second.
    most : int
        Octets of the longest answer's body.
    patience : float
        Seconds.
    clock : callable
        Seconds that never go back.

    Members
    -------
    clock_hz : int
        Of the board, as far as known.
    resent : int
        Requests that were sent again.
    """

    def __init__(self, line: Line, *, name: str, baud: int, most: int, patience: float = PATIENCE,
                 clock: Callable[[], float] = time.monotonic):
        self.clock_hz = 1_000_000
        self.resent = 0
        self._line, self._name, self._baud, self._clock = line, name, baud, clock
        self._least = self._patience = patience
        self._decoder = Decoder(most=most)
        self._tag = random.SystemRandom().getrandbits(32)
        self._free = clock()        # when the line and the board are through with all that was sent

    def run(self, calls: Sequence[Call], *, window: int = 1,
            on_answer: Callable[[int], None] = lambda count: None) -> list[bytes]:
        """Make calls, at most ``window`` of them without an answer at a time.

        Parameters
        ----------
        calls : sequence of Call
        window : int
        on_answer : callable
            Told how many calls have their answer, whenever it is one more.

        Returns
        -------
        list of bytes
            The answers' bodies, in the order of the calls.

        Raises
        ------
        Refused
            If the board refuses a call.
        DeviceError
            If a call was sent `TRIES` times without an answer, or the line breaks.
        """
        answers: dict[int, bytes] = {}
        waiting: deque[_Pending] = deque()
        while len(answers) < len(calls):
            while len(waiting) < window and len(answers) + len(waiting) < len(calls):
                number = len(answers) + len(waiting)
                waiting.append(_Pending(number=number, call=calls[number]))
                self._send(waiting[-1])
            with self._unbroken():
                octets = self._line.read(max(1, self._line.in_waiting))
            for frame in self._decoder.feed(octets):
                answered = self._match(waiting, frame)
                if answered is not None:
                    waiting.remove(answered)
                    # Answers come sooner than in the worst case; what follows is not due later for it.
                    self._free = self._clock() + sum(pending.seconds for pending in waiting)
                    answers[answered.number] = frame.body
                    on_answer(len(answers))
            for pending in waiting:
                if self._clock() > pending.deadline:
                    if len(pending.due) == TRIES:
                        raise DeviceError(f"{self._name}: no answer to {pending.call.request.name}, sent {TRIES} times "
                                          f"at {self._baud:,} baud")
                    self.resent += 1
                    self._send(pending)
        return [answers[number] for number in range(len(calls))]

    @contextmanager
    def _unbroken(self) -> Iterator[None]:
        """What the line objects to, in words."""
        try:
            yield
        except OSError as error:
            raise DeviceError(f"{self._name}: the line broke: {error}") from error

    def _send(self, pending: _Pending) -> None:
        call = pending.call
        self._tag = self._tag + 1 & 0xffff_ffff
        octets = encode(Frame(type=call.request, tag=self._tag, body=call.body))
        on_line = (len(octets) + worst_octets(call.answer)) * _BITS
        pending.seconds = on_line / self._baud + call.cycles / self.clock_hz
        self._free = max(self._free, self._clock()) + pending.seconds
        pending.due[self._tag] = self._free
        pending.deadline = self._free + self._patience * 2 ** (len(pending.due) - 1)
        with self._unbroken():
            self._line.write(octets)

    def _match(self, waiting: Sequence[_Pending], frame: Frame) -> _Pending | None:
        """The call that a frame answers, if any."""
        for pending in waiting:
            if frame.tag not in pending.due:
                continue
            if frame.type == Reply.REFUSED and len(frame.body) == 1:
                raise Refused(self._name, pending.call.request, frame.body[0])
            if frame.type == pending.call.request | 0x80 and len(frame.body) == pending.call.answer:
                late = self._clock() - pending.due[frame.tag]
                # Soon forgotten: one answer that some hiccup held up must not make every lost one slow.
                self._patience = min(max(self._least, 2 * late, _FORGETS * self._patience), _MOST_PATIENCE)
                return pending
        return None
