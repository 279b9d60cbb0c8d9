"""The twelve phone actions of the sample model, as OpenAI-style tool declarations."""

from __future__ import annotations

from typing import Any

Tool = dict[str, Any]


def _tool(name: str, description: str, **parameters: str) -> Tool:
    """One declaration; every parameter is required and has only a type."""
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {key: {"type": kind} for key, kind in parameters.items()},
                "required": list(parameters),
            },
        },
    }


TOOLS: dict[str, Tool] = {
    tool["function"]["name"]: tool
    for tool in (
        _tool("set_alarm", "Set an alarm.", time="string"),
        _tool("set_timer", "Start a timer.", minutes="integer"),
        _tool("send_message", "Send a text message.", contact="string", text="string"),
        _tool("call_contact", "Call someone.", contact="string"),
        _tool("open_app", "Open an app.", app="string"),
        _tool("set_flashlight", "Switch the flashlight.", on="boolean"),
        _tool("play_music", "Play music.", query="string"),
        _tool("navigate_to", "Start navigation.", place="string"),
        _tool("take_note", "Write a note.", text="string"),
        _tool("get_weather", "Get the weather.", place="string"),
        _tool("add_reminder", "Add a reminder.", text="string", time="string"),
        _tool("set_volume", "Set the volume.", percent="integer"),
    )
}
"""Every tool by its name."""
