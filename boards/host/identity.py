"""What a board says it is, and what a host therefore knows about it: the design, and its contents."""

import hashlib
import json
from collections.abc import Sequence

from ...hw.arch import LayerImages, NetworkArch, UnrolledImages
from ...hw.link.arch import LinkArch
from ...hw.link.contents import contents_crc
from ...hw.memory_map import memory_map
from ...sw.plan import Plan
from ...sw.records import to_plain
from ..manifest import SCHEMA

__all__ = ["design_id", "link_arch"]

#: What a layer is called, and what its packing is called in a report: labels, of which no hardware is made.
_LABELS = ("name", "mode")


def design_id(arch: NetworkArch, images: Sequence[LayerImages]) -> int:
    """What hardware a network is, whatever its memories hold: the first 8 octets of a SHA-256, low octet first.

    Two designs are the same where every LOAD that one takes makes the other the same network: all that the
    architecture says, and the adders of unrolled layers, whose weights are in no memory. What an architecture means
    may change from version to version, so that of the build folder is part of it.
    """
    layers = []
    for layer, contents in zip(arch.layers, images, strict=True):
        plain = to_plain(layer)
        graph = contents.engine.graph if isinstance(contents.engine, UnrolledImages) else None
        layers.append({key: value for key, value in plain.items() if key not in _LABELS} | {"graph": to_plain(graph)})
    text = json.dumps([SCHEMA, arch.input_width, arch.loadable, layers], sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def link_arch(plan: Plan, *, clock_hz: int, baud: int) -> LinkArch:
    """The host link of a network.

    Parameters
    ----------
    plan : Plan
    clock_hz : int
        Of the network and the link.
    baud : int
        Bits per second on the line.

    Raises
    ------
    ValueError
        As `LinkArch`.
    DovetailError
        If the memories are too large to be loaded.
    """
    return LinkArch(clock_hz=clock_hz, baud=baud, design=design_id(plan.arch, plan.images),
                    contents=contents_crc(memory_map(plan.arch, plan.images)))
