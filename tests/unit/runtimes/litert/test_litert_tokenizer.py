"""The tokenizer section: SentencePiece with the ids of the checkpoint's tokenizer, or its JSON and the reason."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from gemcut.checkpoint.random import _pad, _small_tokenizer
from gemcut.errors import CheckpointError
from gemcut.formats.litertlm import HF_JSON, SENTENCEPIECE
from gemcut.runtimes.litert.spacing import ALWAYS, FIRST, NONE, UNLESS_SPACED, raw_texts, spacing_of
from gemcut.runtimes.litert.tokenizer_section import PROBES, TokenizerChoice, choose_tokenizer
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaTokenizerFast

SAMPLE = Path(__file__).parents[4] / "exporter" / "sample" / "model"
KINDS = sentencepiece_model_pb2.ModelProto.SentencePiece
CHAT = "<s>[INST] Hi there, 🙂\n🙂 [/INST] fine </s><s>[INST]  two [/INST]"


def load(choice: TokenizerChoice) -> sentencepiece.SentencePieceProcessor:
    assert choice.kind == SENTENCEPIECE, choice.notes
    return sentencepiece.SentencePieceProcessor(model_proto=choice.data)


def pieces(choice: TokenizerChoice) -> Any:
    return sentencepiece_model_pb2.ModelProto.FromString(choice.data).pieces


def heard(choice: TokenizerChoice, text: str, bos: str = "") -> list[int]:
    """The ids behind the start token, as the engine makes them of a prompt that the template spaced."""
    return load(choice).encode(choice.spacing.apply(text.removeprefix(bos)))


def wanted(tokenizer: Tokenizer, text: str, bos: str = "") -> list[int]:
    ids = tokenizer.encode(bos + text.removeprefix(bos), add_special_tokens=False).ids
    return ids[1:] if bos else ids


def state_of(path: Path = SAMPLE) -> dict[str, Any]:
    return json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))


def tokenizer_of(state: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(state))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small Llama 2's tokenizer.model: BPE with byte fallback and a space before the first word."""
    lines = ["hello world how are you today", "[INST] hi there [/INST] I am fine", "numbers 1 2 3 and (brackets) two"]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 50),
        model_writer=model,
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    folder = tmp_path_factory.mktemp("llama")
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return folder


def test_the_samples_own_model_is_taken_with_its_controls_made_pieces() -> None:
    reference = Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))
    choice = choose_tokenizer(SAMPLE, SAMPLE / "tokenizer.json", ["<bos><|turn>user\nHi<turn|>\n"], bos="<bos>")
    assert (choice.source, choice.notes, choice.spacing.kind) == ("tokenizer.model", (), NONE)
    listed = pieces(choice)
    assert [piece.piece for piece in listed] == [reference.id_to_token(index) for index in range(2048)]
    assert Counter(piece.type for piece in listed)[KINDS.UNKNOWN] == 1
    text = "<bos><|turn>user\nHi <eos><pad> 🙂<turn|>"
    assert load(choice).encode(text) == reference.encode(text, add_special_tokens=False).ids
    original = sentencepiece.SentencePieceProcessor(model_file=str(SAMPLE / "tokenizer.model"))
    assert original.encode("<bos>") != [2] == load(choice).encode("<bos>")  # what had to be mended


@pytest.mark.parametrize("vocab_size", [2048, 262144])
def test_without_a_model_the_merges_become_one(vocab_size: int, tmp_path: Path) -> None:
    state = state_of()
    _pad(state, vocab_size)
    reference = tokenizer_of(state)
    choice = choose_tokenizer(tmp_path, reference, bos="<bos>", vocab_size=vocab_size)
    assert choice.source == "tokenizer.json"
    processor = load(choice)
    assert processor.get_piece_size() == vocab_size
    draw = random.Random(3)
    signs = [*"abcdeth inron\n\t  .,:{}'\"<|>_", "🙂", "é", "日", "\u2581", "<|turn>", "turn", "time", "<unused7>"]
    for _ in range(300):
        text = "".join(draw.choices(signs, k=draw.randrange(1, 40)))
        ids = reference.encode(text, add_special_tokens=False).ids
        assert processor.encode(text) == ids, text
        assert processor.decode(ids) == reference.decode(ids, skip_special_tokens=False), text


