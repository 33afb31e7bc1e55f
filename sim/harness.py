# amaranth: UnusedElaboratable=no
# (a harness tells the ports of a design that is then not simulated)
"""The component that a simulator really runs: a design with plain ports, and with streams inside it made visible."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from amaranth.hdl import Elaboratable, Fragment, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .payload import width_of

__all__ = ["Harness", "Port", "Role"]


class Role(Enum):
    """What a simulation does with a stream."""

    SOURCE = "source"  # drives it: an input of the design
    SINK = "sink"  # takes from it: an output
    PROBE = "probe"  # only watches it: a stream inside


@dataclass(frozen=True, kw_only=True)
class Port:
    """A stream of the harness.

    Attributes
    ----------
    name : str
        What the caller says: a port of the design, or the path of a probe.
    prefix : str
        Its ports on the harness are ``{prefix}__payload``, ``{prefix}__valid``, ``{prefix}__ready``.
    shape : shape-like
        Of the payload.
    role : Role
    steady : bool
        The stream has no `valid` (a source) or no `ready` (a sink), and cannot be stalled.
    """

    name: str
    prefix: str
    shape: Any
    role: Role
    steady: bool

    @property
    def width(self) -> int:
        """Bits of the payload."""
        return width_of(self.shape)


class _Elaborated(Elaboratable):
    """A fragment where a submodule is wanted."""

    def __init__(self, fragment: Fragment):
        self._fragment = fragment

    def elaborate(self, platform):
        return self._fragment


def _stream(value: Any) -> stream.Interface | None:
    """A stream as such, whichever way round a component holds it."""
    if isinstance(value, wiring.FlippedInterface):
        value = wiring.flipped(value)
    return value if isinstance(value, stream.Interface) else None


def _find(fragment: Any, path: str) -> stream.Interface:
    """The stream at `path`, names of submodules and a port: ``layer0.engine.o``."""
    *names, port = path.split(".")
    for depth, name in enumerate(names):
        children = {str(child[1]): child[0] for child in fragment.subfragments}
        if name not in children:
            place = ".".join(names[:depth]) or "the design"
            raise ValueError(f"Probe {path!r} must name a submodule of {place}: {sorted(children)!r}, not {name!r}")
        fragment = children[name]
    for origin in fragment.origins or ():
        found = _stream(getattr(origin, port, None))
        if found is not None:
            return found
    raise ValueError(f"Probe {path!r} must end in the name of a stream, not {port!r}")


class Harness(wiring.Component):
    """A design, every stream of which has payload, valid and ready; made by `around`, good for one elaboration.

    The extra output `alive` is a register, so that clock and reset are ports even of a combinational design.

    Attributes
    ----------
    ports : tuple of Port
        Sources, then sinks, then probes.
    """

    alive: Signal

    def __init__(self, fragment: Fragment, streams: Sequence[tuple[Port, stream.Interface]]):
        self._fragment = fragment
        self._streams = tuple(streams)
        self.ports = tuple(port for port, _ in streams)
        members = {"alive": Out(1)}
        for port in self.ports:
            forward = In if port.role is Role.SOURCE else Out
            members[f"{port.prefix}__payload"] = forward(port.width)
            members[f"{port.prefix}__valid"] = forward(1)
            members[f"{port.prefix}__ready"] = In(1) if port.role is Role.SINK else Out(1)
        super().__init__(members)

    @classmethod
    def around(cls, dut: wiring.Component, *, probes: Sequence[str] = ()) -> "Harness":
        """Make one.

        Parameters
        ----------
        dut : wiring.Component
            All its inputs must be streams; outputs that are not are ignored.
        probes : sequence of str
            Paths of streams inside.

        Raises
        ------
        TypeError
            If `dut` is no component, or an input of it is not a stream.
        ValueError
            If a probe does not exist, or a payload has no bits.
        """
        if not isinstance(dut, wiring.Component):
            raise TypeError(f"Design must be a wiring.Component, not {dut!r}")
        fragment = Fragment.get(dut, None)
        found: list[tuple[str, str, Role, stream.Interface]] = []
        for name, member in dut.signature.members.items():
            interface = _stream(getattr(dut, name))
            if interface is not None:
                found.append((name, name, Role.SOURCE if member.flow == In else Role.SINK, interface))
            elif not member.is_port or member.flow == In:
                raise TypeError(f"Inputs must be streams, not {name!r}: {member!r}")
        found.sort(key=lambda item: item[2] is Role.SINK)
        for k, path in enumerate(probes):
            found.append((path, f"probe{k}", Role.PROBE, _find(fragment, path)))
        streams = []
        for name, prefix, role, interface in found:
            shape = interface.signature.members["payload"].shape
            if width_of(shape) == 0:
                raise ValueError(f"Payload of {name!r} must have at least one bit")
            steady = not isinstance(interface.valid if role is Role.SOURCE else interface.ready, Signal)
            streams.append((Port(name=name, prefix=prefix, shape=shape, role=role, steady=steady), interface))
        return cls(fragment, streams)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = _Elaborated(self._fragment)
        m.d.sync += self.alive.eq(1)
        for port, interface in self._streams:
            payload, valid, ready = (getattr(self, f"{port.prefix}__{end}") for end in ("payload", "valid", "ready"))
            inner = Value.cast(interface.payload)
            m.d.comb += inner.eq(payload) if port.role is Role.SOURCE else payload.eq(inner)
            pairs = [(interface.valid, valid, Role.SOURCE), (interface.ready, ready, Role.SINK)]
            for inside, outside, driver in pairs:
                if port.role is not driver:
                    m.d.comb += outside.eq(inside)
                elif isinstance(inside, Signal):
                    m.d.comb += inside.eq(outside)
        return m
