"""What one stage hands to the next: frozen, and free of any runtime or torch.

checkpoint -> plan -> reference -> graph -> quantize -> lower -> pack -> prove -> publish
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..prompt.chats import Prompt
from ..prove.golden_generation import LogitsFile
from ..runtimes.base import Lowered


@dataclass(frozen=True)
class Goldens:
    """files: by name in the bundle. logits: opens the float model's logits [N, V] of all scored positions.

    prompts: what it was asked.
    """

    files: dict[str, bytes]
    logits: Callable[[], LogitsFile]
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True)
class Built:
    """A program before it is packed. parameters: of the float model."""

    lowered: Lowered
    parameters: int
