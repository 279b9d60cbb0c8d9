"""The plot of fidelity, position by position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...wording import numbered
from .figures import SCALE, Plot, Table, figure, nats, short

if TYPE_CHECKING:
    from ....prove.golden import Golden, Recorded

KL_LEAST = 1e-7  # nats; sums of 64 float32 probabilities are no more exact (prove.fidelity)
MOST_ROWS = 4000


def fidelity_plot(goldens: Sequence[Golden], recorded: Sequence[Recorded]) -> Plot:
    """Return the plot of the KL divergence by prompt and position, over the float model's top 64 and the rest."""
    import plotly.graph_objects as go

    from ....prove.fidelity import kl_buckets

    kls = [kl_buckets(g.topk_logprobs, r.logprobs) for g, r in zip(goldens, recorded, strict=True)]
    agree = [r.top1 == g.topk_ids[:, 0] for g, r in zip(goldens, recorded, strict=True)]
    longest = max(len(kl) for kl in kls)
    log = [[_log(float(v)) for v in kl] + [None] * (longest - len(kl)) for kl in kls]
    names = numbered([short(g.prompt.id, 24) for g in goldens])
    said = [
        [
            f"{name}, position {g.first + i}: KL {v:.3g} nats{'' if ok else ', different likeliest token'}"
            for i, (v, ok) in enumerate(zip(kl, fine, strict=True))
        ]
        + [""] * (longest - len(kl))
        for name, g, kl, fine in zip(names, goldens, kls, agree, strict=True)
    ]
    ticks = [-7, -6, -5, -4, -3, -2, -1, 0, 1]
    heat = go.Heatmap(
        z=log,
        x=list(range(1, longest + 1)),
        y=names,
        zmin=math.log10(KL_LEAST),
        zmax=1.0,
        colorscale=SCALE,
        xgap=1,
        ygap=1,
        hoverinfo="text",
        text=said,
        hoverongaps=False,
        colorbar={"title": {"text": "KL (nats)"}, "tickvals": ticks, "ticktext": [f"{10.0**t:g}" for t in ticks]},
    )
    points = [(i + 1, n) for n, fine in zip(names, agree, strict=True) for i, ok in enumerate(fine) if not ok]
    marks = go.Scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        mode="markers",
        hoverinfo="skip",
        name="different likeliest token",
        showlegend=True,
        marker={"symbol": "x-open", "color": "darkorange", "size": 9, "line": {"width": 2}},
    )
    height = 120 + 18 * len(names)
    drawn = figure(
        [heat, marks],
        height,
        xaxis={"title": {"text": "scored position, from the first"}, "range": [0.5, longest + 0.5], "showgrid": False},
        yaxis={"autorange": "reversed", "type": "category", "showgrid": False},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        margin={"l": 8, "r": 16, "t": 36, "b": 8},
    )
    every = np.concatenate(kls)
    wrong = len(points)
    says = (
        f"A heatmap of {len(goldens)} prompts and up to {longest} positions each: darker is farther from the float "
        f"model; a cross marks a different likeliest token ({wrong} of {len(every)} positions). The KL is over the "
        "float model's 64 likeliest tokens and all the rest as one, a lower bound of the KL over the whole vocabulary."
    )
    return Plot("Fidelity by prompt and position", says, drawn, height, _fidelity_tables(goldens, kls, agree))


def _log(kl: float) -> float:
    """Return log10 for the colour; what isn't a number is at the end of the scale."""
    return math.log10(min(max(kl, KL_LEAST), 10.0)) if math.isfinite(kl) else 1.0


def _fidelity_tables(goldens: Sequence[Golden], kls: Sequence[Any], agree: Sequence[Any]) -> tuple[Table, ...]:
    by_prompt = tuple(
        (
            g.prompt.id,
            g.prompt.kind,
            str(len(kl)),
            nats(float(kl.mean())),
            nats(float(kl.max())),
            str(g.first + int(np.argmax(kl))),
            f"{float(fine.mean()):.1%}",
        )
        for g, kl, fine in zip(goldens, kls, agree, strict=True)
    )
    places = [
        (float(v), g.prompt.id, g.first + i, bool(fine[i]))
        for g, kl, fine in zip(goldens, kls, agree, strict=True)
        for i, v in enumerate(kl)
    ]
    total = len(places)
    if total > MOST_ROWS:
        order = sorted(range(total), key=lambda at: -places[at][0])[:MOST_ROWS]
        places = [places[at] for at in sorted(order)]
    rows = tuple((p, str(at), nats(v), "the same" if ok else "DIFFERENT") for v, p, at, ok in places)
    more = "" if total <= MOST_ROWS else f"; the {MOST_ROWS} with the highest KL of {total}"
    return (
        Table(
            "Fidelity by prompt",
            ("prompt", "kind", "positions", "mean KL", "highest KL", "at position", "top-1"),
            by_prompt,
            frozenset({2, 3, 4, 5, 6}),
        ),
        Table(
            f"Every position{more}",
            ("prompt", "position", "KL", "likeliest token"),
            rows,
            frozenset({1, 2}),
            short=True,
        ),
    )
