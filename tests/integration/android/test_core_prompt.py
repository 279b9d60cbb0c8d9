"""The app's core renders chats and reads tool calls as Python does, from the same prompt.json."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.pipeline.proving import subject_of
from gemcut.prompt.format import PROMPT_FILE, PromptFile, prompt_text, read_prompt
from gemcut.prompt.parser import parse_calls
from gemcut.prompt.renderer import render_prompt, without_thoughts
from gemcut.prompt.segments import PromptRefused

Case = dict[str, Any]
TEXTS = (
    "",
    " ",
    "plain",
    "  both sides\n",
    'a "quoted" \\ text',
    "line\nbreak\ttab",
    "\x0b\x1c\x85\xa0\u2003\u3000x\u2029",
    "\x00\x01\x1f\x7f",
    "grün ΑΣ İ",
    "\U0001f600 astral \uffee",
    "<|turn>user",
    "{{ braces }}",
    "/slash/",
    "\u2028line",
    "<think>a</think>b</think>c<think>d",
    "stay<think>gone",
)
NUMBERS = (0, -1, 7, 2**70, 0.0, -0.0, 1.0, 0.1, 1e16, 123456789012345680.0, 1e-5, 0.0001, 1e22, 5e-324, 1.5e300)
BARE = {"write": "number", "open": "", "close": ""}
KEYS = ("name", "type", "B", "a", "A", "b", "ß", "Z", "\uffee", "\U0001f600", "x y", "")


def some_value(pick: random.Random, depth: int = 0) -> Any:
    kind = pick.randrange(5 if depth < 3 else 3)
    if kind == 0:
        return pick.choice(TEXTS)
    if kind == 1:
        return pick.choice(NUMBERS)
    if kind == 2:
        return pick.choice((True, False, None))
    if kind == 3:
        return [some_value(pick, depth + 1) for _ in range(pick.randrange(4))]
    return {pick.choice(KEYS): some_value(pick, depth + 1) for _ in range(pick.randrange(4))}


def some_trim(pick: random.Random) -> str:
    return pick.choice(("none", "start", "end", "both"))


def some_mark(pick: random.Random) -> str:
    return pick.choice(("", ",", "{", "}", "[", "]", '<|"|>', ": ", "\n", ", ", "«", '"'))


def string_writer(pick: random.Random) -> dict[str, Any]:
    quote = pick.choice(("", '"', '<|"|>'))
    return {
        "write": "string",
        "open": quote,
        "close": quote,
        "escape": pick.choice(("none", "json")),
        "trim": some_trim(pick),
        "upper": pick.random() < 0.2,
    }


def some_writer(pick: random.Random, depth: int = 0) -> dict[str, Any]:
    """A writer of any kind, rather a forgiving one, since most values should get through."""
    kind = pick.choice(("any", "any", "any", "ref", "map", "record", "list", "cases", "number", "string"))
    if depth > 3:
        kind = "ref"

    def inner() -> dict[str, Any]:
        return some_writer(pick, depth + 1)

    marks = {name: some_mark(pick) for name in ("open", "between", "close")}
    empty = pick.choice((None, None, "", "{}"))
    if kind == "string":
        return string_writer(pick)
    if kind == "number":
        return {"write": "number", "open": some_mark(pick), "close": some_mark(pick)}
    if kind == "ref":
        return {"write": "ref", "name": pick.choice(("value", "value", "value", "none"))}
    if kind == "list":
        return {"write": "list", **marks, "empty": empty, "item": inner()}
    if kind == "map":
        by_key = {pick.choice(KEYS): inner() for _ in range(pick.randrange(3))}
        return {
            "write": "map",
            **marks,
            "empty": empty,
            "colon": some_mark(pick),
            "skip_null": pick.random() < 0.5,
            "sort": pick.choice(("none", "dictsort", "codepoints")),
            "key": string_writer(pick),
            "value": inner(),
            "by_key": by_key,
            "refuses": pick.sample(KEYS, pick.randrange(2)),
        }
    if kind == "cases":
        cases = {name: inner() for name in ("plain", "grün ας i̇")}
        return {"write": "cases", "key": pick.choice(KEYS), "cases": cases, "other": pick.choice((None, inner()))}
    if kind == "record":
        return record_writer(pick, [pick.choice(KEYS) for _ in range(pick.randrange(4))], depth)
    return any_writer(pick, inner, depth)


def any_writer(pick: random.Random, inner: Any, depth: int) -> dict[str, Any]:
    words = {name: pick.choice((name, name.title(), None)) for name in ("true", "false", "null")}
    return {
        "write": "any",
        **words,
        "string": string_writer(pick),
        "number": pick.choice((BARE, None)),
        "list": {"write": "list", "open": "[", "between": ",", "close": "]", "empty": None, "item": inner()},
        "map": {
            "write": "map",
            "open": "{",
            "between": ",",
            "close": "}",
            "empty": None,
            "colon": ":",
            "sort": pick.choice(("none", "dictsort", "codepoints")),
            "skip_null": False,
            "key": {**string_writer(pick), "upper": False},
            "value": inner(),
            "by_key": {},
            "refuses": [],
        },
    }


def record_writer(pick: random.Random, keys: Sequence[str], depth: int = 0) -> dict[str, Any]:
    fields = [
        {
            "key": key,
            "before": some_mark(pick),
            "after": some_mark(pick),
            "joined": pick.random() < 0.7,
            "when": pick.choice(("present", "present", "truthy", "always", "required" if depth == 0 else "truthy")),
            "writer": pick.choice((None, some_writer(pick, depth + 1), some_writer(pick, depth + 1))),
        }
        for key in keys
    ]
    return {
        "write": "record",
        "open": some_mark(pick),
        "between": some_mark(pick),
        "close": some_mark(pick),
        "fields": fields,
        "refuses": pick.sample(KEYS, pick.randrange(2)),
        "others": pick.choice(("ignore", "ignore", "refuse")),
    }


def some_body(pick: random.Random) -> dict[str, Any]:
    remove = [{"open": "<think>", "close": "</think>"}] if pick.random() < 0.4 else []
    after = {kind: some_trim(pick) for kind in pick.sample(("start", "system", "user", "result"), pick.randrange(3))}
    empty = pick.choice(("keep", "keep", "drop", "refuse"))
    return {"trim": some_trim(pick), "after": after, "empty": empty, "remove": remove}


def some_joints(pick: random.Random, mark: str) -> dict[str, Any]:
    froms = ("start", "system", "tools", "user", "assistant", "call", "words", "result")
    tos = ("system", "tools", "user", "assistant", "call", "words", "result", "generation", "end")
    joints = {a: {b: f"<{a}{mark}{b}>\n" for b in tos if pick.random() < 0.96} for a in froms}
    bodies = {k: some_body(pick) for k in ("system", "user", "assistant", "words") if pick.random() < 0.97}
    return {"joints": joints, "bodies": bodies}


def some_prompt(pick: random.Random) -> dict[str, Any]:
    order = pick.choice((["words", "call"], ["call", "words"], ["call", "result", "words"]))
    value = any_writer(pick, lambda: {"write": "ref", "name": "value"}, 0)
    tools = {
        "place": pick.choice(("before-system", "after-system")),
        "order": order,
        "marker": "<call>",
        "between_declarations": some_mark(pick),
        "between_calls": some_mark(pick),
        "declaration": some_writer(pick),
        "call": record_writer(pick, ["name", "arguments"]),
        "result": record_writer(pick, ["name", "content"]),
        "writers": {"value": value},
    }
    whole = {
        "format": "gemcut-prompt",
        "schema_version": 2,
        "chat": some_joints(pick, "|"),
        "thinking": pick.choice((some_joints(pick, "?"), None)),
        "tools": pick.choice((tools, tools, tools, tools, None)),
        "bos": {"id": 2, "text": "<s>", "written": False},
        "stop": {"ids": [1], "texts": ["</s>"]},
        "reasons": {"chat": None, "tools": None, "thinking": None},
    }
    if pick.random() < 0.2:  # as Gemcut wrote it before it knew of thinking
        whole = {key: value for key, value in whole.items() if key != "thinking"}
        whole |= {"schema_version": 1, "reasons": {"chat": None, "tools": None}}
    return whole


def some_message(pick: random.Random, roles: Sequence[str], ids: bool) -> list[dict[str, Any]]:
    role = pick.choice(roles)
    if role != "call":
        return [{"role": role, "content": pick.choice(TEXTS)}]
    calls = []
    for number in range(pick.randrange(1, 3)):
        arguments = {pick.choice(KEYS): some_value(pick) for _ in range(pick.randrange(3))}
        call = {"type": "function", "function": {"name": f"tool_{number}", "arguments": arguments}}
        calls.append({"id": f"id{number}", **call} if ids else call)
    message = {"role": "assistant", "tool_calls": calls, "content": pick.choice((None, *TEXTS[:4]))}
    results = [
        {"role": "tool", "content": some_value(pick), **({"tool_call_id": call["id"]} if ids else {})}
        for call in calls[: pick.randrange(3)]
    ]
    if ids and pick.random() < 0.3:
        results.reverse()
    return [message, *results]


def some_chat(pick: random.Random) -> Case:
    messages = [{"role": "system", "content": pick.choice(TEXTS)}] if pick.random() < 0.3 else []
    for _ in range(pick.randrange(1, 5)):
        messages += some_message(pick, ("user", "user", "assistant", "call"), pick.random() < 0.3)
    spoil = pick.random()
    if spoil < 0.02:
        messages.append({"role": pick.choice(("developer", "tool", "system")), "content": "x"})
    elif spoil < 0.04:
        messages[-1]["mood"] = "good"
    elif spoil < 0.06:
        messages[-1].pop("content", None)
    elif spoil < 0.08:
        messages[-1]["content"] = [{"type": "text", "text": "x"}]
    tools = [{"type": "function", "function": some_value(pick)} for _ in range(pick.choice((0, 0, 1, 2)))]
    return {"messages": messages, "tools": tools, "generation": pick.random() < 0.7, "thinking": pick.random() < 0.25}


def python_text(prompt: PromptFile, case: Case) -> str | None:
    try:
        return render_prompt(prompt, case["messages"], case["tools"], case["generation"], case.get("thinking", False))
    except PromptRefused:
        return None


def line(data: Any) -> str:
    return json.dumps(data)  # ASCII alone: a text may hold what other readers take for the end of a line


def assert_rendered_alike(core: Any, prompts: Sequence[dict[str, Any]], cases: Sequence[Case]) -> tuple[int, int]:
    """Returns how many were rendered, and how many refused."""
    answers = core.ask("render", lines=[line(prompts), *map(line, cases)])
    read = [read_prompt(json.dumps(one)) for one in prompts]
    rendered = 0
    for case, answer in zip(cases, answers, strict=True):
        ours = python_text(read[case["prompt"]], case)
        rendered += ours is not None
        assert answer.get("text") == ours, (case, ours, answer)
        assert ours is not None or answer["error"]
    return rendered, len(cases) - rendered


def test_any_prompt_file_renders_alike(core: Any) -> None:
    """Prompt files and chats of all kinds at random: the same text, or refused by both."""
    pick = random.Random(20)
    prompts = [some_prompt(pick) for _ in range(150)]
    cases = [{"prompt": number % len(prompts), **some_chat(pick)} for number in range(3000)]
    rendered, refused = assert_rendered_alike(core, prompts, cases)
    assert rendered > 600
    assert refused > 200


def test_numbers_are_written_as_python_does(core: Any) -> None:
    pick = random.Random(3)
    values: list[float] = [2.0**power for power in range(-1074, 1024)]
    values += [math.nextafter(2.0**power, pick.choice((0, math.inf))) for power in range(-1000, 1000, 7)]
    values += [struct.unpack("<d", pick.randbytes(8))[0] for _ in range(5000)]
    values += [pick.randrange(10**6) / 1000 for _ in range(1000)] + [float(pick.randrange(10**18)) for _ in range(500)]
    finite = [value for value in values if math.isfinite(value)]
    texts = [format(value, ".17g") if index % 2 else repr(value) for index, value in enumerate(finite)]
    texts = [text if set(text) & set(".e") else text + ".0" for text in texts]
    answers = core.ask("numbers", lines=[*texts, "-0", "-12", str(10**40)])
    assert answers == [*map(repr, finite), "0", "-12", str(10**40)]


@pytest.fixture(scope="module", params=["executorch", "litert"])
def compiled(request: pytest.FixtureRequest) -> tuple[Path, PromptFile]:
    """A bundle, and its compiled template: its own, or made here where its export doesn't write it."""
    path = request.getfixturevalue({"executorch": "sample_int4", "litert": "sample_litert"}[request.param]).path
    bundle = open_bundle(path)
    if PROMPT_FILE in bundle.manifest.files:
        return path, read_prompt(bundle.read(PROMPT_FILE))
    from gemcut.prompt.codec import codec_of
    from gemcut.prompt.compiler import compile_codec

    return path, compile_codec(codec_of(bundle), bundle.manifest.stop_ids)


