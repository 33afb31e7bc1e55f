"""What a model is made of, how well it packs, and what pruning or retraining it would gain."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..hw.errors import ModelError
from .exact import exact_network
from .model import Clip, FloatLayer, FloatModel, Quantiser, Rounding
from .network import range_bits
from .packer import Packing, pack
from .patterns import pattern

__all__ = ["Gain", "LayerFacts", "find_problems", "inspect_model"]

_OPS = {"Gemm": "Linear", "MatMul": "Linear"}
_PRUNED = 16    # a layer of more than half its weights is imagined to be pruned to one in so many


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Rows of a layer as it is, and had it been trained with complementary masks, on the same number of multipliers.

    Members
    -------
    set_size, banks : int
        N, and the multipliers of one lane: a set each. N is the largest at which masks of the layer's density can be
        complementary, floor(1 / density), or that of sets as large that share the kernels evenly; a layer of more than
        half its weights is imagined to be pruned to one in 16.
    rows : int
        Of the layer's own mask, as the packer deals it to these banks in one fold.
    rows_complementary : int
        One for every position that has a weight.
    text : str
        The comparison as a sentence.
    """

    set_size: int
    banks: int
    rows: int
    rows_complementary: int
    text: str


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """What one layer is made of, and how well it packs alone.

    Members
    -------
    name : str
        Name of the ONNX node that multiplies.
    op : str
        ``"Linear"``, ``"Conv"``, or what else the file calls it.
    kernels, positions : int
        M and L, the lengths of the output (of one pixel) and of the input (of one window).
    vectors : int
        Windows of one inference; 1 if the layer is no convolution.
    weights, nonzero : int
        M * L, and how many of them are not zero.
    density : float
        nonzero / weights.
    pattern : str
        ``"complementary, sets of N"`` if the packer finds it so, and what `dovetail.sw.patterns.pattern` names.
    empty_kernels, unused_positions, duplicates : int
        Kernels without a weight, positions without one, and kernels that equal one before them, bias included.
    weight_bits : int or None
        Of the integer weights, where the file states them.
    activation : str
        What clips and quantisers make of the output: ``"ReLU"``, ``"2-bit"``, or ``"none"``.
    winners : int or None
        K of the k-WTA behind the layer.
    set_size, sets : int
        N and S, as the packer chose them.
    rows : int
        Of one vector with every position active.
    rows_lower_bound : int
        Rows that no packing into as many banks could go below.
    fill : float
        Part of the slots of all rows that hold a non-zero.
    complementary : bool
        No position takes more than one row.
    gain : Gain
    """

    name: str
    op: str
    kernels: int
    positions: int
    vectors: int
    weights: int
    nonzero: int
    density: float
    pattern: str
    empty_kernels: int
    unused_positions: int
    duplicates: int
    weight_bits: int | None
    activation: str
    winners: int | None
    set_size: int
    sets: int
    rows: int
    rows_lower_bound: int
    fill: float
    complementary: bool
    gain: Gain


def inspect_model(model: FloatModel) -> list[LayerFacts]:
    """Pack every layer on its own and report.

    Parameters
    ----------
    model : FloatModel

    Returns
    -------
    list of LayerFacts
        In the order of the layers.
    """
    return [_facts(layer) for layer in model.layers]


def find_problems(model: FloatModel) -> list[str]:
    """What keeps a model that could be read from being built, one line each.

    A model that states its integers is tried: where it does not say how its input is quantised, with bytes over 255.

    Parameters
    ----------
    model : FloatModel

    Returns
    -------
    list of str
        Empty where nothing does.
    """
    found = []
    for before, layer in pairwise(model.layers):
        window = layer.window
        if window is not None and (window.channels, window.height, window.width) != before.output_shape:
            left = " x ".join(map(str, before.output_shape))
            found.append(f"node {layer.name!r} ({layer.op}): sees an image of {window.channels} x {window.height} x "
                         f"{window.width} where node {before.name!r} leaves {left}; there is no hardware that reshapes "
                         "it")
    if model.quantised:
        extremes = np.repeat(np.array([[0], [255]]), model.layers[0].inputs, axis=1)
        try:
            exact_network(model, calibration=extremes, input_scale=1 / 255)
        except ModelError as error:
            found.append(str(error))
    return found


