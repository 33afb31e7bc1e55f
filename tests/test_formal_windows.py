"""The window unit for any stalls on both sides: every beat of small images' windows is the one that has to come."""

import pytest
from amaranth.hdl import Array, Assert, Assume, Module, Signal
from formal import Spec, assume_stream, check_stream, prove

from dovetail.hw.arch import WindowArch
from dovetail.hw.windows import Windows


class WindowsSpec(Spec):
    """Dense images of one channel: what was taken is remembered, and each beat held against it, from power-up on."""

    def __init__(self, arch, images):
        self._arch, self._images = arch, images
        super().__init__({"value": arch.activation_bits, "valid": 1, "ready": 1})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        arch = self._arch
        (rows, columns), (top, left, *_) = arch.output_size, arch.pads
        m.submodules.dut = dut = Windows(arch)
        m.d.comb += [
            dut.i.p.values[0].eq(self.value), dut.i.p.mask.eq(1), dut.i.p.last.eq(1), dut.i.valid.eq(self.valid),
            dut.o.ready.eq(self.ready),
        ]
        assume_stream(m, dut.i, "i")
        check_stream(m, dut.o, "o")
        taken = Array(Signal(arch.activation_bits, name=f"taken{number}", reset_less=True)
                      for number in range(self._images * arch.height * arch.width))
        pixels = Signal(range(len(taken) + 1))
        with m.If(dut.i.valid & dut.i.ready):
            m.d.comb += Assume(pixels < len(taken))
            m.d.sync += [taken[pixels].eq(self.value), pixels.eq(pixels + 1)]

        beats = self._images * rows * columns * arch.groups
        beat = Signal(range(beats + 1))
        with m.If(dut.o.valid):
            m.d.comb += Assert(beat < beats, "no beat comes after the last")
        with m.If(dut.o.valid & dut.o.ready):
            m.d.sync += beat.eq(beat + 1)
        with m.Switch(beat):
            for number in range(beats):
                window, group = divmod(number, arch.groups)
                image, place = divmod(window, rows * columns)
                expected, needed = [], image * arch.height * arch.width
                for lane in range(arch.lanes):
                    tap_y, tap_x = divmod(group * arch.lanes + lane, arch.kernel[1])
                    y = place // columns * arch.strides[0] - top + tap_y
                    x = place % columns * arch.strides[1] - left + tap_x
                    pixel = (image * arch.height + y) * arch.width + x
                    inside = 0 <= y < arch.height and 0 <= x < arch.width
                    expected.append(taken[pixel] if inside else 0)
                    needed = max(needed, pixel) if inside else needed
                with m.Case(number), m.If(dut.o.valid):
                    m.d.comb += [
                        Assert(pixels > needed, "nothing leaves that has not come"),
                        Assert(dut.o.p.last == (group == arch.groups - 1), "an end is an end"),
                        Assert(dut.o.p.mask.all(), "every tap is there"),
                        *(Assert(dut.o.p.values[lane] == value, "every tap is the pixel that it stands on")
                          for lane, value in enumerate(expected)),
                        *(Assert(address == group, "its address is that of its group")
                          for address in dut.o.p.addresses),
                    ]
        return m


@pytest.mark.parametrize(("sizes", "depth"), [
    ({"height": 2, "width": 2, "kernel": (2, 2), "lanes": 4, "depth": 1}, 17),
    ({"height": 2, "width": 1, "kernel": (2, 1), "lanes": 1, "depth": 1}, 15),
    ({"height": 1, "width": 3, "kernel": (1, 2), "pads": (0, 1, 0, 0), "strides": (1, 2), "lanes": 2, "depth": 1}, 14),
    ({"height": 3, "width": 1, "kernel": (1, 1), "strides": (2, 1), "lanes": 1, "depth": 1}, 15),
])
def test_windows(sizes, depth, tmp_path):
    """To a depth in which the second image's first windows leave."""
    arch = WindowArch(channels=1, slots=1, activation_bits=1, indexed=False, **sizes)
    code, said = prove(WindowsSpec(arch, 2), tmp_path, depth=depth)
    assert code == 0, said
