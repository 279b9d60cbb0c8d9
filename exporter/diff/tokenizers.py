"""Comparison of two tokenizers: what is in their files, and the first text that they cut differently."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .chat_templates import first_difference
from .document import Change, Cut, Names, Pair, TokenizerDiff, same
from .probes import probe_texts

if TYPE_CHECKING:
    from ..prompt.codec import ChatCodec

TOKENIZER = "tokenizer.json"
_FIRST_FEW = 20  # names in the document; the counts are of all
_SHOWN_TOKENS = 8
_LONGEST = 300  # characters of a setting
_APART = ("vocab", "merges")  # of the model's part; added_tokens of the whole


@dataclass(frozen=True)
class Contents:
    """A ``tokenizer.json``, taken apart.

    Attributes:
        vocabulary: The id by token, or (id, score) for a Unigram model.
        merges: The merges in the order of their precedence.
        added: The added tokens' entries by content.
        settings: Everything else, by name.
    """

    vocabulary: Mapping[str, Any]
    merges: tuple[tuple[str, str], ...]
    added: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]

    @property
    def tokens(self) -> dict[str, Any]:
        """Every token and what the file says about it, including those that were added to the model's."""
        found: dict[str, Any] = dict(self.vocabulary)
        for content, entry in self.added.items():
            found[content] = {"id": found.get(content), **entry}
        return found


def read_contents(data: bytes) -> Contents:
    """Take apart a ``tokenizer.json`` of the tokenizers library (its formats up to version 1.0)."""
    whole = json.loads(data)
    model = whole.get("model") or {}
    vocabulary = model.get("vocab") or {}
    if isinstance(vocabulary, list):  # Unigram: pairs of token and score
        vocabulary = {token: (index, score) for index, (token, score) in enumerate(vocabulary)}
    merges = tuple(_merge(entry) for entry in model.get("merges") or [])
    added = {entry["content"]: entry for entry in whole.get("added_tokens") or []}
    settings = {key: value for key, value in whole.items() if key not in ("model", "added_tokens")}
    settings.update({f"model.{key}": value for key, value in model.items() if key not in _APART})
    return Contents(vocabulary, merges, added, settings)


def _merge(entry: Any) -> tuple[str, str]:
    """Return a merge, given as a list of two or (the older form) one text with a space between."""
    left, right = entry.split(" ", 1) if isinstance(entry, str) else entry
    return left, right


def compare_tokenizers(
    data: Sequence[bytes], codecs: Sequence[ChatCodec], known: Iterable[tuple[str, str]]
) -> TokenizerDiff:
    """Return what differs, and the first text that is cut differently.

    Args:
        data: Both ``tokenizer.json``.
        codecs: Both tokenizers, opened.
        known: The texts to try first, each with where it is from: the goldens.
    """
    a, b = (read_contents(one) for one in data)
    tokens_a, tokens_b = a.tokens, b.tokens
    added = [token for token in tokens_b if token not in tokens_a]
    removed = [token for token in tokens_a if token not in tokens_b]
    changed = [token for token in tokens_a if token in tokens_b and tokens_a[token] != tokens_b[token]]
    rank_a, rank_b = ({merge: at for at, merge in enumerate(dict.fromkeys(one.merges))} for one in (a, b))
    new, gone = [m for m in b.merges if m not in rank_a], [m for m in a.merges if m not in rank_b]
    moved = _moved(a.merges, rank_b)
    touched = [*changed, *added, *removed]
    built = probe_texts(codecs, touched, [*new, *gone, *moved], (a, b))
    search = _Search(
        codecs,
        special=a.settings.get("post_processor") != b.settings.get("post_processor") or a.added != b.added,
        decoded=a.settings.get("decoder") != b.settings.get("decoder") or bool(touched),
    )
    first = search.first(known) or search.first(built)
    return TokenizerDiff(
        size_a=codecs[0].tokenizer.get_vocab_size(),
        size_b=codecs[1].tokenizer.get_vocab_size(),
        added=len(added),
        removed=len(removed),
        changed=len(changed),
        names=Names(tuple(added[:_FIRST_FEW]), tuple(removed[:_FIRST_FEW])),
        changes=tuple(_changed(token, tokens_a[token], tokens_b[token]) for token in changed[:_FIRST_FEW]),
        merges_added=len(new),
        merges_removed=len(gone),
        merges_moved=len(moved),
        settings=tuple(_settings(a.settings, b.settings)),
        first=first,
        tried=search.tried,
    )


