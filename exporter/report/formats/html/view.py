"""What the page shows of each outcome: findings, plots with their tables, texts side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....util.text import path_text, size_text
from ....words.grades import grade_of
from ... import wording as shown
from .figures import Plot, Table

if TYPE_CHECKING:
    from ....pipeline.evidence import Evidence
    from ....prove.conformance import Conformance
    from ....prove.fidelity import Fidelity
    from ...outcome import Finding, Outcome
    from .text_diff import Pair


@dataclass(frozen=True)
class Check:
    """A row of the table of findings, as text.

    Attributes:
        passed: Whether the check passed.
        title: The rule for a reader.
        rule: The rule.
        measured: What was measured.
        limit: The limit.
        message: What was found.
        hint: What to do.
        where: Where it was worst, and the line of the user's files.
    """

    passed: bool
    title: str
    rule: str
    measured: str
    limit: str
    message: str
    hint: str
    where: str

    @property
    def figures(self) -> bool:
        """Whether anything was measured, or has a limit."""
        return (self.measured, self.limit) != ("-", "-")


@dataclass(frozen=True)
class Section:
    """One outcome.

    Attributes:
        anchor: Its id in the page.
        title: Its heading.
        state: What became of the bundle.
        passed: Whether nothing failed.
        facts: What the bundle is: names and values.
        checks: The rows of the table of findings.
        plots: The plots by topic; None for a topic without one.
        tables: The tables of devices and budgets, by topic.
        pairs: The worst prompts with their texts.
        notes: What else there is to say.
        prompts: How many prompts the bundle was proven with.
    """

    anchor: str
    title: str
    state: str
    passed: bool
    facts: tuple[tuple[str, str], ...]
    checks: tuple[Check, ...]
    plots: dict[str, Plot | None]
    tables: dict[str, Table]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    prompts: int = 0

    @property
    def failed(self) -> int:
        """How many checks failed."""
        return sum(not check.passed for check in self.checks)

    @property
    def hints(self) -> tuple[tuple[str, str], ...]:
        """What to do about what failed, each hint once: the checks that it is for, and the hint."""
        found: dict[str, list[str]] = {}
        for check in self.checks:
            if check.hint and not check.passed:
                found.setdefault(check.hint, []).append(check.title)
        return tuple((", ".join(dict.fromkeys(titles)), hint) for hint, titles in found.items())


def sections(outcomes: Sequence[Outcome]) -> tuple[Section, ...]:
    """Return a section for each outcome, in their order."""
    titles = shown.numbered(shown.label(one) for one in outcomes)
    return tuple(_section(one, title, f"b{i}") for i, (one, title) in enumerate(zip(outcomes, titles, strict=True), 1))


def _section(outcome: Outcome, title: str, anchor: str) -> Section:
    evidence = outcome.evidence
    fidelity = _fidelity(evidence)
    plots, tables = _plots(outcome)
    return Section(
        anchor=anchor,
        title=title,
        state=outcome.state,
        passed=outcome.passed,
        facts=_facts(outcome, fidelity),
        checks=tuple(_check(finding, outcome) for finding in outcome.findings),
        plots=plots,
        tables=tables,
        pairs=_pairs(outcome, fidelity),
        notes=outcome.notes,
        prompts=len(evidence.goldens) if evidence else 0,
    )


def _check(finding: Finding, outcome: Outcome) -> Check:
    path, line = shown.place_of(finding, outcome)
    places = [shown.where(finding)]
    if finding.place or outcome.place:
        places.append(f"{path}:{line}")
    return Check(
        finding.passed,
        shown.rule_title(finding.rule),
        finding.rule,
        shown.number(finding.rule, finding.measured),
        shown.number(finding.rule, finding.limit),
        finding.message,
        finding.hint or "",
        "; ".join(part for part in places if part),
    )


def _fidelity(evidence: Evidence | None) -> Fidelity | None:
    """Return the gate's fidelity, or else what goldens and recorded outputs give."""
    from ....prove.fidelity import fidelity_top64

    if evidence is None:
        return None
    if evidence.verdict is not None:
        return evidence.verdict.fidelity
    return fidelity_top64(evidence.goldens, evidence.recorded) if evidence.goldens and evidence.recorded else None


