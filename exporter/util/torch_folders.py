"""Folders that torch makes in the system's temporary one, and leaves there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"


@contextmanager
def torch_folders() -> Iterator[None]:
    """Have torch's inductor keep the cache that it makes on import, and that nothing here uses, where it goes away.

    A user's own setting of the variable TORCHINDUCTOR_CACHE_DIR stays.
    """
    temporary = _temporary()
    if os.environ.get(_INDUCTOR) or temporary is None:
        yield
        return
    folder = temporary / f"gemcut-torch-{os.getpid()}"
    os.environ[_INDUCTOR] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(_INDUCTOR, None)
        shutil.rmtree(folder, ignore_errors=True)


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # nothing here can be written to: a command that needs to says so itself
        return None
