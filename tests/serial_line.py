"""The protocol of docs/host.md written down a second time, in plain Python, and a host that drives the pins by it."""

import zlib
from dataclasses import dataclass, field

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

__all__ = ["Bench", "decode", "frame", "message", "octets_of"]


def frame(message: bytes) -> bytes:
    """A message as it goes over the line."""
    stuffed = b""
    for octet in message + zlib.crc32(message).to_bytes(4, "little"):
        stuffed += bytes([0x7D, octet ^ 0x20]) if octet in (0x7D, 0x7E) else bytes([octet])
    return b"\x7E" + stuffed + b"\x7E"


def message(kind: int, tag: int, body: bytes = b"") -> bytes:
    return bytes([kind]) + tag.to_bytes(4, "little") + body


def octets_of(values, bits: int) -> bytes:
    """Codes, or elements of a result, as they go over the line."""
    count = -(-bits // 8)
    return b"".join((int(value) & (1 << 8 * count) - 1).to_bytes(count, "little") for value in values)


def decode(octets) -> tuple[list[bytes], int]:
    """Messages of a line, and the number of frames dropped. None in place of an octet is one with a wrong stop bit."""
    messages, dropped, frame, bad, escaped = [], 0, [], False, False
    for octet in octets:
        if octet is None:
            bad = True
        elif octet == 0x7E:
            content = bytes(frame)
            if len(content) >= 9 and not bad and not escaped and (
                    zlib.crc32(content[:-4]) == int.from_bytes(content[-4:], "little")):
                messages.append(content[:-4])
            elif content or bad or escaped:
                dropped += 1
            frame, bad, escaped = [], False, False
        elif escaped:
            frame.append(octet ^ 0x20)
            escaped = False
        elif octet == 0x7D:
            escaped = True
        else:
            frame.append(octet)
    return messages, dropped


@dataclass(kw_only=True)
class Bench:
    """A design with pins ``rx`` and ``tx`` in Amaranth's simulator; ``script(ctx, bench)`` plays the host.

    ``cycles`` are those of the board's bits; ``period`` those of the host's, with a fraction if need be, of which
    ``time`` is what has not been waited for.
    """

    dut: object
    cycles: int
    period: float = 0.0
    time: float = 0.0
    received: list = field(default_factory=list)
    domain: ClockDomain = field(default_factory=lambda: ClockDomain("sync"))

    def run(self, script) -> None:
        top = Module()
        top.domains.sync = self.domain
        top.submodules.dut = self.dut
        simulator = Simulator(top)
        simulator.add_clock(1e-6)
        self.period = self.period or self.cycles

        async def testbench(ctx):
            ctx.set(self.dut.rx, 1)
            await script(ctx, self)

        simulator.add_testbench(testbench)
        simulator.add_process(self._listen)
        simulator.run()

    async def _listen(self, ctx):
        """Look at each bit in its middle; a start bit begins where the line falls."""
        wait, bits = None, []
        async for _, _, level in ctx.tick().sample(self.dut.tx):
            if wait is None:
                wait = None if level else self.cycles // 2
                continue
            wait -= 1
            if wait == 0:
                bits.append(level)
                wait = self.cycles
                if len(bits) == 10:
                    self.received.append(sum(bit << place for place, bit in enumerate(bits[1:9])) if level else None)
                    wait, bits = None, []

    async def bits(self, ctx, bits) -> None:
        """Put bits on the line, each ``period`` cycles long, which add up."""
        for bit in bits:
            ctx.set(self.dut.rx, bit)
            self.time += self.period
            cycles, self.time = divmod(self.time, 1)
            await ctx.tick().repeat(int(cycles))

    async def send(self, ctx, octets, *, stop: int = 1) -> None:
        for octet in octets:
            await self.bits(ctx, [0, *(octet >> bit & 1 for bit in range(8)), stop])
        ctx.set(self.dut.rx, 1)

    async def call(self, ctx, kind: int, tag: int, body: bytes = b"", *,
                   limit: int = 100_000) -> tuple[int, int, bytes]:
        """Send one request and wait for one answer: its type, tag and body."""
        before = len(decode(self.received)[0])
        await self.send(ctx, frame(message(kind, tag, body)))
        return await self.answer(ctx, before, limit=limit)

    async def answer(self, ctx, number: int, *, limit: int = 100_000) -> tuple[int, int, bytes]:
        """Wait for answer ``number``."""
        for _ in range(0, limit, self.cycles):
            messages, dropped = decode(self.received)
            assert not dropped
            if len(messages) > number:
                found = messages[number]
                return found[0], int.from_bytes(found[1:5], "little"), found[5:]
            await ctx.tick().repeat(self.cycles)
        raise AssertionError(f"no answer within {limit} cycles")