def test_the_small_random_tokenizer_fits(tmp_path: Path) -> None:
    state, _, template = _small_tokenizer()
    _pad(state, 500)
    reference = tokenizer_of(state)
    probe = template.partition("{%")[0] + "<bos><start_of_turn>user\nthe other error<end_of_turn>\n"
    choice = choose_tokenizer(tmp_path, reference, [probe], bos="<bos>")
    assert choice.kind == SENTENCEPIECE
    for text in (*PROBES, probe):
        assert heard(choice, text, "<bos>") == wanted(reference, text, "<bos>")


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (choose_tokenizer(tmp_path, SAMPLE / "tokenizer.json", bos="<bos>").data for _ in range(2))
    assert first == second


def test_rows_without_a_token_decode_to_nothing() -> None:
    choice = choose_tokenizer(SAMPLE, SAMPLE / "tokenizer.json", bos="<bos>", vocab_size=2060)
    reference = Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))
    ids = [*reference.encode("Hi", add_special_tokens=False).ids, 2050, 2059]
    assert load(choice).decode(ids) == reference.decode(ids, skip_special_tokens=False) == "Hi"


def test_tokens_that_a_fine_tune_named_or_added_are_found(tmp_path: Path) -> None:
    """One takes the id of a piece of tokenizer.model, two come behind its last."""
    shutil.copy(SAMPLE / "tokenizer.model", tmp_path)
    state = state_of()
    old = next(name for name, index in state["model"]["vocab"].items() if index == 8)
    state["model"]["vocab"]["<my tool>"] = state["model"]["vocab"].pop(old)
    for token in state["added_tokens"]:
        token["content"] = "<my tool>" if token["id"] == 8 else token["content"]
    reference = tokenizer_of(state)
    reference.add_special_tokens(["<one>", AddedToken("<two>", special=False, normalized=False)])
    choice = choose_tokenizer(tmp_path, reference, bos="<bos>")
    assert choice.source == "tokenizer.model"
    assert load(choice).encode("<my tool><two>x<one>") == [8, 2049, *load(choice).encode("x"), 2048]
    assert load(choice).decode([8, 2049]) == "<my tool><two>"


def test_a_model_of_other_pieces_is_passed_over(tmp_path: Path, llama: Path) -> None:
    for content in ((llama / "tokenizer.model").read_bytes(), b"\xff\xff no protobuf", b""):
        (tmp_path / "tokenizer.model").write_bytes(content)
        choice = choose_tokenizer(tmp_path, SAMPLE / "tokenizer.json", bos="<bos>")
        assert (choice.kind, choice.source) == (SENTENCEPIECE, "tokenizer.json")


@pytest.mark.parametrize("with_model", [True, False])
@pytest.mark.parametrize("bos", ["<s>", ""])
@pytest.mark.parametrize("prepends", [False, True])
def test_llama_2_gets_its_spaces_from_the_template(
    llama: Path, tmp_path: Path, with_model: bool, bos: str, prepends: bool
) -> None:
    reference, kind = LlamaTokenizerFast.from_pretrained(str(llama), legacy=True).backend_tokenizer, UNLESS_SPACED
    if prepends:  # as published tokenizer.json files have it
        state = json.loads(reference.to_str())
        replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
        steps = [{"type": "Prepend", "prepend": "\u2581"}, replace]
        state |= {"pre_tokenizer": None, "normalizer": {"type": "Sequence", "normalizers": steps}}
        reference, kind = tokenizer_of(state), ALWAYS
    choice = choose_tokenizer(llama if with_model else tmp_path, reference, [CHAT], bos=bos or None)
    assert (choice.kind, choice.spacing.kind) == (SENTENCEPIECE, kind)
    assert choice.source == ("tokenizer.model" if with_model else "tokenizer.json")
    assert "space before the first word" in choice.notes[0]
    for text in (*PROBES, CHAT, "</s>x", " x</s> y</s>"):
        assert heard(choice, text, bos) == wanted(reference, text, bos), text
    for text in ("hi there", " 🙂\n🙂"):
        ids = reference.encode(text, add_special_tokens=False).ids
        assert load(choice).decode(ids) == " " + reference.decode(ids)


