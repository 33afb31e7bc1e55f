# amaranth: UnusedElaboratable=no
"""Select as a whole: values, order, timing, stalls, resets, loadable memories."""

import random

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.hw.arch import SelectArch, SelectImages, SelectKind, bits_for
from dovetail.hw.select import Select, memories
from dovetail.sim.select_cycles import SelectCycles

KWTA = (SelectKind.GLOBAL, SelectKind.LOCAL)


def naive_winners(values, k):
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    return {i for i in order[:k] if values[i] > 0}


def naive_pairs(arch, values):
    """What Select hands on, as (index, value)."""
    every = list(enumerate(values))
    if arch.kind is SelectKind.ALL:
        return every
    if arch.kind is SelectKind.NONZERO:
        return [(i, v) for i, v in every if v]
    winners = naive_winners(values, arch.winners)
    if arch.losers:
        return [(i, v if i in winners else 0) for i, v in every]
    return [(i, v) for i, v in every if i in winners]


def make_arch(kind, m, r, lanes, *, k=0, bits=8, padding=0, **options):
    options.setdefault("bins", min(4, 1 << bits))
    words = -(-m // r)
    return SelectArch(kernels=m, width=r, beats=words + padding, value_bits=bits, kind=kind,
                      winners=k if kind in KWTA else 0, lanes=lanes, **options)


def random_images(arch, rng, *, identity=False):
    """A random place for every element, and where each beat's elements come from: (images, [beat][port] -> element)."""
    source = [[None] * arch.width for _ in range(arch.beats)]
    order = [[0] * arch.beats for _ in range(arch.width)]
    ranks = [list(range(arch.width)) for _ in range(arch.words)]
    word_bits = bits_for(arch.words)
    if not identity:
        for row in ranks:
            rng.shuffle(row)
    for port in range(arch.width):
        held = [(word, word * arch.width + ranks[word].index(port)) for word in range(arch.words)]
        held = [(word, element) for word, element in held if element < arch.kernels]
        beats = list(range(len(held))) if identity else rng.sample(range(arch.beats), len(held))
        for beat, (word, element) in zip(beats, held, strict=True):
            source[beat][port] = element
            order[port][beat] = 1 << word_bits | word
        for beat in range(arch.beats):
            if source[beat][port] is None:
                order[port][beat] = rng.randrange(arch.words)     # padding: the word must not matter
    return SelectImages(order=tuple(map(tuple, order)), ranks=tuple(map(tuple, ranks))), source


def vector_payloads(arch, source, values, rng):
    """One integer per beat; padding carries noise."""
    mask = (1 << arch.value_bits) - 1
    payloads = []
    for beat, elements in enumerate(source):
        payload = sum((rng.randrange(mask + 1) if e is None else values[e] & mask) << port * arch.value_bits
                      for port, e in enumerate(elements))
        payloads.append(payload | (beat == arch.beats - 1) << arch.width * arch.value_bits)
    return payloads


def unpack_beat(arch, payload):
    """A beat's pairs (index, value) and its `last`."""
    def take(bits):
        nonlocal payload
        field, payload = payload & (1 << bits) - 1, payload >> bits
        return field
    address = take(arch.address_bits)
    values = [take(arch.value_bits) for _ in range(arch.lanes)]
    if arch.value_signed:
        values = [v - (v >> arch.value_bits - 1 << arch.value_bits) for v in values]
    mask, last = take(arch.lanes), take(1)
    return [(address * arch.lanes + p, values[p]) for p in range(arch.lanes) if mask >> p & 1], last


class Bench:
    """Runs vectors through a Select and records the cycle of everything."""

    def __init__(self, arch, images, source, *, load_ids=None):
        self.arch, self.source = arch, source
        self.dut = Select(arch, images, load_ids)
        self.simulator = Simulator(self.dut)
        self.simulator.add_clock(1e-6)

    def run(self, vectors, rng, *, gap=0.0, wait=0, hold=0, stall=0.0, ahead=1):
        """Send ``vectors``.

        ``ahead``: vectors whose token is taken and that are not sent, at most. ``gap``: probability of a cycle without
        a beat. ``wait``: most cycles before a token is taken. ``hold``: most cycles that the consumer waits before a
        vector's first beat. ``stall``: probability that it waits at any other.
        """
        arch, dut = self.arch, self.dut
        taken, last_beat, tokens, beats, holds = [], [], [], [], [rng.randint(0, hold) for _ in vectors]

        async def monitor(ctx):
            while True:
                *_, valid = await ctx.tick().sample(dut.credit.valid)
                tokens.append(valid)

        async def taker(ctx):
            cycle = 0
            for vector, _ in enumerate(vectors):
                while len(last_beat) <= vector - ahead:
                    await ctx.tick()
                    cycle += 1
                waits = rng.randint(1, 1 + wait)
                if ahead == 1 or waits > 1:         # otherwise tokens are taken in neighbouring cycles
                    await ctx.tick().repeat(waits)
                    cycle += waits
                ctx.set(dut.credit.ready, 1)
                while True:
                    *_, valid = await ctx.tick().sample(dut.credit.valid)
                    cycle += 1
                    if valid:
                        break
                taken.append(cycle - 1)
                ctx.set(dut.credit.ready, 0)

        async def sender(ctx):
            cycle = 0
            for vector, values in enumerate(vectors):
                while len(taken) <= vector or cycle < taken[vector] + max(1, arch.early - 1):
                    await ctx.tick()
                    cycle += 1
                for payload in vector_payloads(arch, self.source, values, rng):
                    while rng.random() < gap:
                        await ctx.tick()
                        cycle += 1
                    ctx.set(dut.i.payload.as_value(), payload)
                    ctx.set(dut.i.valid, 1)
                    await ctx.tick()
                    cycle += 1
                    ctx.set(dut.i.valid, 0)
                last_beat.append(cycle - 1)

        async def consumer(ctx):
            cycle, previous = 0, None
            for vector, _ in enumerate(vectors):
                last, first, ready_from = 0, True, cycle + holds[vector]
                while not last:
                    ready = cycle >= ready_from and (first or rng.random() >= stall)
                    ctx.set(dut.o.ready, ready)
                    *_, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload.as_value())
                    if previous is not None:
                        assert valid and payload == previous, "o must keep valid and payload until the transfer"
                    previous = payload if valid and not ready else None
                    if valid and ready:
                        pairs, last = unpack_beat(arch, payload)
                        beats.append((vector, cycle, pairs))
                        first = False
                    cycle += 1
                    assert cycle < 100_000
                holds[vector] = ready_from
            ctx.set(dut.o.ready, 1)
            for _ in range(12):
                *_, valid = await ctx.tick().sample(dut.o.valid)
                assert not valid, "nothing follows the last beat"

        self.simulator.add_testbench(monitor, background=True)
        self.simulator.add_testbench(taker)
        self.simulator.add_testbench(sender)
        self.simulator.add_testbench(consumer)
        self.simulator.run()
        self.taken, self.last_beat, self.tokens, self.beats, self.ready = taken, last_beat, tokens, beats, holds

    def check_values(self, vectors):
        for index, values in enumerate(vectors):
            mine = [(pairs, cycle) for vector, cycle, pairs in self.beats if vector == index]
            assert [pair for pairs, _ in mine for pair in pairs] == naive_pairs(self.arch, values)
            assert all(pairs for pairs, _ in mine[:-1]), "only the last beat may be empty"

    def check_cycles(self, vectors):
        model = SelectCycles(self.arch)
        previous = -1
        for index, values in enumerate(vectors):
            token = model.token()
            assert token > previous and self.tokens[token] and not any(self.tokens[previous + 1:token])
            assert all(self.tokens[token:self.taken[index]])
            emission = model.frame(values, taken=self.taken[index], last_beat=self.last_beat[index],
                                   ready=self.ready[index])
            cycles = [cycle for vector, cycle, _ in self.beats if vector == index]
            assert (emission.first, emission.last, emission.beats) == (cycles[0], cycles[-1], len(cycles))
            previous = self.taken[index]


