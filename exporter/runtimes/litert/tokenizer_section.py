"""The tokenizer of a ``.litertlm`` file: SentencePiece if it gives the checkpoint's own ids, else the JSON.

LiteRT-LM 0.18 decodes a JSON tokenizer's byte tokens run by run: a reply of an emoji, a line feed and another emoji, in
bytes, ends in "Stable text shrunk compared to released". SentencePiece decodes byte by byte and has no such trouble.

The engine encodes each text that it is given separately, after it has cut the start token's string off its front
(runtime/core/session_utils.cc, StringToProcessedInputText), and SentencePiece sees special tokens in a text if they
are user-defined pieces, but not if they are control pieces. So the added tokens of tokenizer.json become user-defined
pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import CheckpointError
from ...formats.litertlm import HF_JSON, SENTENCEPIECE
from .spacing import FIRST, NONE, SPACE, Spacing, stated_spacing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Texts on which tokenizers differ: bytes, emoji, spaces, line feeds, signs with compatibility forms, markup, and code.
PROBES = (
    "Hello, world! It's 12:15.",
    "two  spaces, three   spaces\tand\ttabs ",
    "line\nfeeds\n\n\nand\r\nreturns\n",
    "    indented\n        twice",
    "🙂\n🙂🙂 👩‍👩‍👧‍👦 🇩🇪 e\u0301 ﬁ ① Ａ ½ …",
    "日本語 한국어 العربية עברית ไทย हिन्दी Ελληνικά Русский",
    "\u2581literal\u2581mark and \u3000\u00a0\u200b\ufeff\ufffd",
    '{"name": "set_alarm", "parameters": {"type": "object", "properties": {"time": {"type": "string"}}}}',
    "def f(x):\n    return x ** 2  # comment\n\n<b>bold</b> &amp; [link](https://example.org/?q=1#a)",
    "𐍈 \U000e0041 \u0001\u007f ~!@#$%^&*()_+`-={}|[]\\:\";'<>?,./",
)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class TokenizerChoice:
    """What goes into the file, and how texts have to be spaced for it.

    Attributes:
        kind: ``SP_Tokenizer`` or ``HF_Tokenizer_Zlib``.
        data: The section's bytes before compression.
        source: The file that it was made from.
        spacing: The spaces that the chat template has to write instead of the tokenizer.
        notes: What the user should know about it.
    """

    kind: str
    data: bytes
    source: str
    spacing: Spacing = field(default_factory=Spacing)
    notes: tuple[str, ...] = ()


def choose_tokenizer(
    folder: Path,
    tokenizer: Tokenizer | Path,
    probes: Sequence[str] = (),
    *,
    bos: str | None = None,
    vocab_size: int | None = None,
) -> TokenizerChoice:
    """Choose the first section that encodes and decodes every probe as ``tokenizer`` does.

    In this order: the checkpoint's tokenizer.model with the added tokens made pieces of it, a SentencePiece model made
    from tokenizer.json, tokenizer.json itself.

    Args:
        folder: The checkpoint's directory.
        tokenizer: What gives the right ids: ``backend_tokenizer`` of the one that transformers loaded, or the path of a
            tokenizer.json.
        probes: Texts besides ``PROBES``: rendered prompts, with or without the start token's string.
        bos: The start token's string; None if the model gets none.
        vocab_size: The embedding's rows; ids that the tokenizer doesn't name get pieces that decode to nothing, so that
            the engine can decode whatever the model says.

    Raises:
        CheckpointError: tokenizer.json can't be read.
    """
    reference = _Reference(_load(tokenizer) if isinstance(tokenizer, Path) else tokenizer, bos)
    texts = [*PROBES, *probes, *reference.special_probes()]
    reasons = []
    makers: dict[str, Callable[[], Any]] = {
        "tokenizer.model": lambda: _from_model(folder / "tokenizer.model", reference),
        "tokenizer.json": lambda: _from_json(reference),
    }
    for source, made in makers.items():
        try:
            proto = made()
            _add_missing_pieces(proto, reference, vocab_size)
            data: bytes = proto.SerializeToString(deterministic=True)
            _check_agreement(data, reference, texts)
        except _Unsuitable as reason:
            reasons.append(f"{source}: {reason}")
            continue
        return TokenizerChoice(SENTENCEPIECE, data, source, reference.spacing, reference.notes())
    note = (
        "the bundle has the tokenizer as JSON, with which LiteRT-LM 0.18 fails on some replies of bytes (emoji around "
        f"line feeds), because no SentencePiece model is equivalent: {'; '.join(reasons)}"
    )
    written = tokenizer.read_bytes() if isinstance(tokenizer, Path) else reference.tokenizer.to_str().encode()
    return TokenizerChoice(HF_JSON, written, "tokenizer.json", notes=(note,))


class _Unsuitable(Exception):
    """Why a SentencePiece model of this kind isn't possible."""


