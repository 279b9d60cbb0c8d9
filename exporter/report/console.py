"""Progress as a user sees it on stderr: bars on a terminal, a line for each stage elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from ..util.native_output import streams
from .eta import Remaining

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

# Seconds between two plain lines of one stage: where somebody looks on, and where only a service does, which may end a
# job that is silent for ten minutes (no_output_timeout in CircleCI's configuration reference).
WATCHED_EVERY, ALONE_EVERY = 10.0, 300.0


class ConsoleProgress:
    """A :class:`gemcut.util.progress.Progress` on stderr; use it as a context manager.

    On a terminal it shows a live bar of the current stage, and a line for each stage that took over two seconds.
    Elsewhere it writes one line as a stage begins, and another for each five minutes that it takes. Both say how much
    longer the stage will take, while that can be told.

    Args:
        plain: Whether to write plain lines on a terminal too, and one every ten seconds anywhere.

    Attributes:
        seconds: The time of each stage that has ended.
    """

    def __init__(self, plain: bool = False) -> None:
        self._err = streams().err
        self._every = WATCHED_EVERY if plain else ALONE_EVERY
        self._bars: Bars | None = None if plain or not self._err.isatty() else self._make_bars()
        self._task: TaskID | None = None
        self._stage = ""
        self._began = self._said = time.monotonic()
        self._remaining = Remaining(self._began)
        self.seconds: dict[str, float] = {}

    def _make_bars(self) -> Bars:
        from rich import progress as bars
        from rich.console import Console
        from rich.text import Text

        text_of = self._left

        class Left(bars.ProgressColumn):
            def render(self, task: bars.Task) -> Text:
                return Text(text_of())

        return bars.Progress(
            bars.SpinnerColumn(),
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(bar_width=30),
            bars.TaskProgressColumn(),
            bars.TimeElapsedColumn(),
            Left(),
            bars.TextColumn("{task.fields[what]}", markup=False),
            console=Console(file=self._err, highlight=False),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _left(self) -> str:
        return self._remaining.text(time.monotonic())

    def __enter__(self) -> ConsoleProgress:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_stage()
        if self._bars:
            self._bars.stop()

    def _end_stage(self) -> None:
        if not self._stage:
            return
        taken = time.monotonic() - self._began
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + taken
        if self._bars and self._task is not None:
            self._bars.remove_task(self._task)
            if taken >= 2:
                self._bars.console.print(f"{self._stage}: {taken:.1f} s", markup=False)
        self._stage, self._task = "", None

    def stage(self, name: str) -> None:
        """Begin a new stage and end the one before."""
        self._end_stage()
        self._stage, self._began = name, time.monotonic()
        self._said = self._began
        self._remaining = Remaining(self._began)
        if self._bars:
            self._task = self._bars.add_task(name, total=None, what="")
        else:
            self._line(name)

    def update(self, done: float, total: float, what: str = "") -> None:
        """Show that ``done`` of ``total`` units of the current stage are done; ``what`` is being done now."""
        now = time.monotonic()
        if total:
            self._remaining.update(now, done / total)
        if self._bars and self._task is not None:
            self._bars.update(self._task, completed=done, total=total or None, what=what)
        elif now - self._said >= self._every and total:
            self._said = now
            self._line(", ".join(filter(None, [f"{self._stage}: {done / total:.0%}", what, self._left()])))

    def note(self, text: str) -> None:
        """Say something that the user should know and that isn't an error."""
        if self._bars:
            self._bars.console.print(f"note: {text}", markup=False)
        else:
            self._line(f"note: {text}")

    def _line(self, text: str) -> None:
        print(text, file=self._err, flush=True)
