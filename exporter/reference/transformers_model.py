"""The float model that goldens are made with: transformers' own forward, in float32, without any adaptation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..util.arrays import FloatArray
from ..util.progress import Progress
from .greedy import Decoded, DecodeRequest, Sink, greedy_decode

if TYPE_CHECKING:
    import torch

# Bytes of key-value caches that may be in memory at once: those of short prompts of any model, and of a large one about
# what its bundle takes while it is proven (int4: half a byte for each parameter).
CACHES = 500e6
CACHES_OF_PARAMETER = 0.5


class TransformersReference:
    """The ``reference.oracle.Reference`` that runs transformers.

    Args:
        model: A causal language model of transformers, not adapted; matrices that aren't float32 are converted as they
            are used.

    Attributes:
        vocab_size: Logits of a position.
    """

    def __init__(self, model: Any) -> None:
        self._model = model.eval()
        self.vocab_size = int(model.config.vocab_size)

    def logits(self, ids: Sequence[int], first: int = 0) -> FloatArray:
        """Return the teacher-forced logits of the positions ``first`` and later, computed without a cache.

        Args:
            ids: The token ids of a whole text.
            first: The first position.

        Returns:
            Logits, float32 [len(ids) - first, V].
        """
        import torch

        from .upcast import float32_at_use

        with torch.inference_mode(), float32_at_use(self._model):
            out = self._model(input_ids=torch.tensor([list(ids)]), use_cache=False, logits_to_keep=len(ids) - first)
        return _array(out.logits)

    def decode(
        self,
        asks: Sequence[DecodeRequest],
        stop: frozenset[int],
        sinks: Sequence[Sink],
        progress: Progress | None = None,
    ) -> list[Decoded]:
        """Decode all prompts side by side (see ``lockstep``), each with its own cache; see ``Reference``."""
        from .lockstep import Lockstep

        groups = list(_groups(asks, self._cache_bytes, self._most_cached()))
        done = _Done(self._model, [[asks[at] for at in group] for group in groups], progress)
        out: list[Decoded] = []
        for group in groups:
            side_by_side = Lockstep(self._model, done.add)
            out += side_by_side.run([self._task(asks[at], stop, sinks[at], done) for at in group])
        return out

    def _task(self, ask: DecodeRequest, stop: frozenset[int], sink: Sink, done: _Done) -> Callable[[], Decoded]:
        def task() -> Decoded:
            import torch

            cache = None

            def forward(ids: Sequence[int], keep: int) -> FloatArray:
                nonlocal cache
                out = self._model(
                    input_ids=torch.tensor([list(ids)]), past_key_values=cache, use_cache=True, logits_to_keep=keep
                )
                cache = out.past_key_values
                done.write()
                return _array(out.logits)

            followed = greedy_decode(ask, stop, forward, sink)
            done.finish(ask, followed)
            return followed

        return task

    def _cache_bytes(self, ask: DecodeRequest) -> int:
        from ..modeling.kv_cache import cache_spec

        longest = max(len(ask.ids) + ask.room, ask.scored + 1)
        return cache_spec(self._model.config, longest, longest).bytes

    def _most_cached(self) -> float:
        parameters: int = sum(p.numel() for p in self._model.parameters())
        return CACHES + CACHES_OF_PARAMETER * parameters


class _Done:
    """How much of the work is done, in rows times elements of matrices; replies that end early make it less."""

    def __init__(self, model: Any, groups: Sequence[Sequence[DecodeRequest]], progress: Progress | None) -> None:
        from .lockstep import elements

        self._progress = progress
        self._body, self._head = elements(model)
        # The most tokens after each prompt, of those that run side by side; once it has ended, those that came.
        self._after = [{id(ask): ask.room for ask in group} for group in groups]
        asks = [ask for group in groups for ask in group]
        self._rows = sum(len(ask.ids) + ask.room for ask in asks)
        self._scored = sum(len(ask.ids) - ask.start + ask.room for ask in asks)
        self._done, self._written, self._ended, self._of = 0.0, 0, 0, len(asks)
        self._total = self._all()

    def add(self, work: float) -> None:
        """Count a product, in rows times elements of its matrix."""
        self._done += work
        if self._progress is not None:
            counts = f"{self._written} tokens written, {self._ended} of {self._of} prompts done"
            what = counts if self._written else "reading the prompts"
            self._progress.update(min(self._done, self._total), self._total, what)

    def write(self) -> None:
        """Count a token."""
        self._written += 1

    def finish(self, ask: DecodeRequest, followed: Decoded) -> None:
        """Take what a prompt spares that has ended before its room did."""
        spared = max(0, len(ask.ids) + ask.room - len(followed.ids))
        self._ended, self._rows, self._scored = self._ended + 1, self._rows - spared, self._scored - spared
        for after in self._after:
            if id(ask) in after:
                after[id(ask)] -= spared
        self._total = self._all()
        self.add(0)

    def _all(self) -> float:
        """All of the work.

        Each of a step's matrices is read once; the head more often, if a few prompts' logits are made at a time.
        """
        from .lockstep import READING

        steps = sum(1 + max(after.values(), default=0) for after in self._after)
        reading = READING * (steps * self._body + (steps + self._of) * self._head)
        return self._rows * self._body + self._scored * self._head + reading


def _array(logits: torch.Tensor) -> FloatArray:
    return np.asarray(logits[0].float().numpy(), dtype=np.float32)


def _groups(asks: Sequence[DecodeRequest], size: Callable[[DecodeRequest], int], most: float) -> Iterator[range]:
    """Prompts, in their order, whose caches take ``most`` bytes together; as many in each group."""
    sizes = [size(ask) for ask in asks]
    groups = max(1, math.ceil(sum(sizes) / most))
    first, held = 0, 0.0
    for at, each in enumerate(sizes):
        if at > first and held + each > sum(sizes) / groups:
            yield range(first, at)
            first, held = at, 0.0
        held += each
    if asks:
        yield range(first, len(asks))