def random_vectors(arch, rng, count):
    """Vectors of several kinds: wide, ties-heavy, sparse, equal, zero."""
    top = (1 << arch.value_bits) - 1
    low = -(top + 1) // 2 if arch.value_signed else 0
    top = top + low
    some = [rng.randint(low, top) for _ in range(3)] + [0]
    kinds = [
        lambda: [rng.randint(low, top) for _ in range(arch.kernels)],
        lambda: [rng.choice(some) for _ in range(arch.kernels)],
        lambda: [rng.randint(low, top) * (rng.random() < 0.2) for _ in range(arch.kernels)],
        lambda: [some[0]] * arch.kernels,
        lambda: [0] * arch.kernels,
        lambda: [top] * arch.kernels,
    ]
    return [rng.choice(kinds)() for _ in range(count)]


def check(arch, seed, *, count=5, identity=False, stall=0.0, **behaviour):
    rng = random.Random(seed)
    vectors = random_vectors(arch, rng, count)
    bench = Bench(arch, *random_images(arch, rng, identity=identity))
    bench.run(vectors, rng, stall=stall, **behaviour)
    bench.check_values(vectors)
    if not stall:       # the model knows a consumer that waits before a vector, not inside
        bench.check_cycles(vectors)


SHAPES = [
    # m, r, lanes, k, bits, padding
    (1, 1, 1, 1, 8, 0), (1, 2, 4, 1, 3, 1), (1, 4, 2, 1, 2, 0), (2, 1, 2, 1, 4, 0), (2, 2, 1, 2, 8, 1),
    (3, 2, 2, 2, 2, 0), (3, 1, 4, 3, 3, 2), (5, 4, 1, 2, 5, 1), (5, 2, 8, 5, 4, 0), (5, 4, 4, 1, 6, 0),
    (16, 4, 2, 3, 8, 2), (16, 1, 1, 16, 2, 0), (16, 2, 4, 1, 7, 0), (25, 4, 8, 6, 4, 3), (25, 2, 1, 24, 3, 0),
    (25, 1, 8, 12, 5, 5), (100, 4, 1, 10, 6, 1), (100, 4, 4, 100, 3, 0), (100, 1, 2, 5, 8, 0), (7, 3, 6, 3, 3, 1),
    (14, 6, 2, 4, 3, 0),
]


