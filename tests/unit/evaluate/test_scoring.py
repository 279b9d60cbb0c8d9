"""What benchmarks ask of a model, against a table whose probabilities are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from gemcut.errors import UnsupportedError
from gemcut.evaluate.scoring import ScoredRunner

BOS, END = 0, 1
WORDS = {"a": 2, "b": 3, "c": 4}
# The next token's probabilities after each token: mostly the next letter, and the end after c.
TABLE = np.full((5, 5), 0.05)
for token, following in ((BOS, 2), (2, 3), (3, 4), (4, END), (END, 2)):
    TABLE[token, following] = 0.8


class Codec:
    """Letters, and a beginning of sequence that the tokenizer adds."""

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [BOS] * add_special_tokens + [WORDS[letter] for letter in text if letter in WORDS]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(letter for one in ids for letter, known in WORDS.items() if known == one)


class Runner:
    vocab_size, prefill_chunk = 5, 8

    def __init__(self, context: int = 8) -> None:
        self.max_context = context
        self.fed: list[int] = []

    def prefill(self, ids: Sequence[int], position: int) -> Any:
        self.fed = self.fed[:position] + list(ids)
        assert len(self.fed) <= self.max_context, "more than the cache holds"
        return np.log(TABLE[self.fed[-1]]).astype(np.float32) + 3.0  # logits have no norm

    def step(self, token: int, position: int) -> Any:
        assert position == len(self.fed), "positions follow one another"
        return self.prefill([token], position)

    def close(self) -> None:
        pass


def model(context: int = 8) -> ScoredRunner:
    return ScoredRunner(Runner(context), Codec(), frozenset({END}))  # type: ignore[arg-type]


def test_a_continuation_has_the_sum_of_its_tokens_log_probabilities() -> None:
    likely, other = model().score("a", "bc"), model().score("a", "cc")
    assert likely.logprob == pytest.approx(2 * math.log(0.8), abs=1e-5)
    assert likely.greedy
    assert other.logprob == pytest.approx(2 * math.log(0.05), abs=1e-5)
    assert not other.greedy


def test_an_empty_context_is_the_beginning_of_the_sequence() -> None:
    assert model().score("", "ab").logprob == pytest.approx(2 * math.log(0.8), abs=1e-5)


def test_a_longer_text_loses_its_beginning_or_is_cut_in_pieces() -> None:
    assert model(4).score("abcabca", "bc").logprob == pytest.approx(2 * math.log(0.8), abs=1e-5)
    with pytest.raises(UnsupportedError, match="context is 4"):
        model(4).score("a", "abcabc")
    whole = model(4).score_whole("abcabc")  # pieces of three tokens, each after the beginning
    assert whole == pytest.approx(6 * math.log(0.8), abs=1e-5)


def test_a_reply_ends_with_an_end_token_a_text_or_its_length() -> None:
    assert model().reply("a", (), 5) == "bc"
    assert model().reply("a", ("c",), 5) == "b"
    assert model().reply("a", (), 1) == "b"
    assert model(4).reply("abcabca", (), 3) == "bc"
