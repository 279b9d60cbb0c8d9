"""Calibration text as token ids: what ships with Gemcut, or a file of the user's own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..errors import UsageError
from ..prompt.chats import Prompt, encode_prompt
from ..prompt.codec import Codec, TemplateRefused

# Tokens of a segment: each is run on its own.
LENGTH = 256
# How many tokens are enough: more text was worth more than any refinement of the method (Gemma 3 270M: 0.122 nats after
# 4096, 0.103 after 28,672), and a matrix of K columns needs several times K inputs. All of them are in memory at once.
LEAST, MOST, TIMES_COLUMNS = 4096, 20480, 14
MEMORY = 1.0e9
_CHARACTERS = 1500  # of a piece of text that becomes one segment, more than 256 tokens of any text that ships


@dataclass(frozen=True)
class CalibrationText:
    """A text.

    Attributes:
        name: What it is called in the manifest.
        parts: Its documents.
    """

    name: str
    parts: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """The hash of all documents."""
        return hashlib.sha256("\0".join(self.parts).encode()).hexdigest()


def shipped_text() -> CalibrationText:
    """Return the text that ships: prose in fifteen languages, documentation, and code; see ``text/sources.toml``."""
    folder = resources.files(__package__) / "text"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".txt"))
    return CalibrationText("gemcut", tuple((folder / name).read_text(encoding="utf-8") for name in names))


def text_of(file: Path) -> CalibrationText:
    """Return a user's text; blank lines part its documents.

    Args:
        file: UTF-8 text.

    Raises:
        UsageError: It can't be read, or holds nothing.
    """
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--calibration {file}: {error}", hint="Give a text file in UTF-8.") from error
    if not content.strip():
        raise UsageError(f"--calibration {file}: the file is empty", hint="Give text such as the model will see.")
    return CalibrationText(file.name, (content,))


def enough(columns: int, hidden: int, quick: bool = False) -> int:
    """Return how many tokens a model is calibrated on.

    Args:
        columns: Of its widest linear.
        hidden: Elements of a token between layers.
        quick: Whether only the mean square of each input is to be known, which takes far fewer tokens.
    """
    if quick:
        return LEAST
    held = 4 * 3 * (columns + hidden)  # bytes of a token within a layer: inputs and outputs of its products
    return max(LEAST, min(MOST, TIMES_COLUMNS * columns, int(MEMORY / held)))


def make_segments(text: CalibrationText, codec: Codec, tokens: int, length: int = LENGTH) -> list[list[int]]:
    """Return token ids of pieces of a text, evenly of all its documents.

    With a chat template, every other piece is a turn of a user and the model's answer to it.

    Args:
        text: The text.
        codec: The model's tokenizer and template.
        tokens: How many tokens there are in all; fewer if the text is shorter.
        length: Most tokens of a piece.

    Raises:
        UsageError: The text is too short to be of any use.
    """
    pieces = [list(_pieces(part)) for part in text.parts]
    # The same every time: pieces are drawn from the documents in turn, each document in a random order.
    order = random.Random(0)
    for each in pieces:
        order.shuffle(each)
    found: list[list[int]] = []
    count = 0
    for at, piece in enumerate(_in_turn(pieces)):
        ids = _encoded(piece, codec, chat=codec.has_template and at % 2 == 1)[:length]
        if len(ids) >= min(16, length):
            found.append(ids)
            count += len(ids)
        if count >= tokens:
            break
    if count < min(tokens, length):
        raise UsageError(
            f"the calibration text '{text.name}' has only {count} tokens",
            hint="Give a longer text with --calibration, or none with --calibration none.",
        )
    return found


def split_off(segments: Sequence[list[int]], tokens: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return the first segments, which have at least so many tokens, and those after them.

    Args:
        segments: From ``make_segments``.
        tokens: How many tokens the first are to have; if there are fewer, all are of the first.
    """
    count = 0
    for at, ids in enumerate(segments):
        if count >= tokens:
            return list(segments[:at]), list(segments[at:])
        count += len(ids)
    return list(segments), []


def _pieces(part: str) -> Iterator[str]:
    """A document in pieces that begin at the beginning of a line."""
    start = 0
    while start < len(part):
        end = part.find("\n", start + _CHARACTERS)
        end = len(part) if end < 0 else end + 1
        yield part[start:end]
        start = end


def _in_turn(pieces: Sequence[Sequence[str]]) -> Iterator[str]:
    longest = max(map(len, pieces), default=0)
    for at in range(longest):
        for each in pieces:
            if at < len(each):
                yield each[at]


def _encoded(piece: str, codec: Codec, chat: bool) -> list[int]:
    if chat:
        half = len(piece) // 4
        messages = ({"role": "user", "content": piece[:half]}, {"role": "assistant", "content": piece[half:]})
        try:
            return encode_prompt(codec, Prompt("calibration", "chat", messages, add_generation_prompt=False))[1]
        except TemplateRefused:
            pass
    return codec.encode(piece, add_special_tokens=True)
