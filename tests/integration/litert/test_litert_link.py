"""Linking weights into a skeleton: the bytes in the file, read back through TensorFlow Lite's schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gemcut.errors import UnsupportedError
from gemcut.quantize.recipe import Scheme

FLOAT = Scheme("float32", "float32")
INT8 = Scheme("int8", "int8", activation="int8-dynamic")
INT4 = Scheme("int4", "int4", activation="int8-dynamic")
INT4_32 = Scheme("int4 by 32", "int4", 32, "int8-dynamic")
ROWS8, ROWS4 = Scheme("rows of int8", "int8"), Scheme("rows of int4", "int4")
ROWS4_32 = Scheme("rows of int4 by 32", "int4", 32)
ALL = [FLOAT, INT8, INT4, INT4_32]
EMBEDDING, HEAD = "model.embed_tokens", "lm_head"
SIGNATURES = {"decode", "prefill_8", "prefill_16"}


@dataclass(frozen=True)
class Stored:
    """A module's table as one signature has it. spans: bytes of the file, of values and of groups' scales."""

    signature: str
    module: str
    buffer: int
    kind: str
    shape: tuple[int, int]
    spans: tuple[tuple[int, int], ...]
    values: npt.NDArray[Any]
    scales: npt.NDArray[np.float32] | None
    block: int


def read(program: Path, modules: set[str]) -> list[Stored]:
    """Every table of every signature."""
    from ai_edge_litert import schema_py_generated as schema

    kinds = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    data = program.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(data, 0)

    def span(buffer: int) -> tuple[int, int]:
        return model.buffers[buffer].offset, model.buffers[buffer].size

    found = []
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        for tensor in graph.tensors:
            name = (tensor.name or b"").decode()
            if name not in modules:
                continue
            spans, scales, block = [span(tensor.buffer)], None, 0
            packed = data[spans[0][0] : sum(spans[0])]
            shape = tuple(int(size) for size in tensor.shape)
            how = tensor.quantization
            if how and how.detailsType == schema.QuantizationDetails.BlockwiseQuantization:
                assert how.details.zeroPoints == -1
                of = graph.tensors[how.details.scales]
                assert kinds[of.type] == "FLOAT16"
                spans.append(span(of.buffer))
                scales = np.frombuffer(data[spans[1][0] : sum(spans[1])], np.float16).astype(np.float32)
                scales, block = scales.reshape(of.shape), how.details.blockSize
            elif how and how.scale is not None:
                assert not np.any(how.zeroPoint)
                assert how.quantizedDimension == 0
                scales = np.asarray(how.scale, np.float32).reshape(-1, 1)
            values = unpacked(packed, kinds[tensor.type]).reshape(shape)
            key = signature.signatureKey.decode()
            found.append(
                Stored(key, name, tensor.buffer, kinds[tensor.type], shape, tuple(spans), values, scales, block)
            )
    return found


def unpacked(data: bytes, kind: str) -> npt.NDArray[Any]:
    if kind != "INT4":
        return np.frombuffer(data, {"FLOAT32": np.float32, "INT8": np.int8}[kind])
    pairs = np.frombuffer(data, np.uint8)
    nibbles = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(-1).astype(np.int8)
    return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)


def dequantized(weight: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    from gemcut.quantize.methods.round_to_nearest import METHOD

    if scheme.weight == "float32":
        return weight
    values, scales = METHOD.quantize(weight, scheme)
    return values * scales.repeat_interleave(weight.shape[1] // scales.shape[1], dim=1)


@pytest.mark.parametrize("scheme", ALL, ids=str)
def test_every_table_is_what_the_recipe_makes_of_the_weight(converted: Any, scheme: Scheme, tmp_path: Path) -> None:
    from gemcut.quantize.methods.round_to_nearest import METHOD

    embedding = {"float32": FLOAT, "int8": ROWS8, "int4": ROWS4}[scheme.weight]
    sizes = converted.link(tmp_path / "out.tflite", scheme, embedding)
    stored = read(tmp_path / "out.tflite", set(sizes))
    assert {(table.signature, table.module) for table in stored} >= {(s, EMBEDDING) for s in SIGNATURES}
    assert {table.module for table in stored} == set(sizes)
    assert len({table.module for table in stored if table.signature == "prefill_8"}) >= len(sizes) // 2
    for table in stored:
        weight = converted.tensor(table.module)
        way = embedding if table.module == EMBEDDING else scheme
        assert table.kind == way.weight.upper()
        assert table.shape == tuple(weight.shape)
        assert table.block == way.group
        if way.weight == "float32":
            assert table.scales is None
            np.testing.assert_array_equal(table.values, weight.numpy())
            continue
        values, scales = METHOD.quantize(weight, way)
        np.testing.assert_array_equal(table.values, values.numpy())
        assert table.scales is not None
        np.testing.assert_array_equal(table.scales, scales.numpy())
        step = np.repeat(table.scales, weight.shape[1] // table.scales.shape[1], axis=1)
        assert np.all(np.abs(table.values * step - weight.numpy()) <= 0.55 * step)
        assert len(np.unique(table.values)) > (12 if way.weight == "int4" else 100)


@pytest.mark.parametrize(
    ("linear", "embedding", "tables"),
    [
        (FLOAT, FLOAT, 1),
        (INT8, ROWS8, 1),
        (INT4, ROWS4, 1),
        (INT4_32, ROWS8, 2),
        (INT4_32, ROWS4, 2),
        (INT8, FLOAT, 2),
        (INT4_32, ROWS4_32, 1),
    ],
    ids=str,
)
def test_a_tied_table_stands_once_for_each_way_of_storing_it(
    converted: Any, linear: Scheme, embedding: Scheme, tables: int, tmp_path: Path
) -> None:
    assert converted.tensor(EMBEDDING).data_ptr() == converted.tensor(HEAD).data_ptr()
    out = tmp_path / "out.tflite"
    sizes = converted.link(out, linear, embedding)
    stored, data = read(out, set(sizes)), out.read_bytes()
    tied = [table for table in stored if table.module in (EMBEDDING, HEAD)]
    assert {table.signature for table in tied if table.module == EMBEDDING} == SIGNATURES
    assert "decode" in {table.signature for table in tied if table.module == HEAD}
    assert len({table.buffer for table in tied}) == tables
    for table in tied:
        offset, size = table.spans[0]
        assert data.count(data[offset : offset + size]) == 1
    assert [sizes[EMBEDDING], sizes[HEAD]].count(0) == 2 - tables
    rows = {table.buffer: 4 * table.shape[0] for table in stored if table.scales is not None and not table.block}
    outside = {span for table in stored for span in table.spans}
    assert sum(sizes.values()) == sum(size for _, size in outside) + sum(rows.values())


def test_tables_stand_aligned_one_after_another_and_end_the_file(converted: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    sizes = converted.link(out, INT4_32, ROWS8)
    end = 0
    for offset, size in sorted({span for table in read(out, set(sizes)) for span in table.spans}):
        assert offset % 64 == 0
        assert end == 0 or offset == -(-end // 64) * 64
        end = offset + size
    assert out.stat().st_size == -(-end // 64) * 64


@pytest.mark.parametrize("scheme", ALL, ids=str)
def test_a_few_rows_at_a_time_give_the_bytes_of_the_whole(
    converted: Any, scheme: Scheme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemcut.runtimes.litert import quantized_tables as tables

    whole, pieces = tmp_path / "whole.tflite", tmp_path / "pieces.tflite"
    converted.link(whole, scheme, ROWS8)
    monkeypatch.setattr(tables, "_ROWS_BYTES", 3 * 4 * 64)  # 3 rows of the model's width, 2 of its MLP's
    converted.link(pieces, scheme, ROWS8)
    assert pieces.read_bytes() == whole.read_bytes()


def test_the_order_of_the_weights_changes_no_byte(converted: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    one, other = tmp_path / "one.tflite", tmp_path / "other.tflite"
    sizes = converted.link(one, INT4_32, ROWS8)
    assert replace(converted, weights=dict(reversed(converted.weights.items()))).link(other, INT4_32, ROWS8) == sizes
    assert other.read_bytes() == one.read_bytes()


@pytest.mark.parametrize("scheme", ALL, ids=str)
def test_no_weight_is_an_input_any_more_and_xnnpack_takes_every_product(
    converted: Any, scheme: Scheme, tmp_path: Path
) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from gemcut.runtimes.litert.requirements import read_requirements

    out = tmp_path / "out.tflite"
    converted.link(out, scheme, ROWS8)
    signatures = Interpreter(model_path=str(out)).get_signature_list()
    assert set(signatures) == SIGNATURES
    caches = {f"kv_cache_{kind}_{layer}" for kind in "kv" for layer in range(2)}
    for signature in signatures.values():
        assert set(signature["inputs"]) == {"tokens", "input_pos", "mask"} | caches
    needs = read_requirements(out, "XNNPACK")
    assert needs.delegates["XNNPACK"] >= 1
    assert needs.delegated_share == 1.0
    assert any(operator.startswith("FULLY_CONNECTED.v") for operator in needs.operators)


def test_nothing_of_the_machine_is_in_the_file(converted: Any, float_program: Path) -> None:
    data = float_program.read_bytes()
    for place in (Path.home(), Path.cwd(), Path(torch.__file__).parent, converted.checkpoint.parent):
        assert str(place).encode() not in data or str(place) == "/"


def test_progress_tells_of_each_table(converted: Any, tmp_path: Path) -> None:
    from gemcut.runtimes.litert.link import link

    told = []

    class Told:
        def stage(self, name: str) -> None: ...
        def note(self, text: str) -> None: ...
        def update(self, done: float, total: float, what: str = "") -> None:
            told.append((done, total, what))

    schemes = dict.fromkeys((w.module for w in converted.weights.values()), ROWS8)
    link(converted.skeleton, tmp_path / "out.tflite", converted.weights, schemes, {}, Told())
    tables = {EMBEDDING if what == HEAD else what for _, _, what in told}  # one table, which either may be told of
    assert tables == schemes.keys() - {HEAD}
    assert [done for done, _, _ in told] == list(range(len(told)))
    assert {total for _, total, _ in told} == {len(told)}


IDS = [2, *range(40, 75)]


def program_logits(program: Path) -> npt.NDArray[np.float32]:
    from gemcut.runtimes.litert.runner import LiteRTRunner

    runner = LiteRTRunner(program, threads=2, context=80)
    return np.stack([runner.step(token, position) for position, token in enumerate(IDS)])


def torch_logits(model: Any, linear: Scheme, embedding: Scheme) -> npt.NDArray[np.float32]:
    """transformers with the weights that the tables stand for, activations in float."""
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        for module in list(model.modules()):
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                way = embedding if isinstance(module, torch.nn.Embedding) else linear
                module.weight.copy_(dequantized(module.weight.clone(), way))
        return model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0].numpy()


@pytest.mark.parametrize("embedding", [FLOAT, ROWS8, ROWS4, ROWS4_32], ids=str)
def test_rows_are_gathered_with_their_own_scales(
    converted: Any, float_model: Callable[[], Any], embedding: Scheme, tmp_path: Path
) -> None:
    converted.link(tmp_path / "out.tflite", FLOAT, embedding)
    found = program_logits(tmp_path / "out.tflite")
    np.testing.assert_allclose(found, torch_logits(float_model(), FLOAT, embedding), rtol=0, atol=2e-4)
    if embedding is not FLOAT:
        assert np.abs(found - torch_logits(float_model(), FLOAT, FLOAT)).max() > 1e-2


@pytest.mark.parametrize("linear", [INT8, INT4, INT4_32], ids=str)
def test_products_are_those_of_the_stored_weights(
    converted: Any, float_model: Callable[[], Any], linear: Scheme, tmp_path: Path
) -> None:
    """What may differ from the stored weights' own logits is the activations' eight bits alone."""
    converted.link(tmp_path / "out.tflite", linear, FLOAT)
    found = program_logits(tmp_path / "out.tflite")
    stored = np.abs(found - torch_logits(float_model(), linear, FLOAT))
    true = np.abs(found - torch_logits(float_model(), FLOAT, FLOAT))
    assert stored.mean() < (1.2 if linear is INT8 else 0.25) * true.mean()
    assert stored.mean() < 0.1


def transposed(x: torch.Tensor, weight: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.ops.tfl.batch_matmul(weight["odd"], x, False, True)


def untransposed(x: torch.Tensor, weight: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.ops.tfl.batch_matmul(x, weight["odd"], False, False)


def added(x: torch.Tensor, weight: dict[str, torch.Tensor]) -> torch.Tensor:
    return x + weight["odd"]


@pytest.mark.parametrize(
    ("use", "operator"), [(transposed, "BATCH_MATMUL"), (untransposed, "BATCH_MATMUL"), (added, "ADD")]
)
def test_a_matrix_that_an_operator_cannot_take_as_a_constant_is_refused(
    use: Callable[..., torch.Tensor], operator: str, tmp_path: Path
) -> None:
    import litert_torch
    from gemcut.runtimes.litert.link import link
    from gemcut.runtimes.litert.weight_inputs import Weight
    from litert_torch.generative.custom_ops import bmm_4d  # noqa: F401  registers torch.ops.tfl

    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor, weight: dict[str, torch.Tensor]) -> torch.Tensor:
            return use(x, weight)

    square = torch.eye(4)
    converter = litert_torch.Converter()
    converter.add_signature("decode", Module().eval(), sample_kwargs={"x": torch.ones(4, 4), "weight": {"odd": square}})
    converter.convert().export(str(tmp_path / "skeleton.tflite"))
    weights = {"odd": Weight("model.odd", square, False)}
    with pytest.raises(UnsupportedError, match=rf"model\.odd: the program passes this matrix to {operator}, "):
        link(tmp_path / "skeleton.tflite", tmp_path / "out.tflite", weights, {"model.odd": INT8}, {}, None)  # type: ignore[arg-type]
    assert not (tmp_path / "out.tflite").exists()


def test_scales_of_rows_stand_in_the_file_once_for_all_tensors_that_have_them() -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from gemcut.runtimes.litert.row_scales import written_once

    rows = 1000

    def packed(tensors: int) -> tuple[bytes, list[float]]:
        shared = written_once(np.linspace(0.5, 1.5, rows, dtype=np.float32))
        graph = schema.SubGraphT()
        graph.tensors = [schema.TensorT() for _ in range(tensors)]
        for tensor in graph.tensors:
            tensor.quantization = shared
        model = schema.ModelT()
        model.subgraphs = [graph]
        for _ in range(2):  # each file has its own, as the linker packs twice
            builder = flatbuffers.Builder(0)
            builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
            data = bytes(builder.Output())
        back = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0].tensors
        assert all(list(tensor.quantization.zeroPoint) == [0] * rows for tensor in back)
        return data, [float(tensor.quantization.scale[-1]) for tensor in back]

    one, two = packed(1), packed(2)
    assert two[1] == [1.5, 1.5]
    assert 0 < len(two[0]) - len(one[0]) < 100
