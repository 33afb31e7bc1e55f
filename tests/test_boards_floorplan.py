"""Where cells stand, and to which units they belong, from what nextpnr writes."""

from dovetail.boards.devices import DEVICES
from dovetail.boards.floorplan import GRIDS, PlacedCell, placed_cells


def cell(kind, place, **connections):
    return {"type": kind, "attributes": {"NEXTPNR_BEL": place} if place else {},
            "connections": {port: [bit] for port, bit in connections.items()}}


def test_placed_cells():
    """Names say the unit, those of neighbours where a cell has none, step by step."""
    cells = {
        "core.layer0.engine.lane0.bank1.product_TRELLIS_FF_Q_5": cell("TRELLIS_FF", "X2/Y3/SLICEA.FF0", Q=2, CLK=99),
        "core.layer1.stage0.scaled0_LUT4_Z": cell("TRELLIS_COMB", "X4/Y5/SLICEB.K1", Z=3, A=2),
        "core.input.count_TRELLIS_FF_Q": cell("TRELLIS_FF", "X1/Y1/SLICEA.FF0", Q=7),
        "core._12__LUT4_Z": cell("TRELLIS_COMB", "X9/Y8/SLICEB.K0", A=3, B=4),
        "core.$nextpnr_CCU2C_3": cell("TRELLIS_COMB", "X9/Y9/SLICEB.K0", A=4),
        "core._99__LUT4_Z": cell("TRELLIS_COMB", "X7/Y7/SLICEB.K0", A=55),
        "core.layer1.select.store.memory0.0.0": cell("DP16KD", "X6/Y6/EBR0", A=8),
        "core._5__MULT18X18D_P9": cell("MULT18X18D", "X5/Y6/MULT18_0", A=2),
        "sent_TRELLIS_FF_Q_3": cell("TRELLIS_FF", "X3/Y1/SLICEA.FF0", Q=77),
        "clk$tr_io": cell("TRELLIS_IO", "X0/Y0/PIOA"),
        "not placed": cell("TRELLIS_COMB", None),
    }
    found = {(each.x, each.y): each for each in placed_cells({"modules": {"top": {"cells": cells}}})}
    assert {place: (each.layer, each.unit, each.kind) for place, each in found.items()} == {
        (2, 3): (0, "engine", "logic"), (4, 5): (1, "stages", "logic"), (1, 1): (-1, "border", "logic"),
        (9, 8): (1, "stages", "logic"), (9, 9): (1, "stages", "logic"), (7, 7): (-1, "other", "logic"),
        (6, 6): (1, "select", "ram"), (5, 6): (0, "engine", "multiplier"), (3, 1): (-1, "frame", "logic")}
    assert found[2, 3] == PlacedCell(layer=0, unit="engine", kind="logic", x=2, y=3)


def test_every_placed_device_has_a_grid():
    assert set(GRIDS) == {device for device, record in DEVICES.items() if record.placer is not None}
