"""Compilation of a chat template to ``prompt.json`` by probing: marks go in, and the texts between them are read."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from . import format as form
from .probing import Prober, Render, Unexplained, mark
from .separators import Joints, Probe, build, check_refusals, observe, plain_shapes, read_joints
from .text_rules import learn_bodies
from .tools import learn_tools

if TYPE_CHECKING:
    from .codec import ChatCodec

NO_TEMPLATE = "the bundle has no chat template"
NO_THINKING = "The template has no thinking to turn on"
_DATED = "the template writes the date, and a compiled text can't change by the day"
# A template is someone else's program: marks may come out in unexpected places.
_UNREAD = (Unexplained, ValueError, LookupError, AssertionError)
_OTHER_DAY = (2031, 11, 23, 4, 56)


def compile_prompt(
    render: Render,
    *,
    bos: form.Bos,
    stop: form.Stop,
    special: Sequence[str] = (),
    other_day: Render | None = None,
    thinking: Render | None = None,
) -> form.PromptFile:
    """Compile a template.

    Args:
        render: The template, as ``Codec.render`` has it.
        bos: The beginning-of-sequence token; its ``written`` is determined here.
        stop: The tokens that end a reply.
        special: Texts that the template could take out of what the model said, such as special tokens.
        other_day: The same template on another day; None if it can't know the day.
        thinking: The same template with thinking turned on; None if it can't be turned on.

    Returns:
        What could be compiled; ``reasons`` says why the rest couldn't.
    """
    prober = Prober(render)
    try:
        if other_day is not None and _changes(prober, Prober(other_day)):
            raise Unexplained(_DATED)
        joints, bodies = _learn_chat(prober, special)
    except _UNREAD as reason:
        words = _sentence(_why(reason))
        reasons = form.Reasons(chat=words, tools=words, thinking=words)
        return form.PromptFile(chat=None, tools=None, bos=bos, stop=stop, reasons=reasons)
    joints, bodies, tools, why = _with_tools(prober, joints, bodies, special)
    prompt = make_file(joints, bodies, tools, bos, stop, form.Reasons(tools=why))
    return _with_thinking(prompt, prober, None if thinking is None else Prober(thinking), special)


def _with_tools(
    prober: Prober, joints: Joints, bodies: dict[str, form.Body], special: Sequence[str]
) -> tuple[Joints, dict[str, form.Body], form.Tools | None, str | None]:
    """Return joints and bodies with those of the tools, the tools, and if there are none, why."""
    try:
        learnt = learn_tools(prober, joints, special)
    except _UNREAD as reason:
        return joints, bodies, None, _sentence(_why(reason))
    words = {} if learnt.words is None else {"words": learnt.words}
    return learnt.joints, {**bodies, **words}, learnt.tools, None


def _with_thinking(
    prompt: form.PromptFile, prober: Prober, thinking: Prober | None, special: Sequence[str]
) -> form.PromptFile:
    """Return the file with its second chat part, if the template's text changes with thinking turned on."""
    chat, why = None, NO_THINKING
    if thinking is not None and _changes(prober, thinking):
        try:
            joints, bodies = _learn_chat(thinking, special)
            chat, why = _second_chat(prompt, *_with_tools(thinking, joints, bodies, special)), ""
        except _UNREAD as reason:
            why = _sentence(_why(reason))
    reasons = prompt.reasons.model_copy(update={"thinking": why or None})
    return prompt.model_copy(update={"thinking": chat, "reasons": reasons})


def _second_chat(
    prompt: form.PromptFile, joints: Joints, bodies: dict[str, form.Body], tools: form.Tools | None, why: str | None
) -> form.Chat:
    """Return the chat part with thinking.

    Raises:
        Unexplained: If the first part has tools that are written differently with thinking.
    """
    if prompt.tools is not None and tools != prompt.tools:
        raise Unexplained(why or "with thinking, tools are written differently than without")
    if prompt.tools is None and tools is not None:
        raise Unexplained("with thinking there are tools, and without there are none")
    return form.Chat(joints=_table(joints), bodies=bodies)  # type: ignore[arg-type]


def make_file(
    joints: Joints,
    bodies: dict[str, form.Body],
    tools: form.Tools | None,
    bos: form.Bos,
    stop: form.Stop,
    reasons: form.Reasons,
) -> form.PromptFile:
    """Return the file made of its parts, with its joints in the order of their kinds."""
    table = _table(joints)
    chat = form.Chat(joints=table, bodies=bodies)  # type: ignore[arg-type]
    firsts = table.get("start", {}).values()
    written = bool(bos.text) and all(text.startswith(bos.text or "") for text in firsts)
    bos = bos.model_copy(update={"written": written})
    return form.PromptFile(chat=chat, tools=tools, bos=bos, stop=stop, reasons=reasons)


