"""The facts that a check goes by, as read from this folder's TOML files, each of which names its source."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.version import Version
from pydantic import ConfigDict, Field

from ..config.toml_file import DataFile, read

_FOLDER = Path(__file__).parent
_KIND = "facts"
Has = Literal["yes", "no", "unknown"]


class Package(DataFile):
    """A package through which an app takes a runtime; see ``packages.toml``."""

    runtime: str
    source: str
    group: str = ""
    npm: bool = False
    backends: tuple[str, ...] | None = None
    releases: dict[str, str] = Field(default_factory=dict)


class ExecutorchGroup(DataFile):
    """What releases of ExecuTorch read of a program; see ``executorch.toml``."""

    releases: tuple[str, ...]
    program_identifiers: tuple[str, ...]
    program_fields: tuple[str, ...]
    xnnpack_identifiers: tuple[str, ...]
    xnnpack_nodes: tuple[str, ...]
    xnnpack_datatypes: tuple[str, ...]


class ExecutorchFacts(DataFile):
    """``executorch.toml``. nodes, datatypes: names by their number in a blob, nodes from 1 on, datatypes from 0 on."""

    source: str
    nodes: tuple[str, ...]
    datatypes: tuple[str, ...]
    group: tuple[ExecutorchGroup, ...]


class ContainerRelease(DataFile):
    """What a release of LiteRT-LM reads of a container; see ``litertlm.toml``."""

    version: str
    source: str
    container: tuple[int, int, int]
    sections: tuple[str, ...]
    metadata_added: tuple[str, ...]
    metadata_removed: tuple[str, ...]


class ContainerFacts(DataFile):
    """``litertlm.toml``, the oldest release first. decisive: field -> what a release that lacks it does otherwise."""

    decisive: dict[str, str]
    release: tuple[ContainerRelease, ...]


class Registry(DataFile):
    """Builtin operators of a LiteRT with their newest version; see ``litert.toml``."""

    releases: tuple[str, ...]
    source: str
    identifiers: tuple[str, ...]
    operators: dict[str, int]


class Added(DataFile):
    """Operators that a release of LiteRT has and the one before hasn't; see ``litert.toml``."""

    litert: str
    operators: tuple[str, ...]


class RegistryFacts(DataFile):
    """``litert.toml``."""

    registry: tuple[Registry, ...]
    added: tuple[Added, ...]


class _Packages(DataFile):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Package]


@functools.cache
def packages() -> Mapping[str, Package]:
    """The packages that are known, by name."""
    return read(_FOLDER / "packages.toml", _Packages, _KIND).__pydantic_extra__


@functools.cache
def executorch_facts() -> ExecutorchFacts:
    """``executorch.toml``."""
    return read(_FOLDER / "executorch.toml", ExecutorchFacts, _KIND)


@functools.cache
def container_facts() -> ContainerFacts:
    """``litertlm.toml``."""
    return read(_FOLDER / "litertlm.toml", ContainerFacts, _KIND)


@functools.cache
def registry_facts() -> RegistryFacts:
    """``litert.toml``."""
    return read(_FOLDER / "litert.toml", RegistryFacts, _KIND)


@dataclass(frozen=True)
class Known:
    """What one release has of a kind of thing. source: where that was read."""

    version: str
    names: frozenset[str]
    source: str


@dataclass(frozen=True)
class Table:
    """What releases have of one kind of thing, the oldest first."""

    known: tuple[Known, ...]

    def ask(self, name: str, version: str) -> Has:
        """Whether a release has it: as its own list says, or as both the nearest older and the nearest newer one say.

        What the newest known release has is taken to be in later ones too.
        """
        wanted = Version(version)
        before = [each for each in self.known if Version(each.version) <= wanted]
        after = [each for each in self.known if Version(each.version) >= wanted]
        older, newer = (before[-1] if before else None), (after[0] if after else None)
        if newer is None:
            return "yes" if older is not None and name in older.names else "unknown"
        if older is None:
            return "unknown" if name in newer.names else "no"
        if (name in older.names) == (name in newer.names):
            return "yes" if name in newer.names else "no"
        return "unknown"

    def nearest(self, version: str) -> tuple[Known, ...]:
        """The lists that ``ask`` goes by: the release's own, or those beside it."""
        wanted = Version(version)
        before = [each for each in self.known if Version(each.version) <= wanted][-1:]
        after = [each for each in self.known if Version(each.version) >= wanted][:1]
        return tuple(dict.fromkeys((*before, *after)))

    def oldest_with(self, names: Iterable[str], after: str = "0") -> str | None:
        """The oldest known release, not older than ``after``, that has all of these; None where none has."""
        wanted = set(names)
        fits = (each for each in self.known if Version(each.version) >= Version(after) and wanted <= each.names)
        return next((each.version for each in fits), None)


def _table(found: Iterable[tuple[str, Iterable[str], str]]) -> Table:
    known = [Known(version, frozenset(names), source) for version, names, source in found]
    return Table(tuple(sorted(known, key=lambda each: Version(each.version))))


@functools.cache
def kernels() -> Table:
    """Kernels of ExecuTorch's releases."""
    from .executorch_releases import known

    return _table((each.version, each.kernels, each.source) for each in known())


@functools.cache
def backends(package: str | None) -> Table:
    """Backends of ExecuTorch's releases, as that package's prebuilt library has them."""
    from .executorch_releases import known

    own = packages()[package].backends if package else None
    source = packages()[package].source if package and own is not None else None
    return _table(
        (each.version, each.backends if own is None else own, each.source if source is None else source)
        for each in known()
    )


def _groups(names: Callable[[ExecutorchGroup], Iterable[str]]) -> Table:
    facts = executorch_facts()
    return _table((release, names(group), facts.source) for group in facts.group for release in group.releases)


@functools.cache
def program_schemas() -> Table:
    """File identifiers (``ET12``) and ``Program.FIELD`` that ExecuTorch's releases read."""
    return _groups(lambda group: (*group.program_identifiers, *(f"Program.{each}" for each in group.program_fields)))


@functools.cache
def xnnpack() -> Table:
    """Identifiers (``XN01``), node types and data types that ExecuTorch's XNNPACK delegate takes."""
    return _groups(lambda group: (*group.xnnpack_identifiers, *group.xnnpack_nodes, *group.xnnpack_datatypes))


@functools.cache
def containers() -> Table:
    """``container 1``, section kinds, and ``LlmMetadata.FIELD`` that LiteRT-LM's releases read."""
    found, fields = [], set[str]()
    for release in container_facts().release:
        fields = (fields | set(release.metadata_added)) - set(release.metadata_removed)
        names = (f"container {release.container[0]}", *release.sections, *(f"LlmMetadata.{each}" for each in fields))
        found.append((release.version, names, release.source))
    return _table(found)


@functools.cache
def operators() -> Table:
    """``ADD.v1`` and so on, and identifiers (``TFL3``), that the LiteRT in LiteRT-LM's releases reads."""
    found = []
    for each in registry_facts().registry:
        names = [f"{name}.v{n}" for name, newest in each.operators.items() for n in range(1, newest + 1)]
        found += [(release, (*names, *each.identifiers), each.source) for release in each.releases]
    return _table(found)