class _Reference:
    """The tokenizer that gives the right ids.

    Attributes:
        added: Text of each added token by id.
    """

    def __init__(self, tokenizer: Tokenizer, bos: str | None) -> None:
        self.tokenizer = tokenizer
        self.bos = bos or ""
        self.state: dict[str, Any] = json.loads(tokenizer.to_str())
        self.added = {token["id"]: token["content"] for token in self.state["added_tokens"]}
        self.unknown = self._unknown()
        stated = stated_spacing(self.state)
        # After a start token there is no first stretch to put a space before.
        self.spacing = Spacing() if stated.kind == FIRST and bos else stated

    def names(self) -> dict[int, str]:
        """Return the text of every id as a SentencePiece model spells it, with marks for spaces."""
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=False)
        plain = {index: name for name, index in vocabulary.items()}
        return plain | {index: name.replace(" ", SPACE) for index, name in self.added.items()}

    def specials(self) -> tuple[str, ...]:
        """Return the added tokens that SentencePiece can see in a text: all but the unknown one, in the ids' order."""
        return tuple(name for _, name in sorted(self.added.items()) if name != self.unknown)

    def special_probes(self) -> Iterator[str]:
        """Return texts with every added token in them: all in a row, and each between words."""
        specials = [name for name in self.specials() if SPACE not in name]  # no text has that sign for a space
        for first in range(0, len(specials), 100):
            some = specials[first : first + 100]
            yield "".join(some)
            yield "".join(f"word{name}Word {name} {name}\n" for name in some)

    def plain(self, text: str) -> str:
        """Return a text without the start token's string, which the engine cuts off and puts back as an id."""
        return text.removeprefix(self.bos)

    def encode(self, text: str) -> list[int]:
        """Return a text's ids after the start token."""
        ids: list[int] = self.tokenizer.encode(self.bos + self.plain(text), add_special_tokens=False).ids
        return ids[1:] if self.bos else ids

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids, special tokens included."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know about a SentencePiece model of this tokenizer."""
        if stated_spacing(self.state).kind == NONE:
            return ()
        return (
            "the tokenizer puts a space before the first word; in the bundle the chat template does so instead, the "
            "text of a raw session has to start with a space, and replies can start with one",
        )

    def _unknown(self) -> str | None:
        stated = self.state["model"].get("unk_token")
        known = [stated, *(name for name in self.added.values() if name in ("<unk>", "[UNK]"))]
        return next((name for name in known if isinstance(name, str)), None)


