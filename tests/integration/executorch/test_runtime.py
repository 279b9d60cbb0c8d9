"""The sample's bundle in the runners that apps use: ExecuTorch's stock LLM runner and C++ tokenizers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = [
    "wake me at half past six",
    "  two  spaces ",
    "tab\there\nline\r\nend\n\n",
    "ünïcödé ñ ß Æ œ",
    "日本語のテキスト",
    "한국어 문장",
    "Привет, мир",
    "مرحبا بالعالم",
    "שלום עולם",
    "हिन्दी पाठ",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🦄",
    "\u0000\u0001\u007f",
    "𐍈𝔘𝔫𝔦",
    "a\u0301e\u0308 combining",
    "1234567890 3.14 1,000,000",
    "<|turn>user\nhi<turn|>\n",
    "\u200b\ufeff",
    "▁▁ ▁",
]


@pytest.fixture(scope="module")
def bundle(sample_int4: Any) -> Any:
    from gemcut.bundle.reader import open_bundle

    with open_bundle(sample_int4.path) as opened:
        yield opened


@pytest.fixture(scope="module")
def goldens(bundle: Any) -> Any:
    from gemcut.prove.golden_files import GOLDENS, load_goldens

    return load_goldens({name: bundle.read(name) for name in GOLDENS})


def stock_reply(bundle: Any, prompt: str, most: int) -> str:
    """What ExecuTorch's own ``TextLLMRunner`` makes of a rendered prompt, greedily."""
    import executorch.extension.llm.custom_ops.custom_ops
    import executorch.kernels.quantized  # noqa: F401
    from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner

    runner = TextLLMRunner(str(bundle.program), str(bundle.file("tokenizer.json")))
    pieces: list[str] = []
    settings = GenerationConfig(echo=False, max_new_tokens=most, temperature=0.0, num_bos=0, num_eos=0)
    runner.generate(prompt, settings, token_callback=pieces.append)
    return "".join(pieces)


def test_the_stock_runner_gives_the_greedy_text_of_the_goldens(bundle: Any, goldens: Any) -> None:
    from gemcut.prove.golden_files import RECORDED, load_recorded

    recorded = load_recorded({name: bundle.read(name) for name in RECORDED})
    asked = [(g, r) for g, r in zip(goldens, recorded, strict=True) if r.ended][:6]
    assert len(asked) == 6
    for golden, wanted in asked:
        got = stock_reply(bundle, golden.rendered, len(wanted.greedy_ids) + 8)
        # It also hands on the stop token's own text, which an app strips.
        assert got.startswith(wanted.greedy_text)
        assert got[len(wanted.greedy_text) :] in ("", "<turn|>", "<eos>")


def test_the_program_says_what_llm_runners_ask(bundle: Any) -> None:
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner

    runner = ExecuTorchRunner(bundle.program)
    manifest = bundle.manifest
    asked = {name: runner.constant(name) for name in ("get_bos_id", "get_max_context_len", "get_vocab_size")}
    assert asked == {"get_bos_id": manifest.bos_id, "get_max_context_len": 2048, "get_vocab_size": 2048}
    assert runner.constant("get_max_seq_len") == manifest.prefill_chunk == 128
    assert [runner.constant(f) for f in ("use_kv_cache", "use_sdpa_with_kv_cache", "enable_dynamic_shape")] == [1, 1, 1]


def generated_strings(count: int) -> list[str]:
    """Texts of words, digits, white space, emoji and code points from anywhere, some of which fall back to bytes."""
    draw, out = random.Random(11), []
    words = ["call", "mum", "at", "half", "past", "six", "tomorrow,", "40%", "&", "«Ode»", "—", "d'accord?"]
    for _ in range(count):
        parts = []
        for _ in range(draw.randint(1, 12)):
            kind = draw.random()
            if kind < 0.6:
                parts.append(draw.choice(words))
            elif kind < 0.75:
                parts.append("".join(chr(draw.randint(0x20, 0x2FFF)) for _ in range(draw.randint(1, 4))))
            elif kind < 0.85:
                parts.append(chr(draw.randint(0x1F300, 0x1FAFF)))
            else:
                parts.append(draw.choice(["\n", "  ", "\t", "007", "3.5", "\n\n", "   "]))
        out.append(draw.choice([" ", ""]).join(parts))
    return out


