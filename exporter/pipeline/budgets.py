"""Budgets of a bundle: limits that an app team sets in ``gemcut.toml``, checked before anything is published.

Sizes and memory are absolute. Speeds are not: this host isn't a phone, and it isn't as fast today as it was yesterday.
They are ratios to a *baseline*, a bundle that the team keeps (the last release, say), measured in the same run, in
turns.
"""

from __future__ import annotations

import statistics
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..bench import decode_steps, measure
from ..bundle.archive import CHUNK
from ..errors import UsageError
from ..runtimes.runs import Job, Run
from ..util.progress import Silent
from .budget_limits import RATIOS, Budgets, baseline_places
from .evidence import AT_LEAST, TITLES, BudgetLine

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..prove.behaviour import Behaviour
    from ..util.progress import Progress
    from .evidence import Evidence

ROUNDS = 3
NO_CALLS = "the float model makes no tool call on the goldens"
NO_ANSWERS = "no prompt has an expected answer"
MEASURED = (*RATIOS, "peak_memory", "device_size")


@dataclass(frozen=True)
class Measured:
    """What was measured of one bundle: medians over the runs.

    Attributes:
        peak_memory: The most bytes of memory that it takes of a process that runs it.
        written: Bytes that the runtime writes beside the bundle at its first use.
        ratios: Ratios to the baseline's figures, by budget; empty without a baseline.
    """

    peak_memory: float
    written: float
    ratios: dict[str, float]


def check_budgets(
    bundle: Bundle, evidence: Evidence, budgets: Budgets, work: Path, progress: Progress
) -> list[BudgetLine]:
    """Check a finished bundle against its budgets; only what they limit is measured.

    Args:
        bundle: The bundle, with all of its files in place.
        evidence: What the proof found.
        budgets: The limits.
        work: A scratch folder.
        progress: Receives a report of each round of runs.

    Returns:
        A line for each limit that is set.

    Raises:
        UsageError: The baseline is for another runtime, or isn't a bundle.
        ConformanceError: The bundle or the baseline can't be run here, or the baseline was changed.
    """
    wanted = budgets.set()
    found = _proof_figures(evidence)
    if "download_size" in wanted:
        found["download_size"] = float(download_size(bundle))
    if any(name in wanted for name in MEASURED):
        ratios = any(name in wanted for name in RATIOS)
        measured = _measure(bundle, budgets.baseline if ratios else None, work, progress)
        found |= {"peak_memory": measured.peak_memory, **measured.ratios}
        found["device_size"] = float(bundle_bytes(bundle)) + measured.written
    return [_line(name, found.get(name), limit, evidence) for name, limit in wanted.items()]


def _proof_figures(evidence: Evidence) -> dict[str, float | None]:
    fidelity = evidence.verdict.fidelity.figures() if evidence.verdict else {}
    behaves = evidence.behaviour
    return {
        "mean_kl": fidelity.get("mean_kl"),
        "top1": fidelity.get("top1"),
        "tool_calls": behaves.tool_calls if behaves else None,
        "expected": behaves.expected if behaves else None,
    }


def _line(name: str, measured: float | None, limit: float, evidence: Evidence) -> BudgetLine:
    return BudgetLine(name, measured, limit, name in AT_LEAST, _why(name, measured, limit, evidence.behaviour))


def _why(name: str, measured: float | None, limit: float, behaviour: Behaviour | None) -> str:
    """Why a limit on what is said isn't kept, or couldn't be measured."""
    if measured is None:
        return NO_CALLS if name == "tool_calls" else NO_ANSWERS if name == "expected" else ""
    if behaviour is None or measured >= limit or name not in ("tool_calls", "expected"):
        return ""
    misses = behaviour.tool_call_misses if name == "tool_calls" else behaviour.expected_misses
    said = f"prompt {misses[0].prompt!r}: {misses[0].detail}" if misses else ""
    own = behaviour.expected_float
    if name == "expected" and own is not None and own < limit:
        said += f"; the float model itself gives {own:.1%}, so no finer recipe helps"
    return said


