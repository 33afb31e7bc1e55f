"""`dovetail build`: a build folder as a bitstream for a board."""

import argparse
import errno
import os
import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..boards.bitstream import ENDINGS, pack, place_at, save, wired_design
from ..boards.build_folder import Build, read_build
from ..boards.clocking import Clocking, clocking, fastest_clock
from ..boards.devices import DEVICES
from ..boards.gate_level import golden_vectors
from ..boards.host.identity import link_arch
from ..boards.kits.all import BOARDS
from ..boards.kits.record import Board
from ..boards.line_rate import LineRate, line_rate
from ..boards.place import DoesNotFit, Placement, Timing, phases_of
from ..boards.resources_used import Use, lacking, uses
from ..boards.synth import Synthesis, steps_of, synthesise
from ..hw.errors import DovetailError
from ..hw.link.arch import LinkArch
from ..sim.cycles import network_cycles
from ..sim.golden import run as run_golden
from .output import counted, following, print_json, print_table, print_wrapped, working

__all__ = ["add_parser", "run", "slower_clock"]

_MOST_SEEDS = 100
_SEEDS = 6
#: By how much a clock to try is below the one that was reached: nextpnr aims at the clock, so another is another
#: placement, and may come out slower.
_MARGIN = 0.05


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What came of a build; no placement where the design does not fit."""

    board: Board
    wanted_mhz: float
    clocking: Clocking
    link: LinkArch
    synthesis: Synthesis
    placement: Placement | None
    rate: LineRate
    output: Path

    @property
    def found(self) -> dict[str, Use]:
        return uses(self.synthesis, DEVICES[self.board.device], self.placement)

    @property
    def asked_mhz(self) -> float:
        return float(self.clocking.hz) / 1e6

    @property
    def met(self) -> bool:
        return self.placement is not None and self.placement.fmax_mhz >= self.asked_mhz

    @property
    def program(self) -> str:
        return self.board.program.format(file=shlex.quote(str(self.output)))


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "build", help="make a bitstream for a board",
        description="make a bitstream for a board of the network in a build folder, with the link that dovetail run "
                    "talks to; exit code 1 where it does not fit or is slower than its clock. Results are kept: a "
                    "second call is instant",
        epilog="example: dovetail build build --board icebreaker")
    parser.add_argument("build", metavar="BUILD", type=Path, help="a folder made by dovetail compile --board NAME")
    parser.add_argument("--board", metavar="NAME", choices=BOARDS, required=True, help=f"one of {', '.join(BOARDS)}")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path,
                        help="the bitstream to write (default: BUILD-NAME, with the device's ending)")
    parser.add_argument("--clock", metavar="MHz", type=float, help="the network's clock (default: the board's)")
    parser.add_argument("--baud", metavar="N", type=int, help="bits a second on the line (default: the board's)")
    parser.add_argument("--seeds", metavar="N", type=int, default=_SEEDS,
                        help=f"starts of place and route to try until the clock is reached (default: {_SEEDS})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Make the bitstream and print what it takes and how fast it is.

    Returns
    -------
    int
        0, or 1 where the network does not fit or does not reach the clock; nothing is written then.

    Raises
    ------
    DovetailError
        If an option or the build folder is wrong, or a tool is missing or fails. `DoesNotFit`, with exit code 1, if
        nextpnr finds no place for a cell.
    """
    board = BOARDS[args.board]
    device = DEVICES[board.device]
    output = args.output or _beside(args.build, f"-{board.name}{ENDINGS[device.family]}")
    _check_options(args, output)
    baud = args.baud or board.baud
    wanted = args.clock or board.clock_mhz
    clock = clocking(board, megahertz=wanted, baud=baud)
    build = read_build(args.build)
    if output.resolve().is_relative_to(args.build.resolve()):
        raise DovetailError(f"{output}: is in the build folder, which stays as it was made")
    start = time.perf_counter()
    with working("generating the hardware"):
        link = link_arch(build.plan, clock_hz=round(clock.hz), baud=baud)
        design = wired_design(args.build, build, board, clocking=clock, link=link)
    with following(f"synthesising it for the {board.title}") as say:
        synthesis = synthesise(design, device.family, watch=steps_of(say))
    placement = None
    if not lacking(uses(synthesis, device)):
        with following(f"placing and routing it on the {device.part}") as say:
            try:
                placement = place_at(synthesis, board, clock, seeds=args.seeds, watch=phases_of(say))
            except DoesNotFit as error:
                raise DoesNotFit(f"{error}; {_way_out(board)}") from error
    made = _Made(board=board, wanted_mhz=wanted, clocking=clock, link=link, synthesis=synthesis, placement=placement,
                 rate=_rate(args.build, build, link), output=output)
    if placement is not None and made.met:
        with working(f"writing {output}"):
            save(pack(placement, device), output)
    if args.json:
        print_json(_report(made, time.perf_counter() - start))
    else:
        _show(made)
    return 0 if made.met else 1


def _beside(build: Path, ending: str) -> Path:
    """A file beside the build folder, never in it."""
    folder = build if build.name not in ("", "..") else build.resolve()
    return folder.parent / (folder.name + ending)


