"""Chats for the proof of a compiled template: of any shape and content, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Object = dict[str, Any]
Level = Literal["chat", "tools"]
_TEXTS = (
    "Hello",
    "What's the weather in Ålesund?",
    " leading",
    "trailing ",
    "\n\nboth\n",
    "two\nlines\r\nor three",
    "",
    "  ",
    "tab\there",
    "He said \"hi\" and 'bye'",
    "back\\slash \\n",
    "{{ 7 * 7 }} {% if x %}",
    "<b>&amp;</b>",
    "日本語のテキスト",
    "😀 emoji 👩‍👩‍👧",
    "é́ combining",
    "عربى",
    "a\u00a0b\u00a0",
    "\u3000wide\u3000",
    "zero\u200b",
    "<start_of_turn>user",
    "[INST] no [/INST]",
    "<|im_end|>",
    "null",
    "True",
    "0",
    "50 % of $3, #1",
    "x" * 300,
    "call:set_alarm{time:8}",
    '{"name": "f", "arguments": {}}',
    "\x01\x7f",
    "a\u2028b",
    "…—–",
    "end.",
)
_NAMES = ("set_alarm", "get_weather", "sendMessage", "torch", "a", "list_2", "play_music")
_KEYS = ("time", "place", "Text", "on", "days", "b", "A", "z_9", "zone", "items_", "note", "Title", "kind")
_PLAIN_KEYS = ("type_", "value", "x", "Y", "list", "deep")
_NUMBERS = (0, 1, -1, 7, 42, 1000000, 2**40, 0.5, -2.25, 3.0, 1e21, 1.5e-07, 123456.789, 0.1)


@dataclass(frozen=True)
class GeneratedChat:
    """One chat.

    Attributes:
        messages: The messages, in OpenAI's form.
        tools: The tool declarations, which may be none.
        add_generation_prompt: Whether the model is to answer.
        thinking: Whether the model is to think.
    """

    messages: tuple[Object, ...]
    tools: tuple[Object, ...]
    add_generation_prompt: bool
    thinking: bool = False


class _Maker:
    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)

    def text(self, hollow: bool = True) -> str:
        found = self.pick.choice(_TEXTS)
        if self.pick.random() < 0.3:
            found += self.pick.choice(_TEXTS)
        return found if hollow or found.strip() else "text"

    def value(self, depth: int = 0) -> Any:
        kind = self.pick.randrange(8 if depth < 3 else 5)
        if kind < 2:
            return self.text()
        if kind == 2:
            return self.pick.choice(_NUMBERS)
        if kind == 3:
            return self.pick.random() < 0.5
        if kind == 4:
            return None if self.pick.random() < 0.3 else self.pick.choice(_NUMBERS)
        if kind == 5:
            return [self.value(depth + 1) for _ in range(self.pick.randrange(4))]
        return self.object(depth + 1)

    def object(self, depth: int = 0) -> Object:
        keys = self.pick.sample((*_KEYS, *_PLAIN_KEYS), self.pick.randrange(5))
        return {key: self.value(depth) for key in keys}

    def schema(self, depth: int = 0) -> Object:
        """Return a JSON schema as people write them for tools."""
        kinds = ("string", "integer", "number", "boolean", "array", "object")
        kind = self.pick.choice(kinds if depth < 3 else kinds[:4])
        found: Object = {"type": kind}
        if self.pick.random() < 0.6:
            found["description"] = self.text()
        if kind == "string" and self.pick.random() < 0.4:
            found["enum"] = [self.text(hollow=False) for _ in range(self.pick.randrange(1, 4))]
        if kind == "integer" and self.pick.random() < 0.2:
            found["enum"] = [1, 2, 5]
        if kind == "array" and self.pick.random() < 0.9:
            found["items"] = self.schema(depth + 1)
        if kind == "object":
            found.update(self.members(depth + 1))
        if self.pick.random() < 0.1:
            found["nullable"] = self.pick.random() < 0.7
        return self.shuffled(found)

    def members(self, depth: int) -> Object:
        names = self.pick.sample(_KEYS, self.pick.randrange(1, 4))
        found: Object = {"properties": {name: self.schema(depth) for name in names}}
        if self.pick.random() < 0.7:
            found["required"] = self.pick.sample(names, self.pick.randrange(len(names) + 1))
        return found

    def shuffled(self, found: Object) -> Object:
        items = list(found.items())
        self.pick.shuffle(items)
        return dict(items)

    def tool(self, name: str) -> Object:
        function: Object = {"name": name}
        if self.pick.random() < 0.9:
            function["description"] = self.text(hollow=False)
        if self.pick.random() < 0.9:
            members = self.members(0) if self.pick.random() < 0.85 else {"properties": {}}
            function["parameters"] = {"type": "object", **members}
        return {"type": "function", "function": function}

    def tools(self) -> list[Object]:
        return [self.tool(name) for name in self.pick.sample(_NAMES, self.pick.randrange(1, 4))]

    def messages(self, level: Level, tools: Sequence[Object]) -> list[Object]:
        found: list[Object] = []
        if self.pick.random() < 0.4:
            found.append({"role": "system", "content": self.text()})
        wild = self.pick.random() < 0.25  # any order; otherwise users and assistants take turns
        for turn in range(self.pick.randrange(1, 7)):
            role = self.pick.choice(("user", "assistant")) if wild else ("user", "assistant")[turn % 2]
            if role == "assistant" and level == "tools" and self.pick.random() < 0.6:
                found += self.calls(tools)
                if self.pick.random() < 0.5:
                    found.append({"role": "assistant", "content": self.text()})
            else:
                found.append({"role": role, "content": self.text()})
        return found

    def calls(self, tools: Sequence[Object]) -> list[Object]:
        names = [tool["function"]["name"] for tool in tools] or list(_NAMES)
        entries: list[Object] = []
        for at in range(self.pick.choice((1, 1, 1, 2, 3))):
            function = {"name": self.pick.choice(names), "arguments": self.object()}
            entries.append({"id": f"call{self.pick.randrange(10**5):05}{at}", "type": "function", "function": function})
        message: Object = {"role": "assistant", "tool_calls": entries}
        if self.pick.random() < 0.4:
            message["content"] = self.text()
        elif self.pick.random() < 0.4:
            message["content"] = self.pick.choice((None, ""))
        results = []
        for entry in entries[: self.pick.choice((0, len(entries), len(entries), 1))]:
            content: Any = self.object() if self.pick.random() < 0.4 else self.text()
            if self.pick.random() < 0.1:
                content = self.pick.choice((17, 2.5, True, ["a", 1]))
            name = entry["function"]["name"]
            results.append({"role": "tool", "tool_call_id": entry["id"], "name": name, "content": content})
        return [message, *results]

    def chat(self, level: Level) -> GeneratedChat:
        tools = self.tools() if level == "tools" and self.pick.random() < 0.85 else []
        messages = self.messages(level, tools)
        return GeneratedChat(tuple(messages), tuple(tools), self.pick.random() < 0.7)


def generate_chats(count: int, seed: int = 0, level: Level = "tools") -> list[GeneratedChat]:
    """Return chats of all shapes, the same for the same arguments.

    Args:
        count: How many.
        seed: The seed of the random choices.
        level: ``chat`` for chats without tools; ``tools`` for chats most of which have tools, calls and results.
    """
    return [_Maker(seed * 1_000_003 + at).chat(level) for at in range(count)]
