"""Tables on stdout, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...util.native_output import streams

PLAIN_WIDTH = 120


def table(rows: Iterable[Sequence[str]], heads: Sequence[str] = (), to_stderr: bool = False) -> None:
    """Print columns to stdout (or stderr), wrapped to the terminal, or to 120 columns if there is none."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = streams().err if to_stderr else streams().out
    grid = Table(*heads, show_header=bool(heads), box=box.SIMPLE_HEAD if heads else None, pad_edge=False)
    for row in rows:
        if not heads and not grid.columns:
            for index in range(len(row)):
                grid.add_column(no_wrap=index == 0)
        grid.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console(file=out, width=None if out.isatty() else PLAIN_WIDTH, highlight=False).print(grid)
