"""The licence that a checkpoint states: in the model card's front matter and the LICENSE file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .families import Family


@dataclass(frozen=True)
class Licence:
    """A checkpoint's licence.

    Attributes:
        id: As the hub spells it ('apache-2.0', 'gemma', 'unknown').
        text: The licence's text; '' if no file holds it.
        name: The licence's name for a reader.
    """

    id: str
    text: str
    name: str


_NAMES = {"apache-2.0": "Apache License 2.0", "gemma": "Gemma Terms of Use", "mit": "MIT License"}


def licence_files(folder: Path) -> list[Path]:
    """Return the licence files of a checkpoint, sorted."""
    return sorted(path for pattern in ("LICENSE*", "NOTICE*") for path in folder.glob(pattern) if path.is_file())


def read_licence(folder: Path, family: Family) -> tuple[Licence, tuple[str, ...]]:
    """Return the licence as stated, and notes, such as that none is stated: it is never guessed.

    Args:
        folder: The checkpoint.
        family: Its family, whose usual licence the note names.
    """
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in licence_files(folder))
    stated, notes = front_matter(folder / "README.md")
    known = str(stated.get("license") or "")
    if not known and "Apache License" in text and "Version 2.0" in text:
        known = "apache-2.0"
    if not known:
        own = f"; {family.family} itself is published under: {family.licence}"
        return Licence("unknown", text, "not stated"), (*notes, f"the checkpoint states no licence{own}")
    name = str(stated.get("license_name") or _NAMES.get(known, known))
    return Licence(known, text, name), notes


def front_matter(card: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return a model card's front matter, empty if there is none, and a note if it can't be read."""
    if not card.exists():
        return {}, ()
    import yaml
    from huggingface_hub import metadata_load

    try:
        return metadata_load(card) or {}, ()
    except (yaml.YAMLError, ValueError) as error:
        return {}, (f"README.md: its front matter can't be read ({str(error).splitlines()[0]})",)
