"""``images/``: the contents of every memory, and ``map.json``, which says what their bits mean."""

import json
from pathlib import Path
from typing import Any

from ..hw.arch import EngineArch, LayerArch, ScaleArch, bits_for, ceil_div
from ..hw.memory_map import MappedMemory, stage_prefix
from ..sw.plan import Plan

__all__ = ["image_name", "write_images"]


def image_name(number: int, memory: MappedMemory) -> str:
    """Name of a memory's files, without the ending."""
    return f"{number:03d}_{memory.name}"


def write_images(folder: Path, plan: Plan, memories: tuple[MappedMemory, ...]) -> None:
    """One ``.hex`` and one ``.bin`` file a memory, and ``map.json`` that explains their bits."""
    folder.mkdir()
    described = []
    arches = {layer.name: layer for layer in plan.arch.layers}
    for number, memory in enumerate(memories):
        name = image_name(number, memory)
        digits, octets = ceil_div(memory.width, 4), ceil_div(memory.width, 8)
        (folder / f"{name}.hex").write_text("".join(f"{row:0{digits}x}\n" for row in memory.rows))
        (folder / f"{name}.bin").write_bytes(b"".join(row.to_bytes(octets, "little") for row in memory.rows))
        described.append({
            "file": name, "layer": memory.layer, "memory": memory.name, "width": memory.width, "depth": memory.depth,
            "load_number": memory.first, "load_chunks": memory.chunks, "initialised": not memory.empty,
            "fields": _fields(memory, arches[memory.layer]),
        })
    text = {"hex": "one row a line", "bin": "one row in ceil(width / 8) bytes, low byte first", "memories": described}
    (folder / "map.json").write_text(json.dumps(text, indent=1, sort_keys=True) + "\n")


def _fields(memory: MappedMemory, arch: LayerArch) -> list[dict[str, Any]]:
    engine, select = arch.engine, arch.select
    kind = memory.name.rstrip("0123456789")
    if kind == "weights" and isinstance(engine, EngineArch):
        found = []
        for bank in range(engine.banks):
            low = bank * engine.slot_bits
            found += [
                {"bank": bank, "field": "weight", "low": low, "bits": engine.weight_bits, "signed": True},
                {"bank": bank, "field": "kid", "low": low + engine.weight_bits, "bits": engine.kid_bits,
                 "signed": False},
            ]
        return found
    rank_bits = bits_for(select.width)
    parts: dict[str, list[tuple[str, int, bool]]] = {
        "biases": [("bias", memory.width, True)],
        "order": [("word", bits_for(select.words), False), ("valid", 1, False)],
        "ranks": [(f"port_of_element{element}", rank_bits, False) for element in range(select.width)],
    }
    if isinstance(engine, EngineArch):
        parts["rows"] = [("row", bits_for(engine.lane_rows), False), ("rows", bits_for(engine.most_rows + 1), False)]
    for number, (stage, (value_bits, value_signed)) in enumerate(zip(arch.stages, arch.stage_formats, strict=True)):
        prefix = stage_prefix(number)
        if isinstance(stage, ScaleArch):
            parts[f"{prefix}multipliers"] = [("multiplier", memory.width, stage.multiplier_signed)]
            parts[f"{prefix}offsets"] = [("offset", memory.width, True)]
        else:
            parts[f"{prefix}thresholds"] = [
                (f"threshold{place}", value_bits + 1, value_signed) for place in range(stage.count)]
    found, low = [], 0
    for field, bits, signed in parts[kind]:
        found.append({"field": field, "low": low, "bits": bits, "signed": signed})
        low += bits
    return found
