"""How commands print: tables, lines, bars and JSON to stdout, progress to stderr."""

import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = [
    "bar", "counted", "following", "line_width", "print_json", "print_table", "print_wrapped", "shorten", "working",
]

WIDE = 160   # characters of a table where there is no terminal
LINE = 80    # characters of a line of text, at most
NAME = 5     # characters to which a layer's name may be shortened
_EIGHTHS = " ▏▎▍▌▋▊▉"


def print_json(value: dict[str, Any]) -> None:
    """Print exactly one JSON object on stdout."""
    print(json.dumps(value, indent=1))


def _console() -> Console:
    """Stdout, as wide as its terminal; a file has no edge to wrap at, unless COLUMNS says so."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    return console


def line_width() -> int:
    """Characters of a line of text."""
    return min(_console().width, LINE)


def _has_blocks() -> bool:
    """Stdout can show what is not ASCII."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def shorten(name: str, width: int) -> str:
    """The name in at most ``width`` characters: what is too much is left out in the middle."""
    if len(name) <= width:
        return name
    gap = "…" if _has_blocks() else "~"
    kept = max(0, width - len(gap))
    return name[:kept - kept // 2] + gap + name[len(name) - kept // 2:]


def counted(count: int, noun: str) -> str:
    """``1 set``, ``2 sets``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def bar(busy: float, stalled: float, width: int) -> str:
    """A bar of parts of 1: full blocks are busy, dark shades stalled, light shades the rest."""
    full, dark, light = "█▒░" if _has_blocks() else "#=."
    eighths = round(busy * width * 8)
    text = full * (eighths // 8)
    if eighths % 8:
        text += _EIGHTHS[eighths % 8] if _has_blocks() else light
    behind = min(width - len(text), round(stalled * width))
    return text + dark * behind + light * (width - len(text) - behind)


def print_wrapped(text: str) -> None:
    """Print a line of text, broken between words; what follows is indented."""
    print(textwrap.fill(text, line_width() - 1, subsequent_indent="  ", break_long_words=False,
                        break_on_hyphens=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> None:
    """Print a table on stdout; the first ``left`` columns are text, the others numbers.

    Where it would be too wide, headers are broken between words, and columns stand closer; then text is broken between
    words in the columns behind the first, and that is shortened. Nothing else is cut or broken.
    """
    console = _console()
    cells = [[str(cell) for cell in row] for row in rows]
    longest = [max([len(row[number]) for row in cells], default=0) for number in range(len(columns))]
    widths = [max(len(column), cell) for column, cell in zip(columns, longest, strict=True)]
    pad, between = 1, len(columns) + 1      # a space between columns, and at both ends
    if sum(widths) + between + pad * (len(columns) - 1) > console.width:
        widths = [max(max(map(len, column.split())), cell) for column, cell in zip(columns, longest, strict=True)]
        pad = int(sum(widths) + between + len(columns) - 1 <= console.width)
        room = console.width - between - sum(widths)
        for number in range(1, left):
            words = [word for row in cells for word in row[number].split()] + columns[number].split()
            width = max(*map(len, words), widths[number] + min(room, 0))
            room += widths[number] - width
            widths[number] = width
        if not pad:
            widths[0] = max(min(widths[0], console.width - between - sum(widths[1:])), min(widths[0], NAME))
    # Rather too wide than cut.
    console.width = max(console.width, sum(widths) + between + pad * (len(columns) - 1))
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
                  padding=(0, pad, 0, 0))
    for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
        table.add_column(column, justify="left" if number < left else "right", overflow="fold", width=width)
    for first, *others in cells:
        table.add_row(*map(escape, (shorten(first, widths[0]), *others)))
    with console.capture() as printed:
        console.print(table)
    print("\n".join(line.rstrip() for line in printed.get().splitlines()))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on stderr what is being done: a spinner on a terminal, a plain line elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(what):
            yield
        console.print(f"[green]✓[/green] {escape(what)}")
    else:
        console.print(escape(what), highlight=False)
        yield


@contextmanager
def following(what: str) -> Iterator[Callable[[str], None]]:
    """As `working`, for work that tells how far it is: on a terminal the spinner shows what the function is told."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(what) as status:
            yield lambda text: status.update(f"{escape(what)}: {escape(text)}")
        console.print(f"[green]✓[/green] {escape(what)}")
    else:
        console.print(escape(what), highlight=False)
        yield lambda text: None
