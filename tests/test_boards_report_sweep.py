"""The page of a sweep, from its table and its plots."""

import numpy as np
import pytest
from pages import read_page

from dovetail.boards import report_sweep
from dovetail.boards.report_pictures import png
from dovetail.boards.report_sweep import is_sweep, read_sweep_folder, render_sweep
from dovetail.cli.main import main
from dovetail.hw.errors import DovetailError

TABLE = """model,set_size,device,cycles,lut_equivalents,seconds,dovetail,yosys,error,pareto
"<script>x</script>",4,ecp5-85k,1000.0,12345,3.1,0.1.0,1.2,,True
"<script>x</script>",8,ecp5-85k,512.25,23456,3.2,0.1.0,1.2,,False
"<script>x</script>",16,ecp5-85k,,,0.1,0.1.0,1.2,"no engine <b>fits</b>",False
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my sweep").mkdir()
    (tmp_path / "my sweep" / "results.csv").write_text(TABLE)
    for name in ("b", "a"):
        (tmp_path / "my sweep" / f"{name}.png").write_bytes(png(np.zeros((3, 5), int), [(1, 2, 3)]))
    return tmp_path / "my sweep"


def test_page(folder, tmp_path, capsys):
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.startswith(f"written: {tmp_path / 'page.html'}")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = read_page(text)
    assert page.problems == [] and page.ids == ["plots", "table", "failed"] and page.tags["script"] == 0
    for words in ("set size cycles lut equivalents 4 1,000 12,345 8 512.2 23,456", "points failed 1",
                  "The same in all rows: model <script>x</script>, device ecp5-85k.",
                  "set_size 16 : no engine <b>fits</b>", "yosys 1.2"):
        assert words in page.words
    images = [(name, value) for tag, name, value in page.attributes if tag == "img" and name != "src"]
    assert images == [("width", "5"), ("height", "3"), ("alt", "plot a"), ("width", "5"), ("height", "3"),
                      ("alt", "plot b")]
    sources = [value for tag, name, value in page.attributes if name == "src"]
    assert len(sources) == 2 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text


def test_nothing_measured(folder):
    (folder / "results.csv").write_text("set_size,error\n4,broken\n")
    (folder / "a.png").write_bytes(b"no picture")
    page = read_page(render_sweep(read_sweep_folder(folder)))
    assert page.problems == []
    assert "No point could be measured" in page.words and "1 more in the folder" in page.words


def test_no_room(folder, monkeypatch):
    monkeypatch.setattr(report_sweep, "MOST_PLOTS", 200)
    report = read_sweep_folder(folder)
    assert [plot.name for plot in report.plots] == ["a"] and report.left_out == 1


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"a,b\n1\n", b"a,a\n1,2\n", b"a\n\xff\n", b'a\n"\x00'])
def test_wrong_table(folder, content):
    (folder / "results.csv").write_bytes(content)
    if content == b'a\n"\x00':
        render_sweep(read_sweep_folder(folder))     # odd, but a table
        return
    with pytest.raises(DovetailError) as caught:
        read_sweep_folder(folder)
    assert str(caught.value) == f"{folder / 'results.csv'}: is no table of results; make one with dovetail sweep"


def test_options_of_builds_are_refused(folder, capsys):
    assert is_sweep(folder)
    assert main(["report", str(folder), "--synth", "up5k"]) == 2
    assert capsys.readouterr().err == (f"dovetail: error: argument --synth: {folder} is a sweep's folder, which takes "
                                       "none\n")
