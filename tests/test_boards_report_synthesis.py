"""What nextpnr's files say: places and units of cells, and the critical path in the design's own terms."""

import pytest

from dovetail.boards.report_parts import PathStep, PlacedCell
from dovetail.boards.report_synthesis import GRIDS, count_resources, critical_path, placed_cells
from dovetail.sw.settings import Device


def cell(kind, place, **connections):
    return {"type": kind, "attributes": {"NEXTPNR_BEL": place} if place else {},
            "connections": {port: [bit] for port, bit in connections.items()}}


def test_placed_cells():
    """Names say the unit, those of neighbours where a cell has none, step by step."""
    cells = {
        "layer0.engine.lane0.bank1.product_TRELLIS_FF_Q_5": cell("TRELLIS_FF", "X2/Y3/SLICEA.FF0", Q=2, CLK=99),
        "layer1.stage0.scaled0_LUT4_Z": cell("TRELLIS_COMB", "X4/Y5/SLICEB.K1", Z=3, A=2),
        "input.count_TRELLIS_FF_Q": cell("TRELLIS_FF", "X1/Y1/SLICEA.FF0", Q=7),
        "_12__LUT4_Z": cell("TRELLIS_COMB", "X9/Y8/SLICEB.K0", A=3, B=4),
        "$nextpnr_CCU2C_3": cell("TRELLIS_COMB", "X9/Y9/SLICEB.K0", A=4),
        "_99__LUT4_Z": cell("TRELLIS_COMB", "X7/Y7/SLICEB.K0", A=55),
        "layer1.select.store.memory0.0.0": cell("DP16KD", "X6/Y6/EBR0", A=8),
        "_5__MULT18X18D_P9": cell("MULT18X18D", "X5/Y6/MULT18_0", A=2),
        "clk$tr_io": cell("TRELLIS_IO", "X0/Y0/PIOA"),
        "not placed": cell("TRELLIS_COMB", None),
    }
    found = {(each.x, each.y): each for each in placed_cells({"modules": {"top": {"cells": cells}}})}
    assert {place: (each.layer, each.unit, each.kind) for place, each in found.items()} == {
        (2, 3): (0, "engine", "logic"), (4, 5): (1, "stages", "logic"), (1, 1): (-1, "border", "logic"),
        (9, 8): (1, "stages", "logic"), (9, 9): (1, "stages", "logic"), (7, 7): (-1, "other", "logic"),
        (6, 6): (1, "select", "ram"), (5, 6): (0, "engine", "multiplier")}
    assert found[2, 3] == PlacedCell(layer=0, unit="engine", kind="logic", x=2, y=3)


def step(what, delay, source, target, net=None):
    made = {"type": what, "delay": delay, "from": {"cell": source}, "to": {"cell": target}}
    return made if net is None else {**made, "net": net}


def test_critical_path():
    first, product, chain = ("layer1.stage0.ready0_TRELLIS_FF_Q_6", "_1232__MULT18X18D_P9",
                             "layer1.stage0.scaled0_TRELLIS_FF_Q_12_DI_CCU2C_S0$CCU2_COMB0")
    long = {"from": "posedge clk", "to": "posedge clk", "path": [
        step("clk-to-q", 0.5, first, first), step("routing", 2.0, first, product, "layer1.stage0.ready0[5]"),
        step("logic", 4.0, product, product), step("routing", 1.0, product, "_7_", "_1232__P26"),
        step("logic", 0.25, "_7_", "_7_"), step("routing", 0, "_7_", chain, "_8_"), step("logic", 0.5, chain, chain),
        step("setup", 0, chain, chain)]}
    short = {"from": "posedge clk", "to": "posedge clk", "path": [step("clk-to-q", 1.0, first, first)]}
    outside = {"from": "<async>", "to": "posedge clk", "path": [step("routing", 99.0, first, first)]}
    ready, scaled = "fc2: stage 0, ready 0", "fc2: stage 0, scaled 0"
    assert critical_path({"critical_paths": [short, outside, long]}, ["fc1", "fc2"]) == (
        PathStep(what="clk-to-q", unit=ready, nanoseconds=0.5),
        PathStep(what="routing", unit="fc2: stage 0, ready0[5]", nanoseconds=2.0),
        PathStep(what="logic", unit="fc2: stage 0, ready0[5]", nanoseconds=4.0),
        PathStep(what="routing", unit="fc2: stage 0, ready0[5]", nanoseconds=1.0),
        PathStep(what="logic", unit=scaled, nanoseconds=0.75))
    assert critical_path({"critical_paths": [outside]}, []) == ()


def test_wrong_device():
    assert Device.XCUP not in GRIDS
    with pytest.raises(ValueError, match=r"^device must be one of up5k, hx8k, ecp5-25k, ecp5-45k, ecp5-85k, not <Dev"):
        count_resources(None, Device.XCUP)
