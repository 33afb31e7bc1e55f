"""A board with a network in plain Python: what it answers to any message by docs/host.md."""

import zlib

import numpy as np
from serial_line import message, octets_of

from dovetail.hw.link.arch import LinkArch
from dovetail.hw.link.contents import contents_crc
from dovetail.hw.memory_map import memory_map
from dovetail.sim import golden
from dovetail.sw.plan import Plan
from dovetail.sw.positions import pixel_vectors

__all__ = ["Board", "infer_body", "link_of"]


def link_of(plan: Plan, **given) -> LinkArch:
    """A link of four cycles a bit."""
    contents = contents_crc(memory_map(plan.arch, plan.images))
    return LinkArch(**{"clock_hz": 12_000_000, "baud": 3_000_000, "design": 0x0123_4567_89ab_7d7e,
                       "contents": contents} | given)


def infer_body(plan: Plan, codes) -> bytes:
    """Codes (L,) in the model's order as INFER has them."""
    ordered = pixel_vectors(np.array([codes]), plan.arch.input_pixels).ravel()
    return octets_of(ordered.tolist(), plan.arch.layers[0].engine.activation_bits)


class Board:
    """Answers messages; ``plans`` are those whose contents it may be given, the first the one it was built from."""

    def __init__(self, *plans: Plan, link: LinkArch):
        self.plans = {contents_crc(memory_map(plan.arch, plan.images)): plan for plan in plans}
        self.arch, self.link = plans[0].arch, link
        self.contents, self.next, self.dropped = link.contents, None, 0
        self.loaded = not any(memory.empty for memory in memory_map(self.arch, plans[0].images))
        self.length = len(infer_body(plans[0], [0] * self.arch.input_codes))

    def answer(self, request: bytes) -> bytes:
        kind, tag, body = request[0], int.from_bytes(request[1:5], "little"), request[5:]
        reason = self._refusal(kind, body)
        if not reason and kind == 3:
            reason = self._load(body)
        if not reason and kind == 4:
            reason = self._seal(body)
        if reason:
            return message(0xFF, tag, bytes([reason]))
        return message(kind | 0x80, tag, {1: self._hello, 2: self._infer}.get(kind, lambda _: b"")(body))

    def _refusal(self, kind: int, body: bytes) -> int:
        """The first that holds."""
        if kind not in (1, 2, 3, 4):
            return 1
        if kind in (3, 4) and not self.arch.loadable:
            return 6
        words, odd = divmod(len(body) - 6, 4)
        if not {1: not body, 2: len(body) == self.length, 3: not odd and 1 <= words <= 56, 4: len(body) == 4}[kind]:
            return 2
        return 3 if kind == 2 and not self.loaded else 0

    def _hello(self, _) -> bytes:
        numbers = ((1, 1), (self.arch.loadable | self.loaded << 1, 1), (self.link.window, 1), (0, 1),
                   (self.link.design, 8), (self.contents, 4), (self.link.clock_hz, 4), (self.dropped, 2))
        return b"".join(number.to_bytes(octets, "little") for number, octets in numbers)

    def _infer(self, body: bytes) -> bytes:
        plan, first = self.plans[self.contents], self.arch.layers[0].engine
        octets = len(body) // self.arch.input_codes
        codes = [int.from_bytes(body[at:at + octets], "little", signed=first.activation_signed)
                 for at in range(0, len(body), octets)]
        pixels = self.arch.input_pixels
        results = golden.run(plan.network, np.array(codes).reshape(pixels, -1).T.reshape(1, -1)).pop().outputs
        last = self.arch.layers[-1]
        return octets_of(pixel_vectors(results, last.pixels).ravel().tolist(), last.select.value_bits)

    def _load(self, body: bytes) -> int:
        number = int.from_bytes(body[:2], "little")
        if number == 0:
            self.next, self.contents, self.loaded = 0, 0, False
        if self.next is None or number not in (self.next, self.next - 1):
            return 4
        if number == self.next:
            self.next, self.contents = number + 1, zlib.crc32(body[2:], self.contents)
        return 0

    def _seal(self, body: bytes) -> int:
        if int.from_bytes(body, "little") != self.contents or not (self.loaded or self.next is not None):
            return 5
        self.loaded, self.next = True, None
        return 0
