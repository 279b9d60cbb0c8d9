"""Requests to the phone: what is said, the call it asks for, and what is answered afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from ..prompt.toolcalls import ToolCall
from . import phrases
from . import vocabulary as words


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        text: The user's words.
        call: The call that they ask for.
        result: The tool's result.
        confirmation: The assistant's answer to it.
    """

    text: str
    call: ToolCall
    result: dict[str, Any]
    confirmation: str


def fill_form(rng: Random, forms: list[str], tool: str, done: str, /, **said: tuple[str, Any] | str) -> Request:
    """Make a request by filling one of `forms`.

    Args:
        rng: The source of all choices.
        forms: What users say, with a place for each argument.
        tool: The tool's name.
        done: The confirmation, with places for arguments.
        **said: Each argument as said and as called, or once if it is the same.
    """
    pairs = {key: (value, value) if isinstance(value, str) else value for key, value in said.items()}
    text = rng.choice(forms).format(**{key: pair[0] for key, pair in pairs.items()})
    arguments = {key: pair[1] for key, pair in pairs.items()}
    result: dict[str, Any] = {"status": "ok"}
    confirmation = done.format(**arguments)
    if tool == "get_weather":
        sky, degrees = rng.choice(words.SKIES), rng.randint(1, 35)
        result = {"degrees": degrees, "sky": sky}
        confirmation = f"It is {degrees} degrees and {sky} in {arguments['place']}."
    if rng.random() < 0.12:
        error = rng.choice(words.ERRORS)
        result, confirmation = {"error": error}, f"Sorry, that did not work: {error}."
    return Request(text, ToolCall(tool, arguments), result, confirmation)


def _alarm(rng: Random) -> Request:
    forms = [
        "wake me at {time}",
        "wake me up at {time}",
        "set an alarm for {time}",
        "alarm at {time}",
        "I have to get up at {time}",
        "set the alarm to {time}",
        "I need an alarm at {time}",
    ]
    return fill_form(rng, forms, "set_alarm", "Your alarm is set for {time}.", time=phrases.clock_time(rng))


def _timer(rng: Random) -> Request:
    forms = [
        "set a timer for {minutes}",
        "start a timer for {minutes}",
        "timer for {minutes}",
        "count down {minutes}",
        "tell me when {minutes} are over",
        "give me a timer of {minutes}",
    ]
    return fill_form(rng, forms, "set_timer", "Your timer runs for {minutes} minutes.", minutes=phrases.duration(rng))


def _message(rng: Random) -> Request:
    forms = [
        "text {contact} that {text}",
        "tell {contact} that {text}",
        "tell {contact} {text}",
        "send {contact} a message saying {text}",
        "message {contact}: {text}",
        "let {contact} know that {text}",
        "let {contact} know {text}",
        "write to {contact} that {text}",
        "send a text to {contact} saying {text}",
        "text {contact}: {text}",
    ]
    done = "I sent your message to {contact}."
    text = phrases.message(rng)
    if text[0].isupper() and not text.startswith(("I ", "I'")):
        forms.remove("tell {contact} {text}")  # two names in a row: nobody can tell where one ends
    return fill_form(rng, forms, "send_message", done, contact=phrases.person(rng), text=text)


def _call(rng: Random) -> Request:
    forms = [
        "call {contact}",
        "ring {contact}",
        "phone {contact}",
        "give {contact} a call",
        "dial {contact}",
        "I want to talk to {contact}",
        "I need to speak with {contact}",
    ]
    return fill_form(rng, forms, "call_contact", "Calling {contact}.", contact=phrases.person(rng))


def _app(rng: Random) -> Request:
    forms = [
        "open {app}",
        "launch {app}",
        "start {app}",
        "open the {app} app",
        "show me {app}",
        "start the {app} app",
        "I want to use {app}",
    ]
    return fill_form(rng, forms, "open_app", "{app} is open.", app=phrases.app(rng))


def _flashlight(rng: Random) -> Request:
    light = rng.choice(["flashlight", "torch", "light", "lamp of the phone", "flash light"])
    on = rng.random() < 0.5
    state = "on" if on else "off"
    forms = [
        f"turn {state} the {light}",
        f"switch the {light} {state}",
        f"turn the {light} {state}",
        f"{light} {state}",
        f"switch {state} my {light}",
        f"I want the {light} {state}",
        f"turn {state} my {light} now",
    ]
    return fill_form(rng, forms, "set_flashlight", f"The flashlight is {state}.", on=(state, on))


def _music(rng: Random) -> Request:
    forms = [
        "play {query}",
        "put on {query}",
        "I want to hear {query}",
        "play me {query}",
        "start playing {query}",
        "let me listen to {query}",
    ]
    return fill_form(rng, forms, "play_music", "Playing {query}.", query=phrases.music(rng))


def _navigate(rng: Random) -> Request:
    forms = [
        "take me to {place}",
        "navigate to {place}",
        "how do I get to {place}",
        "directions to {place}",
        "drive me to {place}",
        "show me the way to {place}",
        "I need to go to {place}",
    ]
    return fill_form(rng, forms, "navigate_to", "Starting the route to {place}.", place=phrases.place(rng))


