"""Safetensors, read one tensor at a time; headers are checked against the file before anything is mapped.

The format: an unsigned 64-bit little-endian header length N, N bytes of JSON, then the data; a tensor's
``data_offsets`` count from the first byte after the header, and the tensors cover the data without a gap.
"""

from __future__ import annotations

import json
import math
import mmap
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, UnsupportedError, nearest

if TYPE_CHECKING:
    import torch

    from ..util.file_tensors import Scratch

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_HEADER_LIMIT = 100_000_000
# By safetensors' name: bytes of an element, and torch's name.
_DTYPES = {
    "BOOL": (1, "bool"),
    "U8": (1, "uint8"),
    "I8": (1, "int8"),
    "F8_E5M2": (1, "float8_e5m2"),
    "F8_E4M3": (1, "float8_e4m3fn"),
    "F8_E8M0": (1, "float8_e8m0fnu"),
    "U16": (2, "uint16"),
    "I16": (2, "int16"),
    "F16": (2, "float16"),
    "BF16": (2, "bfloat16"),
    "U32": (4, "uint32"),
    "I32": (4, "int32"),
    "F32": (4, "float32"),
    "U64": (8, "uint64"),
    "I64": (8, "int64"),
    "F64": (8, "float64"),
    "C64": (8, "complex64"),
}
_AGAIN = "the file is damaged or its download stopped early: fetch it again"
_PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Entry:
    """One tensor as a header describes it.

    Attributes:
        shard: The file that holds it.
        dtype: Its dtype in safetensors' names ('BF16', 'F32', ...).
        shape: Its shape.
        nbytes: Its size in bytes.
        offset: The place of its first byte in the file.
        stored: Its name in the file, if it is known under another.
    """

    shard: Path
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    offset: int
    stored: str = ""


