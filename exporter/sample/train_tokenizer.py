"""The training of the sample model's tokenizer, which is written in both of its forms.

`tokenizer.model` is what SentencePiece trains (BPE with byte fallback); `tokenizer.json` is the same
vocabulary with the merges that give the same result. Spaces never merge with letters, so a word has the
same tokens wherever it stands; that is what lets a small model copy an argument it has never seen.
"""

from __future__ import annotations

import io
import re
import string
from itertools import islice
from pathlib import Path
from typing import Any

import sentencepiece
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers import GemmaTokenizer

from .generate import Chat, training_chats

VOCAB_SIZE = 2048
CONTROLS = ["<pad>", "<eos>", "<bos>", "<unk>"]
MARKERS = [
    "<mask>",
    "<|turn>",
    "<turn|>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    '<|"|>',
]
_CUT = "\u2016"
_CHUNK = re.compile(
    r",?[\]}]*,?[a-z_]+:[{\[]*|'?[A-Za-z_]+|[0-9]|[^\W\d_]+|[^\w\s]+|\s+",
)


def load_template(folder: Path) -> str:
    """Return the chat template's text."""
    return (folder / "chat_template.jinja").read_text(encoding="utf-8")


def render(template: str, chat: Chat) -> str:
    """Return a whole chat as transformers renders it."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(**chat, add_generation_prompt=False)


def _corpus(template: str, chats: int) -> list[str]:
    """Rendered training chats with cuts where no merge may cross."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    compiled = environment.from_string(template)
    markers = re.compile("|".join(re.escape(marker) for marker in MARKERS + CONTROLS))
    lines = []
    for chat in islice(training_chats(seed=1), chats):
        for part in markers.split(compiled.render(**chat, add_generation_prompt=False)):
            lines += [_CUT.join(_CHUNK.findall(line)) for line in part.split("\n") if line]
    return lines


def train_sentencepiece(template: str, chats: int = 12000) -> bytes:
    """Train the SentencePiece model on generated chats.

    Args:
        template: The chat template.
        chats: How many chats to train on.

    Returns:
        The content of tokenizer.model.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_corpus(template, chats)),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCAB_SIZE,
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=[*MARKERS, "\n"],
        required_chars="".join(c for c in string.printable if c.isprintable() and c != " "),
        character_coverage=1.0,
        split_digits=True,
        split_by_unicode_script=False,
        allow_whitespace_only_pieces=True,
        pretokenization_delimiter=_CUT,
        hard_vocab_limit=True,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def merges_of(pieces: dict[str, int]) -> list[tuple[str, str]]:
    """Return the merges that make BPE choose what SentencePiece chooses.

    SentencePiece joins the two neighbours whose union has the best score, which is the lowest id, so
    every way to cut a piece into two pieces is a merge of that piece's rank.

    Args:
        pieces: Ids by piece.
    """
    found = []
    for piece, rank in pieces.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in pieces and right in pieces:
                found.append((rank, pieces[left], pieces[right], left, right))
    return [(left, right) for _, _, _, left, right in sorted(found)]


def convert(model: bytes) -> GemmaTokenizer:
    """Return the fast tokenizer that agrees with a SentencePiece model, given as tokenizer.model's content."""
    trained = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocabulary = {trained.id_to_piece(index): index for index in range(trained.get_piece_size())}
    whole = {*CONTROLS, *MARKERS, "\n"}
    pieces = {piece: index for piece, index in vocabulary.items() if piece not in whole and not trained.is_byte(index)}
    merges: Any = merges_of(pieces)
    return GemmaTokenizer(
        vocab=vocabulary,
        merges=merges,
        add_bos_token=True,
        add_eos_token=False,
        clean_up_tokenization_spaces=False,
        extra_special_tokens=MARKERS[1:],
        model_max_length=2048,
        padding_side="left",
    )


def build(folder: Path) -> GemmaTokenizer:
    """Train the tokenizer, and write its files beside the chat template in `folder`."""
    template = load_template(folder)
    model = train_sentencepiece(template)
    made = convert(model)
    made.chat_template = template
    made.save_pretrained(str(folder))
    (folder / "tokenizer.model").write_bytes(model)
    return made
