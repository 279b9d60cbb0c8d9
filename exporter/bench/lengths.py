"""Which prompts and generations are measured: llama-bench's, as far as a bundle's context holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError

DECODE_STEPS = 64
PROMPTS = (128, 512)
GENERATIONS = (DECODE_STEPS,)


@dataclass(frozen=True)
class Lengths:
    """What is measured of one bundle.

    Attributes:
        prompts: Tokens of each prompt.
        generations: Tokens of each generation.
        notes: What is left out because the context doesn't hold it.
    """

    prompts: tuple[int, ...]
    generations: tuple[int, ...]
    notes: tuple[str, ...] = ()


def decode_steps(context: int) -> int:
    """Return the number of single steps that an export measures: 64, or a quarter of the context if that is less."""
    return min(DECODE_STEPS, max(1, context // 4))


def usual_prompts(context: int) -> tuple[int, ...]:
    """Return the prompts that are measured if none is asked for: of 128 and 512 tokens, as far as the context goes."""
    return choose_lengths((), (), context, "").prompts


def choose_lengths(prompts: Sequence[int], generations: Sequence[int], context: int, bundle: str) -> Lengths:
    """Return the lengths to measure.

    Args:
        prompts: The prompts that were asked for; 0 stands for none; empty for 128 and 512.
        generations: The generations that were asked for, likewise; empty for 64.
        context: How many tokens the bundle's context holds.
        bundle: The bundle, for messages.

    Raises:
        UsageError: A length that was asked for doesn't fit in the context, or nothing is left to measure.
    """
    room = context - 1  # a prompt leaves a token for its answer, and an answer follows at least one token
    chosen: list[tuple[int, ...]] = []
    notes: list[str] = []
    for flag, test, asked, usual in (
        ("--prompt", "pp", prompts, PROMPTS),
        ("--gen", "tg", generations, GENERATIONS),
    ):
        wanted = tuple(dict.fromkeys(length for length in asked or usual if length))
        fitting = tuple(length for length in wanted if length <= room)
        left_out = [length for length in wanted if length > room]
        if left_out and asked:
            raise UsageError(
                f"{flag} {left_out[0]}: {bundle} has a context of {context} tokens, which leaves only {room}",
                hint=f"Use {flag} {room} or less, or export with a larger --context.",
            )
        if left_out and not fitting:
            fitting = (room,)
        instead = f"; {test}{room} is measured instead" if left_out and fitting == (room,) else ""
        notes += [f"{bundle}: {test}{n} doesn't fit in its context of {context} tokens{instead}" for n in left_out]
        chosen.append(fitting)
    if not any(chosen):
        raise UsageError("--prompt 0 and --gen 0 leave nothing to measure", hint="Leave one of them out.")
    return Lengths(chosen[0], chosen[1], tuple(notes))
