"""What surrounds a prompt and what ends a reply: over variants as people save them, compared with transformers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gemcut.checkpoint.start_token import start_token
from gemcut.checkpoint.stop_tokens import stop_ids_of
from gemcut.checkpoint.tokenizer import load_tokenizer
from gemcut.errors import CheckpointError
from gemcut.prompt.chats import Prompt, encode_prompt
from gemcut.prompt.codec import ChatCodec, Template
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEXTS = (
    "wake me",
    "  two  spaces ",
    "line\n\nline\t",
    "<|im_end|> in words",
    "é 👩‍🚀 ض",
    " ".join(map(str, range(60))),
    "",
)
CONFIG = SimpleNamespace(vocab_size=400, hidden_size_per_layer_input=0)
FAMILY = SimpleNamespace(model_type="llama", text_type="llama")


def save(folder: Path, **parts: Any) -> Path:
    """A byte-level tokenizer as trainers save it; parts: of tokenizer_config.json, and edits of tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(["wake me at half past six and remind me to call the bank " * 20], trainer)
    around = parts.pop("around", None)
    if around:
        named = [(token, made.token_to_id(token)) for token in around.split() if token != "$A"]
        made.post_processor = processors.TemplateProcessing(single=around, special_tokens=named)
    if parts.pop("cut", False):
        made.enable_truncation(16)
        made.enable_padding(length=32)
    made.save(str(folder / "tokenizer.json"))
    stated = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated | parts))
    return folder


def opened(folder: Path, template: str | None) -> tuple[Any, ChatCodec]:
    """The tokenizer as a checkpoint's, and a codec from what a bundle would hold."""
    tokenizer, _ = load_tokenizer(folder, FAMILY, CONFIG)  # type: ignore[arg-type]
    file = folder / "bundled.json"
    file.write_text(tokenizer.backend_tokenizer.to_str())
    names = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    made = None if template is None else Template(template, names)
    return tokenizer, ChatCodec(Tokenizer.from_file(str(file)), made, start_token(tokenizer, template))


