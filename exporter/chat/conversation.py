"""A conversation with a bundle through its own template and tokenizer; only what is new is fed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..prompt.toolcalls import OPEN, ToolCall, words_around
from ..prove.runner import Runner
from .abilities import NO_RESULTS, check_able, takes_objects
from .loading import LoadingRunner
from .options import ChatOptions
from .sampling import chooser
from .turns import Ended, ToolResult, Turn

if TYPE_CHECKING:
    from ..prompt.codec import ChatCodec
    from ..prompt.format import PromptFile
    from ..prompt.thoughts import Piece
    from ..util.arrays import FloatArray

Message = dict[str, Any]


class Chat:
    """A conversation: the messages, and which ids the runner's cache holds.

    Args:
        runner: The opened program.
        codec: The bundle's own template and tokenizer. Without a template (a base model), text is continued
            as it is.
        stop_ids: The ids that end a reply.
        first_ids: The ids before the very first text: the BOS, if no template writes it.
        options: What the conversation begins with.
        prompt: The compiled template, which says what thoughts stand in; without it they stay in the reply.

    Attributes:
        last: The last turn; None before the first.
        options: What holds for the next turn.

    Raises:
        UsageError: If a system turn, tools or thinking are asked for and the template doesn't have them.
    """

    def __init__(
        self,
        runner: Runner,
        codec: ChatCodec,
        stop_ids: frozenset[int],
        first_ids: Sequence[int] = (),
        options: ChatOptions | None = None,
        prompt: PromptFile | None = None,
    ) -> None:
        self._runner = runner
        self._codec = codec
        self._prompt_file = prompt
        self._stop_ids = stop_ids
        self._first_ids = list(first_ids)
        self.options = options or ChatOptions()
        check_able(codec, self.options)
        self._choose = chooser(self.options.sampling)
        self.clear()

    @property
    def tells_thoughts(self) -> bool:
        """Whether a reply's thoughts can be told from its words."""
        from ..prompt.thoughts import channel_of

        return self._prompt_file is not None and channel_of(self._prompt_file) is not None

    @property
    def is_lost(self) -> bool:
        """Whether the program couldn't be loaded, so that there will be no reply."""
        return isinstance(self._runner, LoadingRunner) and self._runner.failed

    @property
    def is_ready(self) -> bool:
        """Whether the program is loaded, so that a reply begins at once."""
        return not isinstance(self._runner, LoadingRunner) or self._runner.is_loaded

    @property
    def call_marker(self) -> str:
        """What a tool call begins with in a reply."""
        tools = self._prompt_file.tools if self._prompt_file is not None else None
        return OPEN if tools is None else tools.marker

    @property
    def held(self) -> int:
        """How many tokens the cache holds."""
        return len(self._held)

    def clear(self) -> None:
        """Forget what was said; system turn and tools stay."""
        self._messages: list[Message] = []
        self._held: list[int] = []
        self._text = ""
        self._interrupted = False
        self.last: Turn | None = None

    def change(self, options: ChatOptions) -> None:
        """Go on with another system turn, other tools or another limit; what was said stays.

        Raises:
            UsageError: The template has no place for one of them; nothing has changed then.
        """
        check_able(self._codec, options)
        if options.sampling != self.options.sampling:
            self._choose = chooser(options.sampling)
        self.options = options

    def interrupt(self) -> None:
        """End the reply that is being generated after its next token; it is remembered as far as it came."""
        self._interrupted = True

    def reply(self, user: str) -> Iterator[tuple[Piece, float]]:
        """Say ``user`` and generate; afterwards :attr:`last` is the turn.

        Yields:
            A piece of the reply's words or thoughts, and the tokens per second so far.

        Raises:
            UsageError: If the conversation is longer than the context.
        """
        self._interrupted = False
        return self._generate([*self._messages, {"role": "user", "content": user}], user, ())

    def answer(self, results: Sequence[ToolResult]) -> Iterator[tuple[Piece, float]]:
        """Give the results of the last turn's calls, and generate; see ``reply``.

        Args:
            results: One for each call, in their order.

        Raises:
            UsageError: If the template has no place for results, or the conversation is longer than the context.
        """
        from ..prove.prompts import takes_results

        if not takes_results(self._codec):
            raise UsageError(NO_RESULTS)
        assert self.last is not None
        ids = [f"call{len(self._messages):03d}{index:02d}" for index in range(len(self.last.calls))]  # Mistral: 9 long
        called = {**self._messages[-1], **self._as_calls(self.last, ids)}
        given = [
            {"role": "tool", "tool_call_id": id_, "name": result.name, "content": self._as_content(result.content)}
            for id_, result in zip(ids, results, strict=True)
        ]
        self._interrupted = False
        return self._generate([*self._messages[:-1], called, *given], "", tuple(results))

    def _as_calls(self, turn: Turn, ids: Sequence[str]) -> Message:
        """A turn with calls as templates take it: the calls apart from the words and thoughts."""
        calls = [
            {"id": id_, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for id_, call in zip(ids, turn.calls, strict=True)
        ]
        thoughts = {"reasoning_content": turn.thoughts} if turn.thoughts else {}
        return {"content": self.words_of(turn.reply), "tool_calls": calls, **thoughts}

    def words_of(self, reply: str) -> str:
        """Return the words of a reply without its calls, which must be well-formed."""
        from ..prompt.parser import parse_calls

        if self._prompt_file is None or self._prompt_file.tools is None:
            return words_around(reply)
        return parse_calls(self._prompt_file, reply)[1]

    def _as_content(self, content: Any) -> Any:
        if isinstance(content, str) or (isinstance(content, dict) and takes_objects(self._codec)):
            return content
        return json.dumps(content, ensure_ascii=False)

    def _generate(
        self, messages: list[Message], user: str, results: tuple[ToolResult, ...]
    ) -> Iterator[tuple[Piece, float]]:
        from ..prompt.thoughts import ThoughtStream, tell_thoughts, thought_begun

        text, ids = self._prompt(messages, user)
        begun = thought_begun(self._prompt_file, text) if self._prompt_file is not None else ""
        told = ThoughtStream(self._prompt_file, begun)
        began = time.perf_counter()
        kept, logits = self._prefill(ids)
        prefilled = time.perf_counter()
        pieces = _Pieces(self._codec)
        ended: Ended = "interrupted" if self._interrupted else "length"
        for count in range(1, (0 if self._interrupted else self.options.max_new) + 1):
            token = self._choose(logits)
            if token in self._stop_ids:
                ended = "stop"
                break
            rate = count / max(time.perf_counter() - prefilled, 1e-9)
            yield from ((piece, rate) for piece in told.add(pieces.add(token)))
            if len(self._held) >= self._runner.max_context:
                ended = "context"
                break
            if self._interrupted:
                ended = "interrupted"
                break
            logits = self._runner.step(token, len(self._held))
            self._held.append(token)
        seconds = time.perf_counter() - prefilled
        rest, written = pieces.finish()
        rate = len(pieces.ids) / max(seconds, 1e-9)
        yield from ((piece, rate) for piece in (*told.add(rest), *told.finish()))
        self._remember(messages, user, begun + written)
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
            results=results,
        )

    def _prefill(self, ids: Sequence[int]) -> tuple[int, FloatArray]:
        """Feed a prompt, and return how much of it the cache held already, and the last logits.

        An interrupt ends it after the chunk that is being fed.
        """
        kept = self._reusable(ids)
        self._held = list(ids[:kept])
        logits: FloatArray = np.zeros(0, np.float32)
        chunk = self._runner.prefill_chunk
        for first in range(kept, len(ids), chunk):
            if self._interrupted:
                break
            logits = self._runner.prefill(ids[first : first + chunk], first)
            self._held += ids[first : first + chunk]
        return kept, logits

    def _calls(self, words: str) -> tuple[ToolCall, ...]:
        from ..prompt.parser import call_reader

        try:
            return tuple(call_reader(self._prompt_file)(words))
        except ValueError:  # a malformed one: the reply shows it
            return ()

    def _prompt(self, messages: Sequence[Message], user: str) -> tuple[str, list[int]]:
        options = self.options
        if self._codec.has_template:
            system = [{"role": "system", "content": options.system}] if options.system else []
            text = self._codec.render(
                [*system, *messages],
                list(options.tools) or None,
                True,
                options.thinking is True,
                unthinking=options.thinking is False,
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

    def _remember(self, messages: Sequence[Message], user: str, reply: str) -> None:
        """Remember a turn; ``reply`` includes its thoughts, which the template takes out if its family does so."""
        self._messages = [*messages, {"role": "assistant", "content": reply}]
        self._text += user + reply


class _Pieces:
    """Text from ids as they come; a character of several tokens comes once it is complete.

    What ids add to a text depends on those before them, so a few of these are decoded again each time, as vLLM and
    transformers' streamers do. (tokenizers' own ``DecodeStream`` gives up at bytes that are no text.)
    """

    def __init__(self, codec: ChatCodec) -> None:
        self._codec = codec
        self._from = self._until = 0  # ids that are decoded for what stands before, and those that were shown
        self._shown = ""
        self.ids: list[int] = []

    def add(self, token: int) -> str:
        self.ids.append(token)
        before = self._codec.decode(self.ids[self._from : self._until])
        text = self._codec.decode(self.ids[self._from :])
        if len(text) <= len(before) or text.endswith("\ufffd"):
            return ""
        self._from, self._until = self._until, len(self.ids)
        piece = text[len(before) :]
        self._shown += piece
        return piece

    def finish(self) -> tuple[str, str]:
        """Return what has not been shown yet (an unfinished character), and the whole text."""
        text = self._codec.decode(self.ids)
        rest = text[len(self._shown) :] if text.startswith(self._shown) else ""
        return rest, self._shown + rest
