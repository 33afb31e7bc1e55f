"""Results of tools, kept by the content they were made from: a second call is instant, a half result is never seen."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..hw.errors import DovetailError
from ..sim.tools import cache_folder

__all__ = ["content_key", "kept"]

_MOST_BYTES = 4 << 30
_STALE_SECONDS = 2 * 86400
_FAILED = "failed"


def content_key(*parts: str) -> str:
    """A name for everything that a result is made from."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def kept(key: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
    """The folder that ``make`` filled, now or at an earlier call with this key.

    Parameters
    ----------
    key : str
        See `content_key`.
    make : callable
        Fills the empty folder that it is given. It is renamed into place when ``make`` returns; two processes may make
        the same at once, and the first one's stays.

    Returns
    -------
    Path, bool
        The folder, not to be written to; whether it was there before.

    Raises
    ------
    DovetailError
        What ``make`` raises, of the same type; where a log was left, the text says where it is kept.
    """
    root = cache_folder() / "synth"
    root.mkdir(exist_ok=True)
    folder = root / key
    if folder.is_dir():
        os.utime(folder)
        return folder, True
    partial = Path(tempfile.mkdtemp(prefix=".", dir=root))
    try:
        make(partial)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except DovetailError as error:
        raise type(error)(f"{error}{_keep_logs(partial, root / _FAILED / key)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _evict(root, folder)
    return folder, False


def _keep_logs(partial: Path, place: Path) -> str:
    """Move the logs of a failed run to where they can be read; say where."""
    logs = sorted(partial.glob("*.log")) or sorted(partial.glob("printed.txt"))
    if not logs:
        return ""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for log in logs:
        shutil.copy(log, place)
    return f" (log: {place / logs[-1].name})"


def _evict(root: Path, newest: Path) -> None:
    """Remove what was not used for longest, where it all is too large."""
    found = []
    for folder in root.iterdir():
        try:
            if folder.name.startswith("."):
                if folder.stat().st_mtime < time.time() - _STALE_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)       # of a process that was killed
            elif folder.is_dir() and folder.name != _FAILED:
                size = sum(file.stat().st_size for file in folder.iterdir())
                found.append((folder.stat().st_mtime, size, folder))
        except FileNotFoundError:
            continue        # another process removes it
    total = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found, key=lambda each: each[0]):
        if total <= _MOST_BYTES or folder == newest:
            break
        shutil.rmtree(folder, ignore_errors=True)
        total -= size
