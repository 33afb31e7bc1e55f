"""One accumulator file: the sums of the N kernels that share a multiplier. Routing is addressing."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .arch import AccumulatorKind, bits_for

__all__ = ["OWN_REGISTER", "AccumulatorFile"]

#: Attribute of a signal whose flip-flops are not to be merged with others that always hold the same. All files of a
#: lane are in the same half, and one flip-flop for all of their memories would have the longest wires of an engine.
OWN_REGISTER = "own_register"


class AccumulatorFile(wiring.Component):
    """``kids`` accumulators in two halves, kept in ``columns`` memories that a drain slot reads side by side.

    Every clock cycle is one slot, in one of two kinds. A *multiply* slot adds ``product`` to accumulator ``kid`` of
    ``half``. A *drain* slot shows word ``word`` of every column of ``half`` (accumulators ``word * columns`` and
    following) at ``sums`` and clears them. Slots take effect in order, so there are no hazards for the user to mind;
    one half can fill while the other drains. A cycle with nothing to do is a multiply slot with a product of zero.

    The address inputs come one cycle *before* the product and the sums of the same slot::

        clk      __/--\\__/--\\__
        kid ...  < slot >< next >
        product          < slot >
        sums             < slot >

    The two halves lie in one memory, which is why they cost no selection logic: the half is an address bit. With 16
    accumulators in two columns a column is exactly one 16-word LUT RAM.

    Parameters
    ----------
    kids : int
        Accumulators per half, a multiple of ``columns``.
    columns : int
        A power of two.
    sum_bits, product_bits : int
        Widths of an accumulator and of a product, both signed; sums wrap.
    kind : AccumulatorKind
        LUT_RAM reads asynchronously; BLOCK_RAM reads synchronously and forwards a word that is being written.
    carries : bool
        A product comes in two parts, ``product`` and ``carry``, that are both added.

    Members
    -------
    kid : In(bits_for(kids))
    word : In(bits_for(kids // columns))
    half, drain : In(1)
    product : In(signed(product_bits)), zero in a drain slot
    carry : In(1), only with ``carries``
        One more; in a drain slot the sum of both is zero.
    sums : Out(ArrayLayout(signed(sum_bits), columns))
    """

    kid: Signal
    word: Signal
    half: Signal
    drain: Signal
    product: Signal
    carry: Signal
    sums: data.View

    def __init__(self, *, kids: int, columns: int, sum_bits: int, product_bits: int, kind: AccumulatorKind,
                 carries: bool = False):
        if columns < 1 or columns & (columns - 1):
            raise ValueError(f"columns must be a power of two, not {columns!r}")
        if kids < columns or kids % columns:
            raise ValueError(f"kids must be a multiple of columns ({columns}), not {kids!r}")
        if not isinstance(kind, AccumulatorKind):
            raise TypeError(f"kind must be an AccumulatorKind, not {kind!r}")
        self._kids, self._columns, self._sum_bits, self._kind = kids, columns, sum_bits, kind
        members = {
            "kid": In(bits_for(kids)), "word": In(bits_for(kids // columns)), "half": In(1), "drain": In(1),
            "product": In(signed(product_bits)), "sums": Out(data.ArrayLayout(signed(sum_bits), columns)),
        }
        if carries:
            members["carry"] = In(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        column_bits, word_bits = ceil_log2(self._columns), ceil_log2(self._kids // self._columns)
        block = self._kind is AccumulatorKind.BLOCK_RAM

        # The slot's address, as it comes and one cycle later, beside the product.
        address = Signal(word_bits + 1)
        address_now = Signal(word_bits + 1, reset_less=True, attrs={} if block else {OWN_REGISTER: 1})
        m.d.comb += address.eq(Cat(Mux(self.drain, self.word, self.kid >> column_bits)[:word_bits], self.half))
        m.d.sync += address_now.eq(address)

        # A column is written where the KID points, or in a drain slot; all columns at once *means* a drain slot.
        # Power-up is such a slot too: where initial and reset value agree, the drain bit becomes the flip-flops' own
        # reset.
        write_now = Signal(self._columns, init=(1 << self._columns) - 1, reset_less=True)
        drain_now = Signal(reset_less=True)
        column_now = Signal(range(max(2, self._columns)), reset_less=True)
        m.d.sync += [drain_now.eq(self.drain), column_now.eq(self.kid[:column_bits])]
        with m.If(self.drain):
            m.d.sync += write_now.eq(~0)
        with m.Else():
            m.d.sync += write_now.eq(1 << self.kid[:column_bits] if self._columns > 1 else 1)

        old, total = Signal(signed(self._sum_bits)), Signal(signed(self._sum_bits))
        if "carry" in self.signature.members:
            # A bit below the lowest one, set on both sides, is the adder's carry input.
            added = Signal(self._sum_bits + 1)
            m.d.comb += [
                added.eq(Cat(self.carry, old).as_signed() + Cat(self.carry, self.product).as_signed()),
                total.eq(added[1:].as_signed()),
            ]
        else:
            m.d.comb += total.eq(old + self.product)
        for column in range(self._columns):
            memory = Memory(shape=signed(self._sum_bits), depth=2 << word_bits, init=[],
                            attrs={"ram_style": "block"} if block else {})
            m.submodules[f"column{column}"] = memory
            write = memory.write_port()
            m.d.comb += [write.addr.eq(address_now), write.data.eq(total), write.en.eq(write_now[column])]
            if block:
                read = memory.read_port(transparent_for=(write,))
                m.d.comb += read.addr.eq(address)
            else:
                read = memory.read_port(domain="comb")
                m.d.comb += read.addr.eq(address_now)
            m.d.comb += self.sums[column].eq(read.data)

        if self._columns == 2:
            # One LUT4 a bit: both write enables set select neither column.
            with m.Switch(write_now):
                for column in range(2):
                    with m.Case(1 << column):
                        m.d.comb += old.eq(self.sums[column])
        else:
            with m.If(~drain_now):
                m.d.comb += old.eq(self.sums[column_now] if self._columns > 1 else self.sums[0])
        return m
