"""The ids that end a reply: those that are stated, the tokenizer's end of sequence, and what the template writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

_CALLED = "gemcut_probe_13"
_CALLS = tuple(
    {"id": f"call{at:05}", "type": "function", "function": {"name": _CALLED, "arguments": {"word": "gemcut"}}}
    for at in range(2)
)
_CHAT: tuple[dict[str, Any], ...] = (
    {"role": "user", "content": "gemcut probe 7"},
    {"role": "assistant", "content": "gemcut answer 11"},
)


def turn_end(
    render: Callable[[Sequence[dict[str, str]]], str],
    encode: Callable[[str], Sequence[int]],
    decode: Callable[[Sequence[int]], str],
    control: Collection[int],
    chat: Sequence[dict[str, Any]] = _CHAT[:1],
) -> int | None:
    """Return the control token that a template writes after an answer.

    Args:
        render: Gives the text of a chat, without asking for an answer; may raise anything.
        encode: Gives the ids of a text, with nothing put around it.
        decode: Gives the text of ids.
        control: The ids of control tokens.
        chat: What comes before the answer.

    Returns:
        The token, or None if something else follows the answer, or if the template can't render it.
    """
    answer = _CHAT[1]
    try:
        text = render([*chat, answer])
    except Exception:  # a template is someone else's program: it can raise anything
        return None
    _, found, after = text.rpartition(answer["content"])
    if not found:
        return None
    for token in encode(after):
        if token in control:
            return token
        if decode([token]).strip():
            return None
    return None


def call_end(
    render: Callable[[Sequence[dict[str, Any]]], str], encode: Callable[[str], Sequence[int]], control: Collection[int]
) -> int | None:
    """Return the last control token of a message with a tool call, if it doesn't stand between two calls.

    It is the end of a turn, or what opens the result, as in FunctionGemma and Gemma 4: a model that goes on there would
    make up the result itself.

    Args:
        render: Gives the text of a chat, without asking for an answer; may raise anything.
        encode: Gives the ids of a text, with nothing put around it.
        control: The ids of control tokens.

    Returns:
        The token, or None if something else follows a call, or if the template writes no calls.
    """
    try:
        one, two = (
            render([_CHAT[0], {"role": "assistant", "tool_calls": list(calls)}]) for calls in (_CALLS[:1], _CALLS)
        )
    except Exception:  # a template is someone else's program: it can raise anything
        return None
    single, double = encode(one), encode(two)
    at = next((i for i, pair in enumerate(zip(single, double, strict=False)) if pair[0] != pair[1]), len(single))
    last = at < len(single) and single[at] in control and not any(token in control for token in single[at + 1 :])
    return single[at] if last and _CALLED in one else None


def stop_ids_of(
    generation: dict[str, Any],
    raw: dict[str, Any],
    text_config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return every id that ends a reply, and notes on those that generation_config.json and config.json don't name.

    Args:
        generation: The content of generation_config.json.
        raw: The content of config.json.
        text_config: The text part's configuration.
        tokenizer: The checkpoint's tokenizer.
        template: The chat template; None for a base model.

    Raises:
        CheckpointError: A stop id isn't an id of the embedding, or there is none at all.
    """
    rows = int(text_config.vocab_size)
    stated = _stated(generation, raw, rows)
    turn, call = _written_ends(tokenizer, template)
    others = {
        turn: "which the chat template writes after each answer",
        call: "which the chat template writes after a tool call",
        tokenizer.eos_token_id: "the tokenizer's end of sequence",
    }
    found, notes = set(stated), []
    for token, why in others.items():
        if token is not None and token not in found:
            found.add(_stop_id(token, rows))
            notes.append(f"generation stops at {_named(tokenizer, token)} too, {why}: no eos_token_id names it")
    if not found:
        raise CheckpointError(
            "no stop token: generation_config.json, config.json and the tokenizer name no end of sequence",
            hint="add eos_token_id to generation_config.json",
        )
    return tuple(sorted(found)), tuple(notes)


def _stated(generation: dict[str, Any], raw: dict[str, Any], rows: int) -> set[int]:
    text = raw.get("text_config")
    values = [generation.get("eos_token_id"), raw.get("eos_token_id")]
    values.append(text.get("eos_token_id") if isinstance(text, dict) else None)
    items = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return {_stop_id(item, rows) for item in items if item is not None}


def _named(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    return f"{tokenizer.convert_ids_to_tokens(token)!r} (id {token})"


def _written_ends(tokenizer: PreTrainedTokenizerBase, template: str | None) -> tuple[int | None, int | None]:
    """What a template writes after an answer, and after a tool call."""
    if template is None:
        return None, None

    def render(chat: Sequence[dict[str, Any]]) -> str:
        return str(tokenizer.apply_chat_template(list(chat), chat_template=template, tokenize=False))

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids)))

    control = tokenizer.added_tokens_decoder
    return turn_end(render, encode, decode, control), call_end(render, encode, control)


def _stop_id(item: object, rows: int) -> int:
    if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item < rows:
        raise CheckpointError(
            f"eos_token_id {item!r} is not an id in a vocabulary of {rows}",
            hint="correct eos_token_id in generation_config.json and config.json",
        )
    return item
