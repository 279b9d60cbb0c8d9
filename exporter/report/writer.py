"""Reports as files, each written completely or not at all, whatever became of the run."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LackingError, UsageError
from .formats import FORMATS

if TYPE_CHECKING:
    from .outcome import Outcome

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


class ReportFiles:
    """Where reports go.

    Args:
        paths: A file for each report that was asked for, by the format's name; None for those that weren't.

    Raises:
        UnsupportedError: There is no such format; the message has the nearest.
    """

    def __init__(self, **paths: Path | None) -> None:
        for name in paths:
            FORMATS.get(name)
        self._paths = {name: path for name, path in paths.items() if path is not None}

    def named(self) -> dict[str, Path]:
        """Return those that were asked for, by the flag's name without its dashes, in the formats' order."""
        return {name: self._paths[name] for name in FORMATS.names() if name in self._paths}


def check_files(files: ReportFiles) -> None:
    """Refuse, before any work, a report that couldn't be written after it; create the parent folders.

    Raises:
        UsageError: If a file is a folder, is named for two reports, or can't be written.
        LackingError: If the HTML report needs a package that isn't installed.
    """
    flags: dict[Path, str] = {}
    for name, path in files.named().items():
        flag = f"--{name}"
        if path.is_dir():
            raise UsageError(f"{flag} {path} is a folder", hint=f"Name a file: {flag} {path / _example(name)}")
        whole = path.resolve()
        if whole in flags:
            raise UsageError(
                f"{flags[whole]} and {flag} name the same file, {path}", hint="Give each report a file of its own."
            )
        flags[whole] = flag
        with _told(flag, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):  # access() lies to root and on network drives
                pass
        FORMATS.get(name).require()


def _example(name: str) -> str:
    return f"gemcut{FORMATS.get(name).suffix}"


def write_reports(
    outcomes: Sequence[Outcome], files: ReportFiles, environ: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Write all reports that were asked for, and the step's summary if ``GITHUB_STEP_SUMMARY`` names its file.

    One that can't be written doesn't keep back the others.

    Args:
        outcomes: What the reports are about.
        files: Where they go.
        environ: The environment, for the CI service's variables.

    Returns:
        Sentences on what went wrong with the step's summary, which nobody asked for with a flag.

    Raises:
        UsageError: If a file or its folder can't be written.
        LackingError: If the HTML report needs a package that isn't installed.
    """
    problem: UsageError | LackingError | None = None
    for name, path in files.named().items():
        try:
            report = FORMATS.get(name)
            report.require()
            _write(f"--{name}", path, report.render(outcomes, environ))
        except (UsageError, LackingError) as error:
            problem = problem or error
    said = _append_step_summary(outcomes, environ)
    if problem is not None:
        raise problem
    return said


@contextlib.contextmanager
def _told(flag: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{flag} {path} can't be written: {reason}", hint=f"Name another file with {flag}.") from error


def _write(flag: str, path: Path, data: bytes) -> None:
    """Write a file in one step: readers meet the old one or the new one, never half of it."""
    with _told(flag, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.chmod(partial, 0o666 & ~_umask())  # only the owner can read mkstemp's; a CI service is another user
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _append_step_summary(outcomes: Sequence[Outcome], environ: Mapping[str, str]) -> tuple[str, ...]:
    from .formats.summary import LIMIT, summary

    name = environ.get(STEP_SUMMARY)
    if not name:
        return ()
    path = Path(name)
    try:
        there = path.stat().st_size if path.exists() else 0
        text = summary(outcomes, LIMIT - there - 1)
        if not text:
            return (f"the step's summary is full, so Gemcut's was left out ({STEP_SUMMARY})",)
        with path.open("ab") as file:
            file.write(("\n" if there else "").encode() + text.encode("utf-8", "replace"))
    except OSError as error:
        return (f"the step's summary could not be written: {error.strerror or error} ({STEP_SUMMARY})",)
    return ()
