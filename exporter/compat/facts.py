"""The facts that a check relies on, read from this folder's TOML files, each of which names its source."""

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
SNAPSHOT = "-SNAPSHOT"  # what Maven ends the version of a build before a release with


class Package(DataFile):
    """A package through which an app takes a runtime; see ``packages.toml``.

    Attributes:
        runtime: The runtime's name.
        source: Where these facts come from.
        group: The group of its Maven coordinates; empty if it isn't on Maven.
        npm: Whether it is a dependency in a package.json.
        backends: The backends of its prebuilt library; None for those of the release's list.
        releases: The package's version -> the runtime's; empty if they are the same.
        published: All releases that are known, the oldest first; empty if nobody has listed them.
        published_source: Where these are listed.
    """

    runtime: str
    source: str
    group: str = ""
    npm: bool = False
    backends: tuple[str, ...] | None = None
    releases: dict[str, str] = Field(default_factory=dict)
    published: tuple[str, ...] = ()
    published_source: str = ""

    def knows(self, version: str) -> bool:
        """Return whether a version, or the release that it comes before (``1.1.0-SNAPSHOT``), is a known release.

        Any version is taken for one if nobody has listed them.
        """
        base = Version(Version(version.removesuffix(SNAPSHOT)).base_version)
        return not self.published or any(Version(each) == base for each in self.published)


class ExecutorchGroup(DataFile):
    """What a group of ExecuTorch's releases reads of a program; see ``executorch.toml``.

    Attributes:
        releases: The releases, which all read the same.
        program_identifiers: File identifiers of programs, such as ``ET12``.
        program_fields: Fields of the table Program, in their order in the schema.
        xnnpack_identifiers: File identifiers of XNNPACK's blobs, such as ``XN01``.
        xnnpack_nodes: Types of nodes that the XNNPACK delegate defines.
        xnnpack_datatypes: Data types that the XNNPACK delegate defines.
    """

    releases: tuple[str, ...]
    program_identifiers: tuple[str, ...]
    program_fields: tuple[str, ...]
    xnnpack_identifiers: tuple[str, ...]
    xnnpack_nodes: tuple[str, ...]
    xnnpack_datatypes: tuple[str, ...]


class ExecutorchFacts(DataFile):
    """The contents of ``executorch.toml``.

    Attributes:
        source: Where these facts come from.
        nodes: Types of nodes in the order of their numbers in a blob, from 1 on.
        datatypes: Data types in the order of their numbers in a blob, from 0 on.
        group: What each group of releases reads.
    """

    source: str
    nodes: tuple[str, ...]
    datatypes: tuple[str, ...]
    group: tuple[ExecutorchGroup, ...]


class ContainerRelease(DataFile):
    """What a release of LiteRT-LM reads of a container; see ``litertlm.toml``.

    Attributes:
        version: The release's number.
        source: Where these facts come from.
        container: The container's version: major, minor, patch.
        sections: The kinds of sections.
        metadata_added: Fields of LlmMetadata that the release before lacks.
        metadata_removed: Fields of LlmMetadata that only the release before has.
    """

    version: str
    source: str
    container: tuple[int, int, int]
    sections: tuple[str, ...]
    metadata_added: tuple[str, ...]
    metadata_removed: tuple[str, ...]


class ContainerFacts(DataFile):
    """The contents of ``litertlm.toml``.

    Attributes:
        decisive: Field of LlmMetadata -> what happens in a release that lacks it.
        release: What each release reads, the oldest first.
    """

    decisive: dict[str, str]
    release: tuple[ContainerRelease, ...]


class Registry(DataFile):
    """Builtin operators of one LiteRT; see ``litert.toml``.

    Attributes:
        releases: The releases of LiteRT-LM that are built with it.
        source: Where these facts come from.
        identifiers: File identifiers of programs, such as ``TFL3``.
        operators: The newest version of each operator.
    """

    releases: tuple[str, ...]
    source: str
    identifiers: tuple[str, ...]
    operators: dict[str, int]


class Added(DataFile):
    """Operators that a release of LiteRT added; see ``litert.toml``.

    Attributes:
        litert: LiteRT's release.
        operators: Operators with version that it has and the release before lacks.
    """

    litert: str
    operators: tuple[str, ...]


