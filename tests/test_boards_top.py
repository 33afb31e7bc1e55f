# amaranth: UnusedElaboratable=no
"""What every board has around its network: reset, lights, pins and their polarity."""

import re

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from builders import make_network

from dovetail.boards.clocking import Clocking, clocking
from dovetail.boards.host.frames import Decoder, Frame, encode
from dovetail.boards.host.identity import link_arch
from dovetail.boards.kits.icebreaker import ICEBREAKER
from dovetail.boards.kits.ulx3s import ULX3S_85F
from dovetail.boards.top import BoardTop, Lights, PowerOnReset
from dovetail.boards.wiring import WiredTop
from dovetail.hw.link.messages import FLAG, Reply, Request
from dovetail.hw.link.sizes import HELLO_OCTETS
from dovetail.hw.verilog import emit_rtlil
from dovetail.sw.plan import plan
from dovetail.sw.settings import Settings

CYCLES_PER_BIT = 5


def run(dut, testbench):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


@pytest.mark.parametrize("cycles", [1, 5, 16])
def test_power_on_reset(cycles):
    dut = PowerOnReset(cycles)
    lengths = []

    async def length(ctx):
        count = 0
        while ctx.get(dut.reset):
            await ctx.tick()
            count += 1
        return count

    async def testbench(ctx):
        lengths.append(await length(ctx))
        for held in (1, 3):
            ctx.set(dut.restart, 1)
            await ctx.tick().repeat(held)
            ctx.set(dut.restart, 0)
            await ctx.tick().until(dut.reset)
            lengths.append(await length(ctx))
        await ctx.tick().repeat(100)
        assert not ctx.get(dut.reset)

    run(dut, testbench)
    # One cycle passes while the reset is waited for.
    assert cycles <= lengths[0] <= 2 * cycles and all(
        cycles <= length + 1 <= 2 * cycles + 3 for length in lengths[1:]), lengths


def test_reset_wrong():
    with pytest.raises(ValueError, match=r"^cycles must be at least 1, not 0$"):
        PowerOnReset(0)


@pytest.mark.parametrize("wait", range(9))
def test_lights_are_stretched(wait):
    """A pulse of one cycle, wherever the ticks are; the other light stays as it is."""
    dut = Lights(lights=2, cycles=8)

    async def testbench(ctx):
        await ctx.tick().repeat(wait + 1)
        assert ctx.get(dut.o) == 0
        ctx.set(dut.i, 2)
        await ctx.tick()
        ctx.set(dut.i, 0)
        count = 0
        while ctx.get(dut.o):
            assert ctx.get(dut.o) == 2
            await ctx.tick()
            count += 1
        assert 8 <= count <= 2 * 8 + 2
        await ctx.tick().repeat(40)
        assert ctx.get(dut.o) == 0

    run(dut, testbench)


def test_light_stays_on():
    dut = Lights(lights=1, cycles=4)

    async def testbench(ctx):
        ctx.set(dut.i, 1)
        await ctx.tick()
        for _ in range(50):
            assert ctx.get(dut.o) == 1
            await ctx.tick()

    run(dut, testbench)


def test_alive_blinks():
    dut = Lights(lights=1, cycles=4)
    seen = []

    async def testbench(ctx):
        for _ in range(4 * 64):
            seen.append(ctx.get(dut.alive))
            await ctx.tick()

    run(dut, testbench)
    assert seen == ([0] * 64 + [1] * 64) * 2


