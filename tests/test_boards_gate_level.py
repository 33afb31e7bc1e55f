# amaranth: UnusedElaboratable=no
"""Synthesised netlists, simulated cell by cell: right ones, and wrong ones that are found out."""

import json
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from models import make_mlp
from test_boards_synth import Table, design_of

from dovetail.boards import gate_level
from dovetail.boards.build_folder import read_build
from dovetail.boards.devices import Family
from dovetail.boards.gate_level import check_netlist, golden_vectors, netlist_simulation
from dovetail.boards.synth import Synthesis, synthesise
from dovetail.boards.synth import design_of as design_of_build
from dovetail.cli.main import main
from dovetail.hw.errors import DovetailError, ToolFailed
from dovetail.sim.cycles import network_cycles
from dovetail.sim.golden import run
from dovetail.sim.simulate import Simulation

FAMILIES = {"ecp5-25k": Family.ECP5, "up5k": Family.ICE40_DSP}
ACCUMULATORS = {"ecp5-25k": "lut-ram", "up5k": "block-ram"}


@pytest.fixture(scope="module", params=FAMILIES)
def small(request, tmp_path_factory):
    """Netlist and build of a small network, one for each family."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(1)
    model = make_mlp(folder / "small.onnx", sizes=(6, 8, 3), winners=(3,), seed=3, densities=(0.5, 1.0))
    np.savez(folder / "x.npz", x=rng.integers(0, 256, (40, 6)).astype(np.uint8), scale=np.float32(1 / 255))
    assert main(["compile", str(model), "-o", str(folder / "build"), "--calibration", str(folder / "x.npz"),
                 "--target-cycles", "100", "--device", request.param]) == 0
    build = read_build(folder / "build")
    return synthesise(design_of_build(folder / "build", build), FAMILIES[request.param]), build, folder / "build"


@pytest.mark.parametrize("device", FAMILIES)
def test_digits_are_exact(device, tmp_path):
    """The packaged network, on either family: every output, and every cycle."""
    # No network of this size fits a UP5K without SPRAM; its cells are checked all the same.
    config = tmp_path / "plan.toml"
    config.write_text("".join(f'[layers.{name}]\naccumulator = "{ACCUMULATORS[device]}"\n'
                              for name in ("fc1", "fc2", "fc3")))
    with resources.as_file(resources.files("dovetail.cli") / "digits") as digits:
        assert main(["compile", str(digits / "digits.onnx"), "-o", str(tmp_path / "build"), "--calibration",
                     str(digits / "digits_calibration.npz"), "--target-cycles", "2000", "--config", str(config)]) == 0
    build = read_build(tmp_path / "build")
    synthesis = synthesise(design_of_build(tmp_path / "build", build), FAMILIES[device])
    inputs, expected = golden_vectors(tmp_path / "build")
    check = check_netlist(synthesis, build.plan, inputs, expected)
    assert (check.frames, check.elements, check.mismatches) == (4, 40, 0)
    assert check.cycles == network_cycles(build.plan, run(build.plan.network, inputs)).total


def test_one_wrong_bit_is_found(small, tmp_path):
    """One bit of one table: the lowest of the last layer's adder, where it is told what 1 + 0 is."""
    synthesis, build, path = small
    design = json.loads(synthesis.netlist.read_text())
    adder = "layer1.engine.lane0.bank0.file.column"
    cell_type, carry, parameter, digit = {
        Family.ECP5: ("CCU2C", "CIN", "INIT0", 0b1001),         # inputs D C B A; D is 1 in an adder
        Family.ICE40_DSP: ("SB_LUT4", "I3", "LUT_INIT", 0b0010),
    }[synthesis.family]
    found = sorted(name for name, cell in design["modules"]["network"]["cells"].items()
                   if name.startswith(adder) and cell["type"] == cell_type and cell["connections"][carry] == ["0"]
                   and "01101001" in cell["parameters"].get("LUT_INIT", "01101001"))
    parameters = design["modules"]["network"]["cells"][found[0]]["parameters"]
    parameters[parameter] = f"{int(parameters[parameter], 2) ^ 1 << digit:016b}"
    wrong = tmp_path / "netlist.json"
    wrong.write_text(json.dumps(design))
    check = check_netlist(replace(synthesis, netlist=wrong), build.plan, *golden_vectors(path))
    assert check.mismatches > 0 and not check.passed


