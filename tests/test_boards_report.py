"""The report's page: what it shows, that it needs nothing else, and that names from strangers' files stay text."""

import os
import re
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from builders import make_cnn
from models import make_mlp
from pages import read_page

from dovetail.boards import report as report_module
from dovetail.boards.build_folder import Build, read_build
from dovetail.boards.floorplan import PlacedCell
from dovetail.boards.report import gather, render, shown, write_report
from dovetail.boards.report_parts import Implementation, Mark, PathStep, Use
from dovetail.cli.main import main
from dovetail.hw.arch import EngineArch, EngineKind, Mode, UnrolledArch
from dovetail.hw.errors import DovetailError
from dovetail.sim import golden
from dovetail.sim.compare import plan_in_mode
from dovetail.sim.cycles import network_cycles
from dovetail.sw.data import Samples
from dovetail.sw.model import FloatLayer, FloatModel
from dovetail.sw.plan import plan
from dovetail.sw.settings import Device, LayerSettings, Settings

HOSTILE = "</style></b><script>alert(1)</script><img src=x onerror=alert(2)>\"' {{ 7 * 7 }} &lt;\u202e\u2028fc"
SECTIONS = ["network", "packing", "plan", "time", "multipliers", "memory", "resources", "floorplan", "clock",
            "accuracy", "comparison"]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A small build, one of whose layers has the name of somebody who means harm."""
    folder = tmp_path_factory.mktemp("report")
    path = make_mlp(folder / "small.onnx", sizes=(13, 24, 12, 5), winners=(4, 3), seed=3, densities=(0.3, 0.25, 1.0))
    model = onnx.load(path)
    next(node for node in model.graph.node if node.op_type in ("Gemm", "MatMul")).name = HOSTILE
    onnx.save(model, path)
    np.savez(folder / "calibration.npz", x=np.random.default_rng(1).integers(0, 256, (40, 13)).astype(np.uint8),
             scale=np.float32(1 / 255))
    assert main(["compile", str(path), "-o", str(folder / "build"), "--calibration", str(folder / "calibration.npz"),
                 "--target-cycles", "100"]) == 0
    return read_build(folder / "build")


@pytest.fixture(scope="module")
def codes(build):
    return np.random.default_rng(2).integers(0, 256, (5, 13))


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(3)
    return Samples(x=rng.integers(0, 256, (20, 13)).astype(np.uint8), scale=1 / 255, labels=rng.integers(0, 5, 20))


IMPLEMENTATION = Implementation(
    device="ecp5-25k", tools=("Yosys 1.2", "nextpnr-ecp5 3.4"), fmax_mhz=101.5, grid=(9, 7),
    uses=(Use(resource="look-up tables", used=300, available=200, mark=Mark.MEASURED, by="nextpnr-ecp5 3.4"),
          Use(resource="multipliers", used=2, available=0, mark=Mark.ESTIMATED, by="a guess")),
    path=(PathStep(what="clk-to-q", unit=f"{HOSTILE}: engine", nanoseconds=0.5),
          PathStep(what="routing", unit="fc: drain", nanoseconds=1.25)),
    cells=(PlacedCell(layer=0, unit="engine", kind="logic", x=1, y=2),
           PlacedCell(layer=-1, unit="border", kind="ram", x=8, y=6)))


@pytest.fixture(scope="module")
def full(build, codes, samples):
    """A page with every section filled."""
    return render(gather(build, codes, samples=samples, samples_name=f"{HOSTILE}.npz", implementation=IMPLEMENTATION,
                         device=Device.ECP5_25K))


def test_page_is_well_formed(full):
    assert full.startswith("<!doctype html>\n<html lang=\"en\">")
    page = read_page(full)
    assert page.problems == []
    assert page.ids == SECTIONS
    assert [value for tag, name, value in page.attributes if name == "href"] == [f"#{section}" for section in SECTIONS]


def test_page_needs_nothing_else(full):
    page = read_page(full)
    assert not page.tags.keys() & {"script", "link", "iframe", "object", "embed", "base", "form", "video", "audio"}
    assert "url(" not in page.style and "@import" not in page.style
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "srcset", "data", "action", "xlink:href"):
            assert value.startswith(("#", "data:image/png;base64,")), (tag, value)
    assert "http:" not in full and "https:" not in full
    assert len(full.encode()) < 2_000_000


def test_hostile_name_stays_text(build, full):
    page = read_page(full)
    assert page.tags["script"] == 0 and "alert(1)" in page.words
    assert "{{ 7 * 7 }}" in page.words
    assert "\u202e" not in full and "\u2028" not in full
    # Its beginning is shown wherever the layer is, and the whole of it is a title.
    whole = build.plan.network.layers[0].name
    assert HOSTILE.startswith(whole) and page.words.count(HOSTILE[:20]) >= 8
    assert ("bdi", "title", whole) in page.attributes
    pictures = [1 + (layer.packing.set_size > 1) for layer in build.plan.layers]
    assert page.tags["img"] == sum(pictures)        # none from the name


@pytest.mark.parametrize("text, expected", [
    ("fc1/conv-ü 畳", "fc1/conv-ü 畳"), ("a\x00b\x1bc\u202ed\ud800e", "a\ufffdb\ufffdc\ufffdd\ufffde"), ("", "")])
def test_shown(text, expected):
    assert shown(text) == expected


def test_without_data_a_section_names_the_command(build, codes):
    page = read_page(render(gather(build, codes)))
    assert page.ids == SECTIONS and page.problems == []
    for words in ("Not synthesised: dovetail report BUILD --synth DEVICE counts the cells",
                  "Not placed: dovetail report BUILD --synth DEVICE --pnr places and routes",
                  "Not routed: dovetail report BUILD --synth DEVICE --pnr finds the fastest clock",
                  "No inputs given: dovetail report BUILD --inputs X.npz compares"):
        assert words in page.words


def test_figures(build, codes, samples, full):
    """Against what the parts of the project say themselves."""
    report = gather(build, codes)
    network, arch = build.plan.network, build.plan.arch
    results = golden.run(network, np.resize(codes, (16, 13)))
    assert report.cycles == network_cycles(build.plan, results).per_inference
    assert [row.nonzero for row in report.network] == [np.count_nonzero(layer.mask) for layer in network.layers]
    assert sum(row.bits for row in report.memories) == build.manifest["memory_bits"]
    assert report.multipliers == sum(layer.engine.multipliers for layer in arch.layers)
    assert [row.built for row in report.modes] == [False, False, True]
    for row, mode in zip(report.modes, Mode, strict=True):
        assert row.mode == mode.value
        planned = build.plan if row.built else plan_in_mode(build.plan, mode)
        assert row.cycles == network_cycles(planned, results).per_inference
    for row in report.shares:
        assert sum(part for _, part in row.parts) == pytest.approx(1, abs=1e-12)
    for unit in report.units:
        assert unit.cycles == report.units[0].cycles > 0
    assert {(span.layer, span.unit) for span in report.spans} == {(unit.layer, unit.unit) for unit in report.units}

    page = read_page(full)
    scores = network.layers[-1].real(golden.run(network, samples.x.astype(np.int64))[-1].outputs)
    right = 100 * float((scores.argmax(axis=1) == samples.labels).mean())
    assert f"integer network right {right:.1f} % right" in page.words
    for words in ("101.5 MHz", "300 of 200, 150.0 %: does not fit (nextpnr-ecp5 3.4)",
                  "multipliers estimated 2: the device has none (a guess)", "Critical path, 1.75 ns",
                  "Yosys 1.2, nextpnr-ecp5 3.4", f"{build.manifest['memory_bits']:,} bits hold the network"):
        assert words in page.words


def test_answers_without_labels(build, codes, samples):
    report = gather(build, codes, samples=replace(samples, labels=None), samples_name="x.npz")
    assert report.accuracy.integer is None and 0 <= report.accuracy.agree <= 1
    assert "without labels, nobody knows which are right" in read_page(render(report)).words


def test_packing_is_what_the_memories_hold():
    """Every KID of the picture, against the weight memories; positions in conflict take as many rows as kernels."""
    rng = np.random.default_rng(5)
    network = make_cnn(rng, image=(1, 6, 6), layers=[{"kernels": 8, "kernel": (3, 3), "sets": 4},
                                                     {"kernels": 6, "density": 0.3}, {"kernels": 6, "sets": 3}])
    fixed = Settings(layers={name: LayerSettings(lanes=1, banks=2) for name in ("layer0", "layer1", "layer2")})
    planned = plan(network, fixed)
    for layer in planned.layers:
        view = report_module._packing(layer)
        engine, order = layer.arch.engine, layer.order.tolist()
        assert np.count_nonzero(view.kids >= 0) == min(1, 160 / view.rows) * np.count_nonzero(layer.mask)
        assert view.conflicts == engine.row_table
        if engine.row_table:
            continue
        for row, position in enumerate(order):
            for column in range(view.sets):
                fold, bank = divmod(column, engine.banks)
                slot = layer.images.engine.weights[0][fold * engine.lane_positions + row] >> bank * engine.slot_bits
                kid = slot >> engine.weight_bits & (1 << engine.kid_bits) - 1
                assert view.kids[position, column] in (-1, kid)


def test_convolutions_and_unrolled_layers():
    rng = np.random.default_rng(6)
    network = make_cnn(rng, image=(1, 8, 8), layers=[
        {"kernels": 8, "kernel": (3, 3), "winners": 2, "pool": {"kernel": (2, 2), "strides": (2, 2)}}, {"kernels": 4}])
    planned = plan(network, Settings(layers={"layer0": LayerSettings(engine=EngineKind.UNROLLED)}))
    assert isinstance(planned.arch.layers[0].engine, UnrolledArch)
    assert isinstance(planned.arch.layers[1].engine, EngineArch)
    model = FloatModel(name="net", input_shape=(1, 8, 8), sha256="0" * 64, head=None, layers=(
        FloatLayer(name="a", op="Gemm", weights=rng.random((4, 64)), bias=np.zeros(4)),))
    made = Build(plan=planned, model=model, manifest={"intake": None})
    page = read_page(render(gather(made, rng.integers(0, 16, (3, 64)))))
    assert page.problems == [] and page.ids == SECTIONS
    assert "Conv 3 × 3" in page.words or "Linear 3 × 3" in page.words
    assert "unrolled" in page.words and "constants in logic" in page.words


def test_mode_that_cannot_be_built(build, codes, monkeypatch):
    def refuse(reference, mode):
        raise DovetailError(f"no engine fits <{mode.value}>")

    monkeypatch.setattr(report_module, "plan_in_mode", refuse)
    page = read_page(render(gather(build, codes)))
    assert page.problems == [] and "cannot be built: no engine fits <dense>" in page.words


@pytest.mark.parametrize("part, expected", [
    (0, "0 %"), (1, "100 %"), (0.5, "50.0 %"), (1e-5, "< 0.1 %"), (0.99999, "> 99.9 %"), (1.5, "150.0 %"),
    (float("inf"), "?")])
def test_percent(part, expected):
    assert report_module._percent(part) == expected


@pytest.mark.parametrize("value, expected", [(0, "0"), (7.0, "7"), (12.34, "12.3"), (1234.5, "1,234")])
def test_number(value, expected):
    assert report_module._number(value) == expected


def test_writes_all_or_nothing(tmp_path, full, monkeypatch):
    path = tmp_path / "report.html"
    write_report(path, full)
    assert path.read_text(encoding="utf-8") == full and path.stat().st_mode & 0o777 == 0o644

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_report(path, full + "<!-- new -->")
    assert path.read_text(encoding="utf-8") == full and list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write_report(path, full + "<!-- new -->")
    assert path.read_text(encoding="utf-8").endswith("<!-- new -->")


def test_replaces_reports_only(tmp_path, full):
    (tmp_path / "model.onnx").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "model.onnx")
    for name, message in (("model.onnx", "exists and is no report, which would be lost; name another file"),
                          ("", "exists and is no file"), ("link", "exists and is no file"),
                          ("none/report.html", f"the folder {tmp_path / 'none'} does not exist")):
        with pytest.raises(DovetailError) as caught:
            write_report(tmp_path / name, full)
        assert str(caught.value) == f"{tmp_path / name}: {message}"
    assert (tmp_path / "model.onnx").read_bytes() == b"mine"


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, to look at pages")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs chromium on PATH, to look at pages")
    with api.sync_playwright() as started:
        running = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(browser, tmp_path, full, width, scheme):
    """Nothing sticks out beside the page, nothing is asked for, text and page have contrast."""
    write_report(tmp_path / "report.html", full)
    asked, said = [], []
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]
    assert said == []
    style = "getComputedStyle(document.body)"
    text, ground = (sum(map(int, re.findall(r"\d+", page.evaluate(f"{style}.{name}"))))
                    for name in ("color", "backgroundColor"))
    assert abs(text - ground) > 500 and (ground > 600) == (scheme == "light")
    page.close()
