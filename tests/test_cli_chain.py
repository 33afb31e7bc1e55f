"""The commands one after the other, as a user calls them."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from commands import as_json, contents
from models import make_mlp

from dovetail.boards.build_folder import read_build
from dovetail.cli.main import main
from dovetail.hw.errors import DovetailError
from dovetail.hw.memory_map import memory_map
from dovetail.sim import golden, verify
from dovetail.sw.data import load_samples
from dovetail.sw.quantise import input_codes


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small model with k-WTA, unstructured masks and 13 inputs, its data, and a build folder."""
    folder = tmp_path_factory.mktemp("chain")
    model = make_mlp(folder / "small.onnx", sizes=(13, 24, 10, 5), winners=(4, 3), seed=3, densities=(0.3, 0.3, 1.0))
    rng = np.random.default_rng(1)
    np.savez(folder / "calibration.npz", x=rng.integers(0, 256, (40, 13)).astype(np.uint8), scale=np.float32(1 / 255))
    np.savez(folder / "test.npz", x=rng.integers(0, 256, (9, 13)).astype(np.uint8), scale=np.float32(1 / 255),
             y=rng.integers(0, 5, 9))
    assert main(["compile", str(model), "-o", str(folder / "build"), "--calibration", str(folder / "calibration.npz"),
                 "--target-cycles", "200"]) == 0
    return folder


def test_inspect(capsys, files):
    code, found = as_json(capsys, "inspect", files / "small.onnx")
    assert code == 0 and found["supported"] and found["problems"] == []
    first = found["layers"][0]
    assert {"name", "op", "kernels", "positions", "weights", "nonzero", "density", "set_size", "rows",
            "rows_lower_bound", "fill"} <= set(first)
    assert (first["kernels"], first["positions"], first["weights"]) == (24, 13, 312)


def test_same_input_same_bytes(files, tmp_path):
    assert main(["compile", str(files / "small.onnx"), "-o", str(tmp_path / "again"), "--calibration",
                 str(files / "calibration.npz"), "--target-cycles", "200"]) == 0
    assert contents(tmp_path / "again") == contents(files / "build")


def test_plan_given_back(files, tmp_path):
    """The plan that was made, given back as settings, is the same build."""
    assert main(["compile", str(files / "small.onnx"), "-o", str(tmp_path / "again"), "--calibration",
                 str(files / "calibration.npz"), "--config", str(files / "build" / "plan.toml")]) == 0
    assert contents(tmp_path / "again") == contents(files / "build")


def test_replaces_an_older_build(files, tmp_path):
    shutil.copytree(files / "build", tmp_path / "build")
    (tmp_path / "build" / "network.v").write_text("older")
    assert main(["compile", str(files / "small.onnx"), "-o", str(tmp_path / "build"), "--calibration",
                 str(files / "calibration.npz"), "--target-cycles", "200"]) == 0
    assert contents(tmp_path / "build") == contents(files / "build")
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


def test_interrupted_write_leaves_the_old_build(files, tmp_path, monkeypatch):
    shutil.copytree(files / "build", tmp_path / "build")

    def fail(*_, **__):
        raise OSError(28, "No space left on device", "network.v")
    monkeypatch.setattr("dovetail.boards.build_folder.testbench", fail)
    assert main(["compile", str(files / "small.onnx"), "-o", str(tmp_path / "build"), "--calibration",
                 str(files / "calibration.npz")]) == 2
    assert contents(tmp_path / "build") == contents(files / "build")
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


@pytest.mark.parametrize("engine", ["cxxrtl", "amaranth"])
def test_simulate(capsys, files, engine):
    code, found = as_json(capsys, "simulate", files / "build", "--inputs", files / "test.npz", "--engine", engine)
    assert code == 0
    assert {"samples", "mismatches", "first_mismatch", "accuracy", "float_accuracy", "engine", "cycles", "layers",
            "simulated_cycles_per_second"} <= set(found)
    assert found["samples"] == 9 and found["mismatches"] == 0 and found["first_mismatch"] is None
    assert found["cycles"]["predicted"] == found["cycles"]["measured"]
    for layer in found["layers"]:
        cycles = layer["multipliers"] * layer["cycles_per_inference"]
        assert layer["utilisation"] == layer["useful_multiplications"] / cycles


def test_simulate_stalled(capsys, files):
    code, found = as_json(capsys, "simulate", files / "build", "--inputs", files / "test.npz", "--stall-seed", 5,
                          "--limit", 4)
    assert code == 0 and found["samples"] == 4 and found["mismatches"] == 0
    assert found["cycles"]["measured"] > found["cycles"]["predicted"]
    assert found["units"] is found["timeline"] is found["steady"] is found["bottleneck"] is None


