"""Running the command line: in this process for what it says, in one of its own for what it loads."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from gemcut.bundle.manifest import Manifest
from gemcut.bundle.staging import Staging

from tests.support import command
from tests.support.logits_reference import FollowsLogits

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def gemcut(tmp_path: Path) -> Run:
    """Runs ``gemcut`` in a process and a folder of its own, with no network and no terminal."""

    def run(*words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return command.gemcut(*words, cwd=tmp_path, stdin=stdin, env=variables, timeout=300)

    return run


WORDS = ("<pad>", "<eos>", "<bos>", "<turn>", "user", "model", "one", "two", "three", "four", "hello", "endless")
CONTEXT, CHUNK = 128, 16
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} <turn> {{ 'model' if m.role == 'assistant' else 'user' }} "
    "{{ m.content }} <eos>{% endfor %}{% if add_generation_prompt %} <turn> model {% endif %}"
)
# After "model" comes "one", then "two", "three" and the end; "endless" goes on for ever.
FOLLOWS = {"model": "one", "one": "two", "two": "three", "three": "<eos>", "endless": "endless"}


def _table() -> npt.NDArray[np.float32]:
    """Logits of the next word [V, V] by the last one."""
    table = np.random.default_rng(7).normal(0, 0.5, (len(WORDS), len(WORDS))).astype(np.float32)
    for word, then in FOLLOWS.items():
        table[WORDS.index(word), WORDS.index(then)] = 10.0
    return table


class Follows(FollowsLogits):
    """The float model (``reference.oracle.Reference``) of the program below, its logits shifted by ``noise``."""

    vocab_size = len(WORDS)

    def __init__(self, noise: float = 0.0) -> None:
        self._table = _table() + np.random.default_rng(8).normal(0, noise, (len(WORDS), len(WORDS)))

    def logits(self, ids: Sequence[int], first: int) -> npt.NDArray[np.float32]:
        return self._table[np.asarray(ids[first:])].astype(np.float32)


def _write_program(path: Path) -> None:
    """A real program with the contract of ExecuTorch's LLM runners: the likeliest next token is FOLLOWS'."""
    import torch
    from executorch.exir import to_edge

    table = torch.from_numpy(_table())

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding.from_pretrained(table)

        def forward(self, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
            return self.table(tokens[:, -1]) + 0.0 * input_pos.float()

    length = torch.export.Dim("length", min=1, max=CHUNK)
    inputs = (torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    traced = torch.export.export(Module(), inputs, dynamic_shapes=({1: length}, None))
    constants = {"get_max_seq_len": CHUNK, "get_max_context_len": CONTEXT, "get_vocab_size": len(WORDS)}
    path.write_bytes(to_edge(traced, constant_methods=constants).to_executorch().buffer)


def _write_tokenizer(path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in WORDS[:4]])
    tokenizer.save(str(path))


def _manifest(**changes: Any) -> Manifest:
    settings = {
        "model": {"name": "follows", "source": "tests/follows", "model_type": "gemma3_text", "parameters": 144},
        "target": "linux-x86_64",
        "runtime": {"name": "executorch", "version": "1.5.1"},
        "exporter": "0.1.0",
        "recipe": {"name": "float32"},
        "program": "model.pte",
        "context": CONTEXT,
        "prefill_chunk": CHUNK,
        "vocab_size": len(WORDS),
        "operators": ["aten::embedding.out"],
        "proven": True,
        "stop_ids": [1],
        "bos_id": 2,
        "special_tokens": {"bos_token": "<bos>"},
        "template_bos": True,
        "tensors": {"embedding": {"quantized": 0, "bytes": 576}},
        "fidelity": {
            "form": "full-vocabulary",
            "prompts": 24,
            "positions": 800,
            "mean_kl": 0.01,
            "p99_kl": 0.1,
            "top1": 0.97,
            "perplexity_ratio": 1.02,
            "max_logprob_diff": 0.8,
        },
        "behaviour": {"passed": True, "rates": {"single_bos": 1.0}, "tool_calls": 0.875},
        "gate": {"limits": {"mean_kl": 0.05}, "reason": "Above that, replies change."},
        "notes": ["a note [on] it"],
    }
    return Manifest.model_validate({**settings, **changes})


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Packs bundles around one real, tiny program; keywords change the manifest."""
    source = tmp_path_factory.mktemp("source")
    _write_program(source / "model.pte")
    _write_tokenizer(source / "tokenizer.json")

    def make(form: Literal["dir", "zip"] = "dir", template: str | None = TEMPLATE, **changes: Any) -> Path:
        out = tmp_path_factory.mktemp("bundles") / ("follows.gemcut" if form == "zip" else "follows")
        with Staging(out, form) as staging:
            for name in ("model.pte", "tokenizer.json"):
                staging.add(name, source / name)
            if template is not None:
                staging.add("chat_template.jinja", template.encode())
            staging.publish(_manifest(**changes))
        return out

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle: Callable[..., Path]) -> Path:
    """A proven bundle."""
    return make_bundle()


@pytest.fixture(scope="session")
def unproven(make_bundle: Callable[..., Path]) -> Path:
    """A bundle that was published with ``--gate report``."""
    return make_bundle(proven=False, unproven=["mean_kl 0.2, limit 0.05"])


@pytest.fixture(scope="session")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Bundles with goldens, proven as an export does; noise: of the float model, or of what the host recorded."""
    from gemcut.pipeline.proving import prove, proven_manifest
    from gemcut.prompt.chats import Prompt
    from gemcut.prompt.codec import load_codec
    from gemcut.prove.golden_files import save_goldens, save_recorded
    from gemcut.prove.golden_generation import make_goldens
    from gemcut.quantize.recipe import Gate
    from gemcut.report.console import ConsoleProgress

    source = tmp_path_factory.mktemp("source")
    _write_program(source / "model.pte")
    _write_tokenizer(source / "tokenizer.json")
    codec = load_codec(source / "tokenizer.json", TEMPLATE, {"bos_token": "<bos>"}, bos_id=2)
    asked = [Prompt(w, "chat", ({"role": "user", "content": f"hello {w} " * 12},)) for w in ("one", "two", "user")]

    def make(noise: float = 0.0, **changes: Any) -> Path:
        goldens = make_goldens(Follows(noise), codec, asked, [1], CONTEXT, top=8)
        out = tmp_path_factory.mktemp("bundles") / "proven"
        with Staging(out) as staging:
            for name in ("model.pte", "tokenizer.json"):
                staging.add(name, source / name)
            staging.add("chat_template.jinja", TEMPLATE.encode())
            for name, data in save_goldens(goldens).items():
                staging.add(name, data)
            manifest = _manifest(**changes)
            with staging.draft(manifest) as draft:
                proof = prove(draft, Gate(mean_kl=0.05, reason="test"), staging.work, ConsoleProgress())
            for name, data in save_recorded(proof.recorded).items():
                staging.add(name, data)
            staging.publish(proven_manifest(manifest, proof))
        return out

    return make
