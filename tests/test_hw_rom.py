# amaranth: UnusedElaboratable=no
"""Memories: contents, latency, hold, and writes over the load stream."""

import pytest
from amaranth.sim import Simulator

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.arch import MemoryKind
from dovetail.hw.rom import Rom
from dovetail.hw.verilog import emit_rtlil


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


def test_spram():
    """Empty at first; a row is written, then read; a write takes the port from a read."""
    dut = Rom(width=40, depth=5, init=[7, 7, 7, 7, 7], load_id=2, kind=MemoryKind.SPRAM)
    writes = [(2, 3, 0x1234_5678), (3, 3, 0x9a), (2, 4, 5), (4, 0, 0xffff_ffff)]
    assert read(dut, [3, 0, 4, 3], writes=writes) == [0x9a_1234_5678, 0, 5, 0x9a_1234_5678]


def test_spram_wrong():
    with pytest.raises(ValueError, match=r"^load_id must be given for SPRAM, not None$"):
        Rom(width=4, depth=2, init=[], kind=MemoryKind.SPRAM)


@pytest.mark.parametrize(("kind", "load_id", "style"), [
    (MemoryKind.AUTO, None, None), (MemoryKind.BLOCK_RAM, None, "block"), (MemoryKind.BLOCK_RAM, 0, "block"),
    (MemoryKind.REGISTERS, None, "logic"), (MemoryKind.REGISTERS, 0, "logic"),
    (MemoryKind.LUT_RAM, None, "logic"), (MemoryKind.LUT_RAM, 0, "distributed"), (MemoryKind.SPRAM, 0, "huge")])
def test_style_arrives(kind, load_id, style):
    text = emit_rtlil(Rom(width=4, depth=2, init=[1], load_id=load_id, kind=kind), name="top")
    assert (f'ram_style "{style}"' in text) if style else "ram_style" not in text
    assert ("$meminit_v2" in text) == (kind is not MemoryKind.SPRAM)


@pytest.mark.parametrize(("kind", "block_rams"), [
    (MemoryKind.AUTO, 0), (MemoryKind.BLOCK_RAM, 1), (MemoryKind.LUT_RAM, 0)])
def test_kinds_in_synthesis(kind, block_rams):
    """A few rows, which synthesis would not keep in block RAM by itself."""
    rom = Rom(width=8, depth=32, init=[row * 37 & 255 for row in range(32)], kind=kind)
    assert count_cells(rom, Family.ECP5).bram == block_rams
