"""What the files for integrators state of a network, each fact once."""

import re
from dataclasses import dataclass

import numpy as np

from ...hw.arch import ceil_div
from ...hw.errors import DovetailError
from ...hw.layouts import activation_shape
from ...hw.link.contents import load_messages
from ...hw.memory_map import MappedMemory
from ...hw.network import result_shape
from ...sw.plan import Plan

__all__ = ["Border", "Facts", "facts_of"]


@dataclass(frozen=True, kw_only=True)
class Border:
    """One of the network's two streams: frames of codes going in, or of elements coming out.

    Members
    -------
    bits, signed : int, bool
        Of an element.
    width : int
        Elements a word.
    pixels, channels : int
        Elements of a frame: ``pixels * channels``. Each pixel has words of its own. A vector is one pixel.
    """

    bits: int
    signed: bool
    width: int
    pixels: int
    channels: int

    @property
    def elements(self) -> int:
        """Elements of a frame."""
        return self.pixels * self.channels

    @property
    def octets(self) -> int:
        """Octets of an element on AXI4-Stream and on the host link: the fewest that hold its bits."""
        return ceil_div(self.bits, 8)

    @property
    def words(self) -> int:
        """Words of a frame."""
        return self.pixels * ceil_div(self.channels, self.width)

    @property
    def c_type(self) -> str:
        """The narrowest type of C99 that holds an element."""
        bits = next(bits for bits in (8, 16, 32, 64) if self.bits <= bits)
        return f"{'' if self.signed else 'u'}int{bits}_t"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A network as its integrator sees it.

    Members
    -------
    name : str
        The model's, with nothing in it but letters, digits and ``_``.
    given, result : Border
    low, high : int
        The least and the greatest code that the model's input can be.
    scale, origin : float
        Of a code: real value = code x scale + origin.
    scales, offsets : tuple of float
        Of an element, by channel: real value = element x scale + offset.
    loadable : bool
    memories : tuple of (str, MappedMemory)
        With the names of their files in ``images`` without the ending; none where the network is not loadable.
    sendable : bool
        The memories' contents can be sent through the host link, whose numbers have 16 bits.
    """

    name: str
    given: Border
    result: Border
    low: int
    high: int
    scale: float
    origin: float
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    loadable: bool
    memories: tuple[tuple[str, MappedMemory], ...]
    sendable: bool

    @property
    def empty(self) -> list[tuple[str, MappedMemory]]:
        """Memories that have to be loaded before the first frame."""
        return [(name, memory) for name, memory in self.memories if memory.empty]


def facts_of(plan: Plan, memories: dict[str, MappedMemory]) -> Facts:
    """State a plan's facts.

    Parameters
    ----------
    plan : Plan
    memories : dict of MappedMemory
        All of the network's, in their order, by the names of their files.
    """
    network, arch = plan.network, plan.arch
    first, last, layer = arch.layers[0], arch.layers[-1], plan.layers[-1].layer
    code, element = activation_shape(first.engine), result_shape(arch)
    name = re.sub(r"[^A-Za-z0-9_]+", "_", network.name).strip("_")
    return Facts(
        name=name if name[:1].isalpha() else f"network_{name}".rstrip("_"),
        given=Border(bits=code.width, signed=code.signed, width=arch.input_width, pixels=first.arrivals,
                     channels=first.elements),
        result=Border(bits=element.width, signed=element.signed, width=last.select.width, pixels=last.pixels,
                      channels=layer.kernels),
        low=network.input_range[0], high=network.input_range[1], scale=network.input_scale, origin=network.input_origin,
        scales=_of_channels(layer.output_scale, layer.kernels),
        offsets=_of_channels(layer.output_offset, layer.kernels),
        loadable=arch.loadable, memories=tuple(memories.items()) if arch.loadable else (),
        sendable=arch.loadable and _sendable(memories))


def _of_channels(value: float | np.ndarray, kernels: int) -> tuple[float, ...]:
    return tuple(np.broadcast_to(np.asarray(value, np.float64), kernels).tolist())


def _sendable(memories: dict[str, MappedMemory]) -> bool:
    try:
        load_messages(list(memories.values()))
    except DovetailError:
        return False
    return True
