"""What a model is made of, and how well it packs."""

from dataclasses import dataclass

from .network import FloatModel
from .packer import pack

__all__ = ["LayerFacts", "inspect_model"]


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """What one layer is made of, and how well it packs alone.

    Members
    -------
    name : str
        Name of the ONNX node that multiplies.
    op : str
        ``"Linear"``.
    kernels, positions : int
        M and L, the lengths of the output and of the input.
    weights, nonzero : int
        M * L, and how many of them are not zero.
    density : float
        nonzero / weights.
    set_size, sets : int
        N and S, as the packer chose them.
    rows : int
        Of one inference with every position active.
    rows_lower_bound : int
        Rows that no packing into as many banks could go below.
    fill : float
        Part of the slots of all rows that hold a non-zero.
    complementary : bool
        No position takes more than one row.
    winners : int or None
        K of the k-WTA behind the layer.
    """

    name: str
    op: str
    kernels: int
    positions: int
    weights: int
    nonzero: int
    density: float
    set_size: int
    sets: int
    rows: int
    rows_lower_bound: int
    fill: float
    complementary: bool
    winners: int | None


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
    facts = []
    for layer in model.layers:
        packing = pack(layer.mask)
        facts.append(LayerFacts(
            name=layer.name, op="Linear", kernels=layer.kernels, positions=layer.positions, weights=layer.mask.size,
            nonzero=int(layer.mask.sum()), density=float(layer.mask.mean()), set_size=packing.set_size,
            sets=packing.sets, rows=int(packing.rows.sum()), rows_lower_bound=packing.rows_lower_bound,
            fill=packing.fill,
            complementary=packing.complementary, winners=layer.winners))
    return facts
