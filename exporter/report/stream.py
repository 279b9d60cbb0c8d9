"""Text that comes piece by piece, with a live figure after it."""

from __future__ import annotations

from ..quiet import streams

DIM, PLAIN, CLEAR_LINE = "\x1b[2m", "\x1b[0m", "\x1b[K"


class LiveText:
    """Writes pieces to stdout; on a terminal with a dim note behind the cursor, which the next piece replaces."""

    def __init__(self) -> None:
        import shutil

        self._out = streams().out
        self._live = self._out.isatty()
        self._width = shutil.get_terminal_size().columns
        self._column = 0

    def write(self, piece: str, note: str) -> None:
        """Adds ``piece``; ``note`` is shown behind it where the line has room."""
        if not self._live:
            self._out.write(piece)
            self._out.flush()
            return
        from rich.cells import cell_len

        self._out.write(CLEAR_LINE + piece)
        line = piece.rpartition("\n")[2]
        self._column = (cell_len(line) + (0 if "\n" in piece else self._column)) % self._width
        shown = f" {note}"
        if self._column and self._column + len(shown) < self._width:
            self._out.write(f"{DIM}{shown}{PLAIN}\x1b[{len(shown)}D")
        self._out.flush()

    def end(self) -> None:
        """Takes the note away and ends the line."""
        self._out.write(f"{CLEAR_LINE if self._live else ''}\n")
        self._out.flush()
        self._column = 0
