"""The AXI4-Stream wrapper under random pauses and a reset in the middle, in two simulators."""

import pytest
from axis import run_bench, skip_without, write_bench
from bundles import CASES

from dovetail.sim import Engine

#: Cases that Verilator runs, which takes seconds to compile each: every kind of element, a vector and an image.
VERILATED = ("signed", "narrow", "image")


@pytest.fixture(scope="module")
def bundle(request, bundle_of):
    return bundle_of(request.param)


def sources(bundle):
    return [bundle.folder / "integrate" / "network_axis.v", bundle.folder / "network.v"]


@pytest.mark.parametrize(("bundle", "engine"), [
    *((name, Engine.ICARUS) for name in CASES), *((name, Engine.VERILATOR) for name in VERILATED),
], indirect=["bundle"], ids=lambda value: getattr(value, "value", value))
def test_golden(bundle, tmp_path, engine):
    skip_without(engine)
    write_bench(tmp_path, bundle)
    done = run_bench(tmp_path, sources(bundle), engine)
    assert done.returncode == 0 and "PASS: " in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("right", "wrong"), [
    ("s_axis_tready = i_ready & aresetn", "s_axis_tready = i_ready"),
    ("m_axis_tvalid = o_valid & aresetn", "m_axis_tvalid = aresetn"),
    ("assign m_axis_tlast = ", "assign m_axis_tlast = ~"),
    ("* element +: ", "* element + 1 +: "),
    (".rst(~aresetn)", ".rst(1'b0)"),
])
def test_planted_fault(bundle_of, tmp_path, right, wrong):
    skip_without(Engine.ICARUS)
    bundle = bundle_of("signed")
    write_bench(tmp_path, bundle)
    axis, network = sources(bundle)
    text = axis.read_text()
    assert right in text
    (tmp_path / "network_axis.v").write_text(text.replace(right, wrong, 1))
    done = run_bench(tmp_path, [tmp_path / "network_axis.v", network], Engine.ICARUS)
    assert done.returncode != 0 and "PASS" not in done.stdout
