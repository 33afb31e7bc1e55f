"""The gearbox alone: every ratio of word and beat, stalls on both sides."""

import random

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from dovetail.hw.arch import SelectArch, SelectKind, bits_for
from dovetail.hw.gearbox import Gearbox

BITS = 4


def unpack(payload, *, address_bits, lanes):
    """Pairs (element, value) that are marked, and `last`."""
    address, payload = payload & (1 << address_bits) - 1, payload >> address_bits
    values = [payload >> lane * BITS & (1 << BITS) - 1 for lane in range(lanes)]
    mask, last = payload >> lanes * BITS & (1 << lanes) - 1, payload >> lanes * BITS + lanes
    return [(address * lanes + lane, values[lane]) for lane in range(lanes) if mask >> lane & 1], last


@pytest.mark.parametrize(("width", "lanes"), [
    (1, 1), (4, 4), (1, 2), (1, 3), (1, 8), (2, 4), (2, 6), (4, 8), (2, 1), (4, 1), (4, 2), (6, 2), (8, 1), (8, 2),
])
@pytest.mark.parametrize("pace", [1.0, 0.5])
def test_pairs(width, lanes, pace):
    words = 5
    arch = SelectArch(kernels=words * width, width=width, beats=words, value_bits=BITS, kind=SelectKind.NONZERO,
                      lanes=lanes)
    dut = Gearbox(arch)
    rng = random.Random(width * 10 + lanes)
    sent, expected = [], []
    for _ in range(20):
        for word in range(words):
            mask = rng.choice([0, 1, rng.randrange(1 << width), (1 << width) - 1])
            final = word == words - 1
            if not mask and not final:
                continue
            values = rng.randrange(1 << width * BITS)
            payload = word | values << bits_for(words) | mask << bits_for(words) + width * BITS
            sent.append(payload | final << bits_for(words) + width * BITS + width)
            pairs, _ = unpack(payload, address_bits=bits_for(words), lanes=width)
            beats = {}
            for element, value in pairs:
                beats.setdefault(element // lanes, []).append((element, value))
            beats = list(beats.values()) or [[]]
            expected += [(beat, int(final and index == len(beats) - 1)) for index, beat in enumerate(beats)]
    received, cycles = [], 0

    async def producer(ctx):
        for payload in sent:
            while rng.random() >= pace:
                await ctx.tick()
            ctx.set(dut.i.payload.as_value(), payload)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def consumer(ctx):
        nonlocal cycles
        held = None
        while len(received) < len(expected):
            ready = rng.random() < pace
            ctx.set(dut.o.ready, ready)
            *_, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload.as_value())
            assert held is None or (valid and payload == held), "o must keep valid and payload until the transfer"
            held = payload if valid and not ready else None
            cycles += 1
            if valid and ready:
                received.append(unpack(payload, address_bits=arch.address_bits, lanes=lanes))

    top = Module()
    top.domains.sync = ClockDomain("sync")      # widening is combinational and has no clock of its own
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(producer)
    simulator.add_testbench(consumer)
    simulator.run()
    assert received == expected
    if pace == 1:
        assert cycles == len(expected)
