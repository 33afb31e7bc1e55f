"""The cocotb test of a build folder, run as its user runs it; it fails where the network computes something else."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from axis import skip_without
from bundles import CASES
from commands import contents

from dovetail.sim import Engine
from dovetail.sim.tools import version_of

pytest.importorskip("cocotb", reason="cocotb is not installed")

#: The first Verilator that cocotb 2 works with.
OLDEST_VERILATOR = (5, 36)


@pytest.fixture(scope="module", params=CASES)
def bundle(request, bundle_of):
    return bundle_of(request.param)


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
    command = shutil.which("verilator")     # where cocotb looks
    if command is None:
        pytest.skip("Verilator is not on PATH")
    found = re.search(r"Verilator (\d+)\.(\d+)", version_of((command,)))
    if found and (int(found[1]), int(found[2])) < OLDEST_VERILATOR:
        pytest.skip(f"cocotb 2 needs Verilator 5.036 or newer; installed is {found[1]}.{found[2]}")
    done = run(bundle.folder, "verilator")
    assert done.returncode == 0 and "TESTS=2 PASS=2" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("file", "pattern", "change"), [
    ("network.v", r"(bias\d+\.chunk0 \[\d+\] = \d+'h)(\w)", lambda found: f"{found[1]}{int(found[2], 16) ^ 1:x}"),
    ("integrate/network_axis.v", r"assign m_axis_tkeep.* = \{\d+\{", lambda found: found[0] + "~"),
], ids=["bias", "keep"])
def test_planted_fault(bundle_of, tmp_path, file, pattern, change):
    """One bit of every bias; every `keep` the other way round."""
    skip_without(Engine.ICARUS)
    folder = tmp_path / "net"
    shutil.copytree(bundle_of("signed").folder, folder)
    text, changes = re.subn(pattern, change, (folder / file).read_text())
    assert changes
    (folder / file).write_text(text)
    done = run(folder)
    assert done.returncode == 1 and re.search(r"\d+ differ: beat \d+, element \d+: ", done.stdout), done.stdout
