"""Opening a conversation with a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conversation import Chat

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..prove.runner import Runner
    from .options import ChatOptions


def open_chat(bundle: Bundle, runner: Runner, options: ChatOptions) -> Chat:
    """Return a conversation with an opened bundle, with its own template, tokenizer and stop tokens.

    Args:
        bundle: The bundle.
        runner: Its opened program.
        options: What the conversation begins with.

    Raises:
        UsageError: If a system turn, tools or thinking are asked for and the template doesn't have them.
        CheckpointError: If the bundle's tokenizer or template can't be read.
        ConformanceError: If its prompt.json isn't a prompt file.
    """
    from ..prompt.codec import codec_of
    from ..prompt.format import PROMPT_FILE, read_prompt

    manifest = bundle.manifest
    first = [manifest.bos_id] if manifest.bos_id is not None and not manifest.template_bos else []
    prompt = read_prompt(bundle.read(PROMPT_FILE), PROMPT_FILE) if PROMPT_FILE in manifest.files else None
    return Chat(runner, codec_of(bundle, now=None), frozenset(manifest.stop_ids), first, options, prompt)
