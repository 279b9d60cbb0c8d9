"""What a conversation begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .sampling import GREEDY, Sampling


@dataclass(frozen=True)
class ChatOptions:
    """What a conversation begins with.

    Attributes:
        max_new: The greatest length of a reply in tokens.
        system: A system turn before all others; empty for none.
        tools: Declarations of what the model may call.
        thinking: Whether the model is to think before it answers; if None, the template's default holds.
        sampling: How each token is chosen.
        results: Whether tools' results will be given, so that the template needs a place for them.
    """

    max_new: int = 512
    system: str = ""
    tools: Sequence[dict[str, Any]] = ()
    thinking: bool | None = None
    sampling: Sampling = GREEDY
    results: bool = False
