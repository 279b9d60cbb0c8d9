"""What a checkpoint says of its licence: the model card's front matter and the LICENSE file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .families import Family


@dataclass(frozen=True)
class Licence:
    """``id`` as the hub spells it ('apache-2.0', 'gemma', 'unknown'); ``text`` '' where no file holds it."""

    id: str
    text: str
    name: str


_NAMES = {"apache-2.0": "Apache License 2.0", "gemma": "Gemma Terms of Use", "mit": "MIT License"}


def licence_files(folder: Path) -> list[Path]:
    """The licence files of a checkpoint, sorted."""
    return sorted(path for pattern in ("LICENSE*", "NOTICE*") for path in folder.glob(pattern) if path.is_file())


def read_licence(folder: Path, family: Family) -> tuple[Licence, tuple[str, ...]]:
    """The licence as stated, and a note where none is: it is never guessed."""
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
    """The model card's front matter, empty where there is none; a note where it can't be read."""
    if not card.exists():
        return {}, ()
    import yaml
    from huggingface_hub import metadata_load

    try:
        return metadata_load(card) or {}, ()
    except (yaml.YAMLError, ValueError) as error:
        return {}, (f"README.md: its front matter can't be read ({str(error).splitlines()[0]})",)
