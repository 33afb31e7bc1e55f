"""Payloads of the streams inside the host link, each defined once."""

from amaranth.hdl import unsigned
from amaranth.lib import data, enum

from ..arch import bits_for
from .messages import Reply

__all__ = ["Part", "answer_layout", "body_layout", "line_layout", "loaded_layout", "part_layout", "request_layout"]


class Part(enum.Enum, shape=2):
    """What a deframer tells of the line: one more octet of a frame, or how the frame ended."""

    OCTET = 0
    GOOD = 1
    BAD = 2


#: What a receiver makes of ten bits: an octet or, where its stop bit is wrong or one before it was lost, an error.
line_layout = data.StructLayout({"octet": unsigned(8), "error": unsigned(1)})

#: Parts of frames, ``octet`` of meaning with `Part.OCTET` only.
part_layout = data.StructLayout({"part": Part, "octet": unsigned(8)})

#: Octets of a message or of its body; ``last`` ends it.
body_layout = data.StructLayout({"octet": unsigned(8), "last": unsigned(1)})

#: The body of a LOAD or, with ``seal``, of a SEAL.
loaded_layout = data.StructLayout({"octet": unsigned(8), "last": unsigned(1), "seal": unsigned(1)})

#: What is to be answered: ``reason`` is of meaning with `Reply.REFUSED` only.
answer_layout = data.StructLayout({"reply": Reply, "reason": unsigned(3)})


def request_layout(depth: int) -> data.StructLayout:
    """Octets of a message out of a memory of ``depth``; ``left`` are those still to come, with this one.

    So ``left`` is the message's length beside its first octet, and 1 beside its last.
    """
    return data.StructLayout({"octet": unsigned(8), "left": unsigned(bits_for(depth + 1))})
