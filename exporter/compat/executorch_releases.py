"""What ExecuTorch's releases have registered: one TOML file per release under ``versions/``, data only.

A program asks for kernels by name and overload, and for backends by name; a runtime that lacks one refuses to load it
(errors 0x14 and 0x20). Builds of one release may differ, so each file says which library it was read from.

``python -m gemcut.runtimes.executorch.release_lists SOURCE LIBRARY... < facts.json`` writes such a file to stdout;
``facts.json`` is what a golden runner that is linked with the library prints for ``facts`` (see ``prove.wire``).
Without a ``LIBRARY`` it writes what the installed Python runtime has.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from packaging.version import Version
from pydantic import Field

from ..config import toml_file as datafile
from ..errors import UnsupportedError

_FOLDER = "versions"
_KIND = "runtime version"


class VersionFile(datafile.DataFile):
    """The contents of such a TOML file, which is named for the release."""

    source: str = Field(min_length=1, description="Where the library comes from, and how it was read.")
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        min_length=1, description="SHA-256 of each library that the lists were read from, by its name in the source."
    )
    backends: tuple[str, ...] = Field(description="Names that a program's delegates may have.")
    kernels: tuple[str, ...] = Field(min_length=1, description="Names with overload that a program may call.")


@dataclass(frozen=True)
class RuntimeVersion:
    """A release of ExecuTorch.

    Attributes:
        version: The release's number.
        kernels: Names, with overload, of the kernels that it has registered.
        backends: Names of the backends that it has registered.
        source: Where the library comes from, and how it was read.
        files: SHA-256 of each library that was read, by its name in the source.
    """

    version: str
    kernels: frozenset[str]
    backends: frozenset[str]
    source: str
    files: dict[str, str]


@functools.cache
def known() -> tuple[RuntimeVersion, ...]:
    """Return every release that Gemcut has lists for, the oldest first."""
    found = []
    for name, path in datafile.shipped(__package__, _FOLDER).items():
        read = datafile.read(path, VersionFile, _KIND)
        found.append(RuntimeVersion(name, frozenset(read.kernels), frozenset(read.backends), read.source, read.files))
    return tuple(sorted(found, key=lambda each: Version(each.version)))


def oldest_fitting(version: str) -> RuntimeVersion:
    """Return the newest known release that isn't newer than ``version``, which has all that the known one has.

    Raises:
        UnsupportedError: Every known release is newer.
    """
    older = [each for each in known() if Version(each.version) <= Version(version)]
    if not older:
        names = ", ".join(each.version for each in known())
        raise UnsupportedError(
            f"oldest_runtime names ExecuTorch {version}, which is older than any release with known operators.",
            hint=f"Name a known release ({names}) or a later one in the target's file.",
        )
    return older[-1]


def lacking_kernels(kernels: Iterable[str], version: RuntimeVersion) -> tuple[str, ...]:
    """Return those of ``kernels`` (names with overload) that the release hasn't registered, sorted."""
    return tuple(sorted(set(kernels) - version.kernels))


def lacking_backends(backends: Iterable[str], version: RuntimeVersion) -> tuple[str, ...]:
    """Return those of ``backends`` (such as ``XnnpackBackend``) that the release hasn't registered, sorted."""
    return tuple(sorted(set(backends) - version.backends))


def oldest_with(kernels: Iterable[str], backends: Iterable[str]) -> RuntimeVersion | None:
    """Return the oldest known release that has all of these; None if none has."""
    kernels, backends = set(kernels), set(backends)
    return next((each for each in known() if kernels <= each.kernels and backends <= each.backends), None)


def refuse_lacking(kernels: Iterable[str], backends: Iterable[str], oldest: str) -> None:
    """Refuse a program that ExecuTorch ``oldest`` can't load.

    Args:
        kernels: Names, with overload, of the kernels that the program calls outside delegates.
        backends: Names of its delegates.
        oldest: A target's ``oldest_runtime.executorch``.

    Raises:
        UnsupportedError: The release lacks a kernel or a backend (the message names them all), or is older than any
            known one.
    """
    kernels, backends = set(kernels), set(backends)
    release = oldest_fitting(oldest)
    missing = [f"operator {name}" for name in lacking_kernels(kernels, release)]
    missing += [f"backend {name}" for name in lacking_backends(backends, release)]
    if not missing:
        return
    judged_by = "" if release.version == oldest else f" (judged by {release.version}, the nearest known release)"
    newer = oldest_with(kernels, backends)
    if newer is None:
        hint = f"No known release, up to {known()[-1].version}, has all of them; please report it."
    else:
        hint = (
            f"ExecuTorch {newer.version} has all that the program needs. If every app ships that release or a later "
            f"one, use your own target file (--target FILE.toml) with executorch = "
            f'"{newer.version}" under [oldest_runtime].'
        )
    raise UnsupportedError(
        f"The program needs what ExecuTorch {oldest}, the target's oldest_runtime, lacks{judged_by}: "
        f"{', '.join(missing)}.",
        hint=hint,
    )
