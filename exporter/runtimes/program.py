"""What is built and packed: programs of several methods in several files, and what they are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..prove.runner import Method

if TYPE_CHECKING:
    from ..modeling.kv_cache import CacheSpec
    from ..quantize.recipe import Recipe
    from ..quantize.stored import StoredWeights


ADAPTERS = "adapters/"  # the folder of adapters in a bundle


@dataclass(frozen=True)
class Shape:
    """The lengths of a program, in tokens.

    Attributes:
        context: Prompt and reply together.
        prefill: Tokens of each prefill, ascending; a runtime whose programs take any number of tokens at once has one
            length, the longest.
    """

    context: int
    prefill: tuple[int, ...]


@dataclass(frozen=True)
class BuildSpec:
    """What a runtime is asked to make.

    Attributes:
        config: transformers' text configuration.
        recipe: How each tensor is stored.
        shape: The program's lengths.
        cache: Its KV cache.
        stop_ids: The checkpoint's ids that end a reply.
        bos_id: The checkpoint's id that begins a text; None if it has none.
        delegates: Names of the delegates that run the matrix products, the first choice first.
        options: The value of each of the runtime's own options (``RuntimePlugin.options``), by name.
        adapters: Name -> folder of each adapter that stays apart from the weights; merged adapters aren't listed.
        weights: Weights whose stored values are chosen already, by module name; all others the runtime quantizes.
    """

    config: Any
    recipe: Recipe
    shape: Shape
    cache: CacheSpec
    stop_ids: tuple[int, ...]
    bos_id: int | None
    delegates: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    adapters: Mapping[str, Path] = field(default_factory=dict)
    weights: StoredWeights = field(default_factory=dict)


@dataclass(frozen=True)
class Artifacts:
    """The files of a program.

    Attributes:
        entry: Name of the file that a runtime opens; it finds the others beside it.
        files: Where each file lies, by its name in the bundle, ``entry`` among them: external data, further methods.
        adapters: Files of adapters that are chosen when the program runs, by the adapter's name.
    """

    entry: str
    files: Mapping[str, Path]
    adapters: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def single(cls, path: Path) -> Artifacts:
        """Return the artifacts of a program that is one file."""
        return cls(path.name, {path.name: path})

    @property
    def path(self) -> Path:
        """Where the entry lies."""
        return self.files[self.entry]

    def members(self) -> dict[str, Path]:
        """Return where each file lies, by its name in a bundle; adapters are in a folder of their own."""
        adapters = {f"{ADAPTERS}{name}{path.suffix}": path for name, path in self.adapters.items()}
        return {**self.files, **adapters}


@dataclass(frozen=True)
class Program:
    """A program on disk and what it needs of a runtime.

    Attributes:
        runtime: The runtime's name.
        runtime_version: The runtime's release that it was made with.
        artifacts: Its files, as they were built.
        operators: What it calls outside delegates, with overload (LiteRT: with version).
        delegates: Backend id -> number of calls.
        vocab_size: Tokens of the vocabulary.
        context: Tokens that the KV cache holds.
        prefill_chunk: Most tokens of one call.
        methods: Its methods; empty if the runtime tells them only once it is loaded.
        quantized: How many tensors of each class are quantized.
        tensors: Bytes of the program by tensor class ('embedding', 'linear', 'norm', ...).
        schemes: By tensor class, how many tensors are stored in which way ('int4 by 32, int8-dynamic').
        delegated_macs: Share of a decode step's multiply-accumulates, with a full cache, that run in a delegate, 0..1.
        kernels: All kernels that the runtime must have registered, including those for its own scalar operators.
        facts: Further figures, for reports only.
    """

    runtime: str
    runtime_version: str
    artifacts: Artifacts
    operators: tuple[str, ...]
    delegates: dict[str, int]
    vocab_size: int
    context: int
    prefill_chunk: int
    methods: tuple[Method, ...] = ()
    quantized: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, int] = field(default_factory=dict)
    schemes: dict[str, dict[str, int]] = field(default_factory=dict)
    delegated_macs: float = 0.0
    kernels: tuple[str, ...] = ()
    facts: dict[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """What a runtime may put into its program's files beside the program.

    Attributes:
        manifest: The manifest's bytes.
        files: Files of the bundle to embed, by name.
        folder: The checkpoint's folder.
        tokenizer: The tokenizer, as transformers loaded it.
        template: The chat template; None for a base model.
        text_type: The text part's model type.
        context: Tokens that the KV cache holds.
        vocab_size: Tokens of the vocabulary.
        stop_ids: Ids that end a reply.
        bos_id: The id that begins every prompt; None if none does.
        generation: The generation configuration.
        probes: Texts that every tokenizer of the bundle must cut into the same tokens.
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
    bos_id: int | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    probes: Sequence[str] = ()


@dataclass(frozen=True)
class Packaged:
    """A program as it ships.

    Attributes:
        artifacts: Its files, by their names in the bundle.
        notes: What the user should know about it.
    """

    artifacts: Artifacts
    notes: tuple[str, ...] = ()
