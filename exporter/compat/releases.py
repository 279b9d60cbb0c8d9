"""What is known about the releases of one runtime; each runtime's plugin has such facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from .facts import Package, Table
from .needs import Kind, Requirement


class ReleaseFacts:
    """Facts about a runtime's releases; this base class knows nothing.

    Attributes:
        library_marks: Bytes that the runtime leaves in a library that holds it; empty if a library can't be recognized.
        loads_library: Whether a library that an app ships can be loaded here and asked what it has.
        package_example: An app's dependency as ``gemcut check --runtime`` takes it, for hints.
        gradle_alias: A regular expression that the runtime's alias in a Gradle version catalog matches.
    """

    library_marks: ClassVar[tuple[bytes, ...]] = ()
    loads_library: ClassVar[bool] = False
    package_example: ClassVar[str] = ""
    gradle_alias: ClassVar[str] = ""

    def packages(self) -> Mapping[str, Package]:
        """Return the packages through which an app takes the runtime, by name."""
        return {}

    def tables(self, package: str | None) -> dict[Kind, Table]:
        """Return the facts by kind of requirement.

        Args:
            package: The package through which the app has the runtime, which decides what its prebuilt library was
                built with; None if it isn't known.
        """
        return {}

    def table_for(self, tables: dict[Kind, Table], need: Requirement) -> Table | None:
        """Return the facts that concern a requirement; None if there are none."""
        return tables.get(need.kind)

    def why(self, need: Requirement) -> str:
        """Return what the runtime does if it lacks what a program requires."""
        return "the program can't be run"

    def is_decisive(self, need: Requirement) -> bool:
        """Return whether a bundle behaves differently from its proof if the runtime lacks the requirement."""
        return True

    def unsettled(self, need: Requirement, version: str) -> str:
        """Return what else is known about a requirement that no list settles; empty for nothing."""
        return ""

    def oldest_target(self) -> str | None:
        """Return the oldest release that a target's ``oldest_runtime`` can name; None if it can name none."""
        return None