class TensorIndex:
    """The tensors of a checkpoint across its shards, memory-mapped and read one at a time.

    Args:
        entries: By tensor name.
        shards: The files.

    Attributes:
        shards: As passed in.
    """

    def __init__(self, entries: dict[str, Entry], shards: tuple[Path, ...]) -> None:
        self._entries = entries
        self._maps: dict[Path, mmap.mmap] = {}
        self.shards = shards

    def names(self) -> tuple[str, ...]:
        """Return all tensor names, sorted."""
        return tuple(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            close = nearest(name, self._entries).split(" Known:")[0]
            raise CheckpointError(f"no tensor '{name}' in the checkpoint; {close}", hint=_AGAIN)
        return self._entries[name]

    def renamed(self, name: str) -> Entry:
        """Return a tensor's entry, to be put under another name."""
        entry = self._entry(name)
        return entry if entry.stored else replace(entry, stored=name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, from the header alone."""
        return self._entry(name).shape

    def dtype(self, name: str) -> str:
        """Return a tensor's dtype in safetensors' names ('BF16', 'F16', 'F32', ...), from the header alone."""
        return self._entry(name).dtype

    def shard(self, name: str) -> Path:
        """Return the file that holds a tensor."""
        return self._entry(name).shard

    def get(self, name: str) -> torch.Tensor:
        """Return a tensor in its stored dtype, backed by the memory-mapped file; it must not be written to.

        Raises:
            CheckpointError: There is no such tensor, or its file changed since it was opened.
        """
        from safetensors import SafetensorError, safe_open

        entry = self._entry(name)
        try:  # opened again each time, so that a tensor's pages are unmapped with it
            with safe_open(entry.shard, framework="pt", device="cpu") as file:
                tensor: torch.Tensor = file.get_tensor(entry.stored or name)
                return tensor
        except (SafetensorError, OSError) as error:
            message = f"{entry.shard.name}: tensor '{name}' can't be read: {error}"
            raise CheckpointError(message, hint=_AGAIN) from error

    def mapped(self, name: str) -> torch.Tensor:
        """Return the file's own bytes as a tensor in its stored dtype; writing to it ends the process.

        All tensors of a shard share one read-only mapping, which costs neither memory nor swap.

        Raises:
            CheckpointError: There is no such tensor, or its file changed since it was opened.
        """
        import torch

        entry = self._entry(name)
        try:
            if entry.shard not in self._maps:
                with entry.shard.open("rb") as file:
                    self._maps[entry.shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            data = self._maps[entry.shard]
            if entry.offset + entry.nbytes > len(data):
                raise OSError(f"the file ends at byte {len(data)}")
        except (OSError, ValueError) as error:  # ValueError: the file is empty now
            message = f"{entry.shard.name}: tensor '{name}' can't be read: {error}"
            raise CheckpointError(message, hint=_AGAIN) from error
        dtype = getattr(torch, _DTYPES[entry.dtype][1])
        if not entry.nbytes:
            return torch.empty(entry.shape, dtype=dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the buffer is not writable
            flat = torch.frombuffer(data, dtype=torch.uint8, count=entry.nbytes, offset=entry.offset)
        if entry.offset % dtype.itemsize:  # allowed by the format, though nothing writes it
            flat = flat.clone()
        return flat.view(dtype).view(entry.shape)

    def kept(self, name: str, scratch: Scratch) -> torch.Tensor:
        """Return a tensor that costs no memory: ``mapped``, or in a file of ``scratch`` if no file has it as it is.

        A subclass that overrides ``get`` overrides this too.

        Args:
            name: The tensor's name.
            scratch: Takes the tensor if need be.

        Raises:
            CheckpointError: There is no such tensor, or its file changed since it was opened.
            OSError: The disk is full.
        """
        return self.mapped(name)

    @property
    def total_bytes(self) -> int:
        """The bytes of all tensors as stored."""
        return sum(entry.nbytes for entry in self._entries.values())


def open_tensors(folder: Path) -> TensorIndex:
    """Find and check the safetensors of a Hugging Face directory, without reading a weight.

    Args:
        folder: The directory.

    Raises:
        CheckpointError: There are no weights, a shard is missing, a file is corrupt or truncated, or the index
            disagrees with its shards.
        UnsupportedError: The weights exist only as pickle or GGUF.
    """
    index: dict[str, str] = {}
    shards: tuple[Path, ...]
    if (folder / SINGLE).exists():
        shards = (folder / SINGLE,)
    elif (folder / INDEX).exists():
        index = _read_index(folder)
        shards = _shards_of(folder, index)
    else:
        raise no_weights(sorted(path.name for path in folder.iterdir()), str(folder))
    entries: dict[str, Entry] = {}
    for shard in shards:
        for name, entry in read_header(shard).items():
            if name in entries:
                raise CheckpointError(
                    f"tensor '{name}' is in both {entries[name].shard.name} and {shard.name}", hint=_AGAIN
                )
            entries[name] = entry
    for name, shard_name in index.items():
        if name not in entries or entries[name].shard.name != shard_name:
            message = f"{INDEX} puts tensor '{name}' in {shard_name}, which doesn't hold it"
            raise CheckpointError(message, hint=_AGAIN)
    return TensorIndex(entries, shards)


def no_weights(files: Iterable[str], where: str) -> CheckpointError | UnsupportedError:
    """Return the error for a checkpoint without `model.safetensors`, depending on what it has instead.

    Args:
        files: The names of its files.
        where: The checkpoint, for the message.
    """
    names = list(files)
    convert = (
        "if you trust its author, convert it once: "
        'python -c "from transformers import AutoModelForCausalLM as M; '
        "M.from_pretrained('DIR').save_pretrained('DIR-safetensors')\", and copy the tokenizer's files too"
    )
    if SINGLE in names:
        return CheckpointError(f"{where}: {SINGLE} is a link to a file that is gone", hint=_AGAIN)
    if orphans := [name for name in names if name.startswith("model-") and name.endswith(".safetensors")]:
        return CheckpointError(f"{where} holds {orphans[0]} but no {INDEX}", hint="fetch the index file too")
    if others := [name for name in names if name.endswith(".safetensors")]:
        return CheckpointError(
            f"{where} has no {SINGLE}; {others[0]} is not a whole model's weights",
            hint=f"if it is an adapter, name its base model as MODEL: gemcut export BASE --adapter {where}",
        )
    if pickles := [name for name in names if name.endswith(_PICKLES)]:
        return UnsupportedError(
            f"{where}: the weights exist only as pickle ({pickles[0]}), which can run code when opened; "
            "Gemcut reads safetensors only",
            hint=convert,
        )
    if ggufs := [name for name in names if name.endswith(".gguf")]:
        return UnsupportedError(
            f"{where}: {ggufs[0]} is GGUF, already quantized; Gemcut quantizes from the float safetensors",
            hint="name the original checkpoint that this file was made from",
        )
    return CheckpointError(
        f"{where} has no {SINGLE} and no {INDEX}", hint="name a directory or hub id that holds the weights"
    )


def _read_index(folder: Path) -> dict[str, str]:
    """Tensor name -> shard file name, from the index."""
    try:
        weights: dict[str, str] = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        good = isinstance(weights, dict) and all(isinstance(shard, str) for shard in weights.values())
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / INDEX} can't be read: {error!r}", hint=_AGAIN) from error
    if not good or not weights:
        raise CheckpointError(f"{folder / INDEX} has no weight_map of names to files", hint=_AGAIN)
    return weights


def _shards_of(folder: Path, index: dict[str, str]) -> tuple[Path, ...]:
    names = sorted(set(index.values()))
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{INDEX} names a shard outside its directory: {name!r}", hint=_AGAIN)
        if not (folder / name).exists():
            count = sum(shard == name for shard in index.values())
            first = next(tensor for tensor, shard in index.items() if shard == name)
            raise CheckpointError(
                f"shard {name} is missing from {folder}: {INDEX} puts {count} tensors in it, '{first}' first",
                hint=f"fetch {name} again",
            )
    return tuple(folder / name for name in names)


def read_header(path: Path) -> dict[str, Entry]:
    """Return the tensors of a safetensors file, with its header checked against the file's size.

    Args:
        path: The file.

    Raises:
        CheckpointError: The header is corrupt or claims more than the file holds; the message names file and tensor.
        UnsupportedError: This version doesn't know a dtype.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = _header_length(path, file.read(8), size)
            raw = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}", hint=_AGAIN) from error
    return _check_header(path, _parse_header(path, raw), 8 + length, size - 8 - length)


def _header_length(path: Path, head: bytes, size: int) -> int:
    """The header's length in bytes, from a file's first eight."""
    if head.startswith(b"version "):
        raise CheckpointError(f"{path.name} is a Git LFS pointer, not weights", hint="run: git lfs pull")
    if len(head) < 8:
        raise CheckpointError(f"{path.name} is {size} bytes, too short for a header", hint=_AGAIN)
    length = int.from_bytes(head, "little")
    if length > size - 8:
        raise CheckpointError(
            f"{path.name}: the header claims {length} bytes, but the file holds {size - 8} after the length",
            hint=_AGAIN,
        )
    if length > _HEADER_LIMIT:
        raise CheckpointError(f"{path.name}: a header of {length} bytes is over the limit", hint=_AGAIN)
    return length


def _parse_header(path: Path, raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if twice := {key for key in keys if keys.count(key) > 1} if len(set(keys)) < len(keys) else None:
            raise ValueError(f"{min(twice)!r} appears twice")
        return dict(pairs)

    try:
        header = json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name}: its header is not JSON ({error})", hint=_AGAIN) from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path.name}: its header is not a JSON object", hint=_AGAIN)
    header.pop("__metadata__", None)
    return header