@pytest.mark.parametrize("kind", list(SelectKind))
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))
def test_shapes(kind, shape):
    m, r, lanes, k, bits, padding = shape
    arch = make_arch(kind, m, r, lanes, k=k, bits=bits, padding=padding)
    check(arch, m * 100 + r, gap=0.2, wait=8, hold=20)


@pytest.mark.parametrize("kind", list(SelectKind))
@pytest.mark.parametrize(("r", "lanes"), [(1, 1), (4, 1), (2, 4), (1, 2)])
def test_back_to_back(kind, r, lanes):
    """Nobody waits: vectors overlap as much as they ever do."""
    check(make_arch(kind, 13, r, lanes, k=5, bits=2), r + lanes, count=20, hold=0)


@pytest.mark.parametrize("kind", list(SelectKind))
@pytest.mark.parametrize(("m", "r", "lanes"), [(3, 4, 1), (2, 1, 1), (5, 1, 1), (9, 2, 4), (24, 4, 2)])
@pytest.mark.parametrize("bits", [1, 2])
def test_slow_consumer(kind, m, r, lanes, bits):
    """Vectors wait in every place they can wait in."""
    check(make_arch(kind, m, r, lanes, k=2, bits=bits), m, count=16, hold=60)


@pytest.mark.parametrize("kind", list(SelectKind))
@pytest.mark.parametrize(("m", "r", "lanes"), [(3, 1, 1), (18, 4, 1), (18, 2, 2), (18, 2, 8)])
def test_random_stalls(kind, m, r, lanes):
    check(make_arch(kind, m, r, lanes, k=3, bits=3), m, count=12, gap=0.3, wait=5, hold=10, stall=0.6)


