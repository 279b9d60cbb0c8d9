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
    if os.environ.get(_INDUCTOR):
        yield
        return
    folder = Path(tempfile.gettempdir()) / f"gemcut-torch-{os.getpid()}"
    os.environ[_INDUCTOR] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(_INDUCTOR, None)
        shutil.rmtree(folder, ignore_errors=True)
