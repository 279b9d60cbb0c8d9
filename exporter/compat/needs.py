"""What a bundle's program needs of a runtime: from its manifest, and from the program's own bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ConformanceError, LackingError
from ..formats.flatbuffer import Flat
from ..util.packages import install_command
from . import facts

Kind = Literal["runtime", "schema", "backend", "operator", "node", "section", "metadata"]
_AGAIN = "copy or export the bundle again"
_XNNPACK = "XnnpackBackend"


@dataclass(frozen=True, order=True)
class Requirement:
    """One thing that a runtime must have.

    Attributes:
        kind: What kind of thing it is; ``node`` is a type of node or of value in a delegate's blob.
        name: Its name.
    """

    kind: Kind
    name: str

    @property
    def field(self) -> str:
        """The path of a metadata field within its message; empty for other kinds."""
        return self.name.partition(".")[2]


def read_executorch(path: Path) -> Iterator[Requirement]:
    """Return what a ``.pte`` requires: identifier, fields, operators, backends, and what is in XNNPACK's blobs.

    Raises:
        ConformanceError: The file isn't a program, or is cut short.
        LackingError: Python's flatbuffers isn't installed.
    """
    import mmap
    import struct

    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from _program(data)
    except (struct.error, IndexError, ValueError, TypeError, OSError) as error:
        raise ConformanceError(f"{path.name} can't be read as an ExecuTorch program: {error}", hint=_AGAIN) from error


def _program(data: Any) -> Iterator[Requirement]:
    identifier = bytes(data[4:8]).decode("ascii", "replace")
    if not identifier.startswith("ET"):
        raise ValueError(f"its identifier is {identifier!r}")
    yield Requirement("schema", identifier)
    program = Flat.root(data)
    for number, name in enumerate(facts.executorch_facts().group[-1].program_fields):
        if program.has(number):
            yield Requirement("schema", f"Program.{name}")
    for plan in program.tables(1):  # execution_plan
        for operator in plan.tables(6):
            name, overload = operator.text(0), operator.text(1)
            yield Requirement("operator", f"{name}.{overload}" if overload else name)
        for delegate in plan.tables(7):
            yield Requirement("backend", delegate.text(0))
            if delegate.text(0) == _XNNPACK:
                yield from _xnnpack(_blob(program, data, delegate.table(1)))


def _blob(program: Flat, data: Any, place: Flat) -> bytes:
    """What a BackendDelegateDataReference points to: inline, or a segment behind the program."""
    import struct

    index = place.number(1, "Uint32")
    if place.number(0) == 0:  # DataLocation.INLINE
        return list(program.tables(3))[index].data(0)
    segment = list(program.tables(4))[index]
    # _ExtendedHeader in exir/_serialize/_program.py: magic, its length, the program's size, where segments begin.
    magic, base = struct.unpack_from("<4s12xQ", data, 8)
    if magic != b"eh00":
        raise ValueError("it has segments but no extended header")
    start = base + segment.number(0, "Uint64")
    return bytes(data[start : start + segment.number(1, "Uint64")])


def _xnnpack(blob: bytes) -> Iterator[Requirement]:
    """Node types and data types of a blob: a flatbuffer, behind an XNNHeader if there is one."""
    import struct

    known = facts.executorch_facts()
    # XNNHeader in backends/xnnpack/serialization/xnnpack_graph_serialize.py: its length, where the flatbuffer is.
    magic, start = struct.unpack_from("<4x4s2xI", blob)
    start = start if magic == b"XH00" else 0
    yield Requirement("schema", blob[start + 4 : start + 8].decode("ascii", "replace"))
    graph = Flat.root(blob, start)
    for node in graph.tables(1):  # xnodes
        number = node.number(0)  # the type of xnode_union
        yield Requirement("node", _numbered(known.nodes, number - 1, f"node type {number}"))
    for value in graph.tables(2):  # xvalues
        quantized = value.number(0) == 2  # XNNQuantizedTensorValue, whose first field is an XNNTensorValue
        tensor = value.table(1).table(0) if quantized else value.table(1)
        number = tensor.number(0, "Int16")
        yield Requirement("node", _numbered(known.datatypes, number, f"data type {number}"))


def _numbered(names: tuple[str, ...], index: int, otherwise: str) -> str:
    return names[index] if 0 <= index < len(names) else otherwise


def read_litert(path: Path) -> Iterator[Requirement]:
    """Return the container's version, its kinds of sections, and the fields of the metadata that are set.

    Raises:
        ConformanceError: The file isn't a ``.litertlm``.
        LackingError: litert-lm-builder isn't installed.
    """
    try:
        from litert_lm_builder.runtime.proto import llm_metadata_pb2

        from ..formats.litertlm import LLM_METADATA, PROGRAM, read_header
    except ImportError as error:
        raise LackingError(f"litert-lm-builder isn't installed ({error}).", hint=install_command("litert")) from error
    header = read_header(path)
    yield Requirement("schema", f"container {header.version[0]}")
    with path.open("rb") as file:
        for section in header.sections:
            yield Requirement("section", section.kind)
            file.seek(section.begin)
            if section.kind == LLM_METADATA:
                metadata = llm_metadata_pb2.LlmMetadata.FromString(file.read(section.size))
                yield from (Requirement("metadata", f"LlmMetadata.{name}") for name in _set_fields(metadata, ""))
            elif section.kind == PROGRAM:
                yield Requirement("schema", file.read(8)[4:].decode("ascii", "replace"))


def _set_fields(message: Any, before: str) -> Iterable[str]:
    """The fields with a value that counts: not empty or false ones, which a reader without the field assumes too."""
    for field, value in message.ListFields():
        many = value if hasattr(value, "__len__") and not isinstance(value, str | bytes) else (value,)
        if field.message_type is None:
            if any(many):
                yield before + field.name
            continue
        inside = [name for each in many for name in _set_fields(each, f"{before}{field.name}.")]
        oneof = field.containing_oneof is not None  # which one it is says something by itself
        if inside or oneof:
            yield before + field.name
        yield from inside
