from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from gemcut.prompt.chats import Prompt, encode_prompt
from gemcut.prompt.codec import ChatCodec
from gemcut.prompt.format import PromptFile
from gemcut.prompt.parser import call_reader
from gemcut.prove.behaviour import Behaviour, Check, check_behaviour
from gemcut.prove.fidelity import fidelity_top64
from gemcut.prove.gate import judge
from gemcut.prove.golden_generation import make_goldens
from gemcut.prove.run import run_bundle
from gemcut.quantize.recipe import Gate

from tests.support.table_model import STOP, TEMPLATE, Floats, TableModel, World

_VALUE = {
    "write": "any",
    "true": "true",
    "false": "false",
    "null": "null",
    "number": {"write": "number"},
    "string": {"write": "string", "open": '"', "close": '"', "escape": "json"},
    "map": {
        "write": "map",
        "open": "{",
        "between": ", ",
        "close": "}",
        "colon": ": ",
        "key": {"write": "string", "open": '"', "close": '"', "escape": "json"},
        "value": {"write": "ref", "name": "value"},
    },
}
_CALL = {
    "write": "record",
    "open": '<tool_call>{"name": "',
    "between": "",
    "close": "}</tool_call>",
    "fields": [
        {"key": "name", "after": '", "arguments": ', "when": "required", "writer": {"write": "string"}},
        {"key": "arguments", "when": "required", "writer": {"write": "ref", "name": "value"}},
    ],
}
_JSON_CALLS = {
    "chat": {"joints": {}, "bodies": {}},
    "tools": {
        "place": "after-system",
        "order": (),
        "marker": "<tool_call>",
        "between_declarations": "",
        "between_calls": "",
        "declaration": _VALUE,
        "call": {**_CALL, "fields": tuple(_CALL["fields"])},
        "result": {**_CALL, "fields": ()},
        "writers": {"value": _VALUE},
    },
    "bos": {"id": None, "text": None, "written": False},
    "stop": {"ids": (), "texts": ()},
    "reasons": {},
}
MakeCodec = Callable[..., ChatCodec]


def _behaviour(world: World, change: object = None, codec: ChatCodec | None = None) -> Behaviour:
    recorded = run_bundle(world.runner(change), world.goldens, STOP, world.codec.decode)  # type: ignore[arg-type]
    return check_behaviour(world.goldens, recorded, codec or world.codec, STOP)


def _failed(behaviour: Behaviour) -> dict[str, Check]:
    return {check.name: check for check in behaviour.checks if not check.passed}


def _instead(golden_ids: Sequence[int], at: int, token: int) -> Callable[[Floats, list[int]], Floats]:
    """Emits ``token`` after so many tokens of one sequence."""

    def change(logits: Floats, ids: list[int]) -> Floats:
        if tuple(ids[:at]) == tuple(golden_ids[:at]) and len(ids) == at:
            logits = logits.copy()
            logits[token] += 50
        return logits

    return change


def test_the_same_model_behaves(world: World) -> None:
    behaviour = _behaviour(world)
    assert behaviour.passed
    assert behaviour.tool_calls == 1
    assert set(behaviour.rates()) == {
        "bos",
        "template",
        "generation_prompt",
        "stop",
        "special_tokens",
        "tool_calls_parse",
        "tool_call_names",
    }
    assert all(rate == 1 for rate in behaviour.rates().values())


def test_a_program_that_prints_only_pad_fails(world: World) -> None:
    def pad(logits: Floats, ids: list[int]) -> Floats:
        return np.where(np.arange(len(logits)) == 0, np.float32(50), logits)

    failed = _failed(_behaviour(world, pad))
    assert set(failed) == {"stop", "special_tokens", "tool_calls_parse"}
    assert "<pad>" in failed["special_tokens"].misses[0].detail
    assert failed["special_tokens"].rate == 0


def test_a_program_that_never_stops_fails(world: World) -> None:
    def endless(logits: Floats, ids: list[int]) -> Floats:
        logits = logits.copy()
        logits[list(STOP)] = -50
        return logits

    failed = _failed(_behaviour(world, endless))
    assert "no stop token in" in failed["stop"].misses[0].detail
    assert failed["stop"].rate == 0


def test_a_template_with_two_bos_is_caught(make_codec: MakeCodec, world: World, prompts: list[Prompt]) -> None:
    doubled = make_codec("{{ bos_token }}" + TEMPLATE)
    goldens = make_goldens(world.reference, doubled, prompts, STOP, context=512)
    recorded = run_bundle(world.runner(), goldens, STOP, doubled.decode)
    failed = _failed(check_behaviour(goldens, recorded, doubled, STOP))
    assert "2 BOS tokens (id 2)" in failed["bos"].misses[0].detail
    assert "template" not in failed  # It renders what it rendered at export: only the BOS is wrong.


def test_a_tokenizer_that_adds_a_bos_to_the_templates_own_is_caught(world: World) -> None:
    class Adding(ChatCodec):
        def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
            return [2, *super().encode(text, add_special_tokens)]

    adding = Adding(world.codec.tokenizer, world.codec.template, world.codec.bos_id)
    assert {"bos", "template"} <= set(_failed(_behaviour(world, codec=adding)))


def test_a_swapped_tokenizer_is_caught(world: World, make_codec: MakeCodec) -> None:
    failed = _failed(_behaviour(world, codec=make_codec(rotate=7)))
    assert "other ids than at export from token" in failed["template"].misses[0].detail
    assert failed["template"].rate == 0


