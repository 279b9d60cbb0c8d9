"""Tables of what is inside a ``.litertlm``: its sections, and the signatures of its program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import ConformanceError
from ...formats.litertlm import PROGRAM, mapped, program_section, read_sections
from .signature_names import CACHE_PREFIX

_MOST_ENTRIES = 1 << 16  # of any list; real ones have two for each layer and a few more
Table = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]


def sections(program: Path) -> Table:
    """Return kind, name, offset and size of each section."""
    rows = tuple(
        (section.kind, section.name or section.model_type or "", f"{section.begin:,}", f"{section.size:,}")
        for section in read_sections(program)
    )
    return ("section", "name", "offset", "bytes"), rows


def signatures(program: Path) -> Table:
    """Return inputs and outputs of each signature; caches of one shape are one entry.

    Raises:
        ConformanceError: The ``.tflite`` is damaged; and as ``read_sections``.
    """
    data = mapped(program, program_section(program))
    try:
        rows = tuple(_signatures(data))
    except Exception as error:  # flatbuffers' accessors verify nothing: they fail with whatever the bytes lead to
        raise ConformanceError(
            f"{program}: its {PROGRAM} section is damaged: {error!r}", hint="copy or export the bundle again"
        ) from error
    return ("signature", "inputs", "outputs"), rows


def _signatures(data: memoryview) -> Iterator[tuple[str, ...]]:
    from ai_edge_litert import schema_py_generated as schema

    types = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    model = schema.Model.GetRootAs(data, 0)
    for index in range(_bounded(model.SignatureDefsLength())):
        signature = model.SignatureDefs(index)
        graph = model.Subgraphs(signature.SubgraphIndex())
        inputs = [signature.Inputs(i) for i in range(_bounded(signature.InputsLength()))]
        outputs = [signature.Outputs(i) for i in range(_bounded(signature.OutputsLength()))]
        key = signature.SignatureKey().decode()
        yield key, _named(inputs, graph, types), _named(outputs, graph, types)


def _bounded(count: int) -> int:
    """A list's length: a damaged one can claim billions of entries."""
    if count > _MOST_ENTRIES:
        raise ValueError(f"a list of {count} entries")
    return count


def _named(entries: list[Any], graph: Any, types: dict[int, str]) -> str:
    plain: list[str] = []
    caches: dict[str, int] = {}
    for entry in entries:
        tensor = graph.Tensors(entry.TensorIndex())
        shape = f"{types[tensor.Type()]} [{', '.join(_sizes(tensor))}]"
        name = entry.Name().decode()
        if name.startswith(CACHE_PREFIX):
            caches[shape] = caches.get(shape, 0) + 1
        else:
            plain.append(f"{name} {shape}")
    return "; ".join([*plain, *(f"{count} caches {shape}" for shape, count in caches.items())])


def _sizes(tensor: Any) -> list[str]:
    """A tensor's dimensions; ``any`` for one that may have any size."""
    if length := _bounded(tensor.ShapeSignatureLength()):
        sizes = [tensor.ShapeSignature(k) for k in range(length)]
    else:
        sizes = [tensor.Shape(k) for k in range(_bounded(tensor.ShapeLength()))]
    return ["any" if size < 0 else str(size) for size in sizes]
