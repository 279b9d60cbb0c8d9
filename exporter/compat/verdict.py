"""Holds what a bundle needs against what a runtime has, and says what is missing and what would avoid it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from . import facts
from .facts import Has, Table
from .needs import Kind, Need

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


# What each runtime does without it; ExecuTorch's error numbers are those of runtime/core/error.h.
_WHY: dict[tuple[str, Kind], str] = {
    ("executorch", "schema"): "the program is refused as no valid one (error 0x23)",
    ("executorch", "operator"): "the program is refused when it is loaded (error 0x14)",
    ("executorch", "backend"): "the program is refused when it is loaded (error 0x20)",
    ("executorch", "node"): "the XNNPACK delegate refuses its blob when the program is loaded (error 0x11)",
    ("litert", "schema"): "the file is refused",
    ("litert", "operator"): "the program is refused when it is loaded",
    ("litert", "section"): "the engine doesn't find it",
}


def why(runtime: str, need: Need) -> str:
    """What a runtime does without it."""
    if need.kind == "metadata":
        decided = facts.container_facts().decisive.get(_field(need).partition(".")[0], "")
        return f"the engine reads past it: {decided}"
    if need.kind == "schema" and need.name.startswith("XN"):
        return "the XNNPACK delegate refuses its blob when the program is loaded (error 0x30)"
    return _WHY.get((runtime, need.kind), "the program can't be run")


def tables(runtime: str, package: str | None) -> dict[Kind, Table]:
    """The facts about releases of a runtime by kind of need. package: whose prebuilt library it is."""
    if runtime == "executorch":
        return {
            "schema": facts.program_schemas(),
            "backend": facts.backends(package),
            "operator": facts.kernels(),
            "node": facts.xnnpack(),
        }
    return {
        "schema": facts.containers(),
        "operator": facts.operators(),
        "section": facts.containers(),
        "metadata": facts.containers(),
    }


def table_for(found: dict[Kind, Table], need: Need) -> Table:
    """Which facts speak of a need: XNNPACK's identifiers and TFLite's are kept with their nodes and operators."""
    if need.kind == "schema" and need.name.startswith("XN"):
        return found["node"]
    if need.kind == "schema" and need.name.startswith("TFL"):
        return found["operator"]
    return found[need.kind]


def by_release(runtime: str, needs: Sequence[Need], version: str, package: str | None) -> Compared:
    """Holds needs against the facts about a release.

    Args:
        runtime: ``executorch`` or ``litert``, which the needs are of.
        needs: From ``read_needs``.
        version: The runtime's own version.
        package: Through which the app has it; decides which backends its library was built with.
    """
    known = tables(runtime, package)
    lacks: dict[Has, list[Lack]] = {"yes": [], "no": [], "unknown": []}
    for need in decisive(needs):
        table = table_for(known, need)
        has = table.ask(need.name, version)
        if any(need.name.startswith(f"{lack.name}.") for lack in lacks[has]) and has != "yes":
            continue  # a field of a message that is itself missing
        reason = _beside(table, version, need) if has == "unknown" else why(runtime, need)
        lacks[has].append(Lack(need.kind, need.name, reason, table.oldest_with([need.name], version)))
    ignored = [need for need in needs if need not in decisive(needs) and "." not in _field(need)
               and known["metadata"].ask(need.name, version) != "yes"]  # fmt: skip
    notes = [f"{need.name} may be read past: nothing that changes a text" for need in ignored]
    sources = dict.fromkeys(f"{each.version}: {each.source}" for table in known.values()
                            for each in table.nearest(version))  # fmt: skip
    return Compared(
        missing=tuple(lacks["no"]),
        unknown=tuple(_gathered(lacks["unknown"])),
        checked=count(needs),
        sources=tuple(sources),
        notes=(*notes, *_taken_for(known, version)),
    )


def decisive(needs: Sequence[Need]) -> tuple[Need, ...]:
    """Those without which a bundle isn't what was proven: all but the metadata that decides nothing."""
    fields = facts.container_facts().decisive
    return tuple(need for need in needs if need.kind != "metadata" or _field(need).partition(".")[0] in fields)


def _field(need: Need) -> str:
    return need.name.partition(".")[2]


def _beside(table: Table, version: str, need: Need) -> str:
    """Why the lists don't tell."""
    near = " and ".join(each.version for each in table.nearest(version))
    since = next((each.litert for each in facts.registry_facts().added if need.name in each.operators), None)
    more = f"; LiteRT has it since {since}, but which LiteRT is in {version} isn't known" if since else ""
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


def count(needs: Iterable[Need]) -> dict[Kind, int]:
    """How many needs there are of each kind."""
    found: dict[Kind, int] = {}
    for need in needs:
        found[need.kind] = found.get(need.kind, 0) + 1
    return found


def oldest_release(runtime: str, package: str | None, needs: Sequence[Need]) -> str | None:
    """The oldest known release that has all of these; None where none is known to."""
    from packaging.version import Version

    known, wanted = tables(runtime, package), decisive(needs)
    releases = sorted({each.version for table in known.values() for each in table.known}, key=Version)

    def has_all(release: str) -> bool:
        return all(table_for(known, need).ask(need.name, release) == "yes" for need in wanted)

    return next((each for each in releases if has_all(each)), None)


def newest_known(runtime: str) -> str:
    """The newest release that any fact speaks of."""
    from packaging.version import Version

    return max((each.version for table in tables(runtime, None).values() for each in table.known), key=Version)
