import re
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped
from numpy.testing import assert_array_equal

from dovetail.hw.errors import SimulationError, ToolMissing
from dovetail.sim import Engine, Simulation, simulate
from dovetail.sim.tools import find_compiler, find_icarus, find_verilator

WIDE = data.StructLayout({"codes": data.ArrayLayout(unsigned(8), 16), "last": unsigned(1)})
TOTAL = data.StructLayout({"codes": data.ArrayLayout(unsigned(8), 16), "total": signed(13), "last": unsigned(1)})
LOOKED_UP = data.StructLayout({"value": signed(12), "seen": unsigned(6)})
TABLE = [37 * k % 4001 - 2000 for k in range(16)]


class Pipe(wiring.Component):
    """3 * x - 1, in a register."""

    i: In(stream.Signature(signed(16)))
    o: Out(stream.Signature(signed(18)))

    def elaborate(self, platform):
        m = Module()
        with m.If(~self.o.valid | self.o.ready):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload * 3 - 1)]
        return m


class Wide(wiring.Component):
    """Codes in reverse, and minus their sum, which depends on them through one wire."""

    i: In(stream.Signature(WIDE))
    o: Out(stream.Signature(TOTAL))

    def elaborate(self, platform):
        m = Module()
        total = 0
        for k in range(16):
            m.d.comb += self.o.p.codes[k].eq(self.i.p.codes[15 - k])
            total += self.o.p.codes[k]
        m.d.comb += [
            self.o.p.total.eq(-total), self.o.p.last.eq(self.i.p.last),
            self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready),
        ]
        return m


class Table(wiring.Component):
    """A table in a memory with a clocked read, and how often each address came, in one that is read at once."""

    i: In(stream.Signature(unsigned(4)))
    o: Out(stream.Signature(LOOKED_UP))

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = Memory(shape=signed(12), depth=16, init=TABLE)
        m.submodules.counts = counts = Memory(shape=unsigned(6), depth=16, init=[1] * 16)
        read, count, write = table.read_port(), counts.read_port(domain="comb"), counts.write_port()
        seen = Signal(6)
        m.d.comb += [
            read.addr.eq(self.i.payload), read.en.eq(self.i.ready), count.addr.eq(self.i.payload),
            write.addr.eq(self.i.payload), write.data.eq(count.data + 1), write.en.eq(self.i.ready & self.i.valid),
            self.o.p.value.eq(read.data), self.o.p.seen.eq(seen), self.i.ready.eq(~self.o.valid | self.o.ready),
        ]
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), seen.eq(count.data)]
        return m


class Join(wiring.Component):
    """a + b + offset, where the offset needs no handshake; whatever is put into `drop` disappears."""

    a: In(stream.Signature(unsigned(40)))
    b: In(stream.Signature(signed(40)))
    offset: In(stream.Signature(unsigned(3), always_valid=True))
    drop: In(stream.Signature(unsigned(1), always_ready=True))
    o: Out(stream.Signature(signed(42)))
    beat: Out(stream.Signature(unsigned(1), always_valid=True, always_ready=True))

    def elaborate(self, platform):
        m = Module()
        both = Signal()
        m.d.comb += [
            both.eq(self.a.valid & self.b.valid), self.o.valid.eq(both), self.offset.ready.eq(1),
            self.a.ready.eq(both & self.o.ready), self.b.ready.eq(both & self.o.ready),
            self.o.payload.eq(self.a.payload + self.b.payload + self.offset.payload),
        ]
        m.d.sync += self.beat.payload.eq(~self.beat.payload)
        return m


class Zoo(wiring.Component):
    """One of each, side by side, so that each simulator has to be compiled once."""

    def __init__(self):
        self._parts = {"pipe": Pipe(), "wide": Wide(), "table": Table(), "join": Join()}
        super().__init__({
            f"{name}_{port}": member
            for name, part in self._parts.items() for port, member in part.signature.members.items()
        })

    def elaborate(self, platform):
        m = Module()
        for name, part in self._parts.items():
            m.submodules[name] = part
            for port in part.signature.members:
                connect(m, flipped(getattr(self, f"{name}_{port}")), getattr(part, port))
        return m


