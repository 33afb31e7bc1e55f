"""A network inside a design of your own. Run: pytest examples/test_own_design.py

`Classifier` is that design: it takes a network out of a build folder, lets frames in, and keeps of every result only
which element is the greatest. That is the most likely class where all elements have one scale (`manifest.json`,
``interface``). Any other Amaranth design takes a network in the same way.
"""

from importlib import resources

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from dovetail.boards.build_folder import read_build
from dovetail.cli.main import main
from dovetail.hw.network import NetworkTop
from dovetail.sim import simulate
from dovetail.sim.verify import frames_to_words


class Classifier(wiring.Component):
    """The place of the greatest element of each result, of several equal ones the first.

    Members
    -------
    i : as ``i`` of the network
    o : Out(stream.Signature(range(elements)))
    """

    def __init__(self, network: NetworkTop, *, elements: int):
        self._network = network
        super().__init__({"i": In(network.i.signature.flip()), "o": Out(stream.Signature(range(elements)))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.network = network = self._network
        connect(m, flipped(self.i), network.i)
        word = network.o.p
        first, place = Signal(init=1), Signal.like(self.o.payload)
        best, best_place = Signal.like(word.data[0]), Signal.like(self.o.payload)

        # The network sends so many elements a word, of which those in `keep` exist.
        greatest, where, none = best, best_place, first
        for number in range(len(word.keep)):
            better = word.keep[number] & (none | (word.data[number] > greatest))
            greatest, where = Mux(better, word.data[number], greatest), Mux(better, place + number, where)
            none = none & ~word.keep[number]

        m.d.comb += network.o.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(network.o.valid & network.o.ready):
            m.d.sync += [best.eq(greatest), best_place.eq(where), first.eq(word.last),
                         place.eq(Mux(word.last, 0, place + len(word.keep)))]
            with m.If(word.last):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(where)]
        return m


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A build folder, as `dovetail compile` writes it, of the digits network that comes with Dovetail."""
    path = tmp_path_factory.mktemp("builds") / "digits"
    with resources.as_file(resources.files("dovetail.cli") / "digits") as digits:
        assert main(["compile", str(digits / "digits.onnx"), "-o", str(path), "--target-cycles", "300",
                     "--calibration", str(digits / "digits_calibration.npz")]) == 0
    return path


@pytest.mark.parametrize("stall_seed", [None, 1])
def test_digits(folder, stall_seed):
    plan = read_build(folder).plan
    with np.load(folder / "golden.npz") as golden:
        inputs, outputs = golden["inputs"], golden[f"layer{len(plan.layers) - 1}"]
    design = Classifier(NetworkTop(plan.arch, plan.images), elements=outputs.shape[1])
    words = frames_to_words(inputs, plan.arch.input_width)
    result = simulate(design, {"i": words}, {"o": len(inputs)}, stall_seed=stall_seed)
    np.testing.assert_array_equal(result.outputs["o"], outputs.argmax(axis=1))
