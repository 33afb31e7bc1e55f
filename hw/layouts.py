"""Payloads of the streams between units, each defined once."""

from amaranth.hdl import Shape, ShapeLike, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .arch import EngineArch, SelectArch, UnrolledArch, WindowArch, bits_for

__all__ = [
    "Token", "activation_shape", "arrival_layout", "beat_layout", "engine_layout", "frame_layout", "item_layout",
    "load_layout", "place_layout", "tap_layout", "threshold_layout", "vector_layout", "window_layout",
]

#: A token per frame that its giver can take whole. ``valid`` and ``ready`` as in a stream, without a payload.
Token = wiring.Signature({"valid": Out(1), "ready": In(1)})


def activation_shape(arch: EngineArch | UnrolledArch) -> Shape:
    """An input code of an engine."""
    return Shape(arch.activation_bits, signed=arch.activation_signed)


def beat_layout(*, lanes: int, address_bits: int, value: ShapeLike) -> data.StructLayout:
    """Selected elements on their way to an engine's lanes.

    Lane ``p`` takes the pair (position ``address * lanes + p``, ``values[p]``) where ``mask[p]`` is set. ``last`` ends
    the vector; the last beat may carry no pair.
    """
    return data.StructLayout({
        "address": unsigned(address_bits), "values": data.ArrayLayout(value, lanes), "mask": unsigned(lanes),
        "last": unsigned(1),
    })


def engine_layout(arch: EngineArch) -> data.StructLayout:
    """What an engine takes: beats with one address, or windows with an address a lane."""
    layout = window_layout if arch.own_addresses else beat_layout
    return layout(lanes=arch.lanes, address_bits=bits_for(arch.lane_positions), value=activation_shape(arch))


def item_layout(arch: EngineArch) -> data.StructLayout:
    """One pair on its way to a lane's multipliers.

    ``index`` is ``fold * lane_positions + local address``; ``fold_end`` marks the last pair of a fold, ``vector_end``
    that of the last fold. A vector without pairs is one ``empty`` item a fold: its value is zero, its index any that
    exists.
    """
    return data.StructLayout({
        "index": unsigned(arch.index_bits), "value": activation_shape(arch), "empty": unsigned(1),
        "fold_end": unsigned(1), "vector_end": unsigned(1),
    })


def vector_layout(*, width: int, value: ShapeLike) -> data.StructLayout:
    """Elements of a finished vector in drain order, ``width`` a beat; ``last`` ends the vector."""
    return data.StructLayout({"values": data.ArrayLayout(value, width), "last": unsigned(1)})


def arrival_layout(*, width: int, value: ShapeLike) -> data.StructLayout:
    """Elements of a vector on their way to a threshold finder, in any order; only those in ``mask`` exist."""
    return data.StructLayout({"values": data.ArrayLayout(value, width), "mask": unsigned(width), "last": unsigned(1)})


def threshold_layout(arch: SelectArch) -> data.StructLayout:
    """What decides a k-WTA: codes above ``threshold`` win, and the first ``ties`` of those equal to it."""
    return data.StructLayout({"threshold": unsigned(arch.value_bits), "ties": unsigned(bits_for(arch.winners + 1))})


def frame_layout(*, width: int, value: ShapeLike, keep: bool) -> data.StructLayout:
    """Elements in the model's order at the network's border; ``keep`` marks those of the last beat that exist."""
    members: dict[str, ShapeLike] = {"data": data.ArrayLayout(value, width)}
    if keep:
        members["keep"] = unsigned(width)
    return data.StructLayout({**members, "last": unsigned(1)})


#: One write into one loadable memory: 32 bits (or fewer) of row ``row`` of memory number ``memory``.
load_layout = data.StructLayout({"memory": unsigned(16), "row": unsigned(16), "data": unsigned(32)})


def window_layout(*, lanes: int, address_bits: int, value: ShapeLike) -> data.StructLayout:
    """Elements of a window on their way to an engine's lanes, each lane with an address of its own.

    Lane ``p`` takes the pair (local address ``addresses[p]``, ``values[p]``) where ``mask[p]`` is set. ``last`` ends
    the window; any beat may carry no pair.
    """
    return data.StructLayout({
        "addresses": data.ArrayLayout(unsigned(address_bits), lanes), "values": data.ArrayLayout(value, lanes),
        "mask": unsigned(lanes), "last": unsigned(1),
    })


def place_layout(arch: WindowArch) -> data.StructLayout:
    """Where the pixels of one group of taps are: one pixel in each bank.

    Bank (y, x) reads address ``pixels[below_y[y]][below_x[x]]``.
    """
    rows, columns = arch.bank_grid
    return data.StructLayout({
        "pixels": data.ArrayLayout(data.ArrayLayout(unsigned(bits_for(arch.bank_pixels)), 2), 2),
        "below_y": unsigned(rows), "below_x": unsigned(columns),
    })


def tap_layout(arch: WindowArch) -> data.StructLayout:
    """A group of taps that is to be read.

    ``turn_y`` and ``turn_x`` are row and column of the bank that holds the first tap; ``inside`` marks the banks whose
    tap is within the image (bit ``y * columns + x``); ``base`` is the group's first local address. ``last`` ends a
    window; ``release`` rows of the buffer are not needed once the group is read.
    """
    rows, columns = arch.bank_grid
    return data.StructLayout({
        "place": place_layout(arch), "turn_y": unsigned(bits_for(rows)), "turn_x": unsigned(bits_for(columns)),
        "inside": unsigned(arch.lanes), "base": unsigned(arch.address_bits), "last": unsigned(1),
        "release": unsigned(bits_for(arch.height + 1)),
    })
