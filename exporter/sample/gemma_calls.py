"""Gemma-style tool calls, written as the sample's chat template does; the proof's own parser reads them.

The form is ``<|tool_call>call:NAME{key:<|"|>text<|"|>,n:3,on:true}<tool_call|>``.
"""

from __future__ import annotations

from typing import Any

from ..prompt.toolcalls import CLOSE, OPEN, QUOTE, ToolCall, parse_tool_calls

__all__ = ["ToolCall", "format_tool_call", "format_value", "parse_tool_calls"]


def format_value(value: Any) -> str:
    """Return one argument as the chat template writes it."""
    if isinstance(value, str):
        return f"{QUOTE}{value}{QUOTE}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, dict):
        inner = ",".join(f"{key}:{format_value(value[key])}" for key in sorted(value))
        return "{" + inner + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(format_value(item) for item in value) + "]"
    return str(value)


def format_tool_call(call: ToolCall) -> str:
    """Return one call with its markers, with arguments in alphabetical order."""
    return f"{OPEN}call:{call.name}{format_value(call.arguments)}{CLOSE}"
