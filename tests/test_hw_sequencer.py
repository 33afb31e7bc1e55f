"""Items to slots: rows, the rule of two folds, drain slots, and the table that finds the rows."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from dovetail.hw.arch import EngineArch
from dovetail.hw.sequencer import RowTable, Sequencer
from dovetail.sim import Engine, simulate


def make_arch(**options):
    given = {"positions": 8, "lanes": 1, "banks": 1, "folds": 2, "set_size": 1, "columns": 1, "capacity": 8,
             "lane_rows": 16, "activation_bits": 4}
    return EngineArch(**given | options)


def run(arch, runs, *, gap=0.0, drain=0.0, seed=0, after=20):
    """Slots (row, value, half) of all cycles but those of the drain, in the cycle after their decision.

    ``runs`` are (row, rows, value, fold_end, vector_end). Drain slots come at random; a complete fold retires in one.
    """
    dut, dice = Sequencer(arch), random.Random(seed)
    slots, vector_ends = [], 0

    async def bench(ctx):
        nonlocal vector_ends
        left, offering, idle, was_drain = list(runs), False, 0, False
        folds = 0
        while idle < after:
            if left and not offering and dice.random() >= gap:
                offering = True
                row, rows, value, fold_end, vector_end = left[0]
                ctx.set(dut.i.payload, {"row": row, "rows": rows, "value": value, "fold_end": fold_end,
                                        "vector_end": vector_end})
            is_drain = dice.random() < drain
            retire = is_drain and folds > 0
            ctx.set(dut.i.valid, offering)
            ctx.set(dut.drain, is_drain)
            ctx.set(dut.retire, retire)
            *_, ready, complete, vector_end, row, value, half = await ctx.tick().sample(
                dut.i.ready, dut.complete, dut.vector_end, dut.row, dut.value, dut.half)
            assert complete == (folds > 0)
            assert not (is_drain and ready), "no item moves in a drain slot"
            if was_drain:
                assert value == 0, "a drain slot has no value"
            slots.append((row, value, half))
            was_drain = is_drain
            vector_ends += vector_end
            folds -= retire
            if offering and ready:
                folds += left.pop(0)[3]
                offering = False
            assert folds <= 2, "at most two folds wait"
            idle = 0 if left else idle + 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return slots, vector_ends


def random_runs(rng, most_rows, count):
    runs = []
    for _ in range(count):
        fold_end = rng.random() < 0.3
        rows = rng.randint(0, most_rows)
        vector_end = fold_end and rng.random() < 0.5
        runs.append((rng.randrange(0, 16 - most_rows), rows, rng.randrange(1, 16), fold_end, vector_end))
    return runs


@pytest.mark.parametrize("most_rows", [1, 2, 3, 5])
@pytest.mark.parametrize(("gap", "drain"), [(0, 0.3), (0.5, 0.5), (0, 0.9)])
def test_slots(most_rows, gap, drain):
    """Every row of every run once, in order, in the half of its fold; nothing else has a value."""
    rng = random.Random(most_rows)
    runs = random_runs(rng, most_rows, 60)
    slots, vector_ends = run(make_arch(most_rows=most_rows, row_table=True), runs, gap=gap, drain=drain, after=100)
    expected, half = [], 0
    for row, rows, value, fold_end, _ in runs:
        expected += [(row + number, value, half) for number in range(rows)]
        half ^= fold_end
    assert [slot for slot in slots if slot[1]] == expected
    assert vector_ends == sum(vector_end for *_, vector_end in runs)


def test_one_slot_a_cycle_and_one_for_a_run_without_rows():
    slots, _ = run(make_arch(most_rows=3, row_table=True),
                   [(1, 1, 5, 0, 0), (4, 3, 6, 0, 0), (9, 0, 7, 0, 0), (2, 2, 8, 1, 1)])
    assert [(row, value) for row, value, _ in slots[1:8]] == [(1, 5), (4, 6), (5, 6), (6, 6), (9, 0), (2, 8), (3, 8)]


def test_third_fold_waits_for_the_first_to_retire():
    runs = [(number, 1, number + 1, 1, 1) for number in range(3)]
    slots, _ = run(make_arch(), runs[:2])
    assert [value for _, value, _ in slots if value] == [1, 2]
    dut, taken = Sequencer(make_arch()), []

    async def bench(ctx):
        ctx.set(dut.i.payload, {"row": 0, "rows": 1, "value": 1, "fold_end": 1, "vector_end": 1})
        ctx.set(dut.i.valid, 1)
        for cycle in range(10):
            ctx.set(dut.drain, cycle == 6)
            ctx.set(dut.retire, cycle == 6)
            *_, ready = await ctx.tick().sample(dut.i.ready)
            taken.append(ready)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert taken == [1, 1, 0, 0, 0, 0, 0, 1, 0, 0]


class TestRowTable:
    items = {"index": [3, 0, 5, 1, 7], "value": [1, 2, 3, 4, 5], "empty": [0, 0, 1, 0, 0],
             "fold_end": [0, 1, 0, 0, 1], "vector_end": [0, 0, 0, 0, 1]}

    @pytest.mark.parametrize("stall_seed", [None, 1, 2, 3])
    def test_lookup(self, stall_seed):
        arch = make_arch(folds=1, row_table=True, most_rows=2)
        rows = tuple(index * 2 | index % 3 << 4 for index in range(8))
        dut = RowTable(arch, rows)
        result = simulate(dut, {"i": self.items}, {"o": 5}, engine=Engine.AMARANTH, stall_seed=stall_seed)
        out = result.outputs["o"]
        np.testing.assert_array_equal(out["row"], [6, 0, 10, 2, 14])
        np.testing.assert_array_equal(out["rows"], [0, 0, 0, 1, 1])
        for name in ("value", "fold_end", "vector_end"):
            np.testing.assert_array_equal(out[name], self.items[name])
        if stall_seed is None:
            np.testing.assert_array_equal(result.times["o"], result.times["i"] + 1)

    def test_without_a_table(self):
        arch = make_arch(folds=1)
        result = simulate(RowTable(arch, None), {"i": self.items}, {"o": 5}, engine=Engine.AMARANTH)
        np.testing.assert_array_equal(result.outputs["o"]["row"], self.items["index"])
        np.testing.assert_array_equal(result.outputs["o"]["rows"], [1] * 5)
        np.testing.assert_array_equal(result.times["o"], result.times["i"])
