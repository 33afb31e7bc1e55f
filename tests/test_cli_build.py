"""`dovetail build`, as a user calls it: real bitstreams of a small network, and everything that can go wrong."""

import os
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import as_json
from models import make_mlp

from dovetail.boards import bitstream, cache, place, programs, synth
from dovetail.boards.build_folder import read_build
from dovetail.boards.clocking import clocking
from dovetail.boards.host.identity import design_id
from dovetail.boards.kits.all import BOARDS
from dovetail.cli import build as cli_build
from dovetail.cli.main import main


def compiled(folder, board):
    rng = np.random.default_rng(1)
    model = make_mlp(folder / "small.onnx", sizes=(6, 8, 3), winners=(3,), seed=3, densities=(0.5, 1.0))
    np.savez(folder / "x.npz", x=rng.integers(0, 256, (40, 6)).astype(np.uint8), scale=np.float32(1 / 255))
    assert main(["compile", str(model), "-o", str(folder / "build"), "--calibration", str(folder / "x.npz"),
                 "--target-cycles", "100", "--board", board]) == 0
    return folder / "build"


@pytest.fixture(scope="module")
def ice(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("ice"), "icebreaker")


@pytest.fixture(scope="module")
def ecp5(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("ecp5"), "ulx3s_25f")


def run_again(*_, **__):
    raise AssertionError("a tool was run again")


def test_icebreaker(capsys, ice, tmp_path, monkeypatch):
    output = tmp_path / "it's small.bin"
    arguments = ("build", ice, "--board", "icebreaker", "-o", output)
    code, found = as_json(capsys, *arguments)
    assert code == 0 and found["fits"] and found["met"] and found["file"] == str(output)
    assert shlex.split(found["program"]) == ["iceprog", str(output)]
    assert found["fmax_mhz"] >= found["clock_mhz"] == 18 and found["fmax_is"] == "lower bound"
    # As iCE40 devices expect it: a comment, then the preamble.
    octets = output.read_bytes()
    assert octets[:2] == b"\xff\x00" and b"\x7e\xaa\x99\x7e" in octets[:512] and len(octets) > 100_000
    assert output.stat().st_mode & 0o777 == 0o644 and list(tmp_path.iterdir()) == [output]
    plan = read_build(ice).plan
    assert found["design"] == f"{design_id(plan.arch, plan.images):016x}"
    use = found["utilisation"]
    assert use["lut"]["counts"] == "logic cells" and use["lut"]["available"] == 5280 and 500 < use["lut"]["used"] < 5280
    rate = found["inferences_per_second"]
    assert (rate["request"], rate["reply"]) == (6, 9)       # octets of codes; sums take more than two each
    assert rate["worst"] < rate["typical"] < rate["network"]

    output.unlink()
    for module in (bitstream, place, synth):
        monkeypatch.setattr(module, "run_program", run_again)
    code, again = as_json(capsys, *arguments)
    assert code == 0 and output.read_bytes() == octets
    assert {**again, "seconds": None} == {**found, "seconds": None}


def test_ulx3s(capsys, ecp5, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["build", str(ecp5), "--board", "ulx3s_25f", "--clock", "40", "--baud", "1000000"]) == 0
    out = capsys.readouterr().out
    output = ecp5.with_name("build-ulx3s_25f.bit")
    # A comment with the part, then the preamble.
    octets = output.read_bytes()
    assert octets[:2] == b"\xff\x00" and b"LFE5U-25F" in octets[:200] and b"\xff\xff\xbd\xb3" in octets[:400]
    assert "ULX3S 25F (LFE5U-25F), placed and routed" in out and "clock: 40 MHz; " in out
    assert f"to program the board: openFPGALoader -b ulx3s {output}\n" in out
    assert " inferences per second; " in out and "over the line of 1,000,000 baud" in out.replace("\n  ", " ")


