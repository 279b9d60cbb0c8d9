"""What the stages of an export hand to each other: frozen, and free of any runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..bundle.manifest import Manifest
from ..prompt.chats import Prompt
from ..prove.golden import Golden
from ..prove.golden_generation import LogitsFile
from ..runtimes.program import Program
from .evidence import Evidence


@dataclass(frozen=True)
class Goldens:
    """The float model's side of the proof.

    Attributes:
        records: One for each prompt.
        files: As they go into the bundle, by name.
        logits: Opens the float model's logits [N, V] of all scored positions.
        prompts: What the model was asked.
    """

    records: tuple[Golden, ...]
    files: dict[str, bytes]
    logits: Callable[[], LogitsFile]
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True)
class CompiledPrompt:
    """The chat template, compiled.

    Attributes:
        data: The bytes of ``prompt.json``.
        notes: What of the template it can't say, and why.
    """

    data: bytes
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """A program before it is packed.

    Attributes:
        program: The program.
        parameters: Of the float model.
    """

    program: Program
    parameters: int


@dataclass(frozen=True)
class Shared:
    """What all bundles of an export share.

    Attributes:
        goldens: The float model's side of the proof.
        prompt: The chat template, compiled.
    """

    goldens: Goldens
    prompt: CompiledPrompt


@dataclass(frozen=True)
class Packed:
    """A bundle with its program in the form that ships.

    Attributes:
        program: The program, as it was built and examined.
        manifest: All of it but figures and verdict.
    """

    program: Program
    manifest: Manifest


@dataclass(frozen=True)
class Proven:
    """A bundle that has been run, whatever came out.

    Attributes:
        packed: What was run.
        manifest: With figures, verdict, and what devices did.
        evidence: All that was found out.
    """

    packed: Packed
    manifest: Manifest
    evidence: Evidence


@dataclass(frozen=True)
class Sealed:
    """A bundle with all of its files, ready to be published.

    Attributes:
        manifest: As it is published.
        evidence: All that was found out.
    """

    manifest: Manifest
    evidence: Evidence