@pytest.mark.parametrize(
    ("bos", "around", "cut"),
    list(itertools.product((None, "<|endoftext|>", "<|im_start|>"), (None, "<|endoftext|> $A"), (False, True))),
)
def test_all_ways_of_a_bundle_give_the_ids_of_transformers(
    bos: str | None, around: str | None, cut: bool, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    folder = save(tmp_path, bos_token=bos, around=around, cut=cut)
    theirs = AutoTokenizer.from_pretrained(folder)
    for template in (CHATML, "{{ bos_token }}" + CHATML if bos else CHATML, None):
        _, codec = opened(folder, template)
        for text in TEXTS:
            assert codec.encode(text, add_special_tokens=True) == theirs(text).input_ids
            if template is None:
                prompt = Prompt("text", "text", text=text)
                right = theirs(text).input_ids
            else:
                prompt = Prompt("chat", "chat", ({"role": "user", "content": text},))
                right = theirs.apply_chat_template(
                    list(prompt.messages), chat_template=template, add_generation_prompt=True
                )["input_ids"]
            assert encode_prompt(codec, prompt)[1] == right
            begins = codec.bos_id is not None and right[:1] == [codec.bos_id]
            assert (codec.bos_id is not None) == (bos is not None and right[:1] == [theirs.bos_token_id]) == begins


@pytest.mark.parametrize("kind", ["Qwen2Tokenizer", "GPT2Tokenizer"])
def test_a_vocabulary_with_its_merges_alone_is_taken(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    whole = save(tmp_path / "whole")
    state = json.loads((whole / "tokenizer.json").read_text())
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(state["model"]["vocab"]))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    stated = {"tokenizer_class": kind, "eos_token": "<|im_end|>", "unk_token": None, "bos_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    theirs = AutoTokenizer.from_pretrained(folder)
    tokenizer, codec = opened(folder, None)
    for text in TEXTS:
        assert codec.encode(text, add_special_tokens=True) == theirs(text).input_ids == tokenizer(text).input_ids
    for other in ("GemmaTokenizer", "LlamaTokenizer"):  # which don't read it, and make a handful of tokens instead
        (folder / "tokenizer_config.json").write_text(json.dumps(stated | {"tokenizer_class": other}))
        with pytest.raises(CheckpointError, match="doesn't read it: it has no token"):
            load_tokenizer(folder, FAMILY, CONFIG)  # type: ignore[arg-type]
    (folder / "vocab.json").write_text("[1, 2]")
    with pytest.raises(CheckpointError, match=r"can't be read|is not a JSON object"):
        load_tokenizer(folder, FAMILY, CONFIG)  # type: ignore[arg-type]
    (folder / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"no vocab.json with merges.txt"):
        load_tokenizer(folder, FAMILY, CONFIG)  # type: ignore[arg-type]


def test_no_end_is_put_after_a_prompt_and_it_is_said(tmp_path: Path) -> None:
    folder = save(tmp_path, bos_token="<|endoftext|>", around="<|endoftext|> $A <|im_end|>")
    tokenizer, codec = opened(folder, None)
    assert codec.encode("wake me", add_special_tokens=True) == [0, *codec.encode("wake me")]
    assert codec.bos_id == 0
    (note,) = (note for note in load_tokenizer(folder, FAMILY, CONFIG)[1] if "after a text" in note)  # type: ignore[arg-type]
    assert "<|im_end|>" in note
    assert tokenizer("wake me").input_ids[-1] != 2


@pytest.mark.parametrize(
    ("generation", "template", "eos", "stops", "said"),
    [
        ({"eos_token_id": 0}, CHATML, "<|endoftext|>", (0, 2), ("'<|im_end|>' (id 2)", "after each answer")),
        ({"eos_token_id": [0, 2]}, CHATML, "<|im_end|>", (0, 2), ()),
        ({"eos_token_id": 0}, None, "<|im_end|>", (0, 2), ("'<|im_end|>' (id 2)", "end of sequence")),
        ({}, None, "<|im_end|>", (2,), ("the tokenizer's end of sequence",)),
        ({"eos_token_id": 0}, CHATML.replace("<|im_end|>", " end"), "<|endoftext|>", (0,), ()),
        ({"eos_token_id": 0}, "{{ messages[5].content }}", "<|endoftext|>", (0,), ()),
    ],
)
def test_what_ends_a_turn_in_the_template_ends_a_reply(
    generation: dict[str, Any],
    template: str | None,
    eos: str,
    stops: tuple[int, ...],
    said: tuple[str, ...],
    tmp_path: Path,
) -> None:
    tokenizer, _ = opened(save(tmp_path, eos_token=eos), None)
    found, notes = stop_ids_of(generation, {}, CONFIG, tokenizer, template)  # type: ignore[arg-type]
    assert found == stops
    assert all(word in " ".join(notes) for word in said)
    assert bool(notes) == bool(said)


TEMPLATES = Path(__file__).parents[2] / "support" / "templates"


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("functiongemma", "<start_function_response>"),
        ("gemma4", "<|tool_response>"),
        ("chatml_tools", "<|im_end|>"),
        ("gemma3", None),
    ],
)
def test_what_a_template_writes_after_a_call_ends_a_reply(name: str, end: str | None, tmp_path: Path) -> None:
    """Else the model would go on, and make up what the tool answers."""
    from transformers import AutoTokenizer

    folder = save(tmp_path)
    grown = AutoTokenizer.from_pretrained(folder)
    control = ["<start_of_turn>", "<end_of_turn>", "<turn|>", "<|turn>", "<|tool_response>", "<|tool_call>"]
    control += ["<start_function_call>", "<end_function_call>", "<start_function_response>", "<tool_call|>"]
    grown.add_tokens(control, special_tokens=True)
    grown.bos_token = "<|endoftext|>"
    grown.save_pretrained(folder)
    tokenizer, _ = opened(folder, None)
    template = (TEMPLATES / f"{name}.jinja").read_text()
    found, notes = stop_ids_of({"eos_token_id": 0}, {}, CONFIG, tokenizer, template)  # type: ignore[arg-type]
    said = [note for note in notes if "after a tool call" in note]
    if end is None or end == "<|im_end|>":  # which ends answers too
        assert not said
    else:
        assert tokenizer.convert_tokens_to_ids(end) in found
        assert repr(end) in said[0]


def test_the_end_of_a_list_of_calls_is_no_stop(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = save(tmp_path)
    grown = AutoTokenizer.from_pretrained(folder)
    grown.add_tokens(["<calls>", "</calls>"], special_tokens=True)
    grown.save_pretrained(folder)
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}{% if m.tool_calls %}<calls>"
        "{% for c in m.tool_calls %}{{ c.function.name }}()\n{% endfor %}</calls>{% endif %}<|im_end|>\n{% endfor %}"
    )
    tokenizer, _ = opened(folder, None)
    found, _ = stop_ids_of({"eos_token_id": 0}, {}, CONFIG, tokenizer, template)  # type: ignore[arg-type]
    assert found == (0, 2)


def test_members_that_are_null_are_dropped_as_transformers_drops_them(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    template = "{% for m in messages %}{{ m.role }}{% for key in m %}|{{ key }}={{ m[key] }}{% endfor %};{% endfor %}"
    theirs = AutoTokenizer.from_pretrained(save(tmp_path))
    values: tuple[Any, ...] = (None, "words")
    for content, calls, reasoning in itertools.product(values, (None, [], [{"x": None}]), values):
        message = {"role": "assistant", "content": content, "tool_calls": calls, "reasoning": reasoning}
        chat = [{"role": "user", "content": "Hi", "name": None}, message]
        right = theirs.apply_chat_template(chat, chat_template=template, tokenize=False)
        assert Template(template).render(chat, add_generation_prompt=False) == right