@pytest.mark.parametrize("kind", KWTA)
@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_losers(kind, lanes):
    check(make_arch(kind, 18, 4, lanes, k=3, bits=3, losers=True), lanes, count=10, gap=0.2, hold=20)


# Kind, turns, buffers and how early tokens are. Histograms are large: few of them.
SHARES = [
    (SelectKind.ALL, 1, 1, 0), (SelectKind.ALL, 1, 4, 0), (SelectKind.NONZERO, 1, 8, 0), (SelectKind.GLOBAL, 1, 4, 0),
    (SelectKind.GLOBAL, 2, 2, 0), (SelectKind.GLOBAL, 3, 8, 0), (SelectKind.LOCAL, 1, 1, 1),
    (SelectKind.LOCAL, 1, 4, 2), (SelectKind.LOCAL, 2, 2, 0), (SelectKind.LOCAL, 2, 4, 4), (SelectKind.LOCAL, 3, 4, 3),
    (SelectKind.LOCAL, 3, 8, 0), (SelectKind.LOCAL, 4, 8, 1), (SelectKind.LOCAL, 4, 2, 4), (SelectKind.LOCAL, 5, 8, 3),
]


@pytest.mark.parametrize(("kind", "turns", "buffers", "early"), SHARES)
def test_turns_and_buffers(kind, turns, buffers, early):
    """As many vectors on their way as fit, of one beat or of several; then with gaps and stalls everywhere."""
    options = {"turns": turns, "buffers": buffers, "early": early}
    arch = make_arch(kind, 3, 1, 1, k=2, bits=2, **options)
    check(arch, turns, count=16, ahead=buffers)
    arch = make_arch(kind, 4, 4, 2, k=3, bits=2, **options)
    check(arch, buffers, count=12, ahead=buffers)
    check(arch, early, count=10, ahead=buffers, gap=0.2, wait=4, hold=25)
    arch = make_arch(kind, 5, 2, 1, k=2, bits=2, **options)
    check(arch, early, count=8, ahead=buffers, gap=0.3, wait=9, hold=9, stall=0.4)


@pytest.mark.parametrize(("turns", "early", "rate"), [
    (1, 0, 24), (2, 0, 12), (4, 0, 6), (1, 8, 16), (2, 8, 8), (4, 8, 4)])
def test_rate(turns, early, rate):
    """Cycles a vector of four beats, each of which comes seven cycles after its token."""
    arch = make_arch(SelectKind.LOCAL, 16, 4, 4, k=3, bits=6, turns=turns, early=early, buffers=16)
    model, taken, last = SelectCycles(arch), [], []
    for _ in range(40):
        taken.append(model.token())
        last.append(max(taken[-1] + 10, last[-1] + 4 if last else 0))
        model.frame([0] * 16, taken=taken[-1], last_beat=last[-1], ready=0)
    assert taken[-1] - taken[-1 - turns] == rate * turns


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("kind", KWTA)
def test_code_widths(kind, bits):
    for bins in {1, min(8, 1 << bits), 1 << bits} if kind is SelectKind.GLOBAL and bits < 6 else {2}:
        check(make_arch(kind, 9, 2, 1, k=4, bits=bits, bins=bins), bits, count=8)


@pytest.mark.parametrize("kind", list(SelectKind))
def test_identity_order(kind):
    check(make_arch(kind, 10, 2, 2, k=4, bits=4), 1, identity=True, gap=0.3, hold=9)


def test_signed_sums():
    check(make_arch(SelectKind.ALL, 10, 2, 4, bits=24, value_signed=True), 1, gap=0.3, hold=9)


@pytest.mark.parametrize("kind", [SelectKind.ALL, SelectKind.NONZERO])
@pytest.mark.parametrize(("r", "lanes"), [(1, 1), (4, 1), (2, 4), (2, 2)])
@pytest.mark.parametrize("bits", [2, 9])
def test_signed_codes(kind, r, lanes, bits):
    """Negative codes are codes like others: only a zero is skipped."""
    arch = make_arch(kind, 13, r, lanes, bits=bits, value_signed=True)
    check(arch, bits, count=10, gap=0.2, hold=20)
    check(arch, bits, count=10, gap=0.2, stall=0.5)


