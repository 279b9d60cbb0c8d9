"""The plot of a bundle's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....util.text import size_text
from .figures import Plot, Table, figure, plain

if TYPE_CHECKING:
    from ....bundle.manifest import Manifest

_HEIGHT = 440  # pixels
_SMALLEST = 11  # pixels of a text; an area that has no room for it shows none
_PATTERNS = ("/", "\\", "x", "-", "|", "+", ".")


def size_plot(manifest: Manifest, size: int) -> Plot | None:
    """Return a treemap of the bundle: its files, and in the program its tensors by class; None if neither is known."""
    import plotly.graph_objects as go

    if not manifest.files and not manifest.tensors:
        return None
    nodes = _size_nodes(manifest, size)
    order = {kind: i for i, kind in enumerate(dict.fromkeys(n.kind for n in nodes if n.kind))}
    tree = go.Treemap(
        ids=[n.id for n in nodes],
        parents=[n.parent for n in nodes],
        labels=[plain(n.label) for n in nodes],
        values=[n.value for n in nodes],
        branchvalues="total",
        sort=True,
        text=[size_text(n.value) for n in nodes],
        textinfo="label+text+percent root",
        hovertext=[plain(f"{n.label}: {size_text(n.value)}{f', {n.kind}' if n.kind else ''}") for n in nodes],
        hoverinfo="text",
        textfont={"color": "black"},
        tiling={"pad": 2},
        pathbar={"visible": True, "textfont": {"color": "black"}},
        marker={
            "colors": ["white" if n.depth == 0 else "whitesmoke" if n.depth == 1 else "lightsteelblue" for n in nodes],
            "line": {"color": "black", "width": 1},
            "pattern": {
                "shape": [_PATTERNS[order[n.kind] % len(_PATTERNS)] if n.kind else "" for n in nodes],
                "fgcolor": "black",
                "fgopacity": 0.35,
                "size": 9,
                "solidity": 0.1,
                "fillmode": "overlay",
            },
        },
    )
    total = nodes[0].value
    rows = tuple(
        (
            "\u2003" * n.depth + n.label,
            size_text(n.value),
            f"{n.value:,}",
            f"{n.value / total:.1%}" if total else "-",
            n.kind,
        )
        for n in nodes
    )
    table = Table(
        "Size by file and tensor class", ("part", "size", "bytes", "share", "stored as"), rows, frozenset({1, 2, 3})
    )
    says = f"A treemap of {size_text(total)}: the larger an area, the more bytes.{_hatching(order)}"
    if not manifest.files:
        says = f"The bundle was not finished, so only its tensors are known. {says}"
    drawn = figure([tree], _HEIGHT, uniformtext={"minsize": _SMALLEST, "mode": "hide"})
    return Plot("Size by file and tensor class", says, drawn, _HEIGHT, (table,))


def _hatching(order: Mapping[str, int]) -> str:
    """Return what each hatching stands for."""
    said = [f"{_PATTERNS[at % len(_PATTERNS)]} {kind}" for kind, at in order.items()]
    return f" Hatched by how tensors are stored: {'; '.join(said)}." if said else ""


@dataclass(frozen=True)
class _Node:
    id: str
    parent: str
    label: str
    value: int
    depth: int
    kind: str = ""


def _size_nodes(manifest: Manifest, size: int) -> list[_Node]:
    """Return the root first, then files by size, and under the program its tensors by class."""
    files = {name: record.size for name, record in manifest.files.items()}
    tensors = {name: record.bytes for name, record in manifest.tensors.items() if record.bytes}
    known = sum(tensors.values())
    if manifest.program not in files:
        files[manifest.program] = known  # a bundle that wasn't finished: its tensors are all that is known
    extra = size - sum(files.values())
    if manifest.files and extra > 0:
        files["the manifest, and what a zip adds"] = extra
    inside = files[manifest.program] >= known
    total = sum(files.values())
    nodes = [_Node("bundle", "", "bundle", total, 0)]
    for name, count in sorted(files.items(), key=lambda item: (-item[1], item[0])):
        nodes.append(_Node(f"file:{name}", "bundle", name, count, 1))
        if name == manifest.program and inside and tensors:
            nodes += _tensor_nodes(manifest, tensors, count - known, f"file:{name}")
    return nodes


def _tensor_nodes(manifest: Manifest, tensors: Mapping[str, int], rest: int, parent: str) -> list[_Node]:
    found = [
        _Node(f"tensor:{name}", parent, name, count, 2, "; ".join(manifest.tensors[name].schemes))
        for name, count in sorted(tensors.items(), key=lambda item: (-item[1], item[0]))
    ]
    if rest > 0:
        found.append(_Node("tensor:rest", parent, "instructions and other data", rest, 2))
    return found