def _check_header(path: Path, header: dict[str, Any], begin: int, data_bytes: int) -> dict[str, Entry]:
    """The entries, their offsets checked to cover ``data_bytes`` from ``begin`` on without a gap or an overlap."""
    spans = sorted((*_span(path, name, row), name) for name, row in header.items())
    end = 0
    entries = {}
    for first, last, name in spans:
        row = header[name]
        if last > data_bytes:
            raise CheckpointError(
                f"{path.name}: tensor '{name}' ends at byte {last} of the data, the file holds {data_bytes}",
                hint=_AGAIN,
            )
        if first != end:
            message = f"{path.name}: tensor '{name}' starts at byte {first} of the data, not at {end}"
            raise CheckpointError(message, hint=_AGAIN)
        end = last
        entries[name] = Entry(path, row["dtype"], tuple(row["shape"]), last - first, begin + first)
    if end != data_bytes:
        raise CheckpointError(f"{path.name}: {data_bytes - end} bytes follow the last tensor", hint=_AGAIN)
    return entries


def _span(path: Path, name: str, row: Any) -> tuple[int, int]:
    """A tensor's first byte and the byte after its last, checked against its dtype and shape."""

    def count(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    fields: dict[str, Any] = row if isinstance(row, dict) else {}
    dtype: Any = fields.get("dtype")
    shape: Any = fields.get("shape")
    offsets: Any = fields.get("data_offsets")
    sound = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2
    if not (sound and all(count(value) for value in [*(shape or ()), *(offsets or ())])):
        message = f"{path.name}: tensor '{name}' has no valid shape and data_offsets"
        raise CheckpointError(message, hint=_AGAIN)
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise UnsupportedError(
            f"{path.name}: tensor '{name}' is of dtype {dtype!r}: {nearest(str(dtype), _DTYPES)}",
            hint="use the float checkpoint (bfloat16, float16 or float32)",
        )
    first, last = offsets
    if last - first != math.prod(shape) * _DTYPES[dtype][0]:
        raise CheckpointError(
            f"{path.name}: tensor '{name}' of {dtype} {shape} can't be {last - first} bytes", hint=_AGAIN
        )
    return first, last