def test_whole_board_says_hello():
    """From the configuration on, without anything but its clock: reset, link, answer, lights."""
    made = plan(make_network(np.random.default_rng(1), sizes=(6, 8, 3)), Settings(target_cycles=200))
    link = link_arch(made, clock_hz=5_000_000, baud=1_000_000)
    dut = BoardTop(made.arch, made.images, link=link)
    received = bytearray()

    async def send(ctx):
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(250)        # 20 us and more
        assert ctx.get(dut.loaded) and not ctx.get(dut.working) and ctx.get(dut.tx)
        for octet in encode(Frame(type=Request.HELLO, tag=7)):
            for bit in (0, *(octet >> place & 1 for place in range(8)), 1):
                ctx.set(dut.rx, bit)
                await ctx.tick().repeat(CYCLES_PER_BIT)

    async def receive(ctx):
        while received.count(FLAG) < 2:
            while ctx.get(dut.tx):
                await ctx.tick()
            await ctx.tick().repeat(CYCLES_PER_BIT // 2)
            octet = 0
            for place in range(8):
                await ctx.tick().repeat(CYCLES_PER_BIT)
                octet |= ctx.get(dut.tx) << place
            await ctx.tick().repeat(CYCLES_PER_BIT)
            received.append(octet)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(send)
    sim.add_testbench(receive)
    sim.run_until(3e-3)
    (answer,) = Decoder(most=HELLO_OCTETS).feed(bytes(received))
    assert (answer.type, answer.tag, len(answer.body)) == (Reply.HELLO, 7, HELLO_OCTETS)
    assert int.from_bytes(answer.body[4:12], "little") == link.design
    assert int.from_bytes(answer.body[16:20], "little") == 5_000_000


class Probe(wiring.Component):
    """Ports of a board's top; shows what it is given."""

    def __init__(self):
        super().__init__({"rx": In(1), "restart": In(1), **{
            name: Out(1) for name in ("tx", "loaded", "working", "dropped", "alive")}})

    def elaborate(self, platform):
        m = Module()
        unused = Signal()
        m.d.sync += unused.eq(~unused)
        m.d.comb += [self.tx.eq(self.rx), self.loaded.eq(self.restart), self.working.eq(self.rx),
                     self.dropped.eq(unused)]
        return m


@pytest.mark.parametrize("board, pressed, lit", [(ICEBREAKER, 0, 0), (ULX3S_85F, 1, 1)])
def test_polarity(board, pressed, lit):
    dut = WiredTop(board, Probe(), clocking=clocking(board, megahertz=board.oscillator_hz / 1e6, baud=1_000_000))
    sim = Simulator(dut)

    async def testbench(ctx):
        for level in (0, 1):
            ctx.set(dut.rx, level)
            assert ctx.get(dut.tx) == level and ctx.get(dut.working) == level     # of both boards, high is on
            for button in (0, 1):
                ctx.set(dut.button, button)
                assert ctx.get(dut.loaded) == (lit if button == pressed else 1 - lit)
        seen = []
        for clock in (0, 1, 0, 1):
            ctx.set(dut.clk, clock)
            seen.append(ctx.get(dut.dropped))
        assert seen == ([1, 0, 0, 1] if board is ICEBREAKER else [0, 1, 1, 0])
        assert board is ICEBREAKER or ctx.get(dut.held) == 1

    sim.add_testbench(testbench)
    sim.run()


@pytest.mark.parametrize("board, cell, parameters", [
    (ICEBREAKER, "SB_PLL40_PAD", {"DIVR": "4'0000", "DIVF": "7'0101111", "DIVQ": "3'101", "FILTER_RANGE": "3'001"}),
    (ULX3S_85F, "EHXPLLL", {"CLKI_DIV": "1", "CLKOP_DIV": "24", "CLKOS_DIV": "12", "CLKFB_DIV": "1"}),
])
def test_pll_is_there(board, cell, parameters):
    made: Clocking = clocking(board, megahertz=board.clock_mhz, baud=board.baud)
    text = emit_rtlil(WiredTop(board, Probe(), clocking=made), name="board")
    assert text.count(f"cell \\{cell} ") == 1
    for name, value in parameters.items():
        assert re.search(rf"parameter \\{name} {value}\n", text), name
    (module,) = re.findall(r"^module \\board\n(.*?)^end$", text, re.MULTILINE | re.DOTALL)
    ports = re.findall(r"wire width 1 (?:input|output) \d+\s+\\(\w+)$", module, re.MULTILINE)
    assert set(ports) == {signal.value for signal in board.pins}
