"""A result as text in llama-bench's form: tables in Markdown, or CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence

from ..util.text import size_text
from .results import BenchBundle, BenchPlace, BenchResult, Condition, Figure

EMULATED = "Emulated: these speeds say nothing about a phone's."
_WIDE = 1000  # columns: a line of Markdown must not be wrapped
_SPEED = "t/s"
_MB = 1e6


def markdown(result: BenchResult) -> str:
    """Return two tables: the speeds, and what loading and memory take; above them, what was measured where."""
    lines = [f"**{EMULATED}**\n"] if result.emulated else []
    lines += [f"{_place(result.place)}; {result.runs} run{'s' if result.runs > 1 else ''} of each bundle", ""]
    models = _names(result.bundles)
    speed = f"{_SPEED} (emulated)" if result.emulated else _SPEED
    lines.append(_table(("model", "size", "runtime", "recipe", "threads", "test", speed), _speeds(result, models)))
    heads = ("model", "runtime", "recipe", "load (s)", "peak memory (MB)", "own (MB)", "mapped (MB)")
    lines.append(_table(heads, _memories(result, models)))
    for before, condition in (("before", result.place.before), ("after", result.place.after)):
        lines += [f"{before}: {_condition(condition)}"] if condition else []
    lines += [f"note: {note}" for note in result.notes]
    return "\n".join(lines).rstrip("\n")


def comma_separated(result: BenchResult) -> str:
    """Return a line for each test, with the figures of its bundle; times in seconds, memory in bytes."""
    speed = "emulated_tokens_per_second" if result.emulated else "tokens_per_second"
    rows = [row for bundle in result.bundles for row in _records(result, bundle, speed)]
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")


def _records(result: BenchResult, bundle: BenchBundle, speed: str) -> Iterator[dict[str, object]]:
    place = result.place
    for test in bundle.tests:
        yield {
            "device": place.device,
            "emulated": str(result.emulated).lower(),
            "system": place.system,
            "cpu": place.cpu,
            "model": bundle.model,
            "bundle": bundle.bundle,
            "size": bundle.size,
            "runtime": bundle.runtime,
            "version": bundle.version,
            "recipe": bundle.recipe,
            "context": bundle.context,
            "threads": bundle.threads,
            "test": test.test,
            "runs": result.runs,
            speed: test.tokens_per_second.mean,
            f"{speed}_sd": test.tokens_per_second.sd,
            "load": bundle.load.mean,
            "peak_memory": bundle.peak_memory.mean,
            "own_memory": bundle.own_memory.mean if bundle.own_memory else None,
            "mapped_memory": bundle.mapped_memory.mean if bundle.mapped_memory else None,
        }


def _speeds(result: BenchResult, models: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for bundle, model in zip(result.bundles, models, strict=True):
        threads = str(bundle.threads or "its own")
        same = (model, size_text(bundle.size), bundle.runtime, bundle.recipe, threads)
        yield from ((*same, test.test, figure_text(test.tokens_per_second)) for test in bundle.tests)


def _memories(result: BenchResult, models: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for bundle, model in zip(result.bundles, models, strict=True):
        sizes = (bundle.peak_memory, bundle.own_memory, bundle.mapped_memory)
        memory = (figure_text(size, _MB, 1) if size else "-" for size in sizes)
        yield model, bundle.runtime, bundle.recipe, figure_text(bundle.load, digits=3), *memory


def figure_text(figure: Figure, unit: float = 1.0, digits: int = 2) -> str:
    """Return ``mean ± sd``; the mean alone after a single run."""
    spread = "" if figure.sd is None else f" ± {figure.sd / unit:.{digits}f}"
    return f"{figure.mean / unit:.{digits}f}{spread}"


def _names(bundles: Sequence[BenchBundle]) -> list[str]:
    """The models' names; with the bundle's own where several bundles have model, runtime and recipe in common."""
    counted = Counter((one.model, one.runtime, one.recipe) for one in bundles)
    return [
        one.model if counted[one.model, one.runtime, one.recipe] == 1 else f"{one.model} ({one.bundle})"
        for one in bundles
    ]


def _place(place: BenchPlace) -> str:
    cores = f"{place.cores} core{'' if place.cores == 1 else 's'}"
    parts = (place.system, place.cpu, cores, f"{size_text(place.memory)} of memory", place.library)
    return f"{place.device}: {', '.join(part for part in parts if part)}"


def _condition(condition: Condition) -> str:
    parts = (
        "" if condition.battery is None else f"battery at {condition.battery}%",
        "" if condition.charging is None else "charging" if condition.charging else "not charging",
        "" if condition.temperature is None else f"{condition.temperature:.1f} °C",
        "" if condition.thermal_status is None else f"thermal status {condition.thermal_status}",
    )
    return ", ".join(part for part in parts if part)


def _table(heads: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.MARKDOWN)
    for head in heads:
        figures = head.startswith((_SPEED, "load", "peak", "own", "mapped", "threads"))
        grid.add_column(head, justify="right" if figures else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(" ".join(cell.split()).replace("|", "\\|")) for cell in row))
    out = io.StringIO()
    Console(file=out, width=_WIDE, highlight=False, color_system=None).print(grid)
    return "".join(f"{line.strip()}\n" for line in out.getvalue().splitlines() if line.strip())
