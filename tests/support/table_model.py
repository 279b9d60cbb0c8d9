"""A small real tokenizer, a Gemma-like template, and a table model that is its own float reference."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gemcut.prompt.codec import ChatCodec
from gemcut.prove.golden import Golden
from gemcut.prove.golden_generation import LogitsFile
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from tests.support.logits_reference import FollowsLogits

SPECIALS = ["<pad>", "<eos>", "<bos>", "<turn>", "</turn>", "<|tool_call>", "<tool_call|>", '<|"|>']
SPECIALS += ["<|channel>", "<channel|>"]
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
class TableModel(FollowsLogits):
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
                logits[reply[done]] += 14
        return logits if self.change is None else self.change(logits, ids)

    def logits(self, ids: Sequence[int], first: int = 0) -> Floats:
        return np.stack([self._at(list(ids[: at + 1])) for at in range(first, len(ids))])

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


@dataclass
class World:
    """Goldens of the table model, and how to make a runner that differs from it."""

    codec: ChatCodec
    goldens: tuple[Golden, ...]
    reference: TableModel
    logits: LogitsFile

    def runner(self, change: Callable[[Floats, list[int]], Floats] | None = None) -> TableModel:
        return TableModel(self.reference.vocab_size, self.reference.replies, change)
