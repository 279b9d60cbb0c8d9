"""The chats that the sample model learns from, and the held-out ones that it is measured on.

A chat is ``{"messages": [...], "tools": [...]}`` in the form that transformers' chat templates take. A hash of
the user's words alone decides what is held out, so no held-out request is ever trained on, whatever the seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from ..prompt.toolcalls import ToolCall
from .gemma_calls import format_tool_call
from .phone_tools import TOOLS
from .requests import REFUSAL, Request, make_request, small_talk, spoken
from .vocabulary import SYSTEM_TEXTS

Chat = dict[str, Any]


@dataclass(frozen=True)
class Actions:
    """A set of phone actions.

    Attributes:
        tools: Their declarations by name.
        make: Makes a request for the action of a name, or for any.
    """

    tools: Mapping[str, Any]
    make: Callable[[Random, str | None], Request]


PHONE = Actions(TOOLS, make_request)
HELD_OUT_SHARE = 16
TRAIN_SEED = 20260101
HELD_OUT_SEED = 7


def is_held_out(text: str) -> bool:
    """Return whether a user's words belong to the one in sixteen that are held out."""
    plain = " ".join(text.lower().strip(" .?!").split())
    return hashlib.sha256(plain.encode()).digest()[0] % HELD_OUT_SHARE == 0


def _split_request(rng: Random, held_out: bool, actions: Actions) -> Request:
    """A request on the wanted side of the split."""
    while True:
        request = actions.make(rng, None)
        if is_held_out(request.text) == held_out:
            return request


def _split_talk(rng: Random, held_out: bool) -> tuple[str, str]:
    """Small talk on the wanted side of the split."""
    while True:
        said, answer = small_talk(rng)
        said = spoken(rng, said) if rng.random() < 0.5 else said
        if is_held_out(said) == held_out:
            return said, answer


def _declare(rng: Random, actions: Actions, wanted: list[str], unwanted: list[str], count: int) -> list[Any]:
    """`count` declarations or more: all of `wanted`, none of `unwanted`, in random order."""
    others = [name for name in actions.tools if name not in wanted and name not in unwanted]
    names = list(dict.fromkeys(wanted)) + rng.sample(others, max(0, count - len(set(wanted))))
    rng.shuffle(names)
    return [actions.tools[name] for name in names]


def _call_message(call: ToolCall) -> Chat:
    """The assistant's message that makes a call."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def _asked(request: Request) -> list[Chat]:
    """The user's request and the call."""
    return [{"role": "user", "content": request.text}, _call_message(request.call)]


def _answered(request: Request) -> list[Chat]:
    """The tool's result and the confirmation."""
    return [
        {"role": "tool", "name": request.call.name, "content": request.result},
        {"role": "assistant", "content": request.confirmation},
    ]


def _system(rng: Random) -> list[Chat]:
    """A system message in some chats."""
    return [{"role": "system", "content": rng.choice(SYSTEM_TEXTS)}] if rng.random() < 0.4 else []


def make_chat(rng: Random, held_out: bool = False, shape: str | None = None, actions: Actions = PHONE) -> Chat:
    """Make one chat, ending with an assistant's message.

    Args:
        rng: The source of all choices.
        held_out: Whether the user's words are held out.
        shape: "call" (one call), "after" (call, result, confirmation), "second" (the same and another call),
            "refusal" (no declared tool fits) or "talk"; None for any.
        actions: The actions to ask for.
    """
    kind = shape or rng.choices(["call", "after", "second", "refusal", "talk"], [55, 14, 12, 10, 9])[0]
    count = rng.choices([1, 2, 3, 4], [20, 32, 30, 18])[0]
    messages = _system(rng)
    if kind == "talk":
        said, answer = _split_talk(rng, held_out)
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
        return {"messages": messages, "tools": _declare(rng, actions, [], [], rng.randint(0, 4))}
    request = _split_request(rng, held_out, actions)
    if kind == "refusal":
        messages += [{"role": "user", "content": request.text}, {"role": "assistant", "content": REFUSAL}]
        return {"messages": messages, "tools": _declare(rng, actions, [], [request.call.name], rng.randint(0, 4))}
    wanted = [request.call.name]
    messages += _asked(request)
    if kind != "call":
        messages += _answered(request)
    if kind == "second":
        following = _split_request(rng, held_out, actions)
        wanted.append(following.call.name)
        messages += _asked(following)
    return {"messages": messages, "tools": _declare(rng, actions, wanted, [], count)}


def training_chats(seed: int = TRAIN_SEED, actions: Actions = PHONE) -> Iterator[Chat]:
    """Yield training chats without end."""
    rng = Random(f"train {seed}")
    while True:
        yield make_chat(rng, actions=actions)


def held_out_calls(count: int, seed: int = HELD_OUT_SEED, actions: Actions = PHONE) -> list[Chat]:
    """Make held-out chats whose last message is a tool call, on which exact match is measured."""
    rng = Random(f"held out {seed}")
    shapes = ("call" if rng.random() < 0.85 else "second" for _ in range(count))
    return [make_chat(rng, held_out=True, shape=shape, actions=actions) for shape in shapes]


def expected_reply(chat: Chat) -> str:
    """Return the text that the model should answer with, including markers, without the end of the turn."""
    last = chat["messages"][-1]
    calls = last.get("tool_calls") or []
    functions = [call["function"] for call in calls]
    text = "".join(format_tool_call(ToolCall(made["name"], made["arguments"])) for made in functions)
    return text + str(last["content"])


def golden_chats(count: int, seed: int = HELD_OUT_SEED + 1, actions: Actions = PHONE) -> list[Chat]:
    """Make held-out chats for proofs: ``{"messages", "tools", "expected"}``, without the last answer.

    Three in four call for a tool call; the others for a confirmation of a result, a refusal or a plain answer.
    """
    rng = Random(f"golden {seed}")
    shapes = "call call second after call call call talk call call second refusal".split()  # noqa: SIM905
    chats = [make_chat(rng, True, shapes[index % len(shapes)], actions) for index in range(count)]
    return [{"messages": chat["messages"][:-1], "tools": chat["tools"], "expected": _expected(chat)} for chat in chats]


def _expected(chat: Chat) -> dict[str, Any]:
    """The answer as ``golden_prompts.jsonl`` has it: the calls, or the words."""
    last = chat["messages"][-1]
    calls = [call["function"] for call in last.get("tool_calls") or []]
    return {"calls": calls} if calls else {"text": last["content"]}


def golden_lines(prefix: str, count: int, actions: Actions = PHONE) -> str:
    """Return the lines of ``golden_prompts.jsonl``: held-out chats, and the right answers."""
    lines = []
    for number, chat in enumerate(golden_chats(count, actions=actions), 1):
        line = {"id": f"{prefix}-{number:02d}", "kind": "tool" if chat["tools"] else "chat", **chat}
        lines.append(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    return "".join(lines)
