"""Which lengths are measured: llama-bench's, as far as the context holds them; what doesn't fit is told."""

from __future__ import annotations

import pytest
from gemcut.bench import decode_steps, usual_prompts
from gemcut.bench.lengths import choose_lengths
from gemcut.errors import UsageError


def test_the_usual_lengths_are_llama_benchs() -> None:
    found = choose_lengths((), (), 2048, "b")
    assert (found.prompts, found.generations, found.notes) == ((128, 512), (64,), ())


def test_a_prompt_leaves_room_for_a_token() -> None:
    assert choose_lengths((127,), (0,), 128, "b").prompts == (127,)
    with pytest.raises(UsageError, match="--prompt 128: b has a context of 128 tokens, which leaves only 127"):
        choose_lengths((16, 128), (), 128, "b")
    with pytest.raises(UsageError, match="--gen 200"):
        choose_lengths((), (200,), 128, "b")


def test_a_usual_length_that_does_not_fit_is_left_out_and_told() -> None:
    found = choose_lengths((), (), 300, "b")
    assert (found.prompts, found.generations) == ((128,), (64,))
    assert found.notes == ("b: pp512 doesn't fit in its context of 300 tokens",)


def test_if_none_fits_the_longest_that_does_is_measured_and_told() -> None:
    found = choose_lengths((), (), 32, "b")
    assert (found.prompts, found.generations) == ((31,), (31,))
    assert [note.endswith("31 is measured instead") for note in found.notes] == [True, True, True]
    assert usual_prompts(32) == (31,)


def test_zero_is_none_of_a_kind_and_a_length_counts_once() -> None:
    assert choose_lengths((0,), (8, 8, 16), 64, "b") == choose_lengths((0,), (8, 16), 64, "b")
    assert choose_lengths((0,), (8,), 64, "b").prompts == ()
    with pytest.raises(UsageError, match="leave nothing to measure"):
        choose_lengths((0,), (0,), 64, "b")


def test_an_export_measures_fewer_steps_of_a_short_context() -> None:
    assert [decode_steps(context) for context in (1, 32, 256, 4096)] == [1, 8, 64, 64]
