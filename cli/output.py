"""How commands print: tables and JSON to stdout, progress to stderr."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["following", "print_json", "print_table", "working"]

WIDE = 160   # characters of a table where there is no terminal


def print_json(value: dict[str, Any]) -> None:
    """Print exactly one JSON object on stdout."""
    print(json.dumps(value, indent=1))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> None:
    """Print a table on stdout; the first ``left`` columns are text, the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
                  padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        # Break between words where it must be; never cut a header or a number.
        table.add_column(column, justify="left" if number < left else "right", overflow="fold",
                         min_width=max(map(len, column.split())))
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = WIDE        # a file has no edge to wrap at
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
