"""One accumulator file against plain registers: every slot takes effect in order."""

import random

import pytest
from amaranth.sim import Simulator

from dovetail.hw.accumulator import AccumulatorFile
from dovetail.hw.arch import AccumulatorKind

SUM_BITS, PRODUCT_BITS = 10, 6


def wrapped(value):
    return (value + (1 << SUM_BITS - 1)) % (1 << SUM_BITS) - (1 << SUM_BITS - 1)


def random_slots(rng, kids, columns, count, *, hot):
    """Slots (drain, half, word, kid, product); with ``hot`` few accumulators are met again and again."""
    slots = []
    for _ in range(count):
        kid = rng.randrange(min(kids, 2)) if hot and rng.random() < 0.8 else rng.randrange(kids)
        drain = rng.random() < 0.25
        product = 0 if drain else rng.randrange(-(1 << PRODUCT_BITS - 1), 1 << PRODUCT_BITS - 1)
        slots.append((drain, rng.randrange(2), rng.randrange(kids // columns), kid, product))
    return slots


def expected_drains(slots, kids, columns):
    sums = [[0] * kids for _ in range(2)]
    shown = []
    for drain, half, word, kid, product in slots:
        if drain:
            place = slice(word * columns, (word + 1) * columns)
            shown.append(sums[half][place])
            sums[half][place] = [0] * columns
        else:
            sums[half][kid] = wrapped(sums[half][kid] + product)
    return shown


def run(dut, slots):
    shown = []

    async def bench(ctx):
        product_now, drain_now = 0, False
        for drain, half, word, kid, product in [*slots, (False, 0, 0, 0, 0)]:
            for port, value in ((dut.drain, drain), (dut.half, half), (dut.word, word), (dut.kid, kid),
                                (dut.product, product_now)):
                ctx.set(port, value)
            *_, sums = await ctx.tick().sample(dut.sums)
            if drain_now:
                shown.append(list(sums))
            product_now, drain_now = product, drain

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return shown


@pytest.mark.parametrize("kind", AccumulatorKind)
@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize(("kids", "columns"), [
    (1, 1), (2, 1), (3, 1), (2, 2), (6, 2), (16, 2), (4, 4), (12, 4), (24, 8)])
def test_random_slots(kids, columns, kind, hot):
    dut = AccumulatorFile(kids=kids, columns=columns, sum_bits=SUM_BITS, product_bits=PRODUCT_BITS, kind=kind)
    slots = random_slots(random.Random(kids * 10 + columns), kids, columns, 400, hot=hot)
    assert run(dut, slots) == expected_drains(slots, kids, columns)


@pytest.mark.parametrize("kind", AccumulatorKind)
@pytest.mark.parametrize(("slots", "shown"), [
    # the same accumulator in every cycle: 1 + 2 + 4
    ([(0, 0, 0, 3, 1), (0, 0, 0, 3, 2), (0, 0, 0, 3, 4), (1, 0, 1, 0, 0)], [[0, 7]]),
    # a drain right behind a product, a product right behind the drain, and that drained again
    ([(0, 0, 0, 2, 5), (1, 0, 1, 0, 0), (0, 0, 0, 2, 6), (1, 0, 1, 0, 0), (1, 0, 1, 0, 0)], [[5, 0], [6, 0], [0, 0]]),
    # one half fills while the other drains
    ([(0, 0, 0, 0, 1), (0, 1, 0, 0, 2), (1, 0, 0, 0, 0), (0, 1, 0, 0, 4), (1, 1, 0, 0, 0)], [[1, 0], [6, 0]]),
    # columns of a word are apart
    ([(0, 0, 0, 0, 1), (0, 0, 0, 1, 2), (0, 0, 0, 0, 4), (0, 0, 0, 1, 8), (1, 0, 0, 0, 0)], [[5, 10]]),
])
def test_hazards(kind, slots, shown):
    dut = AccumulatorFile(kids=4, columns=2, sum_bits=SUM_BITS, product_bits=PRODUCT_BITS, kind=kind)
    assert run(dut, slots) == shown


@pytest.mark.parametrize("kind", AccumulatorKind)
def test_sums_wrap(kind):
    dut = AccumulatorFile(kids=2, columns=1, sum_bits=4, product_bits=4, kind=kind)
    assert run(dut, [(0, 0, 0, 0, 7), (0, 0, 0, 0, 1), (1, 0, 0, 0, 0)]) == [[-8]]
