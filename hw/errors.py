"""Errors that a user can cause or meet, each with the exit code of the command line. Free of Amaranth."""

__all__ = ["DeviceError", "DovetailError", "ModelError", "SimulationError", "ToolFailed", "ToolMissing"]


class DovetailError(Exception):
    """Base of every error that is the user's to mend; its text is one plain sentence without a traceback.

    Attributes
    ----------
    exit_code : int
        What the command line exits with: 2 when the input or the call is wrong.
    """

    exit_code = 2


class ModelError(DovetailError):
    """A model, its calibration or its test data cannot be used. Exit code 2."""


class ToolMissing(DovetailError):
    """A tool that is needed is not installed; the message says how to get it. Exit code 3."""

    exit_code = 3


class ToolFailed(DovetailError):
    """A tool ran and failed; the message quotes the end of its log. Exit code 3."""

    exit_code = 3


class SimulationError(DovetailError):
    """A simulation did not deliver what was asked of it (a deadlock, a cycle limit). Exit code 1."""

    exit_code = 1


class DeviceError(DovetailError):
    """A board cannot be reached, or does not answer as it should; the message says what was tried. Exit code 3."""

    exit_code = 3
