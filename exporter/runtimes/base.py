"""What every runtime offers: one module per runtime behind this Protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..prove.runner import Runner
from ..quantize.recipe import Recipe
from ..util.progress import Progress

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..bundle.reader import Bundle
    from ..modeling.kv_cache import CacheSpec
    from ..prove.behaviour import Check
    from ..prove.golden import Golden, Recorded
    from ..util.stage_clock import Clock


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


# Tables of what is inside a program's file: a heading each, and rows.
Layout = tuple[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]], ...]


@dataclass(frozen=True)
class Shape:
    """The lengths of a program, in tokens.

    context: prompt and reply together. prefill: of each prefill signature, ascending; a runtime whose programs take
    any number of tokens at once has one, the most. dynamic: the prefill takes any number up to the longest.
    """

    context: int
    prefill: tuple[int, ...]
    dynamic: bool = False


@dataclass(frozen=True)
class Order:
    """What a runtime is asked to make.

    config: transformers' text configuration. stop_ids, bos_id: the checkpoint's.
    """

    config: Any
    recipe: Recipe
    shape: Shape
    cache: CacheSpec
    stop_ids: tuple[int, ...]
    bos_id: int | None


@dataclass(frozen=True)
class Contents:
    """What a runtime may put into its program's file beside the program.

    manifest: its bytes. files: of the bundle, by name, to be embedded. folder: the checkpoint's. tokenizer: as
    transformers loaded it. template: the chat template; None for a base model. text_type: the text part's model type.
    probes: texts that every tokenizer of the bundle must cut alike.
    """

    manifest: bytes
    files: Mapping[str, Path]
    folder: Path
    tokenizer: Any
    template: str | None
    text_type: str
    context: int
    vocab_size: int
    stop_ids: tuple[int, ...]
    generation: Mapping[str, Any] = field(default_factory=dict)
    probes: Sequence[str] = ()


class Runtime(Protocol):
    """A runtime that bundles can be made for."""

    name: str
    program_name: str
    embeds_manifest: bool
    libraries: tuple[str, ...]

    def version(self) -> str:
        """The installed version; raises LackingError with the command that installs it."""

    def check(self, config: Any, recipe: Recipe, oldest: str | None = None) -> None:
        """Refuses, from shapes alone, what this runtime would ignore or can't run; raises UnsupportedError.

        oldest: the target's ``oldest_runtime``; refused where nothing is known of so old a release.
        """

    def cache(self, config: Any, shape: Shape) -> CacheSpec:
        """The KV cache of a program of that shape."""

    def build(self, order: Order, model: Any, work: Path, clock: Clock) -> Lowered:
        """Makes the program in ``work``. ``model``, transformers' in float32, is used up."""

    def examine(self, lowered: Lowered) -> Lowered:
        """Adds what only running it tells of a program; called when the float model is gone, to save its memory."""

    def refuse_lacking(self, lowered: Lowered, oldest: str | None) -> None:
        """Refuses a program that release ``oldest`` can't load for want of an operator, a backend or a delegate's node.

        None, where the target names none, refuses nothing. Raises UnsupportedError that names what is lacking.
        """

    def oldest_loading(self, program: Path, manifest: Manifest) -> str | None:
        """The oldest release, of those that are known here, with all that a bundle's program needs; None for none."""

    def package(self, lowered: Lowered, contents: Contents, out: Path, progress: Progress) -> tuple[str, ...]:
        """Writes the file that ships to ``out``; returns notes for the user."""

    def same_program(self, proven: Path, sealed: Path) -> None:
        """Checks that what runs of two files is the same, byte for byte; raises ConformanceError."""

    def layout(self, program: Path) -> Layout:
        """What is inside the program's file beyond what the manifest says; reads, runs nothing."""

    def preload(self) -> None:
        """Imports what ``open`` needs, so that opening can be timed on its own."""

    def open(self, program: Path, threads: int | None = None) -> Runner:
        """Loads a program from disk in the runtime itself."""

    def measure(self, job: Job, runs: int, progress: Progress) -> list[Run] | None:
        """Speed and memory through the engine that apps call; None where that is what ``open`` gives."""

    def second_leg(
        self, bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """Proves the bundle in what apps call the runtime through, where that is more than ``open`` runs."""


@dataclass(frozen=True)
class Job:
    """What one run measures. work: a folder for scratch files; None for a temporary one."""

    runtime: str
    program: str
    prompts: tuple[int, ...]
    steps: int
    threads: int | None
    work: str | None = None


@dataclass(frozen=True)
class Run:
    """What one run found: seconds, and bytes resident. written: bytes that the runtime wrote beside the program."""

    load: float
    prefill: tuple[float, ...]
    decode: float
    memory_before: int
    peak_memory: int
    written: int = 0
