"""Holds what a bundle needs against what a runtime has, and says what is missing and what would avoid it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .facts import Has, Table
from .needs import Kind, Requirement
from .releases import ReleaseFacts

Verdict = Literal["runs", "may", "fails", "unknown"]
Way = Literal["release", "library", "strings"]

# One, and more than one.
WORDS: dict[Kind, tuple[str, str]] = {
    "runtime": ("runtime", "runtimes"),
    "schema": ("part of the file's schema", "parts of the file's schema"),
    "backend": ("backend", "backends"),
    "operator": ("operator", "operators"),
    "node": ("type in a delegate's blob", "types in delegates' blobs"),
    "section": ("kind of section", "kinds of sections"),
    "metadata": ("metadata field", "metadata fields"),
}
_MANY = 3  # of one kind that aren't known: more are told as one


@dataclass(frozen=True)
class Lack:
    """Something that the program needs and the runtime lacks. newer: the oldest known release that has it, if any.

    why: what happens without it, or why it isn't known.
    """

    kind: Kind
    name: str
    why: str
    newer: str | None = None

    def __str__(self) -> str:
        since = f"; release {self.newer} has it" if self.newer else ""
        return f"{WORDS[self.kind][0]} {self.name}: {self.why}{since}"


@dataclass(frozen=True)
class Compared:
    """missing: what surely isn't there. unknown: what no source speaks of. checked: how many of each kind."""

    missing: tuple[Lack, ...]
    unknown: tuple[Lack, ...]
    checked: dict[Kind, int]
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """``fails`` where anything is missing, ``unknown`` where nothing is but something isn't known."""
        return "fails" if self.missing else "unknown" if self.unknown else "runs"


def by_release(releases: ReleaseFacts, needs: Sequence[Requirement], version: str, package: str | None) -> Compared:
    """Hold requirements against the facts about a release.

    Args:
        releases: What is known of the runtime that they are of.
        needs: What the bundle's program requires.
        version: The runtime's own version.
        package: Through which the app has it; decides which backends its library was built with.
    """
    known = releases.tables(package)
    lacks: dict[Has, list[Lack]] = {"yes": [], "no": [], "unknown": []}
    for need in decisive(releases, needs):
        table = releases.table_for(known, need)
        has: Has = "unknown" if table is None else table.ask(need.name, version)
        if any(need.name.startswith(f"{lack.name}.") for lack in lacks[has]) and has != "yes":
            continue  # a field of a message that is itself missing
        reason = _beside(releases, table, version, need) if has == "unknown" else releases.why(need)
        newer = table.oldest_with([need.name], version) if table is not None else None
        lacks[has].append(Lack(need.kind, need.name, reason, newer))
    ignored = [
        need
        for need in needs
        if not releases.is_decisive(need)
        and "." not in need.field
        and known["metadata"].ask(need.name, version) != "yes"
    ]
    notes = [f"{need.name} may be read past: nothing that changes a text" for need in ignored]
    sources = dict.fromkeys(
        f"{each.version}: {each.source}" for table in known.values() for each in table.nearest(version)
    )
    return Compared(
        missing=tuple(lacks["no"]),
        unknown=tuple(_gathered(lacks["unknown"])),
        checked=count(needs),
        sources=tuple(sources),
        notes=(*notes, *_taken_for(known, version)),
    )


def decisive(releases: ReleaseFacts, needs: Sequence[Requirement]) -> tuple[Requirement, ...]:
    """Those without which a bundle isn't what was proven."""
    return tuple(need for need in needs if releases.is_decisive(need))


def _beside(releases: ReleaseFacts, table: Table | None, version: str, need: Requirement) -> str:
    """Why the lists don't tell."""
    near = " and ".join(each.version for each in table.nearest(version)) if table is not None else ""
    if not near:
        return f"nothing is known of the releases' {WORDS[need.kind][1]}"
    more = releases.unsettled(need, version)
    return f"there is no list of {version} itself, and that of {near} doesn't settle it{more}"


def _gathered(lacks: Sequence[Lack]) -> Iterable[Lack]:
    """Many of one kind of which nothing is known, as one."""
    for kind in dict.fromkeys(lack.kind for lack in lacks):
        own = [lack for lack in lacks if lack.kind == kind]
        if len(own) <= _MANY:
            yield from own
        else:
            yield Lack(kind, f"{own[0].name} and {len(own) - 1} more", own[0].why, own[0].newer)


def _taken_for(known: dict[Kind, Table], version: str) -> Iterable[str]:
    """Which kinds of facts are not of that very release."""
    found: dict[str, list[str]] = {}
    for kind, table in known.items():
        near = [each.version for each in table.nearest(version)]
        if version not in near and kind != "section":
            found.setdefault(" and ".join(near), []).append(WORDS[kind][1])
    for near_text, kinds in found.items():
        yield f"there is no list of {version}'s own {', '.join(kinds)}: those of {near_text} were taken"


def count(needs: Iterable[Requirement]) -> dict[Kind, int]:
    """How many needs there are of each kind."""
    found: dict[Kind, int] = {}
    for need in needs:
        found[need.kind] = found.get(need.kind, 0) + 1
    return found


def oldest_release(releases: ReleaseFacts, package: str | None, needs: Sequence[Requirement]) -> str | None:
    """Return the oldest known release that has all of these; None if none is known to."""
    from packaging.version import Version

    known, wanted = releases.tables(package), decisive(releases, needs)
    versions = sorted({each.version for table in known.values() for each in table.known}, key=Version)

    def has_all(version: str) -> bool:
        asked = ((releases.table_for(known, need), need) for need in wanted)
        return all(table is not None and table.ask(need.name, version) == "yes" for table, need in asked)

    return next((each for each in versions if has_all(each)), None)


def newest_known(releases: ReleaseFacts) -> str | None:
    """Return the newest release that any fact speaks of; None if none does."""
    from packaging.version import Version

    found = [each.version for table in releases.tables(None).values() for each in table.known]
    return max(found, key=Version, default=None)
