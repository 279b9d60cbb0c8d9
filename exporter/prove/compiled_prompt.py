"""The chat template compiled to ``prompt.json`` at export, and held against the template at every proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..prompt.format import PROMPT_FILE, read_prompt
from .behaviour import Check, Miss

if TYPE_CHECKING:
    from ..bundle.reader import Bundle
    from ..prompt.codec import ChatCodec
    from ..prompt.toolcalls import ReadCalls
    from .golden import Golden

CHECK = "compiled_prompt"


def read_calls(bundle: Bundle) -> ReadCalls:
    """What reads tool calls in the form of the bundle's own template; in Gemma 4's where it isn't compiled.

    Raises:
        ConformanceError: ``prompt.json`` isn't one.
    """
    from ..prompt.parser import call_reader

    if PROMPT_FILE not in bundle.manifest.files:
        return call_reader(None)
    return call_reader(read_prompt(bundle.read(PROMPT_FILE), str(bundle.path)))


def check_prompt(bundle: Bundle, codec: ChatCodec, goldens: Sequence[Golden]) -> tuple[Check, ...]:
    """Whether the bundle's ``prompt.json`` still gives the template's token ids on the goldens; none where it has none.

    Raises:
        ConformanceError: it isn't one.
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
