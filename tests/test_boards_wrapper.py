"""The frame of registers around a core."""

import pytest

from dovetail.boards.wrapper import wrapper
from dovetail.hw.yosys import run_yosys

PORTS = {"clk": ("input", 1), "rst": ("input", 1), "a": ("input", 2), "b.c": ("input", 1), "x": ("output", 3),
         "y": ("output", 1)}


def test_every_port_is_connected_to_bits_of_its_own():
    text = wrapper("net", PORTS, name="frame")
    assert (r"net core(.clk(clk), .rst(rst_held), .\a (sent[1:0]), .\b.c (sent[2:2]), .\x (taken[2:0]), "
            r".\y (taken[3:3]));") in text


@pytest.mark.parametrize("ports", [
    PORTS, {"clk": ("input", 1), "x": ("output", 1)}, {"clk": ("input", 1), "a": ("input", 1)}, {"clk": ("input", 1)}])
def test_yosys_reads_it(tmp_path, ports):
    (tmp_path / "frame.v").write_text(wrapper("net", ports, name="frame"))
    run_yosys("read_verilog frame.v; hierarchy -check -top frame; proc; check -assert", folder=tmp_path)


@pytest.mark.parametrize("ports, message", [
    ({"x": ("output", 1)}, r"^ports must have an input 'clk' of one bit, not None$"),
    ({"clk": ("input", 1), "z": ("inout", 1)}, r"^ports must be inputs or outputs, not 'z': 'inout'$"),
])
def test_ports_wrong(ports, message):
    with pytest.raises(ValueError, match=message):
        wrapper("net", ports, name="frame")
