"""The example of a network in a Verilog design, in two simulators."""

import os
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from axis import skip_without

from dovetail.cli.main import main
from dovetail.sim import Engine
from dovetail.sim.tools import find_icarus, find_verilator

EXAMPLE = sorted((Path(__file__).resolve().parent.parent / "examples" / "verilog").glob("*.v"))


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    path = tmp_path_factory.mktemp("builds") / "build"
    with resources.as_file(resources.files("dovetail.cli") / "digits") as digits:
        assert main(["compile", str(digits / "digits.onnx"), "-o", str(path), "--target-cycles", "300",
                     "--calibration", str(digits / "digits_calibration.npz")]) == 0
    return path


def run(command, folder, environment=None):
    done = subprocess.run([*map(str, command)], cwd=folder, env={**os.environ, **(environment or {})},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def digits(text):
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("digit ")]


def expected(build):
    with np.load(build / "golden.npz") as golden:
        return golden["layer2"].argmax(axis=1).tolist()


def test_icarus(build, tmp_path):
    skip_without(Engine.ICARUS)
    compiler, runner = find_icarus()
    assert run([compiler, "-g2012", "-Wall", "-o", "digits.vvp", *EXAMPLE, build / "network.v"], tmp_path) == ""
    found = digits(run([runner, "-n", "digits.vvp", f"+frames={build / 'tb_input.hex'}"], tmp_path))
    assert found == expected(build) and len(set(found)) > 1


def test_verilator(build, tmp_path):
    skip_without(Engine.VERILATOR)
    verilator, environment = find_verilator()
    quick = [option for name in ("FAST", "SLOW", "GLOBAL") for option in ("-MAKEFLAGS", f"OPT_{name}=-O0")]
    run([*verilator, "--binary", "--timing", "--top-module", "digits_tb", *quick, *EXAMPLE, build / "network.v"],
        tmp_path, environment)
    assert digits(run(["obj_dir/Vdigits_tb", f"+frames={build / 'tb_input.hex'}"], tmp_path)) == expected(build)


def test_design_is_clean(build, tmp_path):
    skip_without(Engine.VERILATOR)
    verilator, environment = find_verilator()
    design = [path for path in EXAMPLE if path.stem != "digits_tb"]
    assert run([*verilator, "--lint-only", "-Wall", "--top-module", "digits_top", *design, build / "network.v"],
               tmp_path, environment) == ""
