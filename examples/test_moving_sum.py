"""A design of your own in a test of your own. Run: pytest examples/test_moving_sum.py

The design has nothing to do with neural networks: any Amaranth component whose ports are streams will do. `simulate`
runs it in CXXRTL; `engine=` takes the other simulators, and `stall_seed=` stalls both streams at random.
"""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dovetail.sim import Engine, simulate


class MovingSum(wiring.Component):
    """Adds every number to the one before it. Latency one cycle."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(9))

    def elaborate(self, platform):
        m = Module()
        before = Signal(8)
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload + before)]
            with m.If(self.i.valid):
                m.d.sync += before.eq(self.i.payload)
        return m


def test_three_lines():
    result = simulate(MovingSum(), {"i": [1, 2, 3, 255, 255]}, {"o": 5})
    np.testing.assert_array_equal(result.outputs["o"], [1, 3, 5, 258, 510])


@pytest.mark.parametrize("engine", [Engine.CXXRTL, Engine.AMARANTH])
def test_stalls_change_nothing(engine):
    numbers = np.random.default_rng(0).integers(0, 256, 1000)
    result = simulate(MovingSum(), {"i": numbers}, {"o": 1000}, engine=engine, stall_seed=1)
    np.testing.assert_array_equal(result.outputs["o"], numbers + np.append(0, numbers[:-1]))


def test_latency():
    result = simulate(MovingSum(), {"i": [1, 2, 3]}, {"o": 3})
    np.testing.assert_array_equal(result.times["o"], result.times["i"] + 1)
