"""Goldens of the table model, made once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gemcut.prompt.chats import Prompt, encode_prompt
from gemcut.prompt.codec import ChatCodec, load_codec
from gemcut.prove.golden_generation import LogitsFile, make_goldens

from tests.support.table_model import STOP, TEMPLATE, TableModel, World, write_tokenizer


@pytest.fixture(scope="session")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


@pytest.fixture(scope="session")
def make_codec(tokenizer_json: Path) -> Callable[..., ChatCodec]:
    def make(template: str | None = TEMPLATE, rotate: int = 0) -> ChatCodec:
        path = tokenizer_json
        if rotate:
            path = tokenizer_json.with_name(f"rotated-{rotate}.json")
            write_tokenizer(path, rotate)
        return load_codec(path, template, {"bos_token": "<bos>"}, bos_id=2)

    return make


@pytest.fixture(scope="session")
def codec(make_codec: Callable[..., ChatCodec]) -> ChatCodec:
    return make_codec()


_TOOL = {"type": "function", "function": {"name": "set_alarm", "parameters": {"type": "object"}}}
_CALL = '<|tool_call>call:set_alarm{time:<|"|>06:30<|"|>,on:true}<tool_call|>'
_ASKED = {
    "alarm": ("Wake me at 6:30", _CALL),
    "capital": ("Capital of France?", "Paris."),
    "short": ("Hi", "Yes"),
    "greek": ("Γειά σου 🚀", "Γειά"),
}


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    return [
        Prompt(
            name,
            "tool" if name == "alarm" else "chat",
            ({"role": "user", "content": asked},),
            (_TOOL,) if name == "alarm" else (),
        )
        for name, (asked, _) in _ASKED.items()
    ]


@pytest.fixture(scope="session")
def world(codec: ChatCodec, prompts: list[Prompt], tmp_path_factory: pytest.TempPathFactory) -> World:
    replies = {}
    for prompt in prompts:
        ids = encode_prompt(codec, prompt)[1]
        replies[tuple(ids)] = (*codec.encode(_ASKED[prompt.id][1]), STOP[1])
    size = codec.tokenizer.get_vocab_size()
    reference = TableModel(size, replies)
    logits = LogitsFile(tmp_path_factory.mktemp("work") / "logits", size)
    goldens = make_goldens(reference, codec, prompts, STOP, context=512, max_new=96, logits=logits)
    return World(codec, goldens, reference, logits)
