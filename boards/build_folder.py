"""The build folder: everything that leaves the compiler, and the way back in."""

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..hw.arch import EngineArch, EngineKind, LayerArch, Mode, NetworkArch, ScaleArch, UnrolledArch, bits_for, ceil_div
from ..hw.errors import DovetailError
from ..hw.memory_map import MappedMemory, memory_map, stage_prefix
from ..hw.network import NetworkTop
from ..hw.verilog import emit
from ..sim import golden
from ..sim.cycles import layer_cycles, network_cycles
from ..sim.payload import pack, width_of
from ..sim.time_shares import time_shares
from ..sim.verify import frames_to_words
from ..sw.data import MAX_BYTES
from ..sw.images import layer_images
from ..sw.model import FloatModel
from ..sw.network import Network
from ..sw.packer import Packing
from ..sw.plan import Plan, PlannedLayer
from ..sw.records import from_plain, to_plain
from ..sw.settings import Settings
from .self_check import hex_lines, testbench

__all__ = ["SCHEMA", "Build", "check_output", "check_verilog", "read_build", "write_build"]

#: Version of the folder's layout; a reader takes exactly this one.
SCHEMA = "dovetail-build/4"

#: What reading a folder that somebody edited, or that a disk lost half of, can raise.
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError, NotImplementedError,
           RuntimeError, MemoryError, OverflowError, zipfile.BadZipFile, zlib.error)

#: What a key of ``plan.toml`` means.
_MEANING = {
    "target_cycles": "cycles per inference that every layer must keep up with",
    "input_width": "codes per beat of the input",
    "loadable": "true: memories can be written at run time",
    "mode": "sparse-sparse, sparse-dense or dense",
    "engine": "folded: weights in memories; unrolled: a first convolution in logic",
    "lanes": "inputs taken at once",
    "banks": "sets computed at once; lanes x banks is the number of multipliers",
    "set_size": "N, the most kernels of a set, which share a multiplier",
    "columns": "sums that a bank gives up a cycle",
    "drain_width": "sums that leave the engine a cycle",
    "accumulator": "where sums are: lut-ram or block-ram",
    "weight_memory": "where weights are: lut-ram, block-ram, spram, or auto: left to synthesis",
    "tables": "where biases and the like are: registers, lut-ram, block-ram, auto",
    "kwta": "how winners are found: global (histogram) or local (registers)",
    "bins": "histogram bins searched a cycle",
    "turns": "finders of winners that take turns, vector by vector",
    "buffers": "vectors that the store behind the engine holds",
    "vectors": "vectors that wait behind an unrolled engine, the one that is sent included",
    "soft": "multipliers made of look-up tables",
}

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
            ours = {"manifest.json", "plan.toml", *manifest["files"]} if manifest["schema"] == SCHEMA else set()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
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
    _write_images(folder / "images", plan, memories)
    _write_network(folder, plan, model)

    shown = codes[:GOLDEN_FRAMES]
    results = golden.run(plan.network, shown)
    np.savez_compressed(folder / "golden.npz", allow_pickle=False, inputs=shown,
                        **{f"layer{number}": result.outputs for number, result in enumerate(results)})
    in_shape, out_shape = top.i.payload.shape(), top.o.payload.shape()
    cycles, arch = network_cycles(plan, results).total, plan.arch
    (folder / "tb.v").write_text(testbench(
        plan.arch, frames=len(shown), in_bits=width_of(in_shape), out_bits=width_of(out_shape), cycles=cycles,
        loads={_image_name(number, memory): memory for number, memory in enumerate(memories) if memory.empty}))
    inputs = pack(in_shape, frames_to_words(shown, arch.input_width, pixels=arch.input_pixels))
    (folder / "tb_input.hex").write_text(hex_lines(inputs, width_of(in_shape)))
    expected = pack(out_shape, _result_words(plan, results[-1].outputs))
    (folder / "tb_expected.hex").write_text(hex_lines(expected, width_of(out_shape)))

    manifest = _manifest(plan, model, codes, memories, intake)
    (folder / "plan.toml").write_text(_plan_toml(plan, made_with), encoding="utf-8")
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


