"""Pictures of a report, as text that stands in the page: SVG without letters, and PNG as data.

Letters stand beside the pictures, in HTML, so that they keep their size where a picture shrinks with the page. Colours
are classes (``k0`` .. ``k7``), to which the style gives other values on a dark screen; the eight are those of Okabe and
Ito, told apart by people who see few colours.
"""

import base64
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from .floorplan import PlacedCell
from .report_parts import PackingView, UnitSpan

__all__ = ["Part", "Picture", "bar", "floorplan", "packing_pictures", "png", "strip"]

#: Most rows and columns of a packing that are shown.
MOST_ROWS, MOST_COLUMNS = 160, 224
#: Width and height in CSS pixels that a packing is drawn in, at most.
_WIDE, _HIGH = 640, 420
#: Anchors of the colour map cividis, evenly spaced: one lightness for each KID, and no red against green.
_CIVIDIS = np.array([
    (0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115), (138, 134, 120), (165, 156, 116),
    (195, 179, 105), (254, 232, 56)], np.float64)
_WHITE, _GREY = (255, 255, 255), (176, 182, 190)
_MOST_COLOURS = 254     # of a PNG with a palette, beside white and grey

_BLOCKS = {"ram": "ram", "multiplier": "dsp"}


class Part(NamedTuple):
    """A part of a bar: class of its colour, length, and what it is."""

    colour: str
    length: float
    title: str


class Picture(NamedTuple):
    """A picture as a data URI, with the size to show it in."""

    uri: str
    width: int
    height: int


