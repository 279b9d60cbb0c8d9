"""Behaviour: what a user would see of the packed bundle, through its own template and tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..checkpoint.stop_tokens import turn_end
from ..prompt.chats import encode_prompt, render_chat, starts
from ..prompt.codec import Codec, TemplateRefused
from ..prompt.toolcalls import ReadCalls, ToolCall, holds_tool_calls, parse_tool_calls
from .golden import Golden, Recorded, strip_stop

# Quantization may make one reply in ten run on; a stop id that is lost makes all of them.
STOP_RATE = 0.9
_REPLY = "gemcut reply 4711"


@dataclass(frozen=True)
class Miss:
    """A prompt on which a check failed.

    Attributes:
        prompt: The prompt's id.
        detail: How it failed.
    """

    prompt: str
    detail: str


@dataclass(frozen=True)
class Check:
    """One check over all the prompts that it applies to.

    Attributes:
        name: The check's name.
        applies: How many prompts it applies to.
        limit: The least rate, 0..1.
        misses: The prompts on which it failed.
    """

    name: str
    applies: int
    limit: float
    misses: tuple[Miss, ...]

    @property
    def rate(self) -> float | None:
        """The share of the prompts on which it held, 0..1; None if it applies to none."""
        return None if not self.applies else 1.0 - len(self.misses) / self.applies

    @property
    def passed(self) -> bool:
        """Whether the rate is at its limit or above."""
        return self.rate is None or self.rate >= self.limit - 1e-9


@dataclass(frozen=True)
class Behaviour:
    """All checks.

    Attributes:
        checks: The checks.
        tool_calls: The share of the float model's tool calls that the bundle makes exactly, 0..1; None if the float
            model made none.
        tool_call_misses: The prompts where it doesn't.
        expected: The share of the expected answers that the bundle gives, 0..1; None if no prompt has one.
        expected_misses: The prompts where it doesn't.
        expected_float: The share that the float model gives.
    """

    checks: tuple[Check, ...]
    tool_calls: float | None
    tool_call_misses: tuple[Miss, ...] = ()
    expected: float | None = None
    expected_misses: tuple[Miss, ...] = ()
    expected_float: float | None = None

    @property
    def passed(self) -> bool:
        """Whether every check held."""
        return all(check.passed for check in self.checks)

    def rates(self) -> dict[str, float | None]:
        """Return the rate of each check by name, as the manifest has them."""
        return {check.name: check.rate for check in self.checks}


_Misses = Iterator[tuple[str, str | None]]
Words = Callable[[Golden, str], str]


def _as_it_is(golden: Golden, reply: str) -> str:
    return reply


def _check(name: str, results: Iterable[tuple[str, str | None]], limit: float = 1.0) -> Check:
    """Return a check made from pairs of prompt and what went wrong there (None: nothing)."""
    pairs = list(results)
    misses = tuple(Miss(prompt, detail) for prompt, detail in pairs if detail is not None)
    return Check(name, len(pairs), limit, misses)


def _encoded(codec: Codec, golden: Golden) -> tuple[str, list[int]] | str:
    try:
        return encode_prompt(codec, golden.prompt)
    except TemplateRefused as error:
        return error.message


def _bos(goldens: Sequence[Golden], codec: Codec) -> _Misses:
    """Check that no more than one BOS begins what the runner would see; in some templates it begins turns as well."""
    for golden in goldens:
        found = _encoded(codec, golden)
        if isinstance(found, str):
            continue
        count = starts(found[1], codec.bos_id)
        yield golden.prompt.id, f"{count} BOS tokens (id {codec.bos_id}) begin the prompt" if count > 1 else None


def _template(goldens: Sequence[Golden], codec: Codec) -> _Misses:
    """Check that the bundle's template and tokenizer give the goldens' text and ids, and the ids give the text."""
    for golden in goldens:
        found = _encoded(codec, golden)
        yield golden.prompt.id, found if isinstance(found, str) else _round_trip(golden, codec, *found)


def _round_trip(golden: Golden, codec: Codec, rendered: str, ids: list[int]) -> str | None:
    if rendered != golden.rendered:
        at = next((i for i, (a, b) in enumerate(zip(rendered, golden.rendered, strict=False)) if a != b), None)
        at = min(len(rendered), len(golden.rendered)) if at is None else at
        here, there = rendered[at : at + 20], golden.rendered[at : at + 20]
        return f"the template renders {here!r} at character {at}, at export it rendered {there!r}"
    if ids != list(golden.prompt_ids):
        at = next((i for i, (a, b) in enumerate(zip(ids, golden.prompt_ids, strict=False)) if a != b), None)
        at = min(len(ids), len(golden.prompt_ids)) if at is None else at
        return f"the tokenizer gives other ids than at export from token {at} on"
    text = codec.decode(ids)
    if text != rendered and codec.encode(text) != ids:
        return "decoding the prompt's ids gives another text"
    return None


def _generation_prompt(goldens: Sequence[Golden], codec: Codec) -> _Misses:
    """Check that a reply continues what the generation prompt begins, such as Gemma's newline after ``model``."""
    for golden in goldens:
        prompt = golden.prompt
        if prompt.kind == "text" or not prompt.add_generation_prompt:
            continue
        reply = {"role": "assistant", "content": _REPLY}
        try:
            asked = render_chat(codec, prompt, generation=True)
            whole = render_chat(codec, prompt, reply, generation=False)
        except TemplateRefused:
            continue
        before, held, _ = whole.partition(_REPLY)
        # Either may hold more than the other, such as an empty thinking channel, but not white space alone.
        lacking = before.removeprefix(asked) if before.startswith(asked) else None
        fits = bool(held) and (asked.startswith(before) or bool(lacking and lacking.strip()))
        wrong = f"it ends {asked[-20:]!r}, but a reply stands after {before[-20:]!r}"
        yield prompt.id, None if fits else wrong


