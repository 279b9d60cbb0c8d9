"""Prompts as chats, rendered and encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .codec import Codec


@dataclass(frozen=True)
class Prompt:
    """One prompt. ``kind``: 'chat', 'multi-turn', 'system', 'tool', 'result', 'thinking', 'long' or 'text'.

    A 'text' prompt is continued as it stands, without a template, and has ``text`` instead of ``messages``.
    ``thinking``: rendered with the template's variable ``enable_thinking``.
    """

    id: str
    kind: str
    messages: tuple[dict[str, Any], ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    add_generation_prompt: bool = True
    text: str = ""
    thinking: bool = False


def render_chat(codec: Codec, prompt: Prompt, *more: Mapping[str, Any], generation: bool | None = None) -> str:
    """A chat's text.

    Args:
        codec: The template.
        prompt: Any but a 'text'.
        more: Messages after the prompt's own.
        generation: Whether the model is to answer; the prompt's own where None.

    Raises:
        TemplateRefused: If the template can't render it.
    """
    asked = prompt.add_generation_prompt if generation is None else generation
    return codec.render((*prompt.messages, *more), prompt.tools or None, asked, thinking=prompt.thinking)


def encode_prompt(codec: Codec, prompt: Prompt) -> tuple[str, list[int]]:
    """A prompt's text and token ids as a runner would feed them.

    A template writes its special tokens itself, so that none are added to what it renders; to plain text
    the tokenizer adds its own.

    Raises:
        TemplateRefused: If the template can't render it.
    """
    if prompt.kind == "text":
        return prompt.text, codec.encode(prompt.text, add_special_tokens=True)
    rendered = render_chat(codec, prompt)
    return rendered, codec.encode(rendered)
