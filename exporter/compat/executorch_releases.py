"""What ExecuTorch's releases have registered: one TOML file a release under ``versions/``, data only.

A program asks for kernels by name and overload, and for backends by name; a runtime that lacks one refuses to load it
(errors 0x14 and 0x20). Builds of one release may differ, so that each file says which library it was read from.

``python -m gemcut.compat.executorch_releases SOURCE LIBRARY... < facts.json`` writes such a file to stdout, where
``facts.json`` is what a golden runner that is linked with the library prints for ``facts`` (see ``devices.wire``).
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
    """What such a TOML file holds. Its name is the release."""

    source: str = Field(min_length=1, description="Where the library comes from, and how it was read.")
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        min_length=1, description="SHA-256 of each library that the lists were read from, by its name in the source."
    )
    backends: tuple[str, ...] = Field(description="Names that a program's delegates may have.")
    kernels: tuple[str, ...] = Field(min_length=1, description="Names with overload that a program may call.")


@dataclass(frozen=True)
class RuntimeVersion:
    """A release: the kernels and the backends that it has registered. files: SHA-256 by name, of what was read."""

    version: str
    kernels: frozenset[str]
    backends: frozenset[str]
    source: str
    files: dict[str, str]


@functools.cache
def known() -> tuple[RuntimeVersion, ...]:
    """Every release that Gemcut has lists of, the oldest first."""
    found = []
    for name, path in datafile.shipped(__package__, _FOLDER).items():
        read = datafile.read(path, VersionFile, _KIND)
        found.append(RuntimeVersion(name, frozenset(read.kernels), frozenset(read.backends), read.source, read.files))
    return tuple(sorted(found, key=lambda each: Version(each.version)))


def oldest_fitting(version: str) -> RuntimeVersion:
    """The newest known release that isn't newer than ``version``: what it has, ``version`` has too.

    Raises:
        UnsupportedError: Every known release is newer.
    """
    older = [each for each in known() if Version(each.version) <= Version(version)]
    if not older:
        names = ", ".join(each.version for each in known())
        raise UnsupportedError(
            f"oldest_runtime names ExecuTorch {version}, which is older than any whose operators are known.",
            hint=f"Known: {names}. Name one of these or a later one in the target's file.",
        )
    return older[-1]


def lacking_kernels(kernels: Iterable[str], version: RuntimeVersion) -> tuple[str, ...]:
    """Those of ``kernels`` (names with overload) that the release hasn't registered, by name."""
    return tuple(sorted(set(kernels) - version.kernels))


def lacking_backends(backends: Iterable[str], version: RuntimeVersion) -> tuple[str, ...]:
    """Those of ``backends`` (``XnnpackBackend``) that the release hasn't registered, by name."""
    return tuple(sorted(set(backends) - version.backends))


def oldest_with(kernels: Iterable[str], backends: Iterable[str]) -> RuntimeVersion | None:
    """The oldest known release that has all of these; None where none has."""
    kernels, backends = set(kernels), set(backends)
    return next((each for each in known() if kernels <= each.kernels and backends <= each.backends), None)


def refuse_lacking(kernels: Iterable[str], backends: Iterable[str], oldest: str) -> None:
    """Refuses a program that ExecuTorch ``oldest`` can't load.

    Args:
        kernels: names with overload, as the program calls them outside delegates.
        backends: names of its delegates.
        oldest: a target's ``oldest_runtime.executorch``.

    Raises:
        UnsupportedError: it lacks a kernel or a backend; the message names them all. Or it is older than any known.
    """
    kernels, backends = set(kernels), set(backends)
    release = oldest_fitting(oldest)
    missing = [f"operator {name}" for name in lacking_kernels(kernels, release)]
    missing += [f"backend {name}" for name in lacking_backends(backends, release)]
    if not missing:
        return
    taken_for = "" if release.version == oldest else f" (as far as is known: of {release.version})"
    newer = oldest_with(kernels, backends)
    if newer is None:
        hint = f"Nor has any that is known, up to {known()[-1].version}: please report it."
    else:
        hint = (
            f"ExecuTorch {newer.version} has all that it needs: where every app ships that or a later one, take a "
            f'target file of your own (--target FILE.toml) with executorch = "{newer.version}" under [oldest_runtime].'
        )
    raise UnsupportedError(
        f"The program needs what ExecuTorch {oldest}, the target's oldest_runtime, lacks{taken_for}: "
        f"{', '.join(missing)}.",
        hint=hint,
    )
