"""What a template has a place for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from ..prompt.codec import ChatCodec
    from .options import ChatOptions

_KEY = "probe_key"
NO_RESULTS = "this model's chat template has no place for a tool's result"


def check_able(codec: ChatCodec, asked: ChatOptions) -> None:
    """Refuse what the template would raise an error for or, worse, silently leave out.

    Raises:
        UsageError: It has no place for the system turn, the tools, or thinking.
    """
    from ..prove.prompts import takes_results, takes_system, takes_thinking, takes_tools, takes_unthinking

    system, tools, thinking = asked.system, asked.tools, asked.thinking
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
    if tools and asked.results and not takes_results(codec):
        raise UsageError(NO_RESULTS, hint="leave out --tool-results; the calls are shown all the same")
    if thinking is True and not takes_thinking(codec):
        raise UsageError("this model's chat template has no thinking to turn on", hint="leave out --thinking")
    if thinking is False and not takes_thinking(codec) and not takes_unthinking(codec):
        raise UsageError("this model's chat template has no thinking to turn off", hint="leave out --no-thinking")


def takes_objects(codec: ChatCodec) -> bool:
    """Return whether the template writes a result that is an object, rather than Python's own form of it."""
    from ..prompt.codec import TemplateRefused

    function = {"name": "probe", "arguments": {}}
    call = {"id": "probe0001", "type": "function", "function": function}
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "probe0001", "name": "probe", "content": {_KEY: 2203}},
    ]
    declared = {"type": "function", "function": {"name": "probe", "parameters": {"type": "object", "properties": {}}}}
    try:
        text = codec.render(chat, [declared], True)
    except TemplateRefused:
        return False
    return _KEY in text and f"{{'{_KEY}'" not in text
