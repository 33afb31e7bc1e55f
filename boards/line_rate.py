"""How many inferences a second a serial line lets through: the frames of ``docs/host.md`` for one of them."""

from dataclasses import dataclass
from typing import Any

__all__ = ["LineRate", "line_rate"]

_BITS_PER_OCTET = 10        # with start and stop bit
_AROUND_BODY = 9            # type, tag, CRC
_FLAG = 1                   # ends a frame, and begins the next
#: Share of octets that have to be escaped where all are equally frequent.
_TYPICAL_ESCAPES = 2 / 256


@dataclass(frozen=True, kw_only=True)
class LineRate:
    """A line, and a network behind it.

    Members
    -------
    request, reply : int
        Octets of the body of INFER and of RESULT.
    network : float
        Inferences per second that the network does alone.
    typical, worst : float
        Inferences per second over the line, where octets are escaped as often as in random data, and where all are.
        Frames go both ways at the same time, ``window`` calls being under way; a host that takes its time is not
        counted.
    """

    request: int
    reply: int
    network: float
    typical: float
    worst: float


def line_rate(interface: dict[str, Any], *, baud: int, clock_hz: float, cycles: float, latency: float,
              window: int) -> LineRate:
    """What a line lets through.

    Parameters
    ----------
    interface : dict
        Of the manifest.
    baud : int
    clock_hz : float
    cycles, latency : float
        From one result to the next, and from the first code of a frame to the end of its result.
    window : int
        Calls that the host has under way.
    """
    source, sink = interface["input"], interface["output"]
    request = source["codes_per_frame"] * -(-source["bits"] // 8)
    reply = sink["elements_per_frame"] * -(-sink["bits"] // 8)
    network = clock_hz / cycles

    def rate(escapes: float) -> float:
        sent, answered = ((_FLAG + (_AROUND_BODY + octets) * (1 + escapes)) * _BITS_PER_OCTET / baud
                          for octets in (request, reply))
        return min(network, 1 / max(sent, answered), window / (sent + latency / clock_hz + answered))

    return LineRate(request=request, reply=reply, network=network, typical=rate(_TYPICAL_ESCAPES), worst=rate(1))
