"""Prompts as chats, rendered and encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .codec import Codec
from .expected import Expected


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        id: Its name, unique among the prompts of a bundle.
        kind: 'chat', 'multi-turn', 'system', 'tool', 'result', 'thinking', 'long' or 'text'. A 'text' prompt is
            continued as it stands, without a template, and has ``text`` instead of ``messages``.
        messages: The chat, in OpenAI's form.
        tools: The tool declarations.
        add_generation_prompt: Whether the model is to answer.
        text: The plain text of a 'text' prompt.
        thinking: Whether it is rendered with the template's variable ``enable_thinking``.
        expected: What the answer must be; None if nothing is said of it.
    """

    id: str
    kind: str
    messages: tuple[dict[str, Any], ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    add_generation_prompt: bool = True
    text: str = ""
    thinking: bool = False
    expected: Expected | None = None


def render_chat(codec: Codec, prompt: Prompt, *more: Mapping[str, Any], generation: bool | None = None) -> str:
    """Return the text of a chat.

    Args:
        codec: The template.
        prompt: Any prompt but a 'text'.
        more: Messages after the prompt's own.
        generation: Whether the model is to answer; if None, the prompt decides.

    Raises:
        TemplateRefused: If the template can't render it.
    """
    asked = prompt.add_generation_prompt if generation is None else generation
    return codec.render((*prompt.messages, *more), prompt.tools or None, asked, thinking=prompt.thinking)


def encode_prompt(codec: Codec, prompt: Prompt) -> tuple[str, list[int]]:
    """Return a prompt's text and token ids as a runner would feed them.

    A template writes its special tokens itself, so none are added to what it renders; to plain text the tokenizer
    adds its own.

    Raises:
        TemplateRefused: If the template can't render it.
    """
    if prompt.kind == "text":
        return prompt.text, codec.encode(prompt.text, add_special_tokens=True)
    rendered = render_chat(codec, prompt)
    return rendered, codec.encode(rendered)


def starts(ids: Sequence[int], bos: int | None) -> int:
    """Return how many times the beginning-of-sequence token stands at the beginning of a prompt's ids."""
    return next((at for at, token in enumerate(ids) if token != bos), len(ids))