def test_too_slow(capsys, ice, tmp_path, monkeypatch):
    real = cli_build.place_at
    monkeypatch.setattr(cli_build, "place_at", lambda *args, **kwargs: replace(
        real(*args, **kwargs), fmax_mhz=17.3, fmax_by_seed={1: 16.0, 2: 17.3}))
    arguments = ("build", ice, "--board", "icebreaker", "-o", tmp_path / "small.bin")
    code, found = as_json(capsys, *arguments)
    assert code == 1 and not found["met"] and found["file"] is None and found["program"] is None
    assert (found["clock_mhz"], found["fmax_mhz"], found["fmax_by_seed"]) == (18, 17.3, {"1": 16, "2": 17.3})
    assert main(list(map(str, arguments))) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "clock: 18 MHz; 17.3 MHz reached, the best of 2 seeds" in out
    # 12 MHz times 87, divided by 64: the PLL's next one, 16.5, is more than 95 % of 17.3.
    assert ("too slow: 17.3 MHz is not the 18 MHz asked for; --seeds tries more, or try --clock 16.3125: another "
            "clock is another placement, so that is 5% below what was reached") in out
    assert list(tmp_path.iterdir()) == []


def test_does_not_fit(capsys, ice, tmp_path, monkeypatch):
    real = cli_build.lacking
    monkeypatch.setattr(cli_build, "lacking", lambda found: {**real(found), "bram": 3})
    code, found = as_json(capsys, "build", ice, "--board", "icebreaker", "-o", tmp_path / "x.bin")
    assert code == 1 and not found["fits"] and found["lacking"] == {"bram": 3} and found["fmax_mhz"] is None
    assert main(["build", str(ice), "--board", "icebreaker", "-o", str(tmp_path / "x.bin")]) == 1
    assert ("block RAMs, 3 more than the 30 there are\n"
            "dovetail compile --board icebreaker makes a plan to fit this board\n") in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_no_place_for_a_cell(capsys, ice, tmp_path, monkeypatch):
    """What is counted fits, but nextpnr puts less into a logic cell."""
    def full(*_, **__):
        raise place.DoesNotFit("no logic cell left")

    monkeypatch.setattr(cli_build, "place_at", full)
    assert main(["build", str(ice), "--board", "icebreaker", "-o", str(tmp_path / "x.bin")]) == 1
    assert capsys.readouterr().err.endswith(
        "no logic cell left; dovetail compile --board icebreaker makes a plan to fit this board\n")
    assert list(tmp_path.iterdir()) == []


