"""What a template does to the texts of a chat: white space, empty texts, channels that are taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from .format import Body, Channel, Trim
from .probing import Prober, Unexplained, mark, shown
from .renderer import body_text
from .separators import Joints, Probe

_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "words": "assistant"}
_CORE = mark("body")
_EDGES = ("", " ", "\n", " \t\r\n", "\u00a0", "\u3000", "\x1c")
_INNER = ("a  \n\n  b", "'\"\\/<>&{}%#", "{{ x }} {% y %}", "é ß ⅷ 漢字 😀", "a\u200bb\u2028c", "<b>&amp;</b>", "None")
_THINKING = ("<think>", "</think>")


@dataclass(frozen=True)
class _Context:
    """A segment in a rendered probe.

    Attributes:
        probe: What was rendered.
        message: Which of its messages the segment is of.
        generation: Whether the model was to answer.
        kind: The segment's kind.
        before: The kind of the segment before.
        head: The chat's text before the segment.
        tail: The chat's text after the segment.
    """

    probe: Probe
    message: int
    generation: bool
    kind: str
    before: str
    head: str
    tail: str

    def written(self, prober: Prober, text: str) -> str | None:
        """Return what the template makes of ``text`` here; None if it refuses it or changes the text around it."""
        messages = list(self.probe.messages)
        messages[self.message] = {**messages[self.message], "content": text}
        rendered = prober(messages, self.probe.tools, self.generation)
        if rendered is None or len(rendered) < len(self.head) + len(self.tail):
            return None
        if not (rendered.startswith(self.head) and rendered.endswith(self.tail)):
            return None
        return rendered[len(self.head) : len(rendered) - len(self.tail)]

    def bare(self, prober: Prober) -> str | None:
        """Return the text of the chat without this segment."""
        messages: list[Any] = list(self.probe.messages)
        if self.kind == "words":
            messages[self.message] = {k: v for k, v in messages[self.message].items() if k != "content"}
        else:
            del messages[self.message]
        return prober(messages, self.probe.tools, self.generation)

    def whole(self, prober: Prober, text: str) -> str | None:
        messages = list(self.probe.messages)
        messages[self.message] = {**messages[self.message], "content": text}
        return prober(messages, self.probe.tools, self.generation)


def _contexts(prober: Prober, probes: Sequence[Probe], kind: str) -> list[_Context]:
    """Return one context for each three kinds in a row around a segment of ``kind``."""
    found: dict[tuple[str, str], _Context] = {}
    for probe in probes:
        for generation in (True, False):
            text = prober(probe.messages, probe.tools, generation)
            if text is None:
                continue
            spans = sorted(probe.spans, key=lambda span: text.index(span[1]))
            kinds = ["start", *(span[0] for span in spans), "generation" if generation else "end"]
            for at, (own, first, _) in enumerate(spans):
                around = (kinds[at], kinds[at + 2])
                if own != kind or around in found:
                    continue
                message = next(n for n, m in enumerate(probe.messages) if m.get("content") == first)
                head, tail = text.split(first)
                found[around] = _Context(probe, message, generation, kind, kinds[at], head, tail)
    return list(found.values())


def learn_body(prober: Prober, probes: Sequence[Probe], kind: str, special: Sequence[str]) -> Body:
    """Return what becomes of the texts of one kind.

    Args:
        prober: The template.
        probes: Chats that hold such texts; those that the template refuses are skipped.
        kind: system, user, assistant or words.
        special: Texts that could stand around what is taken out, such as special tokens.

    Raises:
        Unexplained: If the template does anything but trim, drop or take out channels.
    """
    contexts = _contexts(prober, probes, kind)
    if not contexts:
        raise Unexplained(f"no chat was found that shows the {kind}'s text")
    trims: dict[str, Trim] = {}
    for context in contexts:
        how = _trim(prober, context)
        if trims.setdefault(context.before, how) != how:
            raise Unexplained(f"white space around the {kind}'s text is trimmed in some chats and kept in others")
    values = list(trims.values())
    common = max(sorted(set(values)), key=values.count)
    remove = _channels(prober, contexts[0], trims[contexts[0].before], special)
    body = Body(trim=common, after={k: v for k, v in trims.items() if v != common}, remove=remove)  # type: ignore[misc]
    for context in contexts:
        for text in _INNER:
            _same(body, context, prober, text)
    return body.model_copy(update={"empty": _empty(prober, contexts)})


def _trim(prober: Prober, context: _Context) -> Trim:
    fits = set(get_args(Trim))
    for edge in _EDGES:
        for text in (edge + _CORE, _CORE + edge, edge + _CORE + edge):
            written = context.written(prober, text)
            fits = {how for how in fits if body_text(Body(trim=how), text, "start") == written}
    if not fits:
        odd = context.written(prober, f" {_CORE} ")
        raise Unexplained(f"it makes {shown(str(odd))} of {shown(f' {_CORE} ')} in the {context.kind}'s text")
    return min(fits, key=("none", "start", "end", "both").index)


def _channels(prober: Prober, context: _Context, how: Trim, special: Sequence[str]) -> tuple[Channel, ...]:
    opens, closes = [], []
    for token in dict.fromkeys((*special, *_THINKING)):
        if not token.strip() or token != token.strip():
            continue
        text = f"{_CORE}{token}ghi"
        written = context.written(prober, text)
        if written == f"{_CORE}ghi":
            closes.append(token)
        elif written == _CORE:
            opens.append(token)
        elif written != text:
            made = shown(str(written))
            raise Unexplained(f"it changes the {context.kind}'s texts that hold {shown(token)} to {made}")
    if not opens and not closes:
        return ()
    if len(opens) != 1 or len(closes) != 1:
        raise Unexplained(f"it takes {', '.join(map(shown, opens + closes))} out of the {context.kind}'s texts")
    channels = (Channel(open=opens[0], close=closes[0]),)
    body = Body(trim=how, remove=channels)
    one, two = opens[0], closes[0]
    for text in (f"{_CORE}{one}b{two}c", f"a{two}{_CORE}{one}", f"{one}a{two} {_CORE}{one}{one}b{two}{two}c {one}d"):
        _same(body, context, prober, text)
    return channels


def _same(body: Body, context: _Context, prober: Prober, text: str) -> None:
    written = context.written(prober, text)
    wanted = body_text(body, text, context.before)
    if written != wanted:
        raise Unexplained(f"it makes {shown(str(written))} of {shown(text)} in the {context.kind}'s text")


def _empty(prober: Prober, contexts: Sequence[_Context]) -> str:
    """Return keep, drop or refuse: the first that fits all contexts, for empty texts and for white space alone."""
    fits = {"keep", "drop"}
    for context in contexts:
        for text in ("", " \n "):
            trimmed = context.written(prober, f" {_CORE} ") == _CORE
            if text and not trimmed:
                continue
            whole = context.whole(prober, text)
            if whole is None or whole != context.head + context.tail:
                fits.discard("keep")
            if whole is None or whole != context.bare(prober):
                fits.discard("drop")
    return "keep" if "keep" in fits else "drop" if "drop" in fits else "refuse"


def learn_bodies(
    prober: Prober, probes: Sequence[Probe], joints: Joints, kinds: Sequence[str], special: Sequence[str]
) -> dict[str, Body]:
    """Return what ``learn_body`` finds for each kind that the joints have."""
    there = {after for _, after in joints}
    return {kind: learn_body(prober, probes, kind, special) for kind in kinds if kind in there}