def test_simulate_in_text(capsys, files):
    capsys.readouterr()
    assert main(["simulate", str(files / "build"), "--inputs", str(files / "test.npz")]) == 0
    text = capsys.readouterr().out
    assert "outputs: 0 of 45 differ from the golden model" in text and text.rstrip().endswith("passed")
    assert max(map(len, text.splitlines())) <= 80
    code, found = as_json(capsys, "simulate", files / "build", "--inputs", files / "test.npz")
    cycles = found["steady"]["cycles"]
    for unit in found["units"]:
        name = unit["unit"] if unit["layer"] is None else f"{unit['layer']} {unit['unit']}"
        line = next(line for line in text.splitlines() if line.startswith(f"{name}  "))
        shown = [int(number) for number in re.findall(r"(?<![<>])\b(\d+) %", line)]
        shares = [100 * unit["steady"][state] / cycles for state in ("busy", "starved", "stalled")]
        assert shown == [round(share) for share in shares if share in (0, 100) or 0.5 < share < 99.5]
        assert sum(unit["steady"].values()) == cycles
        assert unit["busy"] + unit["starved"] + unit["stalled"] == found["cycles"]["predicted"]
    busiest = max(unit["steady"]["busy"] for unit in found["units"])
    assert found["bottleneck"]["busy"] == busiest and found["bottleneck"]["cycles"] == cycles
    assert f"{found['bottleneck']['layer']} {found['bottleneck']['unit']} " in text
    engines = [span for span in found["timeline"] if span["unit"] == "engine" and span["layer"] == "fc0_node"]
    assert [span["inference"] for span in engines] == list(range(5))
    assert all(before["start"] < after["start"] and before["end"] < after["end"]
               for before, after in pairwise(engines))


def test_wrong_weight_is_caught(capsys, files, tmp_path, monkeypatch):
    """One bit of one memory is stuck in the RTL: exit code 1, and the report says where it shows first."""
    made = verify.NetworkTop

    def spoiled(arch, images):
        first = images[0].engine
        lane = tuple(row ^ 0x40 for row in first.weights[0])
        engine = replace(first, weights=(lane, *first.weights[1:]))
        return made(arch, [replace(images[0], engine=engine), *images[1:]])
    monkeypatch.setattr(verify, "NetworkTop", spoiled)
    code, found = as_json(capsys, "simulate", files / "build", "--inputs", files / "test.npz", "--engine", "amaranth")
    assert code == 1 and found["mismatches"] > 0
    first = found["first_mismatch"]
    assert first["layer"] == "fc0_node (sums)" and first["frame"] == 0 and first["cycle"] > 0
    assert first["expected"] != first["got"]


def test_wrong_cycle_is_caught(capsys, files, monkeypatch):
    monkeypatch.setattr("dovetail.sim.cycles.REQUANTISE_LATENCY", 5)
    code, found = as_json(capsys, "simulate", files / "build", "--inputs", files / "test.npz", "--engine", "amaranth")
    assert code == 1 and found["mismatches"] == 0
    assert found["cycles"]["predicted"] != found["cycles"]["measured"]


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("plus", [[], ["+stall"]])
def test_testbench_in_icarus(files, tmp_path, plus):
    built = tmp_path / "build"
    shutil.copytree(files / "build", built)
    subprocess.run(["iverilog", "-g2012", "-Wall", "-o", "tb.vvp", "tb.v", "network.v"], cwd=built, check=True)
    done = subprocess.run(["vvp", "-n", "tb.vvp", *plus], cwd=built, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("PASS: ")
    words = (built / "tb_expected.hex").read_text().splitlines()
    words[2] = f"{int(words[2], 16) ^ 1:0{len(words[2])}x}"
    (built / "tb_expected.hex").write_text("\n".join(words) + "\n")
    done = subprocess.run(["vvp", "-n", "tb.vvp", *plus], cwd=built, capture_output=True, text=True)
    assert done.returncode == 1 and "mismatch: word 2" in done.stdout and "FAIL: 1 of" in done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("verilator") is None, reason="verilator is not installed")
