"""The three jobs that people come with, done as the pages say, word for word."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.sample import adapter_path, sample_path

from tests.support.command import gemcut
from tests.support.pages import ROOT, blocks, lines, typed


def follow(
    page: str, folder: Path, by_hand: Callable[[str], None] = lambda _: None
) -> list[subprocess.CompletedProcess[str]]:
    """Run the lines of a page in order, after what is done by hand before each; each must succeed."""
    done = []
    for line, why in lines(page):
        if why is None:
            by_hand(line)
            done.append(typed(line, folder, folder.parent / "bin"))
            assert done[-1].returncode == 0, f"{page}: {line}\n{done[-1].stdout}{done[-1].stderr}"
    return done


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The sample app's repository, before it had a gemcut.toml, with the sample as the team's model."""
    app = tmp_path / "app"
    left_out = shutil.ignore_patterns("gemcut.toml", "gemcut.lock", ".gemcut", "bundles")
    shutil.copytree(ROOT / "tests" / "app_repo", app, ignore=left_out)
    shutil.copytree(sample_path(), app / "models" / "assistant")
    return app


# A LoRA fine-tune with tool calls, in an app


def verdict_of(bundle: Path) -> dict[str, Any]:
    """What the demo would write on a phone that does to the last bit what the exporting machine did."""
    from gemcut.bundle.manifest import MANIFEST
    from gemcut.bundle.reader import open_bundle
    from gemcut.devices.verdict_file import FORMAT, SCHEMA_VERSION
    from gemcut.prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded

    def text(array: Any, kind: str) -> str:
        return base64.b64encode(array.astype(kind).tobytes()).decode()

    with open_bundle(bundle) as opened:
        runtime = opened.manifest.runtime
        sha256 = hashlib.sha256(opened.read(MANIFEST)).hexdigest()
        goldens = load_goldens({name: opened.read(name) for name in GOLDENS})
        recorded = load_recorded({name: opened.read(name) for name in RECORDED})
    parts = [
        {
            "id": golden.prompt.id,
            "logprobs": text(one.logprobs, "<f4"),
            "target_logprobs": text(one.target_logprobs, "<f4"),
            "top1": text(one.top1, "<i4"),
            "greedy_ids": list(one.greedy_ids),
            "greedy_text": one.greedy_text,
        }
        for golden, one in zip(goldens, recorded, strict=True)
    ]
    phone = {
        "maker": "Maker",
        "model": "Phone 1",
        "system": "Android 14",
        "abi": "arm64-v8a",
        "cpu": "Cortex-A76",
        "cores": 8,
        "memory": 8 << 30,
    }
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "manifest_sha256": sha256,
        "runtime": {"name": runtime.name, "version": runtime.version},
        "library": None,
        "device": phone,
        "app": {"id": "org.gemcut.demo", "version": "0.1"},
        "goldens": parts,
        "tokens_per_second": 30.0,
        "peak_memory": 0,
        "refused": None,
        "passed": True,
        "max_logprob_diff": 0.0,
        "mean_kl": 0.0,
        "failures": [],
    }


def test_a_lora_with_tool_calls_gets_into_an_app(app: Path) -> None:
    """in-your-app.md with an adapter, to the verdict from the phone; then chat.md's tools on the same bundle."""
    page = "docs/guides/in-your-app.md"
    (project,) = blocks(page, "toml")
    shutil.copytree(adapter_path("sample"), app / "models" / "assistant-lora")
    key = 'adapter = "models/assistant-lora"'
    assert key in (ROOT / page).read_text(encoding="utf-8")
    model = 'model = "models/assistant"\n'
    assert model in project

    def by_hand(line: str) -> None:
        """What the reader does before a line: gemcut.toml as the page has it, the verdict from the phone."""
        if line == "gemcut export":
            (app / "gemcut.toml").write_text(project.replace(model, f"{model}{key}\n"), encoding="utf-8")
        if "--from" in line:
            (app / "gemcut-verdict.json").write_text(json.dumps(verdict_of(app / "bundles" / "assistant")))

    subprocess.run(["git", "init", "--quiet", str(app)], check=True)
    follow(page, app, by_hand)
    first = json.loads((adapter_path("sample") / "golden_prompts.jsonl").read_text().splitlines()[0])
    (call,) = first["expected"]["calls"]
    (app / "tools.json").write_text(json.dumps(first["tools"]))
    (app / "results.json").write_text(json.dumps({call["name"]: {"events": []}}))
    words = ["--tools", "tools.json", "--tool-results", "results.json", "--prompt", first["messages"][0]["content"]]
    said = gemcut("chat", "bundles/assistant", *words, "--json", cwd=app)
    assert said.returncode == 0, said.stderr
    assert call["name"] in said.stdout
    assert json.dumps(call["arguments"]["day"]) in said.stdout


# Will E2B run on my users' phones, and how fast


def test_whether_e2b_runs_is_said_from_its_configuration(tmp_path: Path) -> None:
    from transformers import Gemma4TextConfig

    desk = tmp_path / "desk"
    (desk / "models").mkdir(parents=True)
    Gemma4TextConfig(  # the published one's shape
        hidden_size=1536,
        intermediate_size=6144,
        num_hidden_layers=35,
        num_attention_heads=8,
        num_key_value_heads=1,
        head_dim=256,
        global_head_dim=512,
        sliding_window=512,
        vocab_size=262144,
        num_kv_shared_layers=20,
        use_double_wide_mlp=True,
        hidden_size_per_layer_input=256,
        layer_types=(["sliding_attention"] * 4 + ["full_attention"]) * 7,
        max_position_embeddings=131072,
    ).save_pretrained(desk / "models" / "gemma-4-e2b")
    page = "docs/guides/will-it-run.md"
    default, small = (done.stdout for done in follow(page, desk))
    (shown,) = blocks(page, "text")
    said = {" ".join(line.split()) for line in default.splitlines()}
    for line in shown.splitlines():
        words = " ".join(line.split())
        assert not words or words[0] == "─" or words in said, f"the page shows what plan doesn't say: {line}"
    verdicts = {line.split()[0]: line.split()[1:] for line in small.splitlines() if line.split()[-1:] == ["yes"]}
    assert verdicts["executorch"] == ["no", "tight", "yes", "yes", "yes"]


# CI must fail when the model gets worse, or larger


def test_a_worse_and_a_larger_model_are_stopped(app: Path) -> None:
    page = "docs/guides/no-worse.md"
    (project,) = blocks(page, "toml")
    (app / "gemcut.toml").write_text(project, encoding="utf-8")
    follow(page, app)
    manifest = (app / "bundles" / "assistant" / "manifest.json").read_bytes()

    (app / "gemcut.toml").write_text(project.replace("[bundles.assistant]", '[bundles.assistant]\nrecipe = "float32"'))
    larger = gemcut("export", cwd=app)
    assert larger.returncode == 7, larger.stderr
    assert "download size" in larger.stdout + larger.stderr

    (app / "gemcut.toml").write_text(project, encoding="utf-8")
    worsen(app / "models" / "assistant" / "model.safetensors")
    worse = gemcut("export", cwd=app)
    assert worse.returncode == 7, worse.stderr
    assert "expected" in worse.stdout + worse.stderr
    assert (app / "bundles" / "assistant" / "manifest.json").read_bytes() == manifest, "the last good one stays"


def worsen(weights: Path) -> None:
    """A fine-tune that went wrong: its MLPs say nothing any more."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    hurt = [name for name in tensors if "mlp.down_proj" in name]
    assert hurt
    save_file({**tensors, **{name: tensors[name] * 0.0 for name in hurt}}, weights, metadata={"format": "pt"})
