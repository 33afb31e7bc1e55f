"""Every memory that holds part of a compiled network: where it is, and what is in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import engine, requantise, select, unrolled_engine
from .arch import (
    EngineArch,
    EngineImages,
    LayerArch,
    LayerImages,
    MemoryKind,
    NetworkArch,
    UnrolledArch,
    UnrolledImages,
    bits_for,
    ceil_div,
)

__all__ = ["MappedMemory", "load_words", "memory_map", "stage_prefix"]


@dataclass(frozen=True, kw_only=True)
class MappedMemory:
    """One memory.

    Members
    -------
    layer, name : str
    width, depth : int
        Bits of a row, rows.
    first : int
        Number of its first chunk on the load stream. Bits ``32 * c`` to ``32 * c + 31`` of a row are chunk
        ``first + c``.
    rows : tuple[int, ...]
        Contents; rows beyond them are zero.
    empty : bool
        It holds nothing until it is loaded.
    """

    layer: str
    name: str
    width: int
    depth: int
    first: int
    rows: tuple[int, ...]
    empty: bool = False

    @property
    def chunks(self) -> int:
        return ceil_div(self.width, 32)


def stage_prefix(number: int) -> str:
    """What the names of a layer's memories begin with that belong to its requantisation's stage ``number``."""
    return f"stage{number}_"


def _layer_memories(layer: LayerArch, images: LayerImages) -> list[tuple[str, int, int, tuple[int, ...]]]:
    match layer.engine, images.engine:
        case EngineArch() as arch, EngineImages() as contents:
            found = engine.memories(arch, contents)
        case UnrolledArch() as arch, UnrolledImages() as contents:
            found = unrolled_engine.memories(arch, contents)
        case _:
            raise TypeError(f"images must be those of an {type(layer.engine).__name__}, not {images.engine!r}")
    for number, (stage, contents, value) in enumerate(zip(layer.stages, images.stages, layer.stage_formats,
                                                          strict=True)):
        found += [(stage_prefix(number) + name, width, depth, rows) for name, width, depth, rows in requantise.memories(
            stage, contents, width=layer.engine.drain_width, value=value, beats=layer.engine.beats)]
    rank_bits = bits_for(layer.select.width)
    ranks = tuple(sum(port << place * rank_bits for place, port in enumerate(word)) for word in images.select.ranks)
    rows_of = {f"order{port}": rows for port, rows in enumerate(images.select.order)} | {"ranks": ranks}
    return found + [(name, width, depth, rows_of[name]) for name, width, depth in select.memories(layer.select)]


def memory_map(arch: NetworkArch, images: Sequence[LayerImages]) -> tuple[MappedMemory, ...]:
    """All memories of a network, numbered for the load stream in this order."""
    found = []
    first = 0
    for layer, contents in zip(arch.layers, images, strict=True):
        for name, width, depth, rows in _layer_memories(layer, contents):
            empty = (name.startswith("weights") and isinstance(layer.engine, EngineArch)
                     and layer.engine.weight_memory is MemoryKind.SPRAM)
            found.append(MappedMemory(
                layer=layer.name, name=name, width=width, depth=depth, first=first, rows=rows, empty=empty))
            first += found[-1].chunks
    return tuple(found)


def load_words(memories: Sequence[MappedMemory]) -> list[dict[str, int]]:
    """What to send on the load stream to write every row of ``memories``."""
    return [
        {"memory": memory.first + chunk, "row": number, "data": row >> 32 * chunk & 0xffff_ffff}
        for memory in memories
        for number, row in enumerate(memory.rows + (0,) * (memory.depth - len(memory.rows)))
        for chunk in range(memory.chunks)
    ]
