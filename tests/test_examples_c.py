"""The example of a program in C that talks to a board, at an emulated one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from c_driver import compile_driver, find_c
from emulation import running

from dovetail.boards.host.emulate import Emulator
from dovetail.boards.host.identity import link_arch
from dovetail.hw.link.hosted import HostedNetwork

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "c" / "ask.c"


@pytest.fixture
def ask(bundle_of, tmp_path):
    """Compile the program with a bundle's driver; returns what calls it."""
    def make(name):
        source = bundle_of(name).folder / "integrate"
        done = subprocess.run([find_c(), "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", source, "-o",
                               "ask", EXAMPLE, source / "network.c"], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return lambda *arguments, frames=b"": subprocess.run([tmp_path / "ask", *arguments], input=frames,
                                                             capture_output=True, timeout=60)
    return make


@pytest.fixture
def board(bundle_of):
    """An emulated board with the network of a bundle."""
    def make(name):
        plan = bundle_of(name).plan
        link = link_arch(plan, clock_hz=12_000_000, baud=3_000_000)
        return running(Emulator(HostedNetwork(plan.arch, plan.images, link=link), cycles_per_bit=link.cycles_per_bit))
    return make


def frames_of(bundle, path):
    """The input of the program, in its driver's type."""
    return bundle.codes.astype(compile_driver(bundle.folder, path).types.code).tobytes()


def results(done):
    assert (done.returncode, done.stderr) == (0, b"")
    return [[int(value) for value in line.split()] for line in done.stdout.decode().splitlines()]


def test_ask(bundle_of, tmp_path, ask, board):
    bundle = bundle_of("image")
    with board("image") as emulator:
        found = results(ask("image")(emulator.port, frames=frames_of(bundle, tmp_path)))
    np.testing.assert_array_equal(found, bundle.outputs)


def test_a_board_without_weights(bundle_of, tmp_path, ask, board):
    """Says who loads them, and does it where it is given the images; afterwards it answers without them."""
    bundle, program = bundle_of("empty"), ask("empty")
    images, frames = sorted((bundle.folder / "images").glob("*.bin")), frames_of(bundle, tmp_path)
    with board("empty") as emulator:
        done = program(emulator.port, frames=frames)
        assert (done.returncode, done.stdout, done.stderr.decode()) == (
            3, b"", f"{emulator.port}: the board has no weights: `ask PORT BUILD/images/*.bin` or "
                    "`dovetail run BUILD --port PORT` loads them\n")
        for arguments in (images, []):
            np.testing.assert_array_equal(results(program(emulator.port, *arguments, frames=frames)), bundle.outputs)


def test_frames_as_the_comment_says(bundle_of, tmp_path, ask, board):
    """The command that makes `frames` of the golden ones, for a network whose codes are octets."""
    bundle = bundle_of("perceptron")
    (line,) = (line for line in EXAMPLE.read_text().splitlines() if ".venv/bin/python" in line)
    (tmp_path / "build").symlink_to(bundle.folder)
    subprocess.run(line.removeprefix(" *   $ ").replace(".venv/bin/python", sys.executable), shell=True, cwd=tmp_path,
                   check=True)
    with np.load(bundle.folder / "golden.npz") as golden, board("perceptron") as emulator:
        found = results(ask("perceptron")(emulator.port, frames=(tmp_path / "frames").read_bytes()))
        np.testing.assert_array_equal(found, bundle.outputs[:len(golden["inputs"])])
    assert found


def test_another_network(ask, board):
    with board("perceptron") as emulator:
        done = ask("empty")(emulator.port)
    assert (done.returncode, done.stderr.decode()) == (
        3, f"{emulator.port}: the board holds another network: program it with this one's bitstream\n")


def test_nobody_answers(ask):
    master, slave = os.openpty()
    done = ask("perceptron")(os.ttyname(slave))
    assert (done.returncode, done.stderr.decode()) == (
        3, f"{os.ttyname(slave)}: no answer: is the board programmed, is it this port, is SPEED the board's?\n")
    for file in (master, slave):
        os.close(file)


def test_no_port(tmp_path, ask):
    program = ask("empty")
    for arguments, code, error in (
            ([], 2, "usage: ask PORT [BUILD/images/*.bin] < frames\n"),
            (["a", "b"], 2, "usage: ask PORT [BUILD/images/*.bin] < frames\n"),
            ([tmp_path / "nothing"], 3, f"{tmp_path / 'nothing'}: No such file or directory\n"),
            (["/dev/null"], 2, "/dev/null: is no serial port\n")):
        done = program(*arguments)
        assert (done.returncode, done.stderr.decode()) == (code, error)
