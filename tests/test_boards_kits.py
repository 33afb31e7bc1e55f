"""The boards: records that make sense, and pins that nextpnr finds on the package."""

from dataclasses import replace

import pytest

from dovetail.boards.clocking import clocking
from dovetail.boards.devices import DEVICES
from dovetail.boards.kits.all import BOARDS
from dovetail.boards.kits.icebreaker import ICEBREAKER
from dovetail.boards.kits.record import Pin, Signal
from dovetail.boards.kits.ulx3s import ULX3S_85F
from dovetail.boards.place import place
from dovetail.boards.synth import Design, Language, synthesise
from dovetail.boards.wiring import constraints

ALL = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


@ALL
def test_record(board):
    assert BOARDS[board.name] is board and "{file}" in board.program
    assert DEVICES[board.device].placer is not None
    sites = [pin.site for pin in board.pins.values()]
    assert len(set(sites)) == len(sites)
    assert {Signal.LOADED, Signal.WORKING, Signal.DROPPED} <= set(board.pins)
    assert set(board.inputs) | set(board.outputs) == set(board.pins) and not set(board.inputs) & set(board.outputs)
    # A line that nothing drives must not look like one that is busy.
    assert board.pins[Signal.RECEIVE].pull_up and not board.pins[Signal.RECEIVE].inverted


@ALL
def test_own_clock_and_line(board):
    clock = clocking(board, megahertz=board.clock_mhz, baud=board.baud)
    assert clock.hz == board.clock_mhz * 1_000_000
    assert abs(clock.hz / round(clock.hz / board.baud) / board.baud - 1) < 0.005


@ALL
def test_nextpnr_finds_the_pins(board):
    """A register between receive and every output."""
    inputs = [signal.value for signal in board.inputs if signal is not Signal.CLOCK]
    outputs = [signal.value for signal in board.outputs]
    assigned = "".join(f"  assign {name} = q ^ {number % 2};\n" for number, name in enumerate(outputs))
    text = (f"module top({', '.join(f'input {name}' for name in ['clk', *inputs])}, "
            f"{', '.join(f'output {name}' for name in outputs)});\n  reg q;\n"
            f"  always @(posedge clk) q <= ^{{q, {', '.join(inputs)}}};\n{assigned}endmodule\n")
    device = DEVICES[board.device]
    synthesis = synthesise(Design(text=text, language=Language.VERILOG, top="top"), device.family)
    assert place(synthesis, device, pins=constraints(board)).fmax_mhz > 50


def test_constraints():
    assert constraints(ICEBREAKER).splitlines() == [
        "set_io clk 35", "set_io -pullup yes rx 6", "set_io tx 9", "set_io -pullup yes button 10", "set_io loaded 37",
        "set_io dropped 11", "set_io working 25", "set_io alive 26"]
    lines = constraints(ULX3S_85F).splitlines()
    assert lines[:2] == ['LOCATE COMP "clk" SITE "G2";', 'IOBUF PORT "clk" IO_TYPE=LVCMOS33 PULLMODE=NONE;']
    assert 'IOBUF PORT "rx" IO_TYPE=LVCMOS33 PULLMODE=UP;' in lines
    assert 'IOBUF PORT "button" IO_TYPE=LVCMOS33 PULLMODE=DOWN;' in lines


def test_record_wrong():
    pins = dict(ICEBREAKER.pins)
    with pytest.raises(ValueError, match=r"^pins must be at different sites, not \['35', '6', '6', "):
        replace(ICEBREAKER, pins=pins | {Signal.TRANSMIT: Pin(site="6")})
    del pins[Signal.RECEIVE]
    with pytest.raises(ValueError, match=r"^pins must have 'rx', not only \['alive', 'button', 'clk', "):
        replace(ICEBREAKER, pins=pins)
