"""Whole networks at their ports: resets, gaps, frames of a wrong length, and memories that are loaded."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from builders import make_cnn, make_network, retrained
from models import evaluate

from dovetail.hw.arch import Mode, ceil_div
from dovetail.hw.errors import ToolMissing
from dovetail.hw.memory_map import load_words, memory_map
from dovetail.hw.network import NetworkTop
from dovetail.sim import Engine, golden
from dovetail.sim.tools import find_icarus, find_verilator
from dovetail.sim.verify import NetworkSimulation
from dovetail.sw.plan import plan
from dovetail.sw.positions import pixel_vectors
from dovetail.sw.settings import LayerSettings, Settings

SIZES = [7, 9, 5]


class Bench:
    """A network in Amaranth's simulator; ``script`` is a coroutine that is given the context and the bench."""

    def __init__(self, built):
        self.arch = built.arch
        self.dut = NetworkTop(built.arch, built.images)
        self.domain = ClockDomain("sync")

    def run(self, script):
        top = Module()
        top.domains.sync = self.domain
        top.submodules.dut = self.dut
        simulator = Simulator(top)
        simulator.add_clock(1e-6)

        async def testbench(ctx):
            await script(ctx, self)

        simulator.add_testbench(testbench)
        simulator.run()

    async def reset(self, ctx):
        ctx.set(self.dut.i.valid, 0)
        ctx.set(self.domain.rst, 1)
        await ctx.tick()
        ctx.set(self.domain.rst, 0)

    async def load(self, ctx, memories):
        for word in load_words(memories):
            ctx.set(self.dut.load.payload, word)
            ctx.set(self.dut.load.valid, 1)
            assert ctx.get(self.dut.load.ready)
            await ctx.tick()
        ctx.set(self.dut.load.valid, 0)
        await ctx.tick().repeat(2)

    async def play(self, ctx, frames, *, results=None, cycles=10_000, gap=0.0, seed=0):
        """Frames of any number of codes; the results that come, all that are wanted or those of so many cycles."""
        dut, width, dice = self.dut, self.arch.input_width, random.Random(seed)
        words = []
        for frame in frames:
            beats = ceil_div(len(frame), width)
            padded = [*frame, *[0] * (beats * width - len(frame))]
            words += [(padded[beat * width:(beat + 1) * width], beat == beats - 1) for beat in range(beats)]
        last = self.arch.layers[-1]
        length, wide = last.pixels * last.select.kernels, last.select.width
        got, frame, offering, held = [], [], False, None
        wanted = len(frames) if results is None else results
        for _ in range(cycles):
            if not offering and words and dice.random() >= gap:
                offering = True
                codes, last = words[0]
                for number, code in enumerate(codes):
                    ctx.set(dut.i.p.data[number], int(code))
                ctx.set(dut.i.p.last, last)
            ready = dice.random() >= gap
            ctx.set(dut.i.valid, offering)
            ctx.set(dut.o.ready, ready)
            *_, taken, valid, out, raw = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.p, dut.o.payload.as_value())
            assert held is None or (valid and raw == held), "o must keep valid and payload until the transfer"
            held = raw if valid and not ready else None
            if offering and taken:
                words.pop(0)
                offering = False
            if valid and ready:
                frame += [out.data[number] for number in range(wide) if out.keep >> number & 1]
                assert out.last == (len(frame) == length)
                if out.last:
                    got.append(frame)
                    frame = []
                    if len(got) == wanted:
                        return got
        return got


def build(seed=0, *, loadable=False, fixed=None, **options):
    given = {"sizes": SIZES, "sets": [3, None], "winners": [4, None]}
    network = make_network(np.random.default_rng(seed), **given | options)
    if fixed is None:
        fixed = {"fc0": LayerSettings(lanes=2, banks=3, drain_width=2),
                 "fc1": LayerSettings(lanes=2, banks=1, set_size=3, drain_width=2)}
    return plan(network, Settings(loadable=loadable, layers=fixed))


