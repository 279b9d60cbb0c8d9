"""Chat templates, which are found, searched for reaches into Python, and rendered before anything relies on them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from jinja2 import Environment, nodes
    from jinja2.ext import Extension

NONE = "none"
_BYTE_ORDER_MARK = "\ufeff"  # which some editors put before a file's text
_PROBE = "gemcut probe 7"
_ANSWER = "gemcut answer 11"
_SYSTEM = "gemcut system 13"
_OTHER = "Quiz!"  # which has no sign in common with the others at either end
_HINT = "correct the template, or pass another with --chat-template FILE; for a base model, --chat-template none"
_DUNDER = re.compile(r"__[A-Za-z][A-Za-z0-9_]*__")
# Python's own ways from an object to the interpreter; a string that spells one is never text for a model.
_INTERNALS = re.compile(
    r"__(?:class|globals|builtins|subclasses|mro|bases?|import|init|code|closure|dict|getattribute|reduce(?:_ex)?"
    r"|self|func|module|loader|spec|call|new|wrapped)__"
)


def choose_template(folder: Path, tokenizer: Any, asked: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the chat template to use and the notes on it.

    Args:
        folder: The checkpoint's directory.
        tokenizer: Its tokenizer, as transformers loaded it.
        asked: ``--chat-template``: None for the model's own, ``none``, or a file.

    Raises:
        CheckpointError: The model has no template although one is needed, or the template is unsound.
        UsageError: The file can't be read.
    """
    if asked == NONE:
        return None, ("no chat template, as --chat-template none asks",)
    notes: tuple[str, ...]
    if asked is not None:
        text, where = _read_file(Path(asked).expanduser()), asked
        notes = (f"chat template from {asked}",)
    else:
        text, where, notes = _own_template(folder, tokenizer)
    return text, (*notes, *check_template(text, tokenizer, where))


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(
            f"--chat-template {path} can't be read: {reason}", hint="pass a Jinja file, or the word none"
        ) from error


def _own_template(folder: Path, tokenizer: Any) -> tuple[str, str, tuple[str, ...]]:
    found, where = tokenizer.chat_template, "the model's chat template"
    if (folder / "chat_template.jinja").exists():
        where = "chat_template.jinja"
    legacy = folder / "chat_template.json"
    if found is None and legacy.exists():
        try:
            found, where = json.loads(legacy.read_text(encoding="utf-8-sig"))["chat_template"], legacy.name
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{legacy} can't be read: {error!r}", hint=_HINT) from error
    if isinstance(found, dict):
        if "default" not in found:
            raise CheckpointError(f"none of the chat templates ({', '.join(found)}) is named 'default'", hint=_HINT)
        others = ", ".join(sorted(set(found) - {"default"}))
        return (
            found["default"].removeprefix(_BYTE_ORDER_MARK),
            where,
            (f"chat templates left out: {others}",) if others else (),
        )
    if not isinstance(found, str) or not found.strip():
        raise CheckpointError(
            f"{folder} has no chat template; pass one with --chat-template FILE, or none for a base model",
            hint="pass --chat-template FILE (a Jinja file), or --chat-template none",
        )
    return found.removeprefix(_BYTE_ORDER_MARK), where, ()


def check_template(text: str, tokenizer: Any, where: str) -> tuple[str, ...]:
    """Parse, search and render a template, and return notes on what it can't do, or does to the words of a chat.

    Args:
        text: The template.
        tokenizer: The model's tokenizer, as transformers loaded it.
        where: What to call the template in messages.

    Raises:
        CheckpointError: It doesn't parse, reaches for Python's internals, or can't render a user's turn.
    """
    _check_syntax(text, where)

    def user(words: str) -> dict[str, str]:
        return {"role": "user", "content": words}

    def asked(words: str) -> str:
        _render(text, tokenizer, where, [user(words)], False)
        return _render(text, tokenizer, where, [user(words)], True)

    def answered(words: str) -> str:
        chat = [user("?"), {"role": "assistant", "content": words}, user("?")]
        return _render(text, tokenizer, where, chat, True)

    def instructed(words: str) -> str:
        return _render(text, tokenizer, where, [{"role": "system", "content": words}, user("?")], True)

    notes = _check_words(asked, _PROBE, where, "the user's words")
    notes += _check_words(answered, _ANSWER, where, "the model's answers")
    try:
        notes += _check_words(instructed, _SYSTEM, where, "a system turn's words")
    except TemplateRefused as refusal:
        notes.append(f"the chat template takes no system turn: {refusal.reason}")
    except _LeftOut:
        notes.append("the chat template takes no system turn: it leaves its words out")
    return tuple(notes)


