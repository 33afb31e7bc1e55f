"""The radix select unit alone: threshold and ties, missing elements, latency, back-pressure."""

import random
from itertools import product

import pytest
from amaranth.sim import Simulator

from dovetail.hw.arch import SelectArch, SelectKind
from dovetail.hw.local_kwta import RadixSelect


def make_arch(m, r, k, *, bits):
    return SelectArch(kernels=m, width=r, beats=-(-m // r) + 1, value_bits=bits, kind=SelectKind.LOCAL, winners=k,
                      lanes=r, bins=1)


def naive_threshold(codes, k):
    """(threshold, ties) from the sorted codes; (0, 0) where fewer than k are non-zero."""
    threshold = sorted(codes, reverse=True)[k - 1]
    return (threshold, k - sum(code > threshold for code in codes)) if threshold else (0, 0)


def beats_of(arch, codes, rng):
    """Payloads (values, mask): per port its codes in any order, one beat of padding spread over the vector."""
    beats = [[None] * arch.width for _ in range(arch.beats)]
    for port in range(arch.width):
        mine = codes[port::arch.width]
        for beat, code in zip(rng.sample(range(arch.beats), len(mine)), mine, strict=True):
            beats[beat][port] = code
    size = arch.width * arch.value_bits
    for index, beat in enumerate(beats):
        payload = (index == arch.beats - 1) << size + arch.width
        for port, code in enumerate(beat):
            noise = rng.randrange(1 << arch.value_bits)
            payload |= (noise if code is None else code | 1 << size + port - port * arch.value_bits) \
                << port * arch.value_bits
        yield payload


def run(arch, vectors, rng, *, hold=0):
    """Thresholds, and per vector (token taken, last beat, transfer on o)."""
    dut = RadixSelect(arch)
    results, times = [], []

    async def producer(ctx):
        cycle = 0
        for codes in vectors:
            ctx.set(dut.credit.ready, 1)
            valid = False
            while not valid:
                *_, valid = await ctx.tick().sample(dut.credit.valid)
                cycle += 1
            ctx.set(dut.credit.ready, 0)
            taken = cycle - 1
            for payload in beats_of(arch, codes, rng):
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.i.payload.as_value(), payload)
                await ctx.tick()
                cycle += 1
            ctx.set(dut.i.valid, 0)
            times.append([taken, cycle - 1])

    async def consumer(ctx):
        cycle = 0
        for index, _ in enumerate(vectors):
            wait = rng.randint(0, hold)
            await ctx.tick().repeat(wait + 1)
            ctx.set(dut.o.ready, 1)
            cycle += wait + 1
            valid = False
            while not valid:
                *_, valid, threshold, ties = await ctx.tick().sample(dut.o.valid, dut.o.p.threshold, dut.o.p.ties)
                cycle += 1
            ctx.set(dut.o.ready, 0)
            results.append((threshold, ties))
            times[index].append(cycle - 1)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(producer)
    simulator.add_testbench(consumer)
    simulator.run()
    return results, times


@pytest.mark.parametrize(("m", "r", "k", "bits"), [
    (1, 1, 1, 1), (1, 4, 1, 8), (2, 1, 2, 3), (3, 2, 1, 2), (5, 4, 3, 4), (16, 1, 16, 5), (25, 2, 6, 6), (64, 4, 8, 8),
])
@pytest.mark.parametrize("hold", [0, 40])
def test_threshold(m, r, k, bits, hold):
    arch = make_arch(m, r, k, bits=bits)
    rng = random.Random(m + k)
    top = (1 << bits) - 1
    few = [rng.randint(0, top) for _ in range(2)]
    vectors = [[0] * m, [top] * m, [few[0]] * m]
    vectors += [[rng.randint(0, top) for _ in range(m)] for _ in range(4)]
    vectors += [[rng.choice(few) for _ in range(m)] for _ in range(4)]
    vectors += [[rng.randint(0, top) * (rng.random() < 0.2) for _ in range(m)] for _ in range(4)]
    rng.shuffle(vectors)
    results, _ = run(arch, vectors, rng, hold=hold)
    assert results == [naive_threshold(codes, k) for codes in vectors]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_every_vector(k):
    """All vectors of three 2-bit codes, one after the other."""
    arch = make_arch(3, 2, k, bits=2)
    vectors = [list(codes) for codes in product(range(4), repeat=3)]
    results, _ = run(arch, vectors, random.Random(k))
    assert results == [naive_threshold(codes, k) for codes in vectors]


def test_latency():
    arch = make_arch(6, 2, 2, bits=5)
    _, times = run(arch, [[1, 2, 3, 4, 5, 6]] * 4, random.Random(1))
    for (_, last_beat, transfer), (taken, *_) in zip(times, times[1:], strict=False):
        assert transfer - last_beat == RadixSelect.latency(arch) == 11
        assert taken - last_beat == 11
