"""Comparison of what two bundles do, from the records inside them: fidelity, replies, tool calls. Nothing is run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..prompt.toolcalls import holds_tool_calls
from ..prove.compiled_prompt import read_calls
from ..prove.fidelity import Fidelity, fidelity_top64, kl_buckets
from ..prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded
from ..words.grades import Measured, grade_of
from .behaviours import Behaviours, CallLine, FigureLine, PromptLine, Text
from .chat_templates import first_difference
from .document import Change, same

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..bundle.reader import Bundle
    from ..prompt.chats import Prompt
    from ..prompt.toolcalls import ReadCalls
    from ..prove.golden import Golden, Recorded

FIGURES = ("mean_kl", "p99_kl", "top1", "perplexity_ratio", "max_logprob_diff", "max_logit_diff")
# A gate's limit leaves room between a perfect figure and itself. Two sound exports of one model differ by about a
# thousandth of that room (the sample on ExecuTorch against LiteRT: 0.0012 of it at most); a tenth is far more.
ROOM = 0.1
_PERFECT = {"top1": 1.0, "perplexity_ratio": 1.0}
_LIMITS = {"mean_kl": 0.1, "p99_kl": 1.0, "perplexity_ratio": 1.15, "top1": 0.9}  # int4's, if the gate has none


@dataclass(frozen=True, eq=False)
class Records:
    """One bundle's goldens and its own outputs.

    Attributes:
        manifest: The bundle's manifest.
        goldens: The goldens, by prompt id.
        recorded: The bundle's own outputs, by prompt id.
        fidelity: The fidelity over the top 64.
        read_calls: Reads tool calls in the form of the bundle's template.
    """

    manifest: Manifest
    goldens: dict[str, Golden]
    recorded: dict[str, Recorded]
    fidelity: Fidelity
    read_calls: ReadCalls

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The goldens' prompts."""
        return tuple(golden.prompt for golden in self.goldens.values())


def read_records(bundle: Bundle) -> Records:
    """Read a bundle's goldens and recorded outputs.

    Raises:
        ConformanceError: If they are missing or damaged.
    """
    goldens = load_goldens({name: bundle.read(name) for name in GOLDENS})
    recorded = load_recorded({name: bundle.read(name) for name in RECORDED})
    fidelity = fidelity_top64(goldens, recorded)
    ids = [golden.prompt.id for golden in goldens]
    return Records(
        manifest=bundle.manifest,
        goldens=dict(zip(ids, goldens, strict=True)),
        recorded=dict(zip(ids, recorded, strict=True)),
        fidelity=fidelity,
        read_calls=read_calls(bundle),
    )


def compare_records(a: Records, b: Records) -> Behaviours:
    """Compare both bundles' outputs, prompt by prompt if they were asked the same."""
    shared = [one for one in a.goldens if one in b.goldens and _chat(a.goldens[one]) == _chat(b.goldens[one])]
    matched = [one for one in shared if _letters(a.goldens[one]) == _letters(b.goldens[one])]
    form, (first, second) = _figures(a, b)
    calls_a, calls_b = ({one: _exact(side, one) for one in side.goldens} for side in (a, b))
    rates = _rate(calls_a.values()), _rate(calls_b.values())
    return Behaviours(
        form=form,
        figures=_figure_lines(first, second, a.manifest.gate.limits),
        grade_a=grade_of(first, rates[0]),
        grade_b=grade_of(second, rates[1]),
        chats=len(shared),
        prompts=tuple(_line(one, a, b) for one in matched),
        texts=tuple(_text(one, a, b) for one in shared if _reply(a, one) != _reply(b, one)),
        tool_calls=tuple(
            CallLine(one, calls_a[one], calls_b[one]) for one in shared if {calls_a[one], calls_b[one]} != {None}
        ),
        tool_calls_a=rates[0],
        tool_calls_b=rates[1],
        expected_a=_expected(a),
        expected_b=_expected(b),
        only_a=tuple(one for one in a.goldens if one not in shared),
        only_b=tuple(one for one in b.goldens if one not in shared),
        rerendered=tuple(one for one in shared if one not in matched),
    )


def _expected(side: Records) -> float | None:
    return side.manifest.behaviour.expected if side.manifest.behaviour else None


def _chat(golden: Golden) -> str:
    """Return what was asked, whatever the template made of it."""
    prompt = golden.prompt
    asked = [prompt.messages, prompt.tools, prompt.text, prompt.add_generation_prompt, prompt.thinking]
    return json.dumps(asked, sort_keys=True)


def _letters(golden: Golden) -> tuple[str, tuple[int, ...]]:
    """Return what the model saw."""
    return golden.rendered, golden.prompt_ids


def _reply(side: Records, prompt: str) -> tuple[str, bool]:
    return side.recorded[prompt].greedy_text, side.recorded[prompt].ended


def _figures(a: Records, b: Records) -> tuple[str, tuple[Measured, Measured]]:
    """Return all figures: the manifests' own, or those over the top 64 if the manifests' have different forms."""
    first, second = a.manifest.fidelity, b.manifest.fidelity
    if first is not None and second is not None and first.form == second.form:
        return first.form, (first, second)
    return "top-64", (a.fidelity, b.fidelity)


def _figure_lines(a: Measured, b: Measured, limits: dict[str, float]) -> tuple[FigureLine, ...]:
    pairs = [(name, _finite(getattr(a, name)), _finite(getattr(b, name))) for name in FIGURES]
    known = {**_LIMITS, **limits}
    return tuple(FigureLine(*one, _worse(*one, known)) for one in pairs if one[1:] != (None, None))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _worse(name: str, a: float | None, b: float | None, limits: dict[str, float]) -> bool:
    """Return whether a figure with a limit got worse by more than a tenth of the room that the limit leaves."""
    if name not in limits or a is None:
        return False
    if b is None:
        return True
    fell = a - b if name == "top1" else b - a
    return fell > ROOM * abs(limits[name] - _PERFECT.get(name, 0.0))


