"""The chat template compiled to ``prompt.json``, compared with the template at every proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..prompt.format import PROMPT_FILE, read_prompt
from .behaviour import Check, Miss

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..prompt.codec import ChatCodec
    from ..prompt.toolcalls import ReadCalls
    from .behaviour import Words
    from .golden import Golden

CHECK = "compiled_prompt"


def read_calls(bundle: Bundle) -> ReadCalls:
    """Return what reads tool calls in the form of the bundle's own template; in Gemma 4's if it isn't compiled.

    Raises:
        ConformanceError: If ``prompt.json`` isn't a prompt file.
    """
    from ..prompt.parser import call_reader

    if PROMPT_FILE not in bundle.manifest.files:
        return call_reader(None)
    return call_reader(read_prompt(bundle.read(PROMPT_FILE), str(bundle.path)))


def reply_words(bundle: Bundle) -> Words:
    """Return what takes the thoughts out of a reply; nothing is taken out if the bundle doesn't say what they stand in.

    Raises:
        ConformanceError: If ``prompt.json`` isn't a prompt file.
    """
    from ..prompt.thoughts import tell_thoughts, thought_begun

    if PROMPT_FILE not in bundle.manifest.files:
        return lambda golden, reply: reply
    prompt = read_prompt(bundle.read(PROMPT_FILE), str(bundle.path))
    return lambda golden, reply: tell_thoughts(prompt, reply, thought_begun(prompt, golden.rendered)).words


def check_prompt(bundle: Bundle, codec: ChatCodec, goldens: Sequence[Golden]) -> tuple[Check, ...]:
    """Check that the bundle's ``prompt.json`` still gives the template's token ids on the goldens.

    Returns:
        The check; none if the bundle has no ``prompt.json``.

    Raises:
        ConformanceError: If ``prompt.json`` isn't a prompt file.
    """
    from ..prompt.verification import prove_prompt

    if PROMPT_FILE not in bundle.manifest.files:
        return ()
    prompt = read_prompt(bundle.read(PROMPT_FILE), str(bundle.path))
    misses, applies = [], 0
    for golden in goldens:
        found = prove_prompt(prompt, codec, [golden.prompt], count=0)
        applies += found.goldens
        misses += [Miss(golden.prompt.id, str(one)) for one in found.differences]
    return (Check(CHECK, applies, 1.0, tuple(misses)),)
