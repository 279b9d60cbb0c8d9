"""Rendering and tokenizing of chats with a bundle's own files, without transformers.

jinja2 is set up as ``transformers.utils.chat_template_utils`` sets it up (the same sandbox, block trimming,
``tojson``, ``raise_exception``, ``strftime_now``, loop controls and ``generation`` tag), so that both render
the same text.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ..errors import CheckpointError

if TYPE_CHECKING:
    import jinja2
    import tokenizers

    from ..bundle.reader import Bundle


Message = Mapping[str, Any]
# Templates may print today's date; goldens must render the same on any day.
PROOF_DATE = datetime.datetime(2026, 1, 1, 12, 0)
_REASONING = ("reasoning_content", "thinking", "reasoning")
_HINT = "give another template with --chat-template FILE, or --chat-template none for a base model"


class TemplateRefused(CheckpointError):
    """The template can't render these messages, for example because it doesn't know a role."""


class Codec(Protocol):
    """A chat template and a tokenizer, wherever they are from.

    Attributes:
        special_ids: The ids of the control tokens.
        bos_id: The id of the beginning-of-sequence token, if prompts begin with one.
        has_template: False for base models.
    """

    special_ids: frozenset[int]
    bos_id: int | None
    has_template: bool

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Message] | None,
        add_generation_prompt: bool,
        thinking: bool = False,
    ) -> str:
        """Return the text of a chat.

        Args:
            messages: The chat, in OpenAI's form.
            tools: The tool declarations, if any.
            add_generation_prompt: Whether the model is to answer.
            thinking: Whether to set the template's variable ``enable_thinking``, which is otherwise undefined.

        Raises:
            TemplateRefused: If the template can't render it.
        """

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Return the token ids of a text; rendered chats hold their special tokens already."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens included."""


def _raise_exception(message: str) -> NoReturn:
    from jinja2.exceptions import TemplateError

    raise TemplateError(message)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _PlainDict:
    """``dict`` for templates: a call and ``fromkeys``, and nothing else to climb from."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


def _compile(source: str, strftime_now: Callable[[str], str]) -> jinja2.Template:
    from jinja2 import ext, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(ext.Extension):
        """``{% generation %}``, which marks the assistant's words for training and has no effect here."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    class PlainNamespace(Namespace):
        def __init__(*args: Any, **kwargs: Any) -> None:
            # jinja2's own trick, so that a template may name a variable 'self'.
            attributes = dict(*args[1:], **kwargs)
            for name in attributes:
                PlainNamespace.check(name)
            Namespace.__init__(args[0], attributes)

        def __setitem__(self, name: str, value: Any) -> None:
            PlainNamespace.check(name)
            super().__setitem__(name, value)

        @staticmethod
        def check(name: Any) -> None:
            if isinstance(name, str) and name.startswith("_"):
                raise SecurityError(f"a namespace may not hold {name!r}")

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = strftime_now
    environment.globals["dict"] = _PlainDict()
    environment.globals["namespace"] = PlainNamespace
    return environment.from_string(source)


def _completed(message: Message) -> dict[str, Any]:
    """Return a message as transformers hands it to a template.

    Members that are null are left out, and its reasoning is under every name that templates read.
    """
    found = {key: value for key, value in message.items() if value is not None}
    reasoning = next((found[key] for key in _REASONING if key in found), None)
    return found if reasoning is None else {"thinking": reasoning, **found, "reasoning_content": reasoning}


