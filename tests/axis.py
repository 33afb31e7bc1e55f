"""A test bench for whatever has the ports of a build folder's network_axis, and what it sends and expects.

Elements become octets here once more, by numpy: nothing of the build folder's own files is asked.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from bundles import Bundle

from dovetail.hw.errors import ToolMissing
from dovetail.hw.memory_map import load_words, memory_map
from dovetail.sim import Engine
from dovetail.sim.tools import find_icarus, find_verilator

__all__ = ["run_bench", "skip_without", "write_bench"]

#: Ports of network_axis, or of the same module by other names.
PORTS = {name: name for name in (
    "aclk", "aresetn", "s_axis_tdata", "s_axis_tlast", "s_axis_tvalid", "s_axis_tready", "m_axis_tdata", "m_axis_tkeep",
    "m_axis_tlast", "m_axis_tvalid", "m_axis_tready", "s_axis_load_tdata", "s_axis_load_tvalid", "s_axis_load_tready")}

# Signals change while the clock is low. In the middle there is a reset; everything begins anew behind it.
_BENCH = """\
`timescale 1ns/1ns
module bench;
  localparam INPUTS = {inputs}, OUTPUTS = {outputs}, LOADS = {loads};
  reg aclk = 0, aresetn = 0, s_axis_tlast = 0, s_axis_tvalid = 0, m_axis_tready = 0, s_axis_load_tvalid = 0;
  reg [{in_bits}-1:0] s_axis_tdata = 0;
  reg [63:0] s_axis_load_tdata = 0;
  wire [{out_bits}-1:0] m_axis_tdata;
  wire [{keep_bits}-1:0] m_axis_tkeep;
  wire m_axis_tlast, m_axis_tvalid, s_axis_tready, s_axis_load_tready;
  reg [{in_bits}:0] inputs [0:INPUTS-1];
  reg [{out_bits}+{keep_bits}:0] expected [0:OUTPUTS-1];
  reg [{out_bits}-1:0] mask;
  reg [63:0] loads [0:LOADS];
  integer seed = {seed}, sent = 0, got = 0, cycle = 0, k, taken = 0, again = 1;

  {top} dut({connections});

  task tick; begin #1 aclk = 1; #1 aclk = 0; end endtask

  initial begin
    $readmemh("inputs.hex", inputs);
    $readmemh("expected.hex", expected);
    if (LOADS != 0) $readmemh("loads.hex", loads);
    tick; tick;
    aresetn = LOADS != 0;
    for (k = 0; k < LOADS; k = k + 1) begin
      s_axis_load_tvalid = 1;
      s_axis_load_tdata = loads[k];
      #1 if (!s_axis_load_tready) $fatal(1, "FAIL: load not ready");
      tick;
    end
    s_axis_load_tvalid = 0;
    for (k = 0; k < 8; k = k + 1) tick;
    aresetn = 0;
    tick; tick;
    aresetn = 1;
    while (got < OUTPUTS && cycle < 30000) begin
      if (again && got > OUTPUTS / 2) begin
        again = 0; sent = 0; got = 0; taken = 0;
        aresetn = 0;
        s_axis_tvalid = 1;
        m_axis_tready = 1;
        for (k = 0; k < 3; k = k + 1) begin
          #1 if (s_axis_tready || m_axis_tvalid) $fatal(1, "FAIL: a transfer during a reset");
          tick;
        end
        s_axis_tvalid = 0;
        aresetn = 1;
      end
      s_axis_tvalid = sent < INPUTS && (s_axis_tvalid && !taken || $random(seed) % 2 == 0);
      {{s_axis_tlast, s_axis_tdata}} = s_axis_tvalid ? inputs[sent] : {{({in_bits}+1){{1'b1}}}};
      m_axis_tready = $random(seed) % 2 == 0;
      #1;
      taken = s_axis_tvalid && s_axis_tready;
      if (taken) sent = sent + 1;
      if (m_axis_tvalid && m_axis_tready) begin
        for (k = 0; k < {keep_bits}; k = k + 1) mask[8 * k +: 8] = {{8{{expected[got][{out_bits} + k]}}}};
        if ({{m_axis_tlast, m_axis_tkeep, m_axis_tdata & mask}} !== expected[got])
          $fatal(1, "FAIL: beat %0d: expected %h, got %h", got, expected[got],
                 {{m_axis_tlast, m_axis_tkeep, m_axis_tdata}});
        got = got + 1;
      end
      tick;
      cycle = cycle + 1;
    end
    if (got < OUTPUTS) $fatal(1, "FAIL: only %0d of %0d beats", got, OUTPUTS);
    if (again) $fatal(1, "FAIL: never reset");
    $display("PASS: %0d beats", got);
    $finish;
  end
endmodule
"""


def beats(frames: np.ndarray, *, pixels: int, width: int, octets: int) -> list[tuple[int, int, int]]:
    """tdata, tkeep and tlast of frames (n, channels * pixels) in the model's order."""
    found = []
    for frame in frames.reshape(len(frames), -1, pixels):
        sent = [frame[start:start + width, pixel] for pixel in range(pixels) for start in range(0, len(frame), width)]
        for number, part in enumerate(sent):
            data = b"".join(int(value).to_bytes(8, "little", signed=True)[:octets] for value in part)
            keep = (1 << octets * len(part)) - 1
            found.append((int.from_bytes(data, "little"), keep, int(number == len(sent) - 1)))
    return found


def write_bench(folder: Path, bundle: Bundle, *, top: str = "network_axis", ports: dict[str, str] | None = None,
                seed: int = 1) -> Path:
    """Write ``bench.v`` and its data. ``ports`` names the ports that have other names than network_axis has."""
    arch, last = bundle.plan.arch, bundle.plan.arch.layers[-1]
    first, select = arch.layers[0].engine, last.select
    in_octets, out_octets = -(-first.activation_bits // 8), -(-select.value_bits // 8)
    keep_bits = out_octets * select.width
    in_bits, out_bits = 8 * in_octets * arch.input_width, 8 * keep_bits
    given = beats(bundle.codes, pixels=arch.input_pixels, width=arch.input_width, octets=in_octets)
    wanted = beats(bundle.outputs, pixels=last.pixels, width=select.width, octets=out_octets)
    words = load_words([memory for memory in memory_map(arch, bundle.plan.images) if memory.empty])
    (folder / "inputs.hex").write_text("".join(f"{end << in_bits | data:x}\n" for data, _, end in given))
    (folder / "expected.hex").write_text("".join(
        f"{(end << keep_bits | keep) << out_bits | data:x}\n" for data, keep, end in wanted))
    (folder / "loads.hex").write_text("".join(
        f"{word['data'] << 32 | word['row'] << 16 | word['memory']:x}\n" for word in words))
    named = {**PORTS, **(ports or {})}
    there = [name for name in PORTS if arch.loadable or "load" not in name]
    (folder / "bench.v").write_text(_BENCH.format(
        inputs=len(given), outputs=len(wanted), loads=len(words), in_bits=in_bits, out_bits=out_bits,
        keep_bits=keep_bits, seed=seed, top=top, connections=", ".join(f".{named[name]}({name})" for name in there)))
    return folder / "bench.v"


def skip_without(engine: Engine) -> None:
    """Skip the test where the simulator is not installed, and say which."""
    try:
        (find_icarus if engine is Engine.ICARUS else find_verilator)()
    except ToolMissing as missing:
        pytest.skip(str(missing))


def run_bench(folder: Path, sources: Sequence[Path], engine: Engine) -> subprocess.CompletedProcess[str]:
    """Compile ``bench.v`` in a folder with some sources, and run it there."""
    names = ["bench.v", *map(str, sources)]
    if engine is Engine.ICARUS:
        compiler, runner = find_icarus()
        command, environment, run = [compiler, "-g2012", "-o", "bench.vvp", *names], {}, [runner, "-n", "bench.vvp"]
    else:
        verilator, environment = find_verilator()
        # The compiler's time is the test's: it runs a few thousand cycles.
        quick = [option for name in ("FAST", "SLOW", "GLOBAL") for option in ("-MAKEFLAGS", f"OPT_{name}=-O0")]
        command = [*verilator, "--binary", "--timing", "-Wno-fatal", "-Wno-lint", "--Mdir", "made", *quick,
                   "--top-module", "bench", *names]
        run = ["made/Vbench"]
    made = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return subprocess.run(run, cwd=folder, capture_output=True, text=True)
