"""The chat template compiled to ``prompt.json``, compared with the template at every proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..prompt.format import PROMPT_FILE, read_prompt
from .behaviour import Check, Miss

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..prompt.codec import ChatCodec
    from ..prompt.format import PromptFile
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

    return call_reader(_prompt_of(bundle))


def reply_words(bundle: Bundle) -> Words:
    """Return what takes the thoughts out of a reply; nothing is taken out if the bundle doesn't say what they stand in.

    Raises:
        ConformanceError: If ``prompt.json`` isn't a prompt file.
    """
    from ..prompt.thoughts import tell_thoughts, thought_begun

    prompt = _prompt_of(bundle)
    if prompt is None:
        return lambda golden, reply: reply
    return lambda golden, reply: tell_thoughts(prompt, reply, thought_begun(prompt, golden.rendered)).words


def check_prompt(bundle: Bundle, codec: ChatCodec, goldens: Sequence[Golden]) -> tuple[Check, ...]:
    """Check that the bundle's ``prompt.json`` still gives the template's token ids on the goldens.

    Returns:
        The check; none if the bundle has no ``prompt.json``.

    Raises:
        ConformanceError: If ``prompt.json`` isn't a prompt file.
    """
    from ..prompt.verification import prove_prompt

    prompt = _prompt_of(bundle)
    if prompt is None:
        return ()
    misses, applies = [], 0
    for golden in goldens:
        found = prove_prompt(prompt, codec, [golden.prompt], count=0)
        applies += found.goldens
        misses += [Miss(golden.prompt.id, str(one)) for one in found.differences]
    return (Check(CHECK, applies, 1.0, tuple(misses)),)


def _prompt_of(bundle: Bundle) -> PromptFile | None:
    if PROMPT_FILE not in bundle.manifest.files:
        return None
    return read_prompt(bundle.read(PROMPT_FILE), str(bundle.path))
