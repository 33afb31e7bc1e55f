"""The histogram unit alone: threshold and ties, forwarding, clearing, latency, back-pressure."""

import random

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from dovetail.hw.arch import SelectArch, SelectKind
from dovetail.hw.histogram import Histogram


def make_arch(m, r, k, *, bits, bins):
    return SelectArch(kernels=m, width=r, beats=-(-m // r), value_bits=bits, kind=SelectKind.GLOBAL, winners=k,
                      lanes=r, bins=bins)


def naive_threshold(codes, k):
    """(threshold, ties) from the sorted codes; (0, 0) where fewer than k are non-zero."""
    threshold = sorted(codes, reverse=True)[k - 1]
    return (threshold, k - sum(code > threshold for code in codes)) if threshold else (0, 0)


def beats_of(arch, codes, rng):
    """Payloads: codes R a beat, noise where the mask is clear."""
    size = arch.width * arch.value_bits
    for beat in range(arch.beats):
        payload = rng.randrange(1 << size) if beat == arch.beats - 1 else 0
        for port, code in enumerate(codes[beat * arch.width:(beat + 1) * arch.width]):
            low = port * arch.value_bits
            payload = payload & ~((1 << arch.value_bits) - 1 << low) | code << low | 1 << size + port
        yield payload | (beat == arch.beats - 1) << size + arch.width


def run(arch, vectors, rng, *, gap=0.0, hold=0):
    """Thresholds, and per vector (token taken, last beat, first cycle of o.valid, transfer on o)."""
    dut = Histogram(arch)
    results, times = [], [[0, 0, 0, 0] for _ in vectors]

    async def producer(ctx):
        cycle = 0
        for index, codes in enumerate(vectors):
            ctx.set(dut.credit.ready, 1)
            valid = False
            while not valid:
                *_, valid = await ctx.tick().sample(dut.credit.valid)
                cycle += 1
            times[index][0] = cycle - 1
            ctx.set(dut.credit.ready, 0)
            for payload in beats_of(arch, codes, rng):
                while rng.random() < gap:
                    await ctx.tick()
                    cycle += 1
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.i.payload.as_value(), payload)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
                cycle += 1
            times[index][1] = cycle - 1

    async def consumer(ctx):
        cycle = 0
        for index, _ in enumerate(vectors):
            wait, seen = rng.randint(0, hold), None
            while True:
                ready = seen is not None and wait == 0 or hold == 0
                ctx.set(dut.o.ready, ready)
                *_, valid, threshold, ties = await ctx.tick().sample(dut.o.valid, dut.o.p.threshold, dut.o.p.ties)
                cycle += 1
                if valid and seen is None:
                    seen = (threshold, ties)
                    times[index][2] = cycle - 1
                elif seen is not None:
                    assert valid and seen == (threshold, ties)
                    wait = max(0, wait - 1)
                if valid and ready:
                    break
            times[index][3] = cycle - 1
            results.append(seen)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(producer)
    simulator.add_testbench(consumer)
    simulator.run()
    return results, times


def random_codes(arch, rng):
    top = (1 << arch.value_bits) - 1
    few = [rng.randint(0, top) for _ in range(2)]
    return rng.choice([
        lambda: [rng.randint(0, top) for _ in range(arch.kernels)],
        lambda: [rng.choice(few) for _ in range(arch.kernels)],
        lambda: [few[0]] * arch.kernels,
        lambda: [top] * arch.kernels,
        lambda: [0] * arch.kernels,
        lambda: [rng.randint(0, top) * (rng.random() < 0.1) for _ in range(arch.kernels)],
    ])()


@pytest.mark.parametrize(("m", "r", "k", "bits", "bins"), [
    (1, 1, 1, 8, 4), (1, 4, 1, 1, 1), (5, 2, 5, 2, 4), (16, 1, 3, 4, 1), (16, 4, 16, 3, 8), (25, 4, 7, 5, 4),
    (25, 3, 1, 5, 2), (100, 1, 50, 6, 16), (100, 4, 10, 7, 32),
])
@pytest.mark.parametrize("hold", [0, 30])
def test_threshold(m, r, k, bits, bins, hold):
    arch = make_arch(m, r, k, bits=bits, bins=bins)
    rng = random.Random(m + k)
    vectors = [random_codes(arch, rng) for _ in range(8)]
    results, times = run(arch, vectors, rng, gap=0.2, hold=hold)
    assert results == [naive_threshold(codes, k) for codes in vectors]
    transferred = -1
    for _, last_beat, seen, transfer in times:
        # A scan that has to wait starts two cycles after the threshold before it was taken.
        assert seen == max(last_beat, transferred + 1) + Histogram.latency(arch)
        transferred = transfer


def test_same_bin_in_every_cycle():
    """The count of one bin is read while it is written; neighbours in the same word change in between."""
    arch = make_arch(12, 1, 5, bits=4, bins=4)
    vectors = [[9] * 12, [9, 8, 9, 8, 8, 9, 9, 10, 9, 4, 9, 9], [5, 9] * 6]
    results, _ = run(arch, vectors, random.Random(0))
    assert results == [(9, 5), (9, 4), (9, 5)]


def test_token_after_the_scan():
    """A vector of one beat is over before its histogram is scanned."""
    arch = make_arch(4, 4, 2, bits=4, bins=4)
    _, times = run(arch, [[1, 2, 3, 4]] * 3, random.Random(0))
    # Both are cleared at first, four rows each; the third vector waits until the first is scanned.
    assert [times[0][0], times[1][0] - times[0][1], times[2][0] - times[0][1]] == [4, 1, 5]


@pytest.mark.parametrize("cut", range(1, 16))
def test_reset(cut):
    """Whatever was counted before a reset is forgotten, in every phase of counting and scanning."""
    arch = make_arch(4, 4, 2, bits=4, bins=4)
    top, dut = Module(), Histogram(arch)
    top.domains.sync = domain = ClockDomain("sync")
    top.submodules.dut = dut
    found = []

    async def bench(ctx):
        for codes, length in (([15, 15, 14, 14], cut), ([3, 0, 0, 1], 40)):
            ctx.set(dut.credit.ready, 1)
            ctx.set(dut.o.ready, 1)
            payloads, token = list(beats_of(arch, codes, random.Random(0))), False
            for _ in range(length):
                *_, given, valid, threshold, ties = await ctx.tick().sample(
                    dut.credit.valid, dut.o.valid, dut.o.p.threshold, dut.o.p.ties)
                token |= bool(given)
                ctx.set(dut.credit.ready, not token)
                ctx.set(dut.i.valid, token and bool(payloads))
                if token and payloads:
                    ctx.set(dut.i.payload.as_value(), payloads.pop(0))
                if valid:
                    found.append((threshold, ties))
            ctx.set(dut.i.valid, 0)
            ctx.set(domain.rst, 1)
            await ctx.tick()
            ctx.set(domain.rst, 0)
            if length == cut:
                found.clear()

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == [(1, 1)]
