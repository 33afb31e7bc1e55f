"""An emulated board beside a test, and its terminal as anybody opens it."""

import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from board_model import Faults

from dovetail.boards.host.emulate import Emulator
from dovetail.boards.host.line import Line

__all__ = ["SpoiledLine", "opened", "read", "running"]


@contextmanager
def running(emulator: Emulator, on_change: Callable[[Mapping[str, bool]], None] = lambda levels: None,
            ) -> Iterator[Emulator]:
    """An emulator in a thread; an error there is one here."""
    failed = []

    def run():
        try:
            emulator.run(on_change)
        except BaseException as error:
            failed.append(error)

    with emulator:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield emulator
        finally:
            emulator.stop()
            thread.join(20)
        assert not thread.is_alive() and not failed, failed


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A file, without a lock, whatever others do with the terminal."""
    file = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        yield file
    finally:
        os.close(file)


def read(file: int, count: int, seconds: float = 10.0) -> bytes:
    """So many octets, or those that came in time."""
    found, end = b"", time.monotonic() + seconds
    while len(found) < count and time.monotonic() < end:
        if select.select([file], [], [], 0.05)[0]:
            found += os.read(file, count - len(found))
    return found


class SpoiledLine:
    """A line with faults in both directions."""

    def __init__(self, line: Line, faults: Faults, seed: int):
        self.line, self.faults, self.rng = line, faults, np.random.default_rng(seed)

    @property
    def in_waiting(self) -> int:
        return self.line.in_waiting

    def write(self, octets: bytes) -> None:
        self.line.write(self.faults.spoil(octets, self.rng))

    def read(self, size: int = 1) -> bytes:
        return self.faults.spoil(self.line.read(size), self.rng)

    def close(self) -> None:
        self.line.close()
