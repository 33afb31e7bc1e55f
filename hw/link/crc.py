"""The register of a CRC-32, a bit a cycle: a line is slow, and eight bits at once are three times the logic."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ALL_ONES", "RESIDUE", "CrcRegister"]

ALL_ONES = 0xffff_ffff

#: What the register holds after any octets and their CRC, low octet first.
RESIDUE = 0xdebb_20e3

_POLYNOMIAL = 0xedb8_8320      # reflected: the lowest bit is that of x ** 31


class CrcRegister(wiring.Component):
    """CRC-32 of Ethernet and zlib over the bits that come, the lowest of an octet first.

    Parameters
    ----------
    init : int
        Value at power-up.
    reset_less : bool
        A reset leaves it as it is.

    Members
    -------
    clear : In(1)
        Begin anew; goes before ``step``.
    step : In(1)
        Take ``bit``.
    bit : In(1)
    rotate : In(1)
        With ``step``: only move on, without ``bit``. So after eight steps the CRC's next octet is the lowest, and after
        32 all is as it was.
    value : Out(32)
        The register, all ones at the beginning; the CRC is its complement.
    """

    clear: Signal
    step: Signal
    bit: Signal
    rotate: Signal
    value: Signal

    def __init__(self, *, init: int = ALL_ONES, reset_less: bool = False):
        self._init, self._reset_less = init, reset_less
        super().__init__({"clear": In(1), "step": In(1), "bit": In(1), "rotate": In(1), "value": Out(32)})

    def elaborate(self, platform):
        m = Module()
        value, divide = Signal(32, init=self._init, reset_less=self._reset_less), Signal()
        m.d.comb += [self.value.eq(value), divide.eq(~self.rotate & (value[0] ^ self.bit))]
        with m.If(self.clear):
            m.d.sync += value.eq(ALL_ONES)
        with m.Elif(self.step):
            m.d.sync += value.eq(Cat(value[1:], self.rotate & value[0]) ^ Mux(divide, _POLYNOMIAL, 0))
        return m
