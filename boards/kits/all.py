"""All boards, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from .hx8k_breakout import HX8K_BREAKOUT
from .icebreaker import ICEBREAKER
from .icesugar import ICESUGAR
from .record import Board
from .ulx3s import ULX3S_25F, ULX3S_45F, ULX3S_85F

__all__ = ["BOARDS"]

#: Every board.
BOARDS: Mapping[str, Board] = MappingProxyType({
    board.name: board for board in (ICEBREAKER, ICESUGAR, HX8K_BREAKOUT, ULX3S_25F, ULX3S_45F, ULX3S_85F)})
