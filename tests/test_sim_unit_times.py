"""Busy, starved and stalled: the cycle model's account of every unit, cycle by cycle, against signals of the RTL."""

import numpy as np
import pytest
import test_sim_convolutions as convolutions
import test_sim_unrolled as unrolled
from amaranth.hdl import Cat, Elaboratable, Fragment, Module
from amaranth.sim import Simulator
from builders import make_cnn, make_network

from dovetail.hw.arch import UnrolledArch
from dovetail.hw.network import NetworkTop
from dovetail.sim import golden
from dovetail.sim.cycles import NetworkCycles, network_cycles
from dovetail.sim.payload import pack
from dovetail.sim.unit_times import State, States, UnitWork, bottleneck, cycle_states, states, timeline
from dovetail.sim.verify import frames_to_words
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings

#: Cycles that are watched behind the end.
TAIL = 4
FRAMES = 4
PERCEPTRONS = {
    "one code a beat": ({"sizes": (21, 12, 5), "winners": (4, None)}, {0: {"lanes": 1, "set_size": 4}}),
    "folds, lanes of different length": (
        {"sizes": (24, 20, 9, 4), "winners": (5, 3, None), "density": 0.4},
        {0: {"lanes": 4, "banks": 2, "set_size": 3}, 1: {"lanes": 2, "banks": 1, "set_size": 2, "drain_width": 2},
         2: {"lanes": 1, "banks": 1, "set_size": 2}}),
    "a wide result behind a fast layer": ({"sizes": (8, 40)}, {0: {"lanes": 4, "banks": 5, "set_size": 8}}),
}
CONVOLUTIONS = ["global k-WTA of pixels", "a convolution last, its codes", "zero skipping of the input",
                "pools with more than one vector at the border"]
UNROLLED = ["halves", "more than one vector at the border", "stages that fall"]


def perceptron(name):
    given, fixed = PERCEPTRONS[name]
    network = make_network(np.random.default_rng(3), **given)
    return plan(network, Settings(layers={f"fc{number}": LayerSettings(**more) for number, more in fixed.items()},
                                  target_cycles=100_000, input_width=1))


def slow_end(_):
    """What a fully connected layer behind makes a convolution wait for."""
    network = make_cnn(np.random.default_rng(3), image=(1, 3, 3), layers=[
        {"kernels": 2, "kernel": (2, 2)}, {"kernels": 40}, {"kernels": 2}])
    return plan(network, Settings(layers={"layer0": LayerSettings(lanes=4), "layer1": LayerSettings(
        lanes=1, banks=1, set_size=1)}, target_cycles=100_000))


CASES = [(slow_end, "a slow end"),
         *((perceptron, name) for name in PERCEPTRONS), *((convolutions.build, name) for name in CONVOLUTIONS),
         *((unrolled.build, name) for name in UNROLLED)]


class Elaborated(Elaboratable):
    def __init__(self, fragment):
        self.fragment = fragment

    def elaborate(self, platform):
        return self.fragment