def _moved(a: Sequence[tuple[str, str]], rank_b: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Return the merges that both have, but in another order, which is their precedence: the fewest that explain it.

    They are all but a longest run that stands in both in the same order, found as patience sorting finds it (Fredman,
    On computing the length of longest increasing subsequences, 1975).
    """
    kept = [merge for merge in dict.fromkeys(a) if merge in rank_b]
    ends: list[int] = []  # by length, the lowest rank that a run of it ends with
    tops: list[int] = []  # the same, as places in kept
    before: list[int] = []
    for at, merge in enumerate(kept):
        length = bisect_left(ends, rank_b[merge])
        before.append(tops[length - 1] if length else -1)
        ends[length : length + 1] = [rank_b[merge]]
        tops[length : length + 1] = [at]
    run, at = set(), tops[-1] if tops else -1
    while at >= 0:
        run.add(at)
        at = before[at]
    return [merge for at, merge in enumerate(kept) if at not in run]


def _changed(token: str, a: Any, b: Any) -> Pair:
    """Return those of a token's id, score or flags that differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [key for key in a if a[key] != b.get(key)]
        a, b = ({key: one.get(key) for key in keys} for one in (a, b))
    return Pair(token, _text(a), _text(b))


def _settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Pair]:
    for name in sorted({*a, *b}):
        if a.get(name) != b.get(name):
            yield Pair(name, _text(a.get(name)), _text(b.get(name)))


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


class _Search:
    """A search for a text that the two tokenizers cut differently.

    Args:
        codecs: Both tokenizers.
        special: Whether to try texts also with the special tokens that the tokenizers add themselves.
        decoded: Whether to look also at the text that ids give back.

    Attributes:
        tried: How many texts were cut with both.
    """

    def __init__(self, codecs: Sequence[ChatCodec], special: bool, decoded: bool) -> None:
        self._codecs = codecs
        self._ways = (False, True) if special else (False,)
        self._decoded = decoded
        self._seen: set[str] = set()
        self.tried = 0

    def first(self, texts: Iterable[tuple[str, str]]) -> Cut | None:
        """Return the first text that is cut differently, without special tokens or with them.

        Args:
            texts: Texts, each with where it is from.
        """
        for text, source in texts:
            if text in self._seen:
                continue
            self._seen.add(text)
            self.tried += 1
            for special in self._ways:
                found = self._cut(text, source, special)
                if found is not None:
                    return found
        return None

    def _cut(self, text: str, source: str, special: bool) -> Cut | None:
        ids = [codec.encode(text, special) for codec in self._codecs]
        if ids[0] == ids[1] and not self._decoded:
            return None
        tokens = [
            [codec.tokenizer.id_to_token(one) or "" for one in some]
            for codec, some in zip(self._codecs, ids, strict=True)
        ]
        if ids[0] == ids[1]:
            back = [codec.decode(some) for codec, some in zip(self._codecs, ids, strict=True)]
            if back[0] == back[1]:
                return None
            at = first_difference(*tokens)
            few = [tuple(some[at : at + _SHOWN_TOKENS]) for some in ids]
            return Cut(text, source, at, few[0], few[1], (back[0],), (back[1],), True, special)
        at = first_difference(ids[0], ids[1])
        part = slice(at, at + _SHOWN_TOKENS)
        return Cut(
            text,
            source,
            at,
            tuple(ids[0][part]),
            tuple(ids[1][part]),
            tuple(tokens[0][part]),
            tuple(tokens[1][part]),
            False,
            special,
        )


def judge_tokenizer(found: TokenizerDiff | None, rows: int) -> Change:
    """Return the verdict: it matters if a text is cut differently, and if tokens were removed, added or changed at all.

    Args:
        found: What differs, from ``compare_tokenizers``; None if the files are the same.
        rows: How many ids the second program knows.
    """
    if found is None:
        return same("tokenizer")
    parts = [
        f"{what}: {count}"
        for count, what in (
            (found.added, "tokens added"),
            (found.removed, "tokens removed"),
            (found.changed, "tokens changed"),
            (found.merges_added, "merges added"),
            (found.merges_removed, "merges removed"),
            (found.merges_moved, "merges moved"),
        )
        if count
    ]
    parts += [one.name for one in found.settings]
    what = "; ".join(parts) or "its formatting"
    if found.first is not None:
        source = found.first.source
        way = "gives back another text for" if found.first.decoded else "cuts"
        reason = f"it {way} {source}" + ("" if found.first.decoded else " differently: the model sees other tokens")
        if found.size_b > max(rows, found.size_a):
            reason = f"ids go up to {found.size_b - 1}, but the program knows only {rows}; {reason}"
        return Change("tokenizer", "matters", what, reason)
    if found.added or found.removed or found.changed:
        reason = f"none of {found.tried} texts is cut differently, but ids mean other tokens"
        return Change("tokenizer", "matters", what, reason)
    return Change("tokenizer", "harmless", what, f"none of {found.tried} texts is cut differently")
