# amaranth: UnusedElaboratable=no
"""The serialiser: every element, bias added, in order, when the model says so; nothing is lost however both wait."""

import random

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from dovetail.hw.arch import UnrolledArch
from dovetail.hw.serialise import Serialise
from dovetail.sim.unrolled_cycles import UnrolledCycles


def run(*, kernels, width, way, vectors=2, count=9, seed=0, gap=0.0, starve=0.0, reset_at=None):
    """Vectors come ``way`` cycles after their tokens; ``gap`` and ``starve`` are the chances of a cycle in which none
    is taken here, or none is offered behind.

    Returns biases, vectors, beats with their ``last``, and cycles: token valid, token taken, consumer's token valid
    and taken, last beats.
    """
    rng, dice, beats = np.random.default_rng(seed), random.Random(seed), -(-kernels // width)
    contents = rng.integers(-128, 128, (count, kernels))
    biases = rng.integers(-256, 256, (width, beats))
    dut = Serialise(kernels=kernels, width=width, value_bits=8, sum_bits=10, biases=biases.tolist(),
                    vectors=vectors)
    top, domain = Module(), ClockDomain("sync")
    top.domains.sync, top.submodules.dut = domain, dut
    log = {"beats": [], "valid": [], "taken": [], "o_valid": [], "o_taken": [], "ends": []}

    async def bench(ctx):
        if reset_at is not None:
            await play(ctx, {name: [] for name in log}, reset_at)
            for signal in (dut.i.valid, dut.credit.ready, dut.o_credit.valid):
                ctx.set(signal, 0)
            ctx.set(domain.rst, 1)
            await ctx.tick()
            ctx.set(domain.rst, 0)
        await play(ctx, log, 3000)
        assert len(log["ends"]) == count

    async def play(ctx, log, cycles):
        wanting = offering = False
        for cycle in range(cycles):
            wanting = len(log["taken"]) < count and (wanting or dice.random() >= gap)
            if not offering and len(log["o_valid"]) < count and dice.random() >= starve:
                offering = True
                log["o_valid"].append(cycle)
            come = cycle - way in log["taken"]
            ctx.set(dut.i.valid, come)
            if come:
                for element, value in enumerate(contents[log["taken"].index(cycle - way)].tolist()):
                    ctx.set(dut.i.p.values[element], value)
            ctx.set(dut.credit.ready, wanting)
            ctx.set(dut.o_credit.valid, offering)
            _, _, valid, ready, sent, values, last = await ctx.tick().sample(
                dut.credit.valid, dut.o_credit.ready, dut.o.valid, dut.o.p.values.as_value(), dut.o.p.last)
            if valid and len(log["valid"]) == len(log["taken"]):
                log["valid"].append(cycle)
            if valid and wanting:
                log["taken"].append(cycle)
                wanting = False
            if offering and ready:
                log["o_taken"].append(cycle)
                offering = False
            if sent:
                words = [values >> 10 * port & 1023 for port in range(width)]
                log["beats"].append([word - (word >> 9 << 10) for word in words])
                assert last == (len(log["beats"]) % beats == 0)
                if last:
                    log["ends"].append(cycle)
            if len(log["ends"]) == count:
                return

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return biases, contents, log


@pytest.mark.parametrize("kernels, width", [(1, 1), (6, 1), (6, 2), (7, 3), (4, 4), (5, 4)])
@pytest.mark.parametrize("way", [1, 2, 7])
@pytest.mark.parametrize("gap, starve, reset_at, vectors", [
    (0, 0, None, 2), (0.7, 0, 13, 2), (0, 0.8, 8, 2), (0.4, 0.4, None, 2), (0, 0, None, 3), (0.2, 0.6, 11, 3),
    (0, 0, 17, 4), (0.5, 0.4, None, 4), (0.2, 0.2, 9, 1)])
def test_every_element_and_cycle(kernels, width, way, gap, starve, reset_at, vectors):
    biases, contents, log = run(kernels=kernels, width=width, way=way, gap=gap, starve=starve, reset_at=reset_at,
                                vectors=vectors)
    beats = biases.shape[1]
    got = np.array(log["beats"]).reshape(len(contents), beats, width) - biases.T
    np.testing.assert_array_equal(got.reshape(len(contents), -1)[:, :kernels], contents)
    model = UnrolledCycles(UnrolledArch(
        positions=1, kernels=kernels, nonzeros=1, drain_width=width, activation_bits=8, value_bits=8, sum_bits=10,
        latency=way, vectors=vectors))
    valid, o_taken, ends = [], [], []
    for taken, offered in zip(log["taken"], log["o_valid"], strict=True):
        valid.append(model.ready())
        (times,) = model.vector(taken, token=lambda offered=offered: offered)
        assert times.last_beat == times.first_beat + beats - 1
        o_taken.append(times.token)
        ends.append(times.last_beat)
    assert (valid, o_taken, ends) == (log["valid"][:len(contents)], log["o_taken"], log["ends"])


@pytest.mark.parametrize("beats, way", [(1, 1), (4, 1), (9, 1), (9, 7), (6, 9)])
@pytest.mark.parametrize("vectors", [1, 2, 3, 4])
def test_rate(beats, way, vectors):
    """What the planner reckons with."""
    *_, log = run(kernels=beats, width=1, way=way, vectors=vectors, count=12)
    assert log["ends"][-1] - log["ends"][-1 - vectors] == max(vectors * beats, beats + way + vectors)


def test_latency():
    """What the records say of it."""
    assert Serialise.latency == UnrolledArch.token_latency


def test_wrong_biases():
    with pytest.raises(ValueError, match=r"^biases must be given for 2 ports of 3 beats, not \[\[1, 2, 3\]\]$"):
        Serialise(kernels=5, width=2, value_bits=8, sum_bits=8, biases=[[1, 2, 3]])


def test_wrong_vectors():
    with pytest.raises(ValueError, match=r"^vectors must be at least 1, not 0$"):
        Serialise(kernels=1, width=1, value_bits=8, sum_bits=8, biases=[[1]], vectors=0)