class Watched:
    """A network in Amaranth's simulator, and signals of its units: an integer array of as many cycles as it ran."""

    def __init__(self, built, codes):
        self._top = NetworkTop(built.arch, built.images)
        self._fragment = Fragment.get(self._top, None)
        self._signals, self._names = [], []
        self.layers = []
        for number, planned in enumerate(built.layers):
            self._find_layer(f"layer{number}", planned)
        for end in ("i", "o"):
            self._stream(end, getattr(self._top, end))
        self._run(built, codes)

    def find(self, path):
        fragment = self._fragment
        for name in path.split("."):
            (fragment,) = [child for child, given, *_ in fragment.subfragments if given == name]
        return fragment.origins[0]

    def _add(self, name, signal):
        self._names.append(name)
        self._signals.append(signal)

    def _stream(self, name, port, *, last=False):
        self._add(f"{name}.valid", port.valid)
        self._add(f"{name}.ready", port.ready)
        if last:
            self._add(f"{name}.last", port.p.last)

    def _find_layer(self, path, planned):
        arch = planned.arch
        self._stream(f"{path}.i", self.find(path).i, last=True)
        self._stream(f"{path}.select.i", self.find(f"{path}.select").i, last=True)
        self._stream(f"{path}.select.o", self.find(f"{path}.select").o, last=True)
        if arch.window is not None:
            self._stream(f"{path}.entry.o", self.find(f"{path}.entry").o, last=not isinstance(
                arch.engine, UnrolledArch))
        if isinstance(arch.engine, UnrolledArch):
            serialise = self.find(f"{path}.engine.serialise")
            self._stream(f"{path}.credit", serialise.credit)
            self._stream(f"{path}.o_credit", serialise.o_credit)
            self._stream(f"{path}.sent", serialise.o, last=True)
        else:
            control = self.find(f"{path}.engine.control")
            self._stream(f"{path}.credit", control.credit)
            for name in ("capture", "word", "retire", "drain"):
                self._add(f"{path}.{name}", getattr(control, name))
            for lane in range(arch.engine.lanes):
                sequencer = self.find(f"{path}.engine.lane{lane}.sequencer")
                self._stream(f"{path}.item{lane}", sequencer.i)
                self._add(f"{path}.fold_end{lane}", sequencer.i.p.fold_end)
        if arch.pool is not None and not getattr(arch.engine, "pooled", False):
            control = self.find(f"{path}.pool.control")
            self._add(f"{path}.pool.i", self.find(f"{path}.pool").i.valid)
            self._add(f"{path}.pool.insert", control.insert)
            self._stream(f"{path}.pool.o_credit", control.o_credit)
            for axis in ("columns", "rows"):
                self._add(f"{path}.pool.outside_{axis}", self.find(f"{path}.pool.control.{axis}").outside)

    def _run(self, built, codes):
        arch, top = built.arch, self._top
        words = pack(top.i.payload.shape(), frames_to_words(codes, arch.input_width, pixels=arch.input_pixels))
        words = [int.from_bytes(word.astype("<u4").tobytes(), "little") for word in words]
        wanted, seen = arch.output_beats * len(codes), []

        async def bench(ctx):
            sent = received = tail = 0
            ctx.set(top.o.ready, 1)
            while tail < TAIL:
                ctx.set(top.i.valid, sent < len(words))
                ctx.set(top.i.payload.as_value(), words[min(sent, len(words) - 1)])
                *_, taken, delivered, now = await ctx.tick().sample(top.i.ready, top.o.valid, Cat(self._signals))
                seen.append(now)
                sent += taken and sent < len(words)
                received += delivered
                tail += received == wanted
                assert len(seen) < 100_000

        module = Module()
        module.submodules.top = Elaborated(self._fragment)
        simulator = Simulator(module)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        self.values, low = {}, 0
        for name, signal in zip(self._names, self._signals, strict=True):
            mask = (1 << len(signal)) - 1
            self.values[name] = np.array([now >> low & mask for now in seen])
            low += len(signal)

    def __getitem__(self, name):
        return self.values[name]

    def moves(self, name):
        return (self[f"{name}.valid"] & self[f"{name}.ready"]).astype(bool)

    def waits(self, name):
        return (self[f"{name}.valid"] & ~self[f"{name}.ready"] & 1).astype(bool)

    def ends(self, name):
        return self.moves(name) & (self[f"{name}.last"] == 1)


def before(events):
    """How many there were before each cycle."""
    return np.cumsum(events) - events


def classify(busy, waiting):
    return np.where(busy, State.BUSY, np.where(waiting, State.STALLED, State.STARVED))


def sends(seen, stream, ends, whole):
    """A unit that hands on, through a stream, what is there whole: so many before each cycle."""
    here = whole > before(ends)
    return classify(seen.moves(stream) | here & (seen[f"{stream}.valid"] == 0), seen.waits(stream))