def _stops(goldens: Sequence[Golden], recorded: Sequence[Recorded], codec: Codec, stop_ids: frozenset[int]) -> _Misses:
    """Check that the bundle's reply ends if the float model's did; if it didn't, that what ends a turn would end it."""
    for golden, bundle in zip(goldens, recorded, strict=True):
        if golden.ended:
            wrong = f"no stop token in {len(bundle.greedy_ids)} tokens; the float model stopped"
            yield golden.prompt.id, None if bundle.ended else f"{wrong} after {len(golden.greedy_ids)}"
            continue
        end = _template_end(golden, codec)
        if end is not None:
            wrong = f"{codec.decode([end])} (id {end}), which the template writes after an answer, is no stop token"
            yield golden.prompt.id, None if end in stop_ids else wrong


def _template_end(golden: Golden, codec: Codec) -> int | None:
    prompt = golden.prompt
    if prompt.kind == "text":
        return None

    def render(chat: Sequence[dict[str, Any]]) -> str:
        return codec.render(chat, prompt.tools, False)

    return turn_end(render, codec.encode, codec.decode, codec.special_ids, [dict(one) for one in prompt.messages])


def _special_tokens(
    goldens: Sequence[Golden], recorded: Sequence[Recorded], codec: Codec, stop_ids: frozenset[int]
) -> _Misses:
    """Check that a reply holds no special tokens, such as ``<pad>``, that the float model's replies don't use."""
    used = {token for golden in goldens for token in strip_stop(golden.greedy_ids, stop_ids)[0]}
    allowed = used & codec.special_ids
    for golden, bundle in zip(goldens, recorded, strict=True):
        words, _ = strip_stop(bundle.greedy_ids, stop_ids)
        strange = [token for token in words if token in codec.special_ids and token not in allowed]
        wrong = f"the reply holds {codec.decode(strange[:1])} {len(strange)} times" if strange else None
        yield golden.prompt.id, wrong


