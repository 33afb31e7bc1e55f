"""Build folders of small networks, one for everything that a border of a network can be."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from builders import make_cnn, make_network

from dovetail.boards.build_folder import write_build
from dovetail.hw.arch import MemoryKind
from dovetail.sim import golden
from dovetail.sw.model import FloatLayer, FloatModel
from dovetail.sw.network import Network
from dovetail.sw.plan import Plan, plan
from dovetail.sw.settings import LayerSettings, Settings

__all__ = ["CASES", "Bundle", "make_bundle"]

FRAMES = 6      # more than go into golden vectors


class Bundle(NamedTuple):
    """A build folder and what is in it."""

    folder: Path
    plan: Plan
    codes: np.ndarray
    outputs: np.ndarray


def perceptron(rng: np.random.Generator) -> tuple[Network, Settings]:
    """Unsigned codes of 8 bits in, two a word, the last one half used; unsigned codes of 5 bits out."""
    network = make_network(rng, sizes=[9, 12, 7], winners=[4, None], codes=(0, 31), codes_out=True)
    return network, Settings(layers={"fc0": LayerSettings(lanes=2), "fc1": LayerSettings(lanes=2, drain_width=2)})


def signed(rng: np.random.Generator) -> tuple[Network, Settings]:
    """Codes of 8 bits in, sums out, both signed; loadable."""
    network = make_network(rng, sizes=[10, 8, 5], input_signed=True)
    return network, Settings(loadable=True, layers={
        "fc0": LayerSettings(lanes=4), "fc1": LayerSettings(lanes=2, drain_width=4)})


def narrow(rng: np.random.Generator) -> tuple[Network, Settings]:
    """Signed codes of 3 bits in, four a word; signed codes of 4 bits out."""
    network = make_network(rng, sizes=[11, 6], input_bits=3, input_signed=True, codes=(-8, 7), codes_out=True)
    return network, Settings(layers={"fc0": LayerSettings(lanes=4, drain_width=4)})


def image(rng: np.random.Generator) -> tuple[Network, Settings]:
    """Images of two channels and 11 bits in, images of five channels out, both pixel by pixel; loadable."""
    network = make_cnn(rng, image=(2, 6, 5), input_bits=11, input_signed=True, layers=[
        {"kernels": 6, "kernel": (3, 3), "pool": {"kernel": (2, 2), "strides": (2, 2)}, "winners": 3},
        {"kernels": 5, "kernel": (1, 1)}])
    return network, Settings(loadable=True, layers={"layer1": LayerSettings(drain_width=2)})


def empty(rng: np.random.Generator) -> tuple[Network, Settings]:
    """Weights that have to be loaded before the first frame."""
    network = make_network(rng, sizes=[7, 9, 5], sets=[3, None], winners=[4, None])
    return network, Settings(loadable=True, layers={
        "fc0": LayerSettings(lanes=2, banks=4, drain_width=2, weight_memory=MemoryKind.SPRAM),
        "fc1": LayerSettings(lanes=2, banks=1, set_size=3, drain_width=2)})


CASES: dict[str, Callable[[np.random.Generator], tuple[Network, Settings]]] = {
    made.__name__: made for made in (perceptron, signed, narrow, image, empty)}


def make_bundle(path: Path, name: str) -> Bundle:
    """Write the build folder ``path / name`` of one of `CASES`."""
    rng = np.random.default_rng(len(name))
    network, settings = CASES[name](rng)
    planned = plan(network, settings)
    low, high = network.layers[0].input_range
    positions = network.layers[0].positions if network.layers[0].window is None else int(np.prod(network.input_shape))
    codes = rng.integers(low, high + 1, (FRAMES, positions))
    model = FloatModel(name=name, input_shape=network.input_shape, sha256="0" * 64, layers=(
        FloatLayer(name="fc", op="Gemm", weights=np.ones((2, positions)), bias=np.zeros(2)),))
    write_build(path / name, planned, model, codes)
    return Bundle(path / name, planned, codes, golden.run(network, codes)[-1].outputs)
