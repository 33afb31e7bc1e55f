"""The entry point `dovetail`: find the command, run it, and turn what went wrong into one line and an exit code."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from ..hw.errors import DovetailError
from . import build, compile, demo, diff, doctor, emulate, inspect, report, run, simulate, sweep, synth

__all__ = ["COMMANDS", "Parser", "main"]

# In the order of `dovetail --help`. A command is a module with two functions: `add_parser(subparsers)` returns the
# parser it added, `run(args)` does the work and returns the exit code (0 done, 1 its check failed).
COMMANDS = (
    demo,
    inspect,
    compile,
    simulate,
    diff,
    synth,
    build,
    run,
    emulate,
    sweep,
    report,
    doctor,
)

INTERRUPTED = 130   # as a shell reports a process ended by ctrl-c
PIPE_CLOSED = 141   # as a shell reports a process whose reader went away


class Parser(argparse.ArgumentParser):
    """A parser that keeps an example's line breaks, takes no shortened options, and raises what it has to object."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise `DovetailError` with the message, where argparse would print and exit."""
        raise DovetailError(message)


def _parser() -> Parser:
    parser = Parser(prog="dovetail", description="sparse-sparse neural networks as verified hardware",
                    epilog="example: dovetail demo")
    parser.add_argument("--version", action="version", version=f"dovetail {version('dovetail')}")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = command.add_parser(subparsers)
        # Suppressed, so that the default here does not undo `dovetail --debug COMMAND`.
        subparser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS,
                               help="show where an error came from")
        subparser.set_defaults(run=command.run)
    return parser


def _fail(message: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print("dovetail: error:", " ".join(message.split()), file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        0 done; 1 the work was done and its check failed; 2 the input or the call is wrong; 3 a tool is missing or
        failed; 130 interrupted; 141 whoever read stdout went away. Every error comes with one line on stderr.

    Raises
    ------
    SystemExit
        With 0, after ``--help`` and ``--version``.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in argv   # known before parsing, since parsing may be what fails
    try:
        args = _parser().parse_args(argv)
        code = args.run(args)
        sys.stdout.flush()   # a reader that went away shows here, not at interpreter exit
        return code
    except DovetailError as error:
        _fail(str(error), debug=debug)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())   # the interpreter flushes once more
        return PIPE_CLOSED
    except OSError as error:
        # The paths a user names are checked where they are used; this is the rest: a full disk, a missing permission.
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), debug=debug)
        return DovetailError.exit_code
    except Exception as error:
        # What is left is a mistake of ours, or input made to find one; either way nobody is helped by a traceback.
        _fail(f"internal error: {type(error).__name__}: {error} (--debug shows where)", debug=debug)
        return DovetailError.exit_code
    except KeyboardInterrupt:
        _fail("interrupted", debug=debug)
        return INTERRUPTED
