"""Random engines and networks for tests, with what they must compute written down a second time, slow and plain."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from dovetail.hw.arch import EngineArch, EngineImages, bits_for, ceil_div
from dovetail.hw.engine import Engine
from dovetail.sim.engine_cycles import EngineCycles, lane_slots
from dovetail.sw.network import Layer, Network, Scale, Stage, Thresholds
from dovetail.sw.window import Window

__all__ = ["STAGES", "EngineCase", "EngineLog", "check_cycles", "make_cnn", "make_engine", "make_mask", "make_network",
           "make_stage", "make_vectors", "pair_beats", "retrained", "run_engine"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineCase:
    """An engine with random contents.

    Members
    -------
    arch : EngineArch
    images : EngineImages
    slots : list of (fold, bank, position, weight, kid)
    rows : int64 (F, L) or None
    """

    arch: EngineArch
    images: EngineImages
    slots: list[tuple[int, int, int, int, int]]
    rows: np.ndarray | None

    def expected(self, vectors: np.ndarray) -> np.ndarray:
        """Beats of sums (n, beats, R), from the meaning of every slot."""
        arch = self.arch
        outputs = []
        for vector in vectors.tolist():
            sums = [[[0] * arch.kids for _ in range(arch.banks)] for _ in range(arch.folds)]
            for fold, bank, position, weight, kid in self.slots:
                sums[fold][bank][kid] += weight * vector[position]
            beats = []
            for fold in range(arch.folds):
                for group in range(0, arch.kids, arch.group):
                    for bank in range(arch.banks):
                        for start in range(group, group + arch.group, arch.drain_width):
                            beats.append(sums[fold][bank][start:start + arch.drain_width])
            outputs.append(beats)
        return np.array(outputs) + np.array(self.images.biases).T


def make_engine(rng: np.random.Generator, *, positions: int, lanes: int = 1, banks: int = 1, folds: int = 1,
                set_size: int = 2, most_rows: int | None = None, capacity: int | None = None, weight_bits: int = 8,
                **options) -> EngineCase:
    """Random weights and KIDs for an engine; ``most_rows`` gives every position 0 to that many rows and a row table."""
    lane_positions = ceil_div(positions, lanes)
    table = most_rows is not None
    rows = np.ones((folds, positions), np.int64)
    if table:
        rows = rng.integers(0, most_rows + 1, (folds, positions))
        rows[0, 0] = most_rows
    per_lane = [int(rows[:, lane::lanes].sum()) for lane in range(lanes)]
    arch = EngineArch(
        positions=positions, lanes=lanes, banks=banks, folds=folds, set_size=set_size, weight_bits=weight_bits,
        capacity=lane_positions if capacity is None else capacity, row_table=table, most_rows=most_rows or 1,
        lane_rows=max(1, *per_lane) if table else folds * lane_positions, **options)
    slots = []
    memories = [[0] * arch.lane_rows for _ in range(lanes)]
    tables = [[0] * (folds * lane_positions) for _ in range(lanes)]
    free = [0] * lanes
    limit = (1 << weight_bits - 1) - 1
    for fold in range(folds):
        for position in range(positions):
            lane, index = position % lanes, fold * lane_positions + position // lanes
            count = int(rows[fold, position])
            start = index if not table else free[lane] if count else 0
            free[lane] += count
            tables[lane][index] = start | count << bits_for(arch.lane_rows)
            for row in range(start, start + count):
                for bank in range(banks):
                    weight, kid = int(rng.integers(-limit, limit + 1)), int(rng.integers(set_size))
                    slots.append((fold, bank, position, weight, kid))
                    word = weight & (1 << weight_bits) - 1 | kid << weight_bits
                    memories[lane][row] |= word << bank * arch.slot_bits
    bound = 1 << arch.sum_bits - 3
    biases = rng.integers(-bound, bound, (arch.drain_width, arch.beats)).tolist()
    images = EngineImages(weights=tuple(map(tuple, memories)), biases=tuple(map(tuple, biases)),
                          rows=tuple(map(tuple, tables)) if table else None)
    return EngineCase(arch=arch, images=images, slots=slots, rows=rows if table else None)


def make_vectors(case: EngineCase, rng: np.random.Generator, counts: Sequence[int]) -> np.ndarray:
    """Input codes (n, L), each vector with so many that are not zero; no lane gets more than it can store."""
    arch = case.arch
    low, high = (-(1 << arch.activation_bits - 1), 1 << arch.activation_bits - 1) if arch.activation_signed else (
        0, 1 << arch.activation_bits)
    vectors = np.zeros((len(counts), arch.positions), np.int64)
    for vector, count in zip(vectors, counts, strict=True):
        chosen = rng.choice(arch.positions, min(count, arch.positions), replace=False)
        kept = [place for lane in range(arch.lanes)
                for place in chosen[chosen % arch.lanes == lane][:arch.capacity]] if arch.indexed else chosen
        codes = rng.integers(low, high, len(kept))
        vector[kept] = np.where(codes == 0, high - 1, codes)
    return vectors


@dataclass(kw_only=True)
class EngineLog:
    """Cycles, one entry a vector; cycle 0 is the first clock edge after reset.

    ``offered`` and ``first``: its first beat was offered and transferred; ``last``: its last beat transferred;
    ``token`` and ``taken``: its token was offered and transferred; ``done``: its last beat of sums came.
    """

    outputs: list[list[int]] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    token: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)


def pair_beats(vectors: Iterable[Sequence[int]], *, lanes: int, bits: int, indexed: bool,
               extra: Callable[[], bool] = lambda: False) -> list[tuple[int, bool, bool]]:
    """Payload of each beat of (address, values, mask, last), and whether it is a vector's first or last.

    Element ``i`` of a vector is on lane ``i % lanes``. Without ``indexed`` zeros are sent, too; a beat without pairs is
    where ``extra`` says so.
    """
    beats = []
    for vector in vectors:
        mine, address_bits = [], bits_for(ceil_div(len(vector), lanes))
        for address in range(ceil_div(len(vector), lanes)):
            values = vector[address * lanes:(address + 1) * lanes]
            mask = sum(1 << lane for lane, value in enumerate(values) if value or not indexed)
            if mask or extra():
                packed = sum((value & (1 << bits) - 1) << lane * bits for lane, value in enumerate(values))
                mine.append(address | packed << address_bits | mask << address_bits + lanes * bits)
        mine = mine or [0]
        mine[-1] |= 1 << address_bits + lanes * (bits + 1)
        beats += [(payload, number == 0, number == len(mine) - 1) for number, payload in enumerate(mine)]
    return beats


def run_engine(case: EngineCase, vectors: np.ndarray, *, seed: int = 0, gap: float = 0.0, wait: float = 0.0,
               before: np.ndarray | None = None, reset_after: int = 0, limit: int = 20_000) -> EngineLog:
    """Run vectors through an engine in Amaranth's simulator.

    ``gap`` and ``wait`` are the chances of a cycle in which no new beat or no new token is offered. ``before`` are
    vectors that run for ``reset_after`` cycles and are then ended by a cycle of reset; nothing of them is logged.
    """
    arch, dut = case.arch, Engine(case.arch, case.images)
    top, domain = Module(), ClockDomain("sync")
    top.domains.sync = domain
    top.submodules.dut = dut
    dice = random.Random(seed)
    log = EngineLog()
    sums = arch.drain_width * arch.sum_bits

    def unpack(payload: int) -> list[int]:
        values = [payload >> port * arch.sum_bits & (1 << arch.sum_bits) - 1 for port in range(arch.drain_width)]
        return [value - (value >> arch.sum_bits - 1 << arch.sum_bits) for value in values]

    async def bench(ctx):
        nonlocal log
        if before is not None:
            await play(ctx, before, EngineLog(), reset_after)
            ctx.set(dut.i.valid, 0)
            ctx.set(dut.credit.valid, 0)
            ctx.set(domain.rst, 1)
            await ctx.tick()
            ctx.set(domain.rst, 0)
        await play(ctx, vectors, log, limit)
        assert len(log.done) == len(vectors), f"engine must finish within {limit} cycles"

    async def play(ctx, vectors, log, cycles):
        beats = pair_beats(vectors.tolist(), lanes=arch.lanes, bits=arch.activation_bits, indexed=arch.indexed)
        sent, offering, token = 0, False, False
        for cycle in range(cycles):
            if not offering and sent < len(beats) and dice.random() >= gap:
                offering = True
                if beats[sent][1]:
                    log.offered.append(cycle)
                ctx.set(dut.i.payload.as_value(), beats[sent][0])
            if not token and len(log.taken) < len(vectors) and dice.random() >= wait:
                token = True
                log.token.append(cycle)
            ctx.set(dut.i.valid, offering)
            ctx.set(dut.credit.valid, token)
            _, _, ready, taken, valid, payload = await ctx.tick().sample(
                dut.i.ready, dut.credit.ready, dut.o.valid, dut.o.payload.as_value())
            if offering and ready:
                _, is_first, is_last = beats[sent]
                if is_first:
                    log.first.append(cycle)
                if is_last:
                    log.last.append(cycle)
                offering, sent = False, sent + 1
            if token and taken:
                log.taken.append(cycle)
                token = False
            if valid:
                log.outputs.append(unpack(payload))
                last = payload >> sums
                assert last == (len(log.outputs) % arch.beats == 0), "last must end a vector and only that"
                if last:
                    log.done.append(cycle)
            if len(log.done) == len(vectors):
                # What follows the last vector would be a trace of something that is not there.
                for _ in range(8):
                    *_, valid = await ctx.tick().sample(dut.o.valid)
                    assert not valid, "no beat must follow the last vector"
                return

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return log


def check_cycles(case: EngineCase, vectors: np.ndarray, log: EngineLog) -> None:
    """Hold every event of a run against the cycle model, given when beats and tokens were offered."""
    arch = case.arch
    selected = vectors != 0 if arch.indexed else np.ones_like(vectors, bool)
    slots = lane_slots(arch, selected, case.rows)
    model = EngineCycles(arch)
    first, taken, done = [], [], []
    for number in range(len(vectors)):
        first.append(max(model.ready(), log.offered[number]))
        times = model.vector(slots[number], last_input=log.last[number], token=log.token[number])
        taken.append(times.token)
        done.append(times.last_beat)
    assert (first, taken, done) == (log.first, log.taken, log.done)


def make_stage(rng: np.random.Generator, *, kernels: int, least: int, most: int, codes: tuple[int, int],
               kind: str) -> Stage:
    """A random stage of requantisation that spreads ``least .. most`` over codes, one of `STAGES`."""
    low, high = codes
    if kind in ("thresholds", "steps of two", "sign"):
        step = 1 if kind == "thresholds" else 2
        count = 1 if kind == "sign" else (high - low) // step
        values = np.sort(rng.integers(least, most + 2, (kernels, count)), axis=1)
        values[0], values[-1] = least - 3, most + 1         # always, and never
        return Thresholds(values=values, low=-1 if kind == "sign" else low, step=step)
    if kind == "shift":
        shift = max(0, int(np.log2((most - least + 1) / (high - low + 1))))
        return Scale(multiplier=None, offset=1 << shift >> 1, shift=shift, low=low, high=high)
    multiplier = rng.integers(1 << 6, 1 << 8, kernels)
    shift = max(0, int(np.log2((most - least + 1) / (high - low + 1)))) + 7
    offset: np.ndarray | int = 1 << shift >> 1
    if kind in ("offsets", "falling"):
        offset = rng.integers(-(1 << shift + 1), 1 << shift + 1, kernels)
    if kind == "falling":
        multiplier = np.where(rng.random(kernels) < 0.5, -multiplier, multiplier)
        multiplier[0] = -abs(multiplier[0])
    return Scale(multiplier=multiplier, offset=offset, shift=shift, low=low, high=high, ties_to_even=kind == "ties")


def make_mask(rng: np.random.Generator, kernels: int, positions: int, *, set_size: int | None,
              density: float) -> np.ndarray:
    """A mask (M, L) of complementary sets, or of a density without any order."""
    if set_size is None:
        return rng.random((kernels, positions)) < density
    shuffled, mask = rng.permutation(kernels), np.zeros((kernels, positions), bool)
    for start in range(0, kernels, set_size):
        members = shuffled[start:start + set_size]
        mask[members[rng.integers(0, len(members), positions)], np.arange(positions)] = True
    return mask


#: Kinds of stages, for `make_network`.
STAGES = ("shift", "multiplier", "ties", "offsets", "falling", "thresholds", "steps of two", "sign")


def make_network(rng: np.random.Generator, *, sizes: Sequence[int], winners: Sequence[int | None] | None = None,
                 sets: Sequence[int | None] | None = None, density: float = 0.5, weight_bits: int = 8,
                 bits: int = 8, codes: tuple[int, int] | None = None, input_bits: int = 8, input_signed: bool = False,
                 stages: Sequence[str] = ("multiplier",), codes_out: bool = False, name: str = "net") -> Network:
    """A random integer network.

    ``sets`` gives a layer the set size of its complementary masks; None is a mask of ``density`` without any order.
    Hidden layers are requantised by ``stages``, one after the other, to ``codes`` (all of ``bits`` where None).
    """
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    winners = winners or [None] * len(shapes)
    sets = sets or [None] * len(shapes)
    codes = codes or (0, (1 << bits) - 1)
    taken = (-(1 << input_bits - 1), (1 << input_bits - 1) - 1) if input_signed else (0, (1 << input_bits) - 1)
    first, layers = taken, []
    for number, ((kernels, positions), set_size) in enumerate(zip(shapes, sets, strict=True)):
        mask = make_mask(rng, kernels, positions, set_size=set_size, density=density)
        limit = (1 << weight_bits - 1) - 1
        weights = np.where(mask, rng.integers(-limit, limit + 1, mask.shape), 0)
        scale = limit * (max(-taken[0], taken[1]) + 1) // 2
        layer = Layer(
            name=f"fc{number}", weights=weights, mask=mask, weight_bits=weight_bits,
            bias=rng.integers(-scale, scale + 1, kernels), input_range=taken, output_scale=1.0)
        if codes_out or number < len(shapes) - 1:
            spread = int(max(1.0, float(np.sqrt(mask.sum(axis=1).mean()))) * scale)
            least, most, made = -spread, spread, []
            for kind in stages:
                made.append(make_stage(rng, kernels=kernels, least=least, most=most, codes=codes, kind=kind))
                least, most = made[-1].low, made[-1].high
            layer = replace(layer, stages=tuple(made), winners=winners[number])
        layers.append(layer)
        taken = layer.output_range
    return Network(name=name, input_shape=(sizes[0],), input_range=first, input_scale=1.0, layers=tuple(layers),
                   sha256="0" * 64)


def make_cnn(rng: np.random.Generator, *, image: tuple[int, int, int], layers: Sequence[dict], density: float = 0.4,
             weight_bits: int = 6, codes: tuple[int, int] = (0, 15), input_bits: int = 4, input_signed: bool = False,
             stage: str = "multiplier", codes_out: bool = False) -> Network:
    """A random integer network over an image (channels, height, width).

    Every layer is a dict: ``kernels``; of a convolution ``kernel`` and, if need be, ``strides`` and ``pads``, and
    ``pool``, a dict of these three; ``winners``; ``sets``, the set size of complementary masks. Layers are named
    ``layer0`` and so on; all but the last, and that with ``codes_out``, have codes.
    """
    taken = (-(1 << input_bits - 1), (1 << input_bits - 1) - 1) if input_signed else (0, (1 << input_bits) - 1)
    first, shape, made = taken, tuple(image), []
    limit = (1 << weight_bits - 1) - 1
    for number, given in enumerate(layers):
        window = pool = None
        positions, kernels = int(np.prod(shape)), given["kernels"]
        if "kernel" in given:
            window = Window(channels=shape[0], height=shape[1], width=shape[2], kernel=given["kernel"],
                            strides=given.get("strides", (1, 1)), pads=given.get("pads", (0, 0, 0, 0)))
            positions, shape = window.positions, (kernels, *window.output_size)
            if "pool" in given:
                pool = Window(channels=kernels, height=shape[1], width=shape[2], **given["pool"])
                shape = (kernels, *pool.output_size)
        else:
            shape = (kernels,)
        mask = make_mask(rng, kernels, positions, set_size=given.get("sets"), density=density)
        mask[:, 0] |= ~mask.any(axis=1)
        scale = limit * max(-taken[0], taken[1]) // 2
        layer = Layer(
            name=f"layer{number}", op="Linear" if window is None else "Conv", window=window, weight_bits=weight_bits,
            weights=np.where(mask, rng.integers(-limit, limit + 1, mask.shape), 0), mask=mask,
            bias=rng.integers(-scale, scale + 1, kernels), input_range=taken, output_scale=1.0)
        if codes_out or number < len(layers) - 1:
            spread = int(max(1.0, float(np.sqrt(mask.sum(axis=1).mean()))) * scale)
            requantisation = make_stage(rng, kernels=kernels, least=-spread, most=spread, codes=codes, kind=stage)
            layer = replace(layer, stages=(requantisation,), pool=pool, winners=given.get("winners"))
        made.append(layer)
        taken = layer.output_range
    return Network(name="cnn", input_shape=tuple(image), input_range=first, input_scale=1.0, layers=tuple(made),
                   sha256="0" * 64)


def retrained(network: Network, rng: np.random.Generator) -> Network:
    """The network with other numbers that need no other widths: weights of a kernel change places, kernels their
    stages' parameters, and every bias is a little smaller."""
    layers = []
    for layer in network.layers:
        weights = layer.weights.copy()
        for kernel, mask in zip(weights, layer.mask, strict=True):
            kernel[mask] = rng.permutation(kernel[mask])
        turned = np.roll(np.arange(layer.kernels), 1)
        stages = tuple(
            replace(stage, values=stage.values[turned]) if isinstance(stage, Thresholds)
            else replace(stage, multiplier=stage.multiplier[turned], offset=stage.offset[turned]
                         if isinstance(stage.offset, np.ndarray) else stage.offset) for stage in layer.stages)
        layers.append(replace(layer, weights=weights, bias=layer.bias - np.sign(layer.bias), stages=stages))
    return replace(network, layers=tuple(layers))
