"""Synthesis: counts, contents of memories, results kept, failures with a log."""

import json
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dovetail.boards import cache, synth
from dovetail.boards.contents import ram_parameters
from dovetail.boards.devices import DEVICES, Family
from dovetail.boards.place import Placement, Timing
from dovetail.boards.resources_used import Use, lacking, uses
from dovetail.boards.synth import Design, Language, Synthesis, steps_of, synthesise
from dovetail.hw.errors import ToolFailed
from dovetail.hw.verilog import emit_rtlil
from dovetail.sw.settings import Device

COUNTER = "module top(input clk, output reg [7:0] q); always @(posedge clk) q <= q + 1; endmodule"


class Table(wiring.Component):
    """A memory of random words that is read, and written, at the address that comes."""

    def __init__(self, *, bits: int, depth: int, seed: int = 0):
        self.bits, self.depth = bits, depth
        self.init = [int(word) for word in np.random.default_rng(seed).integers(0, 1 << bits, depth)]
        super().__init__({"i": In(stream.Signature(unsigned(32))), "o": Out(stream.Signature(unsigned(bits)))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.bits, depth=self.depth, init=self.init,
                                              attrs={"ram_style": "block"})
        write = memory.write_port()
        read = memory.read_port(transparent_for=(write,))
        word = self.i.payload
        asked = Signal()
        m.d.comb += [
            self.i.ready.eq(self.o.ready | ~asked), read.addr.eq(word), read.en.eq(self.i.ready),
            write.addr.eq(word >> 1), write.data.eq(word * 0x9E37), write.en.eq(self.i.valid & self.i.ready & word[0]),
            self.o.payload.eq(read.data), self.o.valid.eq(asked),
        ]
        with m.If(self.i.ready):
            m.d.sync += asked.eq(self.i.valid)
        return m


def verilog(text):
    return Design(text=text, language=Language.VERILOG, top="top")


def design_of(dut):
    return Design(text=emit_rtlil(dut, name="top"), language=Language.RTLIL, top="top")


def test_counts_and_a_second_call(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    lines = []
    first = synthesise(verilog(COUNTER), Family.ECP5, watch=steps_of(lines.append))
    assert first.counts["TRELLIS_FF"] == 8 and first.counts["CCU2C"] == 4
    assert first.netlist.is_file() and not first.cached and first.seconds > 0
    assert all(line.startswith("Yosys, step ") for line in lines)

    def no_run(*_, **__):
        raise AssertionError("Yosys was run again")

    monkeypatch.setattr(synth, "run_program", no_run)
    assert synthesise(verilog(COUNTER), Family.ECP5) == replace(first, cached=True)


def test_steps_are_told():
    said = []
    watch = steps_of(said.append)
    for line in ("6.11. Executing OPT pass (performing simple optimizations).", "11.2.1. Executing OPT_MERGE pass (x).",
                 "6.12. Executing FSM pass", "6.12. Nothing"):
        watch(line)
    assert said == ["Yosys, step 6.11: performing simple optimizations", "Yosys, step 6.12: fsm"]


def test_failure_names_its_log():
    with pytest.raises(ToolFailed, match=r"^yosys failed with code 1: .*ERROR.*\(log: .*yosys\.log\)$"):
        synthesise(verilog("module top(; endmodule"), Family.ECP5)


def test_ice40_memories_hold_what_yosys_would_put_there(monkeypatch):
    """Contents that are put in afterwards are those of Yosys' own, slow way, for every shape of a block RAM."""
    for bits, depth in ((16, 256), (8, 512), (3, 1024), (2, 2048)):
        design = design_of(Table(bits=bits, depth=depth))
        fast = contents(synthesise(design, Family.ICE40))
        with monkeypatch.context() as patched:
            patched.setattr(synth, "_MAPS", ("no such file",))
            slow = contents(synthesise(design, Family.ICE40))
        assert fast == slow and len(fast) >= 1, (bits, depth)


def contents(synthesis):
    cells = json.loads(synthesis.netlist.read_text())["modules"]["top"]["cells"]
    return {name: {key: value.replace("x", "0") for key, value in cell["parameters"].items()}
            for name, cell in cells.items() if cell["type"] == "SB_RAM40_4K"}


def test_bits_of_a_word_are_turned():
    init = ["0"] * 4096
    init[-1 - (16 * 17 + 1)] = "1"      # bit 1 of word 17: bit 8 of the second word of INIT_1
    found = ram_parameters("".join(init))
    assert len(found) == 16 and found["INIT_0"] == "0" * 256
    assert int(found["INIT_1"], 2) == 1 << 16 + 8


SYNTHESIS = Synthesis(family=Family.ICE40_DSP, top="top", counts={"SB_LUT4": 900, "SB_DFF": 1000, "SB_RAM40_4K": 33},
                      netlist=None, seconds=1.0, tool="1", cached=False)


def test_uses_before_placement_and_after():
    device = DEVICES[Device.UP5K]
    found = uses(SYNTHESIS, device)
    assert found["lut"] == Use(counts="look-up tables", used=900, available=5280)
    assert found["ff"] == Use(counts="flip-flops", used=1000, available=5280)
    assert lacking(found) == {"bram": 3}
    placed = Placement(
        fmax_mhz=20.0, timing=Timing.ROUTED, seed=1, fmax_by_seed={1: 20.0}, path=[], seconds=1.0, tool="1",
        folder=None, utilisation={"ICESTORM_LC": (1234, 5280), "ICESTORM_RAM": (30, 30)}, cached=False)
    found = uses(SYNTHESIS, device, placed)
    assert found["lut"] == Use(counts="logic cells", used=1234, available=5280)
    assert found["bram"].used == 30 and lacking(found) == {}


def test_uses_where_nothing_is_known_of_the_device():
    found = uses(replace(SYNTHESIS, family=Family.XCUP, counts={"LUT6": 5, "RAMB36E2": 2, "RAMB18E2": 1, "DSP48E2": 3}),
                 DEVICES[Device.XCUP])
    assert {name: use.used for name, use in found.items()} == {"lut": 5, "ff": 0, "bram": 5, "dsp": 3, "spram": 0}
    assert lacking(found) == {} and found["lut"].share is None
