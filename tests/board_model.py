"""A board in plain Python, what ``docs/host.md`` says written a second time, behind a line that may spoil it all."""

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dovetail.boards.host.identity import design_id
from dovetail.hw.memory_map import load_words, memory_map
from dovetail.sim import golden
from dovetail.sw.plan import Plan

__all__ = ["Clock", "Faults", "ModelBoard", "ModelLine", "frame", "frames"]

BAUD, CLOCK_HZ = 1_000_000, 12_000_000


def frame(kind: int, tag: int, body: bytes) -> bytes:
    """A frame, octet by octet."""
    content = bytes([kind]) + tag.to_bytes(4, "little") + body
    content += zlib.crc32(content).to_bytes(4, "little")
    stuffed = bytearray([0x7e])
    for octet in content:
        stuffed += bytes([0x7d, octet ^ 0x20]) if octet in (0x7e, 0x7d) else bytes([octet])
    return bytes(stuffed + b"\x7e")


class frames:
    """A receiver, octet by octet: call it with one, and it returns the content of a frame that it ends."""

    def __init__(self):
        self.content, self.escaped, self.dropped = bytearray(), False, 0

    def __call__(self, octet: int) -> bytes | None:
        if octet == 0x7e:
            content, aborted = bytes(self.content), self.escaped
            self.content, self.escaped = bytearray(), False
            if not content and not aborted:
                return None
            if aborted or len(content) < 9 or zlib.crc32(content[:-4]).to_bytes(4, "little") != content[-4:]:
                self.dropped += 1
                return None
            return content[:-4]
        if self.escaped:
            self.content.append(octet ^ 0x20)
        elif octet != 0x7d:
            self.content.append(octet)
        self.escaped = octet == 0x7d and not self.escaped
        return None


