"""Sweeps: specifications and their points, synthetic layers, tables. No cluster here."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet

from dovetail.boards import sweep_run
from dovetail.boards.sweep import Point, point_key, read_sweep
from dovetail.boards.sweep_layer import plan_layer, run_random
from dovetail.boards.sweep_plots import plot_sweep
from dovetail.boards.sweep_point import COLUMNS, measure
from dovetail.boards.sweep_run import write_whole
from dovetail.boards.sweep_tables import mark_pareto, problem, write_tables
from dovetail.hw.arch import Mode, SelectKind
from dovetail.hw.errors import DovetailError
from dovetail.sim.cycles import layer_cycles
from dovetail.sw.settings import Device

LAYER = "channels = 16\nkernels = 8\n"


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "spec.toml"
        path.write_text(text)
        return read_sweep(path)
    return read


def test_points_are_the_cross_product_in_the_order_of_the_file(read):
    sweep = read(LAYER + 'winners = [2, 4]\nset_size = [2, 4, 8]\ndevice = "xcup"\n')
    assert sweep.name == "spec"
    assert [(point.winners, point.set_size) for point in sweep.points] == [
        (2, 2), (2, 4), (2, 8), (4, 2), (4, 4), (4, 8)]
    assert {point.device for point in sweep.points} == {Device.XCUP}


def test_what_does_not_matter_makes_no_points(read):
    sweep = read(LAYER + 'winners = [2, 4]\nset_size = [2, 4]\nmode = ["sparse-sparse", "sparse-dense", "dense"]\n')
    assert [(point.mode, point.set_size, point.winners) for point in sweep.points if point.winners is None] == [
        (Mode.SPARSE_DENSE, 2, None), (Mode.DENSE, None, None), (Mode.SPARSE_DENSE, 4, None)]
    assert len(sweep.points) == 7


def test_grids_add_and_inherit_and_exclude_drops(read):
    sweep = read('name = "x"\npareto = ["cycles", "dsp"]\nkernels = 8\nset_size = [2, 4]\nwinners = 2\nlanes = 2\n'
                 "[[grid]]\nchannels = 16\n[[grid]]\nchannels = 4\nkernel = 3\nimage = '4x5'\nlanes = [1, 3]\n"
                 "[[exclude]]\nset_size = 4\nlanes = [1, 2]\n")
    assert [(point.channels, point.kernel, point.image, point.lanes, point.set_size) for point in sweep.points] == [
        (16, None, None, 2, 2), (4, (3, 3), (4, 5), 1, 2), (4, (3, 3), (4, 5), 3, 2), (4, (3, 3), (4, 5), 3, 4)]
    assert (sweep.name, sweep.pareto) == ("x", ("cycles", "dsp"))


def test_a_model_brings_its_files(read, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"model")
    (tmp_path / "c.npz").write_bytes(b"inputs")
    sweep = read('model = "m.onnx"\ncalibration = "c.npz"\ntarget_cycles = [10, 20]\n')
    assert sweep.files == {"m.onnx": tmp_path / "m.onnx", "c.npz": tmp_path / "c.npz"}
    assert [point.target_cycles for point in sweep.points] == [10, 20]


@pytest.mark.parametrize("text, message", [
    ("a = ", "not a TOML file: .*"),
    ("\xff", "not a TOML file: .*"),
    ("rows = 3", "unknown key 'rows'; known are model, .*"),
    (LAYER + "set_size = []", r"set_size must have at least one value, not \[\]"),
    (LAYER + "set_size = 0", "set_size must be a whole number from 1 to 512, not 0"),
    (LAYER + "set_size = true", "set_size must be a whole number from 1 to 512, not True"),
    (LAYER + "set_size = 16\nwinners = 2", r"set_size must be at most kernels \(8\), not 16"),
    (LAYER + "set_size = 2", "winners is missing"),
    (LAYER + "winners = 2", "set_size or density is missing"),
    (LAYER + "set_size = 2\nwinners = 17", r"winners must be at most channels \(16\), not 17"),
    (LAYER + "set_size = 2\ndensity = 0.5\nwinners = 2", "set_size and density must not be given together"),
    (LAYER + "density = 0", "density must be a number above 0 and at most 1, not 0"),
    (LAYER + "density = 0.5\nwinners = 2\nfolds = 2", "folds must not be given with density; give banks"),
    (LAYER + "set_size = 2\nwinners = 2\nfolds = 2\nbanks = 2", "banks and folds must not be given together"),
    (LAYER + "kernel = 3", "kernel and image must be given together"),
    (LAYER + "kernel = '3x'\nimage = 3", "kernel must be a size such as 3 or \"3x5\", not '3x'"),
    (LAYER + "image = [0]\nkernel = 3", "image must be a size such as 3 or \"3x5\", not 0"),
    (LAYER + "mode = 'fast'", "mode must be one of dense, sparse-dense, sparse-sparse, not 'fast'"),
    (LAYER + "device = 3", "device must be one of up5k, .*, xcup, not 3"),
    (LAYER + "by_unit = 1", "by_unit must be true or false, not 1"),
    (LAYER + "calibration = 'x'\nmode = 'dense'", "calibration belongs to a model, and there is none"),
    (LAYER + "model = 'x'", "channels belongs to a synthetic layer, and there is a model"),
    ("model = 'x.onnx'", "names .*x.onnx, which is no file"),
    ("model = 3", "model must be a path, not 3"),
    ("kernels = 8\nmode = 'dense'", "channels is missing: .*"),
    (LAYER + "mode = 'dense'\n[exclude]\nmode = 'dense'", r"exclude must be tables, written \[\[exclude\]\]"),
    (LAYER + "mode = 'dense'\n[[exclude]]\nmode = 'dense'", "no combination is left to sweep"),
    (LAYER + "mode = 'dense'\n[[exclude]]\nmod = 'dense'", "exclude 1: unknown key 'mod'.*"),
    (LAYER + "[[grid]]\nmode = 'dense'\n[[grid]]\nbanks = 0", "grid 2: banks must be .*"),
    (LAYER + "pareto = ['cycles']", "pareto must be two or more of .*"),
    ("name = 3\n" + LAYER, "name must be a text, not 3"),
    (f"kernels = 8\nseed = {list(range(101))}\nchannels = {list(range(1, 101))}", "has 10100 combinations; .*"),
])
def test_specification_wrong(read, tmp_path, text, message):
    with pytest.raises(DovetailError, match=rf"^{tmp_path}/spec.toml: (grid \d: )?{message}$"):
        read(text)


def test_specification_missing(tmp_path):
    with pytest.raises(DovetailError, match="no such file$"):
        read_sweep(tmp_path / "none.toml")


def test_key_depends_on_parameters_and_on_the_files_contents():
    point = Point(model="m.onnx", target_cycles=5)
    key = point_key(point, {"m.onnx": b"1"})
    assert key == point_key(replace(point, model="other.onnx"), {"other.onnx": b"1"})
    assert key != point_key(point, {"m.onnx": b"2"})
    assert key != point_key(replace(point, target_cycles=6), {"m.onnx": b"1"})


@pytest.mark.parametrize("point", [
    Point(channels=24, kernels=10, set_size=4, winners=6),
    Point(channels=24, kernels=10, set_size=4, winners=6, folds=2, lanes=4),
    Point(channels=24, kernels=10, density=0.3, winners=6, lanes=2),
    Point(channels=24, kernels=8, set_size=4, mode=Mode.SPARSE_DENSE, banks=2),
    Point(channels=24, kernels=8, mode=Mode.DENSE, folds=4),
    Point(channels=8, kernels=8, kernel=(3, 1), image=(5, 4), set_size=2, winners=3, target_cycles=60),
    Point(channels=8, kernels=8, kernel=(2, 2), image=(4, 4), mode=Mode.DENSE, weight_bits=4, activation_bits=4),
], ids=lambda point: point.label)
def test_layer_is_the_one_that_was_asked_for(point):
    planned = plan_layer(point)
    layer, engine, result = planned.layer, planned.arch.engine, run_random(point, planned)
    assert (layer.kernels, layer.weight_bits, engine.activation_bits) == (
        point.kernels, point.weight_bits, point.activation_bits)
    assert (layer.weights[layer.mask] != 0).all()
    assert layer.output_shape == (point.kernels, *(point.image or ()))
    pixels = result.inputs.reshape(len(result.inputs), point.channels, -1)
    np.testing.assert_array_equal(np.count_nonzero(pixels, axis=1), point.winners or point.channels)
    assert planned.arch.mode is point.mode
    assert planned.arch.select.is_kwta == (point.winners is not None)
    if point.winners is not None:
        assert engine.indexed and planned.arch.select.winners == round(point.kernels * point.winners / point.channels)
        assert not planned.arch.select.losers       # winners alone leave, as pairs
    else:
        assert planned.arch.select.kind is SelectKind.ALL
    if point.set_size is not None:
        assert engine.set_size == point.set_size and not engine.row_table
        for members in layer.sets:
            np.testing.assert_array_equal(layer.mask[members[members >= 0]].sum(axis=0), 1)
    if point.density is not None:
        assert layer.mask.sum() == round(point.density * layer.mask.size)
    for name in ("lanes", "banks", "folds"):
        assert getattr(point, name) in (None, getattr(engine, name))
    if point.target_cycles is not None:
        assert layer_cycles(planned, result).cycles_per_inference <= point.target_cycles * layer.vectors


def test_point_that_cannot_be_built_has_its_reason():
    row = measure(Point(channels=16, kernels=8, set_size=4, mode=Mode.SPARSE_DENSE, target_cycles=1))
    assert row["error"].startswith("layer 'layer' cannot reach 1 cycles per inference; ")
    assert list(row) == list(COLUMNS) and row["lut"] is None and row["device"] == "ecp5-85k"


def test_point_that_breaks_something_has_its_reason(monkeypatch):
    monkeypatch.setattr("dovetail.boards.sweep_point.plan_layer", lambda point: 1 // 0)
    assert measure(Point(channels=16, kernels=8, mode=Mode.DENSE))["error"] == (
        "internal error: ZeroDivisionError: integer division or modulo by zero")


def made_up(point, cycles=8.0, lut=100, error=None):
    row = {**dict.fromkeys(COLUMNS), **point.parameters, "error": error}
    if error is None:
        row |= {"cycles": cycles, "lut_equivalents": lut, "lut_per_throughput": lut * cycles / 1000,
                "inferences_per_second": 1e8 / cycles}
    return row


def test_pareto_front_is_of_each_problem():
    layer = Point(channels=16, kernels=8, set_size=4, winners=4)
    rows = [made_up(layer, 8, 100), made_up(layer, 9, 90), made_up(layer, 9, 100), made_up(layer, 8, 100),
            made_up(replace(layer, device=Device.XCUP), 50, 500), made_up(replace(layer, channels=32), 50, 500),
            made_up(layer, error="no")]
    mark_pareto(rows, ("cycles", "lut_equivalents"))
    assert [row["pareto"] for row in rows] == [True, True, False, True, True, True, False]
    assert problem(rows[4]) == ("16 → 8", "xcup")


def test_tables_and_plots(tmp_path):
    layer = Point(channels=16, kernels=8, set_size=4, winners=4)
    rows = [made_up(replace(layer, set_size=size, winners=winners), 80 / size + winners, 100 + size)
            for size in (2, 4) for winners in (2, 4)]
    rows += [made_up(replace(layer, set_size=None, winners=None, mode=Mode.DENSE), 100.0, 900),
             made_up(layer, error="too, \"fast\"")]
    mark_pareto(rows, ("cycles", "lut_equivalents"))
    paths = write_tables(rows, tmp_path)
    table = parquet.read_table(paths[1]).to_pylist()
    assert table == rows
    with paths[0].open(newline="") as file:
        text = list(csv.DictReader(file))
    assert [row["error"] for row in text] == [""] * 5 + ['too, "fast"']
    assert [row["lut_equivalents"] for row in text] == [str(row["lut_equivalents"] or "") for row in rows]

    pictures = plot_sweep(rows, tmp_path, name="<sweep> & $x", pareto=("cycles", "lut_equivalents"))
    assert sorted(path.name for path in pictures) == sorted(
        f"{stem}.{kind}" for stem in ("against_N-ecp5-85k", "against_K-ecp5-85k", "pareto") for kind in ("png", "svg"))
    first = [path.read_bytes() for path in pictures]
    plot_sweep(rows, tmp_path, name="<sweep> & $x", pareto=("cycles", "lut_equivalents"))
    assert [path.read_bytes() for path in pictures] == first


def test_plots_of_nothing(tmp_path):
    rows = [made_up(Point(channels=16, kernels=8, set_size=4, winners=4), error="no")]
    mark_pareto(rows, ("cycles", "lut_equivalents"))
    assert plot_sweep(rows, tmp_path, name="x", pareto=("cycles", "lut_equivalents")) == []


def test_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "row.json"
    write_whole(path, b"old")

    def full(_):
        raise OSError("disk full")
    monkeypatch.setattr(sweep_run.os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new, and longer")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]
