"""Keeps a program's constants in files while it is lowered; ExecuTorch 1.5 would keep them in memory as bytes.

ExecuTorch's containers take ``FileBackedData`` wherever they take bytes (``exir/_serialize/_cord.py``), and stream it
when the program is written; but neither XNNPACK's serializer nor the emitter makes any. These places are patched:

- ``bytes(array)`` in both modules, which copies a whole tensor to hash it and again to keep it, gives a view instead;
- ``NamedDataStore.add_named_data``, through which XNNPACK's constants go, writes it to a file;
- ``_Emitter._save_new_const_tensor``, through which all others go (embeddings), does so too;
- ``NodeVisitor.convert_to_qc4w``, which makes five copies of a matrix, is called for some rows at a time;
- ``XnnpackBackend.copy_exported_program_for_preprocess``, which copies all partitions with their constants at once,
  copies only the graphs: XNNPACK's passes replace constants by new ones and write to none.
"""

from __future__ import annotations

import copy
import ctypes
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .guard import replaced, require_version

# Bytes; what is smaller stays in memory.
SMALLEST = 1 << 18
# Elements of a matrix that are packed at a time.
_PIECE = 1 << 24


@contextmanager
def constants_in_files(work: Path, on_constant: Callable[[int], None] = lambda size: None) -> Iterator[None]:
    """Keep large constants of every program that is lowered within the block in a folder under ``work``.

    The program must be written before the block ends, because the folder is removed then.

    Args:
        work: Where the folder is made.
        on_constant: Called with the bytes of each constant as it is written.

    Raises:
        OSError: The disk is full.
    """
    from executorch.backends.xnnpack.operators import node_visitor
    from executorch.backends.xnnpack.xnnpack_preprocess import XnnpackBackend
    from executorch.exir._serialize._named_data_store import NamedDataStore
    from executorch.exir.emit import _emitter

    require_version()
    packed = staticmethod(_by_rows(node_visitor.NodeVisitor.convert_to_qc4w))
    folder = Path(tempfile.mkdtemp(prefix="constants-", dir=work))
    try:
        with ExitStack() as stack:
            stack.enter_context(replaced(NamedDataStore, "add_named_data", _named_spilled(folder, on_constant)))
            emitted = _emitted_spilled(folder, on_constant)
            stack.enter_context(replaced(_emitter._Emitter, "_save_new_const_tensor", emitted))
            stack.enter_context(_attribute_set(node_visitor, "bytes", _bytes_or_view))
            stack.enter_context(_attribute_set(_emitter, "bytes", _bytes_or_view))
            stack.enter_context(_attribute_set(node_visitor.NodeVisitor, "convert_to_qc4w", packed))
            stack.enter_context(replaced(XnnpackBackend, "copy_exported_program_for_preprocess", _graphs_copied))
            yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def empty_caches(program: Any) -> None:
    """Give the buffers that a traced program writes to, all of them zeros, a storage of one element.

    Lowering copies every constant that it passes on; the runtime allocates these, and no file holds them.
    """
    import torch

    for name in program.graph_signature.buffers_to_mutate.values():
        for held in (program.constants, program.state_dict):
            if name in held:
                held[name] = torch.zeros((), dtype=held[name].dtype).expand(held[name].shape)


@contextmanager
def _attribute_set(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Sets an attribute that may be a builtin's name or a static method, and restores it afterwards."""
    missing = object()
    before = vars(owner).get(name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _bytes_or_view(array: Any) -> bytes | memoryview:
    """``bytes(array)``; for a large ctypes array a view, valid for as long as the tensor that it points into lives."""
    if isinstance(array, ctypes.Array) and ctypes.sizeof(array) >= SMALLEST:
        return memoryview(array)
    return bytes(array)


def _by_rows(original: Any) -> Any:
    def convert_to_qc4w(matrix: Any) -> Any:
        import torch

        if matrix.ndim != 2:
            return original(matrix)
        rows = max(1, _PIECE // matrix.shape[1])
        return torch.cat([original(part) for part in matrix.split(rows)])

    return convert_to_qc4w


def _is_whole(tensor: Any) -> bool:
    """Whether a tensor is all of its storage: XNNPACK's serializer reads from the storage's start; copies are whole."""
    import torch

    return isinstance(tensor, torch.Tensor) and tensor.untyped_storage().nbytes() == tensor.nbytes


def _graphs_copied(original: Any) -> Any:
    def copy_exported_program_for_preprocess(program: Any, compile_specs: Any) -> Any:
        tensors = (*program.state_dict.values(), *program.constants.values())
        return copy.deepcopy(program, {id(tensor): tensor for tensor in tensors if _is_whole(tensor)})

    return staticmethod(copy_exported_program_for_preprocess)


def _named_spilled(folder: Path, on_constant: Callable[[int], None]) -> Any:
    def wrap(original: Any) -> Any:
        def add_named_data(self: Any, key: str, data: Any, *rest: Any, **named: Any) -> Any:
            return original(self, key, _spilled(data, folder, on_constant), *rest, **named)

        return add_named_data

    return wrap


def _emitted_spilled(folder: Path, on_constant: Callable[[int], None]) -> Any:
    def wrap(original: Any) -> Any:
        def save(self: Any, spec: Any, buffer_data: Any, *rest: Any, **named: Any) -> Any:
            return original(self, spec, _spilled(buffer_data, folder, on_constant), *rest, **named)

        return save

    return wrap


def _spilled(data: Any, folder: Path, on_constant: Callable[[int], None]) -> Any:
    """``data`` as it is, or a file that holds it, named by its hash."""
    from executorch.exir._serialize._cord import FileBackedData

    if not isinstance(data, bytes | memoryview):
        return data
    on_constant(len(data))
    if len(data) < SMALLEST:
        return bytes(data)
    digest = hashlib.sha256(data)
    path = folder / digest.hexdigest()
    if not path.exists():
        path.write_bytes(data)
    # Without its own clean-up: programs are copied while they are lowered, and each copy would delete the file.
    return FileBackedData(str(path), cleanup=False, sha256=digest.digest())