def _facts(outcome: Outcome, fidelity: Fidelity | None) -> tuple[tuple[str, str], ...]:
    from ...wording import FIGURES, grade_text, in_words

    evidence = outcome.evidence
    rows = [
        ("command", f"gemcut {outcome.action}"),
        ("bundle", path_text(outcome.bundle) if outcome.bundle else ""),
        ("target", outcome.target),
        ("runtime", outcome.runtime),
    ]
    if evidence is not None:
        manifest = evidence.manifest
        rows += [
            ("runtime", f"{manifest.runtime.name} {manifest.runtime.version}"),
            ("model", f"{manifest.model.name}{f' at {manifest.model.revision}' if manifest.model.revision else ''}"),
            ("recipe", f"{manifest.recipe.name}: {manifest.recipe.description}".rstrip(": ")),
            ("size", size_text(evidence.size) if evidence.size else ""),
            *((f"{name} on this host", f"{rate:.0f} tokens/s") for name, rate in evidence.speed.items()),
            ("memory of the model on this host", shown.memory_text(evidence.run_memory)),
        ]
    if fidelity is not None:
        calls = outcome.tool_calls
        figures = {**fidelity.figures(), "tool_calls": calls}
        rows.append(("fidelity", grade_text(grade_of(fidelity, calls), figures)))
        named = ((title, in_words(name, figures[name])) for name, title in FIGURES.items())
        rows += [(title, text) for title, text in named if text != "-"]
    used = outcome.command_memory
    rows.append((f"memory of gemcut {outcome.action}", size_text(used) if used else ""))
    return tuple({name: text for name, text in rows if text}.items())


def _conformances(evidence: Evidence) -> dict[str, Conformance]:
    found = {"host": evidence.conformance} if evidence.conformance else {}
    return {**found, **{one.device: one.conformance for one in evidence.devices if one.conformance}}


def _plots(outcome: Outcome) -> tuple[dict[str, Plot | None], dict[str, Table]]:
    from . import fidelity_plot as fidelity
    from . import plots
    from . import size_plot as size

    evidence, tables = outcome.evidence, {}
    found: dict[str, Plot | None] = {}
    if evidence is not None:
        if evidence.goldens and evidence.recorded:
            found["fidelity"] = fidelity.fidelity_plot(evidence.goldens, evidence.recorded)
        found["size"] = size.size_plot(evidence.manifest, evidence.size)
        if evidence.manifest.operators or evidence.manifest.delegates:
            found["delegates"] = plots.delegate_plot(evidence.manifest)
        devices = _conformances(evidence)
        found["conformance"] = plots.conformance_plot(devices) if devices else None
        if evidence.conformance or evidence.devices:
            tables["conformance"] = _device_table(evidence)
        if evidence.budgets:
            found["budgets"] = plots.budget_plot(evidence.budgets)
            tables["budgets"] = _budget_table(evidence)
    found["stages"] = plots.stages_plot(outcome.seconds) if outcome.seconds else None
    found["memory"] = plots.memory_plot(outcome.memory) if outcome.memory else None
    return found, tables


def _device_table(evidence: Evidence) -> Table:
    rows, notes = [], []
    if evidence.conformance:
        rows.append(
            (
                "host",
                "this machine",
                *_figures(evidence.conformance),
                _verdict(evidence.conformance.passed),
            )
        )
        notes.append(("host", "; ".join(evidence.conformance.failures)))
    for one in evidence.devices:
        facts = one.facts
        what = f"{facts.cpu}, {facts.system}{' (emulated)' if facts.emulated else ''}" if facts else "not reached"
        figures = _figures(one.conformance) if one.conformance else ("-", "-")
        rows.append((one.device, what, *figures, _verdict(one.passed)))
        notes.append((one.device, "; ".join(one.failures)))
    heads = ("device", "what it is", "log-probability difference", "mean KL", "verdict")
    return Table("Conformance by device", heads, tuple(rows), notes=tuple(note for note in notes if note[1]))


def _figures(found: Conformance) -> tuple[str, str]:
    limits = found.tolerance
    return f"{found.max_logprob_diff:.3g} of {limits.logprob:.3g}", f"{found.mean_kl:.3g} of {limits.kl:.3g}"


def _verdict(passed: bool) -> str:
    return "✓ passed" if passed else "✗ FAILED"


def _budget_table(evidence: Evidence) -> Table:
    from ....pipeline.evidence import TITLES

    rows, notes = [], []
    for line in evidence.budgets:
        kept = "✓ kept" if line.passed else "✗ OVER" if line.measured is not None else "✗ NOT MEASURED"
        limit = f"{'≥' if line.at_least else '≤'} {line.text(line.limit)}"
        title = TITLES.get(line.name, line.name)
        rows.append((title, line.text(line.measured), limit, kept))
        if line.why:
            notes.append((title, line.why))
    heads = ("budget", "measured", "limit", "verdict")
    return Table("Budgets", heads, tuple(rows), frozenset({1, 2}), tuple(notes))


def _pairs(outcome: Outcome, fidelity: Fidelity | None) -> tuple[Pair, ...]:
    from .text_diff import pairs

    evidence = outcome.evidence
    if evidence is None or fidelity is None or not evidence.goldens or not evidence.recorded:
        return ()
    failed: dict[str, list[str]] = {}
    for finding in outcome.failures:
        if finding.prompt is not None:
            failed.setdefault(finding.prompt, []).append(shown.rule_title(finding.rule))
    return pairs(evidence.goldens, evidence.recorded, fidelity, failed)
