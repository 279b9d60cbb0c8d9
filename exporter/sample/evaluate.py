"""Measure how many held-out tool calls a model, or a bundle of it, gets exactly right.

`python -m gemcut.sample.evaluate [MODEL_DIR|BUNDLE] [--adapter DIR|sample] [--actions phone|diary] [--n 200]`
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..prompt.toolcalls import ToolCall, parse_tool_calls
from . import adapter_path, sample_path
from .adapter_requests import DIARY
from .generate import PHONE, Chat, expected_reply, held_out_calls

MAX_NEW_TOKENS = 72
# Percent. The packaged model gets 99; its adapter got 86 of 50 chats, and one standard error of those is 5.
BAR, ADAPTERS_BAR = 95.0, 75.0
Generate = Callable[[list[int]], list[int]]


@dataclass
class Score:
    """How many replies were exactly right, and what the others said.

    Attributes:
        total: How many replies were counted.
        exact: How many of them were right.
        misses: Each wrong reply, after the one that was wanted.
    """

    total: int = 0
    exact: int = 0
    misses: list[tuple[str, str]] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """The exact matches in percent."""
        return 100.0 * self.exact / self.total if self.total else 0.0

    def add(self, wanted: str, reply: str) -> None:
        """Count one reply.

        Args:
            wanted: The right reply.
            reply: The model's.
        """
        self.total += 1
        if same_calls(wanted, reply):
            self.exact += 1
        else:
            self.misses.append((wanted, reply))


def same_calls(wanted: str, reply: str) -> bool:
    """Return whether two replies make the same calls with the same arguments, or are the same plain text."""
    try:
        calls: list[ToolCall] = parse_tool_calls(reply)
    except ValueError:
        return False
    expected = parse_tool_calls(wanted)
    return calls == expected if expected else not calls and reply.strip() == wanted.strip()


def prompt_of(tokenizer: Any, chat: Chat) -> list[int]:
    """Return the token ids that ask for a chat's last message."""
    ids = tokenizer.apply_chat_template(
        chat["messages"][:-1], tools=chat["tools"] or None, add_generation_prompt=True, return_dict=False
    )
    return list(ids)


def reply_text(tokenizer: Any, ids: Sequence[int], stops: Sequence[int]) -> str:
    """Return the text of generated ids up to the first stop, including markers."""
    kept: list[int] = []
    for token in ids:
        if token in stops:
            break
        kept.append(int(token))
    return str(tokenizer.decode(kept, skip_special_tokens=False))


def stops_of(tokenizer: Any) -> list[int]:
    """Return the ids that end an answer."""
    return [int(tokenizer.convert_tokens_to_ids(token)) for token in ("<eos>", "<turn|>")]


def score_callable(generate: Generate, tokenizer: Any, chats: Sequence[Chat]) -> Score:
    """Score anything that continues a prompt, such as an exported bundle.

    Args:
        generate: Takes the prompt's ids and returns the ids that follow, with or without the end of turn.
        tokenizer: The model's tokenizer.
        chats: What to score on.
    """
    score, stops = Score(), stops_of(tokenizer)
    for chat in chats:
        score.add(expected_reply(chat), reply_text(tokenizer, generate(prompt_of(tokenizer, chat)), stops))
    return score


def score_model(model: Any, tokenizer: Any, chats: Sequence[Chat], batch: int = 50) -> Score:
    """Score a transformers model, greedily and in batches.

    Args:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        chats: What to score on.
        batch: Chats in a batch.
    """
    import torch

    score, stops = Score(), stops_of(tokenizer)
    for start in range(0, len(chats), batch):
        part = chats[start : start + batch]
        prompts = [prompt_of(tokenizer, chat) for chat in part]
        padded = tokenizer.pad({"input_ids": prompts}, padding=True, return_tensors="pt", padding_side="left")
        with torch.inference_mode():
            made = model.generate(
                **padded, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, eos_token_id=stops, pad_token_id=0
            )
        for chat, ids in zip(part, made[:, padded["input_ids"].shape[1] :].tolist(), strict=True):
            score.add(expected_reply(chat), reply_text(tokenizer, ids, stops))
    return score


def load(folder: Path, adapter: Path | None = None) -> tuple[Any, Any]:
    """Return a model in float32, with an adapter merged in as an export does it, and its tokenizer."""
    import torch

    if adapter is not None:
        from ..checkpoint.opening import open_checkpoint
        from ..checkpoint.weights import load_float_model

        checkpoint = open_checkpoint(str(folder), adapter=adapter)
        return load_float_model(checkpoint), checkpoint.tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    model.train(False)
    return model, AutoTokenizer.from_pretrained(str(folder))


def is_bundle(path: Path) -> bool:
    """Return whether a path holds a Gemcut bundle and not a checkpoint."""
    return path.is_file() or (path / "manifest.json").is_file()


def score_bundle(path: Path, chats: Sequence[Chat]) -> Score:
    """Score a bundle's own program, template and tokenizer in its runtime's reference runner."""
    from transformers import AutoTokenizer

    from ..bundle.reader import open_bundle
    from ..prove.run import greedy
    from ..runtimes import get_runtime

    with open_bundle(path) as bundle:
        bundle.verify()
        stops = frozenset(bundle.manifest.stop_ids)
        for name in ("tokenizer_config.json", "chat_template.jinja"):
            bundle.file(name)  # beside tokenizer.json, where transformers looks for them
        tokenizer = AutoTokenizer.from_pretrained(str(bundle.file("tokenizer.json").parent))
        runner = get_runtime(bundle.manifest.runtime.name).engine.open(bundle.program)
        return score_callable(lambda ids: greedy(runner, ids, MAX_NEW_TOKENS, stops), tokenizer, chats)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the exact match of held-out tool calls, and return the exit code: 1 below the bar."""
    parser = argparse.ArgumentParser(prog="python -m gemcut.sample.evaluate", description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, default=sample_path(), metavar="MODEL_DIR|BUNDLE")
    parser.add_argument("--adapter", metavar="DIR|sample", help="merged into the model first")
    parser.add_argument(
        "--actions", choices=["phone", "diary"], help="what the chats ask for (phone; with an adapter, diary)"
    )
    parser.add_argument("--n", type=int, default=200, help="number of held-out chats (200)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the held-out chats (7)")
    parser.add_argument("--bar", type=float, help="percent below which to exit with 1 (95; with an adapter, 75)")
    parser.add_argument("--show", type=int, default=10, help="number of misses to print (10)")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    actions = {"phone": PHONE, "diary": DIARY}[options.actions or ("diary" if options.adapter else "phone")]
    chats = held_out_calls(options.n, options.seed, actions)
    adapter = adapter_path(options.adapter) if options.adapter else None
    bundle = is_bundle(options.model)
    if bundle and adapter:
        parser.error("a bundle has its adapter merged in already: leave --adapter out")
    score = score_bundle(options.model, chats) if bundle else score_model(*load(options.model, adapter), chats)
    for wanted, reply in score.misses[: options.show]:
        print(f"wanted {wanted}\n   got {reply}")
    seconds = time.monotonic() - started
    result = f"exact match {score.exact}/{score.total} = {score.percent:.1f}%"
    print(f"{result} of held-out tool calls, {seconds:.0f} s")
    bar = options.bar if options.bar is not None else ADAPTERS_BAR if adapter else BAR
    return 0 if score.percent >= bar else 1


if __name__ == "__main__":
    sys.exit(main())