@pytest.mark.parametrize(("bos", "kind"), [("<s>", NONE), (None, FIRST)])
def test_llama_2_as_transformers_loads_it_today(llama: Path, bos: str | None, kind: str) -> None:
    """Spaces the text's first word alone, so none behind a start token."""
    reference = LlamaTokenizerFast.from_pretrained(str(llama), legacy=False).backend_tokenizer
    choice = choose_tokenizer(llama, reference, [CHAT], bos=bos)
    assert choice.spacing.kind == kind
    for text in (*PROBES, CHAT, "</s>x"):
        assert heard(choice, text, bos or "") == wanted(reference, text, bos or "")


@pytest.mark.parametrize("legacy", [True, False])
def test_raw_texts_are_spaced_for_a_session(llama: Path, legacy: bool) -> None:
    reference = LlamaTokenizerFast.from_pretrained(str(llama), legacy=legacy).backend_tokenizer
    processor = load(choose_tokenizer(llama, reference, bos="<s>"))
    texts = (*PROBES, "hi", " hi", "</s>hi", "")
    for text, spaced in zip(texts, raw_texts(texts, reference), strict=True):
        assert processor.encode(spaced) == reference.encode(text, add_special_tokens=False).ids
    assert raw_texts(texts, Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))) == texts


def byte_level() -> Tokenizer:
    made = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "\u0120": 3, "<unk>": 4}, [("a", "b")], unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    return made


def without_bytes() -> Tokenizer:
    """BPE that knows no bytes and cuts at punctuation, which SentencePiece can't."""
    state = _small_tokenizer()[0]
    state["pre_tokenizer"] = {"type": "Punctuation", "behavior": "Isolated"}
    state["model"]["merges"] += [["l", "d"], ["ld", "!"]]
    state["model"]["vocab"] |= {"ld": 900, "ld!": 901}
    return tokenizer_of(state)


@pytest.mark.parametrize(
    ("tokenizer", "reason"),
    [
        (Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")), "it has a WordLevel model"),
        (byte_level(), "it has a byte-level BPE model"),
        (without_bytes(), 'it gives other tokens for "Hello, world!'),
    ],
)
def test_what_sentencepiece_can_not_do_goes_in_as_json(tokenizer: Tokenizer, reason: str, tmp_path: Path) -> None:
    choice = choose_tokenizer(tmp_path, tokenizer)
    assert (choice.kind, choice.source, choice.spacing.kind) == (HF_JSON, "tokenizer.json", NONE)
    assert json.loads(choice.data) == json.loads(tokenizer.to_str())
    assert reason in choice.notes[0]
    assert "tokenizer.model: the checkpoint has none" in choice.notes[0]


def test_a_callers_probe_decides_too(tmp_path: Path) -> None:
    """A normalizer that only some text shows."""
    state = state_of()
    odd = {"type": "Replace", "pattern": {"String": "qqq"}, "content": "x"}
    state["normalizer"] = {"type": "Sequence", "normalizers": [odd, state["normalizer"]]}
    reference = tokenizer_of(state)
    assert choose_tokenizer(tmp_path, reference, bos="<bos>").kind == SENTENCEPIECE
    assert (
        "it gives other tokens for 'a qqq b'"
        in choose_tokenizer(tmp_path, reference, ["a qqq b"], bos="<bos>").notes[0]
    )


def test_json_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="can't be read"):
        choose_tokenizer(tmp_path, tmp_path / "tokenizer.json")


def test_spacing_is_what_the_file_states() -> None:
    reference = Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))
    assert spacing_of(reference).kind == NONE
    for scheme, kind in (("always", UNLESS_SPACED), ("first", FIRST), ("never", NONE)):
        reference.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(), pre_tokenizers.Metaspace(prepend_scheme=scheme)]
        )
        assert spacing_of(reference).kind == kind
