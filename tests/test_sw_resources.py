"""The resource model: its exact rules against synthesis, its fit against what is stored, and what must always hold."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory as HdlMemory
from amaranth.lib.wiring import In, Out

from dovetail.boards.cells import Family, count_cells
from dovetail.hw.arch import (
    AccumulatorKind,
    EngineArch,
    LayerArch,
    Mode,
    NetworkArch,
    PoolArch,
    ScaleArch,
    SelectArch,
    SelectKind,
    ThresholdArch,
    WindowArch,
)
from dovetail.sw.cell_rules import Fabric, Memory, cut_product, place
from dovetail.sw.resource_table import FF, LUT
from dovetail.sw.resources import (
    Resources,
    Tally,
    capacity,
    layer_resources,
    network_resources,
    tally_engine,
    tally_pool,
    tally_select,
    tally_stage,
    tally_window,
)
from dovetail.sw.settings import Device

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
FABRICS = {Family.ECP5: Fabric.ECP5, Family.ICE40: Fabric.ICE40, Family.ICE40_DSP: Fabric.ICE40}
ENGINE = EngineArch(positions=480, lanes=4, banks=4, folds=4, set_size=8, capacity=12, lane_rows=480)
SELECT = SelectArch(kernels=128, width=1, beats=128, value_bits=8, kind=SelectKind.NONZERO, lanes=1)


@pytest.fixture(scope="module")
def script():
    """`benchmarks/resource_model.py`, and what is measured and stored beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        spec = importlib.util.spec_from_file_location("resource_model", BENCHMARKS / "resource_model.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(importlib.import_module("sys").modules, "resource_model", module)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def points(script):
    return script.points(script.Measurements(script.STORED))


class OneMemory(wiring.Component):
    """A memory with a writer, unless it is a table, and a reader."""

    def __init__(self, width: int, depth: int, kind: Memory):
        self._width, self._depth, self._kind = width, depth, kind
        bits = (depth - 1).bit_length()
        super().__init__({"to": In(bits), "word": In(width), "put": In(1), "at": In(bits), "en": In(1),
                          "found": Out(width)})

    def elaborate(self, platform):
        m = Module()
        table = self._kind is Memory.TABLE
        rows = np.random.default_rng(0).integers(0, 1 << self._width, self._depth).tolist() if table else []
        m.submodules.memory = memory = HdlMemory(shape=self._width, depth=self._depth, init=rows)
        writers = []
        if not table:
            write = memory.write_port()
            m.d.comb += [write.addr.eq(self.to), write.data.eq(self.word), write.en.eq(self.put)]
            writers = [write] if self._kind is Memory.FORWARDING else []
        if self._kind is Memory.LOOKUP:
            read = memory.read_port(domain="comb")
        else:
            read = memory.read_port(transparent_for=writers)
            m.d.comb += read.en.eq(self.en)
        m.d.comb += [read.addr.eq(self.at), self.found.eq(read.data)]
        return m


class OneProduct(wiring.Component):
    """A product of two signed numbers."""

    def __init__(self, one: int, other: int):
        super().__init__({"a": In(signed(one)), "b": In(signed(other)), "product": Out(signed(one + other))})

    def elaborate(self, platform):
        m = Module()
        a, b = Signal.like(self.a, reset_less=True), Signal.like(self.b, reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.product.eq(a * b)]
        return m


@pytest.mark.parametrize(("family", "width", "depth", "kind"), [
    (Family.ECP5, 18, 1024, Memory.PLAIN), (Family.ECP5, 19, 1100, Memory.PLAIN), (Family.ECP5, 12, 64, Memory.PLAIN),
    (Family.ECP5, 30, 128, Memory.FORWARDING), (Family.ECP5, 24, 32, Memory.LOOKUP),
    (Family.ECP5, 32, 65, Memory.TABLE), (Family.ECP5, 32, 66, Memory.TABLE), (Family.ECP5, 3, 2, Memory.PLAIN),
    (Family.ICE40, 9, 600, Memory.PLAIN), (Family.ICE40, 4, 16, Memory.PLAIN), (Family.ICE40, 24, 64, Memory.TABLE),
])
def test_memories_go_where_yosys_puts_them(family, width, depth, kind):
    cells = count_cells(OneMemory(width, depth, kind), family)
    rule = place(width, depth, kind, FABRICS[family])
    assert (rule.block_ram, rule.lut_ram) == (cells.bram, cells.lut_ram)


@pytest.mark.parametrize(("family", "one", "other"), [
    (Family.ECP5, 9, 8), (Family.ECP5, 19, 17), (Family.ECP5, 24, 20), (Family.ICE40_DSP, 18, 18),
    (Family.ICE40_DSP, 5, 4), (Family.ICE40_DSP, 33, 12)])
def test_products_are_cut_as_yosys_cuts_them(family, one, other):
    assert count_cells(OneProduct(one, other), family).dsp == cut_product(one, other, FABRICS[family]).multipliers


def test_exact_cells_of_everything_measured(points):
    """Block RAMs, LUT RAMs and multipliers of every unit that was ever synthesised."""
    assert len(points) > 180
    for point in points:
        exact = point.tally.block_ram, point.tally.multiplier
        assert exact == (point.cells.bram, point.cells.dsp), point.unit
        assert point.tally.lut_ram == point.cells.lut_ram, point.unit


def test_constants_are_those_of_the_fit(script, points):
    """Up to the last digits, which depend on the processor's linear algebra."""
    for stored, fitted in zip((LUT, FF), script.fit(points), strict=True):
        assert stored.keys() == fitted.keys()
        for fabric, coefficients in fitted.items():
            assert coefficients == pytest.approx(stored[fabric], rel=2e-3, abs=1e-6)


def test_errors_of_what_the_fit_never_saw(script, points):
    """The aim of the model, ten per cent in the median, on both fabrics."""
    for fabric in Fabric:
        held = [script.miss(point.tally.resources(), point.cells) for point in points
                if point.held and point.tally.fabric is fabric]
        assert len(held) >= 9
        assert np.median([abs(miss.lut) for miss in held]) < 0.10
        assert np.median([abs(miss.ff) for miss in held]) < 0.10


def test_capacity():
    table = {device: capacity(device) for device in Device}
    assert table == {
        Device.UP5K: Resources(lut=5280, ff=5280, block_ram=30, multiplier=8, spram=4),
        Device.HX8K: Resources(lut=7680, ff=7680, block_ram=32),
        Device.ECP5_25K: Resources(lut=24288, ff=24288, block_ram=56, multiplier=28),
        Device.ECP5_45K: Resources(lut=43848, ff=43848, block_ram=108, multiplier=72),
        Device.ECP5_85K: Resources(lut=83640, ff=83640, block_ram=208, multiplier=156),
        Device.XCUP: None,
    }


def test_resources_add_up():
    parts = [Resources(lut=1, ff=2, block_ram=3, multiplier=4, spram=5), Resources(lut=10, spram=1)]
    assert sum(parts) == sum(parts, Resources()) == Resources(lut=11, ff=2, block_ram=3, multiplier=4, spram=6)
    with pytest.raises(TypeError):
        sum(parts, start=1)


def estimate(tally_of, arch, fabric: Fabric, **place) -> Resources:
    t = Tally(fabric=fabric, has_multipliers=True)
    tally_of(t, arch, **place)
    return t.resources()


GROWTH = {
    "lanes": (tally_engine, [replace(ENGINE, lanes=lanes, lane_rows=4 * 480 // lanes) for lanes in (1, 2, 4, 8, 16)]),
    "banks": (tally_engine, [replace(ENGINE, banks=banks) for banks in (1, 2, 3, 4, 8, 16)]),
    "drain": (tally_engine, [replace(ENGINE, drain_width=width) for width in (1, 2, 4)]),
    "sums": (tally_engine, [replace(ENGINE, sum_bits=bits) for bits in (16, 18, 20, 22, 24)]),
    "set": (tally_engine, [replace(ENGINE, set_size=size) for size in (4, 8, 16, 32)]),
    "block": (tally_engine, [replace(ENGINE, columns=1, accumulator=AccumulatorKind.BLOCK_RAM, banks=banks)
                             for banks in (1, 2, 4)]),
    "global": (tally_select, [replace(SELECT, kind=SelectKind.GLOBAL, winners=16, bins=bins) for bins in (1, 2, 4, 8)]),
    "local": (tally_select, [replace(SELECT, kernels=size, beats=size, kind=SelectKind.LOCAL, winners=4)
                             for size in (8, 16, 32, 64)]),
    "pool": (tally_pool, [PoolArch(height=8, width=8, kernel=(2, 2), strides=(2, 2), beats=8, ports=ports, value_bits=8)
                          for ports in (1, 2, 4, 8)]),
    "window": (tally_window, [WindowArch(channels=8, height=12, width=12, kernel=(5, 5), lanes=lanes, slots=4)
                              for lanes in (1, 5, 25)]),
}


@pytest.mark.parametrize("fabric", Fabric)
@pytest.mark.parametrize("name", GROWTH)
def test_more_never_costs_less(name, fabric):
    """Look-up tables and flip-flops only become fewer where a memory moves into a block RAM."""
    tally_of, arches = GROWTH[name]
    found = [estimate(tally_of, arch, fabric) for arch in arches]
    for fewer, more in zip(found, found[1:], strict=False):
        assert fewer.block_ram < more.block_ram or (fewer.lut < more.lut and fewer.ff < more.ff)
        assert fewer.multiplier <= more.multiplier


def test_stages_never_cost_less_where_ports_are_more():
    for arch in (ScaleArch(multiplier_bits=16, offset=1 << 19, shift=20, low=0, high=255),
                 ThresholdArch(count=3, low=0)):
        found = [estimate(tally_stage, arch, Fabric.ECP5, width=width, value_bits=20, beats=64) for width in (1, 2, 4)]
        assert found[0].lut < found[1].lut < found[2].lut


def make_layer(name: str, **options) -> LayerArch:
    select = replace(SELECT, beats=ENGINE.beats, lanes=4, kernels=480, value_bits=24, value_signed=True)
    return LayerArch(name=name, mode=Mode.SPARSE_SPARSE, engine=ENGINE, select=select, **{"stages": (), **options})


def test_units_of_a_layer():
    stage = ScaleArch(multiplier_bits=16, offset=1 << 19, shift=20, low=0, high=255)
    layer = make_layer("fc", stages=(stage,), joined=4)
    table = layer_resources(layer, Device.ECP5_85K)
    assert list(table) == ["join", "engine", "stages", "select"]
    assert table["engine"].multiplier == 16 and table["stages"].multiplier == 2
    assert table["engine"].block_ram == estimate(tally_engine, ENGINE, Fabric.ECP5).block_ram


def test_products_are_logic_where_there_are_no_multipliers():
    layer = make_layer("fc", stages=())
    with_multipliers, without = (layer_resources(layer, device)["engine"] for device in (Device.UP5K, Device.HX8K))
    assert with_multipliers.multiplier == 16 and without.multiplier == 0
    assert without.lut > with_multipliers.lut + 16 * 50


def test_loadable_memories_are_no_tables():
    """The few biases of a single fold are logic, until they can be written."""
    fixed, loadable = (estimate(tally_engine, replace(ENGINE, folds=1, lane_rows=120), Fabric.ICE40, loadable=loadable)
                       for loadable in (False, True))
    assert loadable.block_ram > fixed.block_ram


def test_a_network_is_its_layers_and_its_border():
    arch = NetworkArch(layers=(make_layer("one"), make_layer("two")), input_width=4)
    table = network_resources(arch, Device.ECP5_25K)
    assert list(table) == ["one", "two", "network"] and list(table["network"]) == ["input", "output"]
    assert table["one"] == layer_resources(arch.layers[0], Device.ECP5_25K)


def test_device_wrong():
    with pytest.raises(ValueError, match=r"^device must be one whose cells are known, not <Device\.XCUP: 'xcup'>$"):
        layer_resources(make_layer("fc"), Device.XCUP)
