"""The rule for multipliers of the device, against Yosys: many products side by side in one synthesis."""

import json

import pytest
from amaranth.hdl import Module, Shape, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dovetail.boards.cells import Family, product_multipliers
from dovetail.hw.verilog import emit_rtlil
from dovetail.hw.yosys import run_yosys

PAIRS = [
    (signed(8), unsigned(8)), (signed(8), signed(8)), (signed(8), unsigned(1)), (signed(8), unsigned(2)),
    (signed(8), signed(3)), (signed(5), unsigned(5)), (signed(5), unsigned(6)), (signed(2), unsigned(8)),
    (signed(2), unsigned(9)), (signed(3), unsigned(8)), (signed(2), unsigned(2)), (unsigned(8), unsigned(8)),
    (unsigned(1), unsigned(16)), (signed(16), signed(16)), (signed(16), unsigned(15)), (signed(16), unsigned(16)),
    (signed(17), signed(16)), (signed(18), signed(18)), (signed(18), unsigned(17)), (signed(18), unsigned(18)),
    (signed(19), signed(8)), (signed(19), unsigned(16)), (signed(21), unsigned(16)), (signed(24), unsigned(16)),
    (signed(31), unsigned(16)), (signed(32), unsigned(16)), (signed(33), signed(16)), (signed(24), unsigned(18)),
    (signed(35), unsigned(18)), (signed(30), signed(30)), (signed(36), signed(36)), (unsigned(20), unsigned(17)),
]


class Product(wiring.Component):
    """A product between registers."""

    def __init__(self, one: Shape, other: Shape):
        width = Shape(one.width + other.width, one.signed or other.signed)
        super().__init__({"one": In(one), "other": In(other), "product": Out(width)})

    def elaborate(self, platform):
        m = Module()
        one, other = Signal.like(self.one, reset_less=True), Signal.like(self.other, reset_less=True)
        m.d.sync += [one.eq(self.one), other.eq(self.other), self.product.eq(one * other)]
        return m


class Products(wiring.Component):
    """All of them, each a module of its own."""

    def __init__(self):
        self._products = [Product(*pair) for pair in PAIRS]
        super().__init__({f"{name}{number}": member for number, product in enumerate(self._products)
                          for name, member in product.signature.members.items()})

    def elaborate(self, platform):
        m = Module()
        for number, product in enumerate(self._products):
            m.submodules[f"case{number}"] = product
            m.d.comb += [
                product.one.eq(getattr(self, f"one{number}")), product.other.eq(getattr(self, f"other{number}")),
                getattr(self, f"product{number}").eq(product.product),
            ]
        return m


@pytest.mark.parametrize(("family", "script", "cell"), [
    (Family.ECP5, "synth_ecp5 -noflatten -top top -run begin:map_ram", "MULT18X18D"),
    (Family.ICE40_DSP, "synth_ice40 -dsp -noflatten -top top -run begin:map_ram", "SB_MAC16")])
def test_products(family, script, cell, tmp_path):
    (tmp_path / "top.il").write_text(emit_rtlil(Products(), name="top"))
    run_yosys(f"read_rtlil top.il; {script}; tee -q -o stat.json stat -json", folder=tmp_path)
    text = (tmp_path / "stat.json").read_text()
    modules = json.loads(text[text.index("{"):])["modules"]
    found = []
    for number in range(len(PAIRS)):
        counts, = (module["num_cells_by_type"] for name, module in modules.items() if name.endswith(f".case{number}"))
        # Before the last steps an iCE40's multiplier is a cell of Yosys' own.
        found.append(sum(counts.get(name, 0) for name in (cell, "$__MUL16X16")))
    assert found == [product_multipliers(*pair, family) for pair in PAIRS]


def test_without_multipliers():
    assert product_multipliers(signed(8), signed(8), Family.ICE40) == 0
