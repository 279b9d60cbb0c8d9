"""Where the project is that a folder belongs to."""

from __future__ import annotations

import os
from pathlib import Path

FILE = "gemcut.toml"


def project_root() -> Path | None:
    """Return the folder of the nearest ``gemcut.toml``, here or above, up to a repository's root; a relative path."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return Path(os.path.relpath(folder))
        if (folder / ".git").exists():
            break
    return None
