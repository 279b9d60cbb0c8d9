"""The second leg of the proof: what an app gets from LiteRT-LM's own engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...formats.litertlm import SENTENCEPIECE, read_sections
from ...prompt.chats import Prompt, encode_prompt
from ...prompt.codec import ChatCodec, TemplateRefused
from ...prove.behaviour import Check, Miss
from ...prove.golden import Golden, Recorded
from ...util.progress import Progress
from . import litert_lm
from .spacing import raw_texts
from .tokenizer_section import PROBES

if TYPE_CHECKING:
    from ...bundle.reader import Bundle


def prove_engine(
    bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, progress: Progress
) -> tuple[Check, ...]:
    """Runs the packed ``.litertlm`` in the engine.

    Returns:
        ``engine_tokens``: its greedy tokens are the Interpreter's. ``engine_template``: its own template and tokenizer
        make the prompt's ids of every chat. ``engine_text``: its tokenizer cuts odd texts alike, and joins them again.
    """
    from ...prompt.codec import codec_of

    codec = codec_of(bundle)
    return (
        _tokens(bundle, goldens, recorded, work, progress),
        *_prompts(bundle, goldens, codec, work, progress),
    )


def _tokens(
    bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, progress: Progress
) -> Check:
    wanted = [list(bundle_side.greedy_ids) for bundle_side in recorded]
    found = litert_lm.greedy(
        bundle.program,
        [golden.prompt_ids for golden in goldens],
        [max(1, len(ids)) for ids in wanted],
        bundle.manifest.vocab_size,
        work,
        progress=progress,
    )
    results = [
        (golden.prompt.id, _token_fault(ids, heard[: len(ids)]))
        for golden, ids, heard in zip(goldens, wanted, found, strict=True)
    ]
    return _check("engine_tokens", results)


def _token_fault(wanted: list[int], heard: list[int]) -> str | None:
    if heard == wanted:
        return None
    at = _parting(wanted, heard)
    return f"token {at} is {heard[at] if at < len(heard) else 'lacking'}, the Interpreter's is {wanted[at]}"


def _parting(one: Sequence[object], other: Sequence[object]) -> int:
    """Where two sequences part: the first place that differs, or the end of the shorter."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _prompts(
    bundle: Bundle, goldens: Sequence[Golden], codec: ChatCodec, work: Path, progress: Progress
) -> tuple[Check, Check]:
    chats = [golden.prompt for golden in goldens if golden.prompt.kind != "text"]
    if codec.has_template:
        chats += [Prompt(f"odd-{i}", "chat", ({"role": "user", "content": text},)) for i, text in enumerate(PROBES)]
    texts = (*PROBES, *(golden.prompt.text for golden in goldens if golden.prompt.kind == "text"))
    asked = [litert_lm.Chat(one.messages, one.tools or (), one.add_generation_prompt, one.thinking) for one in chats]
    given = _given(bundle.program, texts, codec)
    found = litert_lm.conversation_ids(bundle.program, asked, work, given, progress=progress)
    heard = [
        (chat.id, _chat_fault(chat, answer, codec))
        for chat, answer in zip(chats, found.chats, strict=True)
        if not answer.inexpressible
    ]
    for reason in sorted({answer.inexpressible for answer in found.chats} - {""}):
        progress.note(f"LiteRT-LM's conversation can't be asked about some chats: {reason}")
    cuts = [(repr(text[:24]), _text_fault(text, cut, codec)) for text, cut in zip(texts, found.texts, strict=True)]
    return _check("engine_template", heard), _check("engine_text", cuts)


def _given(program: Path, texts: Sequence[str], codec: ChatCodec) -> Sequence[str]:
    """What the engine is given for texts that no template renders: spaced as its SentencePiece section needs them."""
    kinds = {section.kind for section in read_sections(program)}
    return raw_texts(texts, codec.tokenizer) if SENTENCEPIECE in kinds else texts


def _chat_fault(chat: Prompt, heard: litert_lm.Heard, codec: ChatCodec) -> str | None:
    try:
        text, wanted = encode_prompt(codec, chat)
    except TemplateRefused:
        return None if heard.refused else "transformers' template refuses this chat, the engine's renders it"
    if heard.refused:
        return f"the engine refuses it: {heard.refused}"
    if heard.ids is not None and list(heard.ids) == wanted:
        fed = heard.fed
        return None if fed is None or fed == len(wanted) else f"the engine feeds {fed} tokens, {len(wanted)} are right"
    found = heard.text or ""
    if text != found:
        at = _parting(text, found)
        near = slice(max(0, at - 10), at + 30)
        return f"the engine renders {found[near]!r} where transformers has {text[near]!r}"
    return f"the same text, but {len(heard.ids or ())} tokens for {len(wanted)}"


def _text_fault(text: str, cut: litert_lm.Cut, codec: ChatCodec) -> str | None:
    wanted = codec.encode(text)
    if list(cut.ids) != wanted:
        return f"{list(cut.ids)[:12]} instead of {wanted[:12]}"
    again = codec.decode(wanted)
    # A tokenizer that puts a space before a text takes it away again; a SentencePiece section does neither.
    return None if cut.text in (again, f" {again}") else f"joined to {cut.text!r} instead of {again!r}"


def _check(name: str, results: Iterable[tuple[str, str | None]]) -> Check:
    pairs = list(results)
    return Check(name, len(pairs), 1.0, tuple(Miss(prompt, fault) for prompt, fault in pairs if fault is not None))