class _LeftOut(CheckpointError):
    """A template renders a turn without its words."""


def _check_words(render: Callable[[str], str], words: str, where: str, whose: str) -> list[str]:
    """Notes on what a template makes of a turn's words; raises if nothing is left of them.

    Args:
        render: Gives the text of a chat with these words.
        words: The words.
        where: What to call the template.
        whose: What to call the words.
    """
    rendered = render(words)
    if words in rendered:
        return []
    other = render(_OTHER)  # what both have in common at either end is the template's
    before = _common(rendered, other)
    after = _common(rendered[before:][::-1], other[before:][::-1])
    made = rendered[before : len(rendered) - after]
    if not made:
        raise _LeftOut(f"{where} leaves {whose} out of what it renders", hint=_HINT)
    return [f"the chat template changes {whose}: {words!r} becomes {made!r}"]


def _common(one: str, other: str) -> int:
    """How many signs two texts begin with alike."""
    differing = (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])
    return next(differing, min(len(one), len(other)))


class TemplateRefused(CheckpointError):
    """The template itself raised an error (`raise_exception`) instead of rendering.

    Attributes:
        reason: What the template said.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} refuses a plain chat: {reason}", hint=_HINT)
        self.reason = reason


def _render(text: str, tokenizer: Any, where: str, chat: list[dict[str, str]], prompt: bool) -> str:
    """Renders through transformers, which does so in jinja2's ImmutableSandboxedEnvironment."""
    from jinja2 import TemplateError
    from jinja2.exceptions import SecurityError

    try:
        rendered = tokenizer.apply_chat_template(chat, chat_template=text, tokenize=False, add_generation_prompt=prompt)
    except SecurityError as error:
        raise CheckpointError(
            f"{where}{_line(error)} reaches for Python's internals: {error.message}", hint=_HINT
        ) from error
    except TemplateError as error:
        if type(error) is TemplateError:
            raise TemplateRefused(where, str(error.message)) from error
        raise CheckpointError(f"{where}{_line(error)} doesn't render: {error.message}", hint=_HINT) from error
    except Exception as error:  # a template is a program of someone else's: it can raise anything
        raise CheckpointError(
            f"{where}{_line(error)} doesn't render: {type(error).__name__}: {error}", hint=_HINT
        ) from error
    return str(rendered)


def _line(error: BaseException) -> str:
    """', line N' of the template, from the traceback that jinja2 rewrites to it."""
    line = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}," if line else ""


def _check_syntax(text: str, where: str) -> None:
    from jinja2 import TemplateSyntaxError

    try:
        tree = template_environment().parse(text)
    except TemplateSyntaxError as error:
        message = f"{where}, line {error.lineno}, is not Jinja: {error.message}"
        raise CheckpointError(message, hint=_HINT) from error
    except RecursionError as error:
        raise CheckpointError(f"{where} is nested too deeply", hint=_HINT) from error
    for line, spelt in _reaches(tree):
        raise CheckpointError(f"{where}, line {line}, reaches for Python's internals: {spelt}", hint=_HINT)


def _reaches(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    """Where a template reaches into Python, and how it spells it."""
    from jinja2 import nodes

    kinds = (nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Const, nodes.Name, nodes.NSRef)
    for node in tree.find_all(kinds):
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            yield node.lineno, f".{node.attr}"
        elif isinstance(node, nodes.NSRef) and node.attr.startswith("_"):
            yield node.lineno, f"{node.name}.{node.attr}"
        elif isinstance(node, nodes.Name) and _DUNDER.fullmatch(node.name):
            yield node.lineno, node.name
        elif isinstance(node, nodes.Getitem) and _dunder(node.arg):
            yield node.lineno, f"[{node.arg.value!r}]"  # type: ignore[attr-defined]
        elif isinstance(node, nodes.Filter) and node.name == "attr" and any(map(_dunder, node.args)):
            yield node.lineno, f"|attr({node.args[0].value!r})"  # type: ignore[attr-defined]
        elif isinstance(node, nodes.Const) and isinstance(node.value, str) and _INTERNALS.search(node.value):
            yield node.lineno, repr(node.value)


def _dunder(node: nodes.Node) -> bool:
    from jinja2 import nodes

    value = node.value if isinstance(node, nodes.Const) else None
    return isinstance(value, str) and _DUNDER.fullmatch(value) is not None


def template_environment() -> Environment:
    """Return an environment that parses what transformers parses: loop controls and its `generation` tag."""
    from jinja2 import ext
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(ext.Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    extensions: list[type[Extension]] = [Generation, ext.loopcontrols]
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