def passes(seen, stream, ends):
    """Vectors pass through a stream, first beat to last."""
    inside = before(seen.moves(stream)) > np.maximum.accumulate(np.where(ends, np.cumsum(seen.moves(stream)), 0))
    inside[ends] = True
    return classify(seen.moves(stream) | inside, seen.waits(stream))


def folded(seen, path, arch):
    retired = before(seen[f"{path}.retire"])
    busy = np.zeros(len(retired), bool)
    for lane in range(arch.lanes):
        ended = before(seen.moves(f"{path}.item{lane}") & (seen[f"{path}.fold_end{lane}"] == 1))
        busy |= (seen[f"{path}.item{lane}.valid"] == 1) & (ended - retired < 2)
    (drains,) = np.nonzero((seen[f"{path}.capture"] == 1) & (seen[f"{path}.word"] == 0))
    for first in drains:
        busy[first - 1:first + arch.groups * arch.group_period] = True
    return classify(busy, (seen[f"{path}.credit.ready"] == 1) & (seen[f"{path}.credit.valid"] == 0))


def serial(seen, path):
    """An unrolled engine; a beat comes three cycles after it is sent."""
    sent, last = (np.append(values[3:], [0] * 3) == 1 for values in (seen[f"{path}.sent.valid"], seen.ends(
        f"{path}.sent")))
    waiting = (seen[f"{path}.o_credit.ready"] == 1) & (seen[f"{path}.o_credit.valid"] == 0)
    flying = before(seen.moves(f"{path}.credit")) > before(last)
    return classify(seen.moves(f"{path}.entry.o") | sent | flying & ~waiting, waiting)


def pool(seen, path):
    insert = seen[f"{path}.pool.insert"]
    busy = (seen[f"{path}.pool.i"] | insert | np.append(insert[1:], 0)) == 1
    outside = (seen[f"{path}.pool.outside_columns"] | seen[f"{path}.pool.outside_rows"]) == 1
    credit = f"{path}.pool.o_credit"
    return classify(busy, outside & (seen[f"{credit}.ready"] == 1) & (seen[f"{credit}.valid"] == 0))


