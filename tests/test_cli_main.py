"""The entry point: exit codes, one-line errors, and what goes to which stream."""

import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from dovetail.cli import main as main_module
from dovetail.cli.main import COMMANDS, main
from dovetail.hw.errors import DovetailError, ModelError, SimulationError, ToolFailed, ToolMissing


@pytest.fixture
def command(monkeypatch):
    """Stand `dovetail try` in for all commands; the test sets what it does."""
    fake = SimpleNamespace(add_parser=lambda subparsers: subparsers.add_parser("try", epilog="example: dovetail try"))
    monkeypatch.setattr(main_module, "COMMANDS", (fake,))
    return fake


def raiser(error):
    def run(args):
        raise error
    return run


@pytest.mark.parametrize("code", [0, 1])
def test_exit_code_of_command(command, code, capsys):
    command.run = lambda args: code
    assert main(["try"]) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error, code", [
    (DovetailError("x"), 2), (ModelError("x"), 2), (SimulationError("x"), 1),
    (ToolMissing("x"), 3), (ToolFailed("x"), 3),
])
def test_exit_code_of_error(command, error, code, capsys):
    command.run = raiser(error)
    assert main(["try"]) == code
    assert capsys.readouterr() == ("", "dovetail: error: x\n")


def test_error_is_one_line(command, capsys):
    command.run = raiser(ModelError("layer fc1:\n  weights are\tnot finite\n"))
    assert main(["try"]) == 2
    assert capsys.readouterr() == ("", "dovetail: error: layer fc1: weights are not finite\n")


def test_os_error_names_the_file(command, tmp_path, capsys):
    command.run = lambda args: (tmp_path / "absent.npz").read_bytes()
    assert main(["try"]) == 2
    assert capsys.readouterr() == ("", f"dovetail: error: {tmp_path / 'absent.npz'}: No such file or directory\n")


def test_os_error_without_a_file(command, capsys):
    command.run = raiser(OSError("cannot allocate"))
    assert main(["try"]) == 2
    assert capsys.readouterr().err == "dovetail: error: cannot allocate\n"


def test_interrupt(command, capsys):
    command.run = raiser(KeyboardInterrupt())
    assert main(["try"]) == 130
    assert capsys.readouterr() == ("", "dovetail: error: interrupted\n")


def test_own_mistakes_are_not_hidden(command, capsys):
    """Nobody but us is helped by a traceback, so it comes on request; the line says that the mistake is ours."""
    command.run = raiser(RuntimeError("a bug"))
    assert main(["try"]) == 2
    assert capsys.readouterr().err == "dovetail: error: internal error: RuntimeError: a bug (--debug shows where)\n"
    assert main(["try", "--debug"]) == 2
    assert "raise error\nRuntimeError: a bug\n" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--debug", "try"], ["try", "--debug"]])
def test_debug_adds_the_traceback(command, argv, capsys):
    command.run = raiser(ModelError("x"))
    assert main(argv) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2:] == ["dovetail.hw.errors.ModelError: x", "dovetail: error: x"]


@pytest.mark.parametrize("argv, message", [
    ([], "the following arguments are required: COMMAND"),
    (["nonsense"], "argument COMMAND: invalid choice: 'nonsense'"),
    (["doctor", "--nonsense"], "unrecognized arguments: --nonsense"),
    (["doctor", "--js"], "unrecognized arguments: --js"),
    (["doctor", "extra"], "unrecognized arguments: extra"),
])
def test_wrong_call(argv, message, capsys):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"dovetail: error: {message}")
    assert err.count("\n") == 1


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr() == (f"dovetail {version('dovetail')}\n", "")


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    for command in COMMANDS:
        assert command.__name__.rpartition(".")[2] in out


@pytest.mark.parametrize("name", [command.__name__.rpartition(".")[2] for command in COMMANDS])
def test_help_of_a_command_shows_an_example(name, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([name, "--help"])
    assert exit_.value.code == 0
    assert f"example: dovetail {name}" in capsys.readouterr().out


def test_reader_that_goes_away():
    reader_gone = "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1); " \
                  "from dovetail.cli.main import main; sys.exit(main(['doctor', '--json']))"
    done = subprocess.run([sys.executable, "-c", reader_gone], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 141
    assert done.stderr.splitlines()[1:] == []   # no traceback beside the note on what is being done


def test_installed_program_exits_with_the_code():
    program = "from dovetail.cli.main import main; raise SystemExit(main())"
    done = subprocess.run([sys.executable, "-c", program, "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("dovetail: error: argument COMMAND")
