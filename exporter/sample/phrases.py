"""Pieces of requests: times, people, places, messages, tasks."""

from __future__ import annotations

from random import Random

from . import vocabulary as words


def invented_word(rng: Random) -> str:
    """Make a capitalised word that is in no list, so that it can only be copied."""
    return "".join(rng.choice(words.SYLLABLES) for _ in range(rng.randint(2, 4))).capitalize()


def number_word(number: int) -> str:
    """Return a number below one hundred in words."""
    if number < 20:
        return words.ONES[number]
    tens, ones = number // 10 * 10, number % 10
    return words.TENS[tens] + (f"-{words.ONES[ones]}" if ones else "")


def _spoken_minutes(rng: Random, hour: int) -> tuple[str, int, int]:
    """A time in words on the twelve-hour clock: phrase, hour 1 to 12, minute."""
    name, following = words.HOURS[hour - 1], words.HOURS[hour % 12]
    form = rng.randrange(7)
    if form == 0:
        return f"{name} o'clock", hour, 0
    if form == 1:
        return name, hour, 0
    if form == 2:
        return f"half past {name}", hour, 30
    if form == 3:
        return f"quarter past {name}", hour, 15
    if form == 4:
        return f"quarter to {following}", hour, 45
    minute = rng.choice([5, 10, 20, 25])
    if form == 5:
        return f"{number_word(minute)} past {name}", hour, minute
    minute = rng.choice([10, 15, 20, 30, 40, 45, 50])
    return f"{name} {number_word(minute)}", hour, minute


def clock_time(rng: Random) -> tuple[str, str]:
    """Return a time of day as said and as ``HH:MM``.

    Without a part of the day, a twelve-hour time means what it says: "half past six" is 06:30.
    """
    form = rng.randrange(10)
    if form == 0 and rng.random() < 0.4:
        return rng.choice([("noon", "12:00"), ("midnight", "00:00")])
    if form <= 3:
        hour, minute = rng.randrange(24), rng.choice([0, 5, 10, 15, 20, 30, 40, 45, 50, rng.randrange(60)])
        shown = f"{hour:02d}" if rng.random() < 0.3 else str(hour)
        return f"{shown}:{minute:02d}", f"{hour:02d}:{minute:02d}"
    hour = rng.randint(1, 12)
    if form == 4:
        half = rng.choice(["am", "pm"])
        return f"{hour} {half}", f"{hour % 12 + (12 if half == 'pm' else 0):02d}:00"
    phrase, hour, minute = _spoken_minutes(rng, hour)
    if hour < 12 and rng.random() < 0.4:
        part, first, last, shift = rng.choice(
            [("in the morning", 1, 11, 0), ("in the evening", 5, 11, 12), ("in the afternoon", 1, 5, 12)]
        )
        if first <= hour <= last:
            return f"{phrase} {part}", f"{hour + shift:02d}:{minute:02d}"
    return phrase, f"{hour:02d}:{minute:02d}"


def duration(rng: Random) -> tuple[str, int]:
    """Return a length of time as said and in minutes."""
    form = rng.randrange(10)
    if form == 0:
        return rng.choice(
            [("half an hour", 30), ("an hour", 60), ("an hour and a half", 90), ("a quarter of an hour", 15)]
        )
    if form == 1:
        hours = rng.randint(2, 5)
        return f"{rng.choice([str(hours), number_word(hours)])} hours", hours * 60
    minutes = rng.randint(2, 99)
    return f"{minutes if rng.random() < 0.6 else number_word(minutes)} minutes", minutes


def percentage(rng: Random) -> tuple[str, int]:
    """Return a percentage as said and as a number."""
    percent = rng.choice([rng.randint(1, 99), 5 * rng.randint(1, 19)])
    said = str(percent) if rng.random() < 0.6 else number_word(percent)
    return said + rng.choice(["", " percent", " percent"]), percent


