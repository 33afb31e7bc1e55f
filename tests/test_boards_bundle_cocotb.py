"""The cocotb test of a build folder, run as its user runs it; it fails where the network computes something else."""

import os
import re
import subprocess
import sys

import pytest
from axis import skip_without
from bundles import CASES, make_bundle
from commands import contents

from dovetail.hw.errors import ToolMissing
from dovetail.sim import Engine
from dovetail.sim.tools import find_verilator, version_of

pytest.importorskip("cocotb", reason="cocotb is not installed")

#: The first Verilator that cocotb 2 works with.
OLDEST_VERILATOR = (5, 36)


@pytest.fixture(scope="module", params=CASES)
def bundle(request, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("build"), request.param)


def run(folder, *arguments):
    command = [sys.executable, str(folder / "integrate" / "test_network.py"), *arguments]
    return subprocess.run(command, cwd=folder.parent, env={**os.environ, "COCOTB_RANDOM_SEED": "7"},
                          capture_output=True, text=True)


def test_icarus(bundle):
    skip_without(Engine.ICARUS)
    before = contents(bundle.folder)
    done = run(bundle.folder)
    assert done.returncode == 0 and "TESTS=2 PASS=2" in done.stdout, done.stdout + done.stderr
    assert contents(bundle.folder) == before and not (bundle.folder.parent / "sim_build").exists()


def test_verilator(bundle):
    try:
        command, _ = find_verilator()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    version = tuple(map(int, re.findall(r"Verilator (\d+)\.0*(\d+)", version_of(tuple(command)))[0]))
    if version < OLDEST_VERILATOR:
        pytest.skip(f"cocotb 2 needs Verilator 5.036 or newer; installed is {version[0]}.{version[1]:03d}")
    done = run(bundle.folder, "verilator")
    assert done.returncode == 0 and "TESTS=2 PASS=2" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("file", "pattern", "change"), [
    ("network.v", r"(bias\d+\.chunk0 \[\d+\] = \d+'h)(\w)", lambda found: f"{found[1]}{int(found[2], 16) ^ 1:x}"),
    ("integrate/network_axis.v", r"assign m_axis_tkeep.* = \{\d+\{", lambda found: found[0] + "~"),
], ids=["bias", "keep"])
def test_planted_fault(tmp_path, file, pattern, change):
    """One bit of every bias; every `keep` the other way round."""
    skip_without(Engine.ICARUS)
    folder = make_bundle(tmp_path, "signed").folder
    text, changes = re.subn(pattern, change, (folder / file).read_text())
    assert changes
    (folder / file).write_text(text)
    done = run(folder)
    assert done.returncode == 1 and re.search(r"\d+ differ: beat \d+, element \d+: ", done.stdout), done.stdout
