# amaranth: UnusedElaboratable=no
"""A network on a serial line, driven bit by bit through its two pins."""

import numpy as np
import pytest
from builders import make_network
from hosted_board import Board, link_of
from serial_line import Bench, decode, frame, message

from dovetail.hw.link.contents import contents_crc, load_messages
from dovetail.hw.link.hosted import HostedNetwork
from dovetail.hw.link.messages import Reason, Reply, Request
from dovetail.hw.memory_map import memory_map
from dovetail.sw.plan import plan
from dovetail.sw.settings import Settings

FRAMES = np.random.default_rng(1).integers(0, 256, (14, 4), dtype=np.uint8)


def build(*, loadable=False, results=2):
    network = make_network(np.random.default_rng(0), sizes=[4, 3, results], sets=[3, 2])
    return plan(network, Settings(loadable=loadable))


def play(built, script, **options):
    """Run a script against a board; it is given the bench, and a board in Python to compare with."""
    link = link_of(built)
    bench = Bench(dut=HostedNetwork(built.arch, built.images, link=link), cycles=link.cycles_per_bit, **options)
    board = Board(built, link=link)

    async def whole(ctx, bench):
        await script(ctx, bench, board)

    bench.run(whole)


async def agree(ctx, bench, board, kind, tag, body=b""):
    """One call, to which both boards have the same answer; its body."""
    found = await bench.call(ctx, kind, tag, body)
    assert message(*found) == board.answer(message(kind, tag, body))
    return found[2]


@pytest.mark.parametrize("off", [-0.02, 0.02])
def test_calls(off):
    """With a host whose clock is off; pins that tell how it goes."""
    async def script(ctx, bench, board):
        dut = bench.dut
        assert (ctx.get(dut.loaded), ctx.get(dut.working), ctx.get(dut.dropped)) == (1, 0, 0)
        await agree(ctx, bench, board, Request.HELLO, 0x7D7E7D7E)
        await bench.send(ctx, frame(message(Request.INFER, 1, bytes(FRAMES[0]))))
        await ctx.tick().repeat(2 * bench.cycles)
        assert ctx.get(dut.working)
        kind, tag, body = await bench.answer(ctx, 1)
        assert message(kind, tag, body) == board.answer(message(Request.INFER, 1, bytes(FRAMES[0])))
        await agree(ctx, bench, board, Request.INFER, 2, bytes(FRAMES[1]))
        await agree(ctx, bench, board, 0x55, 3, b"anything")
        await ctx.tick().repeat(2 * bench.cycles)
        assert not ctx.get(dut.working)

    play(build(), script, period=4 * (1 + off))


def test_back_to_back():
    """Two on their way: answers in order, and the line back is never at rest."""
    built = build()

    async def script(ctx, bench, board):
        sent = [message(Request.INFER, 100 + number, bytes(codes)) for number, codes in enumerate(FRAMES[:6])]
        for number, request in enumerate(sent):
            await bench.send(ctx, frame(request))
            if number:
                await bench.answer(ctx, number - 1)
        await bench.answer(ctx, len(sent) - 1)
        assert decode(bench.received) == ([board.answer(request) for request in sent], 0)

    play(built, script)


def test_more_than_the_window():
    """What finds no room is dropped and counted; whatever else is answered rightly and in order."""
    async def script(ctx, bench, board):
        sent = [message(Request.INFER, number, bytes(codes)) for number, codes in enumerate(FRAMES)]
        await bench.send(ctx, b"".join(map(frame, sent)))
        while ctx.get(bench.dut.working):
            await bench.bits(ctx, [1] * 30)
        await bench.bits(ctx, [1] * 100)        # the last one's CRC and flag
        answers, _ = decode(bench.received)
        tags = [int.from_bytes(answer[1:5], "little") for answer in answers]
        assert tags == sorted(set(tags)) and tags[:3] == [0, 1, 2]
        assert answers == [board.answer(sent[tag]) for tag in tags]
        board.dropped = len(sent) - len(answers)
        assert board.dropped and ctx.get(bench.dut.dropped)
        await agree(ctx, bench, board, Request.HELLO, 99)

    play(build(results=6), script)


def test_spoilt_frames():
    """A wrong CRC, a wrong stop bit, a break: no answer, and the pin is high until HELLO has told the number."""
    async def script(ctx, bench, board):
        wrong = bytearray(frame(message(Request.HELLO, 5)))
        wrong[2] ^= 1
        await bench.send(ctx, wrong)
        await bench.send(ctx, wrong[:4])
        await bench.send(ctx, [0x00], stop=0)
        await bench.bits(ctx, [1])
        await bench.send(ctx, b"\x7E")
        await bench.bits(ctx, [0] * 35 + [1])
        await bench.send(ctx, b"\x7E")
        assert ctx.get(bench.dut.dropped)
        board.dropped = 3
        await agree(ctx, bench, board, Request.HELLO, 6)
        assert not ctx.get(bench.dut.dropped)
        await agree(ctx, bench, board, Request.INFER, 7, bytes(FRAMES[0]))
        assert len(decode(bench.received)[0]) == 2

    play(build(), script)


def test_reset():
    """In the middle of a request, and of an answer: both are gone, and the next call is as the first."""
    async def script(ctx, bench, board):
        async def reset():
            ctx.set(bench.domain.rst, 1)
            await ctx.tick()
            ctx.set(bench.domain.rst, 0)
            await bench.bits(ctx, [1] * 22)

        await bench.send(ctx, frame(message(Request.INFER, 1, bytes(FRAMES[0])))[:8])
        await reset()
        await agree(ctx, bench, board, Request.INFER, 2, bytes(FRAMES[1]))
        before = len(bench.received)
        await bench.send(ctx, frame(message(Request.INFER, 3, bytes(FRAMES[2]))))
        await bench.bits(ctx, [1] * 40)
        assert ctx.get(bench.dut.working) and len(bench.received) > before
        await reset()
        assert not ctx.get(bench.dut.working)
        bench.received.clear()
        await agree(ctx, bench, board, Request.INFER, 4, bytes(FRAMES[3]))
        await agree(ctx, bench, board, Request.HELLO, 5)

    play(build(), script)


def test_load():
    """Its own contents once more: refused while they are on their way, and after a reset still there."""
    built = build(loadable=True)
    memories = memory_map(built.arch, built.images)
    bodies = load_messages(memories)

    async def script(ctx, bench, board):
        dut = bench.dut
        await agree(ctx, bench, board, Request.LOAD, 1, bodies[1])
        for number, body in enumerate(bodies):
            await agree(ctx, bench, board, Request.LOAD, 10 + number, body)
            assert not ctx.get(dut.loaded)
        assert await agree(ctx, bench, board, Request.INFER, 2, bytes(FRAMES[0])) == bytes([Reason.NOT_LOADED])
        await agree(ctx, bench, board, Request.SEAL, 3, contents_crc(memories).to_bytes(4, "little"))
        ctx.set(bench.domain.rst, 1)
        await ctx.tick()
        ctx.set(bench.domain.rst, 0)
        assert ctx.get(dut.loaded)
        await agree(ctx, bench, board, Request.HELLO, 4)
        await agree(ctx, bench, board, Request.INFER, 5, bytes(FRAMES[0]))
        assert decode(bench.received)[0][0][0] == Reply.REFUSED

    play(built, script)
