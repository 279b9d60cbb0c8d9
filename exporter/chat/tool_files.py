"""Files of a conversation's tools: what the model may call, and what each call gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError, nearest
from ..prompt.toolcalls import ToolCall
from .turns import ToolResult

SAMPLE = "sample"
_FORM = '[{"type": "function", "function": {"name": "set_alarm", "description": "...", "parameters": {...}}}]'


def read_tools(name: str) -> list[dict[str, Any]]:
    """Return tool declarations in OpenAI's form.

    Args:
        name: A JSON file with a list of them; ``sample`` for the twelve phone actions of the sample model.

    Raises:
        UsageError: The file can't be read, or isn't such a list.
    """
    if name == SAMPLE:
        from ..sample.phone_tools import TOOLS

        return list(TOOLS.values())
    found = _json(Path(name), "--tools")
    if not isinstance(found, list):
        raise UsageError(f"--tools {name} is not a JSON list of tool declarations", hint=f"write {_FORM}")
    for index, tool in enumerate(found, 1):
        if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict) or not tool_name(tool):
            raise UsageError(f"--tools {name}: declaration {index} has no function with a name", hint=f"write {_FORM}")
        parameters = tool["function"].get("parameters", {})
        if not isinstance(parameters, dict) or not isinstance(parameters.get("properties", {}), dict):
            said = f"--tools {name}: the parameters of {tool_name(tool)} are not a JSON Schema of an object"
            raise UsageError(said, hint=f"write {_FORM}")
    names = [tool_name(tool) for tool in found]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise UsageError(f"--tools {name} declares {twice} twice", hint="give each tool its own name")
    return found


def tool_name(tool: Mapping[str, Any]) -> str:
    """Return the name of a declared tool; empty if it has none."""
    name = tool["function"].get("name")
    return name if isinstance(name, str) else ""


def read_results(path: Path, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what each tool gives back, by its name.

    Args:
        path: A JSON file with an object: each tool's name, and any value.
        tools: The declared tools.

    Raises:
        UsageError: The file can't be read, isn't an object, or names a tool that isn't declared.
    """
    found = _json(path, "--tool-results")
    if not isinstance(found, dict):
        raise UsageError(
            f"--tool-results {path} is not a JSON object", hint='write {"set_alarm": {"status": "ok"}}, a tool a name'
        )
    known = [tool_name(tool) for tool in tools]
    unknown = next((name for name in found if name not in known), None)
    if unknown is not None:
        raise UsageError(f"--tool-results {path}: --tools declares no {unknown}", hint=nearest(unknown, known))
    return found


def given_results(calls: Sequence[ToolCall], given: Mapping[str, Any]) -> list[ToolResult]:
    """Return the result of each call.

    Args:
        calls: What the model called.
        given: Each tool's result by its name, from ``read_results``.

    Raises:
        UsageError: A tool was called that has no result.
    """
    lacking = next((call for call in calls if call.name not in given), None)
    if lacking is not None:
        raise UsageError(
            f"the model called {lacking}, and --tool-results has no {lacking.name}",
            hint=f'add "{lacking.name}": ... to the file',
        )
    return [ToolResult(call.name, given[call.name]) for call in calls]


def typed_result(text: str) -> Any:
    """Return what someone typed as a result: a JSON object or list if it is one, otherwise the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text


def _json(path: Path, flag: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        hint = f"give a JSON file, or {flag} sample" if flag == "--tools" else "give a JSON file"
        raise UsageError(f"{flag} {path} can't be read: {error.strerror or error}", hint=hint) from error
    except ValueError as error:
        raise UsageError(f"{flag} {path} is not JSON: {error}") from error
