"""What differs between two bundles, as data: the document that ``gemcut diff --json`` prints.

Everywhere ``a`` is the bundle that was named first (what was), ``b`` the second (what would be). Sizes in bytes, KL
divergences in nats, rates in 0..1. None stands where a bundle has no such thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["same", "harmless", "matters"]
RANK: dict[Severity, int] = {"same": 0, "harmless": 1, "matters": 2}

# What is compared, in the order that it is told in; each may stand after --fail-on and then means any change.
AREAS = {
    "model": "the checkpoint: name, source, revision, hashes of its files",
    "licence": "the licence, and its text",
    "target": "the target",
    "runtime": "the runtime's name, version, or the oldest version that loads the program",
    "exporter": "Gemcut's version",
    "libraries": "versions of the libraries that made the program",
    "recipe": "rules of the recipe, or their order",
    "tensors": "bytes or storage of a class of tensors",
    "operators": "operators called outside delegates",
    "kernels": "kernels that a runtime must have",
    "delegates": "delegates, or their share of the work",
    "context": "context, prefill chunk or vocabulary size",
    "stop": "stop ids",
    "special_tokens": "special tokens, the BOS, or who writes it",
    "template": "the chat template's text",
    "tokenizer": "the tokenizer",
    "prompt": "prompt.json",
    "size": "the size of all files together",
    "files": "any other file, the program's bytes among them",
    "fidelity": "a figure of fidelity to the float model",
    "texts": "greedy replies",
    "tool_calls": "whether a tool call is exactly the float model's",
    "goldens": "the prompts that the bundles were proven with",
    "proof": "gate, behaviour checks, devices, or whether it is proven",
}


@dataclass(frozen=True)
class Change:
    """The verdict on one area. what: what changed, in words; reason: why that matters or doesn't."""

    area: str
    severity: Severity
    what: str
    reason: str


@dataclass(frozen=True)
class Side:
    """One of the two bundles. size: of its files; packed: of the zip as it lies on the disk, None for a directory."""

    bundle: str
    format: Literal["dir", "zip"]
    size: int
    packed: int | None
    manifest_sha256: str
    model: str
    target: str
    runtime: str
    proven: bool


@dataclass(frozen=True)
class SizeLine:
    """A file, or a section inside the program's file. same: to the byte."""

    name: str
    a: int | None
    b: int | None
    same: bool


@dataclass(frozen=True)
class Sizes:
    """Size by file and, for a ``.litertlm``, by section. program: the program's file."""

    a: int
    b: int
    program_a: int
    program_b: int
    files: tuple[SizeLine, ...]
    sections: tuple[SizeLine, ...]


@dataclass(frozen=True)
class TensorLine:
    """A class of tensors in both programs. schemes: how many tensors are stored how."""

    name: str
    bytes_a: int | None
    bytes_b: int | None
    schemes_a: dict[str, int]
    schemes_b: dict[str, int]


@dataclass(frozen=True)
class RuleChange:
    """A rule of the recipe. place: from 1, in the recipe's order. ``moved``: it stands before another than it did."""

    kind: Literal["added", "removed", "changed", "moved"]
    match: str
    place_a: int | None
    place_b: int | None
    a: str | None
    b: str | None


