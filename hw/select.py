"""Select: a finished vector comes in as the engine drains it and leaves as what the next layer has to see."""

from collections.abc import Mapping

from amaranth.hdl import Module, Shape
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .arch import MemoryKind, SelectArch, SelectImages, SelectKind
from .gearbox import Gearbox
from .histogram import Histogram
from .layouts import Token, beat_layout, load_layout, vector_layout
from .local_kwta import RadixSelect
from .store import Store, check_images, memories
from .turns import Turns
from .winners import NonZero, Winners

__all__ = ["Select", "memories"]


class Select(wiring.Component):
    """Brings a vector into the model's order and hands on the elements that ``arch.kind`` selects.

    ::

        i -> Store ---------------> nothing | NonZero | Winners -> Gearbox -> o
               |                                          ^
               +-> Histogram | RadixSelect -- threshold --+

    Where ``arch.turns`` is more than one, so many finders of thresholds take turns.

    =======  =====================================================================================================
    ALL      every element
    NONZERO  elements other than zero
    GLOBAL   exactly the ``winners`` largest; of equal ones those with the lower index; never a zero (threshold found by
    LOCAL    histogram or by radix select). With ``losers`` every element, the losers as zeros
    =======  =====================================================================================================

    Element ``i`` leaves as lane ``i % lanes`` of a beat with address ``i // lanes``; beats leave in the order of their
    addresses. Empty beats are not sent, but the last beat of a vector always is, and nothing follows it.

    One vector arrives while another is emitted, and as many more as there are ``arch.buffers`` wait in between. LOCAL
    also holds a token back until the threshold of the vector ``arch.turns`` before is found, or ``arch.early`` cycles
    less; GLOBAL counts one vector while it scans another, and holds it back for the one twice as many before.

    A word of the store takes ``max(1, beats it is sent as)`` cycles on ``o``, without gaps inside a vector. From a
    vector's last beat on ``i`` to its first possible beat on ``o`` are 5 (ALL), 6 (NONZERO), ``2 * value_bits + 6``
    (LOCAL) or ``2**value_bits / bins + 10`` (GLOBAL) cycles. `dovetail.sim.select_cycles` tells every cycle exactly.

    Parameters
    ----------
    arch : SelectArch
    images : SelectImages
        Contents of the memories.
    load_ids : Mapping[str, int] | None
        Number of each memory of :func:`memories` on the load stream; None for memories that cannot be written.
    tables : MemoryKind
        What the store and its orders are kept in.

    Members
    -------
    i : In(stream.Signature(vector_layout(...)))
        Exactly ``arch.beats`` beats per vector. Always ready: a vector may only be sent after a token was taken,
        ``max(1, arch.early - 1)`` cycles later at the earliest.
    credit : Out(Token)
        A token per vector that fits.
    o : Out(stream.Signature(beat_layout(...)))
    load : In(stream.Signature(load_layout)), only with ``load_ids``; always ready

    Raises
    ------
    ValueError
        If the images do not fit the architecture.
    """

    i: stream.Interface
    credit: stream.Interface
    o: stream.Interface
    load: stream.Interface

    def __init__(self, arch: SelectArch, images: SelectImages, load_ids: Mapping[str, int] | None = None,
                 tables: MemoryKind = MemoryKind.AUTO):
        check_images(arch, images)
        self._arch, self._images, self._load_ids, self._tables = arch, images, load_ids, tables
        value = Shape(arch.value_bits, signed=arch.value_signed)
        members = {
            "i": In(stream.Signature(vector_layout(width=arch.width, value=value))), "credit": Out(Token),
            "o": Out(stream.Signature(beat_layout(lanes=arch.lanes, address_bits=arch.address_bits, value=value))),
        }
        if load_ids is not None:
            members["load"] = In(stream.Signature(load_layout))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = Store(
            self._arch, self._images, load_ids=self._load_ids, tables=self._tables)
        m.submodules.gearbox = gearbox = Gearbox(self._arch)
        connect(m, flipped(self.i), store.i)
        connect(m, gearbox.o, flipped(self.o))
        if self._load_ids is not None:
            connect(m, flipped(self.load), store.load)
        match self._arch.kind:
            case SelectKind.ALL:
                connect(m, store=store.o, gearbox=gearbox.i)
            case SelectKind.NONZERO:
                m.submodules.nonzero = nonzero = NonZero(self._arch)
                connect(m, store=store.o, nonzero=nonzero.i)
                connect(m, nonzero=nonzero.o, gearbox=gearbox.i)
            case SelectKind.GLOBAL | SelectKind.LOCAL:
                finder = self._finder()
                m.submodules.finder, m.submodules.winners = finder, winners = finder, Winners(self._arch)
                connect(m, store=store.arrivals, finder=finder.i)
                connect(m, finder=finder.o, winners=winners.i_threshold)
                connect(m, store=store.o, winners=winners.i)
                connect(m, winners=winners.o, gearbox=gearbox.i)
        if self._arch.is_kwta:
            # A vector needs room in both.
            m.d.comb += [
                self.credit.valid.eq(store.credit.valid & finder.credit.valid),
                store.credit.ready.eq(self.credit.ready & finder.credit.valid),
                finder.credit.ready.eq(self.credit.ready & store.credit.valid),
            ]
        else:
            connect(m, store.credit, flipped(self.credit))
        return m

    def _finder(self) -> Histogram | RadixSelect | Turns:
        unit, turns = Histogram if self._arch.kind is SelectKind.GLOBAL else RadixSelect, self._arch.turns
        return unit(self._arch) if turns == 1 else Turns([unit(self._arch) for _ in range(turns)])
