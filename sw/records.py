"""Records as plain JSON values, their arrays apart, and back."""

import math
import reprlib
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

__all__ = ["from_plain", "to_plain"]


def to_plain(value: Any, arrays: dict[str, np.ndarray] | None = None, name: str = "") -> Any:
    """Dataclasses become dicts, enums their values, tuples lists, infinities strings; other JSON values stay.

    Parameters
    ----------
    value : record, tuple, enum, array or JSON value
    arrays : dict, optional
        Takes the arrays in, each under the names of the members that lead to it. Where it stood is
        ``{"array": name}``. Without it there may be none.
    name : str
        What the names of arrays begin with.

    Raises
    ------
    TypeError
        If there is an array and no dict to take it, or something that has no plain form.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: to_plain(getattr(value, entry.name), arrays, f"{name}.{entry.name}")
                for entry in fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item, arrays, f"{name}.{number}") for number, item in enumerate(value)]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray) and arrays is not None:
        arrays[name] = value
        return {"array": name}
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} must have a plain form, not {value!r}")


def from_plain(kind: Any, value: Any, arrays: dict[str, np.ndarray] | None = None) -> Any:
    """The inverse of `to_plain`.

    Parameters
    ----------
    kind : type
        What to make: a number, string, bool, array, enum, record, a tuple (``tuple[A, ...]`` or ``tuple[A, B]``), or a
        union of those, of which the first that ``value`` looks like is made. Records are told apart by the names of
        their members.
    value : plain JSON value
    arrays : dict, optional
        What `to_plain` took in.

    Returns
    -------
    kind

    Raises
    ------
    TypeError, ValueError, KeyError
        If the value is none of that type; whatever a record itself objects to.
    """
    if isinstance(kind, UnionType):
        choices = [choice for choice in get_args(kind) if _looks_like(choice, value)]
        if not choices:
            raise TypeError(f"value must be of type {kind}, not {reprlib.repr(value)}")
        return from_plain(choices[0], value, arrays)
    if not _looks_like(kind, value):
        raise TypeError(f"value must be of type {getattr(kind, '__name__', kind)}, not {reprlib.repr(value)}")
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(value)
        return tuple(from_plain(one, item, arrays) for one, item in zip(kinds, value, strict=True))
    if kind is np.ndarray:
        return (arrays or {})[value["array"]]
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: from_plain(hints[name], item, arrays) for name, item in value.items()})
    return value if kind is NoneType else kind(value)


def _looks_like(kind: Any, value: Any) -> bool:
    """Whether a plain value can be one of ``kind``, by its own kind and, for records, the names of its members."""
    if kind is NoneType:
        return value is None
    if get_origin(kind) is tuple:
        return isinstance(value, list)
    if kind is np.ndarray:
        return isinstance(value, dict) and value.keys() == {"array"}
    if is_dataclass(kind):
        return isinstance(value, dict) and value.keys() == {entry.name for entry in fields(kind)}
    if issubclass(kind, Enum):
        return any(value == member.value for member in kind)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) or value in ("inf", "-inf")
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
