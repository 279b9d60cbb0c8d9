"""The actions that the sample's adapter adds: calendar, shopping list, contacts, translation, brightness and photos.

The sample model itself was never trained on these seven; their requests are put together from the same word lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from . import phrases
from . import vocabulary as words
from .generate import Actions
from .phone_tools import Tool, declare
from .requests import Request, fill_form, spoken

TOOLS: dict[str, Tool] = {
    tool["function"]["name"]: tool
    for tool in (
        declare("add_event", "Add an event to the calendar.", title="string", day="string", time="string"),
        declare("show_calendar", "Show the calendar of a day.", day="string"),
        declare("add_to_list", "Add something to the shopping list.", item="string", count="integer"),
        declare("add_contact", "Save a contact.", name="string", phone="string"),
        declare("translate", "Translate a text.", text="string", language="string"),
        declare("set_brightness", "Set the brightness of the screen.", percent="integer"),
        declare("take_photo", "Take a photo.", front="boolean"),
    )
}
"""Every action of the adapter by its name."""

_DAYS = ["today", "tomorrow", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_LANGUAGES = [
    "French",
    "German",
    "Spanish",
    "Italian",
    "Polish",
    "Dutch",
    "Turkish",
    "Swedish",
    "Greek",
    "Czech",
    "Danish",
    "Finnish",
    "Irish",
]


def _day(rng: Random) -> tuple[str, str]:
    """A day as said in a sentence ("on Monday") and as called."""
    day = rng.choice(_DAYS)
    return (day if day[0].islower() else f"on {day}"), day


def _title(rng: Random) -> str:
    """What an event is about."""
    form = rng.randrange(4)
    if form == 0:
        return f"{rng.choice(['lunch', 'dinner', 'coffee', 'meeting', 'tennis'])} with {phrases.person(rng)}"
    if form == 1:
        return f"{phrases.person(rng)}'s {rng.choice(['birthday', 'concert', 'party', 'visit', 'lesson'])}"
    return rng.choice(words.THINGS if form == 2 else words.SPOTS)


def _event(rng: Random) -> Request:
    forms = [
        "put {title} in my calendar {day} at {time}",
        "add {title} to the calendar {day} at {time}",
        "schedule {title} {day} at {time}",
        "plan {title} {day} at {time}",
        "new event {day} at {time}: {title}",
        "{day} at {time} I have {title}, put it in my calendar",
    ]
    done = "{title} is in your calendar."
    return fill_form(rng, forms, "add_event", done, title=_title(rng), day=_day(rng), time=phrases.clock_time(rng))


def _calendar(rng: Random) -> Request:
    forms = [
        "what is in my calendar {day}",
        "what do I have {day}",
        "show me my calendar {day}",
        "show my events {day}",
        "my calendar {day}",
        "do I have time {day}",
    ]
    request = fill_form(rng, forms, "show_calendar", "", day=_day(rng))
    if "error" in request.result:
        return request
    title, time = _title(rng), phrases.clock_time(rng)[1]
    return replace(request, result={"time": time, "title": title}, confirmation=f"You have {title} at {time}.")


def _list(rng: Random) -> Request:
    count = rng.choices([1, rng.randint(2, 12)], [3, 2])[0]
    said = rng.choice([str(count), phrases.number_word(count)])
    what = "{item}" if count == 1 else f"{said} {{item}}"
    forms = [
        f"put {what} on my shopping list",
        f"add {what} to the shopping list",
        f"we need {what}, put it on the list",
        f"shopping list: {what}",
        f"put {what} on the list",
        f"add {what} to my list",
    ]
    item = phrases.invented_word(rng).lower() if rng.random() < 0.15 else rng.choice(words.ITEMS)
    return fill_form(rng, forms, "add_to_list", "{item} is on your list.", item=item, count=(said, count))


def _contact(rng: Random) -> Request:
    forms = [
        "save {phone} as {name}",
        "save the number of {name}: {phone}",
        "add {name} to my contacts, the number is {phone}",
        "new contact {name}, {phone}",
        "the number of {name} is {phone}, save it",
    ]
    phone = "0" + "".join(str(rng.randrange(10)) for _ in range(rng.randint(5, 8)))
    return fill_form(rng, forms, "add_contact", "I saved {name}.", name=phrases.person(rng), phone=phone)


def _translate(rng: Random) -> Request:
    forms = [
        "translate {text} into {language}",
        "translate into {language}: {text}",
        "how do I say {text} in {language}",
        "say {text} in {language}",
        "what is {text} in {language}",
    ]
    done = "Here it is in {language}."
    return fill_form(rng, forms, "translate", done, text=phrases.message(rng), language=rng.choice(_LANGUAGES))


def _brightness(rng: Random) -> Request:
    forms = [
        "set the brightness to {percent}",
        "brightness {percent}",
        "make the screen {percent} bright",
        "turn the screen to {percent}",
        "set the screen to {percent}",
        "put the brightness at {percent}",
    ]
    done = "The brightness is at {percent} percent."
    return fill_form(rng, forms, "set_brightness", done, percent=phrases.percentage(rng))


def _photo(rng: Random) -> Request:
    front = rng.random() < 0.5
    spot = rng.choice(words.THINGS)
    forms = ["take a selfie", "take a photo of me", "take a picture of me", "I want a selfie", "photo of me"]
    if not front:
        forms = [f"take a photo of the {spot}", f"take a picture of the {spot}", f"photo of the {spot}"]
    end = rng.choice(["", " now", " for me", f" at the {rng.choice(words.SPOTS)}"])
    return fill_form(rng, [form + end for form in forms], "take_photo", "Done.", front=("", front))


MAKERS: dict[str, tuple[Callable[[Random], Request], float]] = {
    "add_event": (_event, 2.4),
    "show_calendar": (_calendar, 1.0),
    "add_to_list": (_list, 1.4),
    "add_contact": (_contact, 1.4),
    "translate": (_translate, 1.6),
    "set_brightness": (_brightness, 0.8),
    "take_photo": (_photo, 0.8),
}
"""By action: what makes a request for it, and how often."""


def make_request(rng: Random, tool: str | None = None) -> Request:
    """Make a request for ``tool``, or for any of the adapter's actions."""
    name = tool or rng.choices(list(MAKERS), [weight for _, weight in MAKERS.values()])[0]
    found = MAKERS[name][0](rng)
    return replace(found, text=spoken(rng, found.text))


DIARY = Actions(TOOLS, make_request)
"""The adapter's actions, as the generator of chats takes them."""
