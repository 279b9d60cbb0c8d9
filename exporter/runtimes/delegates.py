"""What every delegate offers: one module each in its runtime's folder, and one row in that folder's registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ..quantize.recipe import Scheme


class Delegate(ABC):
    """What runs the matrix products of a program in place of the runtime's own kernels.

    Each runtime has a subclass that says how a delegate is brought in; this is what they have in common.

    Attributes:
        name: What a target's ``delegate`` names.
        title: Its name in sentences.
        platforms: What it runs on, as ``system-architecture``; empty for every platform of its runtime.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    platforms: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def check_scheme(self, scheme: Scheme, columns: int, name: str, gathered: bool) -> None:
        """Check that the delegate, or the kernels beside it, take a weight in this scheme.

        Args:
            scheme: The scheme that the recipe gives the weight.
            columns: Elements of a row: the reduction dimension of a linear, the width of an embedding.
            name: The module's name, for the message.
            gathered: Whether the weight is an embedding.

        Raises:
            UnsupportedError: They don't; the message names the weight and what would fit.
        """
