"""Draw architecture.svg: the layers of the package, and how many imports go from each to each.

The layers are read from the contract in ``pyproject.toml``, modules and imports from the code, by the library that
import-linter itself uses. The same code gives the same picture, byte for byte::

    .venv/bin/python docs/contributing/draw_architecture.py
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_name("architecture.svg")
PAGE = PICTURE.with_name("architecture.md")
BEGIN, END = "<!-- stages: written by draw_architecture.py -->", "<!-- end of stages -->"
PACKAGE = "gemcut"

# A heading for the layers from the one named here down to the next; a name that is no layer any more heads nothing.
PARTS = {
    "cli": ("What people call", "#4a5fb5"),
    "pipeline": ("The work", "#2f7d8c"),
    "runtimes": ("Runtimes", "#9a5b2e"),
    "formats": ("Model, bundle, proof", "#4f7a3a"),
    "config": ("Ground", "#6b6b75"),
}
OTHER = ("", "#6b6b75")

LEFT, TOP = 272, 142
WIDE, HIGH = 26, 31
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Layer:
    """One line of the contract.

    Attributes:
        names: The packages or modules on that line, which don't import each other.
        modules: How many modules they have together.
        inside: Packages inside them, each with its number of modules.
    """

    names: tuple[str, ...]
    modules: int
    inside: tuple[tuple[str, int], ...]


def layer_names() -> list[tuple[str, ...]]:
    """Return the layers of the contract in ``pyproject.toml``, from the top, the names of each in order."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    found = []
    for line in contract["layers"]:
        names = (name.strip(" ()") for part in line.split("|") for name in part.split(":"))
        found.append(tuple(name for name in names if name))
    return found


def read_layers(graph: grimp.ImportGraph) -> list[Layer]:
    """Return the layers with what the code has in each."""
    layers = []
    for names in layer_names():
        count, inside = 0, Counter[str]()
        for name in names:
            top = f"{PACKAGE}.{name}"
            below = graph.find_descendants(top)
            count += 1 + len(below)
            for child in graph.find_children(top):
                grandchildren = graph.find_descendants(child)
                if grandchildren:
                    inside[child.rpartition(".")[2]] = 1 + len(grandchildren)
        layers.append(Layer(names, count, tuple(sorted(inside.items()))))
    return layers


def count_imports(graph: grimp.ImportGraph, layers: list[Layer]) -> Counter[tuple[int, int]]:
    """Return how many imports of one module by another go from a layer (first number) to a layer (second one)."""
    place = {name: index for index, layer in enumerate(layers) for name in layer.names}

    def layer_of(module: str) -> int | None:
        return place.get(module.split(".")[1]) if "." in module else None

    found: Counter[tuple[int, int]] = Counter()
    for module in graph.modules:
        start = layer_of(module)
        for imported in graph.find_modules_directly_imported_by(module):
            end = layer_of(imported)
            if start is not None and end is not None:
                found[start, end] += 1
    return found


