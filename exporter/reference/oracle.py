"""The interface of the float model that goldens are made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..util.progress import Progress

if TYPE_CHECKING:
    from .greedy import Ask, Followed, Sink


class Reference(Protocol):
    """The float model (transformers, float32): the oracle that goldens are made with."""

    vocab_size: int

    def follow(
        self, asks: Sequence[Ask], stop: frozenset[int], sinks: Sequence[Sink], progress: Progress | None = None
    ) -> list[Followed]:
        """Greedy replies to all prompts, and the logits behind them; see ``reference.greedy.follow``.

        Args:
            asks: the prompts.
            stop: ids that end a reply.
            sinks: one for each prompt; takes the logits from the ask's ``start`` on, in any order of prompts.
            progress: told how much is done.
        """