class Sum(wiring.Component):
    """The sum so far, at once."""

    i: In(stream.Signature(unsigned(8)))
    o: Out(stream.Signature(unsigned(16)))

    def elaborate(self, platform):
        m = Module()
        total = Signal(16)
        m.d.comb += [
            self.o.payload.eq(total + self.i.payload), self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += total.eq(self.o.payload)
        return m


class Chain(wiring.Component):
    """Two pipes, the second one two levels down."""

    i: In(stream.Signature(signed(16)))
    o: Out(stream.Signature(signed(18)))

    def elaborate(self, platform):
        m = Module()
        m.submodules.first = first = Pipe()
        m.submodules.nest = nest = Module()
        nest.submodules.second = second = Pipe()
        connect(m, flipped(self.i), first.i)
        m.d.comb += [
            second.i.payload.eq(Mux(first.o.payload > 100, 0, first.o.payload)), second.i.valid.eq(first.o.valid),
            first.o.ready.eq(second.i.ready),
        ]
        connect(m, second.o, flipped(self.o))
        return m


class Stuck(wiring.Component):
    """Takes two words and no more."""

    i: In(stream.Signature(unsigned(8)))
    o: Out(stream.Signature(unsigned(8)))

    def elaborate(self, platform):
        m = Module()
        taken = Signal(2)
        m.d.comb += [
            self.o.payload.eq(self.i.payload), self.o.valid.eq(self.i.valid & (taken < 2)),
            self.i.ready.eq(self.o.ready & (taken < 2)),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += taken.eq(taken + 1)
        return m


def need(engine):
    """Skip where what a simulator needs is not installed."""
    find = {Engine.CXXRTL: find_compiler, Engine.ICARUS: find_icarus, Engine.VERILATOR: find_verilator}
    try:
        find.get(engine, lambda: None)()
    except ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(autouse=True)
def reference():
    """CXXRTL, the default, is in nearly every test."""
    need(Engine.CXXRTL)


@pytest.fixture(scope="module")
def zoo():
    """Make the simulation of an engine once."""
    made = {}

    def get(engine):
        need(engine)
        if engine not in made:
            made[engine] = Simulation(Zoo(), engine=engine)
        return made[engine]

    return get


def zoo_job(n):
    rng = np.random.default_rng(5)
    pipe = rng.integers(-(1 << 15), 1 << 15, n)
    codes, last = rng.integers(0, 256, (n, 16)), rng.integers(0, 2, n)
    address = rng.integers(0, 16, n)
    a, b = rng.integers(0, 1 << 40, n), rng.integers(-(1 << 39), 1 << 39, n)
    seen = [1 + np.count_nonzero(address[:k] == address[k]) for k in range(n)]
    inputs = {
        "pipe_i": pipe, "wide_i": {"codes": codes, "last": last}, "table_i": address,
        "join_a": a, "join_b": b, "join_offset": [5], "join_drop": [1, 0, 1],
    }
    expected = {
        "pipe_o": pipe * 3 - 1,
        "wide_o": {"codes": codes[:, ::-1], "total": -codes.sum(axis=1), "last": last},
        "table_o": {"value": np.array(TABLE)[address], "seen": np.array(seen)},
        "join_o": a + b + 5,
    }
    return inputs, expected


def assert_same(left, right):
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    else:
        assert_array_equal(left, right)


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
@pytest.mark.parametrize("engine", list(Engine))
def test_engines_agree(zoo, engine, seed):
    inputs, expected = zoo_job(40)
    result = zoo(engine).run(inputs, dict.fromkeys(expected, 40), stall_seed=seed)
    assert_same(result.outputs, expected)
    reference = zoo(Engine.CXXRTL).run(inputs, dict.fromkeys(expected, 40), stall_seed=seed)
    assert_same(result.times, reference.times)
    assert (result.cycles, result.total_cycles) == (reference.cycles, reference.total_cycles)
    assert result.cycles_per_second > 0


@pytest.mark.parametrize("engine", list(Engine))
def test_engines_agree_with_resets(zoo, engine):
    inputs, expected = zoo_job(40)
    outputs = dict.fromkeys(expected, 30) | {"join_beat": 25}
    options = {"stall_seed": 3, "reset_at": [9, 20, 21, 500], "restart": {"pipe_i": 2, "join_a": 0, "join_b": 0}}
    result = zoo(engine).run(inputs, outputs, **options)
    reference = zoo(Engine.CXXRTL).run(inputs, outputs, **options)
    assert_same(result.outputs, reference.outputs)
    assert_same(result.times, reference.times)
    assert not {9, 20, 21} & {cycle for times in result.times.values() for cycle in times.tolist()}


@pytest.mark.parametrize("engine", list(Engine))
def test_setup(zoo, engine):
    """Words that are sent first change the table, which no reset clears, and nothing else; no time is counted."""
    inputs, expected = zoo_job(40)
    given = {"table_i": [3, 3], "pipe_i": [1]}     # nobody takes the first, so that the second is lost
    result = zoo(engine).run(inputs, dict.fromkeys(expected, 40), stall_seed=1, setup=given)
    again = zoo(engine).run(inputs, dict.fromkeys(expected, 40), stall_seed=1)
    assert_same(again.outputs, expected)
    assert_same(result.times, again.times)
    address = inputs["table_i"]
    expected["table_o"]["seen"] = expected["table_o"]["seen"] + (address == 3)
    assert_same(result.outputs, expected)


def test_seeds_stall_differently_and_repeatably(zoo):
    inputs, expected = zoo_job(40)
    times = {}
    for seed in (None, 0, 1, 0):
        times.setdefault(seed, []).append(
            zoo(Engine.CXXRTL).run(inputs, dict.fromkeys(expected, 40), stall_seed=seed).times["pipe_o"])
    assert_array_equal(times[None][0], np.arange(1, 41))
    assert_array_equal(*times[0])
    assert times[0][0].tolist() != times[1][0].tolist()


def test_three_lines():
    result = simulate(Pipe(), {"i": [1, 2, 3]}, {"o": 3})
    assert_array_equal(result.outputs["o"], [2, 5, 8])
    assert_array_equal(result.times["i"], [0, 1, 2])
    assert_array_equal(result.times["o"], [1, 2, 3])
    assert (result.cycles, result.total_cycles) == (4, 4)


@pytest.mark.parametrize("engine", [Engine.CXXRTL, Engine.AMARANTH])
def test_reset_goes_on(engine):
    result = simulate(Sum(), {"i": [1, 2, 3, 4, 5]}, {"o": 5}, engine=engine, reset_at=[2])
    assert_array_equal(result.outputs["o"], [1, 3, 3, 7, 12])
    assert_array_equal(result.times["o"], [0, 1, 3, 4, 5])


@pytest.mark.parametrize("engine", [Engine.CXXRTL, Engine.AMARANTH])
def test_reset_restarts(engine):
    result = simulate(Sum(), {"i": [1, 2, 3]}, {"o": 5}, engine=engine, reset_at=[2], restart={"i": 0})
    assert_array_equal(result.outputs["o"], [1, 3, 1, 3, 6])


def test_first_and_last_transfer_count():
    result = simulate(Sum(), {"i": [1, 2]}, {"o": 2}, reset_at=[0, 1])
    assert_array_equal(result.times["i"], [2, 3])
    assert (result.cycles, result.total_cycles) == (2, 4)


def test_without_outputs_the_inputs_end_it():
    result = simulate(Pipe(), {"i": [1, 2, 3]}, {})
    assert (result.outputs, result.total_cycles) == ({}, 3)


def test_more_than_asked_for_is_dropped():
    result = simulate(Join(), {"a": [1, 2, 3], "b": [0, 0, 0], "offset": [0]}, {"o": 3, "beat": 1})
    assert_array_equal(result.times["beat"], [0])
    assert_array_equal(result.outputs["o"], [1, 2, 3])


@pytest.mark.parametrize("engine", [Engine.CXXRTL, Engine.AMARANTH, Engine.ICARUS])
def test_probes(engine):
    need(engine)
    values = [5, 60, -7]
    result = simulate(Chain(), {"i": values}, {"o": 3}, engine=engine, probes=["first.o", "nest.second.i"])
    assert_array_equal(result.outputs["o"], [41, -1, -67])
    for name, words in {"first.o": [14, 179, -22], "nest.second.i": [14, 0, -22]}.items():
        times, payloads = result.probes[name]
        assert_array_equal(times, [1, 2, 3])
        assert_array_equal(times, result.times[name])
        assert_array_equal(payloads, words)


@pytest.mark.parametrize("engine", list(Engine))
def test_vcd(tmp_path, engine):
    need(engine)
    path = tmp_path / "waves.vcd"
    result = simulate(Pipe(), {"i": [1, 2, 3]}, {"o": 3}, engine=engine, vcd=path)
    assert_array_equal(result.outputs["o"], [2, 5, 8])
    assert_array_equal(result.times["o"], [1, 2, 3])
    text = path.read_text()
    assert "$enddefinitions" in text
    code = re.search(r"\$var \w+ 18 (\S+) o__payload ", text)[1]
    changes = [int(bits, 2) for bits in re.findall(rf"^b([01]+) {re.escape(code)}$", text, re.MULTILINE)]
    assert [2, 5, 8] == [value for value in changes if value in (2, 5, 8)]


@pytest.mark.parametrize("engine", [Engine.CXXRTL, Engine.AMARANTH, Engine.ICARUS])
def test_deadlock(engine):
    need(engine)
    message = "deadlock: no transfer for 50 cycles, at cycle 52: 'i' accepted 2 of 4 words, 'o' delivered 2 of 3 words"
    with pytest.raises(SimulationError, match=f"^{re.escape(message)}$"):
        simulate(Stuck(), {"i": [1, 2, 3, 4]}, {"o": 3}, engine=engine, idle_limit=50)


@pytest.mark.parametrize("engine", [Engine.CXXRTL, Engine.AMARANTH, Engine.ICARUS])
def test_out_of_cycles(engine):
    need(engine)
    message = "not done within 2 cycles: 'i' accepted 2 of 3 words, 'o' delivered 1 of 3 words"
    with pytest.raises(SimulationError, match=f"^{re.escape(message)}$"):
        simulate(Pipe(), {"i": [1, 2, 3]}, {"o": 3}, engine=engine, max_cycles=2)
    assert simulate(Pipe(), {"i": [1, 2, 3]}, {"o": 3}, engine=engine, max_cycles=4).total_cycles == 4


class Switch(wiring.Component):
    """Not a stream."""

    on: In(1)
    o: Out(stream.Signature(unsigned(8)))

    def elaborate(self, platform):
        return Module()


class Empty(wiring.Component):
    """A payload of no bits."""

    i: In(stream.Signature(unsigned(0)))

    def elaborate(self, platform):
        return Module()


@pytest.mark.parametrize(("make", "options", "error", "message"), [
    (SimpleNamespace, {}, TypeError, "Design must be a wiring.Component, not namespace()"),
    (Switch, {}, TypeError, "Inputs must be streams, not 'on': In(1)"),
    (Empty, {}, ValueError, "Payload of 'i' must have at least one bit"),
    (Chain, {"probes": ["last.o"]}, ValueError,
     "Probe 'last.o' must name a submodule of the design: ['first', 'nest'], not 'last'"),
    (Chain, {"probes": ["nest.last.o"]}, ValueError,
     "Probe 'nest.last.o' must name a submodule of nest: ['second'], not 'last'"),
    (Chain, {"probes": ["first.x"]}, ValueError, "Probe 'first.x' must end in the name of a stream, not 'x'"),
])  # fmt: skip
def test_design_wrong(make, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        simulate(make(), {}, {}, engine=Engine.AMARANTH, **options)


def test_engine_wrong():
    with pytest.raises(TypeError, match="^Engine must be an Engine, not 'cxxrtl'$"):
        simulate(None, {}, {}, engine="cxxrtl")


@pytest.mark.parametrize(("inputs", "outputs", "options", "error", "message"), [
    ({"x": [1]}, {"o": 1}, {}, ValueError, "Inputs must name streams of the design out of ['i'], not 'x'"),
    ({"i": [1]}, {"i": 1}, {}, ValueError, "Outputs must name streams of the design out of ['o'], not 'i'"),
    ({"i": [1]}, {"o": -1}, {}, ValueError, "Outputs of 'o' must be at least 0 words, not -1"),
    ({"i": [1 << 15]}, {"o": 1}, {}, ValueError, "payload must be in -32768..32767, not 32768"),
    ({}, {}, {}, ValueError, "Inputs and outputs must not both be without words"),
    ({"i": [1]}, {"o": 1}, {"restart": {"o": 0}}, ValueError,
     "Restart must name streams of the design out of ['i'], not 'o'"),
    ({"i": [1]}, {"o": 1}, {"setup": {"o": [0]}}, ValueError,
     "Setup must name streams of the design out of ['i'], not 'o'"),
    ({"i": [1]}, {"o": 1}, {"restart": {"i": 2}}, ValueError, "Restart of 'i' must be in 0..1, not 2"),
    ({"i": [1]}, {"o": 1}, {"reset_at": [3, -2]}, ValueError, "reset_at must hold cycles from 0, not -2"),
    ({"i": [1]}, {"o": 1}, {"idle_limit": 0}, ValueError, "idle_limit must be at least 1, not 0"),
    ({"i": [1]}, {"o": 1}, {"max_cycles": 0}, ValueError, "max_cycles must be at least 1, not 0"),
])  # fmt: skip
def test_run_wrong(inputs, outputs, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        simulate(Pipe(), inputs, outputs, engine=Engine.AMARANTH, **options)
