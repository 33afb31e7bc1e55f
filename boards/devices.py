"""The devices: what they hold, and how Yosys and nextpnr are told of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from ..sw.settings import Device

__all__ = ["DEVICES", "Capacity", "DeviceRecord", "Family"]


class Family(Enum):
    """Families of devices that Yosys synthesises alike."""

    ECP5 = "ecp5"
    ICE40 = "ice40"
    ICE40_DSP = "ice40-dsp"     # with the multipliers and the large memories of the UltraPlus devices
    XCUP = "xcup"               # UltraScale+: counted, never placed


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a device holds.

    Members
    -------
    lut : int
        Places for 4-input look-up tables; carry and LUT RAM cells take such places too.
    ff, bram, dsp, spram : int
        Flip-flops; block RAMs of 16 kbit (ECP5) or 4 kbit (iCE40); multipliers; memories of 256 kbit.
    """

    lut: int
    ff: int
    bram: int
    dsp: int
    spram: int


@dataclass(frozen=True, kw_only=True)
class DeviceRecord:
    """One device.

    Members
    -------
    device : Device
    family : Family
    part, package : str
        As the maker calls them.
    speed_grade : str
    capacity : Capacity or None
        None where resources are only counted.
    placer : str or None
        The place-and-route program.
    options : tuple of str
        What it is told.
    megahertz : float
        What it is asked to reach where nobody says.
    """

    device: Device
    family: Family
    part: str
    package: str
    speed_grade: str
    capacity: Capacity | None
    placer: str | None
    options: tuple[str, ...]
    megahertz: float


# The default router took 30 times as long on an ECP5 with arrays of multipliers and LUT RAM, and came to no end on an
# HX8K whose block RAMs are all taken.
_ROUTER = ("--router", "router2")


def _ecp5(device: Device, part: str, *, size: str, lut: int, bram: int, dsp: int) -> DeviceRecord:
    return DeviceRecord(
        device=device, family=Family.ECP5, part=part, package="CABGA381", speed_grade="6",
        capacity=Capacity(lut=lut, ff=lut, bram=bram, dsp=dsp, spram=0), placer="nextpnr-ecp5",
        options=(f"--{size}", "--package", "CABGA381", "--speed", "6", *_ROUTER), megahertz=100)


_ALL = (
    DeviceRecord(
        device=Device.UP5K, family=Family.ICE40_DSP, part="iCE40UP5K", package="SG48", speed_grade="",
        capacity=Capacity(lut=5280, ff=5280, bram=30, dsp=8, spram=4), placer="nextpnr-ice40",
        options=("--up5k", "--package", "sg48", *_ROUTER), megahertz=48),
    DeviceRecord(
        device=Device.HX8K, family=Family.ICE40, part="iCE40HX8K", package="CT256", speed_grade="",
        capacity=Capacity(lut=7680, ff=7680, bram=32, dsp=0, spram=0), placer="nextpnr-ice40",
        options=("--hx8k", "--package", "ct256", *_ROUTER), megahertz=100),
    _ecp5(Device.ECP5_25K, "LFE5U-25F", size="25k", lut=24288, bram=56, dsp=28),
    _ecp5(Device.ECP5_45K, "LFE5U-45F", size="45k", lut=43848, bram=108, dsp=72),
    _ecp5(Device.ECP5_85K, "LFE5U-85F", size="85k", lut=83640, bram=208, dsp=156),
    DeviceRecord(
        device=Device.XCUP, family=Family.XCUP, part="UltraScale+", package="", speed_grade="", capacity=None,
        placer=None, options=(), megahertz=0),
)

#: Every device, by its name of the settings.
DEVICES: Mapping[Device, DeviceRecord] = MappingProxyType({record.device: record for record in _ALL})
