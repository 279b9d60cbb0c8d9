"""Links weights into a skeleton: each table once, quantized a few rows at a time as it is written to the file.

Format: TensorFlow Lite's flatbuffer schema (tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3), with weights
outside the flatbuffer (``Buffer.offset`` and ``Buffer.size``, counted from the start of the file).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...errors import UnsupportedError
from ...quantize.recipe import Scheme
from ...quantize.stored import StoredWeights
from ...util.progress import Progress
from .quantized_tables import SCALE_TYPE, TYPES, Table, table_bytes, write_table
from .row_scales import written_once
from .weight_inputs import PREFIX, Weight

_ALIGNMENT = 64
_IDENTIFIER = b"TFL3"


@dataclass
class _Tables:
    """Which table each weight takes.

    Attributes:
        index: A table's key -> index of its buffer in the model.
        tables: Index of a buffer -> its table.
        rows: Index of a buffer -> its rows' scales, which all tensors of the table share.
    """

    index: dict[tuple[int, int, int, str, int], int] = field(default_factory=dict)
    tables: dict[int, Table] = field(default_factory=dict)
    rows: dict[int, Any] = field(default_factory=dict)


def link(
    skeleton: Path,
    out: Path,
    weights: Mapping[str, Weight],
    schemes: Mapping[str, Scheme],
    stored: StoredWeights,
    progress: Progress,
) -> dict[str, int]:
    """Write ``out``: the skeleton with its matrices as constants.

    Args:
        skeleton: From ``convert``.
        out: The ``.tflite`` to write.
        weights: The weights by name in the table; the skeleton's signatures have ``PREFIX`` before it.
        schemes: The scheme of each weight by module name.
        stored: Weights that are quantized already, by module name.
        progress: Told of each table.

    Returns:
        Bytes in the file of each weight's table by input name; a table that is shared counts once, with the first.

    Raises:
        UnsupportedError: An operator that can't take a matrix as a constant uses one.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(skeleton.read_bytes(), 0)
    codes = _Codes(model)
    found = _Tables()
    sizes = dict.fromkeys(weights, 0)
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        for entry in [entry for entry in signature.inputs if entry.name.decode().startswith(PREFIX)]:
            name = entry.name.decode()
            weight = weights[name.removeprefix(PREFIX)]
            scheme = schemes[weight.module]
            table = Table(weight.module, weight.tensor, scheme, stored=stored.get(weight.module))
            sizes[name.removeprefix(PREFIX)] += _make_constant(model, graph, entry.tensorIndex, table, found)
            _use_constant(model, graph, entry.tensorIndex, codes, weight)
        signature.inputs = [entry for entry in signature.inputs if not entry.name.decode().startswith(PREFIX)]
    _drop_unused(model, found.tables)
    _write(model, out, found.tables, progress)
    return sizes


class _Codes:
    """Operator codes of the model by builtin operator, added if they are missing."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def builtin(self, index: int) -> int:
        """Return the builtin operator of the code at ``index``."""
        code = self.model.operatorCodes[index]
        return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))

    def index_of(self, operator: int, version: int) -> int:
        """Return the index of an operator's code, of at least ``version``."""
        from ai_edge_litert import schema_py_generated as schema

        for index, code in enumerate(self.model.operatorCodes):
            if self.builtin(index) == operator:
                code.version = max(code.version, version)
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = operator, min(operator, 127), version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1


def _make_constant(model: Any, graph: Any, index: int, table: Table, found: _Tables) -> int:
    """Gives the tensor its table, or an equal one that is there already; returns the bytes that this added."""
    from ai_edge_litert import schema_py_generated as schema

    tensor, scheme = graph.tensors[index], table.scheme
    tensor.name = table.module.encode()
    added = 0
    if table.key not in found.index:
        values = found.index[table.key] = _new_buffer(model)
        found.tables[values] = replace(table, scales=_new_buffer(model) if scheme.group else None)
        added = table_bytes(table)
    buffer = found.index[table.key]
    table = found.tables[buffer]
    tensor.buffer = buffer
    tensor.type = getattr(schema.TensorType, TYPES[scheme.weight])
    graph.inputs = [i for i in graph.inputs if i != index]
    if scheme.weight == "float32":
        return added
    if table.scales is None:
        if buffer not in found.rows:
            found.rows[buffer] = written_once(table.row_scales())
        tensor.quantization = found.rows[buffer]
        return added
    quantization = schema.QuantizationParametersT()
    quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
    details = schema.BlockwiseQuantizationT()
    details.scales = _scale_tensor(graph, table)
    details.zeroPoints, details.blockSize = -1, scheme.group
    quantization.details = details
    tensor.quantization = quantization
    return added


