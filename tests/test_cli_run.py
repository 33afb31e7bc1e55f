"""`dovetail emulate` as a process, and `dovetail run` against it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib import resources

import numpy as np
import pytest
from commands import as_json

from dovetail.boards.build_folder import read_build
from dovetail.boards.host.device import Device
from dovetail.cli.main import main
from dovetail.cli.run import _show
from dovetail.hw.errors import DeviceError
from dovetail.sim import golden

COMMAND = [sys.executable, "-c", "import sys; from dovetail.cli.main import main; sys.exit(main(sys.argv[1:]))"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with the packaged network's files, and its build folder."""
    folder = tmp_path_factory.mktemp("run")
    with resources.as_file(resources.files("dovetail.cli") / "digits") as packaged:
        for file in packaged.glob("digits*"):
            shutil.copy(file, folder)
    assert main(["compile", str(folder / "digits.onnx"), "--calibration", str(folder / "digits_calibration.npz"),
                 "--target-cycles", "300", "-o", str(folder / "build")]) == 0
    return folder


@contextmanager
def emulated(build, link, *options, end=signal.SIGTERM):
    """The command, until the signal; the lines that it prints, as they come."""
    lines = []
    process = subprocess.Popen([*COMMAND, "emulate", str(build), "--link", str(link), *options], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)

    def collect():
        for line in process.stdout:
            lines.append(line)

    reader = threading.Thread(target=collect)
    reader.start()
    try:
        await_lines(lines, 1)
        yield lines
        process.send_signal(end)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def await_lines(lines, count):
    begin = time.monotonic()
    while len(lines) < count:
        assert time.monotonic() - begin < 120
        time.sleep(0.02)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_run(digits, tmp_path, capsys, end):
    link, inputs = tmp_path / "board", digits / "digits_test.npz"
    with emulated(digits / "build", link, end=end) as lines:
        assert lines[0] == f"port: {os.readlink(link)}\n"
        code, found = as_json(capsys, "run", digits / "build", "--port", link, "--inputs", inputs)
        assert code == 0 and found["calls_per_second"] > 1
        expected = {"samples": 360, "outputs": 3600, "mismatches": 0, "first_mismatch": None, "clock_hz": 12_000_000,
                    "loaded": False, "dropped": 0, "pseudo_terminal": True}
        assert {key: found[key] for key in expected} == expected
        assert found["accuracy"] == pytest.approx(found["float_accuracy"], abs=0.02) and found["accuracy"] > 0.9
        assert main(["run", str(digits / "build"), "--port", str(link), "--inputs", str(inputs), "--limit", "3"]) == 0
        out = capsys.readouterr().out
        assert "outputs: 0 of 30 differ from the golden model\n" in out and out.endswith("passed\n")
        await_lines(lines, 5)       # until the lights are out and the clock stands still
    assert lines[1:3] == ["loaded\n", "idle\n"] and lines[3:5] == ["working\n", "idle\n"]
    assert not link.is_symlink()


def test_boards(digits, tmp_path, capsys):
    """At a board's clock and baud rate, with its reset and its lights; a terminal does not mind another rate."""
    link = tmp_path / "board"
    with emulated(digits / "build", link, "--board", "icebreaker"):
        for options, baud in ((["--board", "icebreaker"], 1_000_000), (["--board", "icesugar"], 115_200),
                              (["--board", "icesugar", "--baud", 9600], 9600)):
            code, found = as_json(capsys, "run", digits / "build", "--port", link, "--inputs",
                                  digits / "digits_test.npz", *options, "--limit", 3)
            assert (code, found["mismatches"], found["baud"]) == (0, 0, baud)
            assert found["clock_hz"] == pytest.approx(18e6, rel=0.01)


def test_wrong_outputs(digits, tmp_path, capsys, monkeypatch):
    """Where the board and the golden model differ: which element, and exit code 1."""
    def wrong(network, codes):
        results = golden_run(network, codes)
        results[-1].outputs[1, 2] += 1
        return results

    golden_run = golden.run
    link, inputs = tmp_path / "board", digits / "digits_test.npz"
    arguments = ["run", str(digits / "build"), "--port", str(link), "--inputs", str(inputs), "--limit", "3"]
    with emulated(digits / "build", link):
        monkeypatch.setattr("dovetail.cli.run.golden.run", wrong)
        code, found = as_json(capsys, *arguments)
        assert (code, found["mismatches"]) == (1, 1)
        first = found["first_mismatch"]
        assert (first["frame"], first["element"], first["expected"]) == (1, 2, first["got"] + 1)
        assert main(arguments) == 1
        out = capsys.readouterr().out
        assert out.endswith("FAILED\n") and "first mismatch: frame 1, element 2: expected" in out


