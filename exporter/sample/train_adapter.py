"""Train the sample's adapter: LoRA on the sample model, for phone actions that the model was never trained on.

`python -m gemcut.sample.train_adapter --out DIR` writes it in PEFT's format, without PEFT; one core needs under
15 minutes. What is trained is what an export merges: W + scale * B @ A, in some steps rounded to 4 bits.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from torch import nn

from . import sample_path
from .adapter_requests import DIARY
from .evaluate import load, score_model
from .fakequant import GROUP, rounded
from .generate import Chat, golden_lines, held_out_calls, training_chats
from .train import batches, loss_of

SEED = 20260202
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
GOLDENS = 24


@dataclass
class Settings:
    """The settings of a training run.

    Attributes:
        out: The folder to write.
        steps: How many steps to train for.
        batch: Chats in a step.
        rate: The highest learning rate.
        warmup: Steps in which the learning rate rises.
        rank: LoRA's rank.
        alpha: LoRA's alpha.
        rehearsal: The share of chats for the base model's own actions, 0..1.
        rounding_from: The share of the steps after which weights are rounded in some, 0..1.
        rounding_share: The share of those steps with rounded weights, 0..1.
        seed: The seed of weights and chats.
        threads: Threads of torch.
    """

    out: Path
    steps: int = 400
    batch: int = 12
    rate: float = 4e-3
    warmup: int = 20
    rank: int = 4
    alpha: int = 8
    rehearsal: float = 0.2
    rounding_from: float = 0.5
    rounding_share: float = 0.5
    seed: int = SEED
    threads: int = 1


class LoraLinear(nn.Module):
    """A frozen linear layer with a trained update of low rank: W + scale * B @ A (Hu et al., 2021).

    A [rank, in] starts as PEFT's does, B [out, rank] at zero.

    Args:
        base: The linear layer W, [out, in].
        rank: The update's rank.
        scale: Multiplies B @ A.

    Attributes:
        base: As passed in.
        scale: As passed in.
        rounding: Whether the sum is rounded as 4-bit weights will be.
        lora_A: A, [rank, in].
        lora_B: B, [out, rank].
    """

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.base, self.scale, self.rounding = base, scale, False
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    @property
    def weight(self) -> torch.Tensor:
        """The merged weight [out, in], as an export has it."""
        whole = self.base.weight + self.scale * (self.lora_B @ self.lora_A)
        if not self.rounding or whole.shape[1] % GROUP:
            return whole
        return whole + (rounded(whole.detach()) - whole.detach())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the layer's output [..., out] for ``hidden`` [..., in]."""
        return nn.functional.linear(hidden, self.weight)


def add_lora(model: nn.Module, rank: int, scale: float) -> dict[str, LoraLinear]:
    """Freeze the model and put an update into every layer of ``TARGETS``.

    Args:
        model: Changed in place.
        rank: The updates' rank.
        scale: Multiplies B @ A.

    Returns:
        The layers by name.
    """
    model.requires_grad_(False)
    found = {}
    for name, layer in list(model.named_modules()):
        parent, _, own = name.rpartition(".")
        if own in TARGETS and isinstance(layer, nn.Linear):
            found[name] = LoraLinear(layer, rank, scale)
            setattr(model.get_submodule(parent), own, found[name])
    return found


def save_adapter(layers: dict[str, LoraLinear], settings: Settings) -> None:
    """Write adapter_config.json and adapter_model.safetensors (bfloat16) as PEFT does.

    Args:
        layers: By name, as ``add_lora`` returned them.
        settings: The run's settings.
    """
    tensors = {}
    for name, layer in layers.items():
        for part in ("lora_A", "lora_B"):
            tensors[f"base_model.model.{name}.{part}.weight"] = getattr(layer, part).detach().to(torch.bfloat16)
    config = {
        "base_model_name_or_path": "gemcut-sample",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": settings.alpha,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": settings.rank,
        "target_modules": sorted(TARGETS),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    settings.out.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.contiguous() for name, value in tensors.items()},
        settings.out / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    (settings.out / "adapter_model.safetensors").chmod(0o644)
    (settings.out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_goldens(out: Path) -> None:
    """Write golden_prompts.jsonl: held-out chats of the adapter's actions, which an export proves the bundle with."""
    (out / "golden_prompts.jsonl").write_text(golden_lines("diary", GOLDENS, DIARY), encoding="utf-8")


def mixed_chats(settings: Settings) -> Iterator[Chat]:
    """Yield the adapter's training chats, mixed with some of the base model's, which it must not forget."""
    rng = Random(f"mix {settings.seed}")
    new, old = training_chats(settings.seed, DIARY), training_chats(settings.seed)
    while True:
        yield next(old if rng.random() < settings.rehearsal else new)


def rate_at(step: int, settings: Settings) -> float:
    """Return the learning rate at a step: a short rise, then half a cosine down to one fiftieth."""
    done = max(0.0, (step - settings.warmup) / max(1, settings.steps - settings.warmup))
    rise = min(1.0, (step + 1) / settings.warmup)
    return settings.rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def train(settings: Settings) -> None:
    """Train the adapter on the packaged model, and write it to ``settings.out``."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    model, tokenizer = load(sample_path())
    layers = add_lora(model, settings.rank, settings.alpha / settings.rank)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    stepper, rng = torch.optim.AdamW(trained, lr=settings.rate, weight_decay=0.0), Random(settings.seed)
    print(f"{sum(w.numel() for w in trained):,} parameters, {settings.steps} steps", flush=True)
    started, mean = time.monotonic(), 0.0
    chats = batches(tokenizer, mixed_chats(settings), settings.batch, settings.seed)
    for step, batch in zip(range(settings.steps), chats, strict=False):
        for group in stepper.param_groups:
            group["lr"] = rate_at(step, settings)
        rounding = step >= settings.rounding_from * settings.steps and rng.random() < settings.rounding_share
        for layer in layers.values():
            layer.rounding = rounding
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model, model.model, batch)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        stepper.step()
        stepper.zero_grad()
        mean = loss.item() if step == 0 else 0.95 * mean + 0.05 * loss.item()
        if step % 20 == 0 or step + 1 == settings.steps:
            took = time.monotonic() - started
            print(f"step {step:4d}  loss {mean:.4f}  {took / (step + 1):.2f} s/step", flush=True)
    save_adapter(layers, settings)
    write_goldens(settings.out)
    model, tokenizer = load(sample_path(), settings.out)  # as it was written, and merged as an export does it
    for label, held in (("its own", held_out_calls(50, 11, DIARY)), ("the model's", held_out_calls(50, 11))):
        print(f"held-out calls of {label} actions: {score_model(model, tokenizer, held).percent:.0f}%", flush=True)
    print(f"{(time.monotonic() - started) / 60:.1f} min", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m gemcut.sample.train_adapter", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    for field in fields(Settings):
        if field.name in ("steps", "batch", "rank", "alpha", "threads", "rate"):
            parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    train(Settings(**vars(parser.parse_args(arguments))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