def _note(rng: Random) -> Request:
    forms = [
        "note that {text}",
        "take a note: {text}",
        "write down that {text}",
        "make a note that {text}",
        "note: {text}",
        "write this down: {text}",
        "remember that {text}",
    ]
    return fill_form(rng, forms, "take_note", "I wrote that down.", text=phrases.message(rng))


def _weather(rng: Random) -> Request:
    forms = [
        "what's the weather in {place}",
        "will it rain in {place}",
        "how warm is it in {place}",
        "weather in {place}",
        "how is the weather in {place}",
        "do I need a coat in {place}",
    ]
    return fill_form(rng, forms, "get_weather", "", place=phrases.city(rng))


def _reminder(rng: Random) -> Request:
    forms = [
        "remind me at {time} to {text}",
        "remind me to {text} at {time}",
        "at {time} remind me to {text}",
        "set a reminder at {time} to {text}",
        "add a reminder to {text} at {time}",
    ]
    done = "I will remind you at {time}."
    return fill_form(rng, forms, "add_reminder", done, text=phrases.task(rng), time=phrases.clock_time(rng))


def _volume(rng: Random) -> Request:
    forms = [
        "set the volume to {percent}",
        "turn the volume to {percent}",
        "volume {percent}",
        "volume at {percent}",
        "make the sound {percent}",
        "put the volume at {percent}",
    ]
    return fill_form(rng, forms, "set_volume", "The volume is at {percent} percent.", percent=phrases.percentage(rng))


MAKERS: dict[str, tuple[Callable[[Random], Request], float]] = {
    "set_alarm": (_alarm, 2.0),
    "set_timer": (_timer, 1.2),
    "send_message": (_message, 2.6),
    "call_contact": (_call, 1.2),
    "open_app": (_app, 1.0),
    "set_flashlight": (_flashlight, 0.6),
    "play_music": (_music, 1.2),
    "navigate_to": (_navigate, 1.3),
    "take_note": (_note, 1.4),
    "get_weather": (_weather, 1.0),
    "add_reminder": (_reminder, 1.8),
    "set_volume": (_volume, 0.8),
}
"""By tool: what makes a request for it, and how often."""

POLITE_STARTS = ["please ", "can you ", "could you ", "hey, ", "now "]


def spoken(rng: Random, text: str) -> str:
    """Return a request put in another way, with the same arguments."""
    question = text.startswith(("what", "will", "how", "do I"))
    start = ""
    if not question and not text.startswith(("I ", "at ")) and rng.random() < 0.35:
        start = rng.choice(POLITE_STARTS)
    said = start + text
    if rng.random() < 0.6:
        said = said[0].upper() + said[1:]
    if question or start in ("can you ", "could you "):
        return said + ("?" if rng.random() < 0.7 else "")
    return said + ("." if rng.random() < 0.3 else "")


def make_request(rng: Random, tool: str | None = None) -> Request:
    """Make a request for `tool`, or for any."""
    name = tool or rng.choices(list(MAKERS), [weight for _, weight in MAKERS.values()])[0]
    made = MAKERS[name][0](rng)
    return Request(spoken(rng, made.text), made.call, made.result, made.confirmation)


REFUSAL = "I'm sorry, I can't do that here."
UNKNOWN = "I don't know that. I can only help with this phone."


def small_talk(rng: Random) -> tuple[str, str]:
    """Return something that needs no tool, and its answer."""
    form = rng.randrange(8)
    if form == 0:
        hello = rng.choice(["hello", "hi", "hey", "good morning", "good evening", "good afternoon", "hello there"])
        name = rng.choice(["", " Gem", ", I'm " + phrases.person(rng), " assistant"])
        return hello + name, "Hello! What can I do for you?"
    if form == 1:
        thanks = rng.choice(
            ["thanks", "thank you", "thanks a lot", "many thanks", "great, thanks", "thank you so much"]
        )
        return thanks + rng.choice(["", " Gem", " for that", " for your help", " again"]), "You're welcome!"
    if form == 2:
        bye = rng.choice(["bye", "goodbye", "see you", "good night", "see you later", "bye bye"])
        return bye + rng.choice(["", " Gem", " then", " and thanks"]), "Goodbye!"
    if form == 3:
        who = rng.choice(["who are you", "what are you", "what is your name", "are you a robot", "who made you"])
        end = rng.choice(["", " really", " then", ", Gem"])
        return f"{who}{end}?", "I'm Gem, a small assistant for your phone."
    if form == 4:
        asked = rng.choice(["how are you", "how are you today", "how is it going", "are you all right", "all good"])
        end = rng.choice(["", ", Gem", " then", " now"])
        return f"{asked}{end}?", "I'm fine, thank you. What can I do for you?"
    subject = rng.choice([phrases.person(rng), f"the {rng.choice(words.THINGS)}", phrases.city(rng)])
    question = rng.choice(
        [
            "who is {}",
            "how old is {}",
            "why is {} so famous",
            "who invented {}",
            "how big is {}",
            "tell me a story about {}",
            "what do you think of {}",
            "is {} expensive",
        ]
    )
    return question.format(subject), UNKNOWN
