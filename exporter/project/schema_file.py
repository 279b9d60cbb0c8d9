"""The copy of the JSON Schema that an app's repository keeps, so that every editor of the team finds it.

``#:schema`` on a TOML file's first line is what taplo (and with it the editors' extensions that use it, such as Even
Better TOML) and tombi read: a URL, or a path relative to the file. A path into an installation would work on one
machine only, and a URL needs a network; a file beside gemcut.toml is part of the repository.
"""

from __future__ import annotations

from pathlib import Path

SCHEMA = "gemcut.schema.json"
PLACE = f".gemcut/{SCHEMA}"
FIRST_LINE = f"#:schema ./{PLACE}"


def shipped_schema() -> bytes:
    """Return the schema that this Gemcut ships."""
    return Path(__file__).with_name(SCHEMA).read_bytes()


def write_schema(root: Path) -> Path:
    """Write the copy, or replace it, and return its path.

    Raises:
        OSError: It can't be written.
    """
    path = root / PLACE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(shipped_schema())
    return path


def outdated(root: Path) -> Path | None:
    """Return the path of a copy that another Gemcut wrote; None if there is none."""
    path = root / PLACE
    try:
        return path if path.read_bytes() != shipped_schema() else None
    except OSError:
        return None
