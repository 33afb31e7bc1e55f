"""What a design takes of a device, resource by resource, and by how much it does not fit."""

from dataclasses import dataclass

from .cells import cells_of
from .devices import DeviceRecord, Family
from .place import Placement
from .synth import Synthesis

__all__ = ["Use", "lacking", "uses"]

_TITLES = {"lut": "look-up tables", "ff": "flip-flops", "bram": "block RAMs", "dsp": "multipliers",
          "spram": "large memories"}

_LOGIC_CELL = "ICESTORM_LC"
# nextpnr's names of the resources that it counts.
_BELS = {
    Family.ECP5: {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"},
    Family.ICE40: {"lut": _LOGIC_CELL, "bram": "ICESTORM_RAM"},
    Family.ICE40_DSP: {"lut": _LOGIC_CELL, "bram": "ICESTORM_RAM", "dsp": "ICESTORM_DSP", "spram": "ICESTORM_SPRAM"},
}


@dataclass(frozen=True, kw_only=True)
class Use:
    """One resource.

    Members
    -------
    counts : str
        What it is a number of, as people say it. An iCE40's ``lut`` are look-up tables before they are placed, then
        logic cells: look-up tables, and flip-flops without one in front.
    used : int
    available : int or None
        None where the device is a family whose resources are only counted.
    """

    counts: str
    used: int
    available: int | None

    @property
    def share(self) -> float | None:
        """Used of available; None where nothing is, or that is not known."""
        return self.used / self.available if self.available else None


def uses(synthesis: Synthesis, device: DeviceRecord, placement: Placement | None = None) -> dict[str, Use]:
    """What a design takes: ``lut``, ``ff``, ``bram``, ``dsp`` and ``spram``.

    Parameters
    ----------
    synthesis : Synthesis
    device : DeviceRecord
    placement : Placement, optional
        Where there is one, its counts are taken, in which look-up tables are packed with what shares their places and
        the frame of registers is included; otherwise look-up tables are an estimate from the cells, a lower bound.

    Returns
    -------
    dict of Use
    """
    cells, capacity = cells_of(synthesis), device.capacity
    counted = {"lut": cells.lut_equivalents, "ff": cells.ff, "bram": cells.bram, "dsp": cells.dsp, "spram": cells.spram}
    found = {}
    for name, used in counted.items():
        available = None if capacity is None else int(getattr(capacity, name))
        title, bel = _TITLES[name], _BELS.get(device.family, {}).get(name)
        if placement is not None and bel in placement.utilisation:
            used = placement.utilisation[bel][0]
            title = "logic cells" if bel == _LOGIC_CELL else title
        found[name] = Use(counts=title, used=used, available=available)
    return found


def lacking(found: dict[str, Use]) -> dict[str, int]:
    """The resources of which there are too few, and by how many."""
    return {name: use.used - use.available for name, use in found.items()
            if use.available is not None and use.used > use.available}