class Product(wiring.Component):
    """Two factors, and their product."""

    def __init__(self, a, b):
        self.layout = data.StructLayout({"a": a, "b": b})
        super().__init__({"i": In(stream.Signature(self.layout)),
                          "o": Out(stream.Signature(signed(a.width + b.width + 1)))})

    def elaborate(self, platform):
        m = Module()
        busy = Signal()
        m.d.comb += [self.i.ready.eq(self.o.ready | ~busy), self.o.valid.eq(busy)]
        with m.If(self.i.ready):
            m.d.sync += [busy.eq(self.i.valid), self.o.payload.eq(self.i.p.a * self.i.p.b)]
        return m


@pytest.mark.parametrize("bits, depth", [(36, 512), (18, 1024), (9, 2048), (4, 4096), (1, 16384)])
def test_ecp5_block_ram_is_the_memory_that_it_was_made_of(bits, depth):
    dut = Table(bits=bits, depth=depth, seed=bits)
    synthesis = synthesise(design_of(dut), Family.ECP5)
    assert synthesis.counts["DP16KD"] >= 1
    words = np.random.default_rng(bits).integers(0, 2 * depth, 3000)
    words[:depth // 2] &= ~1        # at first it is only read: its contents
    expected, got = (simulation.run({"i": words}, {"o": len(words)}).outputs["o"] for simulation in (
        Simulation(dut), netlist_simulation(synthesis, Table(bits=bits, depth=depth, seed=bits))))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("a, b", [(signed(18), signed(18)), (signed(9), unsigned(12))])
def test_ecp5_multiplier_multiplies(a, b):
    dut = Product(a, b)
    synthesis = synthesise(design_of(dut), Family.ECP5)
    assert synthesis.counts["MULT18X18D"] == 1
    rng = np.random.default_rng(2)

    def values(shape):
        half = 1 << shape.width - 1
        low, high = (-half, half - 1) if shape.signed else (0, 2 * half - 1)
        return np.concatenate([[low, low, high, high], rng.integers(low, high + 1, 200)])

    first, second = values(a), values(b)[[0, 2, 1, 3, *range(4, 204)]]
    result = netlist_simulation(synthesis, Product(a, b)).run({"i": {"a": first, "b": second}}, {"o": 204})
    np.testing.assert_array_equal(result.outputs["o"], first * second)


def test_two_writers_have_no_model(tmp_path):
    cell = {"type": "DP16KD", "parameters": {}, "connections": {"WEA": [5], "WEB": [6]}}
    with pytest.raises(ToolFailed, match=r"^a block RAM that both ports may write to has no model$"):
        gate_level._contents_to_file(cell, tmp_path / "ram.hex")


def test_no_models_of_ultrascale(small):
    with pytest.raises(ValueError, match=r"^synthesis must be for a family out of .*, not 'xcup'$"):
        netlist_simulation(replace(small[0], family=Family.XCUP), Product(signed(2), signed(2)))


def test_no_golden_vectors(tmp_path):
    with pytest.raises(DovetailError, match=r"no golden vectors; compile the model again$"):
        golden_vectors(tmp_path)


def test_a_netlist_of_unknown_cells_is_refused(tmp_path):
    design = {"creator": "test", "modules": {"top": {"attributes": {}, "ports": {}, "netnames": {}, "cells": {
        "x": {"hide_name": 0, "type": "EHXPLLL", "parameters": {}, "attributes": {}, "port_directions": {},
              "connections": {}}}}}}
    (tmp_path / "netlist.json").write_text(json.dumps(design))
    synthesis = Synthesis(family=Family.ECP5, top="top", counts={}, netlist=tmp_path / "netlist.json", seconds=0.0,
                          tool="", cached=False)
    with pytest.raises(ToolFailed, match=r"EHXPLLL.*is not part of the design"):
        netlist_simulation(synthesis, Product(signed(2), signed(2)))
