"""The texts between the segments of a chat, read from marked chats."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .probing import Message, Prober, Unexplained, mark, shown

Joints = dict[tuple[str, str], str]
CALLED = mark("called")
_WORDS = {"U": "user", "A": "assistant", "S": "system", "T": "tools"}


@dataclass(frozen=True)
class Probe:
    """A marked chat; ``str`` gives its shape in words for reasons.

    Attributes:
        shape: Its messages as letters, such as ``SUA`` or ``UC1``; see ``build``.
        messages: The messages.
        tools: The tool declarations, if any.
        spans: For each segment its kind, its first mark and its last.
    """

    shape: tuple[str, ...]
    messages: tuple[Message, ...]
    tools: tuple[Message, ...] | None
    spans: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        return ", ".join(_WORDS.get(part, "calls" if part[0] == "C" else "words and calls") for part in self.shape)


@dataclass
class _Building:
    messages: list[Message] = field(default_factory=list)
    spans: list[tuple[str, str, str]] = field(default_factory=list)

    def text(self, kind: str, role: str) -> None:
        content = mark(f"{kind[0]}{len(self.messages)}")
        self.messages.append({"role": role, "content": content})
        self.spans.append((kind, content, content))

    def calls(self, part: str) -> None:
        """Add tool calls and their results: the digit of ``C1`` says how many results come after."""
        at, results = len(self.messages), int(part[1])
        count = max(results, 1)
        # One name for all: results may repeat it, and what stands before them must not depend on it.
        names = [CALLED] * count
        values = [mark(f"v{at}c{n}") for n in range(count)]
        ids = [f"idq{at:03}q{n:02}" for n in range(count)]
        message: dict[str, Any] = {"role": "assistant"}
        if part[0] == "W":
            message["content"] = mark(f"w{at}")
            self.spans.append(("words", message["content"], message["content"]))
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": n, "arguments": {"key": v}}}
            for i, n, v in zip(ids, names, values, strict=True)
        ]
        self.messages.append(message)
        self.spans.append(("call", values[0], values[-1]))
        for n in range(results):
            content = mark(f"r{at}c{n}")
            self.messages.append({"role": "tool", "tool_call_id": ids[n], "name": names[n], "content": content})
            self.spans.append(("result", content, content))


def build(shape: Sequence[str], tool: Message | None = None, tool_marks: tuple[str, str] = ("", "")) -> Probe:
    """Return a chat of a shape.

    Args:
        shape: Its parts: S (system), T (tools), U (user), A (assistant), C0…C2 (calls), W0…W2 (words and calls); the
            digit counts the results.
        tool: The declaration that T stands for.
        tool_marks: The first and the last mark of that declaration.
    """
    made = _Building()
    for part in shape:
        if part == "T":
            made.spans.append(("tools", *tool_marks))
        elif part[0] in "CW":
            made.calls(part)
        else:
            made.text(_WORDS[part], _WORDS[part])
    return Probe(tuple(shape), tuple(made.messages), (tool,) if "T" in shape and tool else None, tuple(made.spans))


def plain_shapes() -> list[tuple[str, ...]]:
    """Return the shapes without tools: all rows of up to four messages, with and without a system message before."""
    rows = [row for n in range(1, 5) for row in itertools.product("UA", repeat=n)]
    return [*rows, *(("S", *row) for row in rows)]


def tool_shapes(takes_system: bool) -> list[tuple[str, ...]]:
    """Return the shapes with declarations, calls and results."""
    parts = ("U", "A", "C0", "C1", "C2", "W0", "W1", "W2")
    few = ("U", "A", "C1", "W1")
    short = [row for n in (1, 2) for row in itertools.product(parts, repeat=n)]
    rows = [*short, *(("U", *row) for row in itertools.product(parts, repeat=2))]
    rows += [("U", one, two, last) for one in ("C1", "C2", "W1") for two in few for last in parts]
    rows += [("U", "C1", *row) for row in itertools.product(("U", "C1", "A"), repeat=3)]
    heads = [("T", *row) for row in rows] + ([("S", "T", *row) for row in short] if takes_system else [])
    return heads + [row for row in short if any(part[0] in "CW" for part in row)]


@dataclass(frozen=True)
class Seen:
    """A rendered probe.

    Attributes:
        probe: What was rendered.
        generation: Whether the model was to answer.
        kinds: The kinds of its segments, in the order of the text.
        gaps: The texts before, between and after the segments.
    """

    probe: Probe
    generation: bool
    kinds: tuple[str, ...]
    gaps: tuple[str, ...]


def look(probe: Probe, text: str, generation: bool) -> Seen:
    """Find the segments of a rendered probe.

    Raises:
        Unexplained: If one is missing, comes twice, or isn't whole.
    """
    found = []
    for kind, first, last in probe.spans:
        # Each mark comes once, except those of a declaration, which may name its members again.
        if first not in text or last not in text:
            raise Unexplained(f"the template leaves out {_name(kind)} in a chat of {probe}")
        if kind != "tools" and (text.count(first) > 1 or text.count(last) > 1):
            raise Unexplained(f"the template repeats {_name(kind)} in a chat of {probe}")
        start = text.index(first)
        if kind == "call":
            start = text.rfind(CALLED, 0, start)
        found.append((start, text.rindex(last) + len(last), kind))
    found.sort()
    at, gaps = 0, []
    for start, end, kind in found:
        if start < at or end < start:
            raise Unexplained(f"the template writes {_name(kind)} inside another part in a chat of {probe}")
        gaps.append(text[at:start])
        at = end
    return Seen(probe, generation, tuple(kind for _, _, kind in found), (*gaps, text[at:]))


def _name(kind: str) -> str:
    return {
        "tools": "a tool's declaration",
        "call": "a tool call",
        "words": "the words beside a call",
        "result": "a tool's result",
    }.get(kind, f"the {kind}'s text")


def read_joints(seen: Iterable[Seen]) -> Joints:
    """Return the text between each two kinds.

    Raises:
        Unexplained: If it depends on more than the two.
    """
    found: dict[tuple[str, str], tuple[str, Seen]] = {}
    for each in seen:
        row = ("start", *each.kinds, "generation" if each.generation else "end")
        for pair, gap in zip(itertools.pairwise(row), each.gaps, strict=True):
            known, where = found.setdefault(pair, (gap, each))
            if known != gap:
                raise Unexplained(
                    f"what the template writes between {pair[0]} and {pair[1]} depends on more than these two: "
                    f"{shown(known)} in a chat of {where.probe}, {shown(gap)} in one of {each.probe}"
                )
    return {pair: gap for pair, (gap, _) in found.items()}


def observe(prober: Prober, probes: Iterable[Probe]) -> tuple[list[Seen], list[tuple[Probe, bool]]]:
    """Render probes with and without a place for the answer; return what was seen and what the template refused."""
    seen, refused = [], []
    for probe, generation in itertools.product(probes, (True, False)):
        text = prober(probe.messages, probe.tools, generation)
        if text is None:
            refused.append((probe, generation))
        else:
            seen.append(look(probe, text, generation))
    return seen, refused


def check_refusals(joints: Joints, refused: Iterable[tuple[Probe, bool]]) -> None:
    """Check that each chat that the template refuses lacks a joint, in the order that the probe has.

    Raises:
        Unexplained: If nothing explains why a chat is refused.
    """
    for probe, generation in refused:
        row = ("start", *(kind for kind, _, _ in probe.spans), "generation" if generation else "end")
        if all(pair in joints for pair in itertools.pairwise(row)):
            raise Unexplained(f"the template refuses a chat of {probe}, though it takes each two of them in others")