@settings(max_examples=25)
@given(data=st.data())
def test_any(data):
    kind = data.draw(st.sampled_from(list(SelectKind)))
    m = data.draw(st.integers(1, 12))
    r, lanes = data.draw(st.sampled_from([(1, 1), (1, 4), (2, 1), (2, 2), (4, 2), (4, 8)]))
    arch = make_arch(kind, m, r, lanes, k=data.draw(st.integers(1, m)), bits=data.draw(st.integers(1, 3)),
                     padding=data.draw(st.integers(0, 2)), bins=2)
    check(arch, data.draw(st.integers(0, 1 << 30)), count=4, gap=data.draw(st.sampled_from([0.0, 0.5])),
          hold=data.draw(st.sampled_from([0, 15])), stall=data.draw(st.sampled_from([0.0, 0.5])))


@pytest.mark.parametrize("kind", list(SelectKind))
@pytest.mark.parametrize("cut", [3, 9, 14, 22, 31])
@pytest.mark.parametrize("turns", [1, 3])
def test_reset_in_mid_vector(kind, cut, turns):
    """A reset in any phase leaves nothing behind: tokens and vectors after it are as after power-up."""
    arch = make_arch(kind, 9, 2, 2, k=4, bits=3, turns=turns if kind in KWTA else 1, buffers=turns + 1)
    rng = random.Random(cut)
    images, source = random_images(arch, rng)
    dut = Select(arch, images)
    vectors = random_vectors(arch, rng, 3)
    noise = [payload for values in random_vectors(arch, rng, 4)
             for payload in vector_payloads(arch, source, values, rng)]
    received, first_token = [], []

    async def bench(ctx):
        # Before the reset: as much as fits, and a consumer that takes some of it.
        ctx.set(dut.credit.ready, 1)
        sending = allowed = sent = 0
        for cycle in range(cut):
            sending = allowed > sent // arch.beats
            ctx.set(dut.i.valid, sending)
            ctx.set(dut.i.payload.as_value(), noise[sent])
            ctx.set(dut.o.ready, cycle % 3 == 0)
            *_, token = await ctx.tick().sample(dut.credit.valid)
            sent, allowed = min(sent + sending, len(noise) - 1), min(allowed + token, 4)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        ctx.set(dut.i.valid, 0)
        ctx.set(dut.o.ready, 0)
        for values in vectors:
            waited = 0
            while True:
                *_, token = await ctx.tick().sample(dut.credit.valid)
                if token:
                    break
                waited += 1
            first_token.append(waited)
            ctx.set(dut.credit.ready, 0)
            for payload in vector_payloads(arch, source, values, rng):
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.i.payload.as_value(), payload)
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            ctx.set(dut.o.ready, 1)
            last = 0
            while not last:
                *_, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload.as_value())
                if valid:
                    pairs, last = unpack_beat(arch, payload)
                    received.extend(pairs)
            ctx.set(dut.o.ready, 0)
            received.append(None)
            ctx.set(dut.credit.ready, 1)

    top = Module()
    top.domains.sync = domain = ClockDomain("sync")
    reset = domain.rst
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert first_token[0] == SelectCycles(arch).token()
    assert received == [item for values in vectors for item in [*naive_pairs(arch, values), None]]