def outputs(built, frames):
    return golden.run(built.network, np.array(frames)).pop().outputs.tolist()


def random_frames(count, seed=1, length=SIZES[0]):
    return np.random.default_rng(seed).integers(0, 256, (count, length)).tolist()


@pytest.mark.parametrize("gap", [0.0, 0.5, 0.9])
def test_frames_back_to_back(gap):
    built, frames, got = build(), random_frames(12), []

    async def script(ctx, bench):
        got.extend(await bench.play(ctx, frames, gap=gap))

    Bench(built).run(script)
    assert got == outputs(built, frames)


@pytest.mark.parametrize("gap", [0.0, 0.4])
def test_reset_at_any_time_leaves_no_trace(gap):
    """After each of many resets, in the middle of whatever is going on, the network is as at power-up."""
    built, before, frames = build(), random_frames(20, seed=2), random_frames(3, seed=3)
    bench, got = Bench(built), []

    async def script(ctx, bench):
        for run, cycles in enumerate([1, 2, 3, 5, 8, 13, 20, 27, 36, 50, 71, 99, 140, 200]):
            await bench.play(ctx, before, cycles=cycles, gap=gap, seed=run)
            await bench.reset(ctx)
            got.append(await bench.play(ctx, frames, gap=gap, seed=run))
            await bench.reset(ctx)

    bench.run(script)
    assert got == [outputs(built, frames)] * 14


@pytest.mark.parametrize("zero_skipping", [False, True])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_frames_of_a_wrong_length(width, zero_skipping):
    """What is missing counts as zeros, what is too much is dropped, and the next frame is not concerned."""
    fixed = {"fc0": LayerSettings(lanes=4, mode=Mode.SPARSE_SPARSE if zero_skipping else None, drain_width=2),
             "fc1": LayerSettings(lanes=2, set_size=3)}
    built = plan(build().network, Settings(layers=fixed, input_width=width))
    frames, expected = [], []
    for number, length in enumerate([4, 7, 12, 8, 7, 4, 4, 40, 7]):
        frames += [list(range(1 + number, 1 + number + length))]
        expected += [(frames[-1] + [0] * 7)[:7]]
    got = []

    async def script(ctx, bench):
        got.extend(await bench.play(ctx, frames))

    Bench(built).run(script)
    assert got == outputs(built, expected)


@pytest.fixture(scope="module")
def images():
    """Two convolutions, of which the second is the last layer."""
    network = make_cnn(np.random.default_rng(5), image=(2, 4, 5), codes_out=True, layers=[
        {"kernels": 4, "kernel": (2, 2), "pads": (1, 0, 0, 1), "sets": 2, "winners": 2,
         "pool": {"kernel": (2, 2), "strides": (2, 2)}},
        {"kernels": 3, "kernel": (2, 1), "pads": (1, 0, 0, 0), "sets": 3}])
    return plan(network, Settings())


def image_frames(count, seed=1):
    return np.random.default_rng(seed).integers(0, 16, (count, 40)).tolist()


def image_outputs(built, frames):
    """What comes for frames that were sent pixel by pixel, pixel by pixel."""
    codes = np.array(frames).reshape(len(frames), 20, 2).transpose(0, 2, 1).reshape(len(frames), -1)
    found = golden.run(built.network, codes).pop().outputs
    return pixel_vectors(found, built.arch.layers[-1].pixels).reshape(len(frames), -1).tolist()


@pytest.mark.parametrize("gap", [0.0, 0.4])
def test_images_after_a_reset_at_any_time(images, gap):
    """Nothing is left of earlier images, in line buffers, pools or anywhere."""
    before, frames, got, runs = image_frames(9, seed=2), image_frames(2, seed=3), [], (1, 9, 40, 77, 130, 200, 333)

    async def script(ctx, bench):
        for run, cycles in enumerate(runs):
            await bench.play(ctx, before, cycles=cycles, gap=gap, seed=run)
            await bench.reset(ctx)
            got.append(await bench.play(ctx, frames, gap=gap, seed=run))
            await bench.reset(ctx)

    Bench(images).run(script)
    assert got == [image_outputs(images, frames)] * len(runs)


