"""What the stages of an export pass to each other: frozen, and independent of any runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..bundle.manifest import CalibrationRecord, Manifest
from ..prompt.chats import Prompt
from ..prove.golden import Golden
from ..prove.golden_generation import LogitsFile
from ..runtimes.program import Program
from .evidence import Evidence


@dataclass(frozen=True)
class Goldens:
    """The float model's side of the proof.

    Attributes:
        records: A golden for each prompt.
        files: The contents of the files that go into the bundle, by name.
        logits: Opens the float model's logits [N, V] of all scored positions.
        prompts: The prompts that the model was given.
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
        notes: What it can't express of the template, and why.
    """

    data: bytes
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """A program before it is packed.

    Attributes:
        program: The program.
        parameters: The number of parameters of the float model.
        calibration: What its weights were chosen by; None without calibration.
    """

    program: Program
    parameters: int
    calibration: CalibrationRecord | None = None


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
        manifest: The manifest without figures and verdict.
    """

    program: Program
    manifest: Manifest


@dataclass(frozen=True)
class Proven:
    """A bundle that has been run, whatever the result.

    Attributes:
        packed: What was run.
        manifest: The manifest with figures, verdict, and what devices did.
        evidence: Everything that was found out.
    """

    packed: Packed
    manifest: Manifest
    evidence: Evidence


@dataclass(frozen=True)
class Sealed:
    """A bundle with all of its files, ready to be published.

    Attributes:
        manifest: The manifest as it is published.
        evidence: Everything that was found out.
    """

    manifest: Manifest
    evidence: Evidence