def _pairs(
    goldens: Sequence[Golden], recorded: Sequence[Recorded], read: ReadCalls
) -> list[tuple[Golden, Recorded, list[ToolCall]]]:
    """Return the prompts that the float model answers with well-formed tool calls."""
    both = zip(goldens, recorded, strict=True)
    return [(g, r, read(g.greedy_text)) for g, r in both if holds_tool_calls(g.greedy_text, read)]


def _parsed(text: str, read: ReadCalls) -> list[ToolCall] | str:
    try:
        return read(text)
    except ValueError as error:
        return str(error)


def _calls_parse(pairs: Sequence[tuple[Golden, Recorded, list[ToolCall]]], read: ReadCalls) -> _Misses:
    for golden, bundle, _ in pairs:
        calls = _parsed(bundle.greedy_text, read)
        wrong = calls if isinstance(calls, str) else None if calls else f"no tool call in {bundle.greedy_text[:60]!r}"
        yield golden.prompt.id, wrong


def _named(wanted: Sequence[ToolCall]) -> str:
    return ", ".join(call.name for call in wanted) or "none"


def _calls_agree(
    pairs: Sequence[tuple[Golden, Recorded, list[ToolCall]]],
    read: ReadCalls,
    same: Callable[[list[ToolCall], list[ToolCall]], bool],
) -> _Misses:
    for golden, bundle, wanted in pairs:
        calls = _parsed(bundle.greedy_text, read)
        if isinstance(calls, str):
            yield golden.prompt.id, calls
        else:
            wrong = f"{bundle.greedy_text[:80]!r} instead of {golden.greedy_text[:80]!r}"
            yield golden.prompt.id, None if same(calls, wanted) else wrong


def _expected(goldens: Sequence[Golden], replies: Sequence[str], words: Words, read: ReadCalls) -> _Misses:
    for golden, reply in zip(goldens, replies, strict=True):
        if golden.prompt.expected is not None:
            yield golden.prompt.id, golden.prompt.expected.lacks(words(golden, reply), read)


def check_behaviour(
    goldens: Sequence[Golden],
    recorded: Sequence[Recorded],
    codec: Codec,
    stop_ids: Iterable[int],
    read_calls: ReadCalls = parse_tool_calls,
    words: Words = _as_it_is,
) -> Behaviour:
    """Check what a user would see. Nothing is run here: ``recorded`` is from ``run_bundle``.

    Args:
        goldens: The float model's side.
        recorded: The bundle's side, in the same order.
        codec: The bundle's own template and tokenizer.
        stop_ids: The ids that end a reply.
        read_calls: Reads tool calls in the model's own form; in Gemma 4's if it isn't given.
        words: Returns a prompt's reply without its thoughts, which no expected answer has.

    Returns:
        The checks: ``bos`` (never two), ``template`` (round trip), ``generation_prompt``, ``stop``,
        ``special_tokens``, ``tool_calls_parse`` and ``tool_call_names`` (the latter without a limit), and
        the rate of tool calls that are exactly the float model's, and those of expected answers.
    """
    stops = frozenset(stop_ids)
    pairs = _pairs(goldens, recorded, read_calls)
    names = _calls_agree(pairs, read_calls, lambda found, wanted: _named(found) == _named(wanted))
    exact = _check("tool_calls", _calls_agree(pairs, read_calls, lambda found, wanted: found == wanted))
    checks = (
        _check("bos", _bos(goldens, codec)),
        _check("template", _template(goldens, codec)),
        _check("generation_prompt", _generation_prompt(goldens, codec)),
        _check("stop", _stops(goldens, recorded, codec, stops), STOP_RATE),
        _check("special_tokens", _special_tokens(goldens, recorded, codec, stops)),
        _check("tool_calls_parse", _calls_parse(pairs, read_calls)),
        _check("tool_call_names", names, 0.0),
    )
    answers, own = (
        _check("expected", _expected(goldens, replies, words, read_calls))
        for replies in ([one.greedy_text for one in recorded], [golden.greedy_text for golden in goldens])
    )
    return Behaviour(checks, exact.rate, exact.misses, answers.rate, answers.misses, own.rate)
