"""What a user fixes about a build: a TOML file, or options of the command line."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

from ..hw.arch import AccumulatorKind, EngineKind, MemoryKind, Mode, SelectKind
from ..hw.errors import DovetailError

__all__ = ["Device", "LayerSettings", "Settings", "read_settings"]


class Device(Enum):
    """Devices that plans are made for."""

    UP5K = "up5k"
    HX8K = "hx8k"
    ECP5_25K = "ecp5-25k"
    ECP5_45K = "ecp5-45k"
    ECP5_85K = "ecp5-85k"
    XCUP = "xcup"

    @property
    def has_lut_ram(self) -> bool:
        return self not in (Device.UP5K, Device.HX8K)

    @property
    def is_routed(self) -> bool:
        """Open tools place and route it, and its size is known; for others resources are counted only."""
        return self is not Device.XCUP

    @property
    def has_multipliers(self) -> bool:
        return self is not Device.HX8K


@dataclass(frozen=True, kw_only=True)
class LayerSettings:
    """What is fixed about one layer; None leaves the choice to the planner. Terms as in ``hw.arch.EngineArch``.

    An unrolled engine has no lanes, banks, sets, columns and accumulators; ``vectors`` is of no other engine.
    """

    mode: Mode | None = None
    engine: EngineKind | None = None
    lanes: int | None = None
    banks: int | None = None
    set_size: int | None = None
    columns: int | None = None
    drain_width: int | None = None
    accumulator: AccumulatorKind | None = None
    kwta: SelectKind | None = None
    bins: int | None = None
    turns: int | None = None
    buffers: int | None = None
    vectors: int | None = None
    soft: int | None = None
    weight_memory: MemoryKind | None = None
    tables: MemoryKind | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is fixed about a network.

    Members
    -------
    target_cycles : int | None
        Cycles per inference that every layer must keep up with.
    mode : Mode
        Of every layer that ``layers`` says nothing about. A first layer takes every input in the sparse-sparse mode
        too, unless its own settings ask for zero skipping with ``mode = "sparse-sparse"``.
    input_width : int | None
        Codes per input beat.
    loadable : bool | None
        Memories can be written at run time. None: not, but where a board's plan fits in no other way.
    device : Device | None
    hosted : bool
        The plan leaves room for what a board needs besides the network: see `dovetail.sw.reserve`.
    layers : Mapping[str, LayerSettings]
    """

    target_cycles: int | None = None
    mode: Mode = Mode.SPARSE_SPARSE
    input_width: int | None = None
    loadable: bool | None = None
    device: Device | None = None
    hosted: bool = False
    layers: Mapping[str, LayerSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.target_cycles is not None and self.target_cycles < 1:
            raise ValueError(f"target_cycles must be at least 1, not {self.target_cycles!r}")


#: Largest values that make sense on any device; what a layer's sizes allow may be less.
MOST = {"lanes": 1024, "banks": 1024, "columns": 64, "drain_width": 64, "bins": 256, "turns": 16, "buffers": 64,
        "vectors": 16, "soft": 1024 * 1024}

#: Smallest values; 1 where nothing is said.
LEAST = {"soft": 0}

#: Longest settings file.
MAX_BYTES = 1 << 20

_ENUMS = {"mode": Mode, "engine": EngineKind, "accumulator": AccumulatorKind, "kwta": SelectKind, "device": Device,
          "weight_memory": MemoryKind, "tables": MemoryKind}
_ONLY = {"kwta": (SelectKind.GLOBAL, SelectKind.LOCAL),
         "tables": tuple(kind for kind in MemoryKind if kind is not MemoryKind.SPRAM)}


def _value(where: str, key: str, value: object) -> Any:
    if key in _ENUMS:
        choices = [kind for kind in _ENUMS[key] if kind in _ONLY.get(key, tuple(_ENUMS[key]))]
        for choice in choices:
            if choice.value == value:
                return choice
        names = ", ".join(choice.value for choice in choices)
        raise DovetailError(f"{where}: {key} must be one of {names}, not {value!r}")
    if key in ("loadable", "hosted"):
        if not isinstance(value, bool):
            raise DovetailError(f"{where}: {key} must be true or false, not {value!r}")
        return value
    least = LEAST.get(key, 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise DovetailError(f"{where}: {key} must be a whole number of at least {least}, not {value!r}")
    if key in MOST and value > MOST[key]:
        raise DovetailError(f"{where}: {key} must be at most {MOST[key]}, not {value!r}")
    return value


def _table(where: str, table: Mapping[str, object], record: type) -> dict[str, Any]:
    known = [entry.name for entry in fields(record) if entry.name != "layers"]
    for key in table:
        if key not in known:
            raise DovetailError(f"{where}: unknown setting {key!r}; known are {', '.join(known)}")
    return {key: _value(where, key, value) for key, value in table.items()}


def read_settings(path: Path) -> Settings:
    """Read a TOML file: settings of the network at the top, those of a layer under ``[layers.NAME]``.

    Raises
    ------
    DovetailError
        If it is no TOML, or holds a setting that does not exist or a value that is none.
    """
    if path.exists() and not path.is_file():
        raise DovetailError(f"{path}: is no file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DovetailError(f"{path}: has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DovetailError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:     # not text, not TOML, or made to break a parser
        raise DovetailError(f"{path}: not a TOML file: {error}") from error
    tables = document.pop("layers", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise DovetailError(f"{path}: layers must be tables, written [layers.NAME]")
    layers = {name: LayerSettings(**_table(f"{path}: layer {name}", table, LayerSettings))
              for name, table in tables.items()}
    return Settings(layers=layers, **_table(str(path), document, Settings))
