"""The LiteX module of a build folder: its Verilog computes the golden frames."""

import subprocess
import sys

import pytest
from axis import run_bench, skip_without, write_bench

from dovetail.sim import Engine

pytest.importorskip("litex", reason="litex is not installed")

#: What Migen calls the signals of the endpoints.
PORTS = {"aclk": "sys_clk", "aresetn": "sys_rst"} | {
    f"{stream}_{signal}": f"{endpoint}_{name}"
    for stream, endpoint in (("s_axis", "sink"), ("m_axis", "source"), ("s_axis_load", "load"))
    for signal, name in (("tdata", "payload_data"), ("tkeep", "payload_keep"), ("tlast", "last"), ("tvalid", "valid"),
                         ("tready", "ready"))}


@pytest.mark.parametrize("name", ["perceptron", "empty", "image"])
def test_golden(bundle_of, tmp_path, name):
    skip_without(Engine.ICARUS)
    bundle = bundle_of(name)
    source = bundle.folder / "integrate"
    done = subprocess.run([sys.executable, "-W", "error", str(source / "litex_network.py")], cwd=tmp_path,
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "top.v").write_text(done.stdout)
    bench = write_bench(tmp_path, bundle, top="top", ports=PORTS)
    # LiteX resets are active high.
    bench.write_text(bench.read_text().replace(".sys_rst(aresetn)", ".sys_rst(~aresetn)"))
    sources = [tmp_path / "top.v", source / "network_axis.v", bundle.folder / "network.v"]
    run = run_bench(tmp_path, sources, Engine.ICARUS)
    assert run.returncode == 0 and "PASS: " in run.stdout, run.stdout + run.stderr


def test_sources_reach_the_platform(bundle_of, tmp_path):
    """As `platform` of a LiteX design has it."""
    bundle = bundle_of("perceptron")
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from litex_network import SOURCES, Network
from litex.build.sim import SimPlatform
platform = SimPlatform("SIM", [])
Network(platform)
print(*[source[0] for source in platform.sources], sep="\\n")
assert all(path.is_file() for path in SOURCES)
"""
    folder = bundle.folder / "integrate"
    done = subprocess.run([sys.executable, "-B", "-W", "error", "-c", script, str(folder)], capture_output=True,
                          text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(bundle.folder / "network.v"), str(folder / "network_axis.v")]