def test_images_of_a_wrong_length(images):
    """What is missing counts as pixels of zeros, what is too much is dropped, and the next image is not concerned."""
    frames, expected, got = [], [], []
    for number, length in enumerate([1, 40, 55, 39, 40, 41, 7, 40]):
        frames += [[(number + 5 * place) % 16 for place in range(length)]]
        expected += [(frames[-1] + [0] * 40)[:40]]

    async def script(ctx, bench):
        got.extend(await bench.play(ctx, frames))

    Bench(images).run(script)
    assert got == image_outputs(images, expected)


@pytest.mark.parametrize(("sets", "stages"), [
    ([3, 5], ["multiplier"]), ([3, None], ["offsets", "falling"]), ([None, 1], ["ties", "thresholds"])])
def test_loaded_network_is_the_other_network(sets, stages):
    """Another network of the same architecture, every memory of it sent over the load stream, then another again."""
    options = {"sets": sets, "stages": stages, "codes": (0, 12), "loadable": True, "weight_bits": 12}
    one = build(0, **options)
    # The same masks, so the same architecture; other weights, biases and parameters of stages.
    rng = np.random.default_rng(5)
    two = plan(retrained(one.network, rng), one.settings)
    assert one.arch == two.arch
    for before, after in zip(one.images, two.images, strict=True):
        assert before.engine != after.engine
        assert all(old != new for old, new in zip(before.stages, after.stages, strict=True))
    maps = [memory_map(built.arch, built.images) for built in (one, two)]
    assert any(memory.chunks > 1 for memory in maps[0])
    frames, got = random_frames(4), []

    async def script(ctx, bench):
        got.append(await bench.play(ctx, frames))
        for memories in (maps[1], maps[0]):
            await bench.load(ctx, memories)
            got.append(await bench.play(ctx, frames))

    Bench(one).run(script)
    assert got == [outputs(one, frames), outputs(two, frames), outputs(one, frames)]


# Name: (options of the network, mode)
STAGED = {
    "shift": ({"stages": ["shift"], "codes": (0, 63)}, Mode.SPARSE_SPARSE),
    "signed, ties to even": ({"stages": ["ties"], "codes": (-81, 174), "winners": None}, Mode.SPARSE_SPARSE),
    "own offsets": ({"stages": ["offsets"], "codes": (-8, 7), "winners": None}, Mode.DENSE),
    "thresholds": ({"stages": ["thresholds"], "codes": (0, 3)}, Mode.SPARSE_SPARSE),
    "steps of two": ({"stages": ["steps of two"], "codes": (-3, 3), "winners": None}, Mode.SPARSE_DENSE),
    "two stages, the second falls": ({"stages": ["multiplier", "falling"], "codes": (-20, 30), "winners": None,
                                      "codes_out": True}, Mode.SPARSE_SPARSE),
    "three stages": ({"stages": ["ties", "falling", "thresholds"], "codes": (0, 14), "winners": [4, 2],
                      "codes_out": True}, Mode.SPARSE_SPARSE),
}


@pytest.mark.parametrize("name", STAGED)
def test_stages_with_gaps(name):
    """Every kind of requantisation, with codes and results that wait at random."""
    options, mode = STAGED[name]
    network = make_network(np.random.default_rng(4), **{"sizes": [11, 13, 6], "sets": [3, 2],
                                                        "winners": [5, None]} | options)
    fixed = {"fc0": LayerSettings(lanes=2, drain_width=2), "fc1": LayerSettings(lanes=2, drain_width=2)}
    built, frames = plan(network, Settings(mode=mode, layers=fixed)), random_frames(8, length=11)
    expected = evaluate(network, np.array(frames)).pop().tolist()
    assert outputs(built, frames) == expected
    assert len({tuple(row) for row in expected}) > 1
    got = {}

    async def script(ctx, bench):
        for gap in (0.0, 0.5):
            got[gap] = await bench.play(ctx, frames, gap=gap, seed=int(10 * gap))
            await bench.reset(ctx)

    Bench(built).run(script)
    assert got == {0.0: expected, 0.5: expected}