class ModelBoard:
    """A board on which the first of some plans was programmed; the others' contents can be loaded where it can be.

    Octets in, octets out. A code takes one octet; images are not for it.
    """

    def __init__(self, *plans: Plan, loaded: bool = True, window: int = 2):
        self.plans, self.plan, self.loaded, self.window = plans, plans[0], loaded, window
        self.loadable = plans[0].arch.loadable
        self.receive = frames()
        self.next, self.crc, self.written = 0, self.crc_of(plans[0]), {}     # `next` is 0 where no load has begun
        self.contents = self.crc
        self.inferred = 0

    @staticmethod
    def words_of(plan: Plan) -> dict[tuple[int, int], int]:
        return {(word["memory"], word["row"]): word["data"] for word in load_words(memory_map(plan.arch, plan.images))}

    @staticmethod
    def crc_of(plan: Plan) -> int:
        """Every memory's chunks one after the other, at most 56 rows in a message."""
        crc = 0
        for memory in memory_map(plan.arch, plan.images):
            rows = [*memory.rows, *[0] * (memory.depth - len(memory.rows))]
            for chunk in range(memory.chunks):
                for start in range(0, memory.depth, 56):
                    part = [row >> 32 * chunk & 0xffff_ffff for row in rows[start:start + 56]]
                    for number, octets in ((memory.first + chunk, 2), (start, 2), *((word, 4) for word in part)):
                        crc = zlib.crc32(number.to_bytes(octets, "little"), crc)
        return crc

    def feed(self, octets: bytes) -> bytes:
        answers = b""
        for octet in octets:
            content = self.receive(octet)
            if content is not None:
                kind, body = self.answer(content[0], content[5:])
                answers += frame(kind, int.from_bytes(content[1:5], "little"), body)
        return answers

    def answer(self, kind: int, body: bytes) -> tuple[int, bytes]:
        number = int.from_bytes(body[:2], "little")
        match kind:
            case 1 if not body:
                flags = self.loadable | self.loaded << 1
                return 0x81, (bytes([1, flags, self.window, 0])
                              + design_id(self.plan.arch, self.plan.images).to_bytes(8, "little")
                              + self.contents.to_bytes(4, "little") + CLOCK_HZ.to_bytes(4, "little")
                              + min(self.receive.dropped, 0xffff).to_bytes(2, "little"))
            case 2:
                return self.infer(body)
            case 3 if not self.loadable:
                return 0xff, b"\x06"
            case 3 if len(body) < 10 or len(body) % 4 != 2 or len(body) > 6 + 4 * 56:
                return 0xff, b"\x02"
            case 3 if number in (0, self.next):
                if number == 0:
                    self.loaded, self.crc, self.written = False, 0, {}
                memory, row = (int.from_bytes(body[at:at + 2], "little") for at in (2, 4))
                for at in range(6, len(body), 4):
                    self.written[memory, row + (at - 6) // 4] = int.from_bytes(body[at:at + 4], "little")
                self.next, self.crc = number + 1, zlib.crc32(body[2:], self.crc)
                return 0x83, b""
            case 3:
                return (0x83, b"") if self.next and number == self.next - 1 else (0xff, b"\x04")
            case 4 if not self.loadable:
                return 0xff, b"\x06"
            case 4:
                if not (self.next or self.loaded) or int.from_bytes(body, "little") != self.crc:
                    return 0xff, b"\x05"
                if self.next:
                    (self.plan,) = (plan for plan in self.plans if self.words_of(plan) == self.written)
                    self.loaded, self.contents, self.next = True, self.crc, 0
                return 0x84, b""
        return 0xff, b"\x01"

    def infer(self, body: bytes) -> tuple[int, bytes]:
        if not self.loaded:
            return 0xff, b"\x03"
        first, last = self.plan.arch.layers[0].engine, self.plan.arch.layers[-1].select
        if len(body) != first.positions:
            return 0xff, b"\x02"
        codes = np.frombuffer(body, np.int8 if first.activation_signed else np.uint8)
        self.inferred += 1
        result = golden.run(self.plan.network, codes.astype(np.int64)[np.newaxis])[-1].outputs[0]
        octets = -(-last.value_bits // 8)
        return 0x82, b"".join(int(value).to_bytes(octets, "little", signed=last.value_signed) for value in result)


class Clock:
    """Seconds that pass when somebody waits."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How likely an octet, or what is written at once, meets with what; ``late`` are seconds that an answer takes."""

    lost: float = 0.0
    changed: float = 0.0
    doubled: float = 0.0
    cut: float = 0.0
    noise: float = 0.0
    late: float = 0.0

    def spoil(self, octets: bytes, rng: np.random.Generator) -> bytes:
        if rng.random() < self.cut and octets:
            octets = octets[:rng.integers(len(octets))]
        spoiled = bytearray()
        for octet in octets:
            fate = rng.random(4)
            if fate[0] < self.changed:
                octet ^= 1 << int(rng.integers(8))
            if fate[3] < self.noise:
                spoiled += rng.bytes(int(rng.integers(1, 8)))
            spoiled += bytes([octet]) * (int(fate[1] >= self.lost) + int(fate[2] < self.doubled))
        return bytes(spoiled)


class ModelLine:
    """The host's end of a line to a board, with faults in both directions and a clock of its own."""

    def __init__(self, feed: Callable[[bytes], bytes], *, faults: Faults | None = None, seed: int = 0,
                 clock: Clock | None = None, before: Sequence[bytes] = ()):
        self.feed, self.faults, self.clock = feed, faults or Faults(), clock or Clock()
        self.rng = np.random.default_rng(seed)
        self.coming: deque[tuple[float, int]] = deque((0.0, octet) for piece in before for octet in piece)
        self.closed = False
        self.dead = False

    def write(self, octets: bytes) -> int:
        assert not self.closed
        self.clock.now += 10 * len(octets) / BAUD
        if not self.dead:
            answer = self.faults.spoil(self.feed(self.faults.spoil(octets, self.rng)), self.rng)
            time = max(self.clock.now + self.rng.random() * self.faults.late, self.coming[-1][0] if self.coming else 0)
            self.coming += ((time + 10 * place / BAUD, octet) for place, octet in enumerate(answer))
        return len(octets)

    @property
    def in_waiting(self) -> int:
        return sum(time <= self.clock.now for time, _ in self.coming)

    def read(self, size: int = 1) -> bytes:
        assert not self.closed and size >= 1
        if not self.in_waiting:
            self.clock.now = min(self.clock.now + 0.005, self.coming[0][0] if self.coming else float("inf"))
        return bytes(self.coming.popleft()[1] for _ in range(min(size, self.in_waiting)))

    def close(self) -> None:
        self.closed = True