def _new_buffer(model: Any) -> int:
    from ai_edge_litert import schema_py_generated as schema

    model.buffers.append(schema.BufferT())
    return len(model.buffers) - 1


def _scale_tensor(graph: Any, table: Table) -> int:
    from ai_edge_litert import schema_py_generated as schema

    tensor = schema.TensorT()
    tensor.name = f"{table.module}.scales".encode()
    tensor.shape = [table.rows, table.columns // table.scheme.group]
    tensor.type = getattr(schema.TensorType, SCALE_TYPE)
    tensor.buffer = table.scales
    tensor.hasRank = True
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _use_constant(model: Any, graph: Any, index: int, codes: _Codes, weight: Weight) -> None:
    """Rewrites the operators that take the matrix to the forms which take a constant one."""
    from ai_edge_litert import schema_py_generated as schema

    operators = schema.BuiltinOperator
    for operator in graph.operators:
        if index not in operator.inputs:
            continue
        kind = codes.builtin(operator.opcodeIndex)
        right = kind == operators.BATCH_MATMUL and operator.inputs[1] == index
        if right and operator.builtinOptions.adjY and not operator.builtinOptions.adjX:
            operator.opcodeIndex = codes.index_of(operators.FULLY_CONNECTED, version=9)
            operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
            options = schema.FullyConnectedOptionsT()
            options.keepNumDims = True
            operator.builtinOptions = options
            operator.inputs = [operator.inputs[0], index, -1]
        elif kind == operators.EMBEDDING_LOOKUP and operator.inputs[1] == index:
            codes.index_of(operators.EMBEDDING_LOOKUP, version=4)
        else:
            name = next((k for k, v in vars(operators).items() if v == kind), str(kind))
            raise UnsupportedError(
                f"{weight.module}: the program passes this matrix to {name}, which can't take it as a constant.",
                hint="Gemcut doesn't have the adaptation that this model needs yet; please report it.",
            )


def _drop_unused(model: Any, tables: Mapping[int, Table]) -> None:
    """Drops what no runtime reads: the converter's metadata, and names of all but inputs, outputs and weights."""
    model.metadata, model.description = [], b"gemcut"
    for graph in model.subgraphs:
        named = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            if index not in named and tensor.buffer not in tables:
                tensor.name = None


def _write(model: Any, out: Path, tables: dict[int, Table], progress: Progress) -> None:
    """Writes the flatbuffer, then the tables; offsets have a fixed width, so the length is known before they are."""
    places = {}
    for buffer, table in tables.items():
        places[buffer] = (table, False)
        if table.scales is not None:
            places[table.scales] = (table, True)
    length = len(_packed(model, dict.fromkeys(places, (1, 1))))
    offset, spans = _aligned(length), {}
    for buffer, (table, scales) in places.items():
        size = table.scale_bytes if scales else table.value_bytes
        spans[buffer] = (offset, size)
        offset = _aligned(offset + size)
    head = _packed(model, spans)
    assert len(head) == length, "offsets changed the flatbuffer's length"
    with out.open("wb") as file:
        file.write(head)
        for done, (buffer, (table, scales)) in enumerate(places.items()):
            progress.update(done, len(places), table.module)
            file.write(b"\0" * (spans[buffer][0] - file.tell()))
            write_table(file, table, scales)
        file.write(b"\0" * (_aligned(file.tell()) - file.tell()))


def _packed(model: Any, spans: Mapping[int, tuple[int, int]]) -> bytes:
    import flatbuffers

    for index, (offset, size) in spans.items():
        model.buffers[index].offset, model.buffers[index].size = offset, size
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
