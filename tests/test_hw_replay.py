"""The replay buffer and the intake that guards it: every pair, once a fold, in order, under stalls."""

import random

import pytest
from amaranth.sim import Simulator

from dovetail.hw.arch import EngineArch
from dovetail.hw.intake import Intake
from dovetail.hw.replay import ReplayBuffer


def make_arch(*, positions=8, folds=1, capacity=8, **options):
    rows = folds * -(-positions // options.get("lanes", 1))
    return EngineArch(positions=positions, lanes=options.pop("lanes", 1), banks=1, folds=folds, set_size=1, columns=1,
                      capacity=capacity, lane_rows=rows, activation_bits=4, **options)


def expected_items(arch, vectors):
    """Items (index, value, empty, fold_end, vector_end); the index of an empty item is not told."""
    items = []
    for pairs in vectors:
        for fold in range(arch.folds):
            ends = fold == arch.folds - 1
            for number, (address, value) in enumerate(pairs):
                last = number == len(pairs) - 1
                place = address if arch.indexed else number
                items.append((fold * arch.lane_positions + place, value, False, last, last and ends))
            if not pairs:
                items.append((None, 0, True, True, ends))
    return items


def run(arch, vectors, *, gap=0.0, stall=0.0, seed=0):
    """Items, the cycles in which they were taken, and those of each `end`."""
    dut, dice = ReplayBuffer(arch), random.Random(seed)
    total = len(expected_items(arch, vectors))
    items, times, ends = [], [], []
    script = [(number, pair, place + 1 >= len(pairs))
              for number, pairs in enumerate(vectors) for place, pair in enumerate(pairs or [None])]

    async def bench(ctx):
        cycle, held, done = 0, None, 0
        while len(items) < total:
            push = end = False
            if script and script[0][0] < done + 2 and dice.random() >= gap:
                _, pair, last = script.pop(0)
                push, end = pair is not None, last
                if push:
                    ctx.set(dut.address, pair[0] if arch.indexed else 0)
                    ctx.set(dut.value, pair[1])
            ready = dice.random() >= stall
            ctx.set(dut.push, push)
            ctx.set(dut.end, end)
            ctx.set(dut.o.ready, ready)
            *_, valid, item, payload = await ctx.tick().sample(dut.o.valid, dut.o.p, dut.o.payload.as_value())
            assert held is None or (valid and payload == held), "o must keep valid and payload until the transfer"
            held = payload if valid and not ready else None
            if end:
                ends.append(cycle)
            if valid and ready:
                index = None if item.empty else item.index
                if item.empty:
                    assert item.index < arch.lane_rows, "the index of an empty item must exist"
                items.append((index, item.value, bool(item.empty), bool(item.fold_end), bool(item.vector_end)))
                times.append(cycle)
                done += item.vector_end
            cycle += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return items, times, ends


def random_vectors(arch, rng, counts):
    places = range(arch.lane_positions)
    return [[(place, rng.randrange(1, 16)) for place in sorted(rng.sample(places, count))] for count in counts]


@pytest.mark.parametrize("capacity", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("folds", [1, 2, 3])
@pytest.mark.parametrize(("gap", "stall"), [(0, 0), (0.5, 0.5), (0.7, 0), (0, 0.7)])
def test_items(capacity, folds, gap, stall):
    arch = make_arch(folds=folds, capacity=capacity)
    rng = random.Random(capacity)
    vectors = random_vectors(arch, rng, [capacity, 0, capacity, 1, 0, 0, *[rng.randint(0, capacity) for _ in range(8)]])
    items, _, _ = run(arch, vectors, gap=gap, stall=stall, seed=folds)
    assert items == expected_items(arch, vectors)


@pytest.mark.parametrize("stall", [0, 0.5])
def test_positions_in_order(stall):
    arch = make_arch(positions=15, lanes=2, folds=2, capacity=8, indexed=False)
    vectors = random_vectors(arch, random.Random(0), [8, 8, 7])
    items, _, _ = run(arch, vectors, stall=stall)
    assert items == expected_items(arch, vectors)


def test_signed_values():
    arch = make_arch(activation_signed=True)
    vectors = [[(0, -8), (3, 7), (7, -1)]]
    items, _, _ = run(arch, vectors)
    assert items == expected_items(arch, vectors)


def test_latency_and_rate():
    """Two cycles after `end`; then an item a cycle, over the ends of folds and vectors."""
    arch = make_arch(folds=2)
    items, times, ends = run(arch, random_vectors(arch, random.Random(1), [4, 4]))
    assert times[0] == ends[0] + 2
    assert times == list(range(times[0], times[0] + len(items)))


class TestIntake:
    arch = make_arch(positions=6, lanes=3, capacity=2)

    def run(self, script):
        """Sampled (ready, push, end) for each cycle's (valid, mask, last, vector_end)."""
        dut, seen = Intake(self.arch), []

        async def bench(ctx):
            for valid, mask, last, vector_end in script:
                ctx.set(dut.i.valid, valid)
                ctx.set(dut.i.p.mask, mask)
                ctx.set(dut.i.p.last, last)
                ctx.set(dut.vector_end, vector_end)
                *_, ready, push, end = await ctx.tick().sample(dut.i.ready, dut.push, dut.end)
                seen.append((ready, push, end))

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        return seen

    def test_two_vectors_are_held(self):
        assert self.run([(1, 5, 0, 0), (1, 2, 1, 0), (0, 7, 1, 0), (1, 0, 1, 0), (1, 7, 1, 0)]) == [
            (1, 5, 0), (1, 2, 1), (1, 0, 0), (1, 0, 1), (0, 0, 0)]

    def test_a_half_is_free_when_every_lane_is_through(self):
        seen = self.run([(1, 1, 1, 0), (1, 1, 1, 0), (1, 4, 1, 0b011), (1, 4, 1, 0b010), (1, 4, 1, 0b100), (1, 4, 1, 0),
                         (1, 4, 1, 0), (1, 4, 1, 0)])
        assert [ready for ready, _, _ in seen] == [1, 1, 0, 0, 0, 0, 1, 0]
        assert seen[6] == (1, 4, 1)