class RegistryFacts(DataFile):
    """The contents of ``litert.toml``.

    Attributes:
        registry: The operators of each LiteRT that releases of LiteRT-LM are built with.
        added: What LiteRT's own releases have added since.
    """

    registry: tuple[Registry, ...]
    added: tuple[Added, ...]


class _Packages(DataFile):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Package]


@functools.cache
def packages() -> Mapping[str, Package]:
    """Return the known packages by name."""
    return read(_FOLDER / "packages.toml", _Packages, _KIND).__pydantic_extra__


@functools.cache
def executorch_facts() -> ExecutorchFacts:
    """Return the contents of ``executorch.toml``."""
    return read(_FOLDER / "executorch.toml", ExecutorchFacts, _KIND)


@functools.cache
def container_facts() -> ContainerFacts:
    """Return the contents of ``litertlm.toml``."""
    return read(_FOLDER / "litertlm.toml", ContainerFacts, _KIND)


@functools.cache
def registry_facts() -> RegistryFacts:
    """Return the contents of ``litert.toml``."""
    return read(_FOLDER / "litert.toml", RegistryFacts, _KIND)


@dataclass(frozen=True)
class Known:
    """What one release has of one kind of thing.

    Attributes:
        version: The release's number.
        names: The names of what it has.
        source: Where that was read.
    """

    version: str
    names: frozenset[str]
    source: str


@dataclass(frozen=True)
class Table:
    """What releases have of one kind of thing.

    Attributes:
        known: What each known release has, the oldest first.
    """

    known: tuple[Known, ...]

    def ask(self, name: str, version: str) -> Has:
        """Return whether a release has it by its own list, or by the nearest older and newer ones if these agree.

        Later releases are taken to have what the newest known release has.
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
        """Return the lists that ``ask`` uses: the release's own, or the nearest older and newer ones."""
        wanted = Version(version)
        before = [each for each in self.known if Version(each.version) <= wanted][-1:]
        after = [each for each in self.known if Version(each.version) >= wanted][:1]
        return tuple(dict.fromkeys((*before, *after)))

    def oldest_with(self, names: Iterable[str], after: str = "0") -> str | None:
        """Return the oldest known release, not older than ``after``, that has all of these; None if none has."""
        wanted = set(names)
        fits = (each for each in self.known if Version(each.version) >= Version(after) and wanted <= each.names)
        return next((each.version for each in fits), None)


def _table(found: Iterable[tuple[str, Iterable[str], str]]) -> Table:
    known = [Known(version, frozenset(names), source) for version, names, source in found]
    return Table(tuple(sorted(known, key=lambda each: Version(each.version))))


@functools.cache
def kernels() -> Table:
    """Return the kernels of ExecuTorch's releases."""
    from .executorch_releases import known

    return _table((each.version, each.kernels, each.source) for each in known())


@functools.cache
def backends(package: str | None) -> Table:
    """Return the backends of ExecuTorch's releases, in the package's prebuilt library if one is named."""
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
    """Return the file identifiers (``ET12``) and fields (``Program.FIELD``) that ExecuTorch's releases read."""
    return _groups(lambda group: (*group.program_identifiers, *(f"Program.{each}" for each in group.program_fields)))


@functools.cache
def xnnpack() -> Table:
    """Return the identifiers (``XN01``), node types and data types that ExecuTorch's XNNPACK delegate takes."""
    return _groups(lambda group: (*group.xnnpack_identifiers, *group.xnnpack_nodes, *group.xnnpack_datatypes))


@functools.cache
def containers() -> Table:
    """Return ``container 1``, section kinds, and ``LlmMetadata.FIELD`` that LiteRT-LM's releases read."""
    found, fields = [], set[str]()
    for release in container_facts().release:
        fields = (fields | set(release.metadata_added)) - set(release.metadata_removed)
        names = (f"container {release.container[0]}", *release.sections, *(f"LlmMetadata.{each}" for each in fields))
        found.append((release.version, names, release.source))
    return _table(found)


@functools.cache
def operators() -> Table:
    """Return operators (``ADD.v1``) and identifiers (``TFL3``) that the LiteRT in LiteRT-LM's releases reads."""
    found = []
    for each in registry_facts().registry:
        names = [f"{name}.v{n}" for name, newest in each.operators.items() for n in range(1, newest + 1)]
        found += [(release, (*names, *each.identifiers), each.source) for release in each.releases]
    return _table(found)
