"""Arguments that name a device: the name of a board says which device that has."""

import argparse

from ..boards.kits.all import BOARDS

__all__ = ["device_name"]


def device_name(text: str) -> str:
    """The text as it is, for ``type`` of an argument with ``choices``.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is the name of a board.
    """
    if text in BOARDS:
        raise argparse.ArgumentTypeError(f"{text} is a board; its device is {BOARDS[text].device.value}")
    return text