def test_clock_that_is_made_nearly(capsys, ice, tmp_path, monkeypatch):
    """31 MHz is none of the PLL's."""
    placement = place.Placement(
        fmax_mhz=20.0, timing=place.Timing.LOWER_BOUND, seed=1, fmax_by_seed={1: 20.0}, path=[], seconds=1.0, tool="1",
        folder=tmp_path, utilisation={}, cached=False)
    monkeypatch.setattr(cli_build, "place_at", lambda *_, **__: placement)
    arguments = ["build", str(ice), "--board", "icebreaker", "-o", str(tmp_path / "x.bin"), "--clock"]
    assert main([*arguments, "31"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "clock: 31.125 MHz, the nearest to 31 that can be made; 20.0 MHz reached" in out
    assert "20.0 MHz is not the 31.125 MHz asked for" in out
    assert main([*arguments, "31.125"]) == 1
    assert "clock: 31.125 MHz; 20.0 MHz reached" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", BOARDS)
def test_clock_to_try_can_be_asked_for(name):
    """As printed, it is made, and is a twentieth below what was reached, rounded down."""
    board = BOARDS[name]
    for reached in (13.1, 17.3, 24.6, 29.4, 30.2, 51.7, 74.6):
        slower = cli_build.slower_clock(board, reached)
        assert slower is not None
        made = float(clocking(board, megahertz=float(f"{slower:g}"), baud=115_200).hz) / 1e6
        assert made == pytest.approx(slower, rel=1e-6) and made <= 0.95 * reached
    assert cli_build.slower_clock(board, 3.0) is None


@pytest.mark.parametrize("arguments, message", [
    ([], "the following arguments are required: --board"),
    (["--board", "nothing"], "argument --board: invalid choice: 'nothing'"),
    (["--board", "icebreaker", "--seeds", "0"], "argument --seeds: must be in 1..100, not 0"),
    (["--board", "icebreaker", "--clock", "0"], "argument --clock: must be above 0 and below 10000, not 0"),
    (["--board", "icebreaker", "--clock", "nan"], "argument --clock: must be above 0 and below 10000, not nan"),
    (["--board", "icebreaker", "--clock", "14"], "iCEBreaker: the PLL cannot make 14 MHz from 12 MHz; the nearest it "
                                                 "can is 16.125 MHz"),
    (["--board", "icebreaker", "--baud", "0"], "argument --baud: must be in 300..100000000, not 0"),
    (["--board", "icebreaker", "--baud", "9000000"], "18 MHz is too slow for 9,000,000 baud: at most 4,500,000 it can"),
    (["--board", "icebreaker", "-o", "/nowhere/x.bin"], "/nowhere/x.bin: the folder /nowhere does not exist"),
    (["--board", "icebreaker", "-o", "/tmp"], "/tmp: is a folder"),
    (["--board", "icebreaker", "-o", "/dev/null"], "/dev/null: exists and is no file"),
])
def test_options_wrong(capsys, ice, arguments, message):
    assert main(["build", str(ice), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dovetail: error: {message}")


def test_no_build_folder(capsys, tmp_path):
    for folder in (tmp_path, "/"):
        assert main(["build", str(folder), "--board", "icebreaker"]) == 2
        assert "no build folder" in capsys.readouterr().err


def test_output_in_the_build_folder(capsys, ice):
    """It would not be one any more."""
    before = (ice / "network.v").read_bytes()
    assert main(["build", str(ice), "--board", "icebreaker", "-o", str(ice / "network.v")]) == 2
    assert "is in the build folder, which stays as it was made" in capsys.readouterr().err
    assert (ice / "network.v").read_bytes() == before and read_build(ice)


def test_folder_without_permission(capsys, ice, tmp_path, monkeypatch):
    """Said before anything is synthesised."""
    monkeypatch.setattr(cli_build, "synthesise", run_again)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["build", str(ice), "--board", "icebreaker", "-o", str(tmp_path / "small.bin")]) == 2
    assert capsys.readouterr().err == f"dovetail: error: {tmp_path}: Permission denied\n"


def test_packing_that_is_killed(capsys, ice, tmp_path, monkeypatch):
    """A program that writes half a bitstream and dies: exit code 3, its log kept, no file."""
    real = programs.find_program
    half = tmp_path / "icepack"
    half.write_text('#!/bin/sh\necho "out of memory"\nprintf half > "$2"\nkill -9 $$\n')
    half.chmod(0o755)
    monkeypatch.setattr(bitstream, "find_program", lambda name: programs.Program(
        name=name, command=(str(half),), version="broken", native=False))
    kept_in = tmp_path / "cache"
    kept_in.mkdir()
    place_cache = cache.cache_folder()
    (kept_in / "synth").mkdir()
    for entry in (place_cache / "synth").iterdir():
        (kept_in / "synth" / entry.name).symlink_to(entry)
    monkeypatch.setattr(cache, "cache_folder", lambda: kept_in)
    monkeypatch.setattr(cache, "_evict", lambda root, newest: None)
    assert real("icepack").version
    output = tmp_path / "small.bin"
    for _ in range(2):
        assert main(["build", str(ice), "--board", "icebreaker", "-o", str(output)]) == 3
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("dovetail: error: icepack was ended by signal 9: out of memory (log: ")
        assert Path(line.removesuffix(")").rpartition("(log: ")[2]).read_text() == "out of memory\n"
        assert not output.exists()


def test_folder_that_cannot_be_written(capsys, ice, tmp_path, monkeypatch):
    """What was there stays, and nothing is left beside it."""
    output = tmp_path / "small.bin"
    output.write_bytes(b"before")

    def refuse(self, target):
        raise PermissionError(13, os.strerror(13), str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    assert main(["build", str(ice), "--board", "icebreaker", "-o", str(output)]) == 2
    assert f"{output}: Permission denied" in capsys.readouterr().err
    assert output.read_bytes() == b"before" and list(tmp_path.iterdir()) == [output]


def test_file_beside_the_folder_one_is_in(capsys, ice, monkeypatch):
    monkeypatch.chdir(ice)
    code, found = as_json(capsys, "build", ".", "--board", "icebreaker")
    output = ice.resolve().with_name("build-icebreaker.bin")
    assert code == 0 and found["file"] == str(output) and output.is_file()
    output.unlink()


def test_compile_for_a_board_and_a_device(capsys, tmp_path):
    assert main(["compile", "x.onnx", "-o", str(tmp_path / "b"), "--board", "icebreaker", "--device", "up5k"]) == 2
    assert "argument --board: names a device already; leave out --device" in capsys.readouterr().err
