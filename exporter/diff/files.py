"""Comparison of the bundles' other files, and of ``prompt.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..bundle.manifest import MANIFEST, SIDE_FILE
from ..errors import ConformanceError
from .document import Change, Pair, Severity, same
from .size_lines import Sizes

if TYPE_CHECKING:
    from ..bundle.reader import Bundle

PROMPT = "prompt.json"
# These are judged by what they say, each in an area of its own.
_ELSEWHERE = {
    MANIFEST,
    SIDE_FILE,
    PROMPT,
    "LICENSE",
    "chat_template.jinja",
    "tokenizer.json",
    "goldens/goldens.safetensors",
    "goldens/goldens.jsonl",
    "goldens/recorded.safetensors",
    "goldens/recorded.jsonl",
}
_HARMLESS = {
    "README.md": "text for people",
    "NOTICE": "text for people",
    "config.json": "no runner reads it: the program is compiled",
    "tokenizer_config.json": "runners read tokenizer.json and the manifest",
}
_MATTERS = {
    "generation_config.json": "apps take their sampling from it",
    "tokenizer.model": "runtimes that read SentencePiece cut texts by it",
}
_SHORT = 200


def judge_files(a: Bundle, b: Bundle, sizes: Sizes, behaves: Severity) -> Change:
    """Return the verdict on the files that no other area judges.

    Args:
        a: The first bundle.
        b: The second bundle.
        sizes: The files' sizes, and which are the same.
        behaves: The worst verdict on what the programs do, by which their bytes are judged.
    """
    changed = {line.name for line in sizes.files if not line.same and line.name not in _ELSEWHERE}
    programs = {a.manifest.program, b.manifest.program}
    others = sorted(changed - programs)
    matters = [f"{name}: {_MATTERS[name]}" for name in others if name in _MATTERS]
    unknown = [name for name in others if name not in _MATTERS and name not in _HARMLESS]
    matters += [f"{name}: its use isn't known" for name in unknown]
    harmless = [f"{name}: {_HARMLESS[name]}" for name in others if name in _HARMLESS]
    if changed & programs:
        told = f"{', '.join(sorted(programs))}: "
        if behaves == "matters":
            matters.insert(0, told + "it behaves differently, see below")
        else:
            nothing = "its outputs are identical" if behaves == "same" else "its outputs differ only harmlessly"
            harmless.insert(0, told + nothing)
    what = "changed: " + ", ".join([*sorted(changed & programs), *others])
    if matters:
        return Change("files", "matters", what, "; ".join(matters))
    return Change("files", "harmless", what, "; ".join(harmless)) if harmless else same("files")


def compare_prompts(a: Bundle, b: Bundle) -> tuple[tuple[Pair, ...], Change, str | None]:
    """Compare ``prompt.json``.

    Returns:
        What differs, by path inside it; the verdict; and a note if only one bundle has it.

    Raises:
        ConformanceError: If it isn't JSON.
    """
    has = [PROMPT in bundle.manifest.files for bundle in (a, b)]
    if not any(has):
        return (), same("prompt"), None
    if not all(has):
        note = f"{PROMPT}: only {'the first' if has[0] else 'the second'} bundle has it"
        if has[1]:
            return (), Change("prompt", "harmless", f"{PROMPT} is new", "apps may read it, but none needs it"), note
        return (), Change("prompt", "matters", f"{PROMPT} is gone", "an app that reads it can't render chats"), note
    if a.manifest.files[PROMPT].sha256 == b.manifest.files[PROMPT].sha256:
        return (), same("prompt"), None
    pairs = tuple(_walk("", _parsed(a), _parsed(b)))
    what = f"{len(pairs)} places: " + ", ".join(one.name for one in pairs[:6]) + (", ..." if len(pairs) > 6 else "")
    if not pairs:
        return pairs, Change("prompt", "harmless", f"the formatting of {PROMPT}", "its content is the same"), None
    if all(one.name.split(".")[0] == "reasons" for one in pairs):
        return pairs, Change("prompt", "harmless", what, "only the reasons why something wasn't compiled differ"), None
    return pairs, Change("prompt", "matters", what, "apps render their chats from it"), None


def _parsed(bundle: Bundle) -> Any:
    try:
        return json.loads(bundle.read(PROMPT))
    except ValueError as error:
        raise ConformanceError(f"{bundle.path}: {PROMPT} is not JSON: {error}", hint="export it again") from error


def _walk(path: str, a: Any, b: Any) -> Iterator[Pair]:
    """Yield the leaves that differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            yield from _walk(f"{path}.{key}" if path else key, a.get(key), b.get(key))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _walk(f"{path}[{index}]", one, other)
    elif a != b or type(a) is not type(b):
        yield Pair(path, _json(a), _json(b))


def _json(value: Any) -> str | None:
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHORT else text[:_SHORT] + "..."
