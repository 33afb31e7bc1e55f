"""The build folder: everything that leaves the compiler, and the way back in."""

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..hw.arch import Mode, NetworkArch
from ..hw.errors import DovetailError
from ..hw.memory_map import memory_map
from ..hw.network import NetworkTop
from ..hw.verilog import emit
from ..sim import golden
from ..sim.cycles import network_cycles
from ..sim.payload import pack, width_of
from ..sim.verify import frames_to_words
from ..sw.data import MAX_BYTES
from ..sw.images import layer_images
from ..sw.model import FloatModel
from ..sw.network import Network
from ..sw.packer import Packing
from ..sw.plan import Plan, PlannedLayer
from ..sw.records import from_plain, to_plain
from ..sw.settings import Settings
from .bundle.write import write_bundle
from .image_files import image_name, write_images
from .manifest import SCHEMA, describe
from .plan_file import plan_toml
from .self_check import hex_lines, testbench

__all__ = ["Build", "check_output", "check_verilog", "read_build", "write_build"]

#: What reading a folder that somebody edited, or that a disk lost half of, can raise.
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError, NotImplementedError,
           RuntimeError, MemoryError, OverflowError, zipfile.BadZipFile, zlib.error)

#: Frames of golden vectors, which the testbench sends.
GOLDEN_FRAMES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stored:
    """What ``network.json`` and ``network.npz`` hold; one packing a layer."""

    network: Network
    model: FloatModel
    packings: tuple[Packing | None, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Build:
    """A build folder that was read.

    Members
    -------
    plan : Plan
        As it was built. Its ``settings`` are empty: what they led to stands in ``arch``.
    model : FloatModel
        What was quantised, for comparison.
    manifest : dict
        ``manifest.json``.
    """

    plan: Plan
    model: FloatModel
    manifest: dict[str, Any]


def check_output(path: Path) -> None:
    """See that ``path`` can become a build folder: it is absent, empty, or a build folder that may be replaced.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DovetailError
        If something else is there, or the folder around it does not exist.
    """
    if not path.parent.is_dir():
        raise DovetailError(f"{path}: the folder {path.parent} does not exist")
    if path.is_symlink() or path.exists() and not path.is_dir():
        raise DovetailError(f"{path}: exists and is no folder")
    if path.is_dir():
        try:
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
            known = manifest["schema"].startswith(SCHEMA.rpartition("/")[0])     # of an older version, too
            ours = {"manifest.json", "plan.toml", *manifest["files"]} if known else set()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            ours = set()
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path).as_posix()
            if name not in ours and not (file.is_dir() and not file.is_symlink()):
                raise DovetailError(
                    f"{path}: exists with other content ({name}), which would be lost; name a new folder")


def write_build(
    path: Path, plan: Plan, model: FloatModel, codes: np.ndarray, *, intake: dict[str, Any] | None = None,
    made_with: str = "",
) -> dict[str, Any]:
    """Write a build folder beside its place and rename it into place, so that a half one is never seen.

    Parameters
    ----------
    path : Path
        Absent, empty, or an older build folder, which is replaced.
    plan : Plan
    model : FloatModel
        What the plan's network was quantised from.
    codes : int (n, L)
        Input codes; the first few become golden vectors, all serve for the predicted cycles.
    intake : dict, optional
        Goes into the manifest as it is: what became of the model on its way to integers. JSON values.
    made_with : str
        Options of ``dovetail compile`` that the plan belongs with, for a comment in ``plan.toml``. One line.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    DovetailError
        If ``path`` cannot become a build folder.
    OSError
        If a file cannot be written; what was at ``path`` before is still there.
    """
    check_output(path)
    path = path.absolute()
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        partial.chmod(0o755)
        manifest = _fill(partial, plan, model, codes, intake, made_with)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            path.rename(old / "old")
            try:
                partial.rename(path)
            except BaseException:
                (old / "old").rename(path)
                raise
            finally:
                shutil.rmtree(old)
        else:
            partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def _fill(
    folder: Path, plan: Plan, model: FloatModel, codes: np.ndarray, intake: dict[str, Any] | None, made_with: str,
) -> dict[str, Any]:
    memories = memory_map(plan.arch, plan.images)
    top = NetworkTop(plan.arch, plan.images)
    (folder / "network.v").write_text(emit(top, name="network"))
    write_images(folder / "images", plan, memories)
    write_bundle(folder, plan, {image_name(number, memory): memory for number, memory in enumerate(memories)})
    _write_network(folder, plan, model)

    shown = codes[:GOLDEN_FRAMES]
    results = golden.run(plan.network, shown)
    np.savez_compressed(folder / "golden.npz", allow_pickle=False, inputs=shown,
                        **{f"layer{number}": result.outputs for number, result in enumerate(results)})
    in_shape, out_shape = top.i.payload.shape(), top.o.payload.shape()
    cycles, arch = network_cycles(plan, results).total, plan.arch
    (folder / "tb.v").write_text(testbench(
        plan.arch, frames=len(shown), in_bits=width_of(in_shape), out_bits=width_of(out_shape), cycles=cycles,
        loads={image_name(number, memory): memory for number, memory in enumerate(memories) if memory.empty}))
    inputs = pack(in_shape, frames_to_words(shown, arch.input_width, pixels=arch.input_pixels))
    (folder / "tb_input.hex").write_text(hex_lines(inputs, width_of(in_shape)))
    expected = pack(out_shape, _result_words(plan, results[-1].outputs))
    (folder / "tb_expected.hex").write_text(hex_lines(expected, width_of(out_shape)))

    manifest = describe(plan, model, codes, memories, intake)
    (folder / "plan.toml").write_text(plan_toml(plan, made_with), encoding="utf-8")
    manifest["files"] = {file: _sha256(folder / file) for file in _files(folder)}
    manifest["sha256"] = _digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return manifest


