# amaranth: UnusedElaboratable=no
"""A serial line: rates that differ, glitches, wrong stop bits, a break."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from serial_line import Bench

from dovetail.hw.link.uart import UartReceiver, UartTransmitter

OCTETS = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, 0x7E, 0x7D, 0xFE, 0x7F]


class Receiver(wiring.Component):
    """A receiver with the ports of a board; what it receives is taken at once, or as late as ``wait`` cycles."""

    def __init__(self, cycles, wait=0):
        self.uart, self.wait, self.found = UartReceiver(cycles_per_bit=cycles), wait, []
        super().__init__({"rx": In(1), "tx": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = self.uart
        m.d.comb += [self.uart.rx.eq(self.rx), self.tx.eq(1)]
        waited = Signal(range(self.wait + 1))
        m.d.comb += self.uart.o.ready.eq(waited == self.wait)
        m.d.sync += waited.eq(0)
        with m.If(self.uart.o.valid & (waited != self.wait)):
            m.d.sync += waited.eq(waited + 1)
        return m


def receive(script, *, cycles, period=0.0, wait=0):
    """(octet, error) of all that is received."""
    dut = Receiver(cycles, wait)
    bench, found = Bench(dut=dut, cycles=cycles, period=period), []

    async def whole(ctx, bench):
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(5)
        await script(ctx, bench)
        await ctx.tick().repeat(12 * cycles)

    async def take(ctx):
        async for _, _, valid, ready, payload in ctx.tick().sample(dut.uart.o.valid, dut.uart.o.ready,
                                                                    dut.uart.o.payload):
            if valid and ready:
                found.append((payload.octet, payload.error))

    top = Module()
    top.domains.sync = bench.domain
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    bench.period = period or cycles
    simulator.add_process(take)

    async def testbench(ctx):
        await whole(ctx, bench)

    simulator.add_testbench(testbench)
    simulator.run()
    return found


@pytest.mark.parametrize("off", [-0.02, 0.0, 0.02])
@pytest.mark.parametrize("cycles", [4, 5, 13, 104])
def test_rates_that_differ(cycles, off):
    """Back to back, so that an error in one octet would spoil the next."""
    async def script(ctx, bench):
        await bench.send(ctx, OCTETS)

    assert receive(script, cycles=cycles, period=cycles * (1 + off)) == [(octet, 0) for octet in OCTETS]


@pytest.mark.parametrize("cycles", [8, 13])
def test_glitches(cycles):
    """One wrong sample does nothing: not in the middle of a bit, and not on a line at rest."""
    async def script(ctx, bench):
        for octet in OCTETS:
            for bit in [0, *(octet >> bit & 1 for bit in range(8)), 1]:
                middle = cycles // 2
                for cycle in range(cycles):
                    ctx.set(bench.dut.rx, bit ^ (cycle == middle))
                    await ctx.tick()
            ctx.set(bench.dut.rx, 1)
            await ctx.tick().repeat(3)
            ctx.set(bench.dut.rx, 0)
            await ctx.tick()
            ctx.set(bench.dut.rx, 1)
            await ctx.tick().repeat(2 * cycles)

    assert receive(script, cycles=cycles) == [(octet, 0) for octet in OCTETS]


def test_short_start():
    """Low for less than half a bit is no start; the octet behind it is whole."""
    async def script(ctx, bench):
        ctx.set(bench.dut.rx, 0)
        await ctx.tick().repeat(3)
        ctx.set(bench.dut.rx, 1)
        await ctx.tick().repeat(10)
        await bench.send(ctx, [0xA5])

    assert receive(script, cycles=10) == [(0xA5, 0)]


def test_wrong_stop_bit():
    async def script(ctx, bench):
        await bench.send(ctx, [0x11])
        await bench.send(ctx, [0x22], stop=0)
        await bench.bits(ctx, [1, 1])
        await bench.send(ctx, [0x33])

    assert receive(script, cycles=6) == [(0x11, 0), (0x22, 1), (0x33, 0)]


def test_break():
    """However long, it is one error, and the first octet behind it is right."""
    async def script(ctx, bench):
        await bench.send(ctx, [0x11])
        await bench.bits(ctx, [0] * 57 + [1])
        await bench.send(ctx, [0x22])

    assert receive(script, cycles=6) == [(0x11, 0), (0x00, 1), (0x22, 0)]


def test_what_is_not_taken_in_time_is_lost():
    """The receiver waits 25 bits: the second octet is lost, as the third says; the fourth was taken in time."""
    async def script(ctx, bench):
        await bench.send(ctx, [0x11, 0x22, 0x33])
        await bench.bits(ctx, [1] * 40)
        await bench.send(ctx, [0x44])
        await bench.bits(ctx, [1] * 40)

    assert receive(script, cycles=6, wait=6 * 15) == [(0x11, 0), (0x33, 1), (0x44, 0)]


class Loop(wiring.Component):
    """A transmitter on the pin ``tx``."""

    def __init__(self, cycles):
        self.uart = UartTransmitter(cycles_per_bit=cycles)
        super().__init__({"tx": Out(1), "rx": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = self.uart
        m.d.comb += self.tx.eq(self.uart.tx)
        return m


@pytest.mark.parametrize("cycles", [4, 7, 104])
def test_transmitter(cycles):
    """Every level of the line, cycle by cycle: back to back without a gap, then after a rest."""
    dut, levels = UartTransmitter(cycles_per_bit=cycles), []
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def put(ctx):
        for octet in OCTETS:
            ctx.set(dut.i.payload, octet)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            if octet == OCTETS[5]:
                ctx.set(dut.i.valid, 0)
                await ctx.tick().repeat(10 * cycles + 6)

    async def watch(ctx):
        for _ in range(10 * cycles * len(OCTETS) + 8):
            *_, level = await ctx.tick().sample(dut.tx)
            levels.append(level)

    simulator.add_testbench(put, background=True)
    simulator.add_testbench(watch)
    simulator.run()

    def line(octets):
        return [bit for octet in octets for bit in [0, *(octet >> bit & 1 for bit in range(8)), 1]
                for _ in range(cycles)]

    assert levels == [1] + line(OCTETS[:6]) + [1] * 7 + line(OCTETS[6:])


def test_bench_hears_a_transmitter():
    """The host of the other tests reads what is sent."""
    dut = Loop(5)
    bench = Bench(dut=dut, cycles=5)

    async def script(ctx, bench):
        for octet in OCTETS:
            ctx.set(dut.uart.i.payload, octet)
            ctx.set(dut.uart.i.valid, 1)
            await ctx.tick().until(dut.uart.i.ready)
        ctx.set(dut.uart.i.valid, 0)
        await ctx.tick().repeat(60)

    bench.run(script)
    assert bench.received == OCTETS


@pytest.mark.parametrize("kind", [UartReceiver, UartTransmitter])
def test_wrong(kind):
    with pytest.raises(ValueError, match=r"^cycles_per_bit must be at least 4, not 3$"):
        kind(cycles_per_bit=3)
