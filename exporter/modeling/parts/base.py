"""What every part of a model offers: a text decoder, and encoders beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import nn


class Part(ABC):
    """A part of a transformers model, free of any runtime.

    Attributes:
        name: What the part is called in the registry.
    """

    name: ClassVar[str]

    @abstractmethod
    def empty(self, config: Any) -> nn.Module:
        """Return transformers' module of the part without weights, on torch's meta device.

        Args:
            config: transformers' configuration of the part.
        """

    @abstractmethod
    def checked(self, config: Any, runtime: str) -> nn.Module:
        """Return ``empty(config)`` after checking that Gemcut knows everything that the module does.

        Args:
            config: transformers' configuration of the part.
            runtime: The runtime that it is for, for messages.

        Raises:
            UnsupportedError: The configuration asks for what none of Gemcut's graphs has; the message names it.
        """
