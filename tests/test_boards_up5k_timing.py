"""The clock of placed UltraPlus designs: paths added up as nextpnr does, and multipliers and SPRAMs as they are."""

import json

import pytest

from dovetail.boards.programs import find_program, run_program
from dovetail.boards.up5k_timing import longest_path
from dovetail.hw.errors import ToolFailed

MULTIPLIER = """
module top(input clk, input a, output reg q);
  reg [7:0] x, y; reg [15:0] p; {declared}
  always @(posedge clk) begin x <= {{x[6:0], a}}; y <= y + x; q <= ^p; {body} end
endmodule
"""
#: Registers of the cell that Yosys finds: in the middle; in front and in the middle; none at all.
BODIES = {
    "middle": ("", "p <= x * y;"),
    "front": ("reg [7:0] u, v;", "u <= x ^ 5; v <= y; p <= u * v;"),
    "none": ("reg [7:0] z;", "z <= x ^ y; if (a) p <= 0; else p <= (x ^ z) * (y + z);"),
}
MEMORY = """
module top(input clk, input a, output reg q);
  reg [13:0] at = 0; wire [15:0] out;
  always @(posedge clk) begin at <= at + a; q <= ^out; end
  SB_SPRAM256KA memory(.ADDRESS(at ^ (at >> 1)), .DATAIN({at, 2'b0}), .MASKWREN(4'hf), .WREN(a), .CHIPSELECT(1'b1),
    .CLOCK(clk), .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(out));
endmodule
"""


def placed(folder, text):
    """SDF, netlist, and nextpnr's own longest path in nanoseconds."""
    (folder / "top.v").write_text(text)
    run_program(find_program("yosys"), [
        "-q", "-l", "yosys.log", "-p", "read_verilog top.v; synth_ice40 -device u -dsp -top top -json top.json"],
        folder=folder, log="yosys.log")
    run_program(find_program("nextpnr-ice40"), [
        "--up5k", "--package", "sg48", "--json", "top.json", "--sdf", "top.sdf", "--write", "placed.json",
        "--report", "report.json", "-q", "-l", "nextpnr.log", "--freq", "40"], folder=folder, log="nextpnr.log")
    report = json.loads((folder / "report.json").read_text())
    (clock,) = report["fmax"].values()
    return (folder / "top.sdf").read_text(), json.loads((folder / "placed.json").read_text()), 1000 / clock["achieved"]


def cells(netlist, kind):
    return [cell for module in netlist["modules"].values() for cell in module["cells"].values() if cell["type"] == kind]


@pytest.mark.parametrize("kind", BODIES)
def test_multiplier(tmp_path, kind):
    declared, body = BODIES[kind]
    sdf, netlist, theirs = placed(tmp_path, MULTIPLIER.format(declared=declared, body=body))
    if kind != "none":      # nextpnr lets paths end at a multiplier that has no clock
        assert longest_path(sdf, None) == pytest.approx(theirs, abs=0.002)
    (cell,) = cells(netlist, "ICESTORM_DSP")
    registers = {name: cell["parameters"][name] for name in ("A_REG", "B_REG", "PIPELINE_16x16_MULT_REG1")}
    found = longest_path(sdf, netlist)
    if kind == "none":
        assert set(registers.values()) == {"0"}
        # Through the whole product, after a register and before another one.
        assert found > 1.39 + 9.1 + 1.2
    # From register to register of the cell, and behind the middle one; whatever the wires take.
    assert found >= 2.2 + 9.1 and found > theirs
    # A product that the cell holds at its end is out at once.
    for port in ("A_REG", "B_REG", "PIPELINE_16x16_MULT_REG1", "PIPELINE_16x16_MULT_REG2"):
        cell["parameters"][port] = "1"
    assert longest_path(sdf, netlist) <= max(theirs, 2.2 + 9.1) + 3
    # Adders behind the product take longer.
    cell["parameters"]["TOPOUTPUT_SELECT"] = "00"
    assert longest_path(sdf, netlist) > found


