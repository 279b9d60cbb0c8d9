"""The ``gemcut.toml`` that ``gemcut init`` writes."""

from __future__ import annotations

from pathlib import Path
from string import Template

from ..runtimes import DEFAULT, RUNTIMES


def starter() -> str:
    """Return the text of a first ``gemcut.toml``: the shipped template with the names of the shipped runtimes."""
    others = [f'"{name}"' for name in RUNTIMES.packaged if name != DEFAULT]
    several = "both" if len(others) == 1 else "several"
    template = Template(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return template.substitute(default=DEFAULT, others=f"{', '.join(others)}, or {several}")
