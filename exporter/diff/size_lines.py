"""Sizes of two bundles as data: files, sections and classes of tensors, in bytes.

Everywhere ``a`` is the bundle that was named first (the old one), ``b`` the second (the new one).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SizeLine:
    """A file, or a section inside the program's file.

    Attributes:
        name: Its name.
        a: Its size in the first bundle; null if it isn't there.
        b: Its size in the second bundle; null if it isn't there.
        same: Whether it is the same, byte by byte.
    """

    name: str
    a: int | None
    b: int | None
    same: bool


@dataclass(frozen=True)
class Sizes:
    """Sizes by file and by section of the program's file.

    Attributes:
        a: The size of all files of the first bundle.
        b: The size of all files of the second bundle.
        program_a: The size of the first bundle's program.
        program_b: The size of the second bundle's program.
        files: The files.
        sections: The sections of a ``.litertlm``, or graph and segments of a ``.pte``.
    """

    a: int
    b: int
    program_a: int
    program_b: int
    files: tuple[SizeLine, ...]
    sections: tuple[SizeLine, ...]


@dataclass(frozen=True)
class TensorLine:
    """A class of tensors in both programs.

    Attributes:
        name: The class.
        bytes_a: Its size in the first bundle; null if it isn't there.
        bytes_b: Its size in the second bundle; null if it isn't there.
        schemes_a: How many tensors are stored in which way in the first bundle.
        schemes_b: How many tensors are stored in which way in the second bundle.
    """

    name: str
    bytes_a: int | None
    bytes_b: int | None
    schemes_a: dict[str, int]
    schemes_b: dict[str, int]
