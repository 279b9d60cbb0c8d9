"""Compares what a bundle needs with what a runtime has, and finds what is missing and which releases have it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .facts import Has, Table
from .needs import Kind, Requirement
from .releases import ReleaseFacts

Verdict = Literal["runs", "may", "fails", "unpublished", "unknown"]
Way = Literal["release", "library", "strings"]

# Singular and plural.
WORDS: dict[Kind, tuple[str, str]] = {
    "runtime": ("runtime", "runtimes"),
    "schema": ("part of the file's schema", "parts of the file's schema"),
    "backend": ("backend", "backends"),
    "operator": ("operator", "operators"),
    "node": ("type in a delegate's blob", "types in delegates' blobs"),
    "section": ("kind of section", "kinds of sections"),
    "metadata": ("metadata field", "metadata fields"),
}
_MANY = 3  # if more of one kind aren't known, they are reported as one


@dataclass(frozen=True)
class Lack:
    """Something that the program needs and the runtime lacks, or may lack.

    Attributes:
        kind: What kind of thing it is.
        name: Its name.
        why: What happens without it, or why it isn't known.
        newer: The oldest known release that has it; null if none is known.
    """

    kind: Kind
    name: str
    why: str
    newer: str | None = None

    def __str__(self) -> str:
        since = f"; release {self.newer} has it" if self.newer else ""
        return f"{WORDS[self.kind][0]} {self.name}: {self.why}{since}"


@dataclass(frozen=True)
class Comparison:
    """What a bundle needs, compared with what a runtime has.

    Attributes:
        missing: What the runtime certainly lacks.
        unknown: What no source settles.
        checked: How many requirements of each kind were looked for.
        sources: Where the facts come from.
        notes: What the user should know.
        published: Whether the runtime's release is known to exist.
    """

    missing: tuple[Lack, ...]
    unknown: tuple[Lack, ...]
    checked: dict[Kind, int]
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()
    published: bool = True

    @property
    def verdict(self) -> Verdict:
        """``fails`` if anything is missing, ``unknown`` if nothing is but something isn't known, else ``runs``.

        Of a release that nobody has published it is ``unpublished``.
        """
        if not self.published:
            return "unpublished"
        return "fails" if self.missing else "unknown" if self.unknown else "runs"


def by_release(releases: ReleaseFacts, needs: Sequence[Requirement], version: str, package: str | None) -> Comparison:
    """Compare requirements with the facts about a release.

    Args:
        releases: What is known about the runtime's releases.
        needs: What the bundle's program requires.
        version: The runtime's own version.
        package: The package through which the app has it, which decides which backends its library was built with.
    """
    known = releases.tables(package)
    lacks: dict[Has, list[Lack]] = {"yes": [], "no": [], "unknown": []}
    for need in decisive(releases, needs):
        table = releases.table_for(known, need)
        has: Has = "unknown" if table is None else table.ask(need.name, version)
        if any(need.name.startswith(f"{lack.name}.") for lack in lacks[has]) and has != "yes":
            continue  # a field of a message that is itself missing
        reason = _why_unknown(releases, table, version, need) if has == "unknown" else releases.why(need)
        newer = table.oldest_with([need.name], version) if table is not None else None
        lacks[has].append(Lack(need.kind, need.name, reason, newer))
    ignored = [
        need
        for need in needs
        if not releases.is_decisive(need)
        and "." not in need.field
        and known["metadata"].ask(need.name, version) != "yes"
    ]
    notes = [f"the runtime may ignore {need.name}, which changes no text" for need in ignored]
    sources = dict.fromkeys(
        f"{each.version}: {each.source}" for table in known.values() for each in table.nearest(version)
    )
    return Comparison(
        missing=tuple(lacks["no"]),
        unknown=tuple(_grouped(lacks["unknown"])),
        checked=count(needs),
        sources=tuple(sources),
        notes=(*notes, *_substituted(known, version)),
    )


def decisive(releases: ReleaseFacts, needs: Sequence[Requirement]) -> tuple[Requirement, ...]:
    """Return the requirements without which a bundle behaves differently from its proof."""
    return tuple(need for need in needs if releases.is_decisive(need))


def _why_unknown(releases: ReleaseFacts, table: Table | None, version: str, need: Requirement) -> str:
    """Why the lists don't settle a requirement."""
    near = " and ".join(each.version for each in table.nearest(version)) if table is not None else ""
    if not near:
        return f"nothing is known about the releases' {WORDS[need.kind][1]}"
    more = releases.unsettled(need, version)
    return f"{version} itself has no list, and {near} doesn't settle it{more}"


def _grouped(lacks: Sequence[Lack]) -> Iterable[Lack]:
    """The same, but many of one kind as one."""
    for kind in dict.fromkeys(lack.kind for lack in lacks):
        own = [lack for lack in lacks if lack.kind == kind]
        if len(own) <= _MANY:
            yield from own
        else:
            yield Lack(kind, f"{own[0].name} and {len(own) - 1} more", own[0].why, own[0].newer)


def _substituted(known: dict[Kind, Table], version: str) -> Iterable[str]:
    """Notes on the kinds of facts that come from other releases than this one."""
    found: dict[str, list[str]] = {}
    for kind, table in known.items():
        near = [each.version for each in table.nearest(version)]
        if version not in near and kind != "section":
            found.setdefault(" and ".join(near), []).append(WORDS[kind][1])
    for near_text, kinds in found.items():
        yield f"{version} has no list of its own for {', '.join(kinds)}; those of {near_text} were used"


def count(needs: Iterable[Requirement]) -> dict[Kind, int]:
    """Return how many requirements there are of each kind."""
    found: dict[Kind, int] = {}
    for need in needs:
        found[need.kind] = found.get(need.kind, 0) + 1
    return found


def oldest_release(releases: ReleaseFacts, package: str | None, needs: Sequence[Requirement]) -> str | None:
    """Return the oldest known release that has all of these; None if no known release has."""
    from packaging.version import Version

    known, wanted = releases.tables(package), decisive(releases, needs)
    versions = sorted({each.version for table in known.values() for each in table.known}, key=Version)

    def has_all(version: str) -> bool:
        asked = ((releases.table_for(known, need), need) for need in wanted)
        return all(table is not None and table.ask(need.name, version) == "yes" for table, need in asked)

    return next((each for each in versions if has_all(each)), None)


def newest_known(releases: ReleaseFacts) -> str | None:
    """Return the newest release that there are facts about; None if there are none."""
    from packaging.version import Version

    found = [each.version for table in releases.tables(None).values() for each in table.known]
    return max(found, key=Version, default=None)
