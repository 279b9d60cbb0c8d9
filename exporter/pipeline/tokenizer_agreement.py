"""One truth for the tokenizer: a bundle's own files make of every text and chat what transformers makes of it.

The goldens are encoded with the bundle's files; so a bundle that differs from transformers would be proven on its own
mistake. Whether an engine's own tokenizer agrees with those files is for that runtime's checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConformanceError
from ..prompt.codec import ChatCodec, TemplateRefused, load_codec
from ..prompt.sample_chats import GeneratedChat, generate_chats

if TYPE_CHECKING:
    from ..checkpoint.opened import Checkpoint

CHATS = 60
# Those that the template writes and that end a reply come first; some tokenizers have thousands that nothing writes.
CONTROL_TOKENS = 300
_HINT = "Please report this with the checkpoint's tokenizer files: nothing was exported."


def check_agreement(checkpoint: Checkpoint, tokenizer_json: Path) -> None:
    """Compare a bundle's tokenizer and template with transformers', over generated texts and chats.

    Args:
        checkpoint: With the tokenizer as transformers loaded it.
        tokenizer_json: The bundle's.

    Raises:
        ConformanceError: They give other token ids; the message has the text.
    """
    from tokenizers import Tokenizer

    # By the clock, as transformers renders dates.
    codec = load_codec(tokenizer_json, checkpoint.chat_template, checkpoint.special_tokens, checkpoint.bos_id, now=None)
    plain = Tokenizer.from_file(str(tokenizer_json))  # as any other reader of the file has it
    chats = generate_chats(CHATS)
    rendered = [_ours(codec, chat) if codec.has_template else None for chat in chats]
    written = {token for ids in rendered for token in ids or ()} & codec.special_ids
    for text in _texts(chats, codec, (*checkpoint.stop_ids, *sorted(written))):
        _compare(f"text {text[:80]!r}", plain.encode(text).ids, _ids(checkpoint.tokenizer(text, verbose=False)))
    if codec.has_template:
        for chat, ours in zip(chats, rendered, strict=True):
            what = f"chat {str(list(chat.messages))[:200]}"
            theirs = _theirs(checkpoint, chat)
            # A template may print the time, which has gone on between the two.
            _compare(what, ours if ours == theirs else _ours(codec, chat), theirs)


def _texts(chats: Sequence[GeneratedChat], codec: ChatCodec, first: Sequence[int]) -> Iterator[str]:
    """Texts of all scripts and spacings, control tokens among words (``first`` before others), and one that is long."""
    texts = [
        message["content"] for chat in chats for message in chat.messages if isinstance(message.get("content"), str)
    ]
    yield from dict.fromkeys(texts)
    for token in list(dict.fromkeys((*first, *sorted(codec.special_ids))))[:CONTROL_TOKENS]:
        yield f"one {codec.decode([token])} two{codec.decode([token])}\n"
    yield " ".join(map(str, range(3000)))


def _ours(codec: ChatCodec, chat: GeneratedChat) -> list[int] | None:
    try:
        return codec.encode(codec.render(chat.messages, chat.tools or None, chat.add_generation_prompt))
    except TemplateRefused:
        return None


def _theirs(checkpoint: Checkpoint, chat: GeneratedChat) -> list[int] | None:
    render: Callable[..., Any] = checkpoint.tokenizer.apply_chat_template
    try:
        found = render(
            [dict(message) for message in chat.messages],
            tools=[dict(tool) for tool in chat.tools] or None,
            chat_template=checkpoint.chat_template,
            add_generation_prompt=chat.add_generation_prompt,
            tokenize=True,
            return_dict=True,
            tokenizer_kwargs={"verbose": False},
        )
    except Exception:  # a template is someone else's program: it can raise anything
        return None
    return _ids(found)


def _ids(encoded: Any) -> list[int]:
    return [int(token) for token in encoded["input_ids"]]


def _compare(what: str, ours: list[int] | None, theirs: list[int] | None) -> None:
    if ours == theirs:
        return
    if ours is None or theirs is None:
        refusing, rendering = (
            ("the bundle's template", "transformers") if ours is None else ("transformers", "the bundle")
        )
        raise ConformanceError(f"{refusing} refuses what {rendering} renders: the {what}", hint=_HINT)
    at = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(ours), len(theirs)) if at is None else at
    raise ConformanceError(
        f"the bundle's tokenizer gives other tokens than transformers, from token {at} on, for the {what}", hint=_HINT
    )
