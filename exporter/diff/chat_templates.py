"""Comparison of two chat templates: their text, and what they make of chats."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import CheckpointError
from ..prompt.chats import render_chat, starts
from .document import Change, Rendered, TemplateDiff, same

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..prompt.chats import Prompt
    from ..prompt.codec import ChatCodec

TEMPLATE = "chat_template.jinja"
_BEFORE, _AFTER = 30, 90  # characters around the first difference


def template_of(bundle: Bundle) -> str | None:
    """Return the bundle's chat template; None for a base model."""
    return bundle.read(TEMPLATE).decode() if TEMPLATE in bundle.manifest.files else None


def chats_of(*sets: Iterable[Prompt]) -> list[Prompt]:
    """Return the chats of both bundles' goldens, then the built-in ones, each once; plain texts need no template."""
    from ..prove.prompts import built_in_prompts

    found: dict[str, Prompt] = {}
    for prompts in (*sets, built_in_prompts()):
        for prompt in prompts:
            if prompt.messages:
                key = json.dumps(
                    [prompt.messages, prompt.tools, prompt.add_generation_prompt, prompt.thinking], sort_keys=True
                )
                found.setdefault(key, prompt)
    return list(found.values())


def compare_templates(
    texts: Sequence[str | None], codecs: Sequence[ChatCodec], chats: Sequence[Prompt], names: Sequence[str]
) -> TemplateDiff | None:
    """Return what differs between two templates, or between what they render with other special tokens.

    Args:
        texts: Both templates; None for a base model.
        codecs: Both bundles' own templates and tokenizers.
        chats: What to render with both.
        names: What the unified diff calls the two.

    Returns:
        None if nothing differs.
    """
    diff: tuple[str, ...] = ()
    if texts[0] != texts[1]:
        a, b = ((text or "").splitlines() for text in texts)
        diff = tuple(difflib.unified_diff(a, b, names[0], names[1], lineterm=""))
        diff = diff or ("the lines are the same; only line endings differ",)
    if None in texts:
        return TemplateDiff(diff, 0, (), 0, 0) if diff else None
    rendered, most = [], [0, 0]
    for chat in chats:
        both = [_render(codec, chat) for codec in codecs]
        for side, (codec, (text, _)) in enumerate(zip(codecs, both, strict=True)):
            if text is not None and codec.bos_id is not None:
                most[side] = max(most[side], starts(codec.encode(text), codec.bos_id))
        if both[0] != both[1]:
            rendered.append(_rendered(chat.id, both))
    if not diff and not rendered:
        return None
    return TemplateDiff(diff, len(chats), tuple(rendered), *most)


def _render(codec: ChatCodec, chat: Prompt) -> tuple[str | None, str]:
    """Return the chat's text, or why there is none."""
    try:
        return render_chat(codec, chat), ""
    except CheckpointError as error:
        return None, error.message


def _rendered(chat: str, both: Sequence[tuple[str | None, str]]) -> Rendered:
    (a, why_a), (b, why_b) = both
    if a is None or b is None:
        said = [f"refused: {why}" for why in (why_a, why_b) if why]
        return Rendered(chat, 0, a and a[:_AFTER], b and b[:_AFTER], tuple(said))
    at = first_difference(a, b)
    begin = max(0, at - _BEFORE)
    diff = difflib.unified_diff(a.splitlines(True), b.splitlines(True), "a", "b", n=1, lineterm="")
    lines = tuple(line.rstrip("\n") + ("\\n" if line.endswith("\n") else "") for line in diff)
    return Rendered(chat, at, a[begin : at + _AFTER], b[begin : at + _AFTER], lines)


def first_difference(a: Sequence[object], b: Sequence[object]) -> int:
    """Return the first place where two sequences differ; the shorter one's length if the other begins with it."""
    shortest = min(len(a), len(b))
    return next((at for at in range(shortest) if a[at] != b[at]), shortest)


def judge_template(texts: Sequence[str | None], found: TemplateDiff | None) -> Change:
    """Return the verdict: another text of a chat matters; other Jinja that writes the same text doesn't."""
    if found is None:
        return same("template")
    if texts[0] is None:
        return Change("template", "matters", "it is new", "the first bundle holds a base model, the second can chat")
    if texts[1] is None:
        return Change("template", "matters", "it is gone", "apps can no longer write chats")
    what = f"{len(found.rendered)} of {found.chats} chats are rendered differently"
    if not found.rendered:
        return Change("template", "harmless", f"its text; {what}", "it writes the same text")
    reason = "the model sees different text"
    if found.bos_b > max(found.bos_a, 1):
        reason = f"chats now have {found.bos_b} BOS tokens instead of {found.bos_a}: replies get worse"
    elif found.bos_b != found.bos_a:
        reason = (
            f"chats now have {found.bos_b} BOS tokens instead of {found.bos_a}: runners must take this into account"
        )
    refused = sum(one.b is None and one.a is not None for one in found.rendered)
    if refused:
        reason += f"; {refused} chats are refused"
    return Change("template", "matters", what, reason)