def _load(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a bare Exception
        raise CheckpointError(f"{path} can't be read: {error}", hint="fetch the tokenizer's files again") from error


def _schema() -> Any:
    """SentencePiece's generated protobuf classes, which state no types."""
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2


def _from_model(path: Path, reference: _Reference) -> Any:
    """The checkpoint's tokenizer.model, if its pieces are the JSON's tokens."""
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise _Unsuitable("the checkpoint has none")
    try:
        proto = _schema().ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise _Unsuitable("it isn't a SentencePiece model") from error
    names = reference.names()
    for index, piece in enumerate(proto.pieces):
        name = names.get(index, piece.piece)
        if piece.piece != name and index not in reference.added:
            raise _Unsuitable(f"id {index} is {piece.piece!r} in it, but {name!r} in tokenizer.json")
        piece.piece = name
    return proto


def _from_json(reference: _Reference) -> Any:
    """A SentencePiece BPE model of the JSON's merges: the score of a piece is its first merge's rank.

    SentencePiece joins the neighbours whose union has the best score; a piece of several characters that no merge makes
    gets the type UNUSED, so that no text becomes it.
    """
    model = reference.state["model"]
    if model["type"] != "BPE":
        raise _Unsuitable(f"it has a {model['type']} model")
    if "ByteLevel" in json.dumps([reference.state["pre_tokenizer"], reference.state["decoder"]]):
        raise _Unsuitable("it has a byte-level BPE model")
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault(left + right, rank)
    proto = _schema().ModelProto()
    proto.trainer_spec.model_type = _schema().TrainerSpec.BPE
    proto.trainer_spec.byte_fallback = bool(model.get("byte_fallback"))
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.remove_extra_whitespaces = False
    kinds = _schema().ModelProto.SentencePiece
    names = reference.names()
    for index in range(max(names) + 1):
        name = names.get(index)
        if name is None:
            proto.pieces.add(piece=_gap(index), type=kinds.CONTROL)
        elif _BYTE.fullmatch(name) and proto.trainer_spec.byte_fallback:
            proto.pieces.add(piece=name, type=kinds.BYTE)
        elif name in ranks or len(name) == 1:
            proto.pieces.add(piece=name, score=-ranks.get(name, len(ranks)), type=kinds.NORMAL)
        else:
            proto.pieces.add(piece=name, type=kinds.UNUSED)
    return proto


def _add_missing_pieces(proto: Any, reference: _Reference, vocab_size: int | None) -> None:
    """Gives every id a piece, and every added token a piece that texts can hold; the template writes the spaces."""
    kinds = _schema().ModelProto.SentencePiece
    names = reference.names()
    for index in range(len(proto.pieces), max(max(names) + 1, vocab_size or 0)):
        known = index in names
        proto.pieces.add(piece=names.get(index, _gap(index)), type=kinds.UNUSED if known else kinds.CONTROL)
    for index, text in reference.added.items():
        piece = proto.pieces[index]
        piece.type = kinds.UNKNOWN if text == reference.unknown else kinds.USER_DEFINED
    unknown = [index for index, piece in enumerate(proto.pieces) if piece.type == kinds.UNKNOWN]
    if not unknown and reference.unknown in (vocabulary := {piece.piece: i for i, piece in enumerate(proto.pieces)}):
        unknown = [vocabulary[reference.unknown]]
        proto.pieces[unknown[0]].type = kinds.UNKNOWN
    if len(unknown) != 1:
        raise _Unsuitable(f"it has {len(unknown)} unknown tokens instead of one")
    _set_special_ids(proto, unknown[0], reference)
    proto.DiscardUnknownFields()  # one is self_test_data, of the original model: loading would check it


def _set_special_ids(proto: Any, unknown: int, reference: _Reference) -> None:
    trainer = proto.trainer_spec
    trainer.vocab_size = len(proto.pieces)
    trainer.unk_id, trainer.unk_piece = unknown, proto.pieces[unknown].piece
    trainer.unk_surface = trainer.unk_piece  # as tokenizers decodes it
    proto.normalizer_spec.add_dummy_prefix = False
    if reference.bos:
        bos = next((index for index, name in reference.added.items() if name == reference.bos), None)
        if bos is not None:
            trainer.bos_id, trainer.bos_piece = bos, reference.bos


def _gap(index: int) -> str:
    return f"<gemcut:no token {index}>"


def _check_agreement(data: bytes, reference: _Reference, texts: Sequence[str]) -> None:
    """Checks that a model makes the tokenizer's ids of every text, and the tokenizer's text of those ids."""
    from sentencepiece import SentencePieceProcessor

    try:
        processor = SentencePieceProcessor(model_proto=data)
    except (RuntimeError, ValueError) as error:
        raise _Unsuitable(" ".join(str(error).split()) or "it can't be loaded") from error
    for text in texts:
        ids, decoded = reference.encode(text), reference.decode(reference.encode(text))
        if processor.encode(reference.spacing.apply(reference.plain(text))) != ids:
            raise _Unsuitable(f"it gives other tokens for {_short(text)}")
        # A tokenizer that puts a space before the first word drops it from what it decodes; this model keeps it.
        if processor.decode(ids) not in (decoded, " " + decoded):
            raise _Unsuitable(f"it decodes the tokens of {_short(text)} to another text")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