@pytest.mark.parametrize("engine", [Engine.CXXRTL, Engine.ICARUS, Engine.VERILATOR])
def test_stages_in_every_simulator(engine):
    """All kinds of stages in one network, outputs and cycles, then with stalls."""
    for tool, find in ((Engine.ICARUS, find_icarus), (Engine.VERILATOR, find_verilator)):
        if engine is tool:
            try:
                find()
            except ToolMissing as missing:
                pytest.skip(str(missing))
    rng = np.random.default_rng(6)
    first = make_network(rng, sizes=[9, 12, 5], sets=[3, 2], codes=(-81, 174), stages=["ties"])
    second = make_network(rng, sizes=[12, 8, 5], sets=[2, 2], codes=(-9, 9),
                          stages=["offsets", "falling", "thresholds"])
    hidden, last = (replace(layer, name=name, input_range=given) for layer, name, given in zip(
        second.layers, ("fc1", "fc2"), ((-81, 174), (-9, 9)), strict=True))
    network = replace(first, layers=(first.layers[0], hidden, last))
    simulation = NetworkSimulation(plan(network, Settings(mode=Mode.SPARSE_SPARSE)), engine=engine)
    codes = rng.integers(0, 256, (9, 9))
    for seed in (None, 3):
        found = simulation.verify(codes, stall_seed=seed)
        assert found.passed, found.first_mismatch
    np.testing.assert_array_equal(found.outputs, evaluate(network, codes).pop())
    assert len(np.unique(found.outputs, axis=0)) > 5


class TestMemoryMap:
    def test_numbers(self):
        """Numbers follow one another, a chunk of 32 bits each; what is sent covers every row."""
        built = build(loadable=True)
        memories = memory_map(built.arch, built.images)
        first = 0
        for memory in memories:
            assert memory.first == first
            first += memory.chunks
            assert memory.chunks == -(-memory.width // 32)
            assert len(memory.rows) <= memory.depth
            assert all(0 <= row < 1 << memory.width for row in memory.rows)
        assert len({(memory.layer, memory.name) for memory in memories}) == len(memories)
        words = load_words(memories)
        assert len(words) == sum(memory.chunks * memory.depth for memory in memories)
        rebuilt = {}
        for word in words:
            assert 0 <= word["data"] < 1 << 32
            rebuilt[word["memory"], word["row"]] = word["data"]
        for memory in memories:
            for number, row in enumerate(memory.rows):
                chunks = [rebuilt[memory.first + chunk, number] << 32 * chunk for chunk in range(memory.chunks)]
                assert sum(chunks) == row

    def test_names(self):
        memories = memory_map((built := build()).arch, built.images)
        found = {memory.name for memory in memories if memory.layer == "fc1"}
        assert found == {"weights0", "weights1", "rows0", "rows1", "biases0", "biases1", "order0", "order1", "ranks"}
        found = {memory.name for memory in memories if memory.layer == "fc0"}
        assert found == {"weights0", "weights1", "biases0", "biases1", "stage0_multipliers0",
                         "stage0_multipliers1", "order0", "order1", "ranks"}
        built = build(stages=["offsets", "falling", "thresholds"], codes=(0, 12))
        found = {memory.name: memory for memory in memory_map(built.arch, built.images) if memory.layer == "fc0"}
        assert {name for name in found if name.startswith("stage")} == {
            f"{name}{port}" for name in ("stage0_multipliers", "stage0_offsets", "stage1_multipliers",
                                         "stage1_offsets", "stage2_thresholds") for port in (0, 1)}
        # Codes of 0 to 12 have four bits, so that a threshold has five.
        assert found["stage2_thresholds1"].width == 12 * 5
