import dataclasses

import numpy as np
import pytest
from gemcut.errors import CheckpointError, ConformanceError, UsageError
from gemcut.prove.golden import log_softmax
from gemcut.prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded, save_goldens, save_recorded
from gemcut.prove.golden_generation import make_goldens
from gemcut.prove.run import run_bundle

from tests.support.table_model import STOP, World


def test_goldens_score_the_reply_and_at_least_32_positions(world: World) -> None:
    for golden in world.goldens:
        assert golden.positions >= 32
        assert golden.topk_ids.shape == golden.topk_logprobs.shape == (golden.positions, 64)
        assert golden.first + golden.positions == len(golden.ids) - 1
        assert golden.ids[: len(golden.prompt_ids)] == golden.prompt_ids
        assert golden.ended
        assert golden.greedy_ids[-1] in STOP
        assert golden.first <= len(golden.prompt_ids) - 1
        assert len(golden.margin) == len(golden.greedy_ids)
        assert (golden.margin > 2).all()  # The table model is sure of its replies.
    assert {g.prompt.id: g.greedy_text for g in world.goldens}["capital"] == "Paris."


def test_goldens_are_the_reference_models_figures(world: World) -> None:
    golden = world.goldens[0]
    wanted = log_softmax(world.reference.logits(golden.ids[:-1], golden.first))
    assert np.array_equal(golden.topk_ids[:, 0], wanted.argmax(axis=1))
    np.testing.assert_allclose(
        np.take_along_axis(wanted, golden.topk_ids.astype(int), 1), golden.topk_logprobs, rtol=1e-6
    )
    targets = [wanted[row, golden.ids[golden.first + 1 + row]] for row in range(golden.positions)]
    np.testing.assert_allclose(targets, golden.target_logprobs, rtol=1e-6)
    kept = world.logits.open()
    rows = np.stack([kept[row] for row in range(len(kept))])
    assert rows.shape == (sum(g.positions for g in world.goldens), world.reference.vocab_size)
    assert np.array_equal(rows[: golden.positions], world.reference.logits(golden.ids[:-1], golden.first))


def test_a_short_prompt_goes_on_past_its_stop(world: World) -> None:
    short = next(g for g in world.goldens if g.prompt.id == "short")
    assert short.positions == 32
    prompt = [short.prompt_ids[0]]
    one = make_goldens(world.reference, _Fixed(prompt), [short.prompt], STOP, context=64, max_new=4)[0]
    assert len(one.ids) == 33
    assert one.first == 0
    assert one.positions == 32


class _Fixed:
    """A codec that gives the ids it is told."""

    has_template = True
    bos_id = None
    special_ids: frozenset[int] = frozenset()

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def render(self, *_: object, **__: object) -> str:
        return "text"

    def encode(self, *_: object) -> list[int]:
        return self.ids

    def decode(self, ids: object) -> str:
        return str(ids)


def test_saved_goldens_come_back_and_have_the_same_bytes_twice(world: World) -> None:
    files = save_goldens(world.goldens)
    assert files == save_goldens(world.goldens)
    assert tuple(files) == GOLDENS
    again = load_goldens(files)
    assert save_goldens(again) == files
    for one, two in zip(world.goldens, again, strict=True):
        for name in (f.name for f in dataclasses.fields(one)):
            assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_saved_outputs_come_back(world: World) -> None:
    recorded = run_bundle(world.runner(), world.goldens, STOP, world.codec.decode)
    files = save_recorded(recorded)
    assert tuple(files) == RECORDED
    assert save_recorded(load_recorded(files)) == files


def test_damaged_goldens_are_named(world: World) -> None:
    files = save_goldens(world.goldens)
    short = {**files, GOLDENS[1]: files[GOLDENS[1]].splitlines(keepends=True)[0]}
    cut = {**files, GOLDENS[0]: files[GOLDENS[0]][:-100]}
    for damaged in (short, cut, {**files, GOLDENS[1]: b"{}\n"}):
        with pytest.raises(ConformanceError, match=r"goldens\.safetensors"):
            load_goldens(damaged)


def test_context_model_and_tokenizer_that_do_not_fit_are_told_apart(world: World) -> None:
    prompt = world.goldens[0].prompt
    with pytest.raises(UsageError, match="don't fit in a context of 20"):
        make_goldens(world.reference, world.codec, [prompt], STOP, context=20)
    with pytest.raises(CheckpointError, match="embeddings"):
        make_goldens(world.reference, _Fixed([99999]), [prompt], STOP, context=512)
    broken = world.runner(lambda logits, ids: np.full_like(logits, np.nan))
    with pytest.raises(CheckpointError, match="not numbers"):
        make_goldens(broken, world.codec, [prompt], STOP, context=512)
