"""Log-likelihoods and greedy replies of a runner: what a benchmark asks of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import UnsupportedError
from ..prompt.codec import Codec
from ..prove.golden import log_softmax
from ..prove.runner import Runner


@dataclass(frozen=True)
class Scored:
    """A continuation's score.

    Attributes:
        logprob: The sum of its tokens' log-probabilities, in nats.
        greedy: Whether each of them is the most likely one.
    """

    logprob: float
    greedy: bool


class Model(Protocol):
    """A model of which the tokenizer is known; see ``ScoredRunner``."""

    codec: Codec

    def score(self, context: str, continuation: str) -> Scored:
        """Score a continuation of a context."""

    def score_whole(self, text: str) -> float:
        """Return the log-likelihood of a text, in nats."""

    def reply(self, context: str, until: Sequence[str], most: int) -> str:
        """Return the greedy continuation of a context."""


class ScoredRunner:
    """A runner with its tokenizer.

    Args:
        runner: The loaded program, or the float model as a runner.
        codec: Its tokenizer and template.
        stop: Token ids that end a reply.
    """

    def __init__(self, runner: Runner, codec: Codec, stop: frozenset[int]) -> None:
        self._runner, self.codec, self._stop = runner, codec, stop

    def score(self, context: str, continuation: str) -> Scored:
        """Score a continuation of a context; of texts longer than the KV cache, the beginning is left out.

        Args:
            context: May be empty: then the beginning-of-sequence token is what it continues.
            continuation: What is scored.

        Raises:
            UnsupportedError: The continuation alone doesn't fit into the KV cache.
        """
        spaces = len(context) - len(context.rstrip())
        if spaces:  # tokens begin with the space, as lm-evaluation-harness' own models have it
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        start, whole = self._encode(context), self._encode(context + continuation)
        return self._scored(whole, max(1, len(start)))

    def score_whole(self, text: str) -> float:
        """Return the log-likelihood of a text, in nats; one longer than the KV cache is scored in pieces."""
        ids, total = self._encode(text), 0.0
        first, room = ids[:1], self._runner.max_context - 1
        for at in range(1, len(ids), room):
            total += self._scored([*first, *ids[at : at + room]], 1).logprob
        return total

    def reply(self, context: str, until: Sequence[str], most: int) -> str:
        """Return the greedy continuation of a context, up to an end token, a text of ``until``, or ``most`` tokens.

        Args:
            context: The prompt; its beginning is left out if it doesn't fit.
            until: Texts that end the reply and are not part of it.
            most: Tokens.
        """
        room = self._runner.max_context
        most = min(most, room - 1)
        ids = self._encode(context)[-(room - most) :]
        made: list[int] = []
        logits = self._runner.prefill(ids, 0)
        while len(made) < most:
            token = int(logits.argmax())
            if token in self._stop:
                break
            made.append(token)
            text = self.codec.decode(made)
            ends = [at for end in until if end and (at := text.find(end)) >= 0]
            if ends:
                return text[: min(ends)]
            if len(made) < most:
                logits = self._runner.step(token, len(ids) + len(made) - 1)
        return self.codec.decode(made)

    def _encode(self, text: str) -> list[int]:
        """The ids of a text, with the beginning-of-sequence token unless the text has it."""
        ids = self.codec.encode(text, add_special_tokens=True)
        plain = self.codec.encode(text)
        return plain if len(plain) > 0 and ids[:2] == [plain[0], plain[0]] else ids

    def _scored(self, ids: list[int], start: int) -> Scored:
        """The score of ``ids[start:]``."""
        room = self._runner.max_context
        count = len(ids) - start
        if count >= room:
            raise UnsupportedError(
                f"A text of {count} tokens is to be scored, and the bundle's context is {room}.",
                hint="Export the bundle with a longer --context.",
            )
        ids = ids[-room:] if len(ids) > room else ids
        start = len(ids) - count
        total, greedy = 0.0, True
        logits = self._runner.prefill(ids[:start], 0)
        for at in range(start, len(ids)):
            row = log_softmax(logits)
            total += float(row[ids[at]])
            greedy = greedy and int(row.argmax()) == ids[at]
            if at + 1 < len(ids):
                logits = self._runner.step(ids[at], at)
        return Scored(total, greedy)
