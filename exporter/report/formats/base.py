"""What every report format offers: one module each in this package, and one row in its registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ..outcome import Outcome


class ReportFormat(ABC):
    """A form that outcomes are written in.

    Attributes:
        name: The flag's name without its dashes.
        suffix: How a file of that form usually ends, such as ``.xml``.
        help: What ``--help`` says after "Also write".
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    help: ClassVar[str]

    def require(self) -> None:  # noqa: B027 (most formats need nothing)
        """Check that what it takes is installed.

        Raises:
            LackingError: A package is missing; the hint is the command that installs it.
        """

    @abstractmethod
    def render(self, outcomes: Sequence[Outcome], environ: Mapping[str, str]) -> bytes:
        """Return a report.

        Args:
            outcomes: What it is about.
            environ: The environment, for the CI service's variables.
        """
