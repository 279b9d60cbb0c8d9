"""What is inside a ``.litertlm``, in words: its sections, and the signatures of its program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .container import mapped, program_section, read_sections
from .program_names import CACHE_PREFIX

Table = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]


def sections(program: Path) -> Table:
    """Kind, name, place and size of each section."""
    rows = tuple(
        (section.kind, section.name or section.model_type or "", f"{section.begin:,}", f"{section.size:,}")
        for section in read_sections(program)
    )
    return ("section", "name", "offset", "bytes"), rows


def signatures(program: Path) -> Table:
    """Inputs and outputs of each signature; caches of one shape in one entry."""
    from ai_edge_litert import schema_py_generated as schema

    types = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    data = mapped(program, program_section(program))
    model = schema.Model.GetRootAs(data, 0)
    rows = []
    for index in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(index)
        graph = model.Subgraphs(signature.SubgraphIndex())
        inputs = [signature.Inputs(i) for i in range(signature.InputsLength())]
        outputs = [signature.Outputs(i) for i in range(signature.OutputsLength())]
        key = signature.SignatureKey().decode()
        rows.append((key, _named(inputs, graph, types), _named(outputs, graph, types)))
    return ("signature", "inputs", "outputs"), tuple(rows)


def _named(entries: list[Any], graph: Any, types: dict[int, str]) -> str:
    plain: list[str] = []
    caches: dict[str, int] = {}
    for entry in entries:
        tensor = graph.Tensors(entry.TensorIndex())
        dims = ", ".join(str(tensor.Shape(k)) for k in range(tensor.ShapeLength()))
        shape = f"{types[tensor.Type()]} [{dims}]"
        name = entry.Name().decode()
        if name.startswith(CACHE_PREFIX):
            caches[shape] = caches.get(shape, 0) + 1
        else:
            plain.append(f"{name} {shape}")
    return "; ".join([*plain, *(f"{count} caches {shape}" for shape, count in caches.items())])