def bundle_bytes(bundle: Bundle) -> int:
    """Return the bytes of all files of a bundle."""
    return bundle.manifest.files_size


def download_size(bundle: Bundle) -> int:
    """Return the bytes of all files, each deflated as stores and web servers do (zlib, level 6; RFC 1951)."""
    return sum(_deflated(bundle, name) for name in bundle.manifest.files)


def _deflated(bundle: Bundle, name: str) -> int:
    path, offset, left = bundle.locate(name)
    packer, total = zlib.compressobj(6), 0
    with path.open("rb") as file:
        file.seek(offset)
        while left and (chunk := file.read(min(CHUNK, left))):
            total += len(packer.compress(chunk))
            left -= len(chunk)
    return total + len(packer.flush())


def _measure(bundle: Bundle, baseline: Path | None, work: Path, progress: Progress) -> Measured:
    """Run the bundle, in turns with the baseline if there is one, each time in a fresh process."""
    with ExitStack() as stack:
        bundles = [bundle]
        if baseline is not None:
            bundles.append(stack.enter_context(open_baseline(baseline, bundle.manifest.runtime.name)))
        prompt = min(min(b.manifest.prefill_chunk, b.manifest.context // 2) for b in bundles)
        steps = min(decode_steps(b.manifest.context) for b in bundles)
        place = stack.enter_context(tempfile.TemporaryDirectory(dir=work, prefix="budget-"))
        jobs = [Job(b.manifest.runtime.name, str(b.program), (prompt,), (steps,), None, prompt, place) for b in bundles]
        runs: list[list[Run]] = [[] for _ in jobs]
        for number in range(ROUNDS):
            progress.update(number, ROUNDS, f"round {number + 1} of {ROUNDS}")
            for own, job in zip(runs, jobs, strict=True):
                own += measure(job, 1, Silent())
    ratios = {} if baseline is None else _ratios(*runs)
    own = runs[0]
    return Measured(_median(r.peak_memory for r in own), _median(r.written for r in own), ratios)


def _ratios(own: list[Run], base: list[Run]) -> dict[str, float]:
    """The bundle's seconds of loading and its speeds, relative to the baseline's."""
    return {
        "load_time": _median(r.load for r in own) / _median(r.load for r in base),
        "prefill": _median(r.prefill[0] for r in base) / _median(r.prefill[0] for r in own),
        "decode": _median(r.decode[0] for r in base) / _median(r.decode[0] for r in own),
    }


def _median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def open_baseline(path: Path, runtime: str) -> Bundle:
    """Open the baseline's bundle and check every byte of it.

    Args:
        path: The bundle; with several runtimes, it may be the folder that holds a bundle for each.
        runtime: The runtime that it must be for.

    Raises:
        UsageError: There is no baseline, or it is for another runtime.
        ConformanceError: It was changed.
    """
    from ..bundle.reader import open_bundle

    hint = "Export once without the budgets that are ratios, and copy that bundle there as the baseline."
    places = list(baseline_places(path, runtime))
    if not places:
        raise UsageError(f"there is no baseline at {path}", hint=hint)
    bundle = open_bundle(places[0])
    if bundle.manifest.runtime.name != runtime:
        of = bundle.manifest.runtime.name
        bundle.close()
        raise UsageError(f"the baseline {places[0]} is for {of}, not for {runtime}", hint=hint)
    bundle.verify()
    return bundle


def any_over(evidence: Sequence[Evidence]) -> bool:
    """Return whether any bundle is over any of its budgets."""
    return any(not line.passed for one in evidence for line in one.budgets)


def rows(lines: Iterable[BudgetLine]) -> list[tuple[str, str, str, str]]:
    """Return table rows: budget, measured, limit, verdict."""
    return [
        (
            TITLES[line.name],
            line.text(line.measured),
            f"{line.sign} {line.text(line.limit)}",
            "kept" if line.passed else "OVER" if line.measured is not None else "NOT MEASURED",
        )
        for line in lines
    ]
