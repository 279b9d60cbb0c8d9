"""What differs between two bundles, as data: the document that ``gemcut diff --json`` prints.

Everywhere ``a`` is the bundle that was named first (the old one), ``b`` the second (the new one). Sizes are in bytes,
KL divergences in nats, rates in 0..1. None means that a bundle has no such thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .behaviours import Behaviours
from .size_lines import Sizes, TensorLine

Severity = Literal["same", "harmless", "matters"]
RANK: dict[Severity, int] = {"same": 0, "harmless": 1, "matters": 2}

# What is compared, in the order of the report; after --fail-on, an area's name means any change in it.
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
    "special_tokens": "special tokens, the BOS, or what writes it",
    "template": "the chat template's text",
    "tokenizer": "the tokenizer",
    "prompt": "prompt.json",
    "size": "the size of all files together",
    "files": "any other file, including the program's bytes",
    "fidelity": "a figure of fidelity to the float model",
    "texts": "greedy replies",
    "tool_calls": "whether tool calls are exactly the float model's",
    "goldens": "the prompts that the bundles were proven with",
    "proof": "gate, behaviour checks, devices, or whether it is proven",
}


@dataclass(frozen=True)
class Change:
    """The verdict on one area.

    Attributes:
        area: The area's name.
        severity: Whether it is the same, or the change is harmless or matters.
        what: What changed, in words.
        reason: Why that matters or doesn't.
    """

    area: str
    severity: Severity
    what: str
    reason: str


@dataclass(frozen=True)
class Side:
    """One of the two bundles.

    Attributes:
        bundle: Its path.
        format: Whether it is a zip or a directory.
        size: The size of its files together.
        packed: The size of the zip on the disk; null for a directory.
        manifest_sha256: The hash of its manifest.
        model: The model's name.
        target: The target's name.
        runtime: The runtime's name and version.
        proven: Whether it is proven.
    """

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
class RuleChange:
    """A rule of the recipe.

    Attributes:
        kind: What happened to it; ``moved`` means that its order among the other rules changed.
        match: The rule's pattern.
        place_a: Its place in the first recipe, from 1; null if it isn't there.
        place_b: Its place in the second recipe, from 1; null if it isn't there.
        a: What the first recipe's rule does.
        b: What the second recipe's rule does.
    """

    kind: Literal["added", "removed", "changed", "moved"]
    match: str
    place_a: int | None
    place_b: int | None
    a: str | None
    b: str | None


@dataclass(frozen=True)
class Names:
    """Names that only one of the two has.

    Attributes:
        added: Those that only the second has.
        removed: Those that only the first has.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """One setting, version or hash that differs, as text.

    Attributes:
        name: Its name.
        a: Its value in the first bundle; null if there is none.
        b: Its value in the second bundle; null if there is none.
    """

    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class Rendered:
    """A chat that the two templates render differently.

    Attributes:
        chat: The chat's id.
        at: The first character that differs.
        a: The first template's text from a little before it; null if the template refuses the chat.
        b: The second template's text from a little before it; null if the template refuses the chat.
        diff: The unified diff of the texts, line by line; if a template refuses the chat, what it said.
    """

    chat: str
    at: int
    a: str | None
    b: str | None
    diff: tuple[str, ...]


@dataclass(frozen=True)
class TemplateDiff:
    """Two chat templates.

    Attributes:
        diff: The unified diff of their text.
        chats: How many chats were rendered with both.
        rendered: The chats that are rendered differently.
        bos_a: The most BOS tokens that the first template gives any of the chats.
        bos_b: The most BOS tokens that the second template gives any of the chats.
    """

    diff: tuple[str, ...]
    chats: int
    rendered: tuple[Rendered, ...]
    bos_a: int
    bos_b: int


@dataclass(frozen=True)
class Cut:
    """A text that the two tokenizers cut differently.

    Attributes:
        text: The text.
        source: Where it is from, such as ``the prompt 'alarm'``.
        at: The first token that differs.
        ids_a: The first few ids of the first tokenizer from there on.
        ids_b: The first few ids of the second tokenizer from there on.
        tokens_a: The tokens of these ids; if ``decoded``, the text that the first tokenizer gives back.
        tokens_b: The tokens of these ids; if ``decoded``, the text that the second tokenizer gives back.
        decoded: Whether the ids are the same, and only the text that they give back differs.
        special: Whether the special tokens that the tokenizers add by themselves are included.
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
    """Two tokenizers.

    Attributes:
        size_a: The size of the first vocabulary.
        size_b: The size of the second vocabulary.
        added: How many tokens only the second has.
        removed: How many tokens only the first has.
        changed: How many tokens have another id, score or flag.
        names: The first few of the tokens that were added or removed.
        changes: The first few of the tokens that changed.
        merges_added: How many merges only the second has.
        merges_removed: How many merges only the first has.
        merges_moved: How many merges have another precedence.
        settings: What else differs: normalizer, pre-tokenizer and the like.
        first: The first text that is cut differently; null if none was found.
        tried: How many texts were cut with both in search of ``first``.
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
class ThresholdLine:
    """One limit of ``--fail-on``.

    Attributes:
        threshold: The limit as it was written.
        name: The figure or area.
        passed: Whether the limit was kept.
        measured: The figure that was measured, if there is one.
        limit: The limit's figure, if there is one.
        message: What was found.
    """

    threshold: str
    name: str
    passed: bool
    measured: float | None
    limit: float | None
    message: str


@dataclass(frozen=True)
class DiffResult:
    """``gemcut diff --json``.

    Attributes:
        a: The first bundle.
        b: The second bundle.
        float_models: One sentence, if the two were made from different float models, on what that means for their
            figures; null if it is the same one.
        severity: The worst of ``changes``.
        changes: The verdict on each area that was compared.
        uncompared: What couldn't be compared, and why.
        sizes: The sizes.
        tensors: The tensors by class.
        recipe: The rules that differ.
        operators: The operators that only one has; null if the runtimes differ.
        kernels: The kernels that only one has; null if the runtimes differ.
        settings: What differs in the manifest's other entries.
        coverage_a: The share of the first bundle's multiply-accumulates that run in delegates.
        coverage_b: The share of the second bundle's multiply-accumulates that run in delegates.
        template: How the templates differ; null if they don't.
        tokenizer: How the tokenizers differ; null if they don't.
        prompt: The paths in prompt.json that differ.
        behaviour: What the bundles do.
        thresholds: The limits of ``--fail-on``.
        passed: Whether every limit was kept.
    """

    a: Side
    b: Side
    float_models: str | None
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
        """Return the verdict on one area; None if it couldn't be compared."""
        return next((one for one in self.changes if one.area == area), None)


def same(area: str) -> Change:
    """Return the verdict on what didn't change."""
    return Change(area, "same", "", "")


def worst(changes: tuple[Change, ...]) -> Severity:
    """Return the worst severity of all."""
    return max((one.severity for one in changes), key=RANK.__getitem__, default="same")


def shown(value: object) -> str | None:
    """Return a value for a :class:`Pair`."""
    return None if value is None else str(value)
