"""Layers made of random numbers, planned as they would be within a network."""

import numpy as np

from ..hw.arch import Mode, ceil_div
from ..sim.golden import LayerResult, run_layer
from ..sw.network import Layer, Network, Scale
from ..sw.plan import PlannedLayer, plan
from ..sw.settings import LayerSettings, Settings
from ..sw.window import Window
from .sweep import Point

__all__ = ["plan_layer", "run_random"]

#: Vectors that a fully connected layer is timed on; a convolution has one image.
VECTORS = 16


def plan_layer(point: Point) -> PlannedLayer:
    """Plan a synthetic layer.

    It stands between two layers that are not built: one hands it what is selected, K of C elements or all of them, and
    it selects for the other, in the sparse-sparse mode the same part of its own M by k-WTA. No weight is zero where the
    mask has one; every kernel has a factor of its own behind its sums, as in a quantised float model. A convolution is
    padded such that it keeps the image's size.

    Parameters
    ----------
    point : Point

    Returns
    -------
    PlannedLayer

    Raises
    ------
    DovetailError
        Where it cannot be built so.
    """
    rng = np.random.default_rng(point.seed)
    channels, kernels = point.channels or 1, point.kernels or 1
    selects = point.winners is not None
    before = _layer(point, "before", channels=1, kernels=channels, size=(1, 1), winners=point.winners, rng=rng)
    inside = _layer(point, "layer", channels=channels, kernels=kernels, size=point.kernel or (1, 1),
                    winners=max(1, round(kernels * point.winners / channels)) if point.winners else None, rng=rng)
    after = _layer(point, "after", channels=kernels, kernels=1, size=(1, 1), winners=None, rng=rng)
    banks = point.banks
    if point.folds is not None:
        banks = ceil_div(ceil_div(kernels, point.set_size or 1), point.folds)
    # A vector leaves as many elements a beat as lanes take it in; of an image elements come one by one.
    wide = point.image is None and point.lanes is not None and point.lanes & (point.lanes - 1) == 0
    settings = Settings(
        mode=point.mode, device=point.device,
        target_cycles=point.target_cycles and point.target_cycles * inside.vectors,
        layers={
            "before": LayerSettings(mode=Mode.DENSE, lanes=1, banks=channels, drain_width=1),
            "layer": LayerSettings(lanes=point.lanes, banks=banks,
                                   set_size=None if point.mode is Mode.DENSE else point.set_size),
            "after": LayerSettings(lanes=min(point.lanes or 1, kernels) if wide else 1, banks=1, drain_width=1),
        })
    active = np.full(inside.inputs, point.winners / channels if point.winners else 1.0)
    network = Network(
        name="sweep", input_shape=(1, *(point.image or ())), input_range=before.input_range, input_scale=1.0,
        layers=(before, inside, after), sha256="")
    activity = [np.ones(before.inputs), active,
                np.full(after.inputs, (inside.winners or kernels) / kernels if selects else 1.0)]
    return plan(network, settings, activity=activity).layers[1]


def _layer(
    point: Point, name: str, *, channels: int, kernels: int, size: tuple[int, int], winners: int | None,
    rng: np.random.Generator,
) -> Layer:
    window = None
    if point.image is not None:
        (height, width), (rows, columns) = point.image, size
        window = Window(channels=channels, height=height, width=width, kernel=size,
                        pads=((rows - 1) // 2, (columns - 1) // 2, rows // 2, columns // 2))
    shape = (kernels, channels * size[0] * size[1])
    mask, sets = np.ones(shape, bool), None
    if name == "layer" and point.set_size is not None:
        mask, sets = _complementary(shape, point.set_size, rng)
    elif name == "layer" and point.density is not None:
        mask = np.zeros(shape, bool)
        mask.ravel()[rng.permutation(mask.size)[:max(1, round(point.density * mask.size))]] = True
    most = 2**(point.weight_bits - 1) - 1
    weights = rng.integers(1, most + 1, shape) * rng.choice([-1, 1], shape) * mask
    high = 2**point.activation_bits - 1
    scale = Scale(multiplier=rng.integers(2**14, 2**15, kernels), offset=2**23, shift=24, low=0, high=high)
    return Layer(
        name=name, op="Gemm" if window is None else "Conv", weights=weights, mask=mask, weight_bits=point.weight_bits,
        bias=rng.integers(-1000, 1001, kernels), input_range=(0, high), window=window, stages=(scale,), winners=winners,
        output_scale=1.0, sets=sets)


def _complementary(shape: tuple[int, int], set_size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A mask where every position belongs to one kernel of each set, and the sets."""
    kernels, positions = shape
    count = ceil_div(kernels, set_size)
    members = np.full(count * set_size, -1)
    members[:kernels] = np.arange(kernels)
    sets, mask = members.reshape(count, set_size), np.zeros(shape, bool)
    for members in sets:
        present = members[members >= 0]
        mask[present[rng.integers(0, len(present), positions)], np.arange(positions)] = True
    return mask, sets


def run_random(point: Point, planned: PlannedLayer) -> LayerResult:
    """The golden model's result on random codes: at every pixel K of them, none zero, or all."""
    layer, channels = planned.layer, point.channels or 1
    rng = np.random.default_rng([point.seed, 1])
    pixels, high = layer.inputs // channels, layer.input_range[1]
    count = VECTORS if layer.window is None else 1
    codes = rng.integers(1, high + 1, (count * pixels, channels))
    if point.winners is not None:
        losers = np.argsort(rng.random(codes.shape), axis=1)[:, point.winners:]
        np.put_along_axis(codes, losers, 0, axis=1)
    return run_layer(layer, codes.reshape(count, pixels, channels).transpose(0, 2, 1).reshape(count, -1))