def _files(folder: Path) -> list[str]:
    """Files that belong to the build: all but the manifest and the plan, which is there to be edited."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                  if path.is_file() and path.name not in ("manifest.json", "plan.toml"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(manifest: dict[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _result_words(plan: Plan, outputs: np.ndarray) -> dict[str, np.ndarray]:
    """Output words of results (n, M)."""
    last = plan.arch.layers[-1]
    select = last.select
    words = frames_to_words(outputs, select.width, pixels=last.pixels)
    keep = np.full(select.words, (1 << select.width) - 1)
    keep[-1] = (1 << select.kernels - (select.words - 1) * select.width) - 1
    return {**words, "keep": np.tile(keep, len(outputs) * last.pixels)}


def _write_network(folder: Path, plan: Plan, model: FloatModel) -> None:
    """The integer network, its packing and the float model: ``network.json``, and ``network.npz`` with its arrays."""
    stored = _Stored(network=plan.network, model=model, packings=tuple(layer.packing for layer in plan.layers))
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(to_plain(stored, arrays, "stored"), indent=1, sort_keys=True, allow_nan=False)
    (folder / "network.json").write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(folder / "network.npz", allow_pickle=False, **arrays)


def read_build(path: Path) -> Build:
    """Read a build folder.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Build

    Raises
    ------
    DovetailError
        If it is none, of another version, or damaged.
    """
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        schema = manifest["schema"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DovetailError(f"{path}: no build folder; make one with dovetail compile MODEL.onnx -o {path}") from error
    if schema != SCHEMA:
        raise DovetailError(f"{path}: made by another version ({schema}, not {SCHEMA}); compile the model again")
    if manifest.get("sha256") != _digest(manifest):
        raise DovetailError(f"{path}: damaged (manifest.json was changed); compile the model again")
    try:
        for file, digest in manifest["files"].items():
            inside = (path / file).resolve().is_relative_to(path.resolve())
            if not inside or not (path / file).is_file() or _sha256(path / file) != digest:
                raise DovetailError(f"{path}: damaged ({file} was changed); compile the model again")
        plan, model = _rebuild(path, manifest)
    except _DAMAGE as error:
        raise DovetailError(f"{path}: damaged ({' '.join(str(error).split())}); compile the model again") from error
    return Build(plan=plan, model=model, manifest=manifest)


def check_verilog(path: Path, plan: Plan) -> None:
    """See that ``network.v`` is the text of the plan's network, which is what simulators of Verilog are given.

    Raises
    ------
    DovetailError
        If it is not: another version of Dovetail or of Yosys wrote it.
    """
    if (path / "network.v").read_text() != emit(NetworkTop(plan.arch, plan.images), name="network"):
        raise DovetailError(f"{path}: network.v was written by other versions of the tools; compile the model again")


def _rebuild(path: Path, manifest: dict[str, Any]) -> tuple[Plan, FloatModel]:
    arch = from_plain(NetworkArch, manifest["arch"])
    stored = from_plain(_Stored, json.loads((path / "network.json").read_text(encoding="utf-8")),
                        _arrays(path / "network.npz"))
    layers = []
    for layer, packing, layer_arch in zip(stored.network.layers, stored.packings, arch.layers, strict=True):
        mask = np.ones_like(layer.mask) if layer_arch.mode is Mode.DENSE else layer.mask
        layers.append(PlannedLayer(layer=layer, mask=mask, packing=packing, arch=layer_arch,
                                   images=layer_images(layer, packing, mask, layer_arch)))
    return Plan(network=stored.network, settings=Settings(), arch=arch, layers=tuple(layers)), stored.model


def _arrays(path: Path) -> dict[str, np.ndarray]:
    # Read first: numpy does not close what turns out to be no archive.
    octets = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(octets) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise ValueError(f"{path.name} unpacks to {size} bytes; at most {MAX_BYTES} are read")
    with np.load(octets, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