@dataclass(frozen=True)
class Names:
    """Names that only one of the two has."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """One setting, version or hash that differs, as text."""

    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class Rendered:
    """A chat that the two templates render differently.

    at: the first character that differs. a, b: the texts from a little before it. error: what a template that refuses
    the chat said; its text is then None. diff: the texts' unified diff, a line of the chat each.
    """

    chat: str
    at: int
    a: str | None
    b: str | None
    diff: tuple[str, ...]


@dataclass(frozen=True)
class TemplateDiff:
    """Two chat templates. diff: the unified diff of their text. chats: how many were rendered with both.

    bos_a, bos_b: the most BOS tokens that any of the chats then has.
    """

    diff: tuple[str, ...]
    chats: int
    rendered: tuple[Rendered, ...]
    bos_a: int
    bos_b: int


@dataclass(frozen=True)
class Cut:
    """A text that the two tokenizers cut differently. source: where it is from, such as ``prompt 'alarm'``.

    at: the first token that differs. ids, tokens: from there on, the first few. decoded: the ids are the same, and
    what differs is the text that they give back (ids and tokens hold that text then). special: with the special tokens
    that the tokenizer adds by itself.
    """

    text: str
    source: str
    at: int
    ids_a: tuple[int, ...]
    ids_b: tuple[int, ...]
    tokens_a: tuple[str, ...]
    tokens_b: tuple[str, ...]
    decoded: bool
    special: bool


@dataclass(frozen=True)
class TokenizerDiff:
    """Two tokenizers. changed: tokens with another id, score or flag; counts are of all, names of the first few.

    merges: counts, and the first that differs. settings: normalizer, pre-tokenizer and the like. tried: how many texts
    were cut with both in search of ``first``, which is None where all of them gave the same.
    """

    size_a: int
    size_b: int
    added: int
    removed: int
    changed: int
    names: Names
    changes: tuple[Pair, ...]
    merges_added: int
    merges_removed: int
    merges_moved: int
    settings: tuple[Pair, ...]
    first: Cut | None
    tried: int


@dataclass(frozen=True)
class FigureLine:
    """A figure over all prompts. worse: by more than a tenth of the room that the first bundle's gate leaves."""

    name: str
    a: float | None
    b: float | None
    worse: bool


@dataclass(frozen=True)
class PromptLine:
    """One golden that both have, the same to the letter: each bundle against its float model, over the top 64.

    top1: share of positions where the likeliest token is the float model's. agree: share where both bundles have the
    same likeliest token. kl: mean KL(a || b); None where the float models' top 64 differ. same: outputs to the bit.
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
    """A prompt on which the greedy replies differ. at: the first token that does.

    is_float: the reply is that of the bundle's float model. float_a, float_b: what those said.
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
    """A prompt that a float model answers with tool calls. a, b: exactly those; None where that one's float model made
    none."""

    prompt: str
    a: bool | None
    b: bool | None


@dataclass(frozen=True)
class Behaviours:
    """What the bundles do, from the records inside them; nothing is run.

    form: of the figures. chats: prompts that both have (the same chat); texts: those of them with other replies.
    matched: the goldens that are the same to the letter. only_a, only_b: prompts that one has alone; rerendered: the
    same chats with another text or other ids.
    """

    form: str
    figures: tuple[FigureLine, ...]
    chats: int
    prompts: tuple[PromptLine, ...]
    texts: tuple[Text, ...]
    tool_calls: tuple[CallLine, ...]
    tool_calls_a: float | None
    tool_calls_b: float | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    rerendered: tuple[str, ...]


@dataclass(frozen=True)
class ThresholdLine:
    """One limit of ``--fail-on``. measured, limit: figures where it has any. message: what was found."""

    threshold: str
    name: str
    passed: bool
    measured: float | None
    limit: float | None
    message: str


@dataclass(frozen=True)
class DiffResult:
    """``gemcut diff --json``.

    severity: the worst of ``changes``, which has each area that was compared. uncompared: what couldn't be, and why.
    operators, kernels: None where the runtimes differ. settings: what differs of the manifest's other entries.
    coverage_a, coverage_b: share of the multiply-accumulates in delegates. template, tokenizer: None where they are the
    same. prompt: paths in prompt.json that differ. passed: every threshold was kept.
    """

    a: Side
    b: Side
    severity: Severity
    changes: tuple[Change, ...]
    uncompared: tuple[str, ...]
    sizes: Sizes
    tensors: tuple[TensorLine, ...]
    recipe: tuple[RuleChange, ...]
    operators: Names | None
    kernels: Names | None
    settings: tuple[Pair, ...]
    coverage_a: float
    coverage_b: float
    template: TemplateDiff | None
    tokenizer: TokenizerDiff | None
    prompt: tuple[Pair, ...]
    behaviour: Behaviours
    thresholds: tuple[ThresholdLine, ...]
    passed: bool

    def change(self, area: str) -> Change | None:
        """The verdict on one area; None where it couldn't be compared."""
        return next((one for one in self.changes if one.area == area), None)


def same(area: str) -> Change:
    """The verdict on what didn't change."""
    return Change(area, "same", "", "")


def worst(changes: tuple[Change, ...]) -> Severity:
    """The gravest severity of all."""
    return max((one.severity for one in changes), key=RANK.__getitem__, default="same")


def shown(value: object) -> str | None:
    """A value for a :class:`Pair`."""
    return None if value is None else str(value)
