"""Values that are made when they are first asked for, and never if nobody asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    """Something large that a resumed export may not need at all, such as the float model.

    Args:
        make: Makes the value; called at most once between two calls of ``drop``.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []

    def get(self) -> T:
        """Return the value, making it first if need be."""
        if not self._made:
            self._made.append(self._make())
        return self._made[0]

    def drop(self) -> None:
        """Forget the value, so that its memory is free."""
        self._made.clear()
