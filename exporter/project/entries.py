"""What ``gemcut.toml`` says, once it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..checkpoint.chat_template import NONE as NO_TEMPLATE
from ..errors import EXIT_USAGE, GemcutError, UsageError, nearest
from ..pipeline.budget_limits import Budgets
from ..pipeline.calibration import WORDS
from ..prove.prompts import BuiltIn

SAMPLE = "sample"
# What the keys of a file take besides one.
TEMPLATE_WORDS = (NO_TEMPLATE,)
CALIBRATION_WORDS = WORDS
HINT = "See docs/reference/configuration.md for every key; gemcut init writes a file to start from."


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong in the file.

    Attributes:
        line: Its line, from 1.
        message: What is wrong.
        exit_code: The exit code if this is the only mistake.
        hint: What to do next.
    """

    line: int
    message: str
    exit_code: int = EXIT_USAGE
    hint: str = HINT


class ProjectError(GemcutError):
    """``gemcut.toml`` has mistakes; the first decides the exit code.

    Attributes:
        path: The file.
        mistakes: The mistakes, in the file's order.
    """

    def __init__(self, path: Path, mistakes: list[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(sorted(mistakes, key=lambda one: one.line))
        self.exit_code = self.mistakes[0].exit_code
        said = [f"{path}:{one.line}: {one.message}" for one in self.mistakes]
        whole = said[0] if len(said) == 1 else "\n  ".join([f"{len(said)} mistakes in {path}:", *said])
        super().__init__(whole, hint=self.mistakes[0].hint)


@dataclass(frozen=True)
class ModelSource:
    """Where a checkpoint comes from.

    Attributes:
        text: The text in the file.
        kind: What the text is.
        folder: The folder of the sample or the directory; None for a hub id.
        hub_id: The hub id, as written; empty if it isn't one.
        revision: The hub id's revision, as written; it may be a branch.
    """

    text: str
    kind: Literal["sample", "directory", "hub"]
    folder: Path | None = None
    hub_id: str = ""
    revision: str | None = None


@dataclass(frozen=True)
class BundleEntry:
    """One bundle of ``gemcut.toml``, its defaults filled in; paths are ready to use.

    Attributes:
        name: Its name in the file.
        file: The file.
        line: The line of its table.
        model: Where the checkpoint comes from.
        target: As in ``ExportRequest``.
        runtimes: As in ``ExportRequest``.
        output: Where the bundle goes, or with several runtimes the folder that holds a bundle for each.
        adapter: The adapter's folder.
        recipe: As in ``ExportRequest``.
        calibration: As in ``ExportRequest``.
        golden_prompts: As in ``ExportRequest``.
        built_in_prompts: As in ``ExportRequest``.
        context: As in ``ExportRequest``.
        prefill_lengths: As in ``ExportRequest``.
        options: As in ``ExportRequest``.
        chat_template: As in ``ExportRequest``.
        format: As in ``ExportRequest``.
        prove_on: As in ``ExportRequest``.
        timeout: Seconds for the goldens on each device.
        device_memory: The memory of a virtual machine.
        budgets: What the bundle must keep.
        written: The values as they are written in the file.
        lines: The line of each key (``budgets.mean_kl``), whichever table it is in.
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
    calibration: str | None = None
    golden_prompts: str | None = None
    built_in_prompts: BuiltIn = "all"
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
    """``gemcut.toml``, read and checked.

    Attributes:
        root: The folder of the file.
        path: The file.
        entries: Its bundles, in the file's order.
    """

    root: Path
    path: Path
    entries: tuple[BundleEntry, ...]

    def select(self, names: tuple[str, ...]) -> tuple[BundleEntry, ...]:
        """Return the named entries in the file's order; all if no name is given.

        Raises:
            UsageError: The file has no such bundle; the message has the nearest name.
        """
        known = {entry.name: entry for entry in self.entries}
        for name in names:
            if name not in known:
                raise UsageError(f"--only {name}: {self.path} has no bundle of that name: {nearest(name, known)}")
        return tuple(entry for entry in self.entries if not names or entry.name in names)
