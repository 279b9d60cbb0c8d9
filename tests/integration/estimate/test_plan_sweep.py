"""``plan`` over every family of language models that transformers can build: the words and codes of ``export``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from gemcut.checkpoint.opening import describe
from gemcut.errors import EXIT_CHECKPOINT, EXIT_UNSUPPORTED, GemcutError
from gemcut.estimate import probe
from gemcut.estimate.overview import estimate
from gemcut.quantize.recipe import load_recipe
from gemcut.runtimes import get_runtime
from gemcut.target import load_target
from gemcut.util.progress import Silent


def written(kind: str, folder: Path) -> Path | None:
    """A config.json of two layers, otherwise what transformers has by default; None if it has no default."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        config = CONFIG_MAPPING[kind]()
        with contextlib.suppress(Exception):  # of upstream's: not all of them can be made smaller
            for part in (config, config.get_text_config(decoder=True)):
                if getattr(part, "num_hidden_layers", 0) > 2:
                    part.num_hidden_layers = 2
                    if getattr(part, "layer_types", None):
                        part.layer_types = part.layer_types[:2]
        config.save_pretrained(folder)
    except Exception:  # of upstream's: a configuration that can't be made without arguments
        return None
    return folder


def outcome(run: Any) -> tuple[int, str]:
    """The exit code and the message that a user would see; any other exception is a bug."""
    try:
        run()
    except GemcutError as error:
        return error.exit_code, error.message
    return 0, ""


def test_every_family_is_planned_or_refused_as_export_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    target, recipe, executorch = load_target("linux-x86_64"), load_recipe("int8"), get_runtime("executorch")

    # How fast this machine is, which takes most of a plan's time, is the same for all.
    speed = probe.measure_speed(tmp_path)
    monkeypatch.setattr(probe, "measure_speed", lambda _: speed)

    def export(folder: Path) -> None:
        config = describe(str(folder)).text_config
        executorch.exporter.check(config, recipe, (target.delegate,))

    found = {}
    for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        folder = written(kind, tmp_path / kind)
        if folder is not None:
            found[kind] = outcome(lambda at=folder: estimate(str(at), target, recipe.name, None, Silent()))
            assert found[kind] == outcome(lambda at=folder: export(at)), kind
    codes = {kind: code for kind, (code, _) in found.items()}
    assert len(codes) > 120
    assert set(codes.values()) == {0, EXIT_CHECKPOINT, EXIT_UNSUPPORTED}
    for kind in ("gemma3_text", "llama", "mistral", "phi3", "qwen3", "smollm3"):
        assert codes[kind] == 0, found[kind]
    for kind in ("bloom", "gpt2", "mamba"):
        assert codes[kind] == EXIT_UNSUPPORTED, found[kind]
    assert all(message for code, message in found.values() if code)
