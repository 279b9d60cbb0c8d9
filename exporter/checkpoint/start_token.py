"""What begins every prompt: the one truth for goldens, bundles and runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def start_token(tokenizer: PreTrainedTokenizerBase, template: str | None) -> int | None:
    """Return the id of the beginning of a sequence if every prompt really begins with it, as transformers has it.

    A chat is what the template renders, and nothing is put before it; a text without a template gets what the tokenizer
    adds. That a tokenizer names a ``bos_token`` says neither: Granite, StableLM and Phi-3 name one that is never used.

    Args:
        tokenizer: As transformers loaded it.
        template: The chat template; None for a base model.
    """
    bos = tokenizer.bos_token_id
    if bos is None:
        return None
    if template is None:
        return int(bos) if list(tokenizer("x").input_ids[:1]) == [bos] else None
    chat = [{"role": "user", "content": "x"}]
    text = tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, add_generation_prompt=True)
    return int(bos) if str(text).startswith(str(tokenizer.bos_token)) else None
