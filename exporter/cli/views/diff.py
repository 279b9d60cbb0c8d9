"""A comparison for a reader: verdicts first, then what is behind those that changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...bundle.reader import OWN_FILES
from ...report.wording import FIGURES, in_words
from ...util.native_output import streams
from ...util.text import size_text
from .table import PLAIN_WIDTH, table

if TYPE_CHECKING:
    from ...diff.behaviours import PromptLine
    from ...diff.document import Cut, DiffResult, Names, Rendered, Side, TemplateDiff, TokenizerDiff
    from ...diff.size_lines import SizeLine

MOST_LINES = 40
MOST_PROMPTS = 10
MOST_CHATS = 3
MOST_TEXT = 600


def say(text: str = "") -> None:
    """Print a line of the result to stdout, as it is."""
    print(text, file=streams().out)


def beside(rows: Iterable[tuple[str, str, str]], heads: tuple[str, str, str], ruled: bool = True) -> None:
    """Print two texts side by side; every character is shown, even in narrow windows and long words."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = streams().out
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True, show_lines=ruled)
    grid.add_column(heads[0], ratio=1, overflow="fold")
    for head in heads[1:]:
        grid.add_column(head, ratio=2, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console(file=out, width=None if out.isatty() else PLAIN_WIDTH, highlight=False).print(grid)


def show(found: DiffResult) -> None:
    """Print the whole comparison to stdout. ``--json`` has what is cut short here."""
    if found.float_models:
        say(f"{found.float_models}\n")
    behaviour = found.behaviour
    rows = [
        ("bundle", found.a.bundle, found.b.bundle),
        ("model", found.a.model, found.b.model),
        ("target", found.a.target, found.b.target),
        ("runtime", found.a.runtime, found.b.runtime),
        ("size", size_text(found.a.size), size_text(found.b.size)),
        ("fidelity", behaviour.grade_a.words, behaviour.grade_b.words),
    ]
    if not (found.a.proven and found.b.proven):
        rows.append(("proven", _proven(found.a), _proven(found.b)))
    beside(rows, ("", "A", "B"), ruled=False)
    changed = [one for one in found.changes if one.severity != "same"]
    if not changed:
        say("nothing differs")
    else:
        changed.sort(key=lambda one: one.severity != "matters")
        table(
            ((one.severity, one.area.replace("_", " "), one.what, one.reason) for one in changed),
            ("verdict", "area", "what changed", "why"),
        )
        _show_size(found)
        _show_recipe(found)
        _show_names("operators", found.operators)
        _show_names("kernels", found.kernels)
        if found.template:
            _show_template(found.template)
        if found.tokenizer:
            _show_tokenizer(found.tokenizer)
        _show_pairs("prompt.json", found)
        _show_fidelity(found)
        _show_texts(found)
        _show_calls(found)
    for note in found.uncompared:
        say(f"not compared: {note}")
    _show_thresholds(found)
    say(_last(found, len(changed)))


def _proven(side: Side) -> str:
    return "yes" if side.proven else "NO"


def _last(found: DiffResult, changed: int) -> str:
    if not changed:
        return "verdict: same"
    matter = [one.area.replace("_", " ") for one in found.changes if one.severity == "matters"]
    if not matter:
        return f"verdict: harmless: {changed} of {len(found.changes)} areas changed, none in a way that matters"
    return f"verdict: matters: {', '.join(matter)}"


def _show_size(found: DiffResult) -> None:
    files = [line for line in found.sizes.files if line.name not in OWN_FILES]  # Those differ if anything does.
    rows = [*_sized(files), *_sized(found.sizes.sections, "  in the program: ")]
    if rows:
        table(rows, ("files that differ", "A", "B", "change"))
    tensors = [one for one in found.tensors if (one.bytes_a, one.schemes_a) != (one.bytes_b, one.schemes_b)]
    if tensors:
        table(
            (
                (one.name, _size(one.bytes_a), _ways(one.schemes_a), _size(one.bytes_b), _ways(one.schemes_b))
                for one in tensors
            ),
            ("tensors", "A", "stored as", "B", "stored as"),
        )


def _sized(lines: Sequence[SizeLine], before: str = "") -> Iterator[tuple[str, str, str, str]]:
    for line in lines:
        if line.same:
            continue
        change = (line.b or 0) - (line.a or 0)
        word = "new" if line.a is None else "gone" if line.b is None else f"{change:+,} bytes" if change else "content"
        yield before + line.name, _size(line.a), _size(line.b), word


def _size(count: int | None) -> str:
    return "-" if count is None else size_text(count)


def _ways(schemes: dict[str, int]) -> str:
    return "; ".join(f"{count} x {way}" for way, count in schemes.items()) or "-"


def _show_recipe(found: DiffResult) -> None:
    if found.recipe:
        table(
            ((one.kind, one.match, _placed(one.place_a, one.a), _placed(one.place_b, one.b)) for one in found.recipe),
            ("rule", "for", "A", "B"),
        )


def _placed(place: int | None, text: str | None) -> str:
    return "-" if place is None else f"{place}. {text}"


def _show_names(title: str, names: Names | None) -> None:
    if names and (names.added or names.removed):
        rows = [*(("new in B", name) for name in names.added), *(("gone", name) for name in names.removed)]
        table(rows, (title, ""))


def _show_template(found: TemplateDiff) -> None:
    _lines("chat template", found.diff)
    if found.rendered:
        shown = found.rendered[:MOST_CHATS]
        rows = ((f"{one.chat}, character {one.at}", *_excerpts(one)) for one in shown)
        beside(rows, ("rendered chat, differs from", "A", "B"))
    if len(found.rendered) > MOST_CHATS:
        say(f"and {len(found.rendered) - MOST_CHATS} more chats are rendered differently; --json has them all\n")


def _excerpts(one: Rendered) -> tuple[str, str]:
    """Return both texts around the first difference."""
    refused = one.diff[0] if one.a is None or one.b is None else ""
    return refused if one.a is None else repr(one.a), refused if one.b is None else repr(one.b)


def _lines(title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    say(f"{title}:")
    for line in lines[:MOST_LINES]:
        say(f"  {line if len(line) <= PLAIN_WIDTH * 2 else line[: PLAIN_WIDTH * 2] + '...'}")
    if len(lines) > MOST_LINES:
        say(f"  ... and {len(lines) - MOST_LINES} more lines; --json has them all")
    say()


def _show_tokenizer(found: TokenizerDiff) -> None:
    rows = [("vocabulary", f"{found.size_a:,}", f"{found.size_b:,}")]
    for name, some, count in (
        ("tokens removed", found.names.removed, found.removed),
        ("tokens added", found.names.added, found.added),
    ):
        if count:
            told = f"{count}: {', '.join(map(repr, some[:8]))}{', ...' if count > 8 else ''}"
            rows.append((name, told, "") if name.endswith("removed") else (name, "", told))
    rows += [(f"token {one.name!r}", one.a or "-", one.b or "-") for one in found.changes[:8]]
    if found.changed > 8:
        rows.append((f"and {found.changed - 8} more tokens", "", ""))
    merges = [("removed", found.merges_removed), ("added", found.merges_added), ("moved", found.merges_moved)]
    rows += [(f"merges {name}", str(count), "") for name, count in merges if count]
    rows += [(one.name, one.a or "-", one.b or "-") for one in found.settings]
    table(rows, ("tokenizer", "A", "B"))
    if found.first is None:
        say(f"none of {found.tried} texts is cut differently\n")
    else:
        _show_cut(found.first)


def _show_cut(cut: Cut) -> None:
    added = ", special tokens added" if cut.special else ""
    text = cut.text if len(cut.text) <= 80 else cut.text[:77] + "..."
    what = "is given back differently" if cut.decoded else "is cut differently"
    say(f"the first text that {what}, from token {cut.at} on{added}: {text!r} ({cut.source})")
    rows = [("as", " ".join(map(repr, cut.tokens_a)) or "nothing", " ".join(map(repr, cut.tokens_b)) or "nothing")]
    if not cut.decoded:
        rows.append(("ids", " ".join(map(str, cut.ids_a)) or "-", " ".join(map(str, cut.ids_b)) or "-"))
    table(rows, ("", "A", "B"))


def _show_pairs(title: str, found: DiffResult) -> None:
    if found.prompt:
        rows = [(one.name, one.a or "-", one.b or "-") for one in found.prompt[:MOST_LINES]]
        table(rows, (title, "A", "B"))


def _show_fidelity(found: DiffResult) -> None:
    behaviour = found.behaviour
    if any(line.a != line.b for line in behaviour.figures):
        table(
            (
                (
                    FIGURES[one.name],
                    in_words(one.name, one.a),
                    in_words(one.name, one.b),
                    "worse" if one.worse else "",
                )
                for one in behaviour.figures
            ),
            (f"fidelity, {behaviour.form}", "A", "B", ""),
        )
    apart = sorted((one for one in behaviour.prompts if not one.same), key=_how_far, reverse=True)
    if apart:
        table(
            (
                (
                    one.prompt,
                    _number(one.mean_kl_a),
                    _number(one.mean_kl_b),
                    f"{one.top1_a:.1%}",
                    f"{one.top1_b:.1%}",
                    "-" if one.agree is None else f"{one.agree:.1%}",
                )
                for one in apart[:MOST_PROMPTS]
            ),
            (f"prompt ({len(apart)} of {len(behaviour.prompts)} differ)", "mean KL, A", "B", "top-1, A", "B", "A as B"),
        )


def _how_far(line: PromptLine) -> float:
    """Return by how much a prompt's mean KL changed; one that is no longer a number is worst."""
    if line.mean_kl_a is None or line.mean_kl_b is None:
        return float("inf")
    return abs(line.mean_kl_b - line.mean_kl_a)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _show_texts(found: DiffResult) -> None:
    """Show replies side by side, and which of the two is its float model's."""
    texts = found.behaviour.texts
    if not texts:
        return
    words = {(True, True): "both", (True, False): "A", (False, True): "B", (False, False): "neither"}
    rows = [
        (
            f"{one.prompt}, from token {one.at}; the float model's: {words[one.is_float_a, one.is_float_b]}",
            _cut(one.a),
            _cut(one.b),
        )
        for one in texts[:MOST_PROMPTS]
    ]
    beside(rows, ("reply to", "A", "B"))
    if len(texts) > MOST_PROMPTS:
        say(f"and {len(texts) - MOST_PROMPTS} more replies differ; --json has them all\n")


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "..."


def _show_calls(found: DiffResult) -> None:
    words = {True: "exact", False: "NOT exact", None: "no call expected"}
    rows = [(one.prompt, words[one.a], words[one.b]) for one in found.behaviour.tool_calls if one.a != one.b]
    if rows:
        table(rows, ("tool calls", "A", "B"))


def _show_thresholds(found: DiffResult) -> None:
    if found.thresholds:
        rows = (("kept" if one.passed else "NOT kept", one.threshold, one.message) for one in found.thresholds)
        table(rows, ("limit", "--fail-on", "found"))