def windows(seen, path, arch):
    """How many windows have all their pixels before each cycle."""
    pixels = before(seen.ends(f"{path}.i"))
    rows, columns = arch.output_size
    size = arch.height * arch.width
    needs = np.array([arch.last_row(y) * arch.width + arch.last_column(x) for y in range(rows) for x in range(columns)])
    return sum((pixels[:, np.newaxis] > needs + frame * size).cumprod(axis=1).sum(axis=1)
               for frame in range(pixels[-1] // size + 1))


def measured(seen, built):
    """State of every unit in every cycle, by layer and unit."""
    found = {(None, "input"): classify(seen.moves("i"), seen.waits("i"))}
    for number, planned in enumerate(built.layers):
        path, arch, name = f"layer{number}", planned.arch, planned.layer.name
        is_unrolled = isinstance(arch.engine, UnrolledArch)
        if arch.joined > 1:
            found[name, "join"] = passes(seen, f"layer{number - 1}.select.o", seen.ends(f"layer{number - 1}.select.o"))
        if arch.window is not None:
            stream = f"{path}.entry.o"
            found[name, "window"] = sends(seen, stream, seen.moves(stream) if is_unrolled else seen.ends(stream),
                                          windows(seen, path, arch.window))
        found[name, "engine"] = serial(seen, path) if is_unrolled else folded(seen, path, arch.engine)
        if f"{path}.pool.i" in seen.values:
            found[name, "pool"] = pool(seen, path)
        select = f"{path}.select"
        found[name, "select"] = sends(seen, f"{select}.o", seen.ends(f"{select}.o"), before(seen.ends(f"{select}.i")))
    last = f"layer{len(built.layers) - 1}.select.o"
    found[None, "output"] = passes(seen, last, seen.ends(last))
    return found


@pytest.mark.parametrize(("build", "name"), CASES)
def test_every_cycle(build, name):
    """Of every unit, from the first input beat to the last output beat."""
    built = build(name)
    codes = convolutions.some_codes(built, FRAMES)
    cycles = network_cycles(built, golden.run(built.network, codes), watch=True)
    seen = Watched(built, codes)
    expected = measured(seen, built)
    first, last = int(cycles.first_input[0]), int(cycles.last_output[-1])
    assert len(seen["i.valid"]) == last + 1 + TAIL - 1
    assert [(work.layer, work.unit) for work in cycles.works] == list(expected)
    for work, counted in zip(cycles.works, cycles.run, strict=True):
        wanted = expected[work.layer, work.unit][first:last + 1]
        np.testing.assert_array_equal(cycle_states(work, first, last), wanted, err_msg=f"{work.layer} {work.unit}")
        assert [counted.busy, counted.starved, counted.stalled] == np.bincount(wanted, minlength=3).tolist()


def test_cases_cover_what_there_is():
    """Every unit in every state that it can be in."""
    there = set()
    for build, name in CASES:
        built = build(name)
        codes = convolutions.some_codes(built, FRAMES)
        for unit in network_cycles(built, golden.run(built.network, codes), watch=True).run:
            there |= {(unit.unit, state) for state in ("busy", "starved", "stalled") if getattr(unit, state)}
    assert there == {(unit, state) for unit in ("input", "window", "join", "engine", "pool", "select", "output")
                     for state in ("busy", "starved", "stalled")} - {("output", "stalled")}


def test_states():
    """Busy goes before stalled; what neither says is starved."""
    work = UnitWork(layer="fc", unit="engine")
    work.work(3, 5)
    work.work(5, 7)
    work.work(2, 1)         # no cycle at all
    work.frame = 1
    work.work(8, 9)         # of another inference, so that it stays apart
    work.wait(0, 3)
    work.wait(9, 11)
    assert work.busy == [(3, 7, 0), (8, 9, 1)] and work.waiting == [(0, 3), (9, 11)]
    assert cycle_states(work, 1, 13).tolist() == [2, 2, *[0] * 7, 2, 2, 1, 1]
    whole, none = states([work, UnitWork(layer=None, unit="input")], 1, 13)
    assert whole == States(layer="fc", unit="engine", busy=7, starved=2, stalled=4) and whole.cycles == 13
    assert none == States(layer=None, unit="input", busy=0, starved=13, stalled=0)
    assert (whole.name, none.name) == ("fc engine", "input")
    spans = [(span.inference, span.start, span.end) for span in timeline([work], 2)]
    assert spans == [(0, 3, 7), (1, 8, 9)] and len(timeline([work], 1)) == 1


def test_bottleneck():
    """The busiest; of equals the last, which is what the others wait for."""
    units = [States(layer="fc", unit=unit, busy=busy, starved=9 - busy, stalled=0)
             for unit, busy in (("input", 4), ("engine", 7), ("select", 7), ("output", 1))]
    assert bottleneck(units).unit == "select"


def test_steady_state():
    """Results that come after the first one and before the last input, the second half of them."""
    cycles = NetworkCycles(total=121, first_input=np.arange(10) * 10, last_output=np.arange(10) * 10 + 30)
    assert cycles.steady_frames == range(3, 6)      # the last input comes with the result of frame 6
    few = NetworkCycles(total=51, first_input=np.arange(3) * 10, last_output=np.arange(3) * 10 + 30,
                        works=(UnitWork(layer=None, unit="input", busy=[(0, 9, 0)]),))
    assert not few.steady_frames and few.steady == few.run
    assert few.run == (States(layer=None, unit="input", busy=10, starved=41, stalled=0),)
