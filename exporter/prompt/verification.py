"""Proof of ``prompt.json`` against the template: the same token ids on every golden and on generated chats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import compiler as compiling
from .chats import Prompt
from .codec import ChatCodec, TemplateRefused
from .format import PromptFile
from .parser import parse_calls
from .probing import shown
from .renderer import render_prompt
from .sample_chats import GeneratedChat, Level, generate_chats
from .segments import PromptRefused

COUNT = 200
# prompt.json may refuse what the template renders (an empty message, say), but a file that refuses most isn't proven.
LEAST_RENDERED = 0.6


@dataclass(frozen=True)
class Difference:
    """A chat that prompt.json renders differently than the template.

    Attributes:
        chat: The chat's name.
        template: The template's text; None if the template refuses the chat.
        prompt: The text by prompt.json; None if prompt.json refuses the chat.
        thinking: Whether thinking was turned on.
    """

    chat: str
    template: str | None
    prompt: str | None
    thinking: bool = False

    def __str__(self) -> str:
        if self.template is None:
            return f"{self.chat}: the template refuses it, prompt.json renders {shown(self.prompt or '')}"
        if self.prompt is None:
            return f"{self.chat}: prompt.json refuses it, the template renders {shown(self.template)}"
        at = next(
            (n for n, (a, b) in enumerate(zip(self.template, self.prompt, strict=False)) if a != b),
            min(len(self.template), len(self.prompt)),
        )
        start = max(at - 20, 0)
        return (
            f"{self.chat}: from character {start} on the template has {shown(self.template[start:])}, "
            f"prompt.json {shown(self.prompt[start:])}"
        )


@dataclass(frozen=True)
class PromptProof:
    """How prompt.json compares with the template.

    Attributes:
        goldens: How many goldens were compared.
        generated: How many generated chats were compared.
        same: How many chats give the same token ids.
        refused: How many chats both refuse.
        stricter: How many generated chats prompt.json alone refuses, with a reason, though the template renders
            something.
        calls: How many calls in generated chats were read back from their own text.
        differences: The first few differences.
    """

    goldens: int
    generated: int
    same: int
    refused: int
    stricter: int
    calls: int
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def summary(self) -> str:
        """Return one line for people."""
        if not self.passed:
            return f"prompt.json differs from the template: {self.differences[0]}"
        return (
            f"prompt.json gives the template's token ids on {self.goldens} goldens and {self.generated} generated "
            f"chats ({self.refused} of them refused by both, {self.stricter} by prompt.json alone)"
        )


def _template_text(codec: ChatCodec, chat: Any) -> str | None:
    try:
        return codec.render(chat.messages, chat.tools or None, chat.add_generation_prompt, thinking=chat.thinking)
    except TemplateRefused:
        return None


def _prompt_text(prompt: PromptFile, chat: Any) -> str | None:
    try:
        return render_prompt(prompt, chat.messages, chat.tools, chat.add_generation_prompt, chat.thinking)
    except PromptRefused:
        return None


def _read_back(prompt: PromptFile, chat: GeneratedChat) -> tuple[int, Difference | None]:
    """Write the calls of a chat alone and read them back."""
    from .json_writer import write

    assert prompt.tools is not None
    count = 0
    for message in chat.messages:
        calls = [entry["function"] for entry in message.get("tool_calls", ())]
        try:
            text = prompt.tools.between_calls.join(write(prompt.tools.call, c, prompt.tools.writers) for c in calls)
        except PromptRefused:
            continue
        if any(prompt.tools.marker in str(call["arguments"]) for call in calls):
            continue
        try:
            found: Any = [{"name": call.name, "arguments": call.arguments} for call in parse_calls(prompt, text)[0]]
        except ValueError as error:
            found = str(error)
        if found != calls:
            return count, Difference("calls read back", str(calls), str(found))
        count += len(calls)
    return count, None


def _golden_chats(prompt: PromptFile, goldens: Iterable[Prompt]) -> list[tuple[str, Any]]:
    chats: list[tuple[str, Any]] = []
    for golden in goldens:
        uses = bool(golden.tools) or any(m.get("tool_calls") or m.get("role") == "tool" for m in golden.messages)
        compiled = (prompt.tools is not None or not uses) and (prompt.thinking is not None or not golden.thinking)
        if golden.kind != "text" and compiled:
            chats.append((f"golden {golden.id}", golden))
    return chats


def _generated_chats(prompt: PromptFile, count: int, seed: int) -> list[tuple[str, Any]]:
    chats: list[tuple[str, Any]] = []
    levels: Sequence[Level] = ("chat", "tools") if prompt.tools is not None else ("chat",)
    for level in levels:
        made = generate_chats(count, seed, level)
        chats += [(f"generated {level} chat {n}", chat) for n, chat in enumerate(made)]
        if prompt.thinking is not None:
            made = [replace(chat, thinking=True) for chat in generate_chats(count, seed + 1, level)]
            chats += [(f"thinking {level} chat {n}", chat) for n, chat in enumerate(made)]
    return chats


def prove_prompt(
    prompt: PromptFile, codec: ChatCodec, goldens: Iterable[Prompt], count: int = COUNT, seed: int = 0
) -> PromptProof:
    """Compare prompt.json with the template.

    Args:
        prompt: The compiled template; one without a chat part passes with nothing compared.
        codec: The bundle's template and tokenizer.
        goldens: The bundle's prompts; those that are plain text are skipped, as are those with tools or thinking if
            that isn't compiled.
        count: How many chats are generated of each level, and again with thinking if that is compiled.
        seed: The seed of the generated chats.
    """
    if prompt.chat is None:
        return PromptProof(0, 0, 0, 0, 0, 0, ())
    chats = _golden_chats(prompt, goldens)
    own = len(chats)
    chats += _generated_chats(prompt, count, seed)
    same = refused = stricter = calls = 0
    takes_system = "system" in prompt.chat.bodies
    rendered: dict[str, list[bool]] = {}
    differences: list[Difference] = []
    for name, chat in chats:
        wanted, given = _template_text(codec, chat), _prompt_text(prompt, chat)
        # A system message that the template drops without a word is rightly refused.
        dropped = not takes_system and chat.messages[0]["role"] == "system"
        if isinstance(chat, GeneratedChat) and wanted is not None and not dropped:
            rendered.setdefault(name.rpartition(" chat ")[0], []).append(given is not None)
        if given is None and wanted is None:
            refused += 1
        elif given is None and isinstance(chat, GeneratedChat):
            stricter += 1
        elif given is None or wanted is None or codec.encode(given) != codec.encode(wanted):
            differences.append(Difference(name, wanted, given, chat.thinking))
        else:
            same += 1
        if isinstance(chat, GeneratedChat) and prompt.tools is not None:
            read, wrong = _read_back(prompt, chat)
            calls += read
            differences += [wrong] if wrong else []
    for kind, able in rendered.items():
        if sum(able) < LEAST_RENDERED * len(able):
            few = f"{len(able) - sum(able)} of {len(able)} {kind} chats"
            differences.append(Difference(few, "", None, thinking=kind.startswith("thinking")))
    return PromptProof(own, len(chats) - own, same, refused, stricter, calls, tuple(differences[:5]))


def make_prompt(
    codec: ChatCodec, stop_ids: Iterable[int], goldens: Sequence[Prompt], count: int = COUNT
) -> tuple[PromptFile, PromptProof]:
    """Compile a bundle's template and prove it; what can't be proven is left out, with the reason.

    Args:
        codec: The bundle's template and tokenizer.
        stop_ids: The ids of the tokens that end a reply.
        goldens: The bundle's prompts.
        count: How many chats are generated of each level.

    Returns:
        The file, and its proof, which passed.
    """
    prompt = compiling.compile_codec(codec, stop_ids)
    proof = prove_prompt(prompt, codec, goldens, count)
    # First what only chats with thinking disprove is left out, then the tools, then everything.
    if prompt.thinking is not None and proof.differences and all(one.thinking for one in proof.differences):
        prompt = compiling.without_thinking(prompt, str(proof.differences[0]))
        proof = prove_prompt(prompt, codec, goldens, count)
    if not proof.passed and prompt.tools is not None:
        prompt = compiling.without_tools(prompt, str(proof.differences[0]))
        proof = prove_prompt(prompt, codec, goldens, count)
    if not proof.passed:
        prompt = compiling.without_chat(prompt, str(proof.differences[0]))
        proof = prove_prompt(prompt, codec, goldens, count)
    return prompt, proof
