"""Llama 2's tokenizer is SentencePiece's, whichever of its files are there and whatever transformers makes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from gemcut.checkpoint.opening import open_checkpoint

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "tests/support/templates/llama2.jinja"
TEXTS = ["Hello world", "  two", " lead", "tail ", "é 漢 😀", "a\nb\tc", "[INST] hi [/INST]", "1234", "<s>x</s> y", "▁"]
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "  Bye, é "},
]


@pytest.fixture(scope="module")
def llama(pristine, tmp_path_factory):
    """A Llama with a SentencePiece model alone, trained as Meta's was, and that model's own processor."""
    import sentencepiece

    out = tmp_path_factory.mktemp("sentencepiece")
    text = out / "corpus.txt"
    text.write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(out / "tokenizer"),
        vocab_size=480,
        model_type="bpe",
        byte_fallback=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        minloglevel=2,
    )
    folder = Path(shutil.copytree(pristine("llama"), out / "llama"))
    for file in folder.glob("*token*"):
        file.unlink()
    shutil.copy(out / "tokenizer.model", folder)
    shutil.copy(TEMPLATE, folder / "chat_template.jinja")
    for name in ("config.json", "generation_config.json"):
        found = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps(found | {"bos_token_id": 1, "eos_token_id": 2}))
    return folder, sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def published_json(folder):
    """tokenizer.json as meta-llama/Llama-2-7b-chat-hf has it: a space before each text, and no pre-tokenizer."""
    raw = json.loads(open_checkpoint(str(folder)).tokenizer.backend_tokenizer.to_str())
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    raw["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}
    raw["pre_tokenizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(raw, ensure_ascii=False), encoding="utf-8")


@pytest.mark.parametrize("files", ["model", "model and json"])
@pytest.mark.parametrize("legacy", [False, True, None])
def test_ids_are_sentencepieces_own(llama, tmp_path, files, legacy):
    folder, processor = Path(shutil.copytree(llama[0], tmp_path / "llama")), llama[1]
    config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    config |= {"add_bos_token": True, "add_eos_token": False} | ({} if legacy is None else {"legacy": legacy})
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if files == "model and json":
        published_json(folder)
    checkpoint = open_checkpoint(str(folder))
    tokenizer = checkpoint.tokenizer
    for text in TEXTS[:8]:
        assert tokenizer.encode(text) == [1, *processor.encode(text)], text
        assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == processor.decode(
            processor.encode(text)
        )
    # As Meta's own code writes a chat: each exchange begins with <s> and ends with </s>, and is encoded by itself.
    first = processor.encode("[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. ")
    wanted = [1, *first, 2, 1, *processor.encode("[INST] Bye, é [/INST]")]
    settings = {"chat_template": checkpoint.chat_template, "add_generation_prompt": True, "return_dict": False}
    assert tokenizer.apply_chat_template(CHAT, **settings) == wanted
    assert (checkpoint.bos_id, checkpoint.stop_ids) == (1, (2,))
    if not legacy:
        assert any("unlike in transformers' LlamaTokenizer" in note for note in checkpoint.notes)


@pytest.mark.parametrize("name", ["gemma", "gemma3_text", "gemma4_text"])
def test_a_tokenizer_that_transformers_reads_as_it_stands_is_left_alone(pristine, name):
    assert not any("unlike in transformers'" in note for note in open_checkpoint(str(pristine(name))).notes)
