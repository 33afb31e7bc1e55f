"""The Verilog testbench that Icarus and Verilator run, and the files through which it is told what to do.

It depends on the design's ports alone, so that a compiled simulation serves any number of runs. ``job.txt`` holds a
`Job` as numbers, ``trace.txt`` comes back with a line ``port cycle [word]`` for every transfer and ends with
``end status cycles moved...``. One process drives, waits, samples and clocks, which leaves no race between them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..hw.errors import ToolFailed
from .harness import Port, Role
from .job import SETTLE, Job, Outcome, Status, Trace
from .payload import chunks

__all__ = ["WAVES", "read_trace", "testbench", "write_job"]

WAVES = "waves.vcd"

_HEAD = """\
`timescale 1ns/1ns
module tb;
  reg clk = 0, rst = 0, again = 0, finished = 0, moved = 0, done = 0;
  integer in, out, got, status = 0, resets_left, settle, k;
  longint cycle = -1, idle = 0, idle_limit, max_cycles, next_reset = -1;
"""

# Sends one source's set-up; unlike words it is read only now, since there may be as much as a device's memory holds.
_SETUP = """\
    for (k = 0; k < {s}setup; k = k + 1) begin
      got = $fscanf(in, "%h", {s}payload);
      {s}valid = 1;
      #1 clk = 1;
      #1 clk = 0;
      #1;
    end
    {s}valid = 0;
    {s}payload = {{{width}{{1'b1}}}};
"""

_LOOP = """\
    while (!finished) begin
      again = resets_left > 0 && next_reset == cycle;
      rst = again || cycle < 0;
      if (again) begin
        resets_left = resets_left - 1;
        next_reset = resets[resets.size() - 1 - resets_left];
      end
"""

# Drives one source; the dynamic array has a word to spare, so that an empty one can be indexed.
_SOURCE = """\
      if (cycle >= 0) begin
        {s}state = {s}state ^ ({s}state << 13);
        {s}state = {s}state ^ ({s}state >> 17);
        {s}state = {s}state ^ ({s}state << 5);
      end
      if (again && {s}restart >= 0) {s}moved = {s}restart;
      {s}valid = !rst && {s}moved < {s}count && ({s}held || {s}state >> 29 >= {s}rate);
      {s}held = {s}valid;
      {s}payload = {{{width}{{1'b1}}}};
      if ({s}valid || {steady} && {s}count > 0)
        {s}payload = {s}words[{s}moved < {s}count ? {s}moved : {s}count - 1];
"""

_SINK = """\
      if (cycle >= 0) begin
        {s}state = {s}state ^ ({s}state << 13);
        {s}state = {s}state ^ ({s}state >> 17);
        {s}state = {s}state ^ ({s}state << 5);
      end
      {s}ready = !rst && cycle >= 0 && {s}state >> 29 >= {s}rate;
"""

_TAIL = """\
      idle = moved || cycle < 0 ? 0 : idle + 1;
      cycle = cycle + 1;
      if (moved && done) finished = 1;
      else if (idle >= idle_limit) begin finished = 1; status = 1; end
      else if (cycle >= max_cycles) begin finished = 1; status = 2; end
      #1 clk = 1;
      #1 clk = 0;
      #1;
    end
"""


def testbench(ports: Sequence[Port]) -> str:
    """Verilog of the testbench around a module `top` with these ports."""
    sources = [port for port in ports if port.role is Role.SOURCE]
    sinks = [port for port in ports if port.role is Role.SINK]
    text = [_HEAD, "  longint resets[];\n"]
    for port in ports:
        s, forward = f"{port.prefix}__", "reg" if port.role is Role.SOURCE else "wire"
        text.append(f"  {forward} [{port.width - 1}:0] {s}payload;\n  {forward} {s}valid{_init(forward)};\n")
        back = "reg" if port.role is Role.SINK else "wire"
        text.append(f"  {back} {s}ready{_init(back)};\n")
        if port.role is not Role.PROBE:
            text.append(f"  longint {s}count, {s}restart, {s}moved = 0;\n  reg [31:0] {s}state, {s}rate;\n")
        if port.role is Role.SOURCE:
            text.append(f"  reg {s}held = 0;\n  longint {s}setup;\n")
            text.append(f"  reg [{port.width - 1}:0] {s}words[];\n  reg [{port.width - 1}:0] {s}word;\n")
    names = ["clk", "rst"] + [f"{port.prefix}__{end}" for port in ports for end in ("payload", "valid", "ready")]
    text.append(f"  top top({', '.join(f'.{name}({name})' for name in names)}, .alive());\n  initial begin\n")
    text.append(
        '`ifdef WAVES\n    $dumpfile("' + WAVES + '");\n    $dumpvars(0, tb);\n`endif\n'
        '    in = $fopen("job.txt", "r");\n    out = $fopen("trace.txt", "w");\n'
        '    got = $fscanf(in, "%d %d %d %d", idle_limit, max_cycles, settle, resets_left);\n'
        "    resets = new[resets_left + 1];\n"
        '    for (k = 0; k < resets_left; k = k + 1) begin got = $fscanf(in, "%d", next_reset);'
        " resets[k] = next_reset; end\n"
        "    next_reset = resets[0];\n"
    )
    for port in sources + sinks:
        s = f"{port.prefix}__"
        text.append(f'    got = $fscanf(in, "%d %d %d %d", {s}count, {s}state, {s}rate, {s}restart);\n')
        if port.role is Role.SOURCE:
            text.append(
                f"    {s}words = new[{s}count + 1];\n    for (k = 0; k < {s}count; k = k + 1) begin"
                f' got = $fscanf(in, "%h", {s}word); {s}words[k] = {s}word; end\n'
            )
    # A source that offers nothing shows ones, here too.
    text += [f"    {port.prefix}__payload = {{{port.width}{{1'b1}}}};\n" for port in sources]
    for port in sources:
        s = f"{port.prefix}__"
        text.append(f'    got = $fscanf(in, "%d", {s}setup);\n' + _SETUP.format(s=s, width=port.width))
    text.append("    for (k = 0; k < settle; k = k + 1) begin #1 clk = 1; #1 clk = 0; #1; end\n")
    text.append(_LOOP)
    for port in sources + sinks:
        template = _SOURCE if port.role is Role.SOURCE else _SINK
        text.append(template.format(s=f"{port.prefix}__", width=port.width, steady=int(port.steady)))
    text.append("      #1 moved = 0;\n")
    for k, port in enumerate(ports):
        text.append(_sample(k, port))
    waits = " || ".join([f"{port.prefix}__count > 0" for port in sinks] or ["0"])
    full, empty = (
        " && ".join([f"{port.prefix}__moved >= {port.prefix}__count" for port in some] or ["1"])
        for some in (sinks, sources)
    )
    text += [f"      done = ({waits}) ? {full} : {empty};\n", _TAIL]
    counts = "".join(f", {port.prefix}__moved" for port in sources + sinks)
    text.append(f'    $fdisplay(out, "end %0d %0d{" %0d" * len(sources + sinks)}", status, cycle{counts});\n')
    text.append("    $fclose(out);\n    $finish;\n  end\nendmodule\n")
    return "".join(text)


def _init(kind: str) -> str:
    return " = 0" if kind == "reg" else ""


def _sample(k: int, port: Port) -> str:
    s = f"{port.prefix}__"
    if port.role is Role.PROBE:
        return f'      if (!rst && {s}valid && {s}ready) $fdisplay(out, "{k} %0d %h", cycle, {s}payload);\n'
    word, held = ("", f"        {s}held = 0;\n") if port.role is Role.SOURCE else (f", {s}payload", "")
    return (
        f"      if ({s}valid && {s}ready && {s}moved < {s}count) begin\n"
        f'        $fdisplay(out, "{k} %0d{" %h" if word else ""}", cycle{word});\n'
        f"        {s}moved = {s}moved + 1;\n        moved = 1;\n{held}      end\n"
    )


def write_job(job: Job, ports: Sequence[Port], folder: Path) -> None:
    """Write ``job.txt``."""
    settle = SETTLE if job.has_setup else 0
    lines = [f"{job.idle_limit} {job.max_cycles} {settle} {len(job.resets)}", *map(str, job.resets)]
    for drive, _ in zip(job.drives, ports, strict=False):
        lines.append(f"{drive.count} {drive.state} {drive.rate} {drive.restart}")
        lines += _hex(drive.words)
    for drive, port in zip(job.drives, ports, strict=False):
        if port.role is Role.SOURCE:
            lines.append(str(drive.setup_words))
            lines += [] if drive.setup is None else _hex(drive.setup)
    (folder / "job.txt").write_text("\n".join(lines) + "\n")


def _hex(words: np.ndarray) -> list[str]:
    return [row.tobytes().hex() for row in np.ascontiguousarray(words[:, ::-1], ">u4")]


def read_trace(ports: Sequence[Port], folder: Path, *, seconds: float) -> Outcome:
    """Read ``trace.txt``.

    Raises
    ------
    ToolFailed
        If it does not end as it should, or an output carried unknown bits (x or z).
    """
    times: list[list[int]] = [[] for _ in ports]
    words: list[list[str]] = [[] for _ in ports]
    *lines, last = (folder / "trace.txt").read_text().splitlines() or [""]
    if not last.startswith("end "):
        raise ToolFailed(f"The simulation stopped before its end, after {len(lines)} transfers")
    for line in lines:
        index, cycle, *word = line.split()
        times[int(index)].append(int(cycle))
        words[int(index)] += word
    status, cycles, *moved = (int(field) for field in last.split()[1:])
    return Outcome(
        status=Status(status),
        cycles=cycles,
        seconds=seconds,
        moved=tuple(moved),
        traces=tuple(
            Trace(
                times=np.array(times[k], np.int64),
                words=_words(words[k], port),
            )
            for k, port in enumerate(ports)
        ),
    )


def _words(texts: list[str], port: Port) -> np.ndarray:
    count = chunks(port.shape)
    try:
        octets = bytes.fromhex("".join(text.zfill(8 * count) for text in texts))
    except ValueError:
        raise ToolFailed(f"Stream {port.name!r} delivered unknown bits (x or z)") from None
    return np.frombuffer(octets, ">u4").reshape(len(texts), count)[:, ::-1].astype(np.uint32)