def test_golden_chats_are_rendered_byte_for_byte(core: Any, compiled: tuple[Path, PromptFile]) -> None:
    path, prompt = compiled
    assert prompt.reasons.chat is None
    assert prompt.reasons.tools is None
    subject = subject_of(open_bundle(path))
    chats = [golden for golden in subject.goldens if golden.prompt.kind != "text"]
    cases = [
        {
            "prompt": 0,
            "messages": list(one.prompt.messages),
            "tools": list(one.prompt.tools),
            "generation": one.prompt.add_generation_prompt,
            "thinking": one.prompt.thinking,
        }
        for one in chats
    ]
    answers = core.ask("render", lines=[line([json.loads(prompt_text(prompt))]), *map(line, cases)])
    assert len(answers) >= 24
    for golden, answer in zip(chats, answers, strict=True):
        assert answer == {"text": golden.rendered}


def test_generated_chats_are_rendered_alike(core: Any, compiled: tuple[Path, PromptFile]) -> None:
    from gemcut.prompt.sample_chats import generate_chats

    _, prompt = compiled
    cases = [
        {"prompt": 0, "messages": list(one.messages), "tools": list(one.tools), "generation": one.add_generation_prompt}
        for one in generate_chats(400, seed=11)
    ]
    rendered, _ = assert_rendered_alike(core, [json.loads(prompt_text(prompt))], cases)
    assert rendered > 200


