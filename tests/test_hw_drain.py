"""The drain: when its slots come, and what becomes of the sums they show."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from dovetail.hw.arch import EngineArch, EngineImages
from dovetail.hw.drain import Drain, drain_latency
from dovetail.hw.drain_control import DrainControl
from dovetail.hw.lane import Lane
from dovetail.hw.tree import sum_latency
from dovetail.sim.engine_cycles import DRAIN_LATENCY, SLOT_TO_CAPTURE

SHAPES = [
    # lanes, banks, folds, set_size, columns, drain_width
    (1, 1, 1, 1, 1, 1), (1, 1, 2, 5, 1, 1), (2, 3, 1, 4, 2, 1), (3, 1, 3, 6, 2, 2), (1, 2, 2, 7, 2, 4),
    (4, 2, 1, 16, 4, 2), (2, 1, 2, 3, 1, 8), (3, 5, 1, 8, 4, 8),
]


def make_arch(lanes, banks, folds, set_size, columns, drain_width):
    return EngineArch(positions=8, lanes=lanes, banks=banks, folds=folds, set_size=set_size, columns=columns,
                      drain_width=drain_width, capacity=8, lane_rows=8 * folds, sum_bits=12)


def control_cycles(arch, *, complete, credit, cycles):
    """(drain, retire, half, word, capture, slot, vector_end, credit taken) of every cycle from power-up on."""
    dut, seen = DrainControl(arch), []

    async def bench(ctx):
        for cycle in range(cycles):
            ctx.set(dut.complete, complete(cycle))
            ctx.set(dut.credit.valid, credit(cycle))
            *_, drain, retire, half, word, capture, slot, end, ready = await ctx.tick().sample(
                dut.drain, dut.retire, dut.half, dut.word, dut.capture, dut.slot, dut.vector_end, dut.credit.ready)
            seen.append((drain, retire, half, word, capture, slot, end, ready and credit(cycle)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("shape", SHAPES)
def test_control(shape):
    """Both halves are cleared; then fold after fold, a token a vector, in exactly the cycles that are promised."""
    arch = make_arch(*shape)
    clearing, fold_cycles = 2 * arch.drain_slots, 1 + arch.groups * arch.group_period
    folds = 2 * arch.folds + 1
    seen = control_cycles(arch, complete=lambda cycle: True, credit=lambda cycle: True,
                          cycles=clearing + folds * fold_cycles)
    assert [entry[:5] for entry in seen[:clearing]] == [
        (1, 0, half, word, 0) for half in range(2) for word in range(arch.drain_slots)]
    for fold in range(folds):
        start = clearing + fold * fold_cycles
        decision, *cycles = seen[start:start + fold_cycles]
        assert (decision[0], decision[7]) == (0, fold % arch.folds == 0)
        word = 0
        for tick, (drain, retire, half, shown, capture, slot, end, taken) in enumerate(cycles):
            slot_of_group = tick % arch.group_period
            assert drain == capture == (slot_of_group < arch.group_slots)
            assert not taken
            if drain:
                assert (half, shown, slot) == (fold % 2, word, slot_of_group)
                assert end == (fold % arch.folds == arch.folds - 1 and word >= arch.drain_slots - arch.group_slots)
                word += 1
            assert retire == (drain and word == arch.drain_slots)
        assert word == arch.drain_slots


def test_control_waits_for_fold_and_token():
    """A token is asked for when the fold is complete, and by a vector's first fold only."""
    arch = make_arch(1, 1, 2, 1, 1, 1)
    seen = control_cycles(arch, complete=lambda cycle: cycle >= 5, credit=lambda cycle: cycle >= 9, cycles=20)
    assert [cycle for cycle, entry in enumerate(seen) if entry[0]] == [0, 1, 10, 12, 14, 16, 18]
    assert [cycle for cycle, entry in enumerate(seen) if entry[7]] == [9, 13, 17]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pause", [0, 3])
def test_drain(shape, pause):
    """Random sums at the control's pace: groups bank by bank, added over the lanes, with bias; `last` ends a vector."""
    arch = make_arch(*shape)
    rng, dice = np.random.default_rng(1), random.Random(1)
    biases = rng.integers(-500, 500, (arch.drain_width, arch.beats)).tolist()
    images = EngineImages(weights=(), biases=tuple(map(tuple, biases)))
    dut = Drain(arch, images)
    vectors = 2
    sums = rng.integers(-100, 100, (vectors, arch.folds, arch.kids, arch.lanes, arch.banks))
    expected = []
    for vector in range(vectors):
        beats = []
        for fold in range(arch.folds):
            for group in range(0, arch.kids, arch.group):
                for bank in range(arch.banks):
                    for start in range(group, group + arch.group, arch.drain_width):
                        beats.append(sums[vector, fold, start:start + arch.drain_width, :, bank].sum(axis=1))
        expected.append(np.array(beats) + np.array(biases).T)
    captures = {}       # cycle: (vector, fold, word)
    firsts = []         # cycle of each group's first beat
    cycle = 0
    for vector in range(vectors):
        for fold in range(arch.folds):
            for group in range(arch.groups):
                for slot in range(arch.group_slots):
                    captures[cycle + slot] = vector, fold, group * arch.group_slots + slot, slot
                firsts.append(cycle + arch.group_slots - 1 + drain_latency(arch))
                cycle += arch.group_period
            cycle += 1 + dice.randint(0, pause)
    got, times, lasts = [], [], []

    async def bench(ctx):
        for now in range(cycle + arch.group_beats + drain_latency(arch) + 4):
            capture = captures.get(now)
            ctx.set(dut.capture, capture is not None)
            if capture:
                vector, fold, word, slot = capture
                ctx.set(dut.slot, slot)
                ctx.set(dut.vector_end, fold == arch.folds - 1 and word >= arch.drain_slots - arch.group_slots)
                for lane in range(arch.lanes):
                    for bank in range(arch.banks):
                        for column in range(arch.columns):
                            total = int(sums[vector, fold, word * arch.columns + column, lane, bank])
                            ctx.set(dut.sums[lane][bank][column], total)
            else:
                ctx.set(dut.sums.as_value(), -1)    # noise, which must not be captured
            *_, valid, last, values = await ctx.tick().sample(dut.o.valid, dut.o.p.last, dut.o.p.values)
            if valid:
                got.append(list(values))
                times.append(now)
                lasts.append(last)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    np.testing.assert_array_equal(got, np.concatenate(expected))
    assert lasts == ([0] * (arch.beats - 1) + [1]) * vectors
    # One beat after the other, from each group's first on.
    assert times == [first + beat for first in firsts for beat in range(arch.group_beats)]


@pytest.mark.parametrize(("lanes", "levels"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_latencies_are_the_cycle_models(lanes, levels):
    arch = make_arch(lanes, 1, 1, 1, 1, 1)
    assert sum_latency(lanes) == levels
    assert drain_latency(arch) == 1 + DRAIN_LATENCY + levels     # there, one cycle is counted with the beats
    assert Lane.latency == SLOT_TO_CAPTURE
