"""Findings and outcomes as words, the same in every report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..words.grade import Grade
    from .outcome import Finding, Outcome, Place
    from .rules import Area

FIGURES = {
    "mean_kl": "mean KL divergence (nats)",
    "p99_kl": "99th percentile of KL (nats)",
    "top1": "top-1 agreement",
    "perplexity_ratio": "perplexity ratio",
    "max_logprob_diff": "largest log-probability difference",
    "max_logit_diff": "largest logit difference",
}

# Titles within a sentence, for the figures that grades go by, and their units.
_SHORT = {
    "mean_kl": "mean KL",
    "p99_kl": "99th percentile of KL",
    "top1": "top-1",
    "perplexity_ratio": "perplexity ratio",
    "tool_calls": "tool calls like the float model's",
}
_UNITS = {"mean_kl": " nats", "p99_kl": " nats"}


def figure_text(name: str, value: float | None) -> str:
    """Return one figure for a reader; rates are per cent."""
    from ..words.grades import AT_LEAST

    if value is None:
        return "-"
    return f"{value:.2%}" if name in AT_LEAST else f"{value:.4g}"


def in_words(name: str, value: float | None) -> str:
    """Return what users notice of one figure alone, after its value: ``0.0031 (users won't notice)``."""
    from ..words.grades import words_of

    words = words_of(name, value)
    return f"{figure_text(name, value)} ({words})" if words else figure_text(name, value)


def grade_text(grade: Grade, figures: Mapping[str, float | None], brief: bool = False) -> str:
    """Return what users notice of a bundle in one line, with the figures that decide it.

    Args:
        grade: The bundle's grade.
        figures: Its figures by name: those of fidelity, and ``tool_calls``.
        brief: Leave out what the words mean.
    """
    shown = grade.because or ("mean_kl", "top1")
    told = ", ".join(f"{_SHORT[name]} {_measured(name, figures.get(name))}" for name in shown)
    said = f"{grade.words} ({told})"
    return said if brief else f"{said}: {grade.meaning}"


def _measured(name: str, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "not a number"
    return f"{figure_text(name, value)}{_UNITS.get(name, '')}"


# Where a CI service has checked out the repository: reports name files from there, whatever folder Gemcut runs in.
ROOT_VARIABLES = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")
_RATES = frozenset({"top1", "tool_calls", "expected"})
_BYTES = frozenset({"download_size", "device_size", "peak_memory"})
_RATIOS = frozenset({"load_time", "prefill", "decode"})


def memory_text(found: Mapping[str, float]) -> str:
    """Return what a program adds to its process, as ``Evidence.run_memory`` has it; empty if it wasn't measured."""
    from ..util.text import size_text

    if "peak_memory" not in found:
        return ""
    parts = {"own_memory": "its own", "mapped_memory": "mapped from files"}
    told = ", ".join(f"{size_text(found[name])} {what}" for name, what in parts.items() if name in found)
    return f"{size_text(found['peak_memory'])} at most{f' ({told})' if told else ''}"


def area_of(rule: str) -> Area:
    """Return the area of ``area.figure``; a general one if the data file has none."""
    from .rules import rules

    areas = rules().area
    return areas.get(rule.partition(".")[0], areas["other"])


def rule_title(rule: str) -> str:
    """Return a rule for a reader: ``fidelity: mean KL divergence`` for ``fidelity.mean_kl``."""
    area, _, figure = rule.partition(".")
    from .rules import rules

    return f"{area}: {rules().figure.get(figure, figure.replace('_', ' '))}" if figure else area


def number(rule: str, value: float | None) -> str:
    """Return a finding's figure in its unit: rates in per cent, sizes in kB, MB and so on, ratios with an x.

    Args:
        rule: The finding's rule.
        value: The figure; ``-`` stands for None.
    """
    from ..util.text import size_text

    area, _, figure = rule.partition(".")
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if figure in _RATES or area == "behaviour":
        return f"{value:.1%}"
    if area == "budget" and figure in _BYTES:
        return size_text(value)
    return f"{value:.2f} x" if area == "budget" and figure in _RATIOS else f"{value:.4g}"


def where(finding: Finding) -> str:
    """Return where it was worst: ``prompt 'tool-3', position 41``; empty if that isn't known."""
    prompt = f"prompt {finding.prompt!r}" if finding.prompt is not None else ""
    position = f"position {finding.position}" if finding.position is not None else ""
    return ", ".join(part for part in (prompt, position) if part)


def level(outcome: Outcome) -> Literal["error", "warning"]:
    """Return how bad a failed finding is: what was published all the same (``--gate report``) mustn't stop a merge."""
    return "warning" if outcome.state == "published" else "error"


def label(outcome: Outcome) -> str:
    """Return the bundle and its runtime: ``chat (executorch)``."""
    return f"{outcome.name} ({outcome.runtime})" if outcome.runtime else outcome.name


def heading(outcomes: Sequence[Outcome]) -> str:
    """Return a heading such as ``Gemcut export: 1 of 2 failed``."""
    actions = ", ".join(dict.fromkeys(one.action for one in outcomes)) or "report"
    failed = sum(not one.passed for one in outcomes)
    if not outcomes:
        return f"Gemcut {actions}: nothing was done"
    if not failed:
        return f"Gemcut {actions}: passed" if len(outcomes) == 1 else f"Gemcut {actions}: all {len(outcomes)} passed"
    count = len(outcomes)
    return f"Gemcut {actions}: failed" if count == 1 else f"Gemcut {actions}: {failed} of {count} failed"


def numbered(names: Iterable[str]) -> list[str]:
    """Return the same names, each once: the second ``x`` becomes ``x #2``."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return out


def place_of(finding: Finding, outcome: Outcome) -> tuple[str, int]:
    """Return the file and line to show a finding at: its own, the bundle's in the user's files, or the bundle."""
    place: Place | None = finding.place or outcome.place
    if place is not None:
        return place.path, max(place.line, 1)
    return (str(outcome.bundle) if outcome.bundle is not None else outcome.name), 1


def from_root(path: str, environ: Mapping[str, str], here: Path | None = None) -> str:
    """Return a path as the CI service knows it: from the repository's root if it is below it, with ``/``.

    Args:
        path: A path relative to the working directory, or absolute.
        environ: The environment; ``GITHUB_WORKSPACE`` or ``CI_PROJECT_DIR`` name the root. If neither is set, the root
            is the working directory.
        here: The working directory; if None, the process's own.
    """
    here = Path.cwd() if here is None else here
    root = next((Path(environ[name]) for name in ROOT_VARIABLES if environ.get(name)), here)
    try:
        whole = (here / path).resolve()
    except (OSError, ValueError):  # not a path at all, such as a name with a NUL
        return path
    for base in (root.resolve(), here.resolve()):
        if whole.is_relative_to(base):
            return whole.relative_to(base).as_posix()
    return whole.as_posix()


def one_line(text: str) -> str:
    """Return a text with every run of white space as one space."""
    return " ".join(text.split())
