"""``manifest.json``: what a build folder holds, for programs."""

from dataclasses import asdict
from typing import Any

import numpy as np

from ..hw.arch import EngineKind
from ..hw.memory_map import MappedMemory
from ..sim import golden
from ..sim.cycles import layer_cycles, network_cycles
from ..sim.time_shares import time_shares
from ..sw.model import FloatModel
from ..sw.plan import Plan
from ..sw.records import to_plain

__all__ = ["SCHEMA", "describe"]

#: Version of the folder's layout; a reader takes exactly this one.
SCHEMA = "dovetail-build/5"


def describe(
    plan: Plan, model: FloatModel, codes: np.ndarray, memories: tuple[MappedMemory, ...], intake: dict[str, Any] | None,
) -> dict[str, Any]:
    """The manifest, without the digests of the files and its own.

    Parameters
    ----------
    plan : Plan
    model : FloatModel
        What the plan's network was quantised from.
    codes : int (n, L)
        Inputs that the predicted cycles are for.
    memories : tuple of MappedMemory
    intake : dict or None
        See `boards.build_folder.write_build`.

    Returns
    -------
    dict
        JSON values.
    """
    network, arch = plan.network, plan.arch
    results = golden.run(network, codes)
    predicted = network_cycles(plan, results)
    layers = []
    for planned, result in zip(plan.layers, results, strict=True):
        layer, packing = planned.layer, planned.packing
        alone = layer_cycles(planned, result)
        layers.append({
            "name": layer.name, "mode": planned.arch.mode.value, "kernels": layer.kernels, "positions": layer.positions,
            "vectors": layer.vectors, "winners": layer.winners, "requantisation": layer.exactness.value,
            "engine": (EngineKind.FOLDED if packing else EngineKind.UNROLLED).value,
            "packing": packing and {
                "set_size": packing.set_size, "sets": packing.sets, "banks": packing.banks, "folds": packing.folds,
                "rows": int(packing.rows.sum()), "rows_lower_bound": packing.rows_lower_bound, "fill": packing.fill},
            "predicted": {"cycles_per_inference": alone.cycles_per_inference, "multipliers": alone.multipliers,
                          "utilisation": alone.utilisation, "time": asdict(time_shares(planned, result, alone))},
        })
    return {
        "schema": SCHEMA,
        "model": {"name": network.name, "sha256": network.sha256, "input_shape": list(network.input_shape),
                  "head": None if model.head is None else model.head.value},
        "intake": intake,
        "arch": to_plain(arch),
        "layers": layers,
        "predicted_cycles_per_inference": predicted.per_inference,
        "memory_bits": sum(memory.width * memory.depth for memory in memories),
        "interface": _interface(plan),
    }


def _interface(plan: Plan) -> dict[str, Any]:
    """Ports of ``network.v``, and what passes them."""
    network, arch = plan.network, plan.arch
    layer, last = plan.layers[-1].layer, arch.layers[-1]
    found: dict[str, Any] = {
        "module": "network", "clock": "clk", "reset": "rst (synchronous, active high)",
        "input": {
            "port": "i", "codes_per_word": arch.input_width, "bits": network.input_bits,
            "signed": network.input_signed, "low": network.input_range[0], "high": network.input_range[1],
            "scale": network.input_scale, "origin": network.input_origin,
            "codes_per_frame": arch.input_codes, "order": _order(arch.layers[0].window is not None),
            "payload": "codes_per_word codes, the first in the low bits; above them `last`",
        },
        "output": {
            "port": "o", "elements_per_word": last.select.width, "bits": last.select.value_bits,
            "signed": last.select.value_signed, "elements_per_frame": layer.kernels * last.pixels,
            "order": _order(last.pixels > 1),
            "scale": np.asarray(layer.output_scale).tolist(), "offset": np.asarray(layer.output_offset).tolist(),
            "payload": "elements_per_word elements, the first in the low bits; above them one `keep` bit each, "
                       "then `last`",
        },
    }
    if arch.loadable:
        found["load"] = {
            "port": "load", "bits": 64,
            "payload": "memory number (16 bits), then row (16), then data (32), from the low bits; see images/map.json",
        }
    return found


def _order(image: bool) -> str:
    """In which order the elements of a frame pass the border."""
    return "pixel by pixel: row, column, channel; every word holds elements of one pixel" if image else "the model's"