def test_memory(tmp_path):
    sdf, netlist, theirs = placed(tmp_path, MEMORY)
    (cell,) = cells(netlist, "ICESTORM_SPRAM")
    assert longest_path(sdf, None) == pytest.approx(theirs, abs=0.002)
    found = longest_path(sdf, netlist)
    assert theirs <= found <= theirs + 0.93 + 1.8 + 0.35 + 1
    cell["connections"]["SLEEP"] = cell["connections"]["ADDRESS_0"]
    assert longest_path(sdf.replace("/ADDRESS_0 ", "/SLEEP "), netlist) > 42


def test_slowest_input_of_a_look_up_table():
    """A register, a table, a register; the carry beside the table stays as quick as it is."""
    sdf = """
        (INTERCONNECT a/O b/I3 (100:100:100) (1:1:1))
        (INTERCONNECT b/O c/I3 (100:100:100) (1:1:1))
        (INTERCONNECT b/COUT c/CIN (0:0:0) (1:1:1))
        (INSTANCE a)
        (IOPATH CLK O (1390:1390:1390) (1:1:1))
        (INSTANCE b)
        (IOPATH I3 O (874:874:874) (5:5:5))
        (IOPATH I3 COUT (278:278:278) (5:5:5))
        (INSTANCE c)
        (SETUPHOLD (posedge I3) (posedge CLK) (824:824:824) (0:0:0))
        (SETUPHOLD (posedge CIN) (posedge CLK) (9:9:9) (0:0:0))
    """
    netlist = {"modules": {"top": {"cells": {
        name: {"type": "ICESTORM_LC", "connections": {}, "parameters": {}} for name in "abc"}}}}
    assert longest_path(sdf, None) == (1390 + 100 + 874 + 100 + 824) / 1000
    assert longest_path(sdf, netlist) == (1500 + 100 + 1290 + 100 + 1240) / 1000
    assert longest_path(sdf.replace("I3 (100:100:100)", "I3 (0:0:0)").replace("c/I3", "d/I3"), netlist) == (
        1500 + 278 + 9) / 1000


def test_delays_without_a_path():
    with pytest.raises(ToolFailed, match=r"^nextpnr wrote no delays of paths between registers$"):
        longest_path("(DELAYFILE)\n", None)


def test_path_without_an_end():
    sdf = """
        (INTERCONNECT a/O b/I0 (1:1:1) (1:1:1))
        (INTERCONNECT b/O a/I0 (1:1:1) (1:1:1))
        (INSTANCE a)
        (IOPATH I0 O (5:5:5) (5:5:5))
        (INSTANCE b)
        (IOPATH I0 O (5:5:5) (5:5:5))
    """
    with pytest.raises(ToolFailed, match=r"^nextpnr wrote delays of a path that has no end$"):
        longest_path(sdf, None)


def test_longest_of_paths():
    """Two ways from a register to another; names with slashes and backslashes."""
    sdf = r"""
        (INTERCONNECT a\/1/O b\$x/I0 (10:20:100) (1:1:1))
        (INTERCONNECT a\/1/O c/I1 (300:300:300) (1:1:1))
        (INTERCONNECT b\$x/O c/I0 (30:30:30) (1:1:1))
        (INSTANCE a\/1)
        (IOPATH CLK O (1000:1000:1000) (1:1:1))
        (INSTANCE b\$x)
        (IOPATH I0 O (5:5:500) (5:5:5))
        (INSTANCE c)
        (SETUPHOLD (posedge I0) (posedge CLK) (40:40:40) (0:0:0))
        (SETUPHOLD (negedge I1) (posedge CLK) (7:7:7) (0:0:0))
    """
    assert longest_path(sdf, None) == (1000 + 100 + 500 + 30 + 40) / 1000
    assert longest_path(sdf.replace("(300:300:300)", "(700:700:700)"), None) == (1000 + 700 + 7) / 1000
