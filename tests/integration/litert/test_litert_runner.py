"""The Interpreter runner: fed like the engine, in any pieces, and never past what the program holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gemcut.errors import ConformanceError
from gemcut.formats.litertlm import LLM_METADATA, SENTENCEPIECE, find_section, program_section
from gemcut.runtimes.litert.litertlm_writer import pack
from gemcut.runtimes.litert.runner import LiteRTRunner, chunks
from gemcut.runtimes.litert.tokenizer_section import TokenizerChoice

CONTEXT = 80
IDS = [2, *(7 * index % 390 + 5 for index in range(CONTEXT - 1))]
TOLERANCE = 1e-4


def packed(path: Path, program: Path, context: int = CONTEXT) -> Path:
    """A ``.litertlm`` of a program and what little the container asks for."""
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    metadata = llm_metadata_pb2.LlmMetadata(max_num_tokens=context).SerializeToString()
    pack(path, program=program, tokenizer=TokenizerChoice(SENTENCEPIECE, b"pieces", ""), metadata=metadata)
    return path


@pytest.fixture
def runner(float_program: Path) -> LiteRTRunner:
    return LiteRTRunner(float_program, threads=2, context=CONTEXT)


@pytest.fixture(scope="module")
def one_by_one(float_program: Path) -> np.ndarray:
    """Logits [context, V] of a conversation that is fed a token at a time."""
    alone = LiteRTRunner(float_program, threads=2, context=CONTEXT)
    return np.stack([alone.step(token, position) for position, token in enumerate(IDS)])


@pytest.mark.parametrize(
    ("lengths", "count", "parts"),
    [
        # As LiteRT-LM 0.18.1 was seen to cut prompts: the longest while they are full, the rest by shorter ones.
        ((16,), 1, [1]),
        ((16,), 16, [16]),
        ((16,), 17, [16, 1]),
        ((16, 4), 3, [3]),
        ((4, 16), 63, [16, 16, 16, 4, 4, 4, 3]),
        ((16, 128), 300, [128, 128, 16, 16, 12]),
        ((128, 16), 300, [128, 128, 16, 16, 12]),
        ((1, 8), 10, [8, 1, 1]),
        ((8,), 0, []),
    ],
)
def test_a_prompt_is_cut_as_the_engine_cuts_it(lengths: tuple[int, ...], count: int, parts: list[int]) -> None:
    assert chunks(count, lengths) == parts


@pytest.mark.parametrize("lengths", [(1,), (5,), (3, 8), (16, 128), (2, 7, 31)])
def test_every_cut_is_whole_and_only_its_end_is_padded(lengths: tuple[int, ...]) -> None:
    for count in range(1, 400):
        parts = chunks(count, lengths)
        assert sum(parts) == count
        assert all(part in lengths for part in parts[:-1])
        assert parts == sorted(parts, reverse=True)
        assert parts[-1] <= max(lengths)


@pytest.mark.parametrize(
    "pieces",
    [(80,), (1,) * 5 + (75,), (8, 16, 24, 32), (7, 9, 15, 17, 32), (64, 3, 1, 12), (2, 78), (33, 47), (79, 1)],
    ids=str,
)
def test_uneven_pieces_give_what_single_tokens_give(
    pieces: tuple[int, ...], runner: LiteRTRunner, one_by_one: np.ndarray
) -> None:
    at = 0
    for piece in pieces:
        found = runner.prefill(IDS[at : at + piece], at)
        at += piece
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, one_by_one[at - 1], rtol=0, atol=TOLERANCE)
    assert at == CONTEXT


def test_prefill_and_steps_mix(runner: LiteRTRunner, one_by_one: np.ndarray) -> None:
    np.testing.assert_allclose(runner.prefill(IDS[:21], 0), one_by_one[20], rtol=0, atol=TOLERANCE)
    for position in range(21, 40):
        np.testing.assert_allclose(runner.step(IDS[position], position), one_by_one[position], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(runner.prefill(IDS[40:], 40), one_by_one[-1], rtol=0, atol=TOLERANCE)


def test_a_call_at_position_0_starts_over(runner: LiteRTRunner, one_by_one: np.ndarray) -> None:
    runner.prefill([11] * 60, 0)
    for position in range(60, 70):
        runner.step(12, position)
    np.testing.assert_allclose(runner.prefill(IDS[:5], 0), one_by_one[4], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(runner.step(IDS[5], 5), one_by_one[5], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(runner.step(IDS[0], 0), one_by_one[0], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(runner.prefill(IDS[1:40], 1), one_by_one[39], rtol=0, atol=TOLERANCE)


def test_what_it_says_of_itself(runner: LiteRTRunner) -> None:
    assert (runner.vocab_size, runner.max_context, runner.prefill_chunk) == (397, CONTEXT, 16)
    runner.close()


def test_a_position_past_the_context_is_refused_and_nothing_is_written(
    runner: LiteRTRunner, one_by_one: np.ndarray
) -> None:
    runner.prefill(IDS[:-1], 0)
    with pytest.raises(ConformanceError, match="position 80 is past the program's context of 80 tokens"):
        runner.step(5, CONTEXT)
    with pytest.raises(ConformanceError, match="past the program's context"):
        runner.prefill([5] * 6, CONTEXT - 2)
    with pytest.raises(ConformanceError, match="past the program's context"):
        runner.prefill([5] * 200, 0)
    with pytest.raises(ValueError, match="nothing to prefill"):
        runner.prefill([], 0)


def test_a_program_of_its_own_ends_where_its_shortest_prefill_still_fits(
    float_program: Path, one_by_one: np.ndarray
) -> None:
    """Its mask has more slots: behind a prompt's end a prefill writes padding, which must not move the rest."""
    alone = LiteRTRunner(float_program, threads=2)
    assert alone.max_context == CONTEXT
    alone.prefill(IDS[:77], 0)
    np.testing.assert_allclose(alone.prefill(IDS[77:], 77), one_by_one[-1], rtol=0, atol=TOLERANCE)


