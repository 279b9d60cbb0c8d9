"""lm-evaluation-harness on a bundle in its runtime, with local data alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.exports import exported
from tests.support.tiny_exports import CONTEXT

CHOICES = """
task: own_choices
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
"""
REPLIES = """
task: own_replies
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs:
  until: ["\\n"]
  do_sample: {sample}
  max_gen_toks: 4
metric_list:
  - metric: exact_match
"""
QUESTIONS = [
    {"question": f"Is {at} even?", "choices": [" yes", " no"], "answer": at % 2, "text": f"{at} is a number."}
    for at in range(6)
]


@pytest.fixture(scope="module")
def bundle(tiny: Path) -> Path:
    words = ("--target", "linux-x86_64", "--context", CONTEXT, "--gate", "report")
    return exported(tiny, *words, name="bundle").path


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Path]:
    """``task(text, **words)``: a task's file, its data beside it."""
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in QUESTIONS))

    def write(text: str, **words: object) -> Path:
        file = tmp_path / "task.yaml"
        file.write_text(text.format(data=data, **words))
        return file

    return write


def test_the_bundle_and_the_float_model_answer_the_same_questions(
    bundle: Path, tiny: Path, task: Callable[..., Path], here: Callable[..., Any]
) -> None:
    said = here("eval", bundle, "--task", task(CHOICES), "--float", tiny, "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    for scores in (document["scores"], document["float_scores"]):
        (score,) = scores
        assert (score["task"], score["metric"], score["documents"]) == ("own_choices", "acc", 6)
        assert 0 <= score["value"] <= 1


def test_a_score_is_what_the_log_likelihoods_say(
    bundle: Path, tiny: Path, task: Callable[..., Path], here: Callable[..., Any]
) -> None:
    """Against transformers itself: the share of questions whose right answer has the higher log-likelihood."""
    import torch
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.checkpoint.weights import load_float_model

    checkpoint = open_checkpoint(str(tiny))
    model, tokenizer = load_float_model(checkpoint).eval(), checkpoint.tokenizer
    right = 0
    for one in QUESTIONS:
        sums = []
        for choice in one["choices"]:  # type: ignore[attr-defined]
            start, ids = len(tokenizer(one["question"]).input_ids), tokenizer(f"{one['question']}{choice}").input_ids
            with torch.no_grad():
                rows = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            sums.append(sum(float(rows[at - 1, ids[at]]) for at in range(start, len(ids))))
        right += int(sums.index(max(sums)) == one["answer"])
    document = json.loads(here("eval", bundle, "--task", task(CHOICES), "--float", tiny, "--json").out)
    assert document["float_scores"][0]["value"] == pytest.approx(right / len(QUESTIONS))


def test_replies_are_greedy_and_shown_in_a_table(
    bundle: Path, task: Callable[..., Path], here: Callable[..., Any]
) -> None:
    said = here("eval", bundle, "--task", task(REPLIES, sample="false"), "--limit", 2)
    assert said.code == 0, said.err
    assert "exact_match" in said.out
    assert "--float MODEL" in said.out


REFUSED = [
    (("--task", "hellaswga"), 4, "hellaswag"),
    (("--task", "missing.yaml"), 2, "no such file"),
]


@pytest.mark.parametrize(("words", "code", "said"), REFUSED)
def test_a_task_that_is_not_there_is_refused_before_anything_is_loaded(
    bundle: Path, here: Callable[..., Any], words: tuple[str, ...], code: int, said: str
) -> None:
    done = here("eval", bundle, *words)
    assert (done.code, said in done.err) == (code, True), done.err


def test_sampling_is_refused(bundle: Path, task: Callable[..., Path], here: Callable[..., Any]) -> None:
    done = here("eval", bundle, "--task", task(REPLIES, sample="true"))
    assert done.code == 4
    assert "do_sample: false" in done.err
