"""The second part of the proof: what an app gets from LiteRT-LM's own engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...formats.litertlm import SENTENCEPIECE, read_sections
from ...prompt.chats import Prompt, encode_prompt
from ...prompt.codec import ChatCodec, TemplateRefused
from ...prove.behaviour import Check, Miss
from ...prove.golden import Golden, Recorded
from ...util.progress import Progress, SubProgress
from . import litert_lm
from .spacing import raw_texts
from .tokenizer_section import PROBES

if TYPE_CHECKING:
    from ...bundle.reader import Bundle


def prove_engine(
    bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, progress: Progress
) -> tuple[Check, ...]:
    """Run the packed ``.litertlm`` in the engine.

    Args:
        bundle: The bundle, with a ``.litertlm``.
        goldens: All of its goldens.
        recorded: What the Interpreter gave for them.
        work: A scratch folder.
        progress: Told of each prompt.

    Returns:
        ``engine_tokens``: its greedy tokens are the Interpreter's. ``engine_template``: its own template and tokenizer
        give the prompt's ids for every chat. ``engine_text``: its tokenizer cuts odd texts into the same tokens, and
        joins them to the same texts.
    """
    from ...prompt.codec import codec_of

    codec = codec_of(bundle)
    progress.stage("Asking LiteRT-LM's engine for the same")
    return (
        _tokens(bundle, goldens, recorded, work, SubProgress(progress, 0, 0.5)),
        *_prompts(bundle, goldens, codec, work, SubProgress(progress, 0.5, 1)),
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
        (golden.prompt.id, _token_fault(ids, reply[: len(ids)]))
        for golden, ids, reply in zip(goldens, wanted, found, strict=True)
    ]
    return _check("engine_tokens", results)


def _token_fault(wanted: list[int], reply: list[int]) -> str | None:
    if reply == wanted:
        return None
    at = _first_difference(wanted, reply)
    return f"token {at} is {reply[at] if at < len(reply) else 'missing'}, the Interpreter's is {wanted[at]}"


def _first_difference(one: Sequence[object], other: Sequence[object]) -> int:
    """The first index at which two sequences differ, or the end of the shorter."""
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
    given = _spaced_texts(bundle.program, texts, codec)
    found = litert_lm.conversation_ids(bundle.program, asked, work, given, progress=progress)
    rendered = [
        (chat.id, _chat_fault(chat, answer, codec))
        for chat, answer in zip(chats, found.chats, strict=True)
        if not answer.inexpressible
    ]
    for reason in sorted({answer.inexpressible for answer in found.chats} - {""}):
        progress.note(f"some chats can't be checked in LiteRT-LM's engine: {reason}")
    cuts = [(repr(text[:24]), _text_fault(text, cut, codec)) for text, cut in zip(texts, found.texts, strict=True)]
    return _check("engine_template", rendered), _check("engine_text", cuts)


def _spaced_texts(program: Path, texts: Sequence[str], codec: ChatCodec) -> Sequence[str]:
    """Texts that no template renders, with the spaces that the bundle's SentencePiece section needs."""
    kinds = {section.kind for section in read_sections(program)}
    return raw_texts(texts, codec.tokenizer) if SENTENCEPIECE in kinds else texts


def _chat_fault(chat: Prompt, answer: litert_lm.RenderedChat, codec: ChatCodec) -> str | None:
    try:
        text, wanted = encode_prompt(codec, chat)
    except TemplateRefused:
        return None if answer.refused else "the template refuses this chat in transformers, but the engine renders it"
    if answer.refused:
        return f"the engine refuses it: {answer.refused}"
    if answer.ids is not None and list(answer.ids) == wanted:
        fed = answer.fed
        return None if fed is None or fed == len(wanted) else f"the engine feeds {fed} tokens instead of {len(wanted)}"
    found = answer.text or ""
    if text != found:
        at = _first_difference(text, found)
        near = slice(max(0, at - 10), at + 30)
        return f"the engine renders {found[near]!r} instead of {text[near]!r}"
    return f"the engine renders the same text, but cuts it into {len(answer.ids or ())} tokens instead of {len(wanted)}"


def _text_fault(text: str, cut: litert_lm.TokenizedText, codec: ChatCodec) -> str | None:
    wanted = codec.encode(text)
    if list(cut.ids) != wanted:
        return f"cut into {list(cut.ids)[:12]} instead of {wanted[:12]}"
    again = codec.decode(wanted)
    # A tokenizer that puts a space before a text takes it away again; a SentencePiece section does neither.
    return None if cut.text in (again, f" {again}") else f"joined to {cut.text!r} instead of {again!r}"


def _check(name: str, results: Iterable[tuple[str, str | None]]) -> Check:
    pairs = list(results)
    return Check(name, len(pairs), 1.0, tuple(Miss(prompt, fault) for prompt, fault in pairs if fault is not None))
