"""The copy of the JSON Schema that an app's repository keeps, so that every editor of the team finds it.

``#:schema`` on a TOML file's first line is what taplo reads, and with it the editors' extensions that are made of it
(Even Better TOML), and tombi: a URL, or a path relative to the file. A path into an installation would be of one
machine alone, and a URL of a network; a file beside gemcut.toml is of the repository.
"""

from __future__ import annotations

from pathlib import Path

SCHEMA = "gemcut.schema.json"
PLACE = f".gemcut/{SCHEMA}"
FIRST_LINE = f"#:schema ./{PLACE}"


def shipped_schema() -> bytes:
    """The schema that this Gemcut ships."""
    return Path(__file__).with_name(SCHEMA).read_bytes()


def write_schema(root: Path) -> Path:
    """Writes the copy, or writes it anew.

    Raises:
        OSError: It can't be written.
    """
    path = root / PLACE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(shipped_schema())
    return path


def outdated(root: Path) -> Path | None:
    """The copy, where there is one that isn't this Gemcut's."""
    path = root / PLACE
    try:
        return path if path.read_bytes() != shipped_schema() else None
    except OSError:
        return None