def _table(joints: Joints) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for before, after in sorted(joints):
        table.setdefault(before, {})[after] = joints[(before, after)]
    return table


def without_tools(prompt: form.PromptFile, reason: str) -> form.PromptFile:
    """Return a prompt file without its tools part; ``reason`` is recorded."""
    if prompt.chat is None:
        return prompt
    reasons = prompt.reasons.model_copy(update={"tools": _sentence(reason)})
    chat, thinking = _plain(prompt.chat), None if prompt.thinking is None else _plain(prompt.thinking)
    return prompt.model_copy(update={"chat": chat, "thinking": thinking, "tools": None, "reasons": reasons})


def _plain(chat: form.Chat) -> form.Chat:
    """Return a chat part without anything about tools."""
    kinds = {"tools", "call", "words", "result"}
    joints: Joints = {
        (before, after): text
        for before, row in chat.joints.items()
        for after, text in row.items()
        if not {before, after} & kinds
    }
    bodies: dict[str, Any] = {kind: body for kind, body in chat.bodies.items() if kind != "words"}
    return form.Chat(joints=_table(joints), bodies=bodies)  # type: ignore[arg-type]


def without_thinking(prompt: form.PromptFile, reason: str) -> form.PromptFile:
    """Return a prompt file without its second chat part; ``reason`` is recorded."""
    reasons = prompt.reasons.model_copy(update={"thinking": _sentence(reason)})
    return prompt.model_copy(update={"thinking": None, "reasons": reasons})


def without_chat(prompt: form.PromptFile, reason: str) -> form.PromptFile:
    """Return a prompt file with neither chats nor tools; ``reason`` is recorded."""
    reasons = form.Reasons(chat=_sentence(reason), tools=_sentence(reason), thinking=_sentence(reason))
    return prompt.model_copy(update={"chat": None, "thinking": None, "tools": None, "reasons": reasons})


def _sentence(reason: object) -> str:
    text = str(reason)
    return text[:1].upper() + text[1:] if not text.startswith("'") else text


def _why(reason: Exception) -> str:
    if isinstance(reason, Unexplained):
        return str(reason)
    return f"the template's texts have a form that probing can't read ({type(reason).__name__}: {reason})"


def _changes(prober: Prober, other: Prober) -> bool:
    user, system = {"role": "user", "content": mark("u")}, {"role": "system", "content": mark("s")}
    return any(prober(chat) != other(chat) for chat in ([user], [system, user]))


def _learn_chat(prober: Prober, special: Sequence[str]) -> tuple[Joints, dict[str, form.Body]]:
    probes = [build(shape) for shape in plain_shapes()]
    if not _takes_system(prober):
        probes = [probe for probe in probes if "S" not in probe.shape]
    seen, refused = observe(prober, probes)
    if not seen:
        raise Unexplained("the template refuses even a plain chat")
    joints = read_joints(seen)
    check_refusals(joints, refused)
    short = [probe for probe in probes if len(probe.shape) <= 3]
    return joints, dict(learn_bodies(prober, short, joints, ("system", "user", "assistant"), special))


def _takes_system(prober: Prober) -> bool:
    """Return whether a system message is rendered, and not silently left out."""
    probe: Probe = build(("S", "U"))
    text = prober(probe.messages)
    return text is not None and str(probe.messages[0]["content"]) in text


def compile_codec(codec: ChatCodec, stop_ids: Iterable[int]) -> form.PromptFile:
    """Compile the template of a bundle.

    Args:
        codec: Template and tokenizer; without a template, nothing is compiled and ``reasons`` says so.
        stop_ids: The ids of the tokens that end a reply.
    """
    from .codec import Template

    ids = tuple(sorted(stop_ids))
    stop = form.Stop(ids=ids, texts=tuple(codec.decode([i]) for i in ids))
    bos = form.Bos(id=codec.bos_id, text=None if codec.bos_id is None else codec.decode([codec.bos_id]), written=False)
    if codec.template is None:
        reasons = form.Reasons(chat=NO_TEMPLATE, tools=NO_TEMPLATE, thinking=NO_TEMPLATE)
        return form.PromptFile(chat=None, tools=None, bos=bos, stop=stop, reasons=reasons)
    added = (str(entry.content) for entry in codec.tokenizer.get_added_tokens_decoder().values())
    special = sorted(text for text in added if text in codec.template.source)
    later = Template(codec.template.source, codec.template.special_tokens, datetime.datetime(*_OTHER_DAY))
    thinking = partial(codec.render, thinking=True)
    return compile_prompt(codec.render, bos=bos, stop=stop, special=special, other_day=later.render, thinking=thinking)