@pytest.fixture(scope="module")
def texts(goldens: Any) -> list[str]:
    return [g.rendered for g in goldens] + [g.greedy_text for g in goldens] + SCRIPTS + generated_strings(3000)


def test_the_runtimes_tokenizer_gives_the_ids_of_transformers(bundle: Any, texts: list[str]) -> None:
    from pytorch_tokenizers import CppHFTokenizer
    from transformers import AutoTokenizer

    own = CppHFTokenizer()
    own.load(str(bundle.file("tokenizer.json")))
    oracle = AutoTokenizer.from_pretrained(bundle.program.parent)
    different = [t for t in texts if list(own.encode(t, 0, 0)) != oracle.encode(t, add_special_tokens=False)]
    assert different == []


def test_the_sentencepiece_file_agrees_where_no_marker_is_written(bundle: Any, texts: list[str]) -> None:
    from sentencepiece import SentencePieceProcessor
    from transformers import AutoTokenizer

    pieces = SentencePieceProcessor(model_file=str(bundle.file("tokenizer.model")))
    oracle = AutoTokenizer.from_pretrained(bundle.program.parent)
    plain = [t for t in texts if "<" not in t]
    assert len(plain) > 2000
    different = [t for t in plain if pieces.encode(t) != oracle.encode(t, add_special_tokens=False)]
    assert different == []


def test_the_goldens_ask_enough(goldens: Any) -> None:
    """At least 24 prompts, 32 scored positions each, 64 log-probabilities at each position."""
    assert len(goldens) >= 24
    assert min(g.positions for g in goldens) >= 32
    assert {g.topk_logprobs.shape[1] for g in goldens} == {64}
    kinds = {g.prompt.kind for g in goldens}
    assert {"tool", "chat", "long"} <= kinds


def test_the_bundle_holds_what_the_design_says(bundle: Any, tmp_path: Path) -> None:
    names = set(bundle.manifest.files)
    assert {
        "model.pte",
        "tokenizer.json",
        "tokenizer.model",
        "chat_template.jinja",
        "generation_config.json",
        "LICENSE",
        "NOTICE",
        "README.md",
        "goldens/goldens.safetensors",
        "goldens/goldens.jsonl",
    } <= names
    generation = json.loads(bundle.read("generation_config.json"))
    assert generation["eos_token_id"] == list(bundle.manifest.stop_ids)


def test_the_float32_bundle_is_transformers_at_every_position_past_three_windows(
    sample_float32: Any, goldens: Any
) -> None:
    import numpy as np
    import torch
    from gemcut.bundle.reader import open_bundle
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.checkpoint.weights import load_float_model
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner as open_runner
    from gemcut.sample import sample_path

    checkpoint = open_checkpoint(str(sample_path()))
    window = checkpoint.text_config.sliding_window
    ids = [token for golden in goldens for token in golden.ids][: 3 * window + 40]
    with torch.inference_mode():
        wanted = load_float_model(checkpoint)(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
    with open_bundle(sample_float32.path) as opened:
        runner = open_runner(opened.program)
        got = np.stack([runner.step(token, at) for at, token in enumerate(ids)])
        assert np.abs(got - wanted).max() <= 1e-3
        assert (got.argmax(-1) == wanted.argmax(-1)).all()
        in_pieces = [runner.prefill(ids[:150], 0), runner.prefill(ids[150:], 150)]  # the second wraps the rings
        for logits, at in zip(in_pieces, (149, len(ids) - 1), strict=True):
            assert np.abs(logits - wanted[at]).max() <= 1e-3
