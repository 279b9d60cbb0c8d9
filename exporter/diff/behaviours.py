"""What two bundles do as data: figures, prompts, replies and tool calls.

Everywhere ``a`` is the bundle that was named first (the old one), ``b`` the second (the new one).
KL divergences are in nats, rates in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..words.grade import Grade


@dataclass(frozen=True)
class FigureLine:
    """A figure over all prompts.

    Attributes:
        name: The figure's name.
        a: The first bundle's figure; null if there is none.
        b: The second bundle's figure; null if there is none.
        worse: Whether it got worse by more than a tenth of the room that the first bundle's gate leaves.
    """

    name: str
    a: float | None
    b: float | None
    worse: bool


@dataclass(frozen=True)
class PromptLine:
    """One golden that both have, to the letter: each bundle against its float model, over the top 64.

    Attributes:
        prompt: The prompt's id.
        positions: How many positions were scored.
        mean_kl_a: The first bundle's mean KL; null if it isn't a number.
        mean_kl_b: The second bundle's mean KL; null if it isn't a number.
        top1_a: The share of positions where the first bundle's likeliest token is the float model's.
        top1_b: The share of positions where the second bundle's likeliest token is the float model's.
        agree: The share of positions where both bundles have the same likeliest token; null if they differ in what
            was scored.
        kl: The mean KL(a || b); null if the float models' top 64 differ.
        same: Whether the outputs are the same, bit by bit.
    """

    prompt: str
    positions: int
    mean_kl_a: float | None
    mean_kl_b: float | None
    top1_a: float
    top1_b: float
    agree: float | None
    kl: float | None
    same: bool


@dataclass(frozen=True)
class Text:
    """A prompt on which the greedy replies differ.

    Attributes:
        prompt: The prompt's id.
        at: The first token that differs.
        a: The first bundle's reply.
        b: The second bundle's reply.
        is_float_a: Whether the first bundle's reply is that of its float model.
        is_float_b: Whether the second bundle's reply is that of its float model.
        float_a: The reply of the first bundle's float model.
        float_b: The reply of the second bundle's float model.
    """

    prompt: str
    at: int
    a: str
    b: str
    is_float_a: bool
    is_float_b: bool
    float_a: str
    float_b: str


@dataclass(frozen=True)
class CallLine:
    """A prompt that a float model answers with tool calls.

    Attributes:
        prompt: The prompt's id.
        a: Whether the first bundle makes exactly its float model's calls; null if that one made none.
        b: Whether the second bundle makes exactly its float model's calls; null if that one made none.
    """

    prompt: str
    a: bool | None
    b: bool | None


@dataclass(frozen=True)
class Behaviours:
    """What the bundles do, from the records inside them; nothing is run.

    Attributes:
        form: The form of the figures.
        figures: The figures over all prompts.
        grade_a: What users notice of the first bundle, by its figures and tool calls.
        grade_b: What users notice of the second bundle, by its figures and tool calls.
        chats: How many prompts both have (the same chat).
        prompts: The goldens that are the same to the letter.
        texts: The prompts that both have and that get different replies.
        tool_calls: The prompts that a float model answers with tool calls.
        tool_calls_a: The share of tool calls that the first bundle makes exactly; null if there are none.
        tool_calls_b: The share of tool calls that the second bundle makes exactly; null if there are none.
        expected_a: The share of the expected answers that the first bundle gives; null if no prompt has one.
        expected_b: The share of the expected answers that the second bundle gives; null if no prompt has one.
        only_a: The prompts that only the first bundle has.
        only_b: The prompts that only the second bundle has.
        rerendered: The prompts that both have, but with another text or other ids.
    """

    form: str
    figures: tuple[FigureLine, ...]
    grade_a: Grade
    grade_b: Grade
    chats: int
    prompts: tuple[PromptLine, ...]
    texts: tuple[Text, ...]
    tool_calls: tuple[CallLine, ...]
    tool_calls_a: float | None
    tool_calls_b: float | None
    expected_a: float | None
    expected_b: float | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    rerendered: tuple[str, ...]