def _element(name: str, content: Markup | str = "", **attributes: object) -> Markup:
    """An SVG element; what the attributes and a content without markup hold is escaped."""
    text = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{text}>{escape(content)}</{name}>")


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def _number(value: float) -> str:
    """A coordinate, as short as it can be."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _rectangle(part: Part, x: float, width: float, *, y: float = 0, height: float = 10) -> Markup:
    return _element("rect", _element("title", part.title), class_=part.colour, x=_number(x), y=_number(y),
                    width=_number(width), height=_number(height))


def bar(parts: Sequence[Part], total: float, label: str) -> Markup:
    """A bar of parts side by side, ``total`` being its whole length; it takes the width that there is.

    Parameters
    ----------
    parts : sequence of Part
        What is left of ``total`` stays empty; what is beyond is cut off.
    total : float
    label : str
        What it says, for those who do not see it.
    """
    shown, at = [], 0.0
    for part in parts:
        width = min(100 * part.length / total if total else 0.0, 100 - at)
        if width > 0:
            shown.append(_rectangle(part, at, width))
        at += width
    return _element("svg", _join(shown), class_="bar", viewBox="0 0 100 10", preserveAspectRatio="none", role="img",
                    aria_label=label)


def strip(spans: Sequence[UnitSpan], total: int, label: str) -> Markup:
    """The work of one unit on one inference after another, along the time: an inference's colour is its number's.

    Spans that overlap are drawn lower and higher, so that both are seen.
    """
    shown, end = [], [-1, -1]
    for span in spans:
        lane = int(span.start <= end[0])
        end[lane] = max(end[lane], span.end)
        title = f"inference {span.inference + 1}: cycles {span.start:,} to {span.end:,}"
        part = Part(f"k{span.inference % 8}", 0, title)
        shown.append(_rectangle(part, 1000 * span.start / total, max(1000 * (span.end + 1 - span.start) / total, 1.5),
                                y=5 * lane, height=5))
    return _element("svg", _join(shown), class_="bar strip", viewBox="0 0 1000 10", preserveAspectRatio="none",
                    role="img", aria_label=label)


def png(indices: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> bytes:
    """A PNG file of palette indices (height, width), at most 256 colours."""
    height, width = indices.shape
    lines = np.zeros((height, width + 1), np.uint8)     # a line begins with the number of its filter: none
    lines[:, 1:] = indices

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    colours = b"".join(bytes(colour) for colour in palette)
    return b"\x89PNG\r\n\x1a\n" + b"".join((
        chunk(b"IHDR", header), chunk(b"PLTE", colours), chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
        chunk(b"IEND", b"")))


def kid_colours(count: int) -> list[tuple[int, int, int]]:
    """A colour for each of ``count`` KIDs, from dark blue to yellow."""
    places = np.linspace(0, len(_CIVIDIS) - 1, count) if count > 1 else np.array([2.0])
    low = np.minimum(places.astype(int), len(_CIVIDIS) - 2)
    part = (places - low)[:, np.newaxis]
    return [(red, green, blue) for red, green, blue in np.rint(
        _CIVIDIS[low] * (1 - part) + _CIVIDIS[low + 1] * part).astype(int).tolist()]


def _picture(places: np.ndarray, count: int, *, wide: int) -> Picture:
    """KIDs (rows, columns), -1 where a place is empty and -2 between two groups of columns."""
    shades = min(count, _MOST_COLOURS)
    indices = np.where(places >= 0, 2 + places * shades // max(count, 1), np.where(places == -2, 1, 0))
    lines = (places == -2).all(axis=0)
    if lines.any():     # a line between groups is a quarter of a column
        indices = np.repeat(indices, np.where(lines, 1, 4), axis=1)
    rows, columns = indices.shape
    height = rows * max(1, min(12, _HIGH // rows))
    width = columns * max(1, min(4 if lines.any() else 18, wide // columns))
    data = png(indices, [_WHITE, _GREY, *kid_colours(shades)])
    return Picture("data:image/png;base64," + base64.b64encode(data).decode("ascii"), width, height)


def packing_pictures(view: PackingView) -> tuple[Picture, Picture]:
    """The first sets' kernels side by side, and all sets packed: the same rows in both."""
    return (_picture(view.kernels, view.set_size, wide=_WIDE // 2), _picture(view.kids, view.set_size, wide=_WIDE))


def _runs(tiles: set[tuple[int, int]]) -> str:
    """The path of unit squares, those side by side in a row being one."""
    path = []
    for x, y in sorted(tiles, key=lambda tile: (tile[1], tile[0])):
        if path and path[-1][1] == y and path[-1][0] + path[-1][2] == x:
            path[-1][2] += 1
        else:
            path.append([x, y, 1])
    return "".join(f"M{x} {y}h{length}v1h-{length}z" for x, y, length in path)


def floorplan(
    cells: Sequence[PlacedCell], grid: tuple[int, int], colours: dict[str, str], *, by_layer: bool, label: str,
) -> Markup:
    """A device's tiles, each in the colour of what has most cells in it; rows count from below.

    Parameters
    ----------
    cells : sequence of PlacedCell
    grid : (int, int)
        Columns and rows of tiles.
    colours : dict of str
        Class of every unit's colour, or of every layer's number (as text).
    by_layer : bool
        Colour by layer rather than by unit.
    label : str
        What it shows, for those who do not see it.
    """
    columns, rows = grid
    inside: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    blocks: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for cell in cells:
        tile = cell.x, rows - 1 - cell.y
        inside[tile][str(cell.layer) if by_layer else cell.unit] += 1
        if cell.kind in _BLOCKS:
            blocks[_BLOCKS[cell.kind]].add(tile)
    tiles: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for tile, counts in inside.items():
        tiles[max(sorted(counts), key=lambda name: counts[name])].add(tile)
    shown = [_element("rect", class_="die", x=0, y=0, width=columns, height=rows)]
    shown += [_element("path", _element("title", name), class_=colours[name], d=_runs(tiles[name]))
              for name in sorted(tiles)]
    shown += [_element("path", class_=f"block {kind}", d="".join(
        f"M{x} {y}h1v1h-1z" for x, y in sorted(blocks[kind]))) for kind in sorted(blocks)]
    return _element("svg", _join(shown), class_="floorplan", viewBox=f"0 0 {columns} {rows}", role="img",
                    aria_label=label)