def _check_options(args: argparse.Namespace, output: Path) -> None:
    if not 1 <= args.seeds <= _MOST_SEEDS:
        raise DovetailError(f"argument --seeds: must be in 1..{_MOST_SEEDS}, not {args.seeds}")
    if args.clock is not None and not 0 < args.clock < 10_000:
        raise DovetailError(f"argument --clock: must be above 0 and below 10000, not {args.clock:g}")
    if args.baud is not None and not 300 <= args.baud <= 100_000_000:
        raise DovetailError(f"argument --baud: must be in 300..100000000, not {args.baud}")
    if not output.parent.is_dir():
        raise DovetailError(f"{output}: the folder {output.parent} does not exist")
    if output.is_dir():
        raise DovetailError(f"{output}: is a folder")
    if output.exists() and not output.is_file():
        raise DovetailError(f"{output}: exists and is no file")
    if not os.access(output.parent, os.W_OK):
        raise DovetailError(f"{output.parent}: {os.strerror(errno.EACCES)}")    # said before minutes of work


def _rate(path: Path, build: Build, link: LinkArch) -> LineRate:
    """How fast it is, alone and behind its line."""
    inputs, _ = golden_vectors(path)
    latency = network_cycles(build.plan, run_golden(build.plan.network, inputs[:1])).total
    return line_rate(build.manifest["interface"], baud=link.baud, clock_hz=link.clock_hz, latency=latency,
                     cycles=build.manifest["predicted_cycles_per_inference"], window=link.window)


def slower_clock(board: Board, reached: float) -> float | None:
    """The clock in MHz to try where no more than ``reached`` was; None where the board can make none so slow."""
    clock = fastest_clock(board, at_most=(1 - _MARGIN) * reached * 1e6)
    return None if clock is None else float(clock) / 1e6


def _way_out(board: Board) -> str:
    return f"dovetail compile --board {board.name} makes a plan to fit this board"


def _report(made: _Made, seconds: float) -> dict[str, Any]:
    """The JSON object."""
    device, placement, found = DEVICES[made.board.device], made.placement, made.found
    tools = {"yosys": made.synthesis.tool}
    if placement is not None and device.placer is not None:
        tools[device.placer] = placement.tool
    return {
        "board": made.board.name, "device": device.device.value, "file": str(made.output) if made.met else None,
        "program": made.program if made.met else None,
        "fits": not lacking(found), "lacking": lacking(found),
        "utilisation": {name: asdict(use) for name, use in found.items()},
        "clock_mhz": made.asked_mhz, "fmax_mhz": None if placement is None else placement.fmax_mhz,
        "fmax_is": None if placement is None else placement.timing.value,
        "fmax_by_seed": None if placement is None else placement.fmax_by_seed, "met": made.met,
        "baud": made.link.baud, "window": made.link.window, "design": f"{made.link.design:016x}",
        "contents": f"{made.link.contents:08x}", "inferences_per_second": asdict(made.rate), "tools": tools,
        "seconds": seconds,
    }


def _show(made: _Made) -> None:
    """Print a report for people to read."""
    device, placement, found, rate = DEVICES[made.board.device], made.placement, made.found, made.rate
    rows = [[use.counts, f"{use.used:,}", f"{use.available:,}", f"{use.share:.0%}"]
            for use in found.values() if use.available and use.share is not None]
    state = "synthesised" if placement is None else "placed and routed"
    print_table(f"{made.board.title} ({device.part}), {state}", ["resource", "used", "available", "share"], rows)
    for name, more in lacking(found).items():
        use = found[name]
        print(f"does not fit: {use.used:,} {use.counts}, {more:,} more than the {use.available:,} there are")
    if placement is None:
        print(_way_out(made.board))
        return
    bound = "" if placement.timing is Timing.ROUTED else \
        ", with worst delays of what nextpnr does not time in full"
    seeds = counted(len(placement.fmax_by_seed), "seed")
    nearest = "" if f"{made.asked_mhz:g}" == f"{made.wanted_mhz:g}" else \
        f", the nearest to {made.wanted_mhz:g} that can be made"
    print_wrapped(f"clock: {made.asked_mhz:g} MHz{nearest}; {placement.fmax_mhz:.1f} MHz reached, the best of "
                  f"{seeds}{bound}")
    if not made.met:
        slower = slower_clock(made.board, placement.fmax_mhz)
        hint = "no slower clock can be made" if slower is None else \
            f"or try --clock {slower:g}: another clock is another placement, so that is {_MARGIN:.0%} below what was " \
            "reached"
        print_wrapped(f"too slow: {placement.fmax_mhz:.1f} MHz is not the {made.asked_mhz:g} MHz asked for; --seeds "
                      f"tries more, {hint}")
        return
    print_wrapped(f"speed: {rate.network:,.0f} inferences per second; {rate.typical:,.0f} over the line of "
                  f"{made.link.baud:,} baud, {rate.worst:,.0f} where every octet has to be escaped")
    print(f"written: {made.output}")
    print(f"to program the board: {made.program}")
