"""Tiny adapters, made and saved by PEFT itself on tiny random models, and PEFT's own merge of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import CONFIGS, edit_json, fresh, load_all, pristine, save_single

__all__ = ["CONFIGS", "edit_json", "fresh", "load_all", "pristine", "save_single"]

LINEARS = ["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]


def base_model(folder: Path) -> Any:
    """transformers' own model of a checkpoint, multimodal ones whole."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture
def make_adapter(tmp_path: Path) -> Callable[..., Path]:
    """``make_adapter(base, **options of LoraConfig)``: an adapter whose every trained tensor is random."""

    def of(base: Path, name: str = "adapter", model: Any = None, **options: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model

        settings = {"r": 4, "lora_alpha": 6, "target_modules": LINEARS, "task_type": "CAUSAL_LM"} | options
        peft = get_peft_model(model or base_model(base), LoraConfig(**settings))
        torch.manual_seed(5)
        with torch.no_grad():
            for weight in peft.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight) * 0.1)
        peft.save_pretrained(tmp_path / name)
        return tmp_path / name

    return of


@pytest.fixture
def peft_merge() -> Callable[[Path, Path], Any]:
    """``peft_merge(base, adapter)``: the model that PEFT's merge_and_unload gives, in float32."""

    def of(base: Path, adapter: Path) -> Any:
        from peft import PeftModel

        return PeftModel.from_pretrained(base_model(base), adapter).merge_and_unload()

    return of
