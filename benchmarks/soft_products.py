"""Products of look-up tables against what Yosys makes of ``*`` without DSPs. Run: python benchmarks/soft_products.py

Both with registered factors and a registered product, nothing placed. LUT equivalents on ECP5: LUT4 + 2 x CCU2C. In an
engine the soft product's carry takes one more place, in the accumulator's adder.
"""

import json
import tempfile
from pathlib import Path

from amaranth.hdl import Module, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from rich.console import Console
from rich.table import Table

from dovetail.hw.soft_product import soft_product
from dovetail.hw.verilog import emit_rtlil
from dovetail.hw.yosys import run_yosys

CASES = ((8, Shape(8)), (8, signed(8)), (8, Shape(4)), (4, Shape(8)), (4, Shape(4)), (6, Shape(6)), (8, Shape(2)),
         (8, Shape(1)), (2, Shape(8)))
SCRIPTS = {"ECP5": "synth_ecp5 -nodsp -top top", "iCE40": "synth_ice40 -top top"}


class Product(wiring.Component):
    """A product with registers on both sides."""

    weight: Signal
    value: Signal
    product: Signal
    carry: Signal

    def __init__(self, weight_bits: int, value: Shape, *, soft: bool):
        self._soft = soft
        super().__init__({"weight": In(signed(weight_bits)), "value": In(value),
                          "product": Out(signed(weight_bits + value.width)), "carry": Out(1)})

    def elaborate(self, platform):
        m = Module()
        weight = Signal.like(self.weight, reset_less=True)
        value = Signal.like(self.value, reset_less=True)
        product, carry = Signal.like(self.product, reset_less=True), Signal(reset_less=True)
        m.d.sync += [weight.eq(self.weight), value.eq(self.value)]
        if self._soft:
            sum_of_rows, one = soft_product(m, weight, value, name="soft")
            m.d.sync += [product.eq(sum_of_rows), carry.eq(one)]
        else:
            m.d.sync += product.eq(weight * value)
        m.d.comb += [self.product.eq(product), self.carry.eq(carry)]
        return m


def places(component: wiring.Component, script: str) -> int:
    """LUT equivalents."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "top.il").write_text(emit_rtlil(component, name="top"))
        run_yosys(f"read_rtlil top.il; {script}; tee -q -o stat.json stat -json", folder=folder)
        text = (folder / "stat.json").read_text()
    counts = json.loads(text[text.index("{"):])["design"]["num_cells_by_type"]
    return counts.get("LUT4", 0) + 2 * counts.get("CCU2C", 0) + counts.get("SB_LUT4", 0)


def main() -> None:
    table = Table(title="LUT equivalents of one product", title_justify="left")
    for column in ("weight", "value", *(f"{family}, {kind}" for family in SCRIPTS for kind in ("soft", "*"))):
        table.add_column(column, justify="right")
    for bits, value in CASES:
        counts = [places(Product(bits, value, soft=soft), script) for script in SCRIPTS.values()
                  for soft in (True, False)]
        table.add_row(f"signed {bits}", f"{'signed' if value.signed else 'unsigned'} {value.width}",
                      *map(str, counts))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
