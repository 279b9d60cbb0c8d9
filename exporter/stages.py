"""What one stage hands to the next: frozen, and free of any runtime or torch.

checkpoint -> plan -> reference -> graph -> quantize -> lower -> pack -> prove -> publish
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .following import Ask, Followed, Sink

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class Runner(Protocol):
    """A loaded program with its KV cache, behind whichever runtime it was made for.

    Positions are absolute; a call at position 0 starts a new conversation.
    """

    vocab_size: int
    max_context: int
    prefill_chunk: int

    def prefill(self, ids: Sequence[int], position: int) -> FloatArray:
        """Feeds ``ids`` from ``position`` on, in chunks; returns the logits [V] float32 of the last."""

    def step(self, token: int, position: int) -> FloatArray:
        """Feeds one token; returns its logits [V] float32."""

    def close(self) -> None:
        """Frees the program."""


class Reference(Protocol):
    """The float model (transformers, float32): the oracle that goldens are made with."""

    vocab_size: int

    def follow(
        self, asks: Sequence[Ask], stop: frozenset[int], sinks: Sequence[Sink], progress: Progress | None = None
    ) -> list[Followed]:
        """Greedy replies to all prompts, and the logits behind them; see ``following.follow``.

        Args:
            asks: the prompts.
            stop: ids that end a reply.
            sinks: one for each prompt; takes the logits from the ask's ``start`` on, in any order of prompts.
            progress: told how much is done.
        """


class Progress(Protocol):
    """Where stages say how far they are."""

    def stage(self, name: str) -> None:
        """A new stage begins."""

    def update(self, done: float, total: float, what: str = "") -> None:
        """``done`` of ``total`` units of the present stage."""

    def note(self, text: str) -> None:
        """Something the user should know; not an error."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str) -> None:
        """A new stage begins."""

    def update(self, done: float, total: float, what: str = "") -> None:
        """``done`` of ``total`` units of the present stage."""

    def note(self, text: str) -> None:
        """Something the user should know; not an error."""


@dataclass(frozen=True)
class Gate:
    """The limits that a bundle must keep; None where a figure has no limit.

    KL divergences are in nats; ``max_logit_diff`` in logits; rates in 0..1.
    ``reason`` says why the limits are what they are.
    """

    mean_kl: float | None = None
    p99_kl: float | None = None
    top1: float | None = None
    perplexity_ratio: float | None = None
    max_logit_diff: float | None = None
    tool_calls: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Scheme:
    """How one tensor is stored and multiplied.

    weight: 'float32', 'int8' or 'int4', symmetric. group: elements per scale along the reduction
    dimension, 0 for one scale per output channel. activation: 'float32' or 'int8-dynamic'.
    """

    name: str
    weight: str
    group: int = 0
    activation: str = "float32"

    def __str__(self) -> str:
        group = f" by {self.group}" if self.group else ""
        activation = "" if self.activation == "float32" else f", {self.activation}"
        return f"{self.weight}{group}{activation}"


@dataclass(frozen=True)
class Rule:
    """The first rule whose ``match`` (a regular expression, full match) fits a module's name decides."""

    match: str
    scheme: Scheme
    reason: str = ""


@dataclass(frozen=True)
class Recipe:
    name: str
    description: str
    rules: tuple[Rule, ...]
    gate: Gate
    path: Path | None = None


@dataclass(frozen=True)
class LitertChoices:
    """What a target chooses for LiteRT alone; None takes the target's own value.

    prefill_lengths: prompt tokens of each prefill signature, ascending. dynamic_shape: one prefill signature of any
    length instead. context: slots of the KV cache.
    """

    prefill_lengths: tuple[int, ...] = (128,)
    dynamic_shape: bool = False
    recipe: str | None = None
    context: int | None = None


@dataclass(frozen=True)
class Target:
    """A kind of device, as its TOML file has it. ``choices`` explains each value to a reader.

    memory_bandwidth: GB/s; compute: int8 GOP/s; both rough, for ``gemcut plan``.
    """

    name: str
    description: str
    architecture: str
    system: str
    runtimes: tuple[str, ...]
    recipe: str
    delegate: str
    context: int
    prefill_chunk: int
    oldest_runtime: dict[str, str]
    choices: dict[str, str]
    memory_bandwidth: float = 0.0
    compute: float = 0.0
    path: Path | None = None
    litert: LitertChoices | None = None


@dataclass(frozen=True)
class Lowered:
    """A program on disk and what it needs of a runtime.

    operators: what it calls outside delegates, with overload (LiteRT: with version). kernels: all that the runtime must
    have registered for it, the runtime's own scalar operators included. delegates: backend id -> number of calls.
    delegated_macs: share of a decode step's multiply-accumulates, with a full cache,
    that run inside a delegate, 0..1.
    tensors: bytes of the program by tensor class ('embedding', 'linear', 'norm', ...). quantized: how many of them are.
    schemes: by tensor class, how many are stored in which way ('int4 by 32, int8-dynamic').
    """

    runtime: str
    runtime_version: str
    program: Path
    operators: tuple[str, ...]
    delegates: dict[str, int]
    vocab_size: int
    context: int
    prefill_chunk: int
    quantized: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, int] = field(default_factory=dict)
    schemes: dict[str, dict[str, int]] = field(default_factory=dict)
    delegated_macs: float = 0.0
    kernels: tuple[str, ...] = ()
    facts: dict[str, str | int | float] = field(default_factory=dict)


OpenRunner = Callable[[Path], Runner]
