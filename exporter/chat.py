"""A conversation with a bundle through its own template and tokenizer; only what is new is fed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .errors import UsageError
from .prompt.toolcalls import ToolCall
from .prove.runner import Runner

if TYPE_CHECKING:
    from .bundle.reader import Bundle
    from .prompt.codec import ChatCodec
    from .prompt.format import PromptFile
    from .prompt.thoughts import Piece

TEMPLATE = "chat_template.jinja"
Message = dict[str, Any]
Ended = Literal["stop", "length", "context"]


@dataclass(frozen=True)
class Turn:
    """One message and its reply.

    Attributes:
        user: The message.
        reply: The reply without thoughts, if the bundle's prompt.json says what those stand in.
        tokens: The reply's length in tokens.
        fed: How many of the prompt's tokens had to be fed.
        reused: How many of the prompt's tokens the cache still held.
        prefill_seconds: The time for the prompt.
        decode_seconds: The time for the reply's own tokens.
        ended: What ended the reply: a stop token, the limit on new tokens, or a full context.
        thoughts: The reply's thoughts.
        calls: The tool calls in the reply; none if one of them is malformed.
    """

    user: str
    reply: str
    tokens: int
    fed: int
    reused: int
    prefill_seconds: float
    decode_seconds: float
    ended: Ended
    thoughts: str = ""
    calls: tuple[ToolCall, ...] = ()

    @property
    def rate(self) -> float:
        """Decoded tokens per second; 0 before there are any."""
        return self.tokens / self.decode_seconds if self.decode_seconds else 0.0


@dataclass(frozen=True)
class ChatLog:
    """``gemcut chat --json``.

    Attributes:
        bundle: The bundle's path.
        proven: Whether the bundle is proven.
        turns: The messages and their replies.
    """

    bundle: str
    proven: bool
    turns: tuple[Turn, ...]


class Chat:
    """A conversation: the messages, and which ids the runner's cache holds.

    Args:
        runner: The opened program.
        codec: The bundle's own template and tokenizer. Without a template (a base model), text is continued
            as it is.
        stop_ids: The ids that end a reply.
        first_ids: The ids before the very first text: the BOS, if no template writes it.
        max_new: The greatest length of a reply in tokens.
        system: A system turn before all others.
        tools: Declarations of what the model may call.
        thinking: Whether the model is to think before it answers; if None, the template's default holds.
        prompt: The compiled template, which says what thoughts stand in; without it they stay in the reply.

    Attributes:
        last: The last turn; None before the first.

    Raises:
        UsageError: If a system turn, tools or thinking are asked for and the template doesn't have them.
    """

    def __init__(
        self,
        runner: Runner,
        codec: ChatCodec,
        stop_ids: frozenset[int],
        first_ids: Sequence[int] = (),
        max_new: int = 512,
        system: str | None = None,
        tools: Sequence[Message] = (),
        thinking: bool | None = None,
        prompt: PromptFile | None = None,
    ) -> None:
        _check_able(codec, system, tools, thinking)
        self._runner = runner
        self._codec = codec
        self._prompt_file = prompt
        self._thinking = thinking
        self._tools = list(tools) or None
        self._stop_ids = stop_ids
        self._first_ids = list(first_ids)
        self._max_new = max_new
        self._messages: list[Message] = [{"role": "system", "content": system}] if system else []
        self._text = ""
        self._held: list[int] = []
        self.last: Turn | None = None

    @property
    def tells_thoughts(self) -> bool:
        """Whether a reply's thoughts can be told from its words."""
        from .prompt.thoughts import channel_of

        return self._prompt_file is not None and channel_of(self._prompt_file) is not None

    def reply(self, user: str) -> Iterator[tuple[Piece, float]]:
        """Say ``user`` and generate greedily; afterwards :attr:`last` is the turn.

        Yields:
            A piece of the reply's words or thoughts, and the tokens per second so far.

        Raises:
            UsageError: If the conversation is longer than the context.
        """
        from .prompt.thoughts import ThoughtStream, tell_thoughts, thought_begun

        text, ids = self._prompt(user)
        begun = thought_begun(self._prompt_file, text) if self._prompt_file is not None else ""
        told = ThoughtStream(self._prompt_file, begun)
        began = time.perf_counter()
        kept = self._reusable(ids)
        logits = self._runner.prefill(ids[kept:], kept)
        self._held = list(ids)
        prefilled = time.perf_counter()
        pieces = _Pieces(self._codec)
        ended: Ended = "length"
        token = int(logits.argmax())
        for count in range(1, self._max_new + 1):
            if token in self._stop_ids:
                ended = "stop"
                break
            rate = count / max(time.perf_counter() - prefilled, 1e-9)
            yield from ((piece, rate) for piece in told.add(pieces.add(token)))
            if len(self._held) >= self._runner.max_context:
                ended = "context"
                break
            logits = self._runner.step(token, len(self._held))
            self._held.append(token)
            token = int(logits.argmax())
        seconds = time.perf_counter() - prefilled
        rest, written = pieces.finish()
        rate = len(pieces.ids) / max(seconds, 1e-9)
        yield from ((piece, rate) for piece in (*told.add(rest), *told.finish()))
        self._remember(user, begun + written)
        whole = tell_thoughts(self._prompt_file, written, begun)
        self.last = Turn(
            user=user,
            reply=whole.words,
            tokens=len(pieces.ids),
            fed=len(ids) - kept,
            reused=kept,
            prefill_seconds=prefilled - began,
            decode_seconds=seconds,
            ended=ended,
            thoughts=whole.thoughts,
            calls=self._calls(whole.words),
        )

    def _calls(self, words: str) -> tuple[ToolCall, ...]:
        from .prompt.parser import call_reader

        try:
            return tuple(call_reader(self._prompt_file)(words))
        except ValueError:  # a malformed one: the reply shows it
            return ()

    def _prompt(self, user: str) -> tuple[str, list[int]]:
        if self._codec.has_template:
            messages = [*self._messages, {"role": "user", "content": user}]
            text = self._codec.render(
                messages, self._tools, True, self._thinking is True, unthinking=self._thinking is False
            )
        else:
            text = self._text + user
        ids = [*self._first_ids, *self._codec.encode(text)]
        if not ids:
            raise UsageError("there is nothing to continue: the text is empty")
        if len(ids) >= self._runner.max_context:
            raise UsageError(
                f"the context is full: the conversation has reached {len(ids)} tokens, "
                f"and the bundle holds {self._runner.max_context}",
                hint="Start a new chat, send a shorter message, or export with a larger --context.",
            )
        return text, ids

    def _reusable(self, ids: Sequence[int]) -> int:
        """Return how many ids can be reused: all that the cache holds or none, as a sliding layer can't go back."""
        held = len(self._held)
        return held if held < len(ids) and list(ids[:held]) == self._held else 0

    def _remember(self, user: str, reply: str) -> None:
        """Remember a turn; ``reply`` includes its thoughts, which the template takes out if its family does so."""
        self._messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
        self._text += user + reply


