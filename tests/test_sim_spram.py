"""Weights in memories that are empty at power-up: what is loaded first, in every simulator, and what they become."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from builders import make_network

from dovetail.boards.build_folder import write_build
from dovetail.boards.cells import Family, count_cells
from dovetail.hw.arch import MemoryKind, SelectArch, SelectImages, SelectKind
from dovetail.hw.errors import DovetailError, ToolMissing
from dovetail.hw.memory_map import memory_map
from dovetail.hw.network import NetworkTop
from dovetail.hw.rom import Rom
from dovetail.hw.select import Select
from dovetail.hw.verilog import emit
from dovetail.sim import Engine, golden
from dovetail.sim.tools import find_icarus, find_verilator
from dovetail.sim.verify import NetworkSimulation, initial_load
from dovetail.sw.model import FloatLayer, FloatModel
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings

SIZES = [7, 9, 5]
SPRAM = MemoryKind.SPRAM


def build(*kinds, loadable=True):
    """A plan; four banks of 10 bits are 40, more than one chunk of the load stream."""
    network = make_network(np.random.default_rng(0), sizes=SIZES, sets=[3, None], winners=[4, None])
    fixed = {"fc0": LayerSettings(lanes=2, banks=4, drain_width=2, weight_memory=kinds[0]),
             "fc1": LayerSettings(lanes=2, banks=1, set_size=3, drain_width=2, weight_memory=kinds[1])}
    return plan(network, Settings(loadable=loadable, layers=fixed))


def codes(count=6):
    return np.random.default_rng(1).integers(0, 256, (count, SIZES[0]))


@pytest.mark.parametrize("engine", list(Engine))
def test_every_simulator(engine):
    for tool, find in ((Engine.ICARUS, find_icarus), (Engine.VERILATOR, find_verilator)):
        if engine is tool:
            try:
                find()
            except ToolMissing as missing:
                pytest.skip(str(missing))
    built = build(SPRAM, SPRAM)
    simulation = NetworkSimulation(built, engine=engine)
    for seed in (None, 3):
        found = simulation.verify(codes(), stall_seed=seed)
        assert found.passed, found.first_mismatch
    np.testing.assert_array_equal(found.outputs, golden.run(built.network, codes()).pop().outputs)


def test_without_the_load_it_is_wrong(monkeypatch):
    monkeypatch.setattr("dovetail.sim.verify.initial_load", lambda _: {})
    found = NetworkSimulation(build(SPRAM, SPRAM), engine=Engine.AMARANTH).verify(codes())
    assert found.mismatches and found.first_mismatch is not None


def test_tables():
    """Whatever the tables are kept in, results and cycles are the same; registers take no block RAM."""
    network = make_network(np.random.default_rng(0), sizes=SIZES, sets=[3, None], winners=[4, None])
    for kind in (MemoryKind.REGISTERS, MemoryKind.LUT_RAM, MemoryKind.BLOCK_RAM):
        fixed = {name: LayerSettings(lanes=1, banks=2, drain_width=2, tables=kind) for name in ("fc0", "fc1")}
        built = plan(network, Settings(loadable=True, layers=fixed))
        assert [layer.tables for layer in built.arch.layers] == [kind, kind]
        assert NetworkSimulation(built, engine=Engine.AMARANTH).verify(codes()).passed


@pytest.mark.parametrize(("kind", "block_rams"), [(MemoryKind.REGISTERS, 0), (MemoryKind.BLOCK_RAM, 4)])
def test_tables_in_synthesis(kind, block_rams):
    """Two orders and the store's two memories; as the order is the model's there are no ranks."""
    arch = SelectArch(kernels=6, width=2, beats=3, value_bits=8, kind=SelectKind.ALL, lanes=2)
    images = SelectImages(order=((4, 5, 6), (4, 5, 6)), ranks=((0, 1),) * 3)
    cells = count_cells(Select(arch, images, tables=kind), Family.ICE40)
    assert cells.bram == block_rams


def test_only_what_is_empty_is_loaded():
    built = build(MemoryKind.AUTO, SPRAM)
    memories = memory_map(built.arch, built.images)
    assert [(memory.layer, memory.name) for memory in memories if memory.empty] == [
        ("fc1", "weights0"), ("fc1", "weights1")]
    words = initial_load(built)["load"]
    assert set(words["memory"].tolist()) == {memory.first for memory in memories if memory.empty}
    assert initial_load(build(MemoryKind.BLOCK_RAM, MemoryKind.AUTO)) == {}


def test_verilog_holds_no_contents():
    """Four memories, two chunks a lane, are marked and have no initial values."""
    texts = {kind: emit(NetworkTop((built := build(kind, MemoryKind.AUTO)).arch, built.images), name="network")
             for kind in (SPRAM, MemoryKind.AUTO)}
    assert [text.count('ram_style = "huge"') for text in texts.values()] == [4, 0]
    assert texts[MemoryKind.AUTO].count("initial begin") - texts[SPRAM].count("initial begin") == 4


@pytest.mark.parametrize(("width", "depth", "count"), [(12, 16, 1), (40, 300, 3), (12, 20_000, 2)])
def test_becomes_spram(width, depth, count):
    rom = Rom(width=width, depth=depth, init=[], load_id=0, kind=SPRAM)
    cells = count_cells(rom, Family.ICE40_DSP)
    assert (cells.spram, cells.bram) == (count, 0)


@pytest.mark.parametrize("command", [
    ["iverilog", "-g2012", "-Wall", "-o", "tb.vvp", "tb.v", "network.v"],
    ["verilator", "--binary", "--timing", "-Wno-fatal", "--top-module", "tb", "tb.v", "network.v"]])
def test_testbench_of_the_build_folder(command, tmp_path):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    rng = np.random.default_rng(1)
    model = FloatModel(name="net", input_shape=(7,), sha256="0" * 64, head=None, layers=(
        FloatLayer(name="fc0", op="Gemm", weights=rng.random((9, 7)), bias=np.zeros(9)),
        FloatLayer(name="fc1", op="Gemm", weights=rng.random((5, 9)), bias=np.zeros(5))))
    write_build(tmp_path / "net", build(SPRAM, SPRAM), model, codes())
    subprocess.run(command, cwd=tmp_path / "net", check=True, capture_output=True)
    run = ["vvp", "-n", "tb.vvp"] if command[0] == "iverilog" else ["obj_dir/Vtb"]
    done = subprocess.run(run, cwd=tmp_path / "net", capture_output=True, text=True)
    assert done.stdout.startswith("PASS: "), done.stdout + done.stderr


def test_needs_loadable():
    with pytest.raises(DovetailError, match=r"^settings: layer 'fc0' has its weights in SPRAM, which is empty until it "
                                            r"is loaded: loadable must be true$"):
        build(SPRAM, None, loadable=False)
    arch = build(SPRAM, None).arch
    with pytest.raises(ValueError, match=r"^loadable must be True where weights are in SPRAM, not False$"):
        replace(arch, loadable=False)
