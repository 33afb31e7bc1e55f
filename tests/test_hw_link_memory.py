# amaranth: UnusedElaboratable=no
"""What waits in the link: requests, which count only once they are found good, and the tags of their answers."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.link.checked_fifo import CheckedFifo
from dovetail.hw.link.layouts import Part
from dovetail.hw.link.tags import Tags
from dovetail.sim import Engine, Simulation

DEPTH, FRAMES, TRAILER = 16, 3, 2


class Model:
    """The same in plain Python, told of every transfer in the order in which the hardware has them."""

    def __init__(self):
        self.whole, self.writing, self.lost, self.dropped, self.used, self.read = [], [], False, 0, 0, 0

    def write(self, part, octet):
        if part is Part.OCTET:
            if self.used + len(self.writing) == DEPTH:
                self.lost = True
            elif not self.lost:
                self.writing.append(octet)
            return
        if part is Part.GOOD and not self.lost and len(self.whole) < FRAMES:
            self.used += len(self.writing)
            self.whole.append(self.writing[:-TRAILER])
        else:
            self.dropped += 1
        self.writing, self.lost = [], False

    def next(self):
        return self.whole[0][self.read], len(self.whole[0]) - self.read

    def take(self):
        self.read += 1
        self.used -= 1
        if self.read == len(self.whole[0]):
            del self.whole[0]
            self.read = 0
            self.used -= TRAILER


def run(words, *, seed, slow):
    """Random gaps on both sides; every transfer and every drop is compared. Tells how many came and were dropped."""
    dice, model, came = random.Random(seed), Model(), 0
    dut = CheckedFifo(depth=DEPTH, frames=FRAMES, trailer=TRAILER)

    async def bench(ctx):
        nonlocal came
        waiting, drops, idle = list(words), 0, 0
        while waiting or idle < 30:
            give = bool(waiting) and dice.random() < 0.6
            take = dice.random() < (0.15 if slow else 0.7) or not waiting
            ctx.set(dut.i.valid, give)
            if give:
                ctx.set(dut.i.payload, {"part": waiting[0][0], "octet": waiting[0][1]})
            ctx.set(dut.o.ready, take)
            _, _, valid, octet, left, dropped = await ctx.tick().sample(
                dut.o.valid, dut.o.p.octet, dut.o.p.left, dut.dropped)
            idle = 0 if waiting or valid else idle + 1
            drops += dropped
            if valid:
                assert (octet, left) == model.next()
            if give:
                model.write(*waiting.pop(0))
            if valid and take:
                came += left == 1
                model.take()
            assert drops == model.dropped
        assert not model.whole

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return came, model.dropped


def frames(seed, count=40):
    dice, words = random.Random(seed), []
    for _ in range(count):
        words += [(Part.OCTET, dice.randrange(256)) for _ in range(dice.randrange(TRAILER + 1, DEPTH + 3))]
        words.append((Part.BAD if dice.random() < 0.3 else Part.GOOD, 0))
    return words


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_committed_frames_only(seed, slow):
    came, dropped = run(frames(seed), seed=seed, slow=slow)
    assert came + dropped == 40 and came > 3 and dropped > 10


def test_many_short_frames():
    """More frames than may wait, though their octets would find room."""
    words = [word for number in range(30) for word in [(Part.OCTET, number)] * 3 + [(Part.GOOD, 0)]]
    came, dropped = run(words, seed=0, slow=True)
    assert came + dropped == 30 and dropped > 3


def test_exactly_full():
    """A frame of all the memory is kept; one of an octet more is not, nor is anything left of it."""
    def words(length):
        return [(Part.OCTET, octet) for octet in range(length)] + [(Part.GOOD, 0)]

    assert run(words(DEPTH), seed=0, slow=False) == (1, 0)
    assert run(words(DEPTH + 1), seed=0, slow=False) == (0, 1)
    assert run(words(DEPTH + 1) + words(DEPTH), seed=0, slow=False) == (1, 1)


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.tuples(st.integers(3, 30), st.booleans()), min_size=1, max_size=12), seed=st.integers(0, 9))
def test_in_synthesis_s_words(generated, lengths, seed):
    """What Yosys makes of it, whose memories have ports of their own, gives the same frames."""
    wanted, part, octet = [], [], []
    for number, (length, good) in enumerate(lengths):
        content = [(7 * number + place) % 256 for place in range(length)]
        part += [Part.OCTET.value] * length + [Part.GOOD.value if good else Part.BAD.value]
        octet += [*content, 0]
        if good:
            wanted += [(each, length - TRAILER - place) for place, each in enumerate(content[:-TRAILER])]
    if not wanted:
        return
    result = generated.run({"i": {"part": np.array(part), "octet": np.array(octet)}}, {"o": len(wanted)},
                           stall_seed=seed or None).outputs["o"]
    assert list(zip(result["octet"].tolist(), result["left"].tolist(), strict=True)) == wanted


@pytest.fixture(scope="module")
def generated():
    return Simulation(CheckedFifo(depth=512, frames=12, trailer=TRAILER), engine=Engine.CXXRTL)


@pytest.mark.parametrize(("depth", "block_rams"), [(512, 1), (1024, 2)])
def test_size(depth, block_rams):
    """The memory is block RAM with nothing around it but its address and its register's initial value."""
    cells = count_cells(CheckedFifo(depth=depth, frames=3, trailer=4), Family.ICE40)
    assert cells.bram == block_rams
    assert cells.lut < 155
    assert count_cells(CheckedFifo(depth=depth, frames=3, trailer=4), Family.ECP5).bram == 1


@pytest.mark.parametrize(("given", "message"), [
    ({"depth": 1}, r"^depth must be a power of two from 2 on, not 1$"),
    ({"depth": 48}, r"^depth must be a power of two from 2 on, not 48$"),
    ({"frames": 1}, r"^frames must be at least 2, not 1$"),
    ({"trailer": -1}, r"^trailer must be at least 0 and less than depth \(16\), not -1$"),
    ({"trailer": 16}, r"^trailer must be at least 0 and less than depth \(16\), not 16$"),
])
def test_wrong(given, message):
    with pytest.raises(ValueError, match=message):
        CheckedFifo(**{"depth": 16, "frames": 2} | given)


class TestTags:
    @pytest.mark.parametrize("depth", [1, 2, 3, 5])
    def test_first_in_first_out(self, depth):
        """Octets of several tags come and go at once, as long as no tag is read that is not complete."""
        dice, dut = random.Random(depth), Tags(depth=depth)
        octets = [dice.randrange(256) for _ in range(4 * 40)]

        async def bench(ctx):
            written = read = 0
            while read < len(octets):
                put = written < len(octets) and written // 4 - read // 4 < depth and dice.random() < 0.6
                get = written // 4 > read // 4 and dice.random() < 0.5
                ctx.set(dut.i.valid, put)
                if put:
                    ctx.set(dut.i.payload, octets[written])
                ctx.set(dut.o.ready, get)
                _, _, payload = await ctx.tick().sample(dut.o.payload)
                if get:
                    assert payload == octets[read]
                written, read = written + put, read + get

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()

    def test_wrong(self):
        with pytest.raises(ValueError, match=r"^depth must be at least 1, not 0$"):
            Tags(depth=0)
