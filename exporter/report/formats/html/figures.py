"""How plots are drawn: plotly figures in JSON, each with the tables that say the same in words.

Colours are names of the page's own CSS variables (``--ink``), which its script fills in, so that a plot is dark if the
page is. No plot says anything by colour alone: marks have symbols, bars have patterns, areas have labels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_ROW = 22  # pixels of a bar or of a heatmap's row
_MOST_COLUMNS = 3  # on a screen of 360 pixels


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        caption: What the table is about.
        heads: The headings of the columns.
        rows: The cells, row by row.
        numeric: The columns that are numbers, from 0.
        notes: What is too long for a cell, below the table: what it is about, and the text.
        short: Whether every cell is a word or a number, so that the rows fit on a phone as they are.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    notes: tuple[tuple[str, str], ...] = ()
    short: bool = False

    @property
    def wide(self) -> bool:
        """Whether its rows become cards where the screen is narrow: more columns than a phone has room for."""
        return not self.short and len(self.heads) > _MOST_COLUMNS


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        title: What the plot is about.
        says: The plot in words.
        figure: Plotly's JSON, safe in a script element.
        height: The height in pixels.
        tables: The tables that say the same.
    """

    title: str
    says: str
    figure: str
    height: int
    tables: tuple[Table, ...] = ()


def plain(text: str) -> str:
    """Return a text that plotly shows as it is: it interprets some HTML and entities in labels, %{...} in templates."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "%\u200b{")


def short(text: str, most: int = 40) -> str:
    """Return a text that plotly shows as it is, cut if it is long."""
    return plain(text if len(text) <= most else f"{text[: most - 3]}...")


def _safe(value: Any) -> Any:
    """Return a value without NaN and infinity, which JSON doesn't have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_safe(item) for item in value]
    return value


def in_script(value: Any) -> str:
    """Return JSON for a ``<script type="application/json">``: ASCII, and with no ``<`` that could end the element."""
    text = json.dumps(_safe(value), sort_keys=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def figure(traces: Iterable[Any], height: int, **layout: Any) -> str:
    """Return a figure's JSON, checked by plotly's own classes, which know every property.

    Plotly's theme is left out, as its colours are for a white background.

    Args:
        traces: What is drawn.
        height: The height in pixels.
        layout: Further properties of plotly's layout.
    """
    import plotly.graph_objects as go

    axis = {"automargin": True, "gridcolor": "grey", "zerolinecolor": "grey", "fixedrange": True}
    for name in ("xaxis", "yaxis"):
        layout[name] = {**axis, **layout.get(name, {})}
    whole = go.Figure(
        list(traces),
        {"template": go.layout.Template(), "height": height, "margin": {"l": 8, "r": 16, "t": 16, "b": 8}, **layout},
    )
    found: dict[str, Any] = whole.to_plotly_json()
    found["layout"] = _themed(found["layout"])
    found["data"] = [_themed(trace) for trace in found["data"]]
    return in_script({"data": found["data"], "layout": found["layout"]})


# plotly's classes only take real colours. These stand for the page's variables until the figure has been checked.
_COLOURS = {
    "grey": "--grid",
    "black": "--ink",
    "white": "--paper",
    "steelblue": "--series",
    "darkorange": "--bad",
}
SCALE = [[0.0, "whitesmoke"], [0.5, "lightsteelblue"], [1.0, "midnightblue"]]
_SCALE_NAMES = {"whitesmoke": "--low", "lightsteelblue": "--middle", "midnightblue": "--high"}


def _themed(value: Any, key: str = "") -> Any:
    if isinstance(value, str) and ("color" in key or key == "scale"):
        return _COLOURS.get(value) or _SCALE_NAMES.get(value, value)
    if isinstance(value, dict):
        return {name: _themed(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_themed(item, "scale" if key == "colorscale" else key) for item in value]
    return value


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    good: Sequence[bool],
    unit: str,
    limit: float | None = None,
) -> tuple[str, int]:
    """Return the figure of horizontal bars, top to bottom, and its height in pixels.

    Args:
        labels: The bars' labels.
        values: Their lengths.
        texts: The texts at their ends.
        good: Which are good; the others are hatched.
        unit: The axis's title.
        limit: Where a dashed line is drawn; None for no line.
    """
    import plotly.graph_objects as go

    height = 70 + _ROW * len(labels) + (18 if limit is not None else 0)
    bar = go.Bar(
        orientation="h",
        x=list(values),
        y=[short(label) for label in labels],
        text=[plain(text) for text in texts],
        textposition="outside",
        textfont={"color": "black"},
        cliponaxis=False,
        hoverinfo="text",
        hovertext=[f"{plain(label)}: {plain(text)}" for label, text in zip(labels, texts, strict=True)],
        marker={
            "color": ["steelblue" if fine else "darkorange" for fine in good],
            "line": {"color": "black", "width": 1},
            "pattern": {"shape": ["" if fine else "x" for fine in good], "fgcolor": "black"},
        },
    )
    room = max([value for value in values if math.isfinite(value)] + [limit or 0.0]) * 1.35 or 1.0
    shapes, notes = [], []
    if limit is not None:
        shapes = [
            {
                "type": "line",
                "x0": limit,
                "x1": limit,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": "black", "dash": "dash", "width": 2},
            }
        ]
        notes = [{"x": limit, "y": 1, "yref": "paper", "yanchor": "bottom", "text": "limit", "showarrow": False}]
    drawn = figure(
        [bar],
        height,
        shapes=shapes,
        annotations=notes,
        xaxis={"title": {"text": unit}, "range": [0, room], "showgrid": False},
        yaxis={"autorange": "reversed", "type": "category", "showgrid": False},
        margin={"l": 8, "r": 16, "t": 30 if limit is not None else 16, "b": 8},
    )
    return drawn, height


def nats(value: float) -> str:
    """Return a KL divergence or log-probability for a reader."""
    return f"{value:.4g}" if math.isfinite(value) else "not a number"
