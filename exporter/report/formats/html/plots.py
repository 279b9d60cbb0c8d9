"""The plots of delegates, time, memory, devices and budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ....util.text import size_text
from .figures import Plot, Table, bars, nats

if TYPE_CHECKING:
    from ....bundle.manifest import Manifest
    from ....pipeline.evidence import BudgetLine
    from ....prove.conformance import Conformance


def delegate_plot(manifest: Manifest) -> Plot:
    """Return the plot of the share of the multiply-accumulates that run in delegates."""
    share = manifest.delegate_coverage
    names = ", ".join(manifest.delegates) or "no delegate"
    drawn, height = bars(
        ("in delegates", "outside"),
        (share * 100, (1 - share) * 100),
        (f"{share:.1%}", f"{1 - share:.1%}"),
        (True, True),
        "per cent of the multiply-accumulates",
    )
    calls = tuple((name, str(count)) for name, count in sorted(manifest.delegates.items()))
    operators = tuple((name,) for name in manifest.operators)
    tables = (
        Table("Delegates", ("delegate", "calls"), calls, frozenset({1})),
        Table("Operators outside delegates", ("operator",), operators),
    )
    says = f"{share:.1%} of the multiply-accumulates run in {names}, {1 - share:.1%} outside."
    return Plot("Delegate coverage", says, drawn, height, tables)


def stages_plot(seconds: Mapping[str, float]) -> Plot:
    """Return the plot of the time by stage, in the order in which the stages ran."""
    names, values = list(seconds), list(seconds.values())
    drawn, height = bars(names, values, [f"{v:.1f} s" for v in values], [True] * len(names), "seconds")
    table = Table(
        "Time by stage", ("stage", "seconds"), tuple((n, f"{v:.2f}") for n, v in seconds.items()), frozenset({1})
    )
    longest = max(names, key=lambda name: seconds[name])
    says = f"{sum(values):.1f} seconds in all; the longest stage is {longest} with {seconds[longest]:.1f}."
    return Plot("Time by stage", says, drawn, height, (table,))


def memory_plot(memory: Mapping[str, int]) -> Plot:
    """Return the plot of the most memory that the process used in each stage."""
    names, values = list(memory), list(memory.values())
    drawn, height = bars(
        names, [v / 1e6 for v in values], [size_text(v) for v in values], [True] * len(names), "MB, of the process"
    )
    table = Table(
        "Memory by stage", ("stage", "bytes"), tuple((n, f"{v:,}") for n, v in memory.items()), frozenset({1})
    )
    highest = max(names, key=lambda name: memory[name])
    says = f"The process used the most memory in {highest}: {size_text(memory[highest])}."
    return Plot("Memory by stage", says, drawn, height, (table,))


def conformance_plot(devices: Mapping[str, Conformance]) -> Plot:
    """Return the plot of how far each device is from the exporting machine, as a share of the tolerance."""
    labels, values, texts, good = [], [], [], []
    for device, found in devices.items():
        for name, value, limit in (
            ("log-probability", found.max_logprob_diff, found.tolerance.logprob),
            ("mean KL", found.mean_kl, found.tolerance.kl),
        ):
            share = value / limit if math.isfinite(value) else math.inf
            fine = share <= 1
            labels.append(f"{device}: {name}")
            values.append(min(share, 5.0))
            texts.append(f"{'✓' if fine else '✗'} {value:.3g} of {limit:.3g} nats")
            good.append(fine)
    drawn, height = bars(labels, values, texts, good, "share of the tolerance; more than 5 is shown as 5", 1.0)
    tables = tuple(
        Table(
            f"Every prompt on {device}",
            ("prompt", "largest difference", "at position", "KL", "reply"),
            tuple(
                (d.prompt, nats(d.max_logprob_diff), str(d.position), nats(d.kl), _parting(d.first_step, d.tie))
                for d in found.differences
            ),
            frozenset({1, 2, 3}),
        )
        for device, found in devices.items()
    )
    bad = [device for device, found in devices.items() if not found.passed]
    says = f"{len(devices)} devices; beyond the tolerance: {', '.join(bad) or 'none'}."
    return Plot("Conformance by device", says, drawn, height, tables)


def _parting(step: int | None, tie: bool) -> str:
    return "the same" if step is None else f"differs from token {step} on{' (a tie)' if tie else ''}"


def budget_plot(lines: Sequence[BudgetLine]) -> Plot | None:
    """Return the plot of what was measured as a share of each limit; None if nothing could be measured."""
    from ....pipeline.evidence import TITLES

    known = [line for line in lines if line.measured is not None and math.isfinite(line.measured)]
    if not known:
        return None
    values, texts = [], []
    for line in known:
        measured = line.measured or 0.0
        values.append(min(measured / line.limit, 5.0) if line.limit > 0 else (5.0 if measured > 0 else 0.0))
        sign = "at least" if line.at_least else "at most"
        mark = "✓" if line.passed else "✗"
        texts.append(f"{mark} {line.text(measured)}, {sign} {line.text(line.limit)}")
    labels = [TITLES.get(line.name, line.name) for line in known]
    drawn, height = bars(
        labels, values, texts, [line.passed for line in known], "measured / limit; more than 5 is shown as 5", 1.0
    )
    over = [label for label, line in zip(labels, known, strict=True) if not line.passed]
    says = f"{len(known)} budgets measured; not kept: {', '.join(over) or 'none'}."
    return Plot("Budgets", says, drawn, height)