def test_another_template_is_caught_with_the_place(world: World, make_codec: MakeCodec) -> None:
    failed = _failed(_behaviour(world, codec=make_codec(TEMPLATE.replace("<turn>model", "<turn>assistant"))))
    assert "renders 'assistant" in failed["template"].misses[0].detail


def test_a_generation_prompt_without_its_newline_is_caught(
    world: World, make_codec: MakeCodec, prompts: list[Prompt]
) -> None:
    head, tail = TEMPLATE.rsplit("<turn>model\n", 1)
    cut = make_codec(f"{head}<turn>model{tail}")
    goldens = make_goldens(world.reference, cut, prompts, STOP, context=512)
    recorded = run_bundle(world.runner(), goldens, STOP, cut.decode)
    failed = _failed(check_behaviour(goldens, recorded, cut, STOP))
    assert "generation_prompt" in failed
    assert "model\\n" in failed["generation_prompt"].misses[0].detail
    thinking = make_codec(TEMPLATE.replace("<turn>model\n{% endif %}", "<turn>model\n<think></think>{% endif %}"))
    goldens = make_goldens(world.reference, thinking, prompts, STOP, context=512)
    recorded = run_bundle(world.runner(), goldens, STOP, thinking.decode)
    assert "generation_prompt" not in _failed(check_behaviour(goldens, recorded, thinking, STOP))


@pytest.mark.parametrize(
    ("damage", "parses", "named"), [("other value", True, True), ("other name", True, False), ("broken", False, False)]
)
def test_tool_calls_are_told_apart(world: World, damage: str, parses: bool, named: bool) -> None:
    golden = world.goldens[0]
    marks = {"other value": ("6:30", "7"), "other name": ("set", "g"), "broken": ("{", "(")}
    text, put = marks[damage]
    at = len(golden.prompt_ids) + len(world.codec.encode(golden.greedy_text[: golden.greedy_text.index(text)]))
    recorded = list(run_bundle(world.runner(), world.goldens, STOP, world.codec.decode))
    words = list(golden.greedy_ids)
    words[at - len(golden.prompt_ids)] = world.codec.encode(put)[0]
    recorded[0] = replace(recorded[0], greedy_ids=tuple(words), greedy_text=world.codec.decode(words[:-1]))
    behaviour = check_behaviour(world.goldens, recorded, world.codec, STOP)
    assert behaviour.rates()["tool_calls_parse"] == float(parses)
    assert behaviour.rates()["tool_call_names"] == float(named)
    assert behaviour.tool_calls == 0
    assert behaviour.passed == parses
    verdict = judge(Gate(tool_calls=0.95), fidelity_top64(world.goldens, recorded), behaviour)
    assert "tool_calls" in {v.figure for v in verdict.violations}
    assert verdict.violations[-1].prompt == "alarm"


def test_a_run_that_leaves_the_path_once_is_reported_where_it_does(world: World) -> None:
    golden = world.goldens[0]
    at = len(golden.prompt_ids)
    behaviour = _behaviour(world, _instead(golden.prompt_ids, at, 0))
    assert [m.prompt for m in _failed(behaviour)["special_tokens"].misses] == ["alarm"]


def test_checks_that_apply_to_nothing_have_no_rate_and_pass(world: World, make_codec: MakeCodec) -> None:
    base = make_codec(None)
    prompts = [Prompt("plain", "text", text="Once upon a time there was a princess who")]
    goldens = make_goldens(world.reference, base, prompts, STOP, context=512, max_new=8)
    recorded = run_bundle(world.runner(), goldens, STOP, base.decode)
    behaviour = check_behaviour(goldens, recorded, base, STOP)
    assert behaviour.passed
    assert behaviour.tool_calls is None
    assert behaviour.rates()["generation_prompt"] is None
    assert behaviour.rates()["template"] == 1


def test_tool_calls_of_another_family_are_told_apart_by_its_own_reader(codec: ChatCodec, prompts: list[Prompt]) -> None:
    """The float model calls in JSON, as ChatML's templates have it; the bundle calls with another value."""
    reader = call_reader(PromptFile.model_validate(_JSON_CALLS))
    call = '<tool_call>{"name": "set_alarm", "arguments": {"time": "06:30"}}</tool_call>'
    ids = encode_prompt(codec, prompts[0])[1]
    reference = TableModel(codec.tokenizer.get_vocab_size(), {tuple(ids): (*codec.encode(call), STOP[1])})
    goldens = make_goldens(reference, codec, prompts[:1], STOP, context=512, max_new=96)
    right = run_bundle(reference, goldens, STOP, codec.decode)
    wrong = [replace(right[0], greedy_text=call.replace("06:30", "07:30"))]
    assert check_behaviour(goldens, right, codec, STOP, reader).tool_calls == 1
    found = check_behaviour(goldens, wrong, codec, STOP, reader)
    assert (found.tool_calls, found.rates()["tool_calls_parse"], found.rates()["tool_call_names"]) == (0, 1, 1)
    broken = [replace(right[0], greedy_text=call[:-20])]
    assert check_behaviour(goldens, broken, codec, STOP, reader).rates()["tool_calls_parse"] == 0
    assert check_behaviour(goldens, right, codec, STOP).tool_calls is None  # Gemma 4's reader finds none
