# amaranth: UnusedElaboratable=no
"""LOAD and SEAL: what is written, what is refused, and what the board says it holds, against the protocol in Python."""

import random
import zlib
from itertools import pairwise

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from dovetail.hw.link.contents import contents_crc, load_messages
from dovetail.hw.link.loader import Loader
from dovetail.hw.link.messages import Reason
from dovetail.hw.memory_map import MappedMemory, load_words

MEMORIES = (
    MappedMemory(layer="fc0", name="weights0", width=40, depth=59, first=0, rows=tuple(range(1 << 38, (1 << 38) + 59))),
    MappedMemory(layer="fc0", name="biases0", width=12, depth=3, first=2, rows=(0xabc, 0x7d7, 1)))
BODIES = load_messages(MEMORIES)
CRC = contents_crc(MEMORIES)


class Model:
    """What docs/host.md says."""

    def __init__(self, contents, loaded):
        self.contents, self.loaded, self.next = contents, loaded, None

    def load(self, body):
        """Reason, and what is written."""
        number, memory, row = (int.from_bytes(body[at:at + 2], "little") for at in (0, 2, 4))
        if number == 0:
            self.next, self.loaded, self.contents = 0, False, 0
        if self.next is None or number not in (self.next, self.next - 1):
            return Reason.NOT_NEXT, []
        if number == self.next - 1:
            return 0, []
        self.next += 1
        self.contents = zlib.crc32(body[2:], self.contents)
        return 0, [(memory, row + at, int.from_bytes(body[6 + 4 * at:10 + 4 * at], "little"))
                   for at in range((len(body) - 6) // 4)]

    def seal(self, contents):
        if contents != self.contents or not (self.loaded or self.next is not None):
            return Reason.WRONG_CRC
        self.loaded, self.next = True, None
        return 0


class Bench:
    def __init__(self, *, contents=0x12345678, loaded=True, seed=0):
        self.dut, self.domain = Loader(contents=contents, loaded=loaded), ClockDomain("sync")
        self.dice, self.model, self.written = random.Random(seed), Model(contents, loaded), []

    def run(self, script):
        top = Module()
        top.domains.sync = self.domain
        top.submodules.dut = self.dut
        simulator = Simulator(top)
        simulator.add_clock(1e-6)

        async def testbench(ctx):
            ctx.set(self.dut.load.ready, 1)
            await script(ctx, self)

        async def watch(ctx):
            async for _, _, valid, write in ctx.tick().sample(self.dut.load.valid, self.dut.load.payload):
                if valid:
                    self.written.append((write.memory, write.row, write.data))

        simulator.add_testbench(testbench)
        simulator.add_process(watch)
        simulator.run()

    async def put(self, ctx, body, seal):
        for number, octet in enumerate(body):
            await ctx.tick().repeat(self.dice.randrange(1, 4))
            ctx.set(self.dut.i.payload, {"octet": octet, "last": number == len(body) - 1, "seal": seal})
            ctx.set(self.dut.i.valid, 1)
            await ctx.tick().until(self.dut.i.ready)
            ctx.set(self.dut.i.valid, 0)
        await ctx.tick()        # and the last write
        assert ctx.get(self.dut.loaded) == self.model.loaded
        assert ctx.get(self.dut.contents) == self.model.contents

    async def load(self, ctx, body, reason=0):
        before = len(self.written)
        expected, writes = self.model.load(body)
        await self.put(ctx, body, 0)
        assert ctx.get(self.dut.reason) == expected == reason
        assert self.written[before:] == writes

    async def seal(self, ctx, contents, reason=0):
        assert self.model.seal(contents) == reason
        await self.put(ctx, contents.to_bytes(4, "little"), 1)
        assert ctx.get(self.dut.reason) == reason


@pytest.mark.parametrize("loaded", [False, True])
def test_whole_load(loaded):
    async def script(ctx, bench):
        for body in BODIES:
            await bench.load(ctx, body)
        await bench.seal(ctx, CRC ^ 1 << 31, Reason.WRONG_CRC)
        await bench.seal(ctx, CRC ^ 1, Reason.WRONG_CRC)
        await bench.seal(ctx, CRC)
        await bench.seal(ctx, CRC)          # its answer was lost
        assert bench.model.loaded

    bench = Bench(loaded=loaded)
    bench.run(script)
    assert bench.written == [(word["memory"], word["row"], word["data"]) for word in load_words_in_order()]


def load_words_in_order():
    """The words of the load stream, chunk after chunk."""
    return sorted(load_words(MEMORIES), key=lambda word: (word["memory"], word["row"]))


def test_repeated_and_out_of_order():
    async def script(ctx, bench):
        await bench.load(ctx, BODIES[1], Reason.NOT_NEXT)       # nothing has begun
        assert bench.model.loaded
        await bench.load(ctx, BODIES[0])
        await bench.load(ctx, BODIES[2], Reason.NOT_NEXT)
        await bench.load(ctx, BODIES[1])
        await bench.load(ctx, BODIES[1])                        # again: answered, and not written
        await bench.load(ctx, BODIES[1])
        await bench.load(ctx, BODIES[4], Reason.NOT_NEXT)
        await bench.load(ctx, BODIES[2])
        await bench.load(ctx, BODIES[1], Reason.NOT_NEXT)
        await bench.load(ctx, BODIES[3])
        await bench.load(ctx, BODIES[4])
        await bench.load(ctx, BODIES[4])
        await bench.seal(ctx, CRC)
        await bench.load(ctx, BODIES[4], Reason.NOT_NEXT)       # it has ended
        assert bench.model.loaded

    Bench().run(script)


def test_first_begins_anew():
    """Always, so that a host that has lost its way, or has other weights, can begin."""
    async def script(ctx, bench):
        for body in (*BODIES[:3], BODIES[0], *BODIES):
            await bench.load(ctx, body)
        await bench.seal(ctx, CRC)
        await bench.load(ctx, BODIES[0])
        assert not bench.model.loaded
        await bench.seal(ctx, CRC, Reason.WRONG_CRC)

    Bench().run(script)


def test_seal_without_a_load():
    """Of memories that hold something it is right; empty ones are not loaded by naming a CRC."""
    async def script(ctx, bench):
        await bench.seal(ctx, 0, Reason.WRONG_CRC)
        await bench.seal(ctx, 0x12345678, 0 if bench.model.loaded else Reason.WRONG_CRC)

    for loaded in (False, True):
        Bench(loaded=loaded).run(script)


def test_reset():
    """What the memories hold is known behind a reset; a load that has begun has to begin anew."""
    async def script(ctx, bench):
        async def reset():
            ctx.set(bench.domain.rst, 1)
            await ctx.tick()
            ctx.set(bench.domain.rst, 0)
            bench.model.next = None

        for body in BODIES:
            await bench.load(ctx, body)
        await bench.seal(ctx, CRC)
        await reset()
        await bench.seal(ctx, CRC)
        await bench.load(ctx, BODIES[0])
        # In the middle of a message, which then begins with its first octet again.
        ctx.set(bench.dut.i.payload, {"octet": 1, "last": 0, "seal": 0})
        ctx.set(bench.dut.i.valid, 1)
        await ctx.tick().repeat(20)
        ctx.set(bench.dut.i.valid, 0)
        await reset()
        await bench.load(ctx, BODIES[1], Reason.NOT_NEXT)
        await bench.seal(ctx, bench.model.contents, Reason.WRONG_CRC)
        for body in BODIES:
            await bench.load(ctx, body)
        await bench.seal(ctx, CRC)

    Bench().run(script)


@pytest.mark.parametrize("cycles", [1, 3, 8, 13, 31])
def test_reset_in_a_seal(cycles):
    """The contents stay known, however far the SEAL has come."""
    async def script(ctx, bench):
        ctx.set(bench.dut.i.payload, {"octet": 0x78, "last": 0, "seal": 1})
        ctx.set(bench.dut.i.valid, 1)
        await ctx.tick().repeat(cycles)
        ctx.set(bench.dut.i.valid, 0)
        ctx.set(bench.domain.rst, 1)
        await ctx.tick()
        ctx.set(bench.domain.rst, 0)
        assert ctx.get(bench.dut.loaded) and ctx.get(bench.dut.contents) == 0x12345678
        await bench.seal(ctx, 0x12345678)

    Bench().run(script)


@pytest.mark.parametrize("seed", range(2))
def test_numbers_with_carries(seed):
    """The number expected is counted in 16 bits, and so are rows."""
    dice = random.Random(seed)

    async def script(ctx, bench):
        body = (0).to_bytes(2, "little") + bytes(4) + bytes(4)
        await bench.load(ctx, body)
        for number in range(1, 262):
            row = dice.choice([0, 0xFE, 0xFF, 0x1FF, 0x7FFF, 0xFFFC])
            body = b"".join(each.to_bytes(2, "little") for each in (number, dice.randrange(1 << 16), row))
            wrong = dice.choice([number + 1, number ^ 0x100, number ^ 0x8000, number - 2])
            if number % 31 == 0 and wrong > 0:
                await bench.load(ctx, wrong.to_bytes(2, "little") + body[2:] + bytes(4), Reason.NOT_NEXT)
            await bench.load(ctx, body + dice.randbytes(12 if number > 250 else 4))

    Bench(seed=seed).run(script)


def test_model_is_that_of_the_messages():
    """The bodies here have what the tests need: several words, several messages of a memory, two memories."""
    assert [len(body) for body in BODIES] == [230, 18, 230, 18, 18]
    assert all(first[:2] < second[:2] for first, second in pairwise(BODIES))
