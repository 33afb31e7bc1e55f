"""Records as plain JSON values, and back."""

from dataclasses import fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["from_plain", "to_plain"]


def to_plain(value: Any) -> Any:
    """Dataclasses become dicts, enums their values, tuples lists; everything else stays."""
    if is_dataclass(value):
        return {entry.name: to_plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: Any, value: Any) -> Any:
    """The inverse of `to_plain`, for types made of numbers, strings, enums, records and tuples of one type.

    Parameters
    ----------
    kind : type
        What to make; ``X | None`` takes None too.
    value : plain JSON value

    Returns
    -------
    kind

    Raises
    ------
    TypeError, ValueError, KeyError
        If the value is none of that type; whatever a record itself objects to.
    """
    if get_origin(kind) is UnionType:
        if value is None:
            return None
        (kind,) = (choice for choice in get_args(kind) if choice is not type(None))
    if get_origin(kind) is tuple:
        return tuple(from_plain(get_args(kind)[0], item) for item in value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        if not isinstance(value, dict):
            raise TypeError(f"{kind.__name__} must be a table, not {value!r}")
        return kind(**{entry.name: from_plain(hints[entry.name], value[entry.name]) for entry in fields(kind)})
    if issubclass(kind, Enum):
        return kind(value)
    if kind is float and isinstance(value, int):
        return float(value)
    if not isinstance(value, kind) or kind is int and isinstance(value, bool):
        raise TypeError(f"value must be of type {kind.__name__}, not {value!r}")
    return value
