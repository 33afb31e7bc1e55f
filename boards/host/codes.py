"""Codes and elements as the octets that INFER and RESULT carry; free of Amaranth."""

from dataclasses import dataclass

import numpy as np

from ...hw.arch import NetworkArch, ceil_div

__all__ = ["Format", "input_format", "output_format"]


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a vector goes over the line: in the order of the stream, each code in the fewest octets that hold it.

    Members
    -------
    count : int
        Codes of a vector.
    bits : int
    signed : bool
    pixels : int
        Of an image, which goes pixel by pixel; 1 where the stream has the model's order.
    """

    count: int
    bits: int
    signed: bool
    pixels: int

    @property
    def octets(self) -> int:
        """Of one code."""
        return ceil_div(self.bits, 8)

    @property
    def body(self) -> int:
        """Octets of a vector."""
        return self.count * self.octets

    @property
    def range(self) -> tuple[int, int]:
        """The least and the greatest code."""
        return (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if self.signed else (0, (1 << self.bits) - 1)

    def pack(self, codes: np.ndarray) -> list[bytes]:
        """Bodies of codes (n, count) in the model's order. Three octets a code: -2 is ``FE FF FF``."""
        stream = codes.reshape(len(codes), self.count // self.pixels, self.pixels).transpose(0, 2, 1)
        octets = np.ascontiguousarray(stream, "<i8").view(np.uint8).reshape(len(codes), self.count, 8)
        return [row.tobytes() for row in octets[:, :, :self.octets]]

    def unpack(self, bodies: list[bytes]) -> np.ndarray:
        """Codes int64 (n, count) in the model's order: the inverse of `pack`."""
        parts = np.frombuffer(b"".join(bodies), np.uint8).reshape(len(bodies), self.count, self.octets)
        octets = np.zeros((len(bodies), self.count, 8), np.uint8)
        octets[:, :, :self.octets] = parts
        if self.signed:
            octets[:, :, self.octets:] = np.where(parts[:, :, -1:] >= 0x80, 0xff, 0)
        stream = octets.view("<i8").astype(np.int64).reshape(
            len(bodies), self.pixels, self.count // self.pixels)
        return stream.transpose(0, 2, 1).reshape(len(bodies), self.count)


def input_format(arch: NetworkArch) -> Format:
    """Of the codes that a network takes."""
    first = arch.layers[0].engine
    return Format(count=arch.input_codes, bits=first.activation_bits, signed=first.activation_signed,
                  pixels=arch.input_pixels)


def output_format(arch: NetworkArch) -> Format:
    """Of the elements of a network's result."""
    last = arch.layers[-1]
    return Format(count=last.select.kernels * last.pixels, bits=last.select.value_bits,
                  signed=last.select.value_signed, pixels=last.pixels)