def _image_name(number: int, memory: MappedMemory) -> str:
    """Name of a memory's files, without the ending."""
    return f"{number:03d}_{memory.name}"


def _write_images(folder: Path, plan: Plan, memories: tuple[MappedMemory, ...]) -> None:
    """One ``.hex`` and one ``.bin`` file a memory, and ``map.json`` that explains their bits."""
    folder.mkdir()
    described = []
    arches = {layer.name: layer for layer in plan.arch.layers}
    for number, memory in enumerate(memories):
        name = _image_name(number, memory)
        digits, octets = ceil_div(memory.width, 4), ceil_div(memory.width, 8)
        (folder / f"{name}.hex").write_text("".join(f"{row:0{digits}x}\n" for row in memory.rows))
        (folder / f"{name}.bin").write_bytes(b"".join(row.to_bytes(octets, "little") for row in memory.rows))
        described.append({
            "file": name, "layer": memory.layer, "memory": memory.name, "width": memory.width, "depth": memory.depth,
            "load_number": memory.first, "load_chunks": memory.chunks, "initialised": not memory.empty,
            "fields": _fields(memory, arches[memory.layer]),
        })
    text = {"hex": "one row a line", "bin": "one row in ceil(width / 8) bytes, low byte first", "memories": described}
    (folder / "map.json").write_text(json.dumps(text, indent=1, sort_keys=True) + "\n")


def _fields(memory: MappedMemory, arch: LayerArch) -> list[dict[str, Any]]:
    engine, select = arch.engine, arch.select
    kind = memory.name.rstrip("0123456789")
    if kind == "weights" and isinstance(engine, EngineArch):
        found = []
        for bank in range(engine.banks):
            low = bank * engine.slot_bits
            found += [
                {"bank": bank, "field": "weight", "low": low, "bits": engine.weight_bits, "signed": True},
                {"bank": bank, "field": "kid", "low": low + engine.weight_bits, "bits": engine.kid_bits,
                 "signed": False},
            ]
        return found
    rank_bits = bits_for(select.width)
    parts: dict[str, list[tuple[str, int, bool]]] = {
        "biases": [("bias", memory.width, True)],
        "order": [("word", bits_for(select.words), False), ("valid", 1, False)],
        "ranks": [(f"port_of_element{element}", rank_bits, False) for element in range(select.width)],
    }
    if isinstance(engine, EngineArch):
        parts["rows"] = [("row", bits_for(engine.lane_rows), False), ("rows", bits_for(engine.most_rows + 1), False)]
    for number, (stage, (value_bits, value_signed)) in enumerate(zip(arch.stages, arch.stage_formats, strict=True)):
        prefix = stage_prefix(number)
        if isinstance(stage, ScaleArch):
            parts[f"{prefix}multipliers"] = [("multiplier", memory.width, stage.multiplier_signed)]
            parts[f"{prefix}offsets"] = [("offset", memory.width, True)]
        else:
            parts[f"{prefix}thresholds"] = [
                (f"threshold{place}", value_bits + 1, value_signed) for place in range(stage.count)]
    found, low = [], 0
    for field, bits, signed in parts[kind]:
        found.append({"field": field, "low": low, "bits": bits, "signed": signed})
        low += bits
    return found


def _write_network(folder: Path, plan: Plan, model: FloatModel) -> None:
    """The integer network, its packing and the float model: ``network.json``, and ``network.npz`` with its arrays."""
    stored = _Stored(network=plan.network, model=model, packings=tuple(layer.packing for layer in plan.layers))
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(to_plain(stored, arrays, "stored"), indent=1, sort_keys=True, allow_nan=False)
    (folder / "network.json").write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(folder / "network.npz", allow_pickle=False, **arrays)


