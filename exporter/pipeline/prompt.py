"""The stage that compiles the chat template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .products import CompiledPrompt

if TYPE_CHECKING:
    from ..prompt.chats import Prompt
    from ..prompt.codec import ChatCodec


def compile_prompt(codec: ChatCodec, stop_ids: Iterable[int], prompts: Sequence[Prompt]) -> CompiledPrompt:
    """Compile a template by probing it, and prove the result on the goldens' prompts and on generated chats."""
    from ..prompt.format import prompt_text
    from ..prompt.verification import make_prompt

    prompt, _ = make_prompt(codec, stop_ids, prompts)
    notes = []
    if codec.has_template and prompt.chat is None:
        notes.append(f"prompt.json can't say what the chat template does, so an app needs Jinja: {prompt.reasons.chat}")
    elif codec.has_template and prompt.tools is None and any(one.tools for one in prompts):
        notes.append(f"prompt.json has no tools, so an app that declares any needs Jinja: {prompt.reasons.tools}")
    if prompt.chat is not None and prompt.thinking is None and any(one.thinking for one in prompts):
        why = prompt.reasons.thinking
        notes.append(f"prompt.json can't turn thinking on, so an app that wants it needs Jinja: {why}")
    return CompiledPrompt(prompt_text(prompt).encode(), tuple(notes))