def python_calls(prompt: PromptFile, text: str) -> dict[str, Any]:
    try:
        calls, words = parse_calls(prompt, text)
    except ValueError as error:
        return {"at": int(str(error).split("character ")[1].split(":")[0])}
    named = [{"name": call.name, "arguments": call.arguments} for call in calls]
    return {"calls": named, "words": words, "spoken": without_thoughts(prompt, text)}


def java_calls(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" not in answer:
        return answer
    return {"at": int(answer["error"].split("character ")[1].split(":")[0])}


def assert_read_alike(core: Any, prompt: PromptFile, texts: Sequence[str]) -> tuple[int, int]:
    """Returns how many texts held calls, and how many were malformed."""
    lines = [line([json.loads(prompt_text(prompt))]), *(line({"prompt": 0, "text": text}) for text in texts)]
    held = malformed = 0
    for text, answer in zip(texts, core.ask("calls", lines=lines), strict=True):
        ours = python_calls(prompt, text)
        assert java_calls(answer) == ours, (text, answer, ours)
        held += bool(ours.get("calls"))
        malformed += "at" in ours
    return held, malformed


def spoilt(pick: random.Random, text: str) -> str:
    """A text as models spoil it: something lost, doubled, or put in."""
    for _ in range(pick.randrange(1, 3)):
        at, end = sorted(pick.randrange(len(text) + 1) for _ in range(2))
        end = min(end, at + 6)
        put = pick.choice(("", "", " ", "\n", "}", "{", ",", ":", '"', "\\", "None", "null", "1.5", "é", "\u00a0"))
        text = text[:at] + put + text[end if pick.random() < 0.7 else at :]
    return text


def test_golden_replies_are_parsed_alike(core: Any, compiled: tuple[Path, PromptFile]) -> None:
    from gemcut.prompt.toolcalls import parse_tool_calls

    path, prompt = compiled
    replies = [one.greedy_text for one in subject_of(open_bundle(path)).goldens]
    held, malformed = assert_read_alike(core, prompt, replies)
    assert held == sum(bool(parse_tool_calls(reply)) for reply in replies) >= 15
    assert not malformed
    pick = random.Random(5)
    texts = [spoilt(pick, pick.choice(replies)) for _ in range(1500)]
    held, malformed = assert_read_alike(core, prompt, texts)
    assert held > 100
    assert malformed > 100


def test_written_calls_are_read_back(core: Any, compiled: tuple[Path, PromptFile]) -> None:
    """Arguments of every type, as the template writes them and as a model may spoil them."""
    from gemcut.prompt.json_writer import write

    _, prompt = compiled
    assert prompt.tools is not None
    pick = random.Random(7)
    texts = []
    for number in range(600):
        keys = pick.sample(("a", "time", "on_2", "deep", "list"), pick.randrange(4))
        call = {"name": f"tool_{number}", "arguments": {key: some_value(pick) for key in keys}}
        try:
            text = "Words. " + write(prompt.tools.call, call, prompt.tools.writers) + pick.choice(("", " after "))
        except PromptRefused:
            continue
        texts += [text, text + text, spoilt(pick, text)]
    held, malformed = assert_read_alike(core, prompt, texts)
    assert held > 600
    assert malformed > 50


def test_calls_of_plain_json(core: Any) -> None:
    """A template that writes its calls as JSON, its own quotes around the name, with escapes."""
    quoted = {"write": "string", "open": '"', "close": '"', "escape": "json", "trim": "none", "upper": False}
    ref = {"write": "ref", "name": "value"}
    members = {
        "write": "map",
        "open": "{",
        "between": ", ",
        "close": "}",
        "empty": None,
        "colon": ": ",
        "sort": "none",
        "skip_null": False,
        "key": quoted,
        "value": ref,
        "by_key": {},
        "refuses": [],
    }
    value = {
        "write": "any",
        "string": quoted,
        "number": BARE,
        "true": "true",
        "false": "false",
        "null": "null",
        "list": {"write": "list", "open": "[", "between": ", ", "close": "]", "empty": None, "item": ref},
        "map": members,
    }
    fields = [
        {"key": "name", "before": '"name": ', "after": "", "when": "required", "joined": True, "writer": quoted},
        {
            "key": "arguments",
            "before": '"arguments": ',
            "after": "",
            "when": "required",
            "joined": True,
            "writer": members,
        },
    ]
    data = some_prompt(random.Random(1))
    record = {
        "write": "record",
        "open": "<call>\n{",
        "between": ", ",
        "close": "}\n</call>",
        "fields": fields,
        "refuses": [],
        "others": "refuse",
    }
    result = {**record, "fields": [fields[0], {**fields[1], "key": "content", "writer": ref}]}
    data["tools"] = {
        "place": "after-system",
        "order": ["words", "call"],
        "marker": "<call>",
        "between_declarations": "\n",
        "between_calls": "\n",
        "declaration": value,
        "call": record,
        "result": result,
        "writers": {"value": value},
    }
    pick = random.Random(2)
    texts = []
    for number in range(700):
        call = {"name": f"tool {number}", "arguments": {key: some_value(pick) for key in pick.sample(KEYS, 3)}}
        text = f"<call>{json.dumps(call, ensure_ascii=pick.random() < 0.5)}</call>"
        texts += [text, spoilt(pick, text)]
    held, malformed = assert_read_alike(core, read_prompt(json.dumps(data)), texts)
    assert held > 700
    assert malformed > 200
