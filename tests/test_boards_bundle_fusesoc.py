"""The core file of a build folder, with FuseSoC as its user calls it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from axis import skip_without
from commands import contents

from dovetail.sim import Engine

pytest.importorskip("fusesoc", reason="fusesoc is not installed")


@pytest.fixture(scope="module")
def bundle(bundle_of):
    """One whose bench reads memory images, too."""
    return bundle_of("empty")


def fusesoc(folder: Path, work: Path, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a target; FuseSoC's own files go where the test's do."""
    homes = {f"XDG_{name}_HOME": str(work / name) for name in ("CONFIG", "DATA", "CACHE")}
    return subprocess.run(
        [sys.executable, "-m", "fusesoc.main", f"--cores-root={folder}", "run", f"--target={target}",
         "dovetail:networks:net", *arguments],
        cwd=work, env={**os.environ, **homes}, capture_output=True, text=True)


@pytest.mark.parametrize("engine", [Engine.ICARUS, Engine.VERILATOR], ids=lambda engine: engine.value)
def test_sim(bundle, tmp_path, engine):
    skip_without(engine)
    before = contents(bundle.folder)
    done = fusesoc(bundle.folder, tmp_path, "sim", *(["--tool=verilator"] if engine is Engine.VERILATOR else []))
    assert done.returncode == 0 and "PASS: " in done.stdout + done.stderr, done.stdout + done.stderr
    assert contents(bundle.folder) == before


def test_lint(bundle, tmp_path):
    skip_without(Engine.VERILATOR)
    done = fusesoc(bundle.folder, tmp_path, "lint")
    assert done.returncode == 0 and "%Warning" not in done.stderr, done.stdout + done.stderr


def test_planted_fault(bundle, tmp_path):
    skip_without(Engine.ICARUS)
    folder, work = tmp_path / bundle.folder.name, tmp_path / "work"
    shutil.copytree(bundle.folder, folder)
    work.mkdir()
    (folder / "tb_expected.hex").write_text("0" + (folder / "tb_expected.hex").read_text()[1:].replace("1", "2", 1))
    done = fusesoc(folder, work, "sim")
    assert done.returncode != 0 and "PASS: " not in done.stdout + done.stderr
