"""`dovetail report`: options, what is printed, the same bytes again, and errors in one line."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from models import make_mlp
from pages import read_page

from dovetail.boards import report_synthesis
from dovetail.boards.cells import Cells, Family
from dovetail.cli.main import main
from dovetail.hw.network import NetworkTop


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    model = make_mlp(folder / "small.onnx", sizes=(6, 8, 4), winners=(2,), seed=3, densities=(0.5, 1.0))
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (20, 6)).astype(np.uint8)
    np.savez(folder / "calibration.npz", x=x, scale=np.float32(1 / 255))
    np.savez(folder / "test.npz", x=x, scale=np.float32(1 / 255), y=rng.integers(0, 4, 20))
    assert main(["compile", str(model), "-o", str(folder / "build"), "--calibration", str(folder / "calibration.npz"),
                 "--target-cycles", "200"]) == 0
    return folder


def test_page(capsys, files, tmp_path):
    capsys.readouterr()
    path = tmp_path / "page.html"
    assert main(["report", str(files / "build"), "-o", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"written: {path} (") and printed.out.count("\n") == 1
    assert "working out the report" in printed.err
    assert "Dovetail" in read_page(path.read_text(encoding="utf-8")).words


def test_counted_with_inputs(capsys, files, tmp_path, monkeypatch):
    """With all options; Yosys, which would take half a minute, is asked for the cells of the right family."""
    def count(component, family):
        assert isinstance(component, NetworkTop) and family is Family.ICE40
        return Cells(lut=1234, carry=0, lut_ram=0, ff=9000, bram=7, dsp=0, lut_equivalents=1234)

    monkeypatch.setattr(report_synthesis, "count_cells", count)
    capsys.readouterr()
    path = tmp_path / "page.html"
    assert main(["report", str(files / "build"), "-o", str(path), "--inputs", str(files / "test.npz"),
                 "--synth", "hx8k", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(path), "bytes": path.stat().st_size}
    words = read_page(path.read_text(encoding="utf-8")).words
    for part in ("look-up tables measured used 1,234 of 7,680, 16.1 % (counted by Yosys ",
                 "flip-flops measured used 9,000 of 7,680, 117.2 %: does not fit",
                 "block RAMs measured used 7 of 32, 21.9 %"):
        assert part in words
    assert "On 20 inputs of test.npz" in words and "Not placed" in words


def test_same_bytes_in_another_process(files, tmp_path):
    """Sets and dicts of names are in no order of chance."""
    assert main(["report", str(files / "build"), "-o", str(tmp_path / "one.html")]) == 0
    code = "import sys; from dovetail.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "report", str(files / "build"), "-o", "report.html"], cwd=tmp_path,
                          env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").read_bytes() == (tmp_path / "one.html").read_bytes()


@pytest.mark.parametrize("arguments, message", [
    (["{}", "-o", "{}/x.html"], "no build folder"),
    (["{}/build", "-o", "{}/test.npz"], "exists and is no report"),
    (["{}/build", "-o", "{}/none/x.html"], "does not exist"),
    (["{}/build", "-o", "{}/x.html", "--inputs", "{}/none.npz"], "none.npz"),
    (["{}/build", "--synth", "z80"], "invalid choice: 'z80'"),
])
def test_wrong(capsys, files, arguments, message):
    capsys.readouterr()
    assert main(["report", *(each.format(files) for each in arguments)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("dovetail: error: ") and message in error
    assert not (files / "x.html").exists()
