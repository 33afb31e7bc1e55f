"""Pictures of a report: PNG bytes, bars, strips and floorplans."""

import base64
import struct
import zlib

import numpy as np
import pytest
from pages import read_page

from dovetail.boards.floorplan import PlacedCell
from dovetail.boards.report_parts import PackingView, UnitSpan
from dovetail.boards.report_pictures import Part, bar, floorplan, kid_colours, packing_pictures, png, strip


def decode(data):
    """Palette and indices of a PNG with a palette, one byte a pixel and no filters; sums are checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at:at + 4])
        kind, content = data[at + 4:at + 8], data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length]) == (zlib.crc32(kind + content),)
        found[kind], at = content, at + 12 + length
    assert list(found) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", found[b"IHDR"])
    assert rest == [8, 3, 0, 0, 0]
    lines = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return np.frombuffer(found[b"PLTE"], np.uint8).reshape(-1, 3), lines[:, 1:]


def test_png():
    indices = np.array([[0, 1, 2], [2, 1, 0]])
    palette, found = decode(png(indices, [(255, 255, 255), (1, 2, 3), (0, 0, 0)]))
    np.testing.assert_array_equal(found, indices)
    assert palette.tolist() == [[255, 255, 255], [1, 2, 3], [0, 0, 0]]


@pytest.mark.parametrize("count", [1, 2, 8, 64])
def test_kid_colours_grow_lighter(count):
    colours = np.array(kid_colours(count))
    assert colours.shape == (count, 3)
    assert (np.diff(colours @ [0.299, 0.587, 0.114]) > 0).all()


def make_view(**changes):
    return PackingView(**{
        "layer": "fc", "set_size": 2, "sets": 3, "folds": 1, "rows": 4, "fill": 0.5, "conflicts": False,
        "kids": np.array([[0, 1, -1], [1, -1, 0], [-1, 0, 1], [0, 0, 0]]),
        "kernels": np.array([[0, -1, -2, -1, 1], [-1, 1, -2, -1, -1], [-1, -1, -2, 0, -1], [0, -1, -2, 0, -1]]),
        **changes})


def test_packing_pictures():
    view = make_view()
    before, after = packing_pictures(view)
    palette, indices = decode(base64.b64decode(after.uri.removeprefix("data:image/png;base64,")))
    np.testing.assert_array_equal(indices, np.where(view.kids < 0, 0, 2 + view.kids))
    assert palette[0].tolist() == [255, 255, 255] and palette[2:].tolist() == [list(each) for each in kid_colours(2)]
    _, indices = decode(base64.b64decode(before.uri.removeprefix("data:image/png;base64,")))
    assert indices.shape == (4, 4 * 4 + 1)      # the line between two sets is a quarter of a column
    np.testing.assert_array_equal(indices[:, 8], np.ones(4))
    np.testing.assert_array_equal(indices[:, [0, 4, 9, 13]], np.where(
        view.kernels[:, [0, 1, 3, 4]] < 0, 0, 2 + view.kernels[:, [0, 1, 3, 4]]))
    assert view.unpacked_sets == 2


def test_many_kids_share_colours():
    view = make_view(set_size=512, kids=np.arange(512).reshape(8, 64), kernels=np.full((8, 1), -1))
    _, after = packing_pictures(view)
    palette, indices = decode(base64.b64decode(after.uri.removeprefix("data:image/png;base64,")))
    assert len(palette) == 256 and indices.min() == 2 and indices.max() == 255
    assert (np.diff(indices.ravel().astype(int)) >= 0).all()


def rectangles(text):
    page, found = read_page(text), []
    for tag, name, value in page.attributes:
        if tag == "rect":
            if name == "class":
                found.append({})
            found[-1][name] = value
    assert page.problems == []
    return found


def test_bar():
    text = bar([Part("k0", 1, "<one>"), Part("k1", 0, "none"), Part("k2", 5, "too long")], 4, 'a "bar" & more')
    first, last = rectangles(text)
    assert first == {"class": "k0", "x": "0", "y": "0", "width": "25", "height": "10"}
    assert (last["x"], last["width"]) == ("25", "75")
    assert "&lt;one&gt;" in text and "<one>" not in text
    assert ("svg", "aria-label", 'a "bar" & more') in read_page(text).attributes
    assert rectangles(bar([Part("k0", 1, "x")], 0, "nothing")) == []


def test_strip_shows_overlaps_apart():
    spans = [UnitSpan(layer="a", unit="engine", inference=number, start=start, end=end)
             for number, (start, end) in enumerate([(0, 49), (40, 79), (80, 99)])]
    found = rectangles(strip(spans, 100, "work"))
    assert [(each["class"], each["x"], each["width"], each["y"]) for each in found] == [
        ("k0", "0", "500", "0"), ("k1", "400", "400", "5"), ("k2", "800", "200", "0")]


def test_floorplan():
    cells = [PlacedCell(layer=0, unit="engine", kind="logic", x=0, y=0),
             PlacedCell(layer=0, unit="engine", kind="logic", x=1, y=0),
             PlacedCell(layer=1, unit="select", kind="logic", x=1, y=0),
             PlacedCell(layer=0, unit="engine", kind="multiplier", x=1, y=0),
             PlacedCell(layer=1, unit="select", kind="ram", x=3, y=2)]
    text = floorplan(cells, (4, 3), {"engine": "k0", "select": "k1"}, by_layer=False, label="plan")
    page = read_page(text)
    assert page.problems == [] and ("svg", "viewBox".lower(), "0 0 4 3") in page.attributes
    paths = [value for tag, name, value in page.attributes if (tag, name) == ("path", "d")]
    assert paths == ["M0 2h2v1h-2z", "M3 0h1v1h-1z", "M1 2h1v1h-1z", "M3 0h1v1h-1z"]
    assert [value for tag, name, value in page.attributes if (tag, name) == ("path", "class")] == [
        "k0", "k1", "block dsp", "block ram"]
    by_layer = floorplan(cells, (4, 3), {"0": "k5", "1": "k6"}, by_layer=True, label="plan")
    assert 'class="k5"' in by_layer and "<title>1</title>" in by_layer
