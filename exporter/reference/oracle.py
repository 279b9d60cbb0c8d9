"""The interface of the float model that goldens are made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..util.progress import Progress

if TYPE_CHECKING:
    from .greedy import Decoded, DecodeRequest, Sink


class Reference(Protocol):
    """The float model (transformers, float32): the oracle that goldens are made with.

    Attributes:
        vocab_size: Logits of a position.
    """

    vocab_size: int

    def decode(
        self,
        asks: Sequence[DecodeRequest],
        stop: frozenset[int],
        sinks: Sequence[Sink],
        progress: Progress | None = None,
    ) -> list[Decoded]:
        """Reply greedily to all prompts, and hand over the logits behind the replies; see ``greedy_decode``.

        Args:
            asks: The prompts.
            stop: Ids that end a reply.
            sinks: One for each prompt; takes the logits from the ask's ``start`` on, in any order of prompts.
            progress: Told how much is done.

        Returns:
            The replies, in the order of ``asks``.
        """
