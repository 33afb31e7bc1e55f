"""What a board needs of its device besides the network: the host link, the reset, the lights."""

from ..hw.arch import ceil_div
from ..hw.link.arch import LinkArch
from ..hw.link.messages import MOST_LOAD_WORDS
from ..hw.link.sizes import CRC_OCTETS, HEAD_OCTETS, LOAD_HEAD_OCTETS
from .cell_rules import Fabric, Memory, place
from .network import Network
from .resources import Resources
from .settings import Device

__all__ = ["board_reserve", "request_octets"]

# Cells of `dovetail.boards.top.BoardTop` without its network: the most that ``benchmarks/boards.py`` counts, and a few
# more. The receive buffer is computed.
_LINK = {Fabric.ICE40: Resources(lut=760, ff=540), Fabric.ECP5: Resources(lut=830, ff=540)}
_LEAST_BUFFER = 64


def request_octets(network: Network, *, loadable: bool) -> int:
    """Octets of the link's receive buffer: as `dovetail.hw.link.sizes.request_depth`, before there is a plan."""
    codes = network.layers[0].inputs * ceil_div(network.input_bits, 8)
    load = LOAD_HEAD_OCTETS + 4 * MOST_LOAD_WORDS if loadable else 0
    wanted = LinkArch.window * (HEAD_OCTETS + max(codes, load)) + CRC_OCTETS
    return max(_LEAST_BUFFER, 1 << (wanted - 1).bit_length())


def board_reserve(network: Network, device: Device, *, loadable: bool) -> Resources:
    """What a network leaves free of a device, so that it and what a board needs fit together."""
    fabric = Fabric.ECP5 if device.has_lut_ram else Fabric.ICE40
    buffer = place(8, request_octets(network, loadable=loadable), Memory.PLAIN, fabric)
    return _LINK[fabric] + Resources(block_ram=buffer.block_ram)
