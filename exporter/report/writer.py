"""Reports as files, each written completely or not at all, whatever became of the run."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LackingError, UsageError

if TYPE_CHECKING:
    from .outcome import Outcome

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True)
class ReportFiles:
    """Where reports go; None for those that weren't asked for.

    Attributes:
        junit: The file for ``--junit``.
        sarif: The file for ``--sarif``.
        html: The file for ``--html``.
        summary: The file for ``--summary``.
    """

    junit: Path | None = None
    sarif: Path | None = None
    html: Path | None = None
    summary: Path | None = None

    def named(self) -> dict[str, Path]:
        """Return those that were asked for, by the flag's name without its dashes."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: path for name, path in pairs if path is not None}


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
    if files.html is not None:
        _require_plotly()


def _example(name: str) -> str:
    return {"junit": "gemcut.xml", "sarif": "gemcut.sarif", "html": "gemcut.html", "summary": "gemcut.md"}[name]


def _require_plotly() -> None:
    from importlib.util import find_spec

    if find_spec("plotly") is None:
        raise LackingError(
            "--html needs the package 'plotly', which isn't installed",
            hint="Install it with: pip install 'gemcut[report]'",
        )


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
    makers: dict[str, Callable[[], bytes]] = {
        "junit": lambda: _junit(outcomes),
        "sarif": lambda: _sarif(outcomes, environ),
        "html": lambda: _html(outcomes),
        "summary": lambda: _summary(outcomes),
    }
    problem: UsageError | LackingError | None = None
    for name, path in files.named().items():
        try:
            _write(f"--{name}", path, makers[name]())
        except (UsageError, LackingError) as error:
            problem = problem or error
    said = _append_step_summary(outcomes, environ)
    if problem is not None:
        raise problem
    return said


def _junit(outcomes: Sequence[Outcome]) -> bytes:
    from .junit import junit_xml

    return junit_xml(outcomes)


def _sarif(outcomes: Sequence[Outcome], environ: Mapping[str, str]) -> bytes:
    from .sarif import sarif_json

    return sarif_json(outcomes, environ)


def _html(outcomes: Sequence[Outcome]) -> bytes:
    _require_plotly()
    from .html import html_report

    return html_report(outcomes).encode("utf-8", "replace")


def _summary(outcomes: Sequence[Outcome]) -> bytes:
    from .summary import summary

    return summary(outcomes).encode("utf-8", "replace")


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
    from .summary import LIMIT, summary

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
