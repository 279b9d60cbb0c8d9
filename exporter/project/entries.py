"""What ``gemcut.toml`` says, once it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import EXIT_USAGE, GemcutError, UsageError, nearest
from ..pipeline.budget_limits import Budgets

FILE = "gemcut.toml"
SAMPLE = "sample"
HINT = "docs/configuration.md explains every key; gemcut init writes a file to begin with."


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in the file. line: from 1. exit_code: of an error that is this alone."""

    line: int
    message: str
    exit_code: int = EXIT_USAGE
    hint: str = HINT


class ProjectError(GemcutError):
    """``gemcut.toml`` can't be taken. ``mistakes`` are in the file's order; the first decides the exit code."""

    def __init__(self, path: Path, mistakes: list[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(sorted(mistakes, key=lambda one: one.line))
        self.exit_code = self.mistakes[0].exit_code
        said = [f"{path}:{one.line}: {one.message}" for one in self.mistakes]
        whole = said[0] if len(said) == 1 else "\n  ".join([f"{len(said)} mistakes in {path}:", *said])
        super().__init__(whole, hint=self.mistakes[0].hint)


@dataclass(frozen=True)
class ModelSource:
    """Where a checkpoint comes from. text: as the file has it.

    folder: of the sample or a directory; None for a hub id. hub_id, revision: as written; a revision may be a branch.
    """

    text: str
    kind: Literal["sample", "directory", "hub"]
    folder: Path | None = None
    hub_id: str = ""
    revision: str | None = None


@dataclass(frozen=True)
class BundleEntry:
    """One bundle of ``gemcut.toml``, its defaults filled in; paths are ready to use.

    file, line: of its table; lines: of its keys (``budgets.mean_kl``), wherever they stand. output: the bundle's place,
    or with several runtimes the folder that holds one each. adapter: its folder. timeout: seconds. Else as
    ``ExportRequest``.
    """

    name: str
    file: Path
    line: int
    model: ModelSource
    target: str
    runtimes: tuple[str, ...]
    output: Path
    adapter: Path | None = None
    recipe: str | None = None
    context: int | None = None
    prefill_lengths: tuple[int, ...] = ()
    options: Mapping[str, bool] = field(default_factory=dict)
    chat_template: str | None = None
    format: Literal["dir", "zip"] = "dir"
    prove_on: tuple[str, ...] = ()
    timeout: float | None = None
    device_memory: str | None = None
    budgets: Budgets = field(default_factory=Budgets)
    written: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """``gemcut.toml``, read and checked. root: the folder that it lies in; entries: in the file's order."""

    root: Path
    path: Path
    entries: tuple[BundleEntry, ...]

    def select(self, names: tuple[str, ...]) -> tuple[BundleEntry, ...]:
        """The named entries in the file's order; all where none is named.

        Raises:
            UsageError: A name that isn't there; the message has the nearest.
        """
        known = {entry.name: entry for entry in self.entries}
        for name in names:
            if name not in known:
                raise UsageError(f"--only {name}: {self.path} has no such bundle: {nearest(name, known)}")
        return tuple(entry for entry in self.entries if not names or entry.name in names)
