"""A small bundle of real files."""

import hashlib
from pathlib import Path

import pytest
from gemcut.bundle.manifest import Manifest


@pytest.fixture
def manifest() -> Manifest:
    return Manifest.model_validate(
        {
            "model": {
                "name": "tiny",
                "source": "someone/tiny",
                "revision": "abc123",
                "model_type": "gemma4_text",
                "parameters": 1234,
                "files": {"model.safetensors": hashlib.sha256(b"w").hexdigest()},
            },
            "target": "android-arm64",
            "runtime": {"name": "executorch", "version": "1.5.1", "oldest": "1.5.0"},
            "exporter": "0.1.0",
            "libraries": {"torch": "2.13.0"},
            "recipe": {
                "name": "int4",
                "rules": [{"match": ".*", "scheme": "int4-32", "weight": "int4", "group": 32, "reason": "small"}],
            },
            "program": "model.pte",
            "context": 512,
            "prefill_chunk": 64,
            "vocab_size": 2048,
            "operators": ["aten::add.out"],
            "delegates": {"XnnpackBackend": 7},
            "delegate_coverage": 0.123456789123,
            "tensors": {"linear": {"quantized": 3, "bytes": 100}},
            "fidelity": {
                "form": "full-vocabulary",
                "prompts": 24,
                "positions": 800,
                "mean_kl": 0.0123456789012345,
                "p99_kl": float("inf"),
                "top1": 0.97,
                "perplexity_ratio": 1.02,
                "max_logprob_diff": 0.8,
            },
            "gate": {"limits": {"mean_kl": 0.05}, "reason": "Above that, replies change."},
            "proven": True,
            "stop_ids": [1, 106],
            "bos_id": 2,
            "licence": {"id": "apache-2.0"},
        }
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path | bytes]:
    program = tmp_path / "source.pte"
    program.write_bytes(bytes(range(256)) * 300)
    return {
        "model.pte": program,
        "tokenizer.json": b'{"version": "1.0"}',
        "chat_template.jinja": b"{{ bos_token }}",
        "goldens/goldens.jsonl": b"{}\n",
        "empty": b"",
    }
