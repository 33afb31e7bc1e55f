# amaranth: UnusedElaboratable=no
"""Memories: contents, latency, hold, and writes over the load stream."""

import pytest
from amaranth.sim import Simulator

from dovetail.hw.rom import Rom


def read(dut, addresses, *, writes=(), enables=None):
    """Data after each cycle's read; writes are sent first."""
    seen = []

    async def bench(ctx):
        for memory, row, data in writes:
            ctx.set(dut.load.payload, {"memory": memory, "row": row, "data": data})
            ctx.set(dut.load.valid, 1)
            assert ctx.get(dut.load.ready)
            await ctx.tick()
            ctx.set(dut.load.valid, 0)
        for number, address in enumerate(addresses):
            ctx.set(dut.address, address)
            ctx.set(dut.en, 1 if enables is None else enables[number])
            await ctx.tick()
            seen.append(ctx.get(dut.data))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("width", [1, 7, 31, 32, 33, 64, 65, 100])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_contents(width, depth):
    rows = [((1 << width) - 1) // (row + 1) for row in range(depth)]
    assert read(Rom(width=width, depth=depth, init=rows), list(range(depth))) == rows


def test_rows_that_are_not_given_are_zero():
    assert read(Rom(width=4, depth=3, init=[9]), [0, 1, 2]) == [9, 0, 0]


def test_holds_without_enable():
    assert read(Rom(width=4, depth=3, init=[1, 2, 3]), [0, 1, 2, 1], enables=[1, 0, 0, 1]) == [1, 1, 1, 2]


def test_load_writes_its_own_chunks_only():
    dut = Rom(width=70, depth=2, init=[0, 1 << 69], load_id=5)
    writes = [(4, 0, 0xffff_ffff), (5, 0, 0x1234_5678), (6, 0, 0x9abc_def0), (7, 0, 0x3f), (8, 1, 0xffff_ffff),
              (6, 1, 1)]
    assert read(dut, [0, 1], writes=writes) == [0x3f_9abc_def0_1234_5678, 1 << 69 | 1 << 32]


@pytest.mark.parametrize(("init", "message"), [
    ([0, 0, 0], r"^init must hold at most 2 rows, not 3$"),
    ([16], r"^init must hold rows of 4 bits, not 16$"),
    ([-1], r"^init must hold rows of 4 bits, not -1$"),
])
def test_init_wrong(init, message):
    with pytest.raises(ValueError, match=message):
        Rom(width=4, depth=2, init=init)
