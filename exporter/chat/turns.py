"""What was said in a conversation with a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..prompt.toolcalls import ToolCall
from .sampling import Sampling

Ended = Literal["stop", "length", "context", "interrupted"]


@dataclass(frozen=True)
class ToolResult:
    """What a tool gave back.

    Attributes:
        name: The tool's name.
        content: Text, or any other JSON value.
    """

    name: str
    content: Any


@dataclass(frozen=True)
class Turn:
    """One message and its reply.

    Attributes:
        user: The message; empty where results were given instead.
        reply: The reply without thoughts, if the bundle's prompt.json says what those stand in.
        tokens: The reply's length in tokens.
        fed: How many of the prompt's tokens had to be fed.
        reused: How many of the prompt's tokens the cache still held.
        prefill_seconds: The time for the prompt.
        decode_seconds: The time for the reply's own tokens.
        ended: What ended the reply: a stop token, the limit on new tokens, a full context, or the user.
        thoughts: The reply's thoughts.
        calls: The tool calls in the reply; none if one of them is malformed.
        results: The results of the calls before, if the reply is to those.
    """

    user: str
    reply: str
    tokens: int
    fed: int
    reused: int
    prefill_seconds: float
    decode_seconds: float
    ended: Ended
    thoughts: str = ""
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()

    @property
    def rate(self) -> float:
        """Decoded tokens per second; 0 before there are any."""
        return self.tokens / self.decode_seconds if self.decode_seconds else 0.0


@dataclass(frozen=True)
class ChatLog:
    """``gemcut chat --json``.

    Attributes:
        bundle: The bundle's path.
        proven: Whether the bundle is proven.
        sampling: How each token was chosen.
        turns: The messages and their replies.
    """

    bundle: str
    proven: bool
    sampling: Sampling
    turns: tuple[Turn, ...]
