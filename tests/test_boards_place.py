"""Place and route of small designs: frequencies, seeds, what does not fit, what a UP5K's multipliers take."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dovetail.boards import cache
from dovetail.boards import place as place_module
from dovetail.boards.devices import DEVICES, Family
from dovetail.boards.place import DoesNotFit, NotRouted, Timing, phases_of, place
from dovetail.boards.programs import Program
from dovetail.boards.synth import Design, Language, synthesise
from dovetail.hw.errors import ToolFailed
from dovetail.sw.settings import Device

# 600 input bits are more than any of the devices has pins.
WIDE = """
module top(input clk, input rst, input [599:0] a, output reg [7:0] q, output reg [15:0] p);
  always @(posedge clk) q <= rst ? 0 : q + ^a;
  always @(posedge clk) p <= a[7:0] * a[15:8];
endmodule
"""


def synthesis(family, text=WIDE):
    return synthesise(Design(text=text, language=Language.VERILOG, top="top"), family)


def test_ecp5_more_ports_than_pins_and_two_seeds():
    said = []
    placed = place(synthesis(Family.ECP5), DEVICES[Device.ECP5_25K], seeds=(1, 2), watch=phases_of(said.append))
    assert placed.timing is Timing.ROUTED and set(placed.fmax_by_seed) == {1, 2}
    assert placed.fmax_mhz == max(placed.fmax_by_seed.values()) == placed.fmax_by_seed[placed.seed] > 50
    assert placed.utilisation["MULT18X18D"] == (1, 28) and placed.utilisation["TRELLIS_FF"][0] > 600
    assert placed.path and all("delay" in step for step in placed.path)
    assert {"report.json", "nextpnr.log", "placed.config"} <= {file.name for file in placed.folder.iterdir()}
    again = place(synthesis(Family.ECP5), DEVICES[Device.ECP5_25K], seeds=(1, 2))
    assert again.cached and again.fmax_by_seed == placed.fmax_by_seed


def test_up5k_multipliers_are_timed():
    with_multiplier, device = synthesis(Family.ICE40_DSP, """
        module top(input clk, input rst, input [15:0] a, output reg q);
          reg [15:0] p, b;
          always @(posedge clk) begin b <= a; p <= rst ? 0 : b[7:0] * b[15:8]; q <= ^p; end
        endmodule
    """), DEVICES[Device.UP5K]
    assert with_multiplier.counts["SB_MAC16"] == 1
    placed = place(with_multiplier, device)
    reported = json.loads((placed.folder / "report.json").read_text())["fmax"]
    assert placed.timing is Timing.LOWER_BOUND
    # Neither in front of the multiplier nor in it is a register: its product takes longer than nextpnr believes.
    assert placed.fmax_mhz < 0.8 * min(clock["achieved"] for clock in reported.values())
    assert not {"placed.sdf", "placed.json", "netlist.json"} & {file.name for file in placed.folder.iterdir()}


def test_router_without_an_end(monkeypatch, tmp_path):
    """The process is ended, its seed is given up, its log kept; another seed may do."""
    found, device, calls = synthesis(Family.ECP5), DEVICES[Device.ECP5_25K], []
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(place_module, "_MOST_ROUNDS", 20)
    endless = tmp_path / "nextpnr"
    endless.write_text("""#!/bin/sh
        for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do
            echo "Info:     iter=$round wires=9 overused=2 overuse=2 archfail=NA" >> nextpnr.log
        done
        exec sleep 60
    """)
    endless.chmod(0o755)
    real = place_module.find_program

    def find(name, *, native):
        calls.append(name)
        program = real(name, native=native)
        return replace(program, command=(str(endless),)) if name.startswith("nextpnr") else program

    monkeypatch.setattr(place_module, "find_program", find)
    said = []
    for _ in range(2):      # the second time from the cache
        with pytest.raises(NotRouted, match=r"^nextpnr finds no routes on the LFE5U-25F with seed 1 or 2; other seeds "
                                            r"may do \(log: (.*nextpnr\.log)\)$") as caught:
            place(found, device, seeds=(1, 2), watch=said.append)
        assert caught.value.exit_code == 1
        log = Path(str(caught.value).partition("(log: ")[2].removesuffix(")"))
        assert "iter=21 " in log.read_text() and not (log.parent / "netlist.json").exists()
    assert said == said[:20] + said[20:40] and all("iter=21" not in line for line in said) and len(said) == 40


def failing(text):
    def run(program, arguments, *, folder, log, watch=None):
        if program.name == "yosys":
            for file in ("framed.json", "core.il"):
                (folder / file).write_text("{}")
            return ""
        (folder / log).write_text(text)
        raise ToolFailed(f"{program.name} failed with code 125: {text}")
    return run


@pytest.mark.parametrize("text, error", [
    ("ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'ICESTORM_DSP'", DoesNotFit),
    ("ERROR: routing failed", ToolFailed),
])
def test_failures(monkeypatch, tmp_path, text, error):
    found = synthesis(Family.ICE40_DSP)
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(place_module, "run_program", failing(text))
    monkeypatch.setattr(place_module, "find_program", lambda name, *, native: Program(
        name=name, command=(), version="1", native=False))
    with pytest.raises(error, match=r"ERROR.*\(log: .*nextpnr\.log\)$") as caught:
        place(found, DEVICES[Device.UP5K])
    assert type(caught.value) is error
    assert caught.value.exit_code == (1 if error is DoesNotFit else 3)


def test_arguments_wrong():
    found = synthesis(Family.ECP5)
    with pytest.raises(ValueError, match=r"^seeds must be at least one, not \(\)$"):
        place(found, DEVICES[Device.ECP5_25K], seeds=())
    with pytest.raises(ValueError, match=r"^device must be one that is placed, of family ecp5, not "):
        place(found, DEVICES[Device.UP5K])
    with pytest.raises(ValueError, match=r"^device must be one that is placed, of family xcup, not "):
        place(replace(found, family=Family.XCUP), DEVICES[Device.XCUP])