def draw() -> str:
    """Return the picture."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    layers = read_layers(graph)
    return "\n".join(_svg(layers, count_imports(graph, layers))) + "\n"


def _svg(layers: list[Layer], imports: Counter[tuple[int, int]]) -> Iterator[str]:
    width, height = LEFT + WIDE * len(layers) + 46, TOP + HIGH * len(layers) + 46
    between = sum(count for (start, end), count in imports.items() if start != end)
    modules = sum(layer.modules for layer in layers)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{FONT}" role="img" aria-labelledby="title about">'
    )
    yield f'<title id="title">The layers of {PACKAGE}</title>'
    yield (
        '<desc id="about">A table of layers, the highest first. Each cell is the number of imports from the layer of '
        "its row to that of its column; all of them are right of the diagonal.</desc>"
    )
    yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    yield _text(20, 32, f"The layers of {PACKAGE}", 17, "#1d1d22", weight=700)
    for number, line in enumerate(
        (
            "Each number counts the imports from",
            "the layer of its row to the layer of its",
            "column. Nothing is left of the diagonal:",
            "a layer imports only layers below it.",
        )
    ):
        yield _text(20, 54 + 15 * number, line, 11.5, "#55555e")
    yield _text(LEFT - 8, TOP - 8, "modules", 10.5, "#77777f", anchor="end")
    yield from _columns(layers)
    colour = OTHER[1]
    for row, layer in enumerate(layers):
        part = next((PARTS[name] for name in layer.names if name in PARTS), None)
        colour = part[1] if part else colour
        yield from _row(row, layer, colour, part[0] if part else "", imports, len(layers))
    bottom = TOP + HIGH * len(layers)
    yield f'<line x1="14" y1="{bottom}" x2="{LEFT + WIDE * len(layers)}" y2="{bottom}" stroke="#d9d9df"/>'
    yield _text(20, bottom + 26, f"{modules} modules, {between} imports between layers", 11.5, "#55555e")
    yield "</svg>"


def _columns(layers: list[Layer]) -> Iterator[str]:
    for column, layer in enumerate(layers):
        x, y = LEFT + WIDE * column + WIDE // 2 + 4, TOP - 8
        yield _text(x, y, _short(layer), 11.5, "#33333a", turn=f"rotate(-55 {x} {y})")


def _row(
    row: int, layer: Layer, colour: str, heading: str, imports: Counter[tuple[int, int]], size: int
) -> Iterator[str]:
    y = TOP + HIGH * row
    right = LEFT + WIDE * size
    yield f'<line x1="14" y1="{y}" x2="{right}" y2="{y}" stroke="{"#9a9aa4" if heading else "#e6e6ea"}"/>'
    yield f'<rect x="14" y="{y}" width="5" height="{HIGH}" fill="{colour}"/>'
    if heading:
        yield _text(LEFT - 42, y + 12, heading, 9.5, colour, anchor="end", weight=600)
    named = " : ".join(layer.names)
    inside = "  ".join(f"{name} {count}" for name, count in layer.inside)
    yield _text(28, y + (14 if inside else 20), named, 13, "#1d1d22", weight=600)
    if inside:
        yield _text(28, y + 26, inside, 10, "#77777f")
    yield _text(LEFT - 8, y + 20, str(layer.modules), 12, "#33333a", anchor="end")
    for column in range(size):
        x = LEFT + WIDE * column
        box = f'x="{x + 1}" y="{y + 1}" width="{WIDE - 2}" height="{HIGH - 2}"'
        count = imports[row, column]
        if column == row:
            yield f'<rect {box} fill="{colour}" fill-opacity="0.85" rx="2"/>'
        elif count:
            fill, strength = (colour, min(0.10 + count / 90, 0.55)) if column > row else ("#c00000", 0.8)
            yield f'<rect {box} fill="{fill}" fill-opacity="{strength:.2f}" rx="2"/>'
            yield _text(x + WIDE / 2, y + 20, str(count), 11, "#1d1d22", anchor="middle")


def _short(layer: Layer) -> str:
    return layer.names[0] if len(layer.names) == 1 else f"{layer.names[0]} : \u2026"


def _text(
    x: float, y: float, words: str, size: float, fill: str, anchor: str = "start", weight: int = 400, turn: str = ""
) -> str:
    more = "".join(
        (
            f' text-anchor="{anchor}"' if anchor != "start" else "",
            f' font-weight="{weight}"' if weight != 400 else "",
            f' transform="{turn}"' if turn else "",
        )
    )
    at = f'x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}"'
    return f'<text {at}{more} xml:space="preserve">{escape(words)}</text>'


def stage_table() -> str:
    """The stages of an export as a table in Markdown, from ``exporter/stages.py``."""
    from gemcut.stages import EXPORT

    lines = ["| stage | made from | runs | kept for a run that resumes |", "|-|-|-|-|"]
    for stage in EXPORT:
        runs = "once" if stage.scope == "export" else "for each bundle"
        made_from = ", ".join(f"`{name}`" for name in stage.inputs)
        lines.append(f"| `{stage.name}` | {made_from} | {runs} | {'yes' if stage.serializer else ''} |")
    return "\n".join(lines)


def with_stages(page: str) -> str:
    """The page with the table between its two marks."""
    begin, rest = page.split(BEGIN, 1)
    _, end = rest.split(END, 1)
    return f"{begin}{BEGIN}\n{stage_table()}\n{END}{end}"


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    PAGE.write_text(with_stages(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PICTURE, PAGE)
