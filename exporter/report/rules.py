"""What each rule of a report is about, from ``rules.toml``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..config.toml_file import DataFile, read

RULES_FILE = Path(__file__).with_name("rules.toml")


class Area(DataFile):
    """What all rules of an area are about.

    Attributes:
        title: What holds if they pass.
        help: What is checked.
        next: What to do if one fails.
    """

    title: str
    help: str
    next: str


class Rules(DataFile):
    """``rules.toml``.

    Attributes:
        area: The areas by name.
        figure: The titles of figures by name.
    """

    area: dict[str, Area]
    figure: dict[str, str]


@cache
def rules() -> Rules:
    """Return the data file, read once."""
    return read(RULES_FILE, Rules, "report")
