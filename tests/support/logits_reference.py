"""The part of a float reference (``reference.oracle.Reference``) that follows from its logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from gemcut.reference.greedy import Decoded, DecodeRequest, Forward, Sink, greedy_decode
from gemcut.util.progress import Progress


class FollowsLogits(ABC):
    """``greedy_decode`` for a class that has ``logits``."""

    @abstractmethod
    def logits(self, ids: Sequence[int], first: int) -> npt.NDArray[np.float32]:
        """Logits [T - first, V] of the positions ``first`` and later."""

    def decode(
        self,
        asks: Sequence[DecodeRequest],
        stop: frozenset[int],
        sinks: Sequence[Sink],
        progress: Progress | None = None,
    ) -> list[Decoded]:
        return [greedy_decode(ask, stop, self._forward(), sink) for ask, sink in zip(asks, sinks, strict=True)]

    def _forward(self) -> Forward:
        fed: list[int] = []

        def forward(ids: Sequence[int], keep: int) -> npt.NDArray[np.float32]:
            fed.extend(ids)
            return self.logits(fed, len(fed) - keep)

        return forward
