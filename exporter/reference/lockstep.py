"""Runs of one model on several inputs side by side, so that each of its matrices is read once for all of them.

Every run is the model's own forward on an input of its own, unpadded, in a coroutine (a greenlet). At each matrix
product it waits for the others; the products of those that wait for the same matrix are computed as one. So a
checkpoint in mapped files is read once for all prompts, layer by layer, and a matrix is converted to float32 once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from greenlet import getcurrent, greenlet

from .upcast import float32_at_use, product

Result = TypeVar("Result")
# Bytes of inputs or results of a product made in one go: logits of a large vocabulary are taken a few inputs at a time.
MOST = 1 << 27
# A product of n rows takes about as long as n + 40 of them in one of many: a matrix must be read and made float32.
READING = 40


@dataclass(frozen=True)
class _Waiting:
    """A product that a run waits for. x: [..., in]."""

    linear: Any
    x: torch.Tensor

    @property
    def rows(self) -> int:
        return self.x.numel() // self.x.shape[-1]


class Lockstep:
    """Several runs of one model, side by side.

    Args:
        model: In eval mode; matrices that aren't float32 are converted as they are used.
        told: Called after each product with the work that it was, in rows times elements of its matrix.
        observe: Called after each product with the linear, its inputs [rows, in] and its outputs [rows, out].
        most: Bytes of inputs or results of the products that are made in one go.
    """

    def __init__(
        self,
        model: Any,
        told: Callable[[float], None] | None = None,
        observe: Callable[[Any, torch.Tensor, torch.Tensor], None] | None = None,
        most: int = MOST,
    ) -> None:
        self._model = model
        self._told = told
        self._observe = observe
        self._most = most
        self._hub: Any = None

    def run(self, tasks: Sequence[Callable[[], Result]]) -> list[Result]:
        """Call all of ``tasks``, which may run the model.

        Args:
            tasks: Each runs in a coroutine of its own.

        Returns:
            What each task returned, in their order.

        Raises:
            Exception: Whatever a task raises; the others are ended.
        """
        results: list[Any] = [None] * len(tasks)
        runs = [greenlet(_kept(task, results, at)) for at, task in enumerate(tasks)]
        self._hub = getcurrent()
        try:
            with torch.inference_mode(), float32_at_use(self._model, self._product):
                waiting = {run: asked for run in runs if (asked := run.switch()) is not None}
                while waiting:
                    linear = next(iter(waiting.values())).linear
                    same = {run: asked for run, asked in waiting.items() if asked.linear is linear}
                    for group in _groups(same, self._most):
                        self._multiply(group, waiting)
        finally:
            for run in runs:
                if run:
                    run.throw()
        return results

    def _multiply(self, group: dict[Any, _Waiting], waiting: dict[Any, _Waiting]) -> None:
        """One product for all of ``group``; each of them goes on to its next one, or to its end."""
        linear = next(iter(group.values())).linear
        x = torch.cat([asked.x.reshape(-1, asked.x.shape[-1]) for asked in group.values()])
        out = product(linear, x)
        if self._observe is not None:
            self._observe(linear, x, out)
        parts = torch.split(out, [asked.rows for asked in group.values()])
        if self._told is not None:
            self._told((len(x) + READING) * linear.weight.numel())
        for (run, asked), part in zip(group.items(), parts, strict=True):
            del waiting[run]
            following = run.switch(part.view(*asked.x.shape[:-1], -1))
            if following is not None:
                waiting[run] = following

    def _product(self, linear: Any, x: torch.Tensor) -> torch.Tensor:
        if getcurrent() is self._hub:
            return product(linear, x)
        out: torch.Tensor = self._hub.switch(_Waiting(linear, x))
        return out


def elements(model: Any) -> tuple[int, int]:
    """Return the elements of all matrices that every row goes through, and of the head, which only some rows do."""
    head = model.get_output_embeddings()
    linears = [module for module in model.modules() if type(module).forward is torch.nn.Linear.forward]
    return sum(module.weight.numel() for module in linears if module is not head), head.weight.numel()


def _kept(task: Callable[[], Any], results: list[Any], at: int) -> Callable[[], None]:
    def run() -> None:
        results[at] = task()

    return run


def _groups(same: dict[Any, _Waiting], most: int) -> Iterator[dict[Any, _Waiting]]:
    """Groups of runs whose inputs and results take at most ``most`` bytes each; a larger one has its own group."""
    total, number, numbers = 0, 0, []
    for asked in same.values():
        size = 4 * asked.rows * max(asked.linear.weight.shape)
        if total and total + size > most:
            total, number = 0, number + 1
        total += size
        numbers.append(number)
    for _, group in itertools.groupby(zip(numbers, same.items(), strict=True), key=lambda pair: pair[0]):
        yield dict(item for _, item in group)