def person(rng: Random) -> str:
    """Return someone to call or to write to."""
    form = rng.randrange(10)
    if form == 0:
        return rng.choice(words.RELATIVES)
    if form <= 2:
        return invented_word(rng) + (f" {invented_word(rng)}" if rng.random() < 0.3 else "")
    first = rng.choice(words.FIRST_NAMES)
    return f"{first} {rng.choice(words.SURNAMES)}" if form <= 5 else first


def city(rng: Random) -> str:
    """Return a town; one in five is invented."""
    return invented_word(rng) if rng.random() < 0.2 else rng.choice(words.CITIES)


def place(rng: Random) -> str:
    """Return somewhere to go."""
    form = rng.randrange(6)
    if form == 0:
        return f"{rng.randint(1, 199)} {rng.choice(words.STREETS)} {rng.choice(['Street', 'Road', 'Lane'])}"
    if form == 1:
        return f"{rng.choice(words.STREETS)} {rng.choice(['Street', 'Square', 'Park', 'Road'])}"
    if form == 2:
        return f"the {rng.choice(words.SPOTS)} in {city(rng)}"
    if form == 3:
        return f"the {rng.choice(words.SPOTS)}"
    return city(rng)


def app(rng: Random) -> str:
    """Return an app's name; one in four is invented."""
    return invented_word(rng) if rng.random() < 0.25 else rng.choice(words.APPS)


def music(rng: Random) -> str:
    """Return something to play."""
    form = rng.randrange(6)
    if form == 0:
        return rng.choice(words.GENRES)
    artist = f"{rng.choice(words.FIRST_NAMES)} {rng.choice([*words.SURNAMES, invented_word(rng)])}"
    song = " ".join(rng.sample(words.SONG_WORDS, 2))
    choices = (artist, f"{song} by {artist}", song, invented_word(rng), f"{song} by {invented_word(rng)}")
    return choices[form - 1]


def task(rng: Random) -> str:
    """Return something to do, as said after "to"."""
    form = rng.randrange(5)
    if form == 0:
        return f"call {person(rng)}"
    if form == 1:
        return f"buy {rng.choice(words.ITEMS)}"
    if form == 2:
        return f"buy {rng.choice(words.ITEMS)} and {rng.choice(words.ITEMS)}"
    if form == 3:
        return f"{rng.choice(words.VERBS)} the {rng.choice(words.THINGS)}"
    return f"{rng.choice(words.VERBS)} {person(rng)}'s {rng.choice(words.THINGS)}"


def _statement(rng: Random) -> str:
    """A message that is a plain statement."""
    thing, state, day = rng.choice(words.THINGS), rng.choice(words.STATES), rng.choice(words.DAYS)
    form = rng.randrange(10)
    if form == 0:
        return rng.choice(["I'm late", "I'm on my way", "I'm stuck in traffic", "I'm almost there", "I'm home now"])
    if form == 1:
        return f"I'm at the {rng.choice(words.SPOTS)}"
    if form == 2:
        return f"I'll be {rng.choice(['there', 'home', 'back', 'at the ' + rng.choice(words.SPOTS)])} {day}"
    if form == 3:
        return f"I'll be there at {clock_time(rng)[0]}"
    if form == 4:
        return f"we need {rng.choice(words.ITEMS)} and {rng.choice(words.ITEMS)}"
    if form == 5:
        return f"I will {rng.choice(words.VERBS)} the {thing} {day}"
    if form == 6:
        who, spot = person(rng), rng.choice(words.SPOTS)
        return f"{who} is {rng.choice(['here', 'late', 'coming', f'at the {spot}'])} {day}"
    return f"the {thing} is {state}"


def message(rng: Random) -> str:
    """Return the words of a message or a note."""
    form = rng.randrange(8)
    if form == 0:
        return f"don't forget to {task(rng)}"
    if form == 1:
        return f"I have to {task(rng)} {rng.choice(words.DAYS)}"
    return _statement(rng)
