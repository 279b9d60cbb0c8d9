"""Train the sample model from scratch.

`python -m gemcut.sample.train --out DIR` makes the tokenizer and the model from generated chats;
two cores need well under 90 minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import Gemma4ForCausalLM

from . import sample_path
from .architecture import make_config, make_model, save_model
from .evaluate import score_model
from .fakequant import rounded_weights
from .generate import TRAIN_SEED, Chat, held_out_calls, training_chats
from .train_tokenizer import build

PROMPT_WEIGHT = 0.1
PROMPT_SHARE = 0.25
MIN_WIDTH = 72
"""Wider than the sliding window, so that one compiled graph serves every batch."""


@dataclass
class Settings:
    """The settings of a training run.

    Attributes:
        out: The folder to write.
        steps: How many steps to train for.
        batch: Chats in a step.
        rate: The highest learning rate.
        warmup: Steps in which the learning rate rises.
        rounding_from: The share of the steps after which weights are rounded in some, 0..1.
        rounding_share: The share of those steps with rounded weights, 0..1.
        seed: The seed of weights and chats.
        threads: Threads of torch.
        compile: Whether to compile the model, which needs a C++ compiler.
        check_every: Steps between two checks on held-out calls; 0 for no checks.
        check_chats: Chats in such a check.
    """

    out: Path
    steps: int = 1800
    batch: int = 24
    rate: float = 3e-3
    warmup: int = 100
    rounding_from: float = 0.6
    rounding_share: float = 0.6
    seed: int = TRAIN_SEED
    threads: int = 2
    compile: bool = True
    check_every: int = 600
    check_chats: int = 50


@dataclass
class Batch:
    """A batch of chats.

    Attributes:
        ids: Token ids padded on the right, [chats, width].
        weights: Each token's weight in the loss, as something to predict, [chats, width].
    """

    ids: torch.Tensor
    weights: torch.Tensor


def answer_weights(ids: Sequence[int], opening: Sequence[int], closing: int, rng: Random) -> list[float]:
    """Return each token's weight as something to predict: 1 in the model's turns, little or 0 elsewhere.

    Args:
        ids: The chat's token ids.
        opening: The ids that open a turn of the model.
        closing: The id that closes a turn.
        rng: Chooses the tokens elsewhere that count a little.
    """
    weights = [PROMPT_WEIGHT if rng.random() < PROMPT_SHARE else 0.0 for _ in ids]
    inside = False
    for at in range(len(ids)):
        if inside:
            weights[at] = 1.0
            inside = ids[at] != closing
        elif list(ids[max(0, at + 1 - len(opening)) : at + 1]) == list(opening):
            inside = True
    return weights


def batches(tokenizer: Any, chats: Iterator[Chat], size: int, seed: int) -> Iterator[Batch]:
    """Yield batches of ``size`` chats of similar length, without end.

    Args:
        tokenizer: The model's tokenizer.
        chats: Training chats without end.
        size: Chats in a batch.
        seed: The seed of the order of batches, and of the weights outside the model's turns.
    """
    rng = Random(seed)
    opening = tokenizer.encode("<|turn>model\n", add_special_tokens=False)
    closing = tokenizer.convert_tokens_to_ids("<turn|>")
    while True:
        pool = [next(chats) for _ in range(size * 16)]
        texts = [
            tokenizer.apply_chat_template(chat["messages"], tools=chat["tools"] or None, tokenize=False)
            for chat in pool
        ]
        rows = sorted(tokenizer(texts, add_special_tokens=False)["input_ids"], key=len)
        groups = [rows[at : at + size] for at in range(0, len(rows), size)]
        rng.shuffle(groups)
        for group in groups:
            width = max(MIN_WIDTH, (len(group[-1]) + 7) // 8 * 8)
            ids = torch.zeros(len(group), width, dtype=torch.long)
            weights = torch.zeros(len(group), width)
            for row, tokens in enumerate(group):
                ids[row, : len(tokens)] = torch.tensor(tokens)
                weights[row, : len(tokens)] = torch.tensor(answer_weights(tokens, opening, closing, rng))
            yield Batch(ids, weights)


def loss_of(model: Gemma4ForCausalLM, body: Callable[..., Any], batch: Batch) -> torch.Tensor:
    """Return the weighted cross-entropy of the next tokens; scores are computed only where they count.

    Args:
        model: The model.
        body: The model without its head, compiled or not.
        batch: The chats.
    """
    hidden = body(input_ids=batch.ids, use_cache=False).last_hidden_state
    weights = batch.weights[:, 1:].reshape(-1)
    chosen = weights.nonzero().squeeze(1)
    kept = hidden[:, :-1].reshape(-1, hidden.shape[-1])[chosen]
    targets, weights = batch.ids[:, 1:].reshape(-1)[chosen], weights[chosen]
    cap = float(model.config.final_logit_softcapping or 0.0)
    scores = torch.tanh(model.lm_head(kept).float() / cap) * cap
    losses = torch.nn.functional.cross_entropy(scores, targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


def optimizers(model: Gemma4ForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Return the optimizers: Muon for the matrices between embeddings, AdamW for embeddings and norms."""
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    inner = [weight for name, weight in named if weight.dim() == 2 and "embed" not in name]
    outer = [weight for name, weight in named if weight.dim() != 2 or "embed" in name]
    return [
        torch.optim.Muon(inner, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outer, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    ]


def rate_at(step: int, settings: Settings) -> float:
    """Return the learning rate at a step: a short rise, then half a cosine down to one fiftieth."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def _check(model: Gemma4ForCausalLM, tokenizer: Any, settings: Settings) -> str:
    """Held-out exact match in short, with exact and with rounded weights."""
    model.train(False)
    chats = held_out_calls(settings.check_chats, seed=11)
    parts = []
    for label, on in (("exact", False), ("rounded", True)):
        with rounded_weights(model, on):
            parts.append(f"{label} weights {score_model(model, tokenizer, chats).percent:.0f}%")
    model.train()
    return "held-out calls: " + ", ".join(parts)


def train(settings: Settings) -> Gemma4ForCausalLM:
    """Make the tokenizer, train the model, and write everything to `settings.out`."""
    torch.set_num_threads(settings.threads)
    settings.out.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(shutil.SameFileError):
        shutil.copyfile(sample_path() / "chat_template.jinja", settings.out / "chat_template.jinja")
    tokenizer = build(settings.out)
    model = make_model(make_config(), settings.seed)
    model.train()
    body: Callable[..., Any] = torch.compile(model.model, dynamic=True) if settings.compile else model.model
    steppers, rng = optimizers(model, settings.rate), Random(settings.seed)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters, {settings.steps} steps", flush=True)
    started, tokens, mean = time.monotonic(), 0, 0.0
    chats = batches(tokenizer, training_chats(settings.seed), settings.batch, settings.seed)
    for step, batch in zip(range(settings.steps), chats, strict=False):
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = rate_at(step, settings)
        rounding = step >= settings.rounding_from * settings.steps and rng.random() < settings.rounding_share
        with rounded_weights(model, rounding):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_of(model, body, batch)
            torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        tokens += batch.ids.numel()
        mean = loss.item() if step == 0 else 0.95 * mean + 0.05 * loss.item()
        if step % 50 == 0 or step + 1 == settings.steps:
            took = time.monotonic() - started
            left = took / (step + 1) * (settings.steps - step - 1) / 60
            print(f"step {step:5d}  loss {mean:.4f}  {tokens / took:,.0f} tokens/s  {left:.0f} min left", flush=True)
        if settings.check_every and (step + 1) % settings.check_every == 0:
            save_model(model, settings.out)
            print(_check(model, tokenizer, settings), flush=True)
    save_model(model, settings.out)
    print(f"trained on {tokens:,} tokens in {(time.monotonic() - started) / 60:.1f} min", flush=True)
    return model


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m gemcut.sample.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--batch", type=int, default=Settings.batch, help="chats in a step")
    parser.add_argument("--rate", type=float, default=Settings.rate, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=Settings.threads)
    parser.add_argument(
        "--no-compile", dest="compile", action="store_false", help="don't compile the model, as without a C++ compiler"
    )
    parser.add_argument(
        "--check-every",
        type=int,
        default=Settings.check_every,
        help="steps between checks on held-out calls; 0 for no checks",
    )
    options = parser.parse_args(arguments)
    train(Settings(**vars(options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
