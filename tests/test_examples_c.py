"""The example of a program in C that talks to a board, at an emulated one."""

import subprocess
from pathlib import Path

import numpy as np
from c_driver import compile_driver, find_c
from emulation import running

from dovetail.boards.host.emulate import Emulator
from dovetail.boards.host.identity import link_arch
from dovetail.hw.link.hosted import HostedNetwork

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "c" / "ask.c"


def test_ask(bundle_of, tmp_path):
    bundle = bundle_of("image")
    source = bundle.folder / "integrate"
    done = subprocess.run([find_c(), "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", source, "-o", "ask",
                           EXAMPLE, source / "network.c"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    link = link_arch(bundle.plan, clock_hz=12_000_000, baud=3_000_000)
    hosted = HostedNetwork(bundle.plan.arch, bundle.plan.images, link=link)
    frames = bundle.codes.astype(compile_driver(bundle.folder, tmp_path).types.code).tobytes()
    with running(Emulator(hosted, cycles_per_bit=link.cycles_per_bit)) as board:
        done = subprocess.run([tmp_path / "ask", board.port], input=frames, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    found = [[int(value) for value in line.split()] for line in done.stdout.decode().splitlines()]
    np.testing.assert_array_equal(found, bundle.outputs)


def test_no_port(bundle_of, tmp_path):
    source = bundle_of("image").folder / "integrate"
    subprocess.run([find_c(), "-I", source, "-o", "ask", EXAMPLE, source / "network.c"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "ask", tmp_path / "nothing"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "say which serial port: ask PORT < frames\n")