def _facts(layer: FloatLayer) -> LayerFacts:
    mask = layer.mask
    packing = pack(mask)
    rows = np.column_stack([layer.weights, layer.bias])
    return LayerFacts(
        name=layer.name, op=_OPS.get(layer.op, layer.op), kernels=layer.kernels, positions=layer.positions,
        vectors=1 if layer.window is None else math.prod(layer.window.output_size), weights=mask.size,
        nonzero=packing.nonzero, density=packing.nonzero / mask.size, pattern=_pattern(mask, packing),
        empty_kernels=int((~mask.any(axis=1)).sum()), unused_positions=int((~mask.any(axis=0)).sum()),
        duplicates=layer.kernels - len({row.tobytes() for row in rows + 0.0}),  # -0.0 becomes 0.0
        weight_bits=None if layer.codes is None else _weight_bits(layer.codes),
        activation=", ".join(dict.fromkeys(filter(None, map(_activation, layer.steps)))) or "none",
        winners=layer.winners, set_size=packing.set_size, sets=packing.sets, rows=int(packing.rows.sum()),
        rows_lower_bound=packing.rows_lower_bound, fill=packing.fill, complementary=packing.complementary,
        gain=_gain(mask, packing))


def _weight_bits(codes: np.ndarray) -> int:
    """Two's complement that holds all codes."""
    return range_bits(min(int(codes.min()), -1), int(codes.max()))[0]


def _activation(step: object) -> str | None:
    match step:
        case Clip(low=0, high=math.inf):
            return "ReLU"
        case Clip(low=low, high=high):
            return f"clip {low:g} to {high:g}"
        case Quantiser(rounding=Rounding.SIGN):
            return "sign"
        case Quantiser(low=low, high=high):
            return f"{(high - low).bit_length()}-bit"
    return None


def _set_size(mask: np.ndarray, packing: Packing) -> int | None:
    """Kernels with weights in the largest complementary set; None where sets hold one each, or conflict."""
    alive = np.append(mask.any(axis=1), False)      # -1 is an empty place
    sizes = alive[packing.members].sum(axis=2)
    if not packing.complementary or 2 * sizes.sum() < 3 * np.count_nonzero(sizes) or not sizes.any():
        return None
    return int(sizes.max())


def _pattern(mask: np.ndarray, packing: Packing) -> str:
    size, name = _set_size(mask, packing), pattern(mask)
    if size is None:
        return name
    complementary = f"complementary, sets of {size}"
    return complementary if name == "unstructured" else f"{complementary}; {name}"


def _gain(mask: np.ndarray, packing: Packing) -> Gain:
    used = int(np.count_nonzero(packing.column_counts))
    rows = int(packing.rows.sum())
    if not used or _set_size(mask, packing) is not None or packing.kernels == 1:
        text = "one row a position already: no other mask of this density needs fewer" if used else "no weight at all"
        return Gain(set_size=packing.set_size, banks=packing.sets, rows=rows, rows_complementary=used, text=text)
    density = packing.nonzero / mask.size
    dense = density > 0.5
    banks = math.ceil(packing.kernels / (_PRUNED if dense else mask.size // packing.nonzero))
    size = math.ceil(packing.kernels / banks)
    rows = int(pack(mask, banks=banks, set_size=size, depth_limit=max(size, 512)).rows.sum())
    share = f"1/{rows / used:.1f}".removesuffix(".0")
    if dense:
        text = f"pruned to 1/{size} (complementary, N = {size}) it would need {share} of the multiplications"
    elif rows <= 1.05 * used:
        text = f"at N = {size} within 5 % of one row a position: other masks of this density would gain no more"
    else:
        text = (f"at N = {size} this layer would need {share} of the rows, {used:,} instead of {rows:,} on {banks:,} "
                f"multipliers, were its masks trained complementary at this density")
    return Gain(set_size=size, banks=banks, rows=rows, rows_complementary=used, text=text)
