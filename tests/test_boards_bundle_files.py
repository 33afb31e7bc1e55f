"""The build folder as a stranger finds it: what the README names is there, and every tool takes it without a word."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import CASES, make_bundle
from commands import contents

from dovetail.boards.build_folder import read_build
from dovetail.cli.main import _parser
from dovetail.hw.errors import ToolMissing
from dovetail.hw.memory_map import memory_map
from dovetail.hw.yosys import run_yosys
from dovetail.sim.tools import find_icarus, find_verilator

INTEGRATE = ["litex_network.py", "network.c", "network.h", "network_axis.v", "test_network.py"]


@pytest.fixture(scope="module", params=CASES)
def bundle(request, bundle_of):
    return bundle_of(request.param)


def quiet(command, folder, environment=None):
    """Run a program that must succeed and say nothing."""
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def icarus():
    try:
        return find_icarus()
    except ToolMissing as missing:
        pytest.skip(str(missing))


def test_files(bundle):
    files = {path.as_posix() for path in contents(bundle.folder)}
    assert {f"integrate/{name}" for name in INTEGRATE} | {"README.md", "network.core"} < files
    assert files - {"manifest.json", "plan.toml"} == set(read_build(bundle.folder).manifest["files"])


def test_readme_names_every_file(bundle):
    readme = (bundle.folder / "README.md").read_text()
    named = set(re.findall(r"`([\w./]+\.\w+)`", readme))
    for path in contents(bundle.folder):
        assert {path.as_posix(), path.name} & named or path.parts[0] in ("README.md", "images"), path
    for name in named:
        assert any((bundle.folder / place / name).exists() for place in (".", "integrate", "images")), name
    memories = memory_map(bundle.plan.arch, bundle.plan.images)
    assert ("## Load it first" in readme) == any(memory.empty for memory in memories)


def test_same_bytes(bundle, tmp_path):
    again = make_bundle(tmp_path, bundle.folder.name)
    assert contents(again.folder) == contents(bundle.folder)


def test_nothing_of_this_machine(bundle):
    for path, octets in contents(bundle.folder).items():
        if path.suffix != ".npz":
            assert not re.search(rb"/(tmp|home|work|root)/(?!tb)", octets), path


def test_verilator_lint(bundle):
    try:
        command, environment = find_verilator()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    quiet([*command, "--lint-only", "-Wall", "--top-module", "network_axis", "integrate/network_axis.v", "network.v"],
          bundle.folder, environment)


def test_icarus_takes_verilog_2001(bundle):
    compiler, _ = icarus()
    quiet([compiler, "-g2001", "-Wall", "-t", "null", "-s", "network_axis", "integrate/network_axis.v", "network.v"],
          bundle.folder)


def test_yosys(bundle, tmp_path):
    for name in ("network.v", "integrate/network_axis.v"):
        shutil.copy(bundle.folder / name, tmp_path)
    run_yosys("read_verilog network.v network_axis.v; hierarchy -check -top network_axis; proc; check -assert",
              folder=tmp_path)
    assert "Warning" not in (tmp_path / "yosys.log").read_text()


def test_own_bench(bundle, tmp_path):
    compiler, runner = icarus()
    for arguments in ([], ["+stall"]):
        quiet([compiler, "-g2012", "-o", str(tmp_path / "tb.vvp"), "tb.v", "network.v"], bundle.folder)
        done = subprocess.run([runner, "-n", str(tmp_path / "tb.vvp"), *arguments], cwd=bundle.folder,
                              capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.startswith("PASS: "), done.stdout


def test_python_is_clean(bundle):
    files = [str(path) for path in sorted((bundle.folder / "integrate").glob("*.py"))]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "--config", root / "pyproject.toml",
                           *files], capture_output=True, text=True)
    if "No module named ruff" in done.stderr:
        pytest.skip("ruff is not installed")
    assert done.returncode == 0, done.stdout


def commands_of(bundle, program):
    """The commands of the README that call a program."""
    commands = re.findall(r"`([^`]*)`", (bundle.folder / "README.md").read_text())
    return [command for command in commands if re.match(rf'(\(cd "\$B" && )?{program} ', command)]


def test_readme_commands_work_anywhere(bundle, tmp_path):
    """As they stand there, from another folder; only what they leave in /tmp is moved."""
    icarus()
    before = contents(bundle.folder)
    for program, last in (("iverilog", "PASS: "), ("cc", "")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on PATH")
        (command,) = commands_of(bundle, program)
        done = subprocess.run(command.replace("/tmp", str(tmp_path)), shell=True, cwd=tmp_path,
                              env={**os.environ, "B": str(bundle.folder)}, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(last), done.stdout
    assert contents(bundle.folder) == before


def test_readme_calls_dovetail_rightly(bundle):
    commands = commands_of(bundle, "dovetail")
    assert {command.split()[1] for command in commands} >= {"build", "run", "emulate"}
    for command in commands:
        if len(command.split()) > 2 and "--help" not in command and "--config" not in command:
            _parser().parse_args(shlex.split(command)[1:])


def test_readme_says_who_loads_the_weights(bundle):
    readme = (bundle.folder / "README.md").read_text()
    assert ("`dovetail run` loads" in readme) == bundle.plan.arch.loadable
