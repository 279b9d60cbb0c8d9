"""What ExecuTorch's releases have registered, and programs that ask for more than a target's oldest release has."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gemcut.cli import main
from gemcut.compat.executorch_releases import (
    VersionFile,
    known,
    lacking_backends,
    lacking_kernels,
    oldest_fitting,
    oldest_with,
    refuse_lacking,
)
from gemcut.errors import UnsupportedError
from gemcut.runtimes.executorch import PLUGIN
from gemcut.runtimes.executorch.release_lists import _main, file_text, installed
from gemcut.runtimes.executorch.requirements import read_requirements
from gemcut.target import list_targets, load_target

CONTEXT = 256  # the shortest that the built-in golden prompts fit
LATE = "aten::var_mean.correction_out"  # 1.3.1 has it, 1.1.0 has not
XNNPACK = "XnnpackBackend"


def release(version: str) -> Any:
    (found,) = (each for each in known() if each.version == version)
    return found


# The lists


def test_the_known_releases_the_oldest_first() -> None:
    assert [each.version for each in known()] == ["1.0.1", "1.1.0", "1.3.1", "1.4.1", "1.5.1"]
    for each in known():
        assert XNNPACK in each.backends
        assert {"aten::add.out", "executorch_prim::et_view.default", "llama::custom_sdpa.out"} <= each.kernels
        assert all(len(sha256) == 64 for sha256 in each.files.values())


def test_no_release_has_less_than_the_one_before() -> None:
    """Which is what lets a release that isn't known be taken for the newest one before it."""
    for one, other in zip(known(), known()[1:], strict=False):
        assert one.kernels < other.kernels


def test_what_the_notes_say_of_the_releases() -> None:
    assert [len(each.kernels) for each in known()] == [253, 258, 261, 268, 270]
    assert lacking_kernels([LATE, "aten::add.out"], release("1.1.0")) == (LATE,)
    assert lacking_kernels([LATE, "aten::add.out"], release("1.3.1")) == ()
    assert lacking_backends(["VulkanBackend", XNNPACK], release("1.1.0")) == ("VulkanBackend",)
    assert lacking_backends(["VulkanBackend", XNNPACK], release("1.3.1")) == ()


def test_the_installed_runtime_has_what_its_list_says() -> None:
    if (sys.platform, PLUGIN.version()) != ("linux", "1.5.1"):
        pytest.skip("the list is of executorch 1.5.1 for Linux: pip install executorch==1.5.1 there")
    assert set(installed()["kernels"]) == release("1.5.1").kernels
    assert XNNPACK in installed()["backends"]


def test_a_list_is_written_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import tomllib

    library = tmp_path / "arm64" / "lib.so"
    library.parent.mkdir()
    library.write_bytes(b"a library")
    facts = {"kernels": ["b::b.out", "a::a", "b::b.out"], "backends": [XNNPACK], "version": "9"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(facts)))
    _main(['an "odd" source', str(library)])
    text = capsys.readouterr().out
    assert text == file_text('an "odd" source', facts, [library])
    read = VersionFile.model_validate_json(json.dumps(tomllib.loads(text)))
    assert (read.source, read.backends, read.kernels) == ('an "odd" source', (XNNPACK,), ("a::a", "b::b.out"))
    assert list(read.files) == ["arm64/lib.so"]


# Which release a target names


@pytest.mark.parametrize(
    ("asked", "found"),
    [("1.0.1", "1.0.1"), ("1.1", "1.1.0"), ("1.1.0", "1.1.0"), ("1.2.7", "1.1.0"), ("1.10.0", "1.5.1"), ("2", "1.5.1")],
)
def test_a_release_has_what_the_newest_known_before_it_has(asked: str, found: str) -> None:
    assert oldest_fitting(asked).version == found


def test_a_release_older_than_all_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnsupportedError, match=r"ExecuTorch 1\.0\.0.*older than any") as caught:
        oldest_fitting("1.0.0")
    assert "1.0.1, 1.1.0, 1.3.1, 1.4.1, 1.5.1" in str(caught.value.hint)


@pytest.mark.parametrize("name", list_targets())
def test_every_shipped_target_names_a_known_release(name: str) -> None:
    assert load_target(name).oldest_runtime["executorch"] in {each.version for each in known()}


# Refusals


def test_the_oldest_release_with_all_of_them() -> None:
    def found(*kernels: str, backends: tuple[str, ...] = (XNNPACK,)) -> str | None:
        fits = oldest_with(kernels, backends)
        return fits.version if fits else None

    assert found() == "1.0.1"
    assert found("aten::grid_sampler_2d.out") == "1.1.0"
    assert found("aten::grid_sampler_2d.out", LATE) == "1.3.1"
    assert found(backends=("VulkanBackend",)) == "1.3.1"
    assert found("executorch_prim::sym_not.Scalar") == "1.4.1"
    assert found("no::such") is None
    assert oldest_with([LATE], []) is release("1.3.1")


def test_a_refusal_names_all_that_is_lacking_and_the_release_that_has_it() -> None:
    with pytest.raises(UnsupportedError) as caught:
        refuse_lacking([LATE, "aten::add.out", "aten::_conj_physical.out"], [XNNPACK, "VulkanBackend"], "1.1.0")
    assert caught.value.message == (
        "The program needs what ExecuTorch 1.1.0, the target's oldest_runtime, lacks: "
        f"operator aten::_conj_physical.out, operator {LATE}, backend VulkanBackend."
    )
    assert 'executorch = "1.3.1"' in str(caught.value.hint)
    assert "add.out" not in caught.value.message


