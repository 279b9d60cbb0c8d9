"""Keeps a program's constants in files while it is lowered, where ExecuTorch 1.5 would keep them as bytes.

ExecuTorch's containers take ``FileBackedData`` wherever they take bytes (``exir/_serialize/_cord.py``), and stream it
when the program is written; but neither XNNPACK's serializer nor the emitter makes any. Two places are patched:

- ``NamedDataStore.add_named_data``, through which XNNPACK's constants go, by their SHA-256;
- ``_Emitter._save_new_const_tensor``, through which all others go (embeddings).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .patches import replaced

# Bytes; what is smaller stays in memory.
SMALLEST = 1 << 18


@contextmanager
def constants_in_files(work: Path) -> Iterator[None]:
    """While it holds, large constants of every program that is lowered lie in a folder under ``work``.

    The program must be written before the block ends: the folder ends with it.

    Raises:
        OSError: the disk is full.
    """
    from executorch.exir._serialize._named_data_store import NamedDataStore
    from executorch.exir.emit._emitter import _Emitter

    folder = Path(tempfile.mkdtemp(prefix="constants-", dir=work))
    try:
        with ExitStack() as stack:
            stack.enter_context(replaced(NamedDataStore, "add_named_data", _named(folder)))
            stack.enter_context(replaced(_Emitter, "_save_new_const_tensor", _emitted(folder)))
            yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _named(folder: Path) -> Any:
    def wrap(original: Any) -> Any:
        def add_named_data(self: Any, key: str, data: Any, *rest: Any, **named: Any) -> Any:
            return original(self, key, _spilled(data, folder), *rest, **named)

        return add_named_data

    return wrap


def _emitted(folder: Path) -> Any:
    def wrap(original: Any) -> Any:
        def save(self: Any, spec: Any, buffer_data: bytes, *rest: Any, **named: Any) -> Any:
            return original(self, spec, _spilled(buffer_data, folder), *rest, **named)

        return save

    return wrap


def _spilled(data: Any, folder: Path) -> Any:
    """``data`` as it is, or a file that holds it, named by what it holds."""
    from executorch.exir._serialize._cord import FileBackedData

    if not isinstance(data, bytes) or len(data) < SMALLEST:
        return data
    digest = hashlib.sha256(data)
    path = folder / digest.hexdigest()
    if not path.exists():
        path.write_bytes(data)
    # Without its own clean-up: programs are copied on their way, and each copy would delete the file.
    return FileBackedData(str(path), cleanup=False, sha256=digest.digest())