def _check_able(codec: ChatCodec, system: str | None, tools: Sequence[Message], thinking: bool | None) -> None:
    """Refuse what the template would raise an error for or, worse, silently leave out."""
    from .prove.prompts import takes_system, takes_thinking, takes_tools, takes_unthinking

    if not codec.has_template:
        if system or tools or thinking is not None:
            raise UsageError(
                "this bundle holds a base model: without a chat template, it takes no system turn, tools or thinking"
            )
        return
    if system and not takes_system(codec):
        raise UsageError(
            "this model's chat template takes no system turn", hint="put its text at the start of your first message"
        )
    if tools and not takes_tools(codec):
        raise UsageError("this model's chat template doesn't support tools", hint="leave out --tools")
    if thinking is True and not takes_thinking(codec):
        raise UsageError("this model's chat template has no thinking to turn on", hint="leave out --thinking")
    if thinking is False and not takes_thinking(codec) and not takes_unthinking(codec):
        raise UsageError("this model's chat template has no thinking to turn off", hint="leave out --no-thinking")


class _Pieces:
    """Text from ids as they come; a character of several tokens comes once it is complete."""

    def __init__(self, codec: ChatCodec) -> None:
        from tokenizers.decoders import DecodeStream

        self._codec = codec
        self._stream = DecodeStream(skip_special_tokens=False)
        self._shown = ""
        self.ids: list[int] = []

    def add(self, token: int) -> str:
        self.ids.append(token)
        piece = self._stream.step(self._codec.tokenizer, token) or ""
        self._shown += piece
        return piece

    def finish(self) -> tuple[str, str]:
        """Return what has not been shown yet (an unfinished character), and the whole text."""
        text = self._codec.decode(self.ids)
        rest = text[len(self._shown) :] if text.startswith(self._shown) else ""
        return rest, self._shown + rest


def open_chat(
    bundle: Bundle,
    runner: Runner,
    max_new: int,
    system: str | None = None,
    tools: Sequence[Message] = (),
    thinking: bool | None = None,
) -> Chat:
    """Return a conversation with an opened bundle, with its own template, tokenizer and stop tokens.

    Args:
        bundle: The bundle.
        runner: Its opened program.
        max_new: The greatest length of a reply in tokens.
        system: A system turn before all others.
        tools: Declarations of what the model may call.
        thinking: Whether the model is to think before it answers; if None, the template's default holds.

    Raises:
        UsageError: If a system turn, tools or thinking are asked for and the template doesn't have them.
        CheckpointError: If the bundle's tokenizer or template can't be read.
        ConformanceError: If its prompt.json isn't a prompt file.
    """
    from .prompt.codec import load_codec
    from .prompt.format import PROMPT_FILE, read_prompt

    manifest = bundle.manifest
    template = bundle.read(TEMPLATE).decode() if TEMPLATE in manifest.files else None
    codec = load_codec(
        bundle.file("tokenizer.json"), template, manifest.special_tokens, bos_id=manifest.bos_id, now=None
    )
    first = [manifest.bos_id] if manifest.bos_id is not None and not manifest.template_bos else []
    prompt = read_prompt(bundle.read(PROMPT_FILE), PROMPT_FILE) if PROMPT_FILE in manifest.files else None
    return Chat(runner, codec, frozenset(manifest.stop_ids), first, max_new, system, tools, thinking, prompt)