class Template:
    """A chat template.

    Args:
        source: Its Jinja text.
        special_tokens: The tokens that it may use by name: ``bos_token``, ``eos_token`` and so on.
        now: The time that ``strftime_now`` gives; if None, the clock's.

    Raises:
        CheckpointError: If the text isn't Jinja.
    """

    def __init__(
        self, source: str, special_tokens: Mapping[str, str] | None = None, now: datetime.datetime | None = PROOF_DATE
    ) -> None:
        from jinja2.exceptions import TemplateSyntaxError

        self.source = source
        self.special_tokens = dict(special_tokens or {})
        try:
            self._template = _compile(source, lambda form: (now or datetime.datetime.now()).strftime(form))
        except TemplateSyntaxError as error:
            raise CheckpointError(f"the chat template, line {error.lineno}: {error.message}", hint=_HINT) from error

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Message] | None = None,
        add_generation_prompt: bool = True,
        thinking: bool = False,
        unthinking: bool = False,
    ) -> str:
        """Return the text of a chat, as ``apply_chat_template(tokenize=False)`` gives it.

        Args:
            messages: The chat, in OpenAI's form.
            tools: The tool declarations, if any.
            add_generation_prompt: Whether the model is to answer.
            thinking: Whether to pass ``enable_thinking=True``.
            unthinking: Whether to pass ``enable_thinking=False``. If neither is set, the template's default holds,
                which isn't always without thinking.

        Raises:
            CheckpointError: If the template reaches for Python's internals.
            TemplateRefused: If it can't render these messages.
        """
        from jinja2.exceptions import SecurityError, TemplateError

        try:
            return self._template.render(
                messages=[_completed(message) for message in messages],
                tools=[dict(tool) for tool in tools] if tools else None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **({"enable_thinking": thinking} if thinking or unthinking else {}),
                **self.special_tokens,
            )
        except SecurityError as error:
            raise CheckpointError(
                f"the chat template reaches for Python's internals: {error.message}", hint=_HINT
            ) from error
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise TemplateRefused(f"the chat template can't render this chat: {error}", hint=_HINT) from error


class ChatCodec:
    """A ``Codec`` from a bundle's files: ``tokenizer.json`` read by the tokenizers library, and a template.

    Args:
        tokenizer: The tokenizer, with neither truncation nor padding.
        template: None for base models.
        bos_id: The beginning-of-sequence token, if prompts begin with one.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, template: Template | None, bos_id: int | None) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.bos_id = bos_id
        self.has_template = template is not None
        added = tokenizer.get_added_tokens_decoder()
        self.special_ids = frozenset(int(token) for token, entry in added.items() if entry.special)

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Message] | None,
        add_generation_prompt: bool,
        thinking: bool = False,
        unthinking: bool = False,
    ) -> str:
        """Return the text of a chat; see ``Codec``.

        Args:
            messages: The chat, in OpenAI's form.
            tools: The tool declarations, if any.
            add_generation_prompt: Whether the model is to answer.
            thinking: Whether thinking is turned on.
            unthinking: Whether thinking is turned off explicitly, for templates that don't do so by default.

        Raises:
            TemplateRefused: If there is no template, or it can't render these messages.
        """
        if self.template is None:
            raise TemplateRefused("the bundle has no chat template", hint=_HINT)
        return self.template.render(messages, tools, add_generation_prompt, thinking, unthinking)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Return the token ids of a text; see ``Codec``."""
        return list(self.tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids; see ``Codec``."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))


def load_codec(
    tokenizer_json: Path,
    template: str | None,
    special_tokens: Mapping[str, str] | None = None,
    bos_id: int | None = None,
    now: datetime.datetime | None = PROOF_DATE,
) -> ChatCodec:
    """Open a tokenizer and a template.

    Args:
        tokenizer_json: The tokenizers library's file.
        template: The chat template's text; None for base models.
        special_tokens: The tokens that the template may use by name.
        bos_id: The id of the beginning-of-sequence token; None if prompts begin with none.
        now: The time that ``strftime_now`` gives; see ``Template``.

    Raises:
        CheckpointError: If either can't be read.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_json))
    except Exception as error:  # The library raises bare Exception for files it can't read.
        raise CheckpointError(f"{tokenizer_json} can't be read: {error}", hint="copy or export it again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    names = dict(special_tokens or {})
    return ChatCodec(tokenizer, None if template is None else Template(template, names, now), bos_id)


def codec_of(bundle: Bundle, now: datetime.datetime | None = PROOF_DATE) -> ChatCodec:
    """Return the bundle's own template and tokenizer; ``now`` as in ``Template``.

    Raises:
        CheckpointError: If either can't be read.
    """
    manifest = bundle.manifest
    name = "chat_template.jinja"
    template = bundle.read(name).decode() if name in manifest.files else None
    return load_codec(bundle.file("tokenizer.json"), template, manifest.special_tokens, manifest.bos_id, now)
