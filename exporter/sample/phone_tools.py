"""The twelve phone actions of the sample model, as OpenAI-style tool declarations."""

from __future__ import annotations

from typing import Any

Tool = dict[str, Any]


def declare(name: str, description: str, /, **parameters: str) -> Tool:
    """Return one declaration, in which every parameter is required and has only a type."""
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
        declare("set_alarm", "Set an alarm.", time="string"),
        declare("set_timer", "Start a timer.", minutes="integer"),
        declare("send_message", "Send a text message.", contact="string", text="string"),
        declare("call_contact", "Call someone.", contact="string"),
        declare("open_app", "Open an app.", app="string"),
        declare("set_flashlight", "Switch the flashlight.", on="boolean"),
        declare("play_music", "Play music.", query="string"),
        declare("navigate_to", "Start navigation.", place="string"),
        declare("take_note", "Write a note.", text="string"),
        declare("get_weather", "Get the weather.", place="string"),
        declare("add_reminder", "Add a reminder.", text="string", time="string"),
        declare("set_volume", "Set the volume.", percent="integer"),
    )
}
"""Every tool by its name."""
