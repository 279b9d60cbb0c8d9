"""What is known about LiteRT-LM's releases."""

from __future__ import annotations

from collections.abc import Mapping

from . import facts
from .facts import Package, Table
from .needs import Kind, Requirement
from .releases import ReleaseFacts

_WHY: dict[Kind, str] = {
    "schema": "the file is refused",
    "operator": "the program is refused when it is loaded",
    "section": "the engine doesn't find it",
}


class LiteRTReleases(ReleaseFacts):
    """See ``ReleaseFacts``. An engine can't be asked for its operators, so a library tells little."""

    library_marks = (b"litert2lm", b"litert::lm", b"LiteRtLm")  # the namespace in symbols and messages
    package_example = "litertlm-android==VERSION"
    gradle_alias = r"litertlm|litert\.lm"

    def packages(self) -> Mapping[str, Package]:
        """See ``ReleaseFacts``."""
        return {name: each for name, each in facts.packages().items() if each.runtime == "litert"}

    def tables(self, package: str | None) -> dict[Kind, Table]:
        """See ``ReleaseFacts``."""
        return {
            "schema": facts.containers(),
            "operator": facts.operators(),
            "section": facts.containers(),
            "metadata": facts.containers(),
        }

    def table_for(self, tables: dict[Kind, Table], need: Requirement) -> Table | None:
        """See ``ReleaseFacts``: TFLite's file identifiers are kept with its operators."""
        tflite = need.kind == "schema" and need.name.startswith("TFL")
        return tables.get("operator" if tflite else need.kind)

    def why(self, need: Requirement) -> str:
        """See ``ReleaseFacts``."""
        if need.kind == "metadata":
            return f"the engine ignores it: {facts.container_facts().decisive.get(need.field.partition('.')[0], '')}"
        return _WHY.get(need.kind, super().why(need))

    def is_decisive(self, need: Requirement) -> bool:
        """See ``ReleaseFacts``: everything but metadata that changes no text."""
        return need.kind != "metadata" or need.field.partition(".")[0] in facts.container_facts().decisive

    def unsettled(self, need: Requirement, version: str) -> str:
        """See ``ReleaseFacts``: which LiteRT has an operator may be known, but not which LiteRT a release has."""
        added = facts.registry_facts().added
        since = next((each.litert for each in added if need.name in each.operators), None)
        return f"; LiteRT has it since {since}, but which LiteRT is in {version} isn't known" if since else ""
