"""Text that comes piece by piece, with a live figure after it."""

from __future__ import annotations

from ...util.native_output import streams

DIM, PLAIN, CLEAR_LINE = "\x1b[2m", "\x1b[0m", "\x1b[K"


class LiveText:
    """Text on stdout, on a terminal with a dim note behind the cursor, which the next piece replaces.

    What is said aside, such as a model's thoughts, begins on a line of its own: dim on a terminal, otherwise on stderr,
    so that stdout holds only the result.
    """

    def __init__(self) -> None:
        import shutil

        self._out = streams().out
        self._live = self._out.isatty()
        self._width = shutil.get_terminal_size().columns
        self._column = 0
        self._aside = False
        self._leading = False  # white space right after a change is dropped: the line has ended already

    def write(self, piece: str, note: str, aside: bool = False) -> None:
        """Add ``piece``, which is said aside if ``aside``; ``note`` is shown behind it if the line has room."""
        if aside != self._aside:
            self._turn(aside)
        if self._leading:
            piece = piece.lstrip()
            self._leading = not piece
        if not piece:
            return
        if not self._live:
            out = streams().err if aside else self._out
            out.write(piece)
            out.flush()
            return
        from rich.cells import cell_len

        self._out.write(f"{CLEAR_LINE}{DIM if aside else ''}{piece}{PLAIN if aside else ''}")
        line = piece.rpartition("\n")[2]
        self._column = (cell_len(line) + (0 if "\n" in piece else self._column)) % self._width
        shown = f" {note}"
        if self._column and self._column + len(shown) < self._width:
            self._out.write(f"{DIM}{shown}{PLAIN}\x1b[{len(shown)}D")
        self._out.flush()

    def _turn(self, aside: bool) -> None:
        """Begin or end what is said aside."""
        if self._live:
            ended = "\n" if self._column else ""
            self._out.write(CLEAR_LINE + ended + (f"{DIM}[thinking]{PLAIN}\n" if aside else ""))
        else:
            streams().err.write("[thinking]\n" if aside else "\n")
        self._column, self._aside, self._leading = 0, aside, True

    def end(self) -> None:
        """Remove the note and end the line."""
        if self._aside and not self._live:
            streams().err.write("\n")
        self._out.write(f"{CLEAR_LINE if self._live else ''}\n")
        self._out.flush()
        self._column, self._aside, self._leading = 0, False, False
