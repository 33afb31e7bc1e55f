"""`dovetail emulate`: the board without the board."""

import argparse
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..boards.build_folder import read_build
from ..boards.clocking import clocking
from ..boards.host.emulate import Emulator
from ..boards.host.identity import link_arch
from ..boards.host.line import is_pseudo_terminal
from ..boards.kits.all import BOARDS
from ..boards.top import BoardTop
from ..hw.errors import DovetailError
from ..hw.link.arch import LEAST_CYCLES_PER_BIT
from .output import working

__all__ = ["add_parser", "run"]

#: What the design is told that its clock is, where no board says.
CLOCK_HZ = 12_000_000

#: What a light says when it is on, and when it is off.
_MEANING = {
    "loaded": ("loaded", "not loaded: waiting for weights"),
    "working": ("working", "idle"),
    "dropped": ("a frame was dropped", "no frame dropped since the last HELLO"),
}


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "emulate", help="the board without the board",
        description="run the hardware of a build folder, serial line and all, behind a pseudo-terminal that dovetail "
                    "run, or any other program, opens as a serial port; until ctrl-c",
        epilog="example: dovetail emulate build --link /tmp/board")
    parser.add_argument("build", metavar="BUILD", type=Path, help="a folder made by dovetail compile")
    parser.add_argument("--board", metavar="NAME", choices=BOARDS,
                        help=f"with the clock and the baud rate of {', '.join(BOARDS)} (default: a bit is "
                             f"{LEAST_CYCLES_PER_BIT} cycles, which is quickest)")
    parser.add_argument("--link", metavar="PATH", type=Path, help="make a symbolic link to the port there")
    return parser


def run(args: argparse.Namespace) -> int:
    """Emulate until the process is interrupted or asked to end.

    Returns
    -------
    int
        0.

    Raises
    ------
    DovetailError
        If an option or the build folder is wrong, or the compiler is missing or fails.
    """
    _check_link(args.link)
    build = read_build(args.build)
    plan, clock_hz, baud = build.plan, CLOCK_HZ, CLOCK_HZ // LEAST_CYCLES_PER_BIT
    if args.board is not None:
        board = BOARDS[args.board]
        baud = board.baud
        clock_hz = round(clocking(board, megahertz=board.clock_mhz, baud=baud).hz)
    link = link_arch(plan, clock_hz=clock_hz, baud=baud)
    with working("compiling the hardware"):
        emulator = Emulator(BoardTop(plan.arch, plan.images, link=link), cycles_per_bit=link.cycles_per_bit)
    with emulator, _ended_by_signals(emulator), _linked(args.link, emulator.port):
        print(f"port: {emulator.port}", flush=True)
        shown: dict[str, bool] = {"dropped": False}

        def show(levels: Mapping[str, bool]) -> None:
            for name, (on, off) in _MEANING.items():
                if name in levels and shown.get(name) != levels[name]:
                    print(on if levels[name] else off, flush=True)
                    shown[name] = levels[name]

        emulator.run(show)
    return 0


def _check_link(path: Path | None) -> None:
    if path is None:
        return
    if not path.parent.is_dir():
        raise DovetailError(f"{path}: the folder {path.parent} does not exist")
    if (path.exists() or path.is_symlink()) and not _is_port(path):
        raise DovetailError(f"{path}: exists and is no link to a pseudo-terminal")


def _is_port(path: Path) -> bool:
    """Whether it is what an emulation made, perhaps one that was killed."""
    return path.is_symlink() and is_pseudo_terminal(path)


@contextmanager
def _linked(path: Path | None, port: str) -> Iterator[None]:
    """A symbolic link to the port, for as long as it is there."""
    if path is None:
        yield
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.symlink_to(port)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise DovetailError(f"{path}: no link can be made there: {error.strerror}") from error
    try:
        yield
    finally:
        if path.is_symlink() and os.readlink(path) == port:     # not if another emulation took it over
            path.unlink()


@contextmanager
def _ended_by_signals(emulator: Emulator) -> Iterator[None]:
    """Ctrl-c, or being asked to end, is how an emulation ends, and no error."""
    before = {number: signal.signal(number, lambda *_: emulator.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