def _line(prompt: str, a: Records, b: Records) -> PromptLine:
    golden_a, golden_b, one, two = a.goldens[prompt], b.goldens[prompt], a.recorded[prompt], b.recorded[prompt]
    alike = golden_a.ids == golden_b.ids and np.array_equal(golden_a.topk_ids, golden_b.topk_ids)
    positions = golden_a.ids == golden_b.ids and golden_a.first == golden_b.first
    by_prompt = [next(p for p in side.fidelity.by_prompt if p.prompt == prompt) for side in (a, b)]
    kl = None
    if alike:  # Equal records can hold infinities, whose difference isn't a number.
        kl = 0.0 if np.array_equal(one.logprobs, two.logprobs) else float(kl_buckets(one.logprobs, two.logprobs).mean())
    return PromptLine(
        prompt=prompt,
        positions=golden_b.positions,
        mean_kl_a=_finite(by_prompt[0].mean_kl),
        mean_kl_b=_finite(by_prompt[1].mean_kl),
        top1_a=by_prompt[0].top1,
        top1_b=by_prompt[1].top1,
        agree=float((one.top1 == two.top1).mean()) if positions else None,
        kl=None if kl is None else _finite(kl),
        same=kl == 0.0 and np.array_equal(one.top1, two.top1) and one.greedy_ids == two.greedy_ids,
    )


def _text(prompt: str, a: Records, b: Records) -> Text:
    goldens, recorded = (a.goldens[prompt], b.goldens[prompt]), (a.recorded[prompt], b.recorded[prompt])
    is_float = [
        (side.greedy_text, side.ended) == (golden.greedy_text, golden.ended)
        for golden, side in zip(goldens, recorded, strict=True)
    ]
    return Text(
        prompt,
        first_difference(recorded[0].greedy_ids, recorded[1].greedy_ids),
        recorded[0].greedy_text,
        recorded[1].greedy_text,
        is_float[0],
        is_float[1],
        goldens[0].greedy_text,
        goldens[1].greedy_text,
    )


def _exact(side: Records, prompt: str) -> bool | None:
    """Return whether a bundle makes exactly its float model's tool calls; None if that one made none."""
    wanted = side.goldens[prompt].greedy_text
    if not holds_tool_calls(wanted, side.read_calls):
        return None
    try:
        return side.read_calls(side.recorded[prompt].greedy_text) == side.read_calls(wanted)
    except ValueError:
        return False


def _rate(exact: Iterable[bool | None]) -> float | None:
    known = [one for one in exact if one is not None]
    return sum(known) / len(known) if known else None


def judge_behaviour(found: Behaviours) -> tuple[Change, ...]:
    """Return the verdicts on fidelity, texts, tool calls and goldens."""
    return _judge_fidelity(found), _judge_texts(found), _judge_calls(found), _judge_goldens(found)


def _judge_fidelity(found: Behaviours) -> Change:
    moved = [line for line in found.figures if line.a != line.b]
    apart = [line.prompt for line in found.prompts if not line.same]
    if not moved and not apart:
        return same("fidelity")
    what = "; ".join(f"{line.name} {_number(line.a)} -> {_number(line.b)}" for line in moved[:3])
    what = what or f"outputs of {len(apart)} of {len(found.prompts)} prompts"
    worse = [line.name for line in moved if line.worse]
    if worse:
        reason = f"{', '.join(worse)} got worse by more than a tenth of the room that the gate leaves"
        return Change("fidelity", "matters", what, reason)
    return Change(
        "fidelity", "harmless", what, "no figure got worse by more than a tenth of the room that the gate leaves"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _judge_texts(found: Behaviours) -> Change:
    if not found.texts:
        return same("texts")
    left = sum(text.is_float_a and not text.is_float_b for text in found.texts)
    gained = sum(text.is_float_b for text in found.texts)
    what = f"{len(found.texts)} of {found.chats} replies differ"
    if gained == len(found.texts) and all(text.float_a == text.float_b for text in found.texts):
        return Change("texts", "harmless", what, "each is now the float model's")
    reason = f"{left} were the float model's and no longer are" if left else "users read different replies"
    return Change("texts", "matters", what, reason)


def _judge_calls(found: Behaviours) -> Change:
    lost = [one.prompt for one in found.tool_calls if one.a and not one.b]
    gained = [one.prompt for one in found.tool_calls if one.b and not one.a]
    if lost:
        what = f"{len(lost)} of {len(found.tool_calls)} are no longer exact: {', '.join(lost[:6])}"
        return Change("tool_calls", "matters", what, "the app would do something else, or nothing")
    if gained:
        return Change("tool_calls", "harmless", f"now exact: {', '.join(gained[:6])}", "none was lost")
    return same("tool_calls")


def _judge_goldens(found: Behaviours) -> Change:
    parts = [
        f"{title}: {', '.join(some[:6])}{', ...' if len(some) > 6 else ''}"
        for title, some in (
            ("only in the first", found.only_a),
            ("only in the second", found.only_b),
            ("rendered or tokenized differently", found.rerendered),
        )
        if some
    ]
    if not parts:
        return same("goldens")
    if found.only_a:
        return Change("goldens", "matters", "; ".join(parts), "the second bundle wasn't asked all that the first was")
    reason = "the figures are for other texts" if found.rerendered else "the second bundle was asked more"
    return Change("goldens", "harmless", "; ".join(parts), reason)
