"""Texts on which two tokenizers are likely to differ, built from what differs in their files."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..prompt.codec import ChatCodec

MOST = 50_000  # texts; a vocabulary of 262144 is sampled evenly
_MOST_MERGES = 500  # of those that changed; what they compete with gives most of the texts
_BYTE = "<0x"


class _Contents(Protocol):
    @property
    def vocabulary(self) -> Mapping[str, Any]: ...

    @property
    def added(self) -> Mapping[str, Mapping[str, Any]]: ...

    @property
    def merges(self) -> tuple[tuple[str, str], ...]: ...


def probe_texts(
    codecs: Sequence[ChatCodec],
    touched: Sequence[str],
    merges: Sequence[tuple[str, str]],
    contents: Sequence[_Contents],
) -> Iterator[tuple[str, str]]:
    """Yield texts and where they are from, the most telling first; at most ``MOST``.

    Args:
        codecs: Both tokenizers.
        touched: The tokens that were added, removed or changed.
        merges: The merges that were added, removed or moved.
        contents: Both tokenizers' files.
    """
    return islice(_all(codecs, touched, merges, contents), MOST)


def _all(
    codecs: Sequence[ChatCodec],
    touched: Sequence[str],
    merges: Sequence[tuple[str, str]],
    contents: Sequence[_Contents],
) -> Iterator[tuple[str, str]]:
    yield from islice(_touched(codecs, touched), MOST // 4)
    yield from islice(_merged(codecs, merges, contents), MOST // 4)
    yield from ((text, "a text with what normalizers change") for text in _writing())
    yield from ((f"{text} {text.upper()}", "a text with what normalizers change") for text in _writing())
    for content in dict.fromkeys((*contents[0].added, *contents[1].added)):
        yield from ((text, f"a text of the token {content!r}") for text in _around(content))
    vocabulary = list(dict.fromkeys((*contents[0].vocabulary, *contents[1].vocabulary)))
    stride = max(1, len(vocabulary) * 2 // MOST)
    for token in vocabulary[::stride]:
        yield from ((text, f"a text of the token {token!r}") for text in _readings(codecs, token))


def _touched(codecs: Sequence[ChatCodec], touched: Sequence[str]) -> Iterator[tuple[str, str]]:
    for token in touched:
        yield from ((text, f"a text of the token {token!r}") for text in _of_token(codecs, token))


def _merged(
    codecs: Sequence[ChatCodec], merges: Sequence[tuple[str, str]], contents: Sequence[_Contents]
) -> Iterator[tuple[str, str]]:
    for left, right in merges[:_MOST_MERGES]:
        for text in _of_token(codecs, left + right):
            yield text, f"a text of the merge {left!r} + {right!r}"
    for joined, source in _competing(merges, contents):
        yield from ((text, source) for text in _readings(codecs, joined))


def _writing() -> tuple[str, ...]:
    """Return the texts of ``probes.toml``, with what normalizers, pre-tokenizers and decoders treat specially."""
    text = resources.files(__package__).joinpath("probes.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["texts"])


def _competing(merges: Sequence[tuple[str, str]], contents: Sequence[_Contents]) -> Iterator[tuple[str, str]]:
    """Yield tokens in a row that two merges compete for, one of which has another rank: ``x + y`` and ``y + z``.

    These are all in which a merge that was moved, added or removed takes part; the rank decides which merge wins.
    """
    begins: dict[str, list[str]] = {}
    ends: dict[str, list[str]] = {}
    for left, right in dict.fromkeys((*contents[0].merges, *contents[1].merges)):
        begins.setdefault(left, []).append(right)
        ends.setdefault(right, []).append(left)
    for left, right in merges:
        source = f"a text of the merge {left!r} + {right!r}"
        yield from ((left + right + after, source) for after in begins.get(right, ())[:20])
        yield from ((before + left + right, source) for before in ends.get(left, ())[:20])


def _of_token(codecs: Sequence[ChatCodec], token: str) -> Iterator[str]:
    """Yield a token's text, alone and among others."""
    for text in _readings(codecs, token):
        yield from _around(text)


def _around(text: str) -> Iterator[str]:
    yield text
    yield from (f"{text}{text}", f"a{text}b", f" {text}", f"{text} ", f"a {text} b", f"\n{text}\n", f"1{text}2")
    yield from (other for other in (text.upper(), text.lower(), text.title()) if other != text)


def _readings(codecs: Sequence[ChatCodec], token: str) -> Iterator[str]:
    """Yield the texts that a token may stand for.

    They are what the tokenizers decode it to, the token with SentencePiece's mark as a space, and the token as it is.
    Decoding a token by itself drops the space that a first token begins with.
    """
    seen = set()
    for codec in codecs:
        index = codec.tokenizer.token_to_id(token)
        texts = [token.replace("\u2581", " "), token]
        if index is not None:
            around = codec.tokenizer.token_to_id("a")
            texts.insert(0, codec.decode([index]))
            if around is not None:
                texts.insert(0, codec.decode([around, index]).removeprefix("a"))
        for text in texts:
            if text and text not in seen and "\ufffd" not in text and not text.startswith(_BYTE):
                seen.add(text)
                yield text