@pytest.mark.parametrize("kind", [SelectKind.ALL, SelectKind.GLOBAL])
def test_loaded_memories(kind):
    """Memories that hold one order are overwritten with another one."""
    arch = make_arch(kind, 11, 2, 2, k=4, bits=3, padding=1)
    rng = random.Random(5)
    wrong, _ = random_images(arch, rng, identity=True)
    right, source = random_images(arch, rng)
    load_ids, number = {}, 7
    for name, width, _ in memories(arch):
        load_ids[name] = number
        number += -(-width // 32)
    contents = {f"order{port}": rows for port, rows in enumerate(right.order)}
    contents["ranks"] = [sum(port << r * bits_for(arch.width) for r, port in enumerate(row)) for row in right.ranks]
    writes = [(load_ids[name], row, content[row]) for name, _, depth in memories(arch)
              for content in [contents[name]] for row in range(depth)]
    bench = Bench(arch, wrong, source, load_ids=load_ids)
    vectors = random_vectors(arch, rng, 3)

    async def loader(ctx):
        load = bench.dut.load
        for memory, row, word in writes:
            ctx.set(load.payload.as_value(), memory | row << 16 | word << 32)
            ctx.set(load.valid, 1)
            *_, ready = await ctx.tick().sample(load.ready)
            assert ready
        ctx.set(load.valid, 0)

    bench.simulator.add_testbench(loader)
    bench.run(vectors, _Later(random.Random(6), 60))
    bench.check_values(vectors)


class _Later(random.Random):
    """The given generator, but for the first wait, which is long."""

    def __new__(cls, *_):
        return super().__new__(cls)

    def __init__(self, source, delay):
        super().__init__(source.random())
        self._delay = delay

    def randint(self, a, b):
        if a == 1 and self._delay:
            delay, self._delay = self._delay, 0
            return delay
        return super().randint(a, b)


def test_memories():
    arch = make_arch(SelectKind.NONZERO, 11, 2, 2, bits=3, padding=1)
    assert memories(arch) == [("order0", 4, 7), ("order1", 4, 7), ("ranks", 2, 6)]
    assert memories(make_arch(SelectKind.NONZERO, 3, 1, 1)) == [("order0", 3, 3)]


def test_images_wrong():
    arch = make_arch(SelectKind.ALL, 3, 2, 2)
    ranks = ((0, 1), (0, 1))
    with pytest.raises(ValueError, match=r"^images.order must hold 2 ports of 2 beats, not \[2\]$"):
        Select(arch, SelectImages(order=((4, 5),), ranks=ranks))
    with pytest.raises(ValueError, match=r"^images.order must hold 2 ports of 2 beats, not \[2, 1\]$"):
        Select(arch, SelectImages(order=((4, 5), (4,)), ranks=ranks))
    order = ((2, 3), (2, 3))
    with pytest.raises(ValueError, match=r"^images.ranks must hold 2 words, not 1$"):
        Select(arch, SelectImages(order=order, ranks=((0, 1),)))
    with pytest.raises(ValueError, match=r"^images.ranks must hold permutations of 2 ports, not \(0, 0\)$"):
        Select(arch, SelectImages(order=order, ranks=((0, 1), (0, 0))))


def test_frame_wrong():
    model = SelectCycles(make_arch(SelectKind.GLOBAL, 3, 1, 1, k=1))
    with pytest.raises(ValueError, match=r"^values must have the shape \(3,\), not \(2,\)$"):
        model.frame([1, 2], taken=64, last_beat=70, ready=0)
    with pytest.raises(ValueError, match=r"^taken must be at least 64, not 63$"):
        model.frame([1, 2, 3], taken=63, last_beat=70, ready=0)
    with pytest.raises(ValueError, match=r"^last_beat must be at least 67, not 66$"):
        model.frame([1, 2, 3], taken=64, last_beat=66, ready=0)


def test_ready_as_function():
    """A consumer that answers three cycles after it sees the first beat."""
    arch = make_arch(SelectKind.ALL, 4, 1, 1)
    emission = SelectCycles(arch).frame([1, 2, 3, 4], taken=0, last_beat=4, ready=lambda valid: valid + 3)
    assert (emission.first, emission.last, emission.beats) == (12, 15, 4)


def test_throughput():
    """Two halves: fed and emptied as fast as it can be, the store takes two vectors in 2 * words + 2 cycles."""
    arch = make_arch(SelectKind.ALL, 16, 2, 2)
    model, last, previous = SelectCycles(arch), [], 0
    for _ in range(8):
        token = model.token()
        previous = max(token, previous) + arch.beats
        last.append(model.frame(np.zeros(16), taken=token, last_beat=previous, ready=0).last)
    assert [b - a for a, b in zip(last[2:], last[4:], strict=False)] == [2 * arch.words + 2] * 4
