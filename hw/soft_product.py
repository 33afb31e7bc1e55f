"""A product made of look-up tables: Booth's digits of the weight, one row of selected values for each."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from .arch import ceil_div

__all__ = ["soft_product"]


def soft_product(m: Module, weight: Value, value: Value, *, name: str) -> tuple[Value, Value]:
    """``weight * value`` as a sum that is still to be incremented, where the carry says so.

    One factor, the one with fewer of them, is read as digits of -2, -1, 0, 1 and 2, each worth four times the one
    before (Booth 1951, two bits at a time as MacSorley 1961 does). A row is the other factor times a digit: one choice
    out of nothing, the factor and twice the factor, inverted where the digit is negative. Inverting leaves one to be
    added at the row's lowest bit. Two rows are added from the upper one's lowest bit on, and that addition's carry
    input takes the upper row's one, so that n rows need n - 1 additions and no other; the lowest row's one is left.
    Whoever adds the product to something has a carry input for it.

    There is no multiplication for synthesis to find, hence no multiplier of the device is taken. 8 x 8 bits take 95
    LUT4 equivalents on ECP5 and 92 look-up tables on iCE40, where Yosys 0.70 makes 287 and 155 of ``*``
    (``python benchmarks/soft_products.py``).

    Parameters
    ----------
    m : Module
    weight : Value
        Signed, at least 2 bits.
    value : Value
        Signed or unsigned.
    name : str
        Of the signals.

    Returns
    -------
    product, carry : Value
        Signed, at most as many bits as both factors together, and one bit: ``product + carry == weight * value``.
        Combinational; zero may be -1 and a carry.
    """
    product_bits = len(weight) + len(value)
    signed_value = value if value.shape().signed else Cat(value, Const(0, 1)).as_signed()
    digits, factor = weight, value
    if ceil_div(len(signed_value), 2) < ceil_div(len(weight), 2):
        digits, factor = signed_value, weight
    bits = [*digits, *([digits[-1]] if len(digits) % 2 else [])]
    is_signed = factor.shape().signed
    # A node is bits of a sum from bit `at` on, and the one that is to be added at its lowest bit.
    nodes = []
    for at in range(0, len(bits), 2):
        below, low, high = bits[at - 1] if at else Const(0, 1), bits[at], bits[at + 1]
        once, twice = low ^ below, Mux(high, ~(low | below), low & below)
        shifted = [Const(0, 1), *factor, factor[-1] if is_signed else Const(0, 1)]
        chosen = [(once & here | twice & there) ^ high for here, there in zip(shifted[1:], shifted, strict=False)]
        # The highest bit of a signed factor's row is its sign; otherwise the inversion is one more.
        row = Signal(len(chosen) + (not is_signed), name=f"{name}_row{at}")
        m.d.comb += row.eq(Cat(*chosen, *([] if is_signed else [high])))
        nodes.append((at, row.as_signed(), high))
    while len(nodes) > 1:
        added = []
        for (at, lower, one), (above, upper, carry) in zip(nodes[::2], nodes[1::2], strict=False):
            overlap = lower[above - at:].as_signed()
            total = Signal(min(max(len(overlap), len(upper)) + 2, product_bits - above + 1),
                           name=f"{name}_sum{at}_{above}")
            m.d.comb += total.eq(Cat(carry, overlap).as_signed() + Cat(carry, upper).as_signed())
            added.append((at, Cat(lower[:above - at], total[1:]).as_signed(), one))
        nodes = added + nodes[len(added) * 2:]
    (_, product, carry), = nodes
    return product[:product_bits].as_signed(), carry
