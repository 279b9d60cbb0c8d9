"""Chat templates and tokenizers: what differs, and the first text that shows it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from gemcut.bundle.reader import open_bundle

from tests.support.diff_variants import Variant, compare, read, severities
from tests.support.exports import Exported

TEMPLATE = "chat_template.jinja"


def _template(sample: Exported) -> str:
    return read(sample.path, TEMPLATE).decode()


def _tokenizer(sample: Exported) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(sample.path, "tokenizer.json"))
    return found


def test_template_with_two_bos_is_called_that(sample_int4: Exported, variant: Variant) -> None:
    text = "{{ bos_token }}" + _template(sample_int4)
    found = compare(sample_int4.path, variant(sample_int4.path, files={TEMPLATE: text.encode()}))
    assert severities(found)["template"] == "matters"
    assert "2 BOS tokens instead of 1" in found.change("template").reason  # type: ignore[union-attr]
    template = found.template
    assert template is not None
    assert (template.bos_a, template.bos_b) == (1, 2)
    assert len(template.rendered) == template.chats >= 24
    assert template.rendered[0].at == len("<bos>") + 1
    assert template.rendered[0].b.startswith("<bos><bos>")  # type: ignore[union-attr]
    assert any(line.startswith("+{{ bos_token }}") for line in template.diff)
    assert any(line.startswith("+<bos><bos>") for line in template.rendered[0].diff)


def test_template_that_writes_the_same_is_harmless(sample_int4: Exported, variant: Variant) -> None:
    text = "{#- a comment -#}" + _template(sample_int4)
    found = compare(sample_int4.path, variant(sample_int4.path, files={TEMPLATE: text.encode()}))
    assert severities(found)["template"] == "harmless"
    assert found.template is not None
    assert found.template.rendered == ()
    assert found.template.chats >= 24


def test_template_that_refuses_chats_says_which(sample_int4: Exported, variant: Variant) -> None:
    text = "{%- if tools -%}{{ raise_exception('no tools here') }}{%- endif -%}" + _template(sample_int4)
    found = compare(sample_int4.path, variant(sample_int4.path, files={TEMPLATE: text.encode()}))
    assert found.template is not None
    refused = [one for one in found.template.rendered if one.b is None]
    assert refused
    assert "no tools here" in refused[0].diff[0]
    assert f"{len(refused)} chats are refused" in found.change("template").reason  # type: ignore[union-attr]


def test_template_that_is_gone_matters(sample_int4: Exported, variant: Variant) -> None:
    gone = variant(sample_int4.path, files={TEMPLATE: None})
    assert severities(compare(sample_int4.path, gone))["template"] == "matters"
    assert severities(compare(gone, sample_int4.path))["template"] == "matters"


def test_special_tokens_change_what_the_same_template_writes(sample_int4: Exported, variant: Variant) -> None:
    with open_bundle(sample_int4.path) as bundle:
        names = {**bundle.manifest.special_tokens, "bos_token": "<eos>"}
    text = _template(sample_int4).replace("'<bos>'", "bos_token").encode()
    assert b"bos_token" in text
    base, other = (
        variant(sample_int4.path, str(bool(more)), {TEMPLATE: text}, more) for more in ({}, {"special_tokens": names})
    )
    found = compare(base, other)
    assert severities(found)["template"] == severities(found)["special_tokens"] == "matters"
    assert found.template is not None
    assert found.template.diff == ()
    assert found.template.rendered


def _swap_merges(tokenizer: dict[str, Any]) -> None:
    merges = tokenizer["model"]["merges"]
    merges[3], merges[900] = merges[900], merges[3]


def _drop_merge(tokenizer: dict[str, Any]) -> None:
    tokenizer["model"]["merges"].pop()


def _add_token(tokenizer: dict[str, Any]) -> None:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokenizer["added_tokens"].append({"id": 2048, "content": "<<zebra>>", "special": True, **flags})


def _strip_before(tokenizer: dict[str, Any]) -> None:
    tokenizer["added_tokens"][-1]["lstrip"] = True


def _compose(tokenizer: dict[str, Any]) -> None:
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, tokenizer["normalizer"]]}


def _split_punctuation(tokenizer: dict[str, Any]) -> None:
    first = {"type": "Punctuation", "behavior": "Isolated"}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [first, tokenizer["pre_tokenizer"]]}


def _swap_ids(tokenizer: dict[str, Any]) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


def _no_bos(tokenizer: dict[str, Any]) -> None:
    tokenizer["post_processor"] = None


def _keep_marks(tokenizer: dict[str, Any]) -> None:
    tokenizer["decoder"]["decoders"].pop(0)


@pytest.mark.parametrize(
    "change",
    [
        _swap_merges,
        _drop_merge,
        _add_token,
        _strip_before,
        _compose,
        _split_punctuation,
        _swap_ids,
        _no_bos,
        _keep_marks,
    ],
)
def test_a_text_is_found_for_each_change_of_a_tokenizer(
    change: Callable[[dict[str, Any]], None], sample_int4: Exported, variant: Variant
) -> None:
    from tokenizers import Tokenizer

    content = _tokenizer(sample_int4)
    change(content)
    other = json.dumps(content).encode()
    found = compare(sample_int4.path, variant(sample_int4.path, files={"tokenizer.json": other}))
    assert severities(found)["tokenizer"] == "matters"
    assert found.tokenizer is not None
    cut = found.tokenizer.first
    assert cut is not None
    a, b = (Tokenizer.from_buffer(one) for one in (read(sample_int4.path, "tokenizer.json"), other))
    ids = [one.encode(cut.text, add_special_tokens=cut.special).ids for one in (a, b)]
    if cut.decoded:
        assert ids[0] == ids[1]
        assert a.decode(ids[0], skip_special_tokens=False) != b.decode(ids[1], skip_special_tokens=False)
    else:
        assert ids[0][: cut.at] == ids[1][: cut.at]
        assert tuple(ids[0][cut.at : cut.at + len(cut.ids_a)]) == cut.ids_a
        assert tuple(ids[1][cut.at : cut.at + len(cut.ids_b)]) == cut.ids_b
        assert cut.ids_a != cut.ids_b


def test_goldens_are_tried_first(sample_int4: Exported, variant: Variant) -> None:
    """Without the merges nothing is cut as it was, the first golden neither."""
    content = _tokenizer(sample_int4)
    content["model"]["merges"] = []
    found = compare(
        sample_int4.path, variant(sample_int4.path, files={"tokenizer.json": json.dumps(content).encode()})
    ).tokenizer
    assert found is not None
    assert found.first is not None
    assert found.first.source.startswith("the prompt ")
    assert found.tried == 1
    assert found.merges_removed == len(_tokenizer(sample_int4)["model"]["merges"])


def test_random_changes_of_merges_are_found(sample_int4: Exported, variant: Variant) -> None:
    """Any merge that is put elsewhere: a text is found, or the two orders do the same on the whole vocabulary."""
    from tokenizers import Tokenizer

    chance = random.Random(20261123)
    for number in range(8):
        content = _tokenizer(sample_int4)
        merges = content["model"]["merges"]
        merges.insert(chance.randrange(len(merges)), merges.pop(chance.randrange(len(merges))))
        other = json.dumps(content).encode()
        found = compare(sample_int4.path, variant(sample_int4.path, str(number), {"tokenizer.json": other})).tokenizer
        assert found is not None
        assert found.merges_moved == 1
        if found.first is None:
            a, b = (Tokenizer.from_buffer(one) for one in (read(sample_int4.path, "tokenizer.json"), other))
            for left in list(content["model"]["vocab"])[::40]:
                for right in list(content["model"]["vocab"])[::40]:
                    assert a.encode(left + right).ids == b.encode(left + right).ids, (left, right)


def test_spelling_of_a_tokenizer_is_harmless(sample_int4: Exported, variant: Variant) -> None:
    other = json.dumps(_tokenizer(sample_int4), indent=1).encode()
    found = compare(sample_int4.path, variant(sample_int4.path, files={"tokenizer.json": other}))
    assert severities(found)["tokenizer"] == "harmless"
    assert found.tokenizer is not None
    assert found.tokenizer.first is None
    assert found.tokenizer.tried > 1000


def test_ids_beyond_the_program_are_named(sample_int4: Exported, variant: Variant) -> None:
    content = _tokenizer(sample_int4)
    _add_token(content)
    found = compare(sample_int4.path, variant(sample_int4.path, files={"tokenizer.json": json.dumps(content).encode()}))
    assert "ids go up to 2048, but the program knows only 2048" in found.change("tokenizer").reason  # type: ignore[union-attr]
    assert found.tokenizer is not None
    assert found.tokenizer.names.added == ("<<zebra>>",)
    assert (found.tokenizer.size_a, found.tokenizer.size_b) == (2048, 2049)


def test_scores_of_a_unigram_model_are_compared(sample_int4: Exported, variant: Variant) -> None:
    """Not BPE: a list of tokens and scores, no merges; what the likeliest cut is hangs on the scores alone."""
    from tokenizers import Tokenizer, models

    letters = [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz <>|_:{},\"'0123456789"]
    both = []
    for name, score in (("a", -4.0), ("b", -40.0)):
        made = Tokenizer(models.Unigram([("<unk>", -20.0), *letters, ("zebra", score)], unk_id=0, byte_fallback=False))
        both.append(variant(sample_int4.path, name, {"tokenizer.json": made.to_str().encode()}))
    found = compare(*both)
    assert severities(found)["tokenizer"] == "matters"
    assert found.tokenizer is not None
    assert (found.tokenizer.changed, found.tokenizer.added, found.tokenizer.removed) == (1, 0, 0)
    cut = found.tokenizer.first
    assert cut is not None
    assert "zebra" in cut.tokens_a
    assert "zebra" not in cut.tokens_b