def test_in_a_container_it_runs_from_its_place_and_to_the_container_s_context(
    float_program: Path, tmp_path: Path, one_by_one: np.ndarray
) -> None:
    container = packed(tmp_path / "model.litertlm", float_program, context=64)
    before = container.stat()
    inside = LiteRTRunner(container, threads=2)
    assert inside.max_context == 64
    np.testing.assert_allclose(inside.prefill(IDS[:40], 0), one_by_one[39], rtol=0, atol=TOLERANCE)
    with pytest.raises(ConformanceError, match="context of 64 tokens"):
        inside.step(5, 64)
    inside.close()
    assert container.stat().st_mtime_ns == before.st_mtime_ns
    assert {path.name for path in tmp_path.iterdir()} == {"model.litertlm"}


def test_a_context_that_the_program_cannot_hold_is_not_believed(float_program: Path, tmp_path: Path) -> None:
    container = packed(tmp_path / "model.litertlm", float_program, context=1000)
    assert LiteRTRunner(container, threads=2).max_context == CONTEXT


@pytest.mark.parametrize("name", ["none.tflite", "none.litertlm"])
def test_a_missing_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match=f"{name} is missing"):
        LiteRTRunner(tmp_path / name)


DAMAGE = {
    "empty": lambda data: b"",
    "a word": lambda data: b"TFL3",
    "zeros": lambda data: bytes(len(data)),
    "no header": lambda data: bytes(64) + data[64:],
    "cut": lambda data: data[: len(data) // 2],
    "cut by one": lambda data: data[:-64],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_program_is_refused(damage: str, float_program: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(DAMAGE[damage](float_program.read_bytes()))
    with pytest.raises(ConformanceError, match=r"model\.tflite"):
        LiteRTRunner(path, threads=1)


@pytest.mark.parametrize("damage", [*DAMAGE, "its program", "its metadata"])
def test_a_damaged_container_is_refused(damage: str, float_program: Path, tmp_path: Path) -> None:
    path = packed(tmp_path / "model.litertlm", float_program)
    data = bytearray(path.read_bytes())
    if damage in DAMAGE:
        data = bytearray(DAMAGE[damage](bytes(data)))
    else:
        section = program_section(path) if damage == "its program" else find_section(path, LLM_METADATA)
        data[section.begin : section.begin + min(512, section.size)] = b"\xff" * min(512, section.size)
    path.write_bytes(data)
    with pytest.raises(ConformanceError, match=r"model\.litertlm") as caught:
        LiteRTRunner(path, threads=1)
    assert caught.value.hint


class Adds(torch.nn.Module):
    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": tokens + 1}


@pytest.mark.parametrize("names", [("decode",), ("prefill_8",), ("decode", "prefill_8"), ("serving_default",)], ids=str)
def test_a_program_that_is_no_language_model_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    import litert_torch

    path, converter = tmp_path / "model.tflite", litert_torch.Converter()
    for name in names:
        converter.add_signature(name, Adds().eval(), sample_kwargs={"tokens": torch.ones(1, 1)})
    converter.convert().export(str(path))
    with pytest.raises(ConformanceError, match=r"model\.tflite"):
        LiteRTRunner(path, threads=1)


def test_ids_outside_the_vocabulary_are_an_error_of_the_program(runner: LiteRTRunner, one_by_one: Any) -> None:
    with pytest.raises(ConformanceError, match="failed at position 0"):
        runner.step(500, 0)
    np.testing.assert_allclose(runner.prefill(IDS[:9], 0), one_by_one[8], rtol=0, atol=TOLERANCE)
