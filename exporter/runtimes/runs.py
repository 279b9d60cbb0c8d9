"""What one run of a program measures, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """What one run measures.

    Attributes:
        runtime: The runtime's name.
        program: Path of the program's entry.
        prompts: Lengths of the prompts, in tokens; each begins with an empty cache.
        generations: How many tokens are generated one by one, each time after ``depth`` tokens.
        threads: Threads to use; None for the runtime's own choice.
        depth: Tokens that are in the cache before a generation. What can't begin without a prompt is given one token.
        work: A folder for scratch files; None for a temporary one.
    """

    runtime: str
    program: str
    prompts: tuple[int, ...]
    generations: tuple[int, ...]
    threads: int | None
    depth: int = 0
    work: str | None = None


@dataclass(frozen=True)
class Run:
    """What one run found. Times in seconds; memory in bytes, as ``util.process_memory.MemoryUse`` has it.

    Attributes:
        load: From the program's file to a method that can be called.
        prefill: Of each prompt.
        decode: Of each generation.
        memory_before: What the process had resident before the program was opened.
        peak_memory: The most that was resident because of the program: without ``memory_before``.
        own_memory: What of it no file backs; None if the system doesn't say.
        mapped_memory: What of it is mapped from files; None if the system doesn't say.
        written: Bytes that the runtime wrote beside the program.
    """

    load: float
    prefill: tuple[float, ...]
    decode: tuple[float, ...]
    memory_before: int
    peak_memory: int
    own_memory: int | None = None
    mapped_memory: int | None = None
    written: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Run:
        """Return the run that another process wrote as JSON."""
        return cls(**{**values, "prefill": tuple(values["prefill"]), "decode": tuple(values["decode"])})