def test_a_refusal_says_whose_list_it_went_by() -> None:
    with pytest.raises(UnsupportedError, match=r"ExecuTorch 1\.2\.0.*judged by 1\.1\.0, the nearest known release"):
        refuse_lacking([LATE], [XNNPACK], "1.2.0")
    with pytest.raises(UnsupportedError, match="no::such") as caught:
        refuse_lacking(["no::such"], [], "1.5.1")
    assert "up to 1.5.1" in str(caught.value.hint)


def test_nothing_is_refused_that_the_release_has() -> None:
    refuse_lacking([LATE, "aten::add.out"], [XNNPACK], "1.3.1")
    refuse_lacking([], [], "1.0.1")
    needing = SimpleNamespace(kernels=(LATE,), delegates={XNNPACK: 1})
    PLUGIN.exporter.check_release(needing, None)  # type: ignore[arg-type]  # a target that names no oldest release
    with pytest.raises(UnsupportedError):
        PLUGIN.exporter.check_release(needing, "1.1.0")  # type: ignore[arg-type]


def test_what_a_program_needs_is_read_from_all_of_its_methods() -> None:
    import torch
    from executorch.exir import EdgeCompileConfig, to_edge

    class Sizes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(x.shape[0] * 4)  # a product of sizes, and a view

    class Spread(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.var_mean(x, dim=-1, correction=1)[0]

    x = torch.ones(3, 4)
    rows = torch.export.Dim("rows", min=2, max=8)
    methods = {
        "forward": torch.export.export(Sizes(), (x,), dynamic_shapes=({0: rows},)),
        "other": torch.export.export(Spread(), (x,)),
    }
    edge = to_edge(methods, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    needs = read_requirements(edge.to_executorch().executorch_program)
    assert LATE in needs.kernels
    assert LATE not in needs.operators
    assert "executorch_prim::mul.Scalar" in needs.kernels
    assert not [name for name in needs.operators if name.startswith("executorch_prim::")]
    assert set(needs.operators) < set(needs.kernels) <= release("1.5.1").kernels


# The command line


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Gemma 3 checkpoint of two small layers with random weights."""
    from gemcut.checkpoint.random import random_checkpoint
    from transformers import Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=CONTEXT,
    )
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", config)


def target_with(folder: Path, oldest: str) -> Path:
    """A copy of android-arm64 that must load from another release of ExecuTorch on."""
    text = list_targets()["android-arm64"].read_text(encoding="utf-8")
    assert 'executorch = "1.1.0"\n' in text
    path = folder / "mine.toml"
    path.write_text(text.replace('executorch = "1.1.0"\n', f'executorch = "{oldest}"\n'), encoding="utf-8")
    return path


@pytest.fixture
def export(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[object], tuple[int, dict[str, Any], str]]:
    """``export(target)``: the exit code, the document and the stages of an export of a program that needs ``LATE``."""
    import torch
    from gemcut.runtimes.executorch.graph.decoder import DecoderProgram

    original = DecoderProgram.forward

    def forward(self: Any, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
        logits = original(self, tokens, input_pos)
        return logits + 0.0 * torch.var_mean(logits, dim=-1, keepdim=True, correction=1)[1]

    def run(target: object) -> tuple[int, dict[str, Any], str]:
        monkeypatch.setattr(DecoderProgram, "forward", forward)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path / "cache"))  # no other export may take what is built like this
        words = ["export", tiny, "--target", target, "--recipe", "float32", "--context", CONTEXT]
        code = main([*map(str, words), "-o", str(tmp_path / "out" / "bundle"), "--json"])
        shown = capsys.readouterr()
        return code, json.loads(shown.out), shown.err

    return run


def test_an_export_is_refused_before_it_is_packed(export: Callable[..., Any], tmp_path: Path) -> None:
    code, document, stages = export("android-arm64")
    assert code == 4
    assert document["error"]["exit_code"] == 4
    assert f"ExecuTorch 1.1.0, the target's oldest_runtime, lacks: operator {LATE}." in document["error"]["message"]
    assert 'executorch = "1.3.1"' in document["error"]["hint"]
    assert "Lowering for ExecuTorch" in stages
    assert "Packing" not in stages
    assert "Proving" not in stages
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_it_is_exported_for_the_release_that_the_hint_names(export: Callable[..., Any], tmp_path: Path) -> None:
    code, document, _ = export(target_with(tmp_path, "1.3.1"))
    assert code == 0
    manifest = json.loads((Path(document["bundles"][0]["bundle"]) / "manifest.json").read_text(encoding="utf-8"))
    assert LATE in manifest["kernels"]
    assert (manifest["proven"], manifest["runtime"]["oldest"]) == (True, "1.3.1")
    release = oldest_with(manifest["kernels"], manifest["delegates"])
    assert release is not None
    assert release.version == "1.3.1"


def test_a_target_of_an_unknown_age_is_refused_before_anything_is_loaded(
    export: Callable[..., Any], tmp_path: Path
) -> None:
    code, document, stages = export(target_with(tmp_path, "0.7.0"))
    assert code == 4
    assert "ExecuTorch 0.7.0" in document["error"]["message"]
    assert "1.0.1, 1.1.0, 1.3.1, 1.4.1, 1.5.1" in document["error"]["hint"]
    assert "Loading the float model" not in stages
