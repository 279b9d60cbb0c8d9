"""A small real tokenizer, a Gemma-like template, and a table model that is its own float reference."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from gemcut.prove.goldens import Golden, LogitsFile, make_goldens
from gemcut.prove.prompts import Prompt, encode_prompt
from gemcut.prove.template import ChatCodec, load_codec
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

SPECIALS = ["<pad>", "<eos>", "<bos>", "<turn>", "</turn>", "<|tool_call>", "<tool_call|>", '<|"|>']
STOP = (1, 4)
TEMPLATE = """\
{{ bos_token }}
{%- if tools %}<turn>system
{% for tool in tools %}{{ tool.function.name }}{{ tool.function.parameters | tojson }}{% endfor %}</turn>
{% endif %}
{%- for message in messages %}<turn>{{ 'model' if message.role == 'assistant' else message.role }}
{{ message.content }}</turn>
{% endfor %}
{%- if add_generation_prompt %}<turn>model
{% endif %}"""
Floats = npt.NDArray[np.float32]


@dataclass
class TableModel:
    """Logits from a random table of the last token, with the next token of a known reply far ahead.

    It is a Reference and, with ``change`` put over its logits, a Runner. ``change`` takes logits [V] and
    the ids so far.
    """

    vocab_size: int
    replies: dict[tuple[int, ...], tuple[int, ...]]
    change: Callable[[Floats, list[int]], Floats] | None = None
    max_context: int = 2048
    prefill_chunk: int = 8
    fed: list[int] = field(default_factory=list)

    def _at(self, ids: list[int]) -> Floats:
        seed = zlib.crc32(np.asarray(ids[-2:], np.int32).tobytes())
        logits = np.random.default_rng(seed).normal(0, 1, self.vocab_size).astype(np.float32)
        logits[: len(SPECIALS)] -= 4
        for prompt, reply in self.replies.items():
            done = len(ids) - len(prompt)
            if (
                0 <= done < len(reply)
                and tuple(ids[: len(prompt)]) == prompt
                and tuple(ids[len(prompt) :]) == reply[:done]
            ):
                logits[reply[done]] += 9
        return logits if self.change is None else self.change(logits, ids)

    def logits(self, ids: Sequence[int], first: int = 0) -> Floats:
        return np.stack([self._at(list(ids[: at + 1])) for at in range(first, len(ids))])

    def generate(self, ids: Sequence[int], max_new: int, stop: frozenset[int]) -> list[int]:
        found: list[int] = []
        while len(found) < max_new and not (found and found[-1] in stop):
            found.append(int(np.argmax(self._at([*ids, *found]))))
        return found

    def prefill(self, ids: Sequence[int], position: int) -> Floats:
        assert position <= len(self.fed)
        self.fed = [*self.fed[:position], *ids]
        assert len(self.fed) <= self.max_context
        return self._at(self.fed)

    def step(self, token: int, position: int) -> Floats:
        assert position == len(self.fed)
        return self.prefill([token], position)

    def close(self) -> None:
        self.fed = []


def write_tokenizer(path: Path, rotate: int = 0) -> None:
    """A byte-level tokenizer without merges; ``rotate`` gives its letters other ids."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = letters[rotate:] + letters[:rotate]
    vocabulary = {token: at for at, token in enumerate([*SPECIALS, *letters])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    tokenizer.save(str(path))


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
        return load_codec(path, template, {"bos_token": "<bos>"})

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


@dataclass
class World:
    """Goldens of the table model, and how to make a runner that differs from it."""

    codec: ChatCodec
    goldens: tuple[Golden, ...]
    reference: TableModel
    logits: LogitsFile

    def runner(self, change: Callable[[Floats, list[int]], Floats] | None = None) -> TableModel:
        return TableModel(self.reference.vocab_size, self.reference.replies, change)


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
    logits = LogitsFile(tmp_path_factory.mktemp("work") / "logits.f32", size)
    goldens = make_goldens(reference, codec, prompts, STOP, context=512, max_new=96, logits=logits)
    return World(codec, goldens, reference, logits)