def test_another_design(digits, tmp_path, capsys):
    other = tmp_path / "other"
    assert main(["compile", str(digits / "digits.onnx"), "--calibration", str(digits / "digits_calibration.npz"),
                 "--target-cycles", "600", "-o", str(other)]) == 0
    capsys.readouterr()
    with emulated(digits / "build", tmp_path / "board"):
        assert main(["run", str(other), "--port", str(tmp_path / "board"), "--inputs",
                     str(digits / "digits_test.npz")]) == 2
    assert "the board holds another design" in capsys.readouterr().err


def test_an_old_link_is_replaced(digits, tmp_path):
    """That of an emulation which was killed."""
    link = tmp_path / "board"
    link.symlink_to("/dev/pts/4000")
    with emulated(digits / "build", link):
        assert link.exists()
    assert not link.is_symlink()


def test_nobody_answers(digits, capsys):
    """A terminal without an emulation: one line, exit code 3."""
    master, slave = os.openpty()
    port = os.ttyname(slave)
    begin = time.monotonic()
    assert main(["run", str(digits / "build"), "--port", port, "--inputs", str(digits / "digits_test.npz")]) == 3
    assert time.monotonic() - begin < 20
    assert capsys.readouterr().err.endswith(
        f"dovetail: error: {port}: no answer to HELLO, sent 6 times at 1,000,000 baud\n")
    for file in (master, slave):
        os.close(file)


def test_a_board_that_goes_away(digits, tmp_path):
    """While it is used: one line, and no waiting for ever."""
    build, link = read_build(digits / "build"), tmp_path / "board"
    with subprocess.Popen([*COMMAND, "emulate", str(digits / "build"), "--link", str(link)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline().startswith(b"port: ")
        with Device.open(str(link), build) as device:
            process.kill()
            process.wait()
            with pytest.raises(DeviceError, match=f"^{link}: (the line broke: |no answer to INFER)"):
                device(np.zeros((4, 64), int))


@pytest.mark.parametrize("options, message", [
    (["--limit", "0"], "argument --limit: must be at least 1, not 0"),
    (["--baud", "5"], "argument --baud: must be in 300..100000000, not 5"),
    ([], "/dev/null: is no serial port"),
])
def test_run_wrong(digits, capsys, options, message):
    assert main(["run", str(digits / "build"), "--port", "/dev/null", "--inputs", str(digits / "digits_test.npz"),
                 *options]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"dovetail: error: {message}"


def test_no_such_port(digits, capsys):
    """A board that cannot be reached is no wrong call."""
    inputs = digits / "digits_test.npz"
    assert main(["run", str(digits / "build"), "--port", "/dev/absent", "--inputs", str(inputs)]) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith(
        "dovetail: error: /dev/absent: there is no such serial port; ")


def test_whose_clock_it_is(capsys):
    """An emulation's pace is not passed off as a board's."""
    found = {"loaded": False, "mismatches": 0, "outputs": 10, "first_mismatch": None, "calls_per_second": 200.72,
             "samples": 1, "seconds": 0.005, "clock_hz": 18_000_000, "resent": 0, "dropped": 0, "accuracy": None}
    for emulated, clock in (
            (True, "clock: the emulated board's would be 18 MHz; the pace is the emulation's, not a board's"),
            (False, "clock: 18 MHz, as the board says")):
        _show(found | {"pseudo_terminal": emulated})
        assert capsys.readouterr().out.splitlines()[1:3] == [
            "measured: 200.7 calls per second over this port (1 input in 0.01 s)", clock]


def test_emulate_wrong(digits, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    for link, message in (("file", "exists and is no link to a pseudo-terminal"),
                          ("link", "exists and is no link to a pseudo-terminal"),
                          ("absent/link", f"the folder {tmp_path / 'absent'} does not exist")):
        assert main(["emulate", str(digits / "build"), "--link", str(tmp_path / link)]) == 2
        assert capsys.readouterr().err == f"dovetail: error: {tmp_path / link}: {message}\n"
    assert main(["emulate", str(digits / "build"), "--link", "/proc/link"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(
        "dovetail: error: /proc/link: no link can be made there: ")
    assert main(["emulate", str(tmp_path)]) == 2
    assert "no build folder" in capsys.readouterr().err