def _manifest(
    plan: Plan, model: FloatModel, codes: np.ndarray, memories: tuple[MappedMemory, ...], intake: dict[str, Any] | None,
) -> dict[str, Any]:
    network, arch = plan.network, plan.arch
    results = golden.run(network, codes)
    predicted = network_cycles(plan, results)
    layers = []
    for planned, result in zip(plan.layers, results, strict=True):
        layer, packing = planned.layer, planned.packing
        alone = layer_cycles(planned, result)
        layers.append({
            "name": layer.name, "mode": planned.arch.mode.value, "kernels": layer.kernels, "positions": layer.positions,
            "vectors": layer.vectors, "winners": layer.winners, "requantisation": layer.exactness.value,
            "engine": (EngineKind.FOLDED if packing else EngineKind.UNROLLED).value,
            "packing": packing and {
                "set_size": packing.set_size, "sets": packing.sets, "banks": packing.banks, "folds": packing.folds,
                "rows": int(packing.rows.sum()), "rows_lower_bound": packing.rows_lower_bound, "fill": packing.fill},
            "predicted": {"cycles_per_inference": alone.cycles_per_inference, "multipliers": alone.multipliers,
                          "utilisation": alone.utilisation, "time": asdict(time_shares(planned, result, alone))},
        })
    last, select = plan.layers[-1].layer, arch.layers[-1].select
    pixels = arch.layers[-1].pixels
    return {
        "schema": SCHEMA,
        "model": {"name": network.name, "sha256": network.sha256, "input_shape": list(network.input_shape),
                  "head": None if model.head is None else model.head.value},
        "intake": intake,
        "arch": to_plain(arch),
        "layers": layers,
        "predicted_cycles_per_inference": predicted.per_inference,
        "memory_bits": sum(memory.width * memory.depth for memory in memories),
        "interface": {
            "module": "network", "clock": "clk", "reset": "rst (synchronous, active high)",
            "input": {
                "port": "i", "codes_per_word": arch.input_width, "bits": network.input_bits,
                "signed": network.input_signed, "low": network.input_range[0], "high": network.input_range[1],
                "scale": network.input_scale, "origin": network.input_origin,
                "codes_per_frame": arch.input_codes, "order": _order(arch.layers[0].window is not None),
                "payload": "codes_per_word codes, the first in the low bits; above them `last`",
            },
            "output": {
                "port": "o", "elements_per_word": select.width, "bits": select.value_bits,
                "signed": select.value_signed, "elements_per_frame": last.kernels * pixels,
                "order": _order(pixels > 1),
                "scale": np.asarray(last.output_scale).tolist(), "offset": np.asarray(last.output_offset).tolist(),
                "payload": "elements_per_word elements, the first in the low bits; above them one `keep` bit each, "
                           "then `last`",
            },
        },
    }


def _order(image: bool) -> str:
    """In which order the elements of a frame pass the border."""
    return "pixel by pixel: row, column, channel; every word holds elements of one pixel" if image else "the model's"


def _plan_toml(plan: Plan, made_with: str) -> str:
    """The plan as settings that give the same plan again, with the options it was made with."""
    text = "# The plan that was built; edit it and give it back with --config.\n"
    if made_with:
        text += f"# made with {made_with}\n"
    given = {} if plan.settings.target_cycles is None else {"target_cycles": plan.settings.target_cycles}
    text += _toml({**given, "input_width": plan.arch.input_width, "loadable": plan.arch.loadable})
    for layer in plan.arch.layers:
        engine, select = layer.engine, layer.select
        keys: dict[str, str | int] = {"mode": layer.mode.value}
        if isinstance(engine, UnrolledArch):
            keys |= {"engine": EngineKind.UNROLLED.value, "drain_width": engine.drain_width, "vectors": engine.vectors}
        else:
            keys |= {"engine": EngineKind.FOLDED.value}
            keys |= {key: getattr(engine, key)
                     for key in ("lanes", "banks", "set_size", "columns", "drain_width", "soft")}
            keys |= {"accumulator": engine.accumulator.value, "weight_memory": engine.weight_memory.value}
        keys |= {"tables": layer.tables.value}
        if select.is_kwta:
            keys |= {"kwta": select.kind.value, "bins": select.bins, "turns": select.turns}
        keys |= {"buffers": select.buffers}
        text += f"\n[layers.{json.dumps(layer.name, ensure_ascii=False)}]\n{_toml(keys)}"
    return text


def _toml(keys: dict[str, str | int]) -> str:
    """Keys of a table, a line each, with what they mean."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    wide = max(map(len, lines))
    return "".join(f"{line:{wide}}  # {_MEANING[key]}\n" for line, key in zip(lines, keys, strict=True))


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
