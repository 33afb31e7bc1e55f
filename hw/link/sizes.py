"""How many octets messages have; free of Amaranth."""

from ..arch import NetworkArch, ceil_div
from .messages import MOST_LOAD_WORDS

__all__ = ["CRC_OCTETS", "HEAD_OCTETS", "HELLO_OCTETS", "LOAD_HEAD_OCTETS", "code_octets", "infer_octets",
           "request_depth", "result_octets"]

#: Of a message: its type and its tag; and what follows it in a frame.
HEAD_OCTETS, CRC_OCTETS = 5, 4

#: Of a LOAD's body: number, memory and row; of a SEAL's; of the answer to HELLO.
LOAD_HEAD_OCTETS, SEAL_OCTETS, HELLO_OCTETS = 6, 4, 22


def code_octets(bits: int) -> int:
    """Octets that a number of so many bits takes."""
    return ceil_div(bits, 8)


def infer_octets(arch: NetworkArch) -> int:
    """Of the body of an INFER: one input frame."""
    return arch.input_codes * code_octets(arch.layers[0].engine.activation_bits)


def result_octets(arch: NetworkArch) -> int:
    """Of the body of a RESULT."""
    last = arch.layers[-1]
    return last.pixels * last.select.kernels * code_octets(last.select.value_bits)


def request_depth(arch: NetworkArch, *, window: int) -> int:
    """Octets of the memory for requests: a power of two from 64 on.

    A host may have ``window`` calls of any kind without an answer; each is stored with its CRC.
    """
    load = LOAD_HEAD_OCTETS + 4 * MOST_LOAD_WORDS if arch.loadable else 0
    body = max(infer_octets(arch), load, SEAL_OCTETS)
    return max(64, 1 << (window * (HEAD_OCTETS + body + CRC_OCTETS) - 1).bit_length())