def test_testbench_in_verilator(files, tmp_path):
    built = tmp_path / "build"
    shutil.copytree(files / "build", built)
    lint = subprocess.run(["verilator", "--lint-only", "-Wall", "network.v"], cwd=built, capture_output=True, text=True)
    assert lint.returncode == 0 and lint.stderr == ""
    subprocess.run(["verilator", "--binary", "--timing", "-Wno-fatal", "--top-module", "tb", "tb.v", "network.v"],
                   cwd=built, check=True, capture_output=True)
    done = subprocess.run([built / "obj_dir" / "Vtb"], cwd=built, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("PASS: ")


def test_image_map(files):
    """Weights and KIDs, read from the images by their map, are those of the network."""
    build = read_build(files / "build")
    found = json.loads((files / "build" / "images" / "map.json").read_text())
    planned = build.plan.layers[2]      # dense weights, one lane: sets of one kernel
    engine = planned.arch.engine
    (memory,) = [memory for memory in found["memories"]
                 if memory["layer"] == "fc2_node" and memory["memory"] == "weights0"]
    rows = [int(line, 16) for line in (files / "build" / "images" / f"{memory['file']}.hex").read_text().split()]
    octets = (files / "build" / "images" / f"{memory['file']}.bin").read_bytes()
    size = -(-memory["width"] // 8)
    assert rows == [int.from_bytes(octets[start:start + size], "little") for start in range(0, len(octets), size)]
    assert engine.lanes == 1 and not engine.row_table and engine.set_size == 1
    for field in memory["fields"]:
        if field["field"] != "weight":
            continue
        for fold in range(engine.folds):
            kernel = int(planned.packing.members[fold, field["bank"], 0])
            for position in range(engine.positions):
                value = rows[fold * engine.lane_positions + position] >> field["low"] & (1 << field["bits"]) - 1
                value -= (value >> field["bits"] - 1) << field["bits"]
                assert value == (planned.layer.weights[kernel, position] if kernel >= 0 else 0)


def test_map_and_interface_are_true(files):
    """What others wire up by: every field has its place, every memory its number, every result its scale."""
    build = read_build(files / "build")
    described = json.loads((files / "build" / "images" / "map.json").read_text())["memories"]
    memories = memory_map(build.plan.arch, build.plan.images)
    assert [(one["layer"], one["memory"], one["width"], one["depth"], one["load_number"]) for one in described] == [
        (memory.layer, memory.name, memory.width, memory.depth, memory.first) for memory in memories]
    for one in described:
        places = [place for field in one["fields"] for place in range(field["low"], field["low"] + field["bits"])]
        assert places == list(range(one["width"]))
    last = build.plan.layers[-1].layer
    interface = build.manifest["interface"]
    assert interface["output"]["scale"] == last.output_scale
    assert interface["input"]["scale"] == build.plan.network.input_scale
    for number, memory in enumerate(memories):
        lines = (files / "build" / "images" / f"{described[number]['file']}.hex").read_text().split()
        assert [int(line, 16) for line in lines] == list(memory.rows)


def test_useful_multiplications_and_accuracy(capsys, files):
    """Counted a second time: non-zero weights at selected inputs; labels against scores."""
    build = read_build(files / "build")
    samples = load_samples(files / "test.npz", build.plan.network.input_shape)
    results = golden.run(build.plan.network, input_codes(build.plan.network, samples.x, samples.scale))
    _, found = as_json(capsys, "simulate", files / "build", "--inputs", files / "test.npz", "--engine", "amaranth")
    for planned, result, layer in zip(build.plan.layers, results, found["layers"], strict=True):
        selected = result.inputs != 0 if planned.arch.engine.indexed else np.ones_like(result.inputs, bool)
        useful = sum(int((planned.layer.weights[:, position] != 0).sum()) * int(selected[:, position].sum())
                     for position in range(planned.layer.positions))
        assert layer["useful_multiplications"] == useful / len(selected)
    assert found["accuracy"] == np.mean(results[-1].outputs.argmax(axis=1) == samples.labels)
    real = build.model.run(samples.x * samples.scale)[-1]
    assert found["float_accuracy"] == np.mean(real.argmax(axis=1) == samples.labels)


@pytest.mark.parametrize(("change", "message"), [
    (lambda text: text.replace("dovetail-build/5", "dovetail-build/1"), "made by another version"),
    (lambda text: text.replace('"folds": ', '"folds": 1'), "manifest.json was changed"),
    (lambda text: text[:100], "no build folder"),
    (lambda text: "[]", "no build folder"),
])
def test_damaged_manifest(files, tmp_path, change, message):
    shutil.copytree(files / "build", tmp_path / "build")
    manifest = tmp_path / "build" / "manifest.json"
    manifest.write_text(change(manifest.read_text()))
    with pytest.raises(DovetailError, match=message):
        read_build(tmp_path / "build")


@pytest.mark.parametrize("file", ["network.v", "network.npz", "network.json", "golden.npz", "tb.v", "images/map.json"])
@pytest.mark.parametrize("change", [lambda octets: octets[:-40], lambda octets: b"", lambda octets: b"?" + octets[1:]])
def test_damaged_file(files, tmp_path, file, change):
    shutil.copytree(files / "build", tmp_path / "build")
    path = tmp_path / "build" / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DovetailError, match=rf"damaged \({file} was changed\)"):
        read_build(tmp_path / "build")
    path.unlink()
    with pytest.raises(DovetailError, match=rf"damaged \({file} was changed\)"):
        read_build(tmp_path / "build")


def test_plan_is_there_to_be_edited(files, tmp_path):
    shutil.copytree(files / "build", tmp_path / "build")
    (tmp_path / "build" / "plan.toml").write_text("target_cycles = 5\n")
    read_build(tmp_path / "build")


def test_dense_modes(capsys, files, tmp_path):
    """All three modes compute the same outputs."""
    found = {}
    for mode in ("dense", "sparse-dense", "sparse-sparse"):
        assert main(["compile", str(files / "small.onnx"), "-o", str(tmp_path / mode), "--calibration",
                     str(files / "calibration.npz"), "--mode", mode, "--requantise", "shift",
                     "--weight-bits", "6"]) == 0
        code, found[mode] = as_json(capsys, "simulate", tmp_path / mode, "--inputs", files / "test.npz",
                                    "--engine", "amaranth")
        assert code == 0
    assert len({one["accuracy"] for one in found.values()}) == 1
