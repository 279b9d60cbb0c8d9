"""The spaces that some tokenizers put before words, put there by Gemcut.

Llama 2's kind of tokenizer puts a space before every stretch of plain text between special tokens. SentencePiece has
``add_dummy_prefix`` for that, but it adds one space to each text, even before a special token; and LiteRT-LM's engine
encodes a conversation in texts that start and end within stretches. So the bundle's SentencePiece model adds no spaces,
and the chat template writes them (``metadata.engine_template``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NONE = "none"
UNLESS_SPACED = "unless spaced"
ALWAYS = "always"
FIRST = "first"
SPACE = "\u2581"  # how tokens spell one
MARK, END = "\ue000", "\ue001"  # private use: no chat's text has them


@dataclass(frozen=True)
class Spacing:
    """Where a tokenizer puts spaces.

    Attributes:
        kind: Before which stretches of plain text it puts one: ``NONE``, ``UNLESS_SPACED`` (each that doesn't start
            with one), ``ALWAYS`` (each), or ``FIRST`` (the text's first, if that doesn't start with one).
        specials: The special tokens, which stand between stretches.
    """

    kind: str = NONE
    specials: tuple[str, ...] = ()

    def apply(self, text: str) -> str:
        """Return the text with those spaces written out; it comes without the start token's string."""
        for old, new in self.steps():
            text = MARK + text + END if old is None else text.replace(old, new)
        return text

    def steps(self) -> Iterator[tuple[str | None, str]]:
        """Return the replacements, old and new, that ``apply`` makes in order; None stands for the text's two ends."""
        if self.kind == NONE:
            return
        yield None, MARK + END
        if self.kind != FIRST:
            yield from ((special, special + MARK) for special in self.specials)
        if self.kind != ALWAYS:
            yield from ((MARK + sign, sign) for sign in (" ", SPACE))
        yield from ((MARK + special, special) for special in self.specials)
        yield from ((MARK + END, ""), (END, ""), (MARK, " "))


def spacing_of(tokenizer: Tokenizer) -> Spacing:
    """Return the spacing that tokenizer.json states: by a Metaspace pre-tokenizer, or a normalizer that prepends.

    Raises:
        KeyError: The JSON has a form that the tokenizers library doesn't write.
    """
    return stated_spacing(json.loads(tokenizer.to_str()))


def stated_spacing(state: Mapping[str, Any]) -> Spacing:
    """Return the spacing that a parsed tokenizer.json states (see ``spacing_of``)."""
    unknown = (state["model"].get("unk_token"), "<unk>")
    tokens = sorted(state["added_tokens"], key=lambda token: token["id"])
    specials = tuple(token["content"] for token in tokens if token["content"] not in unknown)
    kinds = {
        "Prepend": lambda node: ALWAYS,
        "Metaspace": lambda node: {"always": UNLESS_SPACED, "first": FIRST}.get(node["prepend_scheme"], NONE),
    }
    for node in (*_nodes(state["normalizer"]), *_nodes(state["pre_tokenizer"])):
        kind = kinds[node["type"]](node) if node["type"] in kinds else NONE
        if kind != NONE:
            return Spacing(kind, specials)
    return Spacing()


def raw_texts(texts: Iterable[str], tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return what the engine of a SentencePiece bundle needs instead of ``texts`` if no template renders them.

    Args:
        texts: The texts, without the start token's string.
        tokenizer: The checkpoint's tokenizer.
    """
    spacing = spacing_of(tokenizer)
    return tuple(map(spacing.apply, texts))


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """The parts of a normalizer or pre-tokenizer, sequences taken apart."""
    if isinstance(node, dict):
        yield node
        for part in (*node.get("normalizers", ()), *node.get("pretokenizers", ())):
            yield from _nodes(part)
